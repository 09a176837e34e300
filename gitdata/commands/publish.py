"""Publish: every change of the ledger is one commit, made by compare-and-swap on its ref.

In a clone with a git remote the commit object is pushed and the ref that is fetched follows; elsewhere the
local ref moves. Whoever loses the race reads the ledger again and decides again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gitdata.commands.init import DVC_IGNORED
from gitdata.data import pointerfile
from gitdata.data.ledger import Entry, Ledger, encode_verdict
from gitdata.errors import TryAgain
from gitdata.repo import LEDGER_REF, Repo
from gitdata.snapshot import MODELS

ATTEMPTS = 20

Propose = Callable[[str | None], "Change | None"]  # what to change, given the ledger's tip
Publisher = Callable[[Repo, Propose], str | None]


@dataclass(frozen=True, slots=True)
class Change:
    """Files of the ledger branch to write (bytes) or remove (None), and the message that says why."""

    files: Mapping[str, bytes | None]
    message: str


def publish(repo: Repo, propose: Propose) -> str | None:
    """Commit what `propose` makes of the ledger's tip, again and again until nobody was faster.

    `propose` is handed the tip (None: there is no ledger yet) and may return None: nothing to change. The new
    tip, or None. Raises TryAgain where the remote is away.
    """
    for _ in range(ATTEMPTS):
        tip = repo.fetch_ledger()
        change = propose(tip)
        if change is None:
            return None
        files: dict[str, bytes | None] = dict(change.files)
        if tip is None:
            # Without it a checkout back to another branch aborts once a real dvc has run on this one.
            files[".dvc/.gitignore"] = DVC_IGNORED.encode()
        commit = repo.git.commit_files(tip, files, change.message)
        if _swap(repo, commit, tip):
            repo.keep_ledger(commit)
            return commit
    raise TryAgain(
        f"The ledger changed {ATTEMPTS} times while this result was being published.",
        "Run the same command again.",
    )


def _swap(repo: Repo, commit: str, tip: str | None) -> bool:
    if repo.git_remote is None:
        return repo.git.swap_ref(LEDGER_REF, commit, tip)
    if not repo.git.push_commit(repo.git_remote, commit, LEDGER_REF, tip):
        return False
    repo.git.swap_ref(repo.ledger_ref, commit, repo.git.resolve(repo.ledger_ref))
    return True


def version_files(entry: Entry, card: str) -> dict[str, bytes | None]:
    """The files that a new version adds to the ledger."""
    stem = f"{MODELS}/{entry.version.model}/{entry.stem}"
    return {
        f"{stem}.dvc": pointerfile.encode_model(entry.version, entry.number),
        f"{stem}.verdict": encode_verdict(entry.verdict),
        f"{stem}.md": card.encode(),
    }


def verdict_file(entry: Entry) -> dict[str, bytes | None]:
    return {f"{MODELS}/{entry.version.model}/{entry.stem}.verdict": encode_verdict(entry.verdict)}


def champion_file(ledger: Ledger, entry: Entry) -> dict[str, bytes | None]:
    return {f"{MODELS}/{ledger.model}/champion": f"{entry.stem}\n".encode()}
