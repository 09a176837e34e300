"""What the commands of the command line share: the application, option types, opening and printing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitdata.report.tables import printable

if TYPE_CHECKING:
    from gitdata.automation.hooks import Installed
    from gitdata.commands.records import Record
    from gitdata.repo import Repo

# The order in which the help shows them: what comes first in a day, or in a life with gitdata, stands first.
ORDER = (
    "init", "clone", "add", "extend", "status", "ls", "log", "show", "diff", "push",
    "fetch", "pull", "checkout", "retract", "renumber", "purge", "prune", "verify", "check", "train", "pending",
    "models", "lineage", "reproduce", "measures", "evaluate", "compare", "study", "predict", "promote", "reject",
    "rollback", "run", "jobs", "logs", "cancel", "install", "uninstall", "ci", "doctor", "completion", "demo",
)  # fmt: skip


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)  # made once: records may be thousands


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, context: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: (name not in ORDER, ORDER.index(name) if name in ORDER else 0))


app = typer.Typer(
    cls=_InOrder,
    name="gitdata",
    help="Git for training data that grows: extend a dataset, push, and the model retrains on what it has not seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_line(words: Sequence[str]) -> Any:
    """The command line for some words: where they begin with the name of a command, that one alone.

    Making all of them takes a fifth of a short command's time.
    """
    named = [info for info in app.registered_commands if [_name(info)] == [*words[:1]]]
    part = copy(app)
    part.registered_commands = named or app.registered_commands
    return typer.main.get_command(part)


def _name(command: typer.models.CommandInfo) -> str:
    return command.name or typer.main.get_command_name(getattr(command.callback, "__name__", ""))


Json = Annotated[bool, typer.Option("--json", help="Print one JSON record a line.")]
Message = Annotated[str | None, typer.Option("-m", "--message", help="Commit with this message.")]
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name.")]
References = Annotated[list[str] | None, typer.Argument(metavar="[DATASET[@X]]…", help="Default: every dataset.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="train, validation or test; may be repeated.")]
Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="Files or folders with train rows.")]
TestPart = Annotated[str | None, typer.Option("--test", help="A file, or a fraction taken by hash of the inputs.")]
ValidationPart = Annotated[str | None, typer.Option("--validation", help="A file, or a fraction.")]
Version = Annotated[str | None, typer.Option("--version", help="The label of the new extension, as in 1.2.0.")]
Names = Annotated[str | None, typer.Option(metavar="A,B", help="Names of fields.")]
Dedupe = Annotated[
    bool, typer.Option("--dedupe", help="Leave out rows that the dataset holds already, by its inputs and outputs.")
]


def open_repo() -> Repo:
    from gitdata.repo import Repo

    repo = Repo(Path.cwd())
    if repo.is_bare and repo.is_shared:
        os.umask(os.umask(0o077) & ~0o070)  # what we write is the group's too, as git's own files are
    return repo


def say(message: str) -> None:
    """Progress, on stderr, for a terminal or where GITDATA_PROGRESS asks for it."""
    if sys.stderr.isatty() or os.environ.get("GITDATA_PROGRESS", "") not in ("", "0"):
        say_always(message)


def say_always(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


def print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(printable(line))


def show_records(records: Sequence[Record], as_json: bool, for_people: Callable[[], None]) -> None:
    """Print records as JSON, one a line, or let `for_people` print them."""
    if as_json:
        sys.stdout.write("".join(f"{harmless_json(record.to_json())}\n" for record in records))
    else:
        for_people()


def harmless_json(value: Any) -> str:
    """One line of JSON in which whatever a terminal would obey is escaped."""
    text = _ENCODER.encode(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def hook_lines(installed: Sequence[Installed]) -> list[str]:
    lines = []
    for hook in installed:
        if hook.outcome == "installed":
            lines.append(f"Installed the hook {hook.path}.")
        elif hook.outcome == "by hand":
            lines += [
                f"core.hooksPath leads to {hook.path.parent}, which is not this repository's own.",
                f"Until these lines stand at the top of its {hook.hook} hook (after #!/bin/sh), gitdata is not called:",
                *hook.line.splitlines(),
            ]
    return lines
