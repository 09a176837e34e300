"""Rows of very many small extensions without opening as many files: what was read and verified once comes from packs.

A file is small below 64 KiB. Where fewer than 64 small files are asked for they are simply read. What a pack holds was
verified when it was put in, by the digests that the pointer names, and is found by these very digests: ids, pointers
and blobs know nothing of packs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import __version__
from gitdata.canonical import digest
from gitdata.commands.transfer import sidecar_bytes
from gitdata.data import pointer
from gitdata.data.pointer import Extension, File
from gitdata.data.schema import Schema
from gitdata.errors import DataUnavailable, GitdataError, TryAgain
from gitdata.repo import Repo
from gitdata.storage.packs import Packs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

SMALL = 64 * 1024  # bytes
MANY = 64  # files
ROW_INDEX = "rows.u64"


def packs_of(repo: Repo) -> Packs:
    """The packs of a clone. They hold rows: whoever deletes the bytes of an extension for good removes the folder."""
    return Packs(repo.state / "packs")


def read_columns(
    repo: Repo,
    extensions: Sequence[Extension],
    split: str,
    fetch: Callable[[Sequence[Extension]], object],
    read: Callable[[Extension, File], Columns],
) -> list[Columns]:
    """The rows of every file of a split, extensions in the order given, files in that of the listing.

    `fetch` brings the files of extensions into the cache, `read` verifies and reads one: both only for what no pack
    holds.
    """
    key_of = _Keys(split)
    keys = {id: key for e in extensions for id, key in key_of.small(e).items()}
    kept = packs_of(repo).recall(set(keys.values())) if len(keys) >= MANY else {}
    fetch([e for e in extensions if e.files is None or any(keys.get((e.id, p)) not in kept for p in key_of.places(e))])
    files = [(e, f) for e in extensions for f in repo.files_of(e) if f.split == split]
    found: list[Columns] = []
    fresh: dict[str, Columns] = {}
    for extension, file in files:
        key = keys.get((extension.id, file.place))
        columns = kept.get(key) if key is not None else None
        if columns is None:
            columns = read(extension, file)
            if key is not None:
                fresh[key] = columns
        found.append(columns)
    if len(fresh) >= max(MANY, len(kept) // 16):
        packs_of(repo).keep(fresh)
    return found


def row_indexes(
    repo: Repo, extensions: Sequence[Extension], lost: Callable[[Extension, GitdataError], None] | None = None
) -> list[NDArray[np.uint64]]:
    """The row index of each extension, fetched where it is not here.

    Raises DataUnavailable or TryAgain where one cannot be had; with `lost` that is told instead, and it is left out.
    """
    from gitdata.data import rows

    keys = {e.id: f"{ROW_INDEX} {sha256}" for e in extensions if (sha256 := _sha256_of_index(e)) is not None}
    kept = packs_of(repo).recall(set(keys.values())) if len(keys) >= MANY else {}
    found: list[NDArray[np.uint64]] = []
    fresh: dict[str, Columns] = {}
    for extension in extensions:
        key = keys.get(extension.id, "")
        if key in kept:
            found.append(kept[key]["index"])
            continue
        try:
            index = rows.read_index(sidecar_bytes(repo, extension, ROW_INDEX))
        except (DataUnavailable, TryAgain) as error:
            if lost is None:
                raise
            lost(extension, error)
            continue
        found.append(index)
        if key:
            fresh[key] = {"index": index}
    if len(fresh) >= max(MANY, len(kept) // 16):
        packs_of(repo).keep(fresh)
    return found


class _Keys:
    """Names of parts: by content, suffix and schema, since these decide what reading a file gives."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.schemas: dict[Schema | None, str] = {}

    def places(self, extension: Extension) -> list[str]:
        return [file.place for file in extension.files or () if file.split == self.split]

    def small(self, extension: Extension) -> dict[tuple[str, str], str]:
        """By id and place, the keys of the small files that the pointer itself lists; a wide schema has no key."""
        if extension.files is None or extension.schema is None:
            return {}
        files = (file for file in extension.files if file.split == self.split and file.size < SMALL)
        return {(extension.id, file.place): self._key(file, extension.schema) for file in files}

    def _key(self, file: File, schema: Schema) -> str:
        if schema not in self.schemas:
            self.schemas[schema] = digest([__version__, [[f.name, f.dtype, f.shape] for f in schema.fields]])
        return f"{file.sha256} {Path(file.path).suffix} {self.schemas[schema]}"


def _sha256_of_index(extension: Extension) -> str | None:
    place = f"{pointer.SIDECAR}/{ROW_INDEX}"
    return next((a.sha256 for a in extension.sidecars if a.path == place and a.size < SMALL), None)
