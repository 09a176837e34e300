"""Stored: whether a server's own store holds what pushed pointers name, where that is a folder that can be looked at.

Of any other store nothing is said: the pusher's hook has seen the blobs there. Only names and sizes are looked at; a
long listing is read out of the store, once it is what its pointer says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gitdata.commands.finding import Finding
from gitdata.data import pointer
from gitdata.data.pointer import Extension, ModelVersion
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import DATA_REMOTE, Purpose, Repo
from gitdata.snapshot import DATASETS, read_retraction
from gitdata.storage import config
from gitdata.storage.cache import Cache
from gitdata.storage.quarantine import Quarantine
from gitdata.store import local_folder

Named = tuple[str, int | None]  # DVC's name of a blob and its size, None where that stands nowhere
LARGEST_LISTING = 64 * 1024 * 1024  # bytes
SMALL = 64 * 1024  # bytes of a retraction, or of DVC's configuration


class Stores:
    """The stores of a server, for the pointers that the commit `commit` brings to it."""

    def __init__(self, repo: Repo, git: Quarantine, commit: str) -> None:
        self.repo, self.git, self.commit = repo, git, commit

    def lacking(self, extensions: Mapping[str, Extension]) -> Iterator[Finding]:
        """A finding for each extension, given by the path of its pointer, of which the store lacks blobs."""
        if not extensions or (store := self._store("data")) is None:
            return
        with suppress(PermissionError):
            blobs = dict(zip(extensions, self._blobs(store, list(extensions.values())), strict=True))
            absent = _absent(store, blobs)
            if absent and self._is_elsewhere():
                return
            for path, count in absent.items():
                extension = extensions[path]
                if not self._is_purged(extension):
                    name = f"{extension.dataset}@{extension.version}"
                    yield _lacking(path, name, count, self._url("data"), f"`gitdata push {name}`")

    def lacking_packages(self, versions: Mapping[str, ModelVersion]) -> Iterator[Finding]:
        """A finding for each version, given by the path of its pointer, of which the store lacks parts."""
        if not versions or (store := self._store("models")) is None:
            return
        with suppress(PermissionError):
            blobs = {p: [_directory(v), *((f.md5, f.size) for f in v.files)] for p, v in versions.items()}
            absent = _absent(store, blobs)
            if absent and self._is_elsewhere():
                return
            for path, count in absent.items():
                clone = "The clone that trained it"
                yield _lacking(path, versions[path].model, count, self._url("models"), clone)

    def _store(self, purpose: Purpose) -> Cache | None:
        folder = local_folder(self._url(purpose), self.repo.top / ".dvc")
        return Cache(Path(folder)) if folder else None

    def _url(self, purpose: Purpose) -> str:
        return self.repo.blob_remote(purpose).url

    def _is_elsewhere(self) -> bool:
        """Whether this machine names no store of its own, and the commit names one: blobs went there then."""
        if self.repo.dvc_config().default_remote not in (None, DATA_REMOTE):
            return False
        text = self.git.text_at(self.commit, ".dvc/config", SMALL)
        with suppress(Mendable):
            return config.effective(text, [], DATA_REMOTE).default_remote not in (None, DATA_REMOTE)
        return False

    def _is_purged(self, extension: Extension) -> bool:
        path = f"{DATASETS}/{extension.dataset}/retracted/{extension.id}.json"
        text = self.git.text_at(self.commit, path, SMALL)
        with suppress(DataUnavailable):
            retraction = read_retraction(path, text.encode()) if text is not None else None
            return retraction is not None and retraction.purged
        return False

    def _blobs(self, store: Cache, extensions: Sequence[Extension]) -> Iterator[list[Named]]:
        """What each extension consists of; of a long listing that the store lacks, the listing itself."""
        for extension, found in zip(extensions, pointer.blobs_of(extensions), strict=True):
            yield found if found is not None else self._listed(store, extension)

    def _listed(self, store: Cache, extension: Extension) -> list[Named]:
        named = [_directory(extension), *((a.md5, a.size) for a in extension.sidecars)]
        with suppress(DataUnavailable):  # readers will say what is wrong with it
            listing = self.repo.sidecar(extension, "listing.json")
            if (listing.size or 0) <= LARGEST_LISTING and store.verify(listing):
                named += [(file.md5, file.size) for file in self.repo.files_of(extension, store)]
        return named


def _absent(store: Cache, blobs: Mapping[str, Sequence[Named]]) -> dict[str, int]:
    """How many of its blobs the store lacks, by path, for those of which it lacks any."""
    absent = store.absent(blob for named in blobs.values() for blob in named)
    counts = {path: len(absent.intersection(named)) for path, named in blobs.items()}
    return {path: count for path, count in counts.items() if count}


def _directory(thing: Extension | ModelVersion) -> Named:
    return f"{thing.directory.md5}.dir", None


def _lacking(path: str, name: str, count: int, url: str, sender: str) -> Finding:
    many = "1 blob" if count == 1 else f"{count} blobs"
    return Finding(
        "remote",
        path,
        f"{url} lacks {many} of {name}, or holds another size.",
        f"{sender} sends them; the hook pre-push does that for every push (`gitdata install`).",
    )
