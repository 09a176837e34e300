"""The command line: parse, call a command, print. Errors become exit codes here and in the hooks alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitdata import __version__
from gitdata.errors import FINDINGS, INTERRUPTED, GateRefused, GitdataError, Mendable

if TYPE_CHECKING:
    from gitdata.automation.jobs import Job
    from gitdata.commands.extend import Request
    from gitdata.commands.records import Record
    from gitdata.data.pointer import Policy
    from gitdata.repo import Repo

app = typer.Typer(
    name="gitdata",
    help="Git for training data that grows: extend a dataset, push, and the model retrains on what it has not seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# click.ClickException; newer typer carries a click of its own, so the class is found through one that typer exports.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON record a line.")]
Message = Annotated[str | None, typer.Option("-m", "--message", help="Commit with this message.")]
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name.")]
References = Annotated[list[str] | None, typer.Argument(metavar="[DATASET[@X]]…", help="Default: every dataset.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="train, validation or test; may be repeated.")]
Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="CSV or HDF5 files with train rows.")]
TestPart = Annotated[str | None, typer.Option("--test", help="A file, or a fraction taken by hash of the inputs.")]
ValidationPart = Annotated[str | None, typer.Option("--validation", help="A file, or a fraction.")]
Version = Annotated[str | None, typer.Option("--version", help="The label of the new extension, as in 1.2.0.")]
Names = Annotated[str | None, typer.Option(metavar="A,B", help="Names of fields.")]
Dedupe = Annotated[bool, typer.Option("--dedupe", help="Leave out rows that the dataset already holds.")]


@app.callback(invoke_without_command=True)
def _global(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show_version:
        print(f"gitdata {__version__}")
        raise typer.Exit


# --- a repository and its data -------------------------------------------------------------------------------


@app.command()
def init() -> None:
    """Make this git repository a gitdata one: DVC's folder, ignore rules, hooks, the store for blobs."""
    from gitdata.automation import hooks
    from gitdata.commands.init import init as run

    repo = _repo()
    lines = run(repo)
    lines += _hook_lines(hooks.install(repo))
    _print(lines or ["Everything is in place."])


@app.command()
def install(
    server: Annotated[bool, typer.Option("--server", help="In a bare repository: a push retrains.")] = False,
) -> None:
    """Install the git hooks of this clone, or of a server. Hooks that are there are kept and run first."""
    from gitdata.automation import hooks

    installed = hooks.install(_repo(), server=server)
    _print(_hook_lines(installed) or ["Everything is in place."])


