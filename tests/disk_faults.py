"""A disk that dies at a chosen step, and what a power cut leaves of what was not flushed.

It stands in for `durable.disk`, through which every durable write goes, and before git, so that the steps of a command
are all it does to the disk. After the fatal step every further call fails: no clean-up runs, as after `kill -9`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from gitdata import durable
from gitdata.storage import git, process, remote

WRITES = {
    "add", "commit", "commit-tree", "config", "fetch", "hash-object", "push", "read-tree", "rm", "update-index",
    "update-ref", "write-tree",
}  # fmt: skip


State = frozenset[tuple[Path, int, int, int, int]]


class Crash(BaseException):
    """The process is gone."""


def state_of(folder: Path) -> State:
    """What tells whether something below a folder was changed."""
    found = ((path, path.lstat()) for path in folder.rglob("*"))
    return frozenset((path, s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns) for path, s in found)


@dataclass
class DyingDisk(durable.Disk):
    """Counts steps; dies before step `at` (counted from 1) is done.

    `steps` names all that was begun; before each of them `states` holds what is below `watched`, and whether a power
    cut would lose some of it.
    """

    at: int | None = None
    steps: list[str] = field(default_factory=list)
    states: list[tuple[State, bool]] = field(default_factory=list)
    watched: Path | None = None
    dead: bool = False
    unflushed: set[Path] = field(default_factory=set)  # files whose content is not on the disk
    unsettled: list[tuple[Path, Path, bytes | None]] = field(default_factory=list)  # target, source, what was there

    def step(self, name: str) -> None:
        if self.dead:
            raise Crash
        self.steps.append(name)
        if self.watched:
            self.states.append((state_of(self.watched), bool(self.unflushed or self.unsettled)))
        if len(self.steps) == self.at:
            self.dead = True
            raise Crash

    def create(self, path: Path) -> IO[bytes]:
        self.step(f"create {path.parent.name}")
        self.unflushed.add(path)
        return super().create(path)

    def sync_file(self, file: IO[bytes]) -> None:
        self.step("flush")
        super().sync_file(file)
        self.unflushed.discard(Path(file.name))

    def rename(self, source: Path, target: Path) -> None:
        self.step(f"rename to {target.name}")
        before = target.read_bytes() if target.is_file() else None
        super().rename(source, target)
        self.unsettled.append((target, source, before))
        if source in self.unflushed:
            self.unflushed.discard(source)
            self.unflushed.add(target)

    def make_folder(self, folder: Path) -> None:
        self.step(f"make {folder.name}")
        super().make_folder(folder)

    def sync_folder(self, folder: Path) -> None:
        self.step(f"flush {folder.name}")
        super().sync_folder(folder)
        self.unsettled = [change for change in self.unsettled if change[0].parent != folder]

    def remove(self, path: Path) -> None:
        self.step("remove")
        super().remove(path)
        self.unflushed.discard(path)

    def deaths(self) -> Iterator[tuple[int, bool]]:
        """(step, without power) of every death, but those that leave the disk as the one before, or as a kill."""
        before = None
        for at, (state, at_risk) in enumerate(self.states, 1):
            if state != before:
                yield at, False
            if at_risk:
                yield at, True
            before = state

    def cut_power(self) -> None:
        """Lose all that was not flushed: names fall back to what they meant, contents are gone."""
        for target, source, before in reversed(self.unsettled):
            if target.exists():
                target.rename(source)
            if target in self.unflushed:
                self.unflushed.add(source)
            if before is not None:
                target.write_bytes(before)
        for path in self.unflushed:
            if path.exists():
                path.chmod(0o644)
                path.write_bytes(b"")


@contextmanager
def dying(at: int | None, watched: Path | None = None) -> Iterator[DyingDisk]:
    """All durable writes, and git's, go through a disk that dies at a step; None: it never does."""
    disk = DyingDisk(at, watched=watched)
    run = git.run_git

    def run_git(arguments: Sequence[str], *rest: Any, **more: Any) -> bytes:
        command = process.without_settings(arguments)[0]
        if command in WRITES:
            disk.step(f"git {command}")
        return run(arguments, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "disk", disk)
        patch.setattr(git, "run_git", run_git)
        patch.setattr(remote, "JOBS", 1)  # one order of steps
        yield disk
