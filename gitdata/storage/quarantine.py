"""Quarantine: what a push has brought to a repository, before any ref names it.

Git keeps the objects of a push apart until its hook pre-receive has agreed, and says by variables where they are: only
these are handed on here. Whoever pushes decides how much there is to be said, so that every answer has a largest size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitdata.errors import Mendable
from gitdata.storage.git import Git, TreeEntry, tree_entry
from gitdata.storage.process import GitFailed, TooMuch, read_git

_WHERE = ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH")
MOST_SAID = 32 * 1024 * 1024  # bytes: names of files, or of commits
MOST_READ = 64 * 1024 * 1024  # bytes of all files that are read for one purpose: some 40,000 pointers
_AT_ONCE = 500  # folders that are named to one git


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that two trees do not hold alike; None: that tree has no such file."""

    path: str
    before: TreeEntry | None
    after: TreeEntry | None


class Quarantine(Git):
    """A repository with what is being pushed to it. Nothing is written, and `refs/replace` replaces nothing."""

    def __init__(self, git: Git) -> None:
        super().__init__(git.folder, git.common, git.work_tree)
        self._sizes: dict[str, int] = {}

    def run(self, *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> bytes:
        return super().run(*arguments, stdin=stdin, environment=_inherited() | dict(environment or {}))

    def tree(self, revision: str, *paths: str) -> list[TreeEntry]:
        """As Git's. Raises Mendable, too: a tree of few bytes may hold a thousand times itself."""
        return _entries(self._read("ls-tree", "-r", "-z", "--full-tree", revision, "--", *paths))

    def commits(self, names: Iterable[str]) -> dict[str, str | None]:
        """The commit that each object is or, as a tag, leads to; None for what leads to none."""
        asked = list(dict.fromkeys(names))
        lines = "".join(f"{name}^{{commit}}\n" for name in asked).encode()
        answers = self.run("cat-file", "--batch-check=%(objectname)", stdin=lines).decode().splitlines()
        return {name: None if " " in answer else answer for name, answer in zip(asked, answers, strict=True)}

    def held_before(self, commit: str) -> list[str]:
        """The commits that this repository had and those of `commit` that it had not build on, the newest first.

        Where it had `commit` itself, that one.
        """
        lines = self._read("rev-list", "--boundary", commit, "--not", "--all").decode().split()
        return [line[1:] for line in lines if line.startswith("-")] if lines else [commit]

    def differences(self, before: str | None, after: str, *paths: str) -> list[Difference]:
        """What two commits do not hold alike below `paths`; None: before there was nothing. Raises Mendable."""
        if before is None:
            return [Difference(entry.path, None, entry) for entry in self.tree(after, *paths)]
        raw = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after, "--", *paths)
        tokens = iter(self._read(*raw).split(b"\0"))
        found = []
        for token in tokens:
            if token.startswith(b":"):
                path = next(tokens).decode(errors="surrogateescape")
                old_mode, mode, old, name, _ = token[1:].decode().split(" ")
                found.append(Difference(path, _entry(old_mode, old, path), _entry(mode, name, path)))
        return found

    def beside(self, commit: str, folders: Iterable[str]) -> list[TreeEntry]:
        """What lies in some folders, without what lies deeper. Raises Mendable."""
        named = [f"{folder}/" for folder in folders]
        parts = [named[start : start + _AT_ONCE] for start in range(0, len(named), _AT_ONCE)]
        return [e for part in parts for e in _entries(self._read("ls-tree", "-z", "--full-tree", commit, "--", *part))]

    def text_at(self, commit: str, path: str, most: int) -> str | None:
        """The text of a small file of a commit; None where there is none, or it is larger."""
        try:
            return self._read("cat-file", "blob", f"{commit}:{path}", most=most).decode(errors="replace")
        except (GitFailed, Mendable):
            return None

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """How many bytes each object has."""
        wanted = list(dict.fromkeys(names))
        asked = "".join(f"{name}\n" for name in wanted if name not in self._sizes).encode()
        if asked:
            answer = self.run("cat-file", "--batch-check=%(objectsize) %(objectname)", stdin=asked).decode()
            pairs = [line.split(" ") for line in answer.splitlines()]
            if lost := next((size for size, name in pairs if not size.isdigit()), None):
                raise GitFailed(["cat-file"], 1, f"object {lost} is missing")
            self._sizes |= {name: int(size) for size, name in pairs}
        return {name: self._sizes[name] for name in wanted}

    def objects(self, names: Iterable[str]) -> dict[str, bytes]:
        """As Git's. Raises Mendable where all together are more than anybody needs."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        total = sum(self.sizes(wanted).values())
        if total > MOST_READ:
            raise Mendable(
                f"This push touches {total:,} bytes of pointers; {MOST_READ:,} are looked at in one.",
                "Push in parts: `git push REMOTE COMMIT:BRANCH` sends what leads to that commit.",
            )
        return super().objects(wanted)

    def _refuse_giants(self, names: object) -> None:
        """All together were found to be of a size that can be read."""

    def _read(self, *arguments: str, most: int = MOST_SAID) -> bytes:
        try:
            return read_git(arguments, self.top, most, _inherited())
        except TooMuch as error:
            raise Mendable(
                f"This push is too large to be looked at: {error}",
                "Push in parts: `git push REMOTE COMMIT:BRANCH` sends what leads to that commit.",
            ) from error


def _inherited() -> dict[str, str]:
    """What git told the hook of where the objects are."""
    return {name: os.environ[name] for name in _WHERE if name in os.environ} | {"GIT_NO_REPLACE_OBJECTS": "1"}


def _entries(listing: bytes) -> list[TreeEntry]:
    return [tree_entry(line) for line in listing.split(b"\0") if line]


def _entry(mode: str, name: str, path: str) -> TreeEntry | None:
    return TreeEntry(mode, name, path) if mode.strip("0") else None
