"""Durable writes: the one way by which gitdata puts bytes on a disk.

Bytes go to a temporary file in the target's own folder (or one of the same file system), are flushed to the disk,
renamed over the target, and the folder is flushed. A reader sees the old file or the new one, also after a power
cut. A temporary file is locked as long as its writer lives, so that what a killed process left can be told from
what is being written, and is removed. Every call that reaches the disk goes through `disk`, so that tests can put
faults there.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gitdata.errors import Mendable

TEMPORARY_PREFIX = ".gitdata-tmp-"
_LOCKED_BY_NOW = 60.0  # seconds


class Disk:
    """The calls that reach the disk. Tests stand in here: to record them, to fail them, to kill between two."""

    def create(self, path: Path) -> IO[bytes]:
        """A new file, open for writing. Raises FileExistsError."""
        return path.open("xb")

    def sync_file(self, file: IO[bytes]) -> None:
        file.flush()
        os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        path.unlink()

    def link(self, source: str, target: Path) -> None:
        target.symlink_to(source)


disk = Disk()


@dataclass(slots=True)
class Staged:
    """A temporary file that may take its place under another name; `file` is open for writing."""

    path: Path
    file: IO[bytes]

    def place(self, target: Path, mode: int = 0o666) -> None:
        """Flush the bytes, give them their mode and their name, and make the name last."""
        os.fchmod(self.file.fileno(), mode & ~_umask())
        disk.sync_file(self.file)
        make_folder(target.parent)
        rename(self.path, target)


@contextmanager
def staging(folder: Path, *, room: int = 0) -> Iterator[Staged]:
    """A temporary file in `folder`, gone at the end of the block unless it was placed.

    `room`: the bytes that will be written. Raises Mendable where the disk has no room for them.
    """
    make_folder(folder)
    require_room(folder, room)
    path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with disk.create(path) as file:
        try:
            _lock(file)
            yield Staged(path, file)
        except OSError as error:
            if error.filename is None:  # a write does not say where: a full disk is to be named
                error.filename = str(path)
            raise
        finally:
            with suppress(FileNotFoundError):
                disk.remove(path)


@contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file that becomes `target`, whole, when the block ends without an error."""
    remove_leftovers(target.parent)
    with staging(target.parent) as staged:
        yield staged.file
        staged.place(target, mode)


def write(target: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` to `target`, whole or not at all."""
    with replacing(target, mode) as file:
        file.write(content)


def rename(source: Path, target: Path) -> None:
    """Move `source` over `target` within one file system, and make the move last."""
    disk.rename(source, target)
    disk.sync_folder(target.parent)
    if source.parent != target.parent:
        disk.sync_folder(source.parent)


def link(source: str, target: Path) -> None:
    """Make `target` a symbolic link to `source`, which is relative to its folder."""
    make_folder(target.parent)
    disk.link(source, target)


def remove(path: Path) -> None:
    """Remove a file, and make that last."""
    disk.remove(path)
    disk.sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those it lies in, and make their names last."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    disk.make_folder(folder)
    disk.sync_folder(folder.parent)


def require_room(folder: Path, size: int) -> None:
    """Raises Mendable unless the disk of `folder` has room for `size` bytes."""
    if size and shutil.disk_usage(folder).free < size:
        raise Mendable(f"The disk of '{folder}' has no room for {size:,} bytes.", "Free some, then try again.")


def leftovers(folder: Path) -> list[Path]:
    """The temporary files in `folder` whose writer is gone."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in paths if _is_abandoned(path)]


def remove_leftovers(folder: Path) -> int:
    """Remove what killed writers left in `folder`; the number of files."""
    found = leftovers(folder)
    for path in found:
        with suppress(FileNotFoundError):
            disk.remove(path)
    return len(found)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody holds the lock; between making a file and locking it passes less than a minute."""
    try:
        if abs(time.time() - path.stat().st_mtime) < _LOCKED_BY_NOW:  # a clock may have been ahead
            return False
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # being written, gone already, or on a file system that cannot tell
        return False
    return True


def _lock(file: IO[bytes]) -> None:
    with suppress(OSError):  # a file system without locks: then nobody can take this file for a leftover either
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
