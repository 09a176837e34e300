"""Written: which views without room for a mark are still what was written, so that they may be made anew.

Beside the repository, by the place of the view, lie the sha256 of what was written there last and, since a run may be
killed before its file has its name, of what was written before.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from gitdata import durable
from gitdata.errors import GitdataError
from gitdata.repo import Repo
from gitdata.storage.cache import hash_file


def is_as_written(repo: Repo, target: Path) -> bool:
    """Whether a file holds what this clone wrote there; of something that is no plain file nobody wrote anything."""
    known = _known(repo, target)
    try:
        return bool(known) and target.is_file() and hash_file(target).sha256 in known
    except (OSError, GitdataError):
        return False


def remember(repo: Repo, target: Path, sha256: str) -> None:
    """Note what a file is going to hold, before it has its name."""
    before = [digest for digest in _known(repo, target) if digest != sha256][:1]
    durable.write(_note(repo, target), "\n".join([sha256, *before]).encode())


def _known(repo: Repo, target: Path) -> list[str]:
    note = _note(repo, target)
    return note.read_text(errors="replace").split() if note.is_file() else []


def _note(repo: Repo, target: Path) -> Path:
    return repo.state / "views" / hashlib.sha256(str(target).encode(errors="surrogateescape")).hexdigest()
