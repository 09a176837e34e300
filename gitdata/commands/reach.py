"""Reach: which extensions, and so which blobs, any branch still needs: the proof before anything is deleted.

What a branch *needs* is what is live at its tip. Branches are those of this clone, what is checked out in any of its
work trees, and those that the git remote has right now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gitdata.commands.transfer import blobs_of
from gitdata.commands.union import fetch_listings
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, Snapshot, purged_of
from gitdata.storage.cache import Blob

WORK_TREE = "the work tree"
RemoteBranches = Literal["now", "remembered", "none"]  # as the git remote has them, as this clone knows them, or not


@dataclass(frozen=True, slots=True)
class Reach:
    """What branches need: by name of a branch, the ids that are live there; the extensions by id."""

    live: Mapping[str, frozenset[str]]
    extensions: Mapping[str, Extension]

    def branches_of(self, id: str) -> list[str]:
        """Where an extension is live."""
        return sorted(branch for branch, ids in self.live.items() if id in ids)

    @property
    def needed(self) -> list[Extension]:
        """The extensions that are live somewhere."""
        ids = sorted({id for ids in self.live.values() for id in ids})
        return [self.extensions[id] for id in ids]


def reach(repo: Repo, remote: RemoteBranches) -> Reach:
    """What branches need, here and on the git remote. Raises TryAgain where that is asked and away."""
    snapshots = {branch: repo.snapshot(commit) for branch, commit in _tips(repo, remote).items()}
    if not repo.is_bare:
        snapshots[WORK_TREE] = repo.work_tree_snapshot()
    live: dict[str, frozenset[str]] = {}
    extensions: dict[str, Extension] = {}
    for branch, snapshot in snapshots.items():
        live[branch] = frozenset(id for chain in snapshot.chains.values() for id in repo.live(chain))
        extensions |= _extensions(snapshot)
    return Reach(live, extensions)


def blobs_needed(repo: Repo, extensions: Iterable[Extension]) -> dict[Blob, Extension]:
    """The blobs of extensions, each with one that needs it; a long listing that is not here is fetched first."""
    found: dict[Blob, Extension] = {}
    for extension in extensions:
        try:
            blobs = blobs_of(repo, extension)
        except DataUnavailable:
            fetch_listings(repo, [extension])
            blobs = blobs_of(repo, extension)
        found |= dict.fromkeys(blobs, extension)
    return found


def purged_at(repo: Repo, commits: Iterable[str]) -> frozenset[str]:
    """The extensions that retractions at some commits call purged: their bytes are to be nowhere."""
    found: set[str] = set()
    for commit in dict.fromkeys(commits):
        entries = [e for e in repo.git.tree(commit, DATASETS) if e.is_plain_file and e.path.endswith(".json")]
        contents = repo.git.objects(entry.object for entry in entries)
        found |= purged_of((entry.path, contents[entry.object]) for entry in entries)
    return frozenset(found)


def _tips(repo: Repo, remote: RemoteBranches) -> dict[str, str]:
    """The commits that people work from, by where they stand."""
    branches = [("", repo.git.branches())]
    if repo.git_remote is not None and remote != "none":
        ask = repo.git.remote_branches if remote == "now" else repo.git.remembered
        branches.append((f"{repo.git_remote}/", ask(repo.git_remote)))
    tips = {f"{prefix}{b}": c for prefix, own in branches for b, c in own.items() if not b.startswith("gitdata/")}
    return tips | {f"a work tree at {commit[:8]}": commit for commit in repo.git.work_tree_commits()}


def _extensions(snapshot: Snapshot) -> dict[str, Extension]:
    return {id: extension for chain in snapshot.chains.values() for id, extension in chain.extensions.items()}
