"""The two reference pages that follow from the code: `python tests/docs/reference.py` writes them anew.

docs/commands.md lists every command and option of the command line; docs/messages.md every error a person can meet.
A test holds that they agree with the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from gitdata import cli, errors

ROOT = Path(__file__).resolve().parents[2]
COMMANDS, MESSAGES = ROOT / "docs" / "commands.md", ROOT / "docs" / "messages.md"

GROUPS = {
    "Set up and look after": ("init", "clone", "install", "uninstall", "ci", "doctor", "verify", "completion"),
    "Data": ("add", "extend", "retract", "renumber", "purge", "status", "ls", "log", "show", "diff"),
    "Blobs": ("push", "fetch", "pull", "checkout", "prune"),
    "Models": (
        "check", "train", "pending", "models", "lineage", "reproduce", "measures", "evaluate", "compare", "study",
        "promote", "reject", "rollback", "predict",
    ),
    "The runner": ("run", "jobs", "logs", "cancel", "demo"),
}  # fmt: skip


def commands() -> dict[str, Any]:
    """The commands that people see, by name."""
    group: Any = typer.main.get_command(cli.app)
    return {name: command for name, command in group.commands.items() if not command.hidden}


def commands_page() -> str:
    found = commands()
    lines = [
        "# The commands",
        "",
        "`gitdata` and `git data` are the same program. Every command that prints facts takes `--json`: one record a",
        "line, each with `schema`, `kind` and `id`. Progress goes to stderr, for a terminal or where",
        "`GITDATA_PROGRESS=1`. `DATASET@X` takes a version or an id prefix of at least four digits; without `@X` it",
        "means the heads. `MODEL@N` takes a number or an id prefix; without `@N` it means the champion. Exit codes:",
        "[errors.md](errors.md).",
        "",
        "This page follows from the code: `python tests/docs/reference.py` writes it anew.",
    ]
    for title, names in GROUPS.items():
        lines += ["", f"## {title}"]
        for name in names:
            lines += ["", *_command(name, found[name])]
    lines += [
        "",
        "## Settings",
        "",
        "| setting | meaning |",
        "|---|---|",
        "| `git config gitdata.remote NAME` | where results go; else upstream, `origin`, the only one |",
        "| `git config gitdata.train true` | this clone retrains; set by `gitdata install --train` |",
        "| `git config gitdata.trainMemory 4g` | rows that take more are streamed; default: a quarter of the memory |",
        "| `git config gitdata.allowPython true` | layers written in Python may run here; default: they may not |",
        "| `git config gitdata.checkpointSeconds 60` | seconds between two checkpoints of a training, at least |",
        "| `GITDATA_REMOTE` | as `gitdata.remote`, for one command |",
        "| `GITDATA_SKIP_PUSH` | pre-push uploads and checks nothing |",
        "| `GITDATA_SKIP_TRAIN` | no hook wakes a runner |",
        "| `GITDATA_PROGRESS` | `1`: progress also where stderr is no terminal |",
        "| `GITDATA_COMPILE_CACHE` | the folder of compiled programs; empty: none |",
        "| `git push -o gitdata.skip` | the server does not retrain for this push |",
    ]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    options = [p for p in command.params if p.param_type_name == "option"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    places = "".join(f" {argument.metavar or argument.name.upper()}" for argument in arguments)
    yield f"### `gitdata {name}{places}`"
    yield ""
    yield command.help.strip()
    rows = [*(_row(option) for option in options if "--json" not in option.opts)]
    if rows:
        yield ""
        yield "| option | |"
        yield "|---|---|"
        yield from rows


def _row(option: Any) -> str:
    value = "" if option.is_flag else f" {(option.metavar or option.type.name).upper()}"
    again = "; may be repeated" if option.multiple and "repeated" not in (option.help or "") else ""
    return f"| `{', '.join(sorted(option.opts, key=len))}{value}` | {option.help or ''}{again} |"


# --- messages ------------------------------------------------------------------------------------------------

KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.GitdataError) and kind is not errors.GitdataError
}


def messages() -> set[tuple[int, str, str]]:
    """(exit code, message, next step) of every error that the code makes; what varies is `…`."""
    found = set()
    for path in sorted((ROOT / "gitdata").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                texts = [_text(argument) for argument in node.args]
                found.add((KINDS[node.func.id].exit_code, texts[0], texts[1] if len(texts) > 1 else ""))
    return found


def _text(node: ast.expr) -> str:
    """A string as the code writes it, each expression in it as `…`."""
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.BinOp):
        text = _text(node.left) + _text(node.right)
    elif isinstance(node, ast.IfExp):
        text = " / ".join(dict.fromkeys(filter(None, (_text(node.body), _text(node.orelse)))))
    else:
        text = "…"
    return re.sub(r"\s+", " ", text).strip()


def messages_page() -> str:
    lines = [
        "# The messages",
        "",
        "Every error that gitdata makes, with its exit code and what it says to do next; `…` stands for what varies.",
        "Reasons and remedies of the most frequent ones: [errors.md](errors.md).",
        "",
        "This page follows from the code: `python tests/docs/reference.py` writes it anew.",
        "",
        "| exit | message | next step |",
        "|---|---|---|",
    ]
    rows = sorted(messages())
    return "\n".join([*lines, *(f"| {code} | {_cell(text)} | {_cell(step)} |" for code, text, step in rows)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    COMMANDS.write_text(commands_page())
    MESSAGES.write_text(messages_page())
