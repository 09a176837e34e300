"""Transfer: blobs between the cache of this clone and the DVC remote that belongs to a git remote.

Readers go pointer → directory object → sidecars → files, writers the other way. What was fetched was hashed,
what was sent was listed: the storage room sees to that. This module knows which blobs a thing consists of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gitdata.commands.records import Say, silent
from gitdata.data import pointer
from gitdata.data.ledger import Entry
from gitdata.data.pointer import Extension
from gitdata.data.schema import Schema
from gitdata.errors import DataUnavailable
from gitdata.repo import Purpose, Repo, blob_of, directory_blob, malformed_sidecar
from gitdata.storage.cache import Blob, parse_directory_object

if TYPE_CHECKING:
    from gitdata.storage.remote import Remote


def open_remote(repo: Repo, purpose: Purpose, git_remote: str | None = None) -> Remote:
    """The DVC remote that belongs to a git remote."""
    from gitdata.storage.remote import Remote

    return Remote(repo.blob_remote(purpose, git_remote), repo.top / ".dvc", shared=repo.is_shared)


def fetch_blobs(repo: Repo, blobs: Iterable[Blob], purpose: Purpose = "data", say: Say = silent) -> int:
    """Bring what the cache lacks; the number of bytes that came."""
    absent = [blob for blob in blobs if not repo.cache.holds(blob)]
    if not absent:
        return 0
    remote = open_remote(repo, purpose)
    say(f"Fetching from {remote.url}: {len(absent)} blob{'s' * (len(absent) > 1)}.")
    return remote.download(repo.cache, absent)


def fetch_extensions(
    repo: Repo, extensions: Sequence[Extension], splits: Iterable[str] = pointer.SPLITS, say: Say = silent
) -> int:
    """Bring the files of some splits of extensions into the cache; the number of bytes that came."""
    splits = set(splits)
    heads = [directory_blob(e) for e in extensions] + [blob_of(a) for e in extensions for a in e.sidecars]
    for blob in heads:  # small, and read at once: a corrupt one makes room for the good copy
        if repo.cache.path(blob).is_file() and not repo.cache.verify(blob):
            repo.cache.reject(blob)
    with _naming(repo, extensions, splits):
        count = fetch_blobs(repo, heads, say=say)
    for extension in extensions:
        check_directory(repo, extension)
    files = [blob_of(f) for e in extensions for f in repo.files_of(e) if f.split in splits]
    with _naming(repo, extensions, splits):
        return count + fetch_blobs(repo, files, say=say)


@contextmanager
def _naming(repo: Repo, extensions: Sequence[Extension], splits: Iterable[str]) -> Iterator[None]:
    """A blob that cannot be had is named by the first extension that lacks one."""
    try:
        yield
    except DataUnavailable as error:
        lacking = next((e for e in extensions if repo.missing_from_cache(e, splits)), None)
        if lacking is None:
            raise
        name = f"{lacking.dataset}@{lacking.version} ({lacking.short})"
        raise DataUnavailable(f"{name} is not here in full. {error.message}", error.next_step) from error


def check_directory(repo: Repo, extension: Extension) -> None:
    """Raises DataUnavailable unless DVC's directory object names the very files that the listing names."""
    named = parse_directory_object(repo.cache.read(directory_blob(extension)))
    listed = {file.place: file.md5 for file in repo.files_of(extension)} | {a.path: a.md5 for a in extension.sidecars}
    if named != listed:
        raise DataUnavailable(
            f"DVC's directory object of {extension.dataset}@{extension.version} ({extension.short}) does not name the "
            "files that its pointer lists.",
            "The pointer was edited by hand; restore it from git.",
        )


def blobs_of(repo: Repo, extension: Extension) -> list[Blob]:
    """All blobs of an extension; those of a long listing are known once its sidecar is in the cache."""
    return [blob_of(f) for f in repo.files_of(extension)] + [
        *(blob_of(a) for a in extension.sidecars),
        directory_blob(extension),
    ]


def incomplete(repo: Repo, extensions: Sequence[Extension]) -> dict[str, int]:
    """How many blobs the cache lacks of those extensions, by id, that it does not hold all of.

    As `Repo.missing_from_cache` for thousands at once; a listing that is corrupt counts as one.
    """
    named = list(zip(extensions, pointer.blobs_of(extensions), strict=True))
    absent = repo.cache.absent(blob for _, blobs in named for blob in blobs or ())
    found: dict[str, int] = {}
    for extension, blobs in named:
        if blobs is None:
            try:
                count = len(repo.missing_from_cache(extension))
            except DataUnavailable:
                count = 1
        else:
            count = len(absent.intersection(blobs)) if absent else 0
        if count:
            found[extension.id] = count
    return found


def package_files(repo: Repo, entry: Entry, say: Say = silent) -> dict[str, bytes]:
    """The verified files of a package by name."""
    try:
        fetch_blobs(repo, [blob_of(file) for file in entry.version.files], "models", say)
    except DataUnavailable as error:
        name = f"{entry.version.model}@{entry.number}"
        raise DataUnavailable(
            f"The package of {name} cannot be had. {error.message}",
            "Where it was trained, or used, `gitdata verify --remote --deep --repair` puts it back.",
        ) from error
    return {file.path: repo.cache.read(blob_of(file)) for file in entry.version.files}


def sidecar_bytes(repo: Repo, extension: Extension, name: str) -> bytes:
    """The content of a sidecar, fetched if it is not here."""
    blob = repo.sidecar(extension, name)
    with _naming(repo, [extension], ()):
        fetch_blobs(repo, [blob])
    return repo.cache.read(blob)


def sidecar_json(repo: Repo, extension: Extension, name: str) -> Any:
    try:
        return json.loads(sidecar_bytes(repo, extension, name))
    except (ValueError, RecursionError) as error:
        raise malformed_sidecar(extension, name) from error


def sidecar_schema(repo: Repo, extension: Extension) -> Schema:
    """The schema of an extension whose pointer could not hold it."""
    try:
        return Schema.from_json(sidecar_json(repo, extension, "schema.json"))
    except ValueError as error:
        raise malformed_sidecar(extension, "schema.json") from error
