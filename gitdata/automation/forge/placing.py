"""Placing: a forge's files come into a work tree, and nothing that somebody else wrote is lost.

The first line of a file that gitdata wrote holds a digest of the rest, so that it can tell whether anybody changed it
since. What was decided for every file is done only if all of them can be placed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gitdata import durable
from gitdata.errors import Mendable
from gitdata.repo import Repo

_MARK = re.compile(
    r"# Written by `gitdata ci init [a-z]+`, which writes it anew where nobody changed it \(([0-9a-f]{16})\)\.\n"
)
_INCLUDED = re.compile(r"^[^#\n]*\.gitlab/gitdata\.yml", re.MULTILINE)

Outcome = Literal["written", "up to date", "included"]


@dataclass(frozen=True, slots=True)
class Placed:
    """What is to become of one file; `included`: somebody's own file takes ours in, and stays as it is."""

    path: str
    text: str
    outcome: Outcome


def marked(forge: str, text: str) -> str:
    """`text` below the line by which gitdata knows it again."""
    mark = f"# Written by `gitdata ci init {forge}`, which writes it anew where nobody changed it ({_digest(text)}).\n"
    return mark + text


def is_ours(text: str) -> bool:
    """Whether gitdata wrote this, and nobody changed it since."""
    match = _MARK.match(text)
    return match is not None and match[1] == _digest(text[match.end() :])


def decide(present: Mapping[str, str | None], rendered: Mapping[str, str], *, force: bool) -> list[Placed]:
    """What is to become of each rendered file, by what is there. Raises Mendable naming one that is not ours."""
    return [_decide(path, present.get(path), text, force=force) for path, text in rendered.items()]


def place(repo: Repo, forge: str, files: Mapping[str, str], *, force: bool) -> list[Placed]:
    """Write a forge's files. Raises Mendable, with nothing written, where one is somebody else's."""
    places = {path: repo.writable(repo.top / path) for path in files}
    present = {path: place.read_text(errors="replace") for path, place in places.items() if place.is_file()}
    rendered = {path: marked(forge, text) for path, text in files.items()}
    placed = decide(present, rendered, force=force)
    for file in placed:
        if file.outcome == "written":
            durable.make_folder(places[file.path].parent)
            durable.write(places[file.path], file.text.encode())
    return placed


def _decide(path: str, present: str | None, text: str, *, force: bool) -> Placed:
    if present == text:
        return Placed(path, text, "up to date")
    if present is None or force or is_ours(present):
        return Placed(path, text, "written")
    if path == ".gitlab-ci.yml" and _INCLUDED.search(present):
        return Placed(path, present, "included")
    raise _foreign(path, present)


def _foreign(path: str, present: str) -> Mendable:
    if path == ".gitlab-ci.yml":
        return Mendable(
            f"'{path}' is a pipeline of your own, which gitdata leaves alone. Add to it what takes gitdata's part in:\n"
            "include:\n  - local: .gitlab/gitdata.yml",
            "Its jobs run in the stage `test`. Then run the same command again (--force replaces the file).",
        )
    who = "was changed by hand since gitdata wrote it" if _MARK.match(present) else "was not written by gitdata"
    return Mendable(
        f"'{path}' {who}, so it stays as it is.",
        "`gitdata ci init FORGE --show` prints what it is to say: take over what you need, or replace it with --force.",
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
