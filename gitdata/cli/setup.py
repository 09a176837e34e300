"""The commands that set repositories up, look after them and take gitdata out again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gitdata.cli.data import transfer_lines
from gitdata.cli.shared import Json, app, hook_lines, open_repo, print_lines, say, say_always, show_records
from gitdata.errors import FINDINGS, Mendable

SHELLS = ("bash", "zsh", "fish")


@app.command()
def init() -> None:
    """Make this git repository a gitdata one. DVC's folder, ignore rules, hooks, the store for blobs."""
    from gitdata.automation import hooks
    from gitdata.commands.init import init as run

    repo = open_repo()
    lines = run(repo)
    lines += hook_lines(hooks.install(repo))
    print_lines(lines or ["Everything is in place."])


@app.command()
def clone(
    url: Annotated[str, typer.Argument(metavar="URL")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]")] = None,
    as_json: Json = False,
) -> None:
    """Clone a repository and make it ready for work. The files of its datasets are checked out."""
    from gitdata.automation import hooks
    from gitdata.commands.clone import clone as run
    from gitdata.commands.clone import pull_all

    repo = run(url, folder, say_always)
    for line in hook_lines(hooks.install(repo)):
        say_always(line)
    records = pull_all(repo, say)
    show_records(records, as_json, lambda: print_lines([*transfer_lines(records), f"Ready: cd {repo.top}"]))


@app.command()
def install(
    train: Annotated[bool, typer.Option("--train", help="This clone retrains after merges and pushes.")] = False,
    server: Annotated[bool, typer.Option("--server", help="In a bare repository: a push retrains.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="With --server: pushes that are not sound are refused."),
    ] = False,
) -> None:
    """Install the git hooks, of a clone or a server. Hooks that are there are kept and run first."""
    from gitdata.automation import hooks

    installed = hooks.install(open_repo(), server=server, train=train, strict=strict)
    print_lines(hook_lines(installed) or ["Everything is in place."])


@app.command()
def uninstall() -> None:
    """Take the git hooks out again. Those that were there before are put back; data and ledger stay."""
    from gitdata.automation import hooks

    print_lines(hooks.uninstall(open_repo()) or ["No hook of gitdata is installed here."])


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without asking.")] = False,
    as_json: Json = False,
) -> None:
    """What is wrong around the data, and how to mend it. Programs, settings, hooks, jobs; exit 1 for findings."""
    from gitdata.automation.doctor import doctor as run
    from gitdata.report.tables import check_lines

    records = run(open_repo(), fix=fix)
    show_records(records, as_json, lambda: print_lines(check_lines(records)))
    if any(record["state"] == "finding" for record in records):
        raise typer.Exit(FINDINGS)


@app.command()
def ci(
    action: Annotated[str, typer.Argument(metavar="init", help="What to do.")],
    forge: Annotated[str, typer.Argument(metavar="github|gitlab", help="The forge.")],
    requirement: Annotated[
        str | None, typer.Option("--install", metavar="REQUIREMENT", help="What a job's pip installs: gitdata.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the files, write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are not gitdata's.")] = False,
    as_json: Json = False,
) -> None:
    """Workflow files by which a forge retrains the declared models on a push. Somebody else's files stay."""
    from gitdata.automation.forge.setup import set_up, shown
    from gitdata.report.forge import forge_lines

    if action != "init":
        raise Mendable(f"`gitdata ci` knows no '{action}'.", f"Say `gitdata ci init {forge}`.")
    if show:
        for path, text in shown(open_repo(), forge, requirement).items():
            sys.stdout.write(f"# {path}\n{text}")
        return
    records = set_up(open_repo(), forge, requirement, force=force)
    show_records(records, as_json, lambda: print_lines(forge_lines(records)))


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a shell's completion script. Source it, as in `source <(gitdata completion bash)`."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise Mendable(f"There is no completion for '{shell}'.", f"Name one of {', '.join(SHELLS)}.")
    sys.stdout.write(get_completion_script(prog_name="gitdata", complete_var="_GITDATA_COMPLETE", shell=shell) + "\n")
