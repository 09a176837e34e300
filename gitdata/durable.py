"""Durable writes: the one way by which gitdata puts bytes on a disk.

A write goes to a temporary file in the target's own folder, is flushed to the disk, renamed over the target,
and the folder is flushed. A reader sees the old file or the new one, also after a power cut. Temporary files
start with `TEMPORARY_PREFIX`, so that leftovers of a killed process can be recognised and removed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

TEMPORARY_PREFIX = ".gitdata-tmp-"


@contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file that becomes `target`, whole, when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode & ~_umask())
            os.fsync(file.fileno())
        rename(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def write(target: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` to `target`, whole or not at all."""
    with replacing(target, mode) as file:
        file.write(content)


def rename(source: Path, target: Path) -> None:
    """Move `source` over `target` within one file system, and make the move last."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
