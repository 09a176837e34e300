"""Pages with transcripts: what a page shows after each command is what the command says.

A block ```sh is a script that says nothing worth reading; a block ```console a transcript: commands behind `$ `, each
followed by what it prints. All blocks of a page run in one shell, in order. A command ends with 0 unless the page shows
`$ echo $?` next. In a page `…` stands for any text within a line, a line of `…` alone for any lines; ids (of HDF5 files
they depend on the version of HDF5) may differ, but one must stand for the same thing everywhere in the page.

`python tests/docs/transcript.py PAGE DATA` writes into the page what the commands say now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ID = re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{56})?\b")
MARK = "\x1e"  # what no command prints: it ends the output of each
DATE = "2026-11-25T12:00:00+0000"


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a page, what the page shows that it prints, and where in the page; `shown` None: not compared."""

    command: str
    shown: str | None
    start: int = 0
    stop: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    printed: str


def steps(page: str) -> list[Step]:
    """The scripts and commands of a page, in order."""
    found = []
    for block in BLOCK.finditer(page):
        found += [Step(block[2], None)] if block[1] == "sh" else _commands(block[2], block.start(2))
    return found


def _commands(transcript: str, offset: int) -> Iterator[Step]:
    for part in re.finditer(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", transcript, re.MULTILINE):
        command = part[1].replace("\n> ", "\n").rstrip("\n")
        yield Step(command, part[2], offset + part.start(2), offset + part.end(2))


def run(page: str, folder: Path, data: Path) -> list[Ran]:
    """Run all steps of a page in one shell; `$data` there names the folder of the real data sets."""
    script = "".join(
        f"{step.command}\n_code=$?; printf '{MARK}%s{MARK}' $_code; (exit $_code)\n" for step in steps(page)
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
        stderr=subprocess.STDOUT, text=True, env=_environment(folder, data),
    )  # fmt: skip
    pieces = done.stdout.split(MARK)
    return [Ran(int(code), printed) for printed, code in zip(pieces[::2], pieces[1::2], strict=False)]


def _environment(folder: Path, data: Path) -> Mapping[str, str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"), ("DATE", DATE))}  # fmt: skip
    here = {"PATH": programs, "data": str(data), "COLUMNS": "100", "TZ": "UTC"}
    return {**os.environ, **who, **here}


def differences(page: str, ran: list[Ran]) -> list[str]:
    """What the page shows otherwise than it is."""
    found: list[str] = []
    names: dict[str, str] = {}
    wanted = steps(page)
    for number, step in enumerate(wanted):
        if number >= len(ran):
            return [*found, f"{step.command}: was not run"]
        told = number + 1 < len(wanted) and wanted[number + 1].command == "echo $?"
        if ran[number].code and not told:
            found.append(f"{step.command}: exit {ran[number].code}\n{ran[number].printed}")
        elif step.shown is not None and not agrees(step.shown, ran[number].printed, names):
            found.append(f"{step.command}\n--- the page\n{step.shown}--- it is\n{ran[number].printed}")
    return found


def agrees(shown: str, printed: str, names: dict[str, str]) -> bool:
    """Whether a page shows what was printed. `names`: which real id each id of the page stands for; it grows."""
    match = re.fullmatch(_pattern(shown), _trimmed(printed))
    if match is None:
        return False
    for of_page, real in zip(ID.findall(shown), match.groups(), strict=True):
        if names.setdefault(of_page[:8], real[:8]) != real[:8]:
            return False
    return len(set(names.values())) == len(names)


def _pattern(shown: str) -> str:
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*")
        for line in _trimmed(shown).splitlines(keepends=True)
    )
    return ID.sub(lambda id: f"([0-9a-f]{{{len(id[0])}}})", pattern)


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def written_anew(page: str, ran: list[Ran]) -> str:
    """The page with what its commands say now; what agrees already is left as it is."""
    for step, its in reversed([*zip(steps(page), ran, strict=False)]):
        if step.shown is not None and not agrees(step.shown, its.printed, {}):
            page = page[: step.start] + _trimmed(its.printed) + page[step.stop :]
    return page


if __name__ == "__main__":
    path, source = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        text = path.read_text()
        made = run(text, Path(scratch), source)
        path.write_text(written_anew(text, made))
        print(*differences(path.read_text(), made), sep="\n")
