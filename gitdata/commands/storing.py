"""Storing: data files and their sidecars, made ready beside the cache, then given their places in it.

A file that is *stored* was copied or hashed, so that it is known what it holds, and has no place yet: whatever is
refused until then leaves the cache as it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.intake import Part, Request, stamp
from gitdata.commands.known import ROW_FACTS, Source, row_sidecars
from gitdata.data import pointer, pointerfile
from gitdata.data.pointer import ROLE_INDEX, ROW_INDEX, Attachment, Directory, Extension, File
from gitdata.errors import Mendable
from gitdata.repo import Repo, blob_of
from gitdata.snapshot import DATASETS
from gitdata.storage.cache import Blob, directory_object, hash_file

if TYPE_CHECKING:
    from concurrent.futures import Future

STAGED_FILES = 64  # copies that are held open at once
Copy = tuple[Blob, Callable[[], None]]  # what a file holds, and what gives its copy a place in the cache
Stored = tuple[File, Callable[[], None]]


def copy_beside(repo: Repo, request: Request, stack: ExitStack) -> dict[Path, Future[Copy]]:
    """Begin to copy, without giving it a place, what will be stored whole, while its rows are being read."""
    from concurrent.futures import ThreadPoolExecutor

    parts = [part for part in (request.test, request.validation) if part is not None]
    if request.dedupe or request.grown is not None or not all(Path(part).is_file() for part in parts):
        return {}  # only chosen rows will be stored
    copied = stack.enter_context(ExitStack())
    beside = stack.enter_context(ThreadPoolExecutor(1))
    paths = [path for path in (*request.files, *map(Path, parts)) if path.is_file()]
    if len(paths) > STAGED_FILES:
        return {}
    return {path: beside.submit(copied.enter_context, repo.cache.adding(path)) for path in paths}


def materialise(
    repo: Repo, parts: Sequence[Part], copies: Mapping[Path, Future[Copy]], stack: ExitStack
) -> list[Stored]:
    """The data files as they will be stored: copied and hashed, but without their place; chosen rows in new files."""
    from gitdata.data import formats

    stage = _staged if len(parts) <= STAGED_FILES else _hashed
    stored = []
    for part in parts:
        path = part.source
        if part.keep is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gitdata-"))
            path = Path(scratch) / part.source.name
            formats.subset(part.source, part.keep, path)
        blob, place = copies[path].result() if path in copies else stage(repo, path, stack)
        if stamp(part.source) != part.found:
            raise Mendable(f"'{part.source}' changed while it was read.", "Try again when nobody writes to it.")
        assert blob.sha256 is not None
        assert blob.size is not None
        stored.append((File(part.split, part.place, blob.sha256, blob.size, part.rows, blob.md5), place))
    return stored


def store(
    repo: Repo, draft: Extension, parts: Sequence[Part], stored: Sequence[Stored], source: Source | None
) -> Extension:
    """Put the files and their sidecars into the cache; the extension that names them."""
    for _, place in stored:
        place()
    files = tuple(sorted(file for file, _ in stored))
    draft = replace(draft, files=files, listing=pointer.listing_digest(files), rows=pointer.row_counts(files))
    index, facts, telling = row_sidecars(parts, files, source)
    sidecars = [attach(repo, ROW_INDEX, index), attach(repo, ROW_FACTS, facts)]
    if telling is not None:
        sidecars.append(attach(repo, ROLE_INDEX, telling))
    slim = pointerfile.fit_inline(replace(draft, sidecars=tuple(sidecars)))
    if slim.schema is None:
        assert draft.schema is not None
        sidecars.append(attach(repo, "schema.json", readable_json(draft.schema.to_json())))
    if slim.files is None:
        sidecars.append(attach(repo, "listing.json", readable_json(pointerfile.files_to_json(files))))
    places = {file.place: Blob(file.md5, file.size, file.sha256) for file in files}
    places |= {a.path: Blob(a.md5, a.size, a.sha256) for a in sidecars}
    blob, content = directory_object(places)
    repo.cache.add_bytes(content, directory=True)
    total = sum(place.size or 0 for place in places.values())
    directory = Directory(blob.md5.removesuffix(".dir"), total, len(places))
    return replace(slim, sidecars=tuple(sorted(sidecars)), directory=directory)


def _staged(repo: Repo, path: Path, stack: ExitStack) -> Copy:
    """Copied and hashed in one pass; the copy is held open until it gets its place or the stack ends."""
    return stack.enter_context(repo.cache.adding(path))


def _hashed(repo: Repo, path: Path, stack: ExitStack) -> Copy:
    """Hashed now and copied when it gets its place: no process may hold thousands of files open."""
    blob = hash_file(path)

    def place() -> None:
        if repo.cache.add_file(path) != blob:
            raise Mendable(f"'{path}' changed while it was read.", "Try again when nobody writes to it.")

    return blob, place


def name_directory(repo: Repo, extension: Extension) -> None:
    """The directory object follows from the listing and the sidecars: make it, and let the pointer name it."""
    places = {file.place: blob_of(file) for file in repo.files_of(extension)}
    places |= {a.path: blob_of(a) for a in extension.sidecars}
    blob, content = directory_object(places)
    repo.cache.add_bytes(content, directory=True)
    total = sum(place.size or 0 for place in places.values())
    directory = Directory(blob.md5.removesuffix(".dir"), total, len(places))
    path = repo.writable(repo.top / DATASETS / extension.dataset / f"{extension.stem}.dvc")
    durable.write(path, pointerfile.encode(replace(extension, directory=directory)))


def attach(repo: Repo, name: str, content: bytes) -> Attachment:
    """A sidecar, put into the cache."""
    blob = repo.cache.add_bytes(content)
    assert blob.sha256 is not None
    assert blob.size is not None
    return Attachment(f"{pointer.SIDECAR}/{name}", blob.sha256, blob.size, blob.md5)
