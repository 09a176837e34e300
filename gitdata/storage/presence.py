"""Presence: which of many blobs are not there, in a folder laid out as DVC lays out caches and folder remotes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

Named = tuple[str, int | None]  # DVC's name of a blob and its size, None where that stands nowhere


def absent(root: Path, blobs: Iterable[Named]) -> frozenset[Named]:
    """The blobs that are not there with the right size; each of the folders, by two digits, is opened once."""
    folders: dict[str, list[Named]] = {}
    for blob in blobs:
        folders.setdefault(blob[0][:2], []).append(blob)
    return frozenset(blob for name, wanted in folders.items() for blob in _absent_from(root / name, wanted))


def _absent_from(folder: Path, blobs: Sequence[Named]) -> Sequence[Named]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return blobs
    try:
        return [blob for blob in blobs if not _is_there(blob[0][2:], blob[1], descriptor)]
    finally:
        os.close(descriptor)


def _is_there(name: str, size: int | None, folder: int) -> bool:
    if size is None:
        return os.access(name, os.F_OK, dir_fd=folder)
    try:
        return os.stat(name, dir_fd=folder).st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False