@app.command()
def add(
    dataset: Dataset,
    files: Files = None,
    test: TestPart = None,
    validation: ValidationPart = None,
    inputs: Names = None,
    outputs: Names = None,
    version: Version = None,
    dedupe: Dedupe = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Start a dataset: a base extension from files."""
    from gitdata.commands import extend as command

    request = _request(dataset, files, test, validation, inputs, outputs, version, dedupe, message)
    repo = _repo()
    record = command.add(repo, request, _say)
    _after_extending(repo, record, as_json)


@app.command()
def extend(
    dataset: Dataset,
    files: Files = None,
    parent: Annotated[list[str] | None, typer.Option("--parent", help="A version or id; default: the heads.")] = None,
    test: TestPart = None,
    validation: ValidationPart = None,
    test_policy: Annotated[str, typer.Option(help="The test rows of the parents: add, replace or drop.")] = "add",
    inputs: Names = None,
    outputs: Names = None,
    version: Version = None,
    dedupe: Dedupe = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Add new rows to a dataset: an extension on its heads. Stages a pointer; with -m commits it."""
    from gitdata.commands import extend as command

    request = _request(
        dataset,
        files,
        test,
        validation,
        inputs,
        outputs,
        version,
        dedupe,
        message,
        parent,
        _policy(test_policy),
    )
    repo = _repo()
    record = command.extend(repo, request, _say)
    _after_extending(repo, record, as_json)


@app.command()
def status(
    offline: Annotated[bool, typer.Option("--offline", help="Never asks the network; this is always so.")] = False,
    as_json: Json = False,
) -> None:
    """Heads, pointers not committed, blobs not in the cache, and what is pending per model."""
    from gitdata.commands.status import status as run
    from gitdata.report.tables import status_lines

    records = run(_repo())
    _show(records, as_json, lambda: _print(status_lines(records)))


@app.command()
def log(reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")], as_json: Json = False) -> None:
    """The extensions of a dataset, oldest first."""
    from gitdata.commands.history import log as run
    from gitdata.report.tables import log_rows, print_table

    records = run(_repo(), reference)
    headings = ("version", "id", "extends", "rows", "size", "committed", "by")
    _show(records, as_json, lambda: print_table(headings, log_rows(records), right=(4,)))


@app.command()
def show(reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")], as_json: Json = False) -> None:
    """Everything that the pointer of an extension says."""
    from gitdata.commands.history import show as run
    from gitdata.report.tables import show_lines

    records = run(_repo(), reference)
    _show(records, as_json, lambda: _print([line for record in records for line in show_lines(record)]))


@app.command()
def push(references: References = None, as_json: Json = False) -> None:
    """Upload blobs to the DVC remote and see them there. `git push` does this for what it pushes."""
    from gitdata.commands.sync import push as run
    from gitdata.report.tables import plural, size_text

    records = run(_repo(), references or [], _say)
    _show(
        records,
        as_json,
        lambda: _print([f"{plural(r['blobs'], 'blob')} on {r.id}, {size_text(r['bytes'])} sent" for r in records]),
    )


@app.command()
def fetch(references: References = None, split: Splits = None, as_json: Json = False) -> None:
    """Bring blobs into the cache, each verified, and the ledger up to date."""
    from gitdata.commands.sync import fetch as run

    records = run(_repo(), references or [], _splits(split), _say)
    _show(records, as_json, lambda: _print(_transfer_lines(records)))


@app.command()
def pull(references: References = None, split: Splits = None, as_json: Json = False) -> None:
    """Fetch, then put the files beside their pointers."""
    from gitdata.commands.sync import pull as run

    records = run(_repo(), references or [], _splits(split), _say)
    _show(records, as_json, lambda: _print(_transfer_lines(records)))


@app.command()
def checkout(
    reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")],
    split: Splits = None,
    as_json: Json = False,
) -> None:
    """Put the files of a closure beside their pointers."""
    from gitdata.commands.sync import checkout as run

    records = run(_repo(), reference, _splits(split), _say)
    _show(records, as_json, lambda: _print(_transfer_lines(records)))


# --- models --------------------------------------------------------------------------------------------------


@app.command()
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    at: Annotated[str | None, typer.Option("--at", help="The commit to train on; default: HEAD.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="DATASET@X instead of the declared data.")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", help="Rungs instead of the declared ones.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also if this was already attempted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Restore, train on what is unseen, test against the champion, record on the ledger."""
    from gitdata.commands.train import Options
    from gitdata.commands.train import train as run
    from gitdata.report.tables import training_lines

    options = Options(at, data, tuple(method) if method else None, force, dry_run)
    record = run(_repo(), model, options, _say)
    _show([record], as_json, lambda: _print(training_lines(record)))
    if record.fields.get("verdict") == "refused":
        raise typer.Exit(GateRefused.exit_code)


@app.command()
def pending(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when there is something to do.")] = False,
    as_json: Json = False,
) -> None:
    """What the champion of a model has not seen, or has seen and is no longer live."""
    from gitdata.commands.models import up_to_date_ledger
    from gitdata.commands.situation import pending as run
    from gitdata.report.tables import pending_text

    repo = _repo()
    snapshot = repo.snapshot()
    names = [model] if model else sorted(snapshot.declarations)
    records = run(repo, names, snapshot, up_to_date_ledger(repo, _say))
    _show(
        records,
        as_json,
        lambda: _print([f"{r.id}: {pending_text(r)}" for r in records] or ["No model is declared."]),
    )
    if exit_code and any(record["action"] != "nothing" for record in records):
        raise typer.Exit(FINDINGS)


@app.command()
def models(model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None, as_json: Json = False) -> None:
    """The versions of models, with verdict and champion (★)."""
    from gitdata.commands.models import models as run
    from gitdata.report.tables import model_rows, print_table

    records = run(_repo(), model, _say)
    headings = ("version", "id", "verdict", "method", "added", "metric", "why")
    _show(records, as_json, lambda: print_table(headings, model_rows(records), right=(5,)))


@app.command()
def promote(
    version: Annotated[str, typer.Argument(metavar="MODEL@N")],
    message: Annotated[str | None, typer.Option("-m", "--message", help="Why.")] = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion."""
    from gitdata.commands.models import promote as run

    record = run(_repo(), version, message, _say)
    _show(
        [record],
        as_json,
        lambda: _print([f"{record['model']}@{record['number']} is the champion: {record['reason']}"]),
    )


@app.command()
def predict(
    version: Annotated[str, typer.Argument(metavar="MODEL[@N]")],
    source: Annotated[Path, typer.Argument(metavar="FILE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV file to write.")],
    as_json: Json = False,
) -> None:
    """Predict the outputs for the rows of a file, in order, in original units."""
    from gitdata.commands.models import predict as run

    record = run(_repo(), version, source, output, _say)
    text = (
        f"{record['rows']} rows of {', '.join(record['outputs'])} by {record['model']} {record['version']} in {output}"
    )
    _show([record], as_json, lambda: _print([text]))


# --- automation ----------------------------------------------------------------------------------------------


@app.command()
def jobs(as_json: Json = False) -> None:
    """The runner's queue."""
    from gitdata.automation.jobs import Spool
    from gitdata.report.tables import print_table

    found = Spool(_repo().state).jobs()
    records = [_job_record(job) for job in found]
    rows = [[r.id, r["state"], ", ".join(r["refs"]), "; ".join(x["message"] for x in r["results"])] for r in records]
    _show(records, as_json, lambda: print_table(("job", "state", "refs", "result"), rows))


@app.command()
def logs(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or the beginning or end of one.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
) -> None:
    """What a job said."""
    from gitdata.automation.jobs import Spool
    from gitdata.automation.watch import follow_log

    spool = Spool(_repo().state)
    for text in follow_log(spool, spool.job(job).id, follow=follow):
        sys.stdout.write(text)
        sys.stdout.flush()


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Work through the queue, then end.")] = False,
) -> None:
    """The runner: trains what jobs ask for. Hooks start it; kept alive it is a server's worker."""
    from gitdata.automation.runner import run as work
    from gitdata.report.tables import plural

    print(f"{plural(work(_repo(), once=once), 'job')} done")


@app.command()
def demo(folder: Annotated[Path | None, typer.Argument(metavar="[DIR]")] = None, as_json: Json = False) -> None:
    """The whole loop on real lattice simulations: extend, push, retrain, new champion."""
    from gitdata.automation.demo import demo as play
    from gitdata.report.demo import print_demo

    records = play(folder, _say_always if not as_json else _say)
    _show(records, as_json, lambda: print_demo(records))


@app.command(hidden=True)
def hook(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """What the shims of hooks/ call."""
    from gitdata.commands.sync import push_refs

    remote, url = (arguments or ["", ""])[:2]
    if name != "pre-push":
        raise Mendable(f"There is no hook '{name}'.", "Install the hooks of this version: `gitdata install`.")
    push_refs(_repo(), remote, url, sys.stdin.read().splitlines(), _say_always)


# --- what the commands share ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of the documented codes."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        command = typer.main.get_command(app)
        status = command.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="gitdata",
            standalone_mode=False,
        )
        return status if isinstance(status, int) else 0
    except GitdataError as error:
        return _explain(error)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return INTERRUPTED
    except USAGE_ERROR as error:
        error.show()
        return Mendable.exit_code
    except KeyboardInterrupt:
        print("gitdata: interrupted; nothing half-done is left", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _explain(_from_system(error))
    except Exception as error:  # the last line of defence: a bug of ours, told in a way that can be reported
        return _report_bug(error)


def _explain(error: GitdataError) -> int:
    print(f"gitdata: {error.message}", file=sys.stderr)
    if error.next_step:
        print(f"         {error.next_step}", file=sys.stderr)
    return error.exit_code


def _from_system(error: OSError) -> GitdataError:
    """What the operating system refuses (permissions, a full disk) is for a person to mend."""
    where = f"'{error.filename}': " if error.filename else ""
    return Mendable(f"{where}{error.strerror or error}.", "Mend that, then run the same command again.")


def _report_bug(error: Exception) -> int:
    import platform
    import traceback

    print(f"gitdata: this is a bug in gitdata {__version__}: {type(error).__name__}: {error}", file=sys.stderr)
    print("         Please report it with the following lines.", file=sys.stderr)
    print(
        f"         python {platform.python_version()} on {platform.platform()}; {' '.join(sys.argv[1:])}",
        file=sys.stderr,
    )
    for line in "".join(traceback.format_exception(error)).splitlines():
        print(f"         {line}", file=sys.stderr)
    return GitdataError.exit_code


def _repo() -> Repo:
    from gitdata.repo import Repo

    return Repo(Path.cwd())


def _say(message: str) -> None:
    """Progress, on stderr, for a terminal or where GITDATA_PROGRESS asks for it."""
    if sys.stderr.isatty() or os.environ.get("GITDATA_PROGRESS", "") not in ("", "0"):
        print(message, file=sys.stderr, flush=True)


def _say_always(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def _show(records: Sequence[Record], as_json: bool, for_people: object) -> None:
    if as_json:
        for record in records:
            print(json.dumps(record.to_json(), sort_keys=True, ensure_ascii=False))
    else:
        assert callable(for_people)
        for_people()


def _request(
    dataset: str,
    files: list[Path] | None,
    test: str | None,
    validation: str | None,
    inputs: str | None,
    outputs: str | None,
    version: str | None,
    dedupe: bool,
    message: str | None,
    parents: list[str] | None = None,
    test_policy: Policy = "add",
) -> Request:
    from gitdata.commands.extend import Request

    return Request(
        dataset=dataset,
        files=files or [],
        test=test,
        validation=validation,
        inputs=_names(inputs),
        outputs=_names(outputs),
        version=version,
        message=message,
        parents=tuple(parents) if parents else None,
        test_policy=test_policy,
        dedupe=dedupe,
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _policy(text: str) -> Policy:
    from gitdata.data.pointer import POLICIES

    if text not in POLICIES:
        raise Mendable(f"--test-policy {text} is none of {', '.join(POLICIES)}.", "Choose one of them.")
    return text  # type: ignore[return-value]


def _splits(splits: list[str] | None) -> list[str]:
    from gitdata.data.pointer import SPLITS

    for split in splits or ():
        if split not in SPLITS:
            raise Mendable(f"--split {split} is none of {', '.join(SPLITS)}.", "Choose one of them.")
    return splits or []


def _after_extending(repo: Repo, record: Record, as_json: bool) -> None:
    from gitdata.automation import hooks
    from gitdata.report.tables import extension_text

    if hooks.missing(repo):
        for line in _hook_lines(hooks.install(repo)):
            _say_always(line)
    _show([record], as_json, lambda: _print(extension_text(record)))


def _hook_lines(installed: Sequence[object]) -> list[str]:
    from gitdata.automation.hooks import Installed

    lines = []
    for hook in installed:
        assert isinstance(hook, Installed)
        if hook.outcome == "installed":
            lines.append(f"Installed the hook {hook.path}.")
        elif hook.outcome == "by hand":
            lines += [
                f"core.hooksPath leads to {hook.path.parent}, which is not this repository's own.",
                f"Add this line to its {hook.hook} hook: {hook.line}",
            ]
    return lines


def _transfer_lines(records: Sequence[Record]) -> list[str]:
    from gitdata.report.tables import plural, size_text

    lines = []
    for record in records:
        if record.kind == "fetch":
            lines.append(
                f"{plural(record['extensions'], 'extension')} in the cache, {size_text(record['bytes'])} fetched"
            )
        else:
            lines.append(f"{record['folder']}: {plural(record['files'], 'file')} checked out")
    return lines


def _job_record(job: Job) -> Record:
    from gitdata.commands.records import Record

    fields = {
        "log": f"gitdata logs {job.id}",
        "refs": list(job.refs),
        "results": job.record.get("results", []),
    }
    times = {key: job.record.get(key) for key in ("started", "finished")}
    return Record("job", job.id, {"state": job.state, **fields, **times})
