"""Clone: a git clone that is ready for work: initialised, the ledger fetched, the files of every dataset in place."""

from __future__ import annotations

from pathlib import Path

from gitdata.commands.init import init
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.sync import pull
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.storage.git import Git


def clone(url: str, folder: Path | None, say: Say = silent) -> Repo:
    """Clone and initialise. Raises Mendable where `folder` is in use, TryAgain where git could not clone."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Mendable(f"'{folder}' exists and is not empty.", "Name another folder.")
    repo = Repo(Git.clone(url, folder).top)
    for line in init(repo):
        say(line)
    return repo


def pull_all(repo: Repo, say: Say = silent) -> list[Record]:
    """The files of every dataset at HEAD; none where nothing is committed yet."""
    return pull(repo, [], [], say) if repo.git.resolve("HEAD") is not None else []
