"""Rows of very many small extensions without opening as many files: what was read and verified once comes from packs.

A file is small below 64 KiB, stored and as arrays. Where fewer than 64 small files are asked for they are simply read,
and so is what goes beyond the room that one command takes in the packs. What a pack holds was verified when it was put
in, by the digests that the pointer names, and is found by these very digests: ids, pointers and blobs know nothing of
packs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import __version__
from gitdata.canonical import digest
from gitdata.commands.transfer import fetch_blobs, sidecar_bytes
from gitdata.data.pointer import SIDECAR, Extension, File
from gitdata.data.schema import Schema
from gitdata.errors import DataUnavailable, GitdataError, TryAgain
from gitdata.repo import Repo
from gitdata.storage.cache import Blob
from gitdata.storage.packs import ROOM, Packs, bytes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

SMALL = 64 * 1024  # bytes
AT_ONCE = ROOM // 4  # bytes of what one command finds in packs and puts there: what it keeps, it does not push out
MANY = 64  # files
_CONTENT = "content"


def packs_of(repo: Repo) -> Packs:
    """The packs of a clone."""
    return Packs(repo.state / "packs")


def forget(repo: Repo, blobs: Iterable[Blob]) -> None:
    """Remove all packs where one may hold what was read out of these blobs, whose bytes are to be nowhere."""
    packs = packs_of(repo)
    if packs.may_hold({blob.sha256 for blob in blobs if blob.sha256 is not None}):
        packs.remove()


def read_files(
    repo: Repo,
    wanted: Sequence[tuple[Extension, File]],
    fetch: Callable[[Sequence[Extension], Collection[str]], object],
    read: Callable[[Extension, Sequence[File]], Iterator[Columns]],
) -> Iterator[Columns]:
    """The rows of each of some files, each with its extension, in the order given.

    `fetch` brings the files of some splits of extensions into the cache, `read` verifies and reads files of one split
    of one extension: both only for what no pack holds.
    """
    key_of = _Keys()
    named = [(extension, file, key_of(extension, file)) for extension, file in wanted]
    kept = _recall(repo, {key for *_, key in named if key is not None})
    unread = [(extension, file) for extension, file, key in named if key not in kept]
    fetch(list({e.id: e for e, _ in unread}.values()), {file.split for _, file in unread})
    fresh = _Fresh(kept)
    for _, group in groupby(named, lambda item: (item[0].id, item[1].split)):
        files = list(group)
        now = read(files[0][0], [file for _, file, key in files if key not in kept])
        for _, _, key in files:
            columns = kept[key] if key is not None and key in kept else next(now)
            if key is not None and key not in kept:
                fresh.add(key, columns)
            yield columns
    fresh.keep(repo)


def read_sidecars(
    repo: Repo,
    extensions: Sequence[Extension],
    name: str,
    lost: Callable[[Extension, GitdataError], None] | None = None,
) -> dict[str, bytes]:
    """By id, the content of the sidecar `name` of each extension, fetched where it is not here.

    Raises DataUnavailable or TryAgain where one cannot be had; with `lost` that is told instead, and it is left out.
    """
    import numpy as np

    keys = {e.id: f"{name} {a.sha256}" for e in extensions for a in e.sidecars if a.path == f"{SIDECAR}/{name}"}
    kept = _recall(repo, keys.values())
    unread = [extension for extension in extensions if keys.get(extension.id) not in kept]
    with suppress(DataUnavailable, *(() if lost is None else (TryAgain,))):  # all at once; one by one says which
        fetch_blobs(repo, [repo.sidecar(extension, name) for extension in unread])
    found: dict[str, bytes] = {id: kept[key][_CONTENT].tobytes() for id, key in keys.items() if key in kept}
    fresh = _Fresh(kept)
    for extension in unread:
        try:
            content = found[extension.id] = sidecar_bytes(repo, extension, name)
        except (DataUnavailable, TryAgain) as error:
            if lost is None:
                raise
            lost(extension, error)
        else:
            fresh.add(keys[extension.id], {_CONTENT: np.frombuffer(content, np.uint8)})
    fresh.keep(repo)
    return found


def _recall(repo: Repo, keys: Collection[str]) -> dict[str, Columns]:
    return packs_of(repo).recall(keys) if len(keys) >= MANY else {}


class _Fresh:
    """What was read just now beside what packs gave, as far as there is room for it."""

    def __init__(self, kept: Mapping[str, Columns]) -> None:
        self.enough = max(MANY, len(kept) // 16)  # to be worth a pack of its own
        self.room = AT_ONCE - sum(map(bytes_of, kept.values()))
        self.parts: dict[str, Columns] = {}

    def add(self, key: str, columns: Columns) -> None:
        size = bytes_of(columns)
        if size < SMALL and size <= self.room:
            self.parts[key] = columns
            self.room -= size

    def keep(self, repo: Repo) -> None:
        if len(self.parts) >= self.enough:
            packs_of(repo).keep(self.parts)


class _Keys:
    """Names of what small files hold: by content, suffix and schema, since these decide what reading a file gives.

    A file has none that came in a folder, whose place gives its rows fields besides, nor one that a plug-in reads, nor
    one of which the schema is too wide for its pointer.
    """

    def __init__(self) -> None:
        self.schemas: dict[Schema, str] = {}

    def __call__(self, extension: Extension, file: File) -> str | None:
        from gitdata.data.formats import SUFFIXES

        suffix = Path(file.path).suffix
        if extension.schema is None or file.size >= SMALL or "/" in file.path or suffix.lower() not in SUFFIXES:
            return None
        return f"{file.sha256} {suffix} {self._of_schema(extension.schema)}"

    def _of_schema(self, schema: Schema) -> str:
        if schema not in self.schemas:
            self.schemas[schema] = digest([__version__, astuple(schema)])
        return self.schemas[schema]
