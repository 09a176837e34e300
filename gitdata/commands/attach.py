"""Attach: a version that could not be published is not lost, it is written into a folder.

Who has no write access, as the jobs of a fork, still sees what came of a training. The folder holds what the ledger
branch would: pointer, verdict, model card and, where it would have been delivered, the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitdata import durable
from gitdata.commands.publish import Propose, Publisher
from gitdata.commands.recording import Fresh
from gitdata.commands.records import Record
from gitdata.errors import GitdataError, TryAgain
from gitdata.repo import Repo


@contextmanager
def attached(folder: Path | None, fresh: Fresh, record: Callable[[Publisher], Record]) -> Iterator[None]:
    """Publishing, in the block; where that cannot be done, `record` with a publisher that writes into `folder`.

    Raises TryAgain all the same, naming the folder.
    """
    try:
        yield
    except TryAgain as error:
        if folder is None:
            raise
        written: list[str] = []
        try:
            record(lambda repo, propose: _write(repo, propose, folder, fresh, written))
        except TryAgain as again:
            raise error from again  # the git remote does not even say how things are
        raise _said(error, folder, written) from error


def _write(repo: Repo, propose: Propose, folder: Path, fresh: Fresh, written: list[str]) -> None:
    """Write what `propose` makes of the ledger as it was fetched last; the paths of the files into `written`."""
    change = propose(repo.ledger_commit())
    if change is None:
        return
    files = {path: content for path, content in change.files.items() if content is not None}
    stem = next(path.removesuffix(".verdict") for path in files if path.endswith(".verdict"))
    files |= {f"{stem}/{name}": content for name, content in fresh.files.items()}
    for path, content in files.items():
        durable.make_folder((folder / path).parent)
        durable.write(folder / path, content)
    written += files


def _said(error: TryAgain, folder: Path, written: list[str]) -> GitdataError:
    if not written:
        return error
    first = next((path for path in written if path.endswith(".md")), written[0])
    return TryAgain(f"{error.message}\nWhat was trained lies in '{folder}' instead: see {first}.", error.next_step)
