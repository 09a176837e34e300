"""Rows of very many small extensions without opening as many files: what was read and verified once comes from packs.

A file is small below 64 KiB. Where fewer than 64 small files are asked for they are simply read. What a pack holds was
verified when it was put in, by the digests that the pointer names, and is found by these very digests: ids, pointers
and blobs know nothing of packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
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
from gitdata.storage.cache import Blob
from gitdata.storage.packs import Packs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

SMALL = 64 * 1024  # bytes
MANY = 64  # files
ROW_INDEX = "rows.u64"


def packs_of(repo: Repo) -> Packs:
    """The packs of a clone."""
    return Packs(repo.state / "packs")


def forget(repo: Repo, blobs: Iterable[Blob]) -> None:
    """Remove all packs where one may hold what was read out of these blobs, whose bytes are to be nowhere."""
    packs = packs_of(repo)
    if packs.may_hold({blob.sha256 for blob in blobs if blob.sha256 is not None}):
        packs.remove()


def read_columns(
    repo: Repo,
    extensions: Sequence[Extension],
    split: str,
    fetch: Callable[[Sequence[Extension]], object],
    read: Callable[[Extension, Sequence[File]], Iterator[Columns]],
) -> list[Columns]:
    """The rows of every file of a split that has any, extensions in the order given, files in that of the listing.

    `fetch` brings the files of extensions into the cache, `read` verifies and reads some of one extension: both only
    for what no pack holds.
    """
    key_of = _Keys(split)
    keys = {id: key for e in extensions for id, key in key_of.small(e).items()}
    kept = packs_of(repo).recall(set(keys.values())) if len(keys) >= MANY else {}
    fetch([e for e in extensions if e.files is None or any(keys.get((e.id, p)) not in kept for p in key_of.places(e))])
    found: list[Columns] = []
    fresh: dict[str, Columns] = {}
    for extension in extensions:
        files = {f.place: f for f in repo.files_of(extension) if f.split == split and f.rows}
        named = {place: keys.get((extension.id, place)) for place in files}
        wanted = [place for place, key in named.items() if key not in kept]
        now = dict(zip(wanted, read(extension, [files[place] for place in wanted]), strict=True))
        fresh |= {key: columns for place, columns in now.items() if (key := named[place]) is not None}
        found += [now[place] if place in now else kept[named[place] or ""] for place in files]
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
        """By id and place, the keys of the small files that the pointer itself lists; a wide schema has no key.

        Nor has a file that came in a folder, whose place gives its rows fields besides, nor one that a plug-in reads.
        """
        from gitdata.data.formats import SUFFIXES

        if extension.files is None or extension.schema is None:
            return {}
        files = (file for file in extension.files if file.split == self.split and file.size < SMALL)
        alone = (file for file in files if "/" not in file.path and Path(file.path).suffix.lower() in SUFFIXES)
        return {(extension.id, file.place): self._key(file, extension.schema) for file in alone}

    def _key(self, file: File, schema: Schema) -> str:
        if schema not in self.schemas:
            self.schemas[schema] = digest([__version__, astuple(schema)])
        return f"{file.sha256} {Path(file.path).suffix} {self.schemas[schema]}"


def _sha256_of_index(extension: Extension) -> str | None:
    place = f"{pointer.SIDECAR}/{ROW_INDEX}"
    return next((a.sha256 for a in extension.sidecars if a.path == place and a.size < SMALL), None)
