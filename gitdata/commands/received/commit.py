"""A commit that is pushed, beside the commits of the server that it builds on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from gitdata.commands.finding import Finding
from gitdata.commands.received import rules
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, MODELS
from gitdata.storage.git import LARGEST, TreeEntry, is_read
from gitdata.storage.quarantine import Difference, Quarantine

COMPARED = 32  # commits that one push may build on and have looked at; beyond them old flaws count as new


class PushedCommit:
    """A commit that is pushed, beside those that it builds on and the server has: its `bases`."""

    def __init__(self, repo: Repo, git: Quarantine, ref: str, before: str | None, commit: str) -> None:
        self.repo, self.git, self.ref, self.commit = repo, git, ref, commit
        own: list[str | None] = [before] if before else []
        bases: list[str | None] = [*dict.fromkeys([*own, *git.held_before(commit)])][:COMPARED]
        self.bases = bases or [None]
        # What is a matter of the branch alone (which labels it has) is compared with the branch as it was.
        self.own = 1 if own else len(self.bases)

    @cached_property
    def differences(self) -> list[list[Difference]]:
        """What each base does not hold alike."""
        return [self.git.differences(base, self.commit, DATASETS, MODELS) for base in self.bases]

    @cached_property
    def brought(self) -> dict[str, TreeEntry]:
        """The files that no base holds, by path."""
        first, *others = ({d.path: d.after for d in found if d.after} for found in self.differences)
        return {path: entry for path, entry in first.items() if all(path in other for other in others)}

    def findings(self) -> Iterator[Finding]:
        """Files that nobody would read, of those that gitdata reads: links, and what is too large."""
        yield from rules.links({path: entry.mode for path, entry in self.brought.items()})
        read = [e for path, e in sorted(self.brought.items()) if e.is_plain_file and is_read(path)]
        sizes = self.git.sizes(entry.object for entry in read)
        yield from rules.giants({entry.path: sizes[entry.object] for entry in read})

    def small(self, entries: Iterable[TreeEntry]) -> list[TreeEntry]:
        """The plain files that are not too large to be read."""
        plain = [entry for entry in entries if entry.is_plain_file]
        sizes = self.git.sizes(entry.object for entry in plain)
        return [entry for entry in plain if sizes[entry.object] <= LARGEST]

    def read(self, entries: Iterable[TreeEntry]) -> dict[str, bytes]:
        """The content of plain files by path; of what is too large none."""
        return self.git.contents({entry.path: entry.object for entry in self.small(entries)})
