"""Remotes: blobs to and from a DVC remote, in DVC's layout and through DVC's own file systems, and checked by us.

DVC reports success for blobs that are missing or corrupt, so every blob fetched is hashed before anyone sees it, and
every upload ends with a listing. DVC's `Repo` is never opened: it trusts committed configuration.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from gitdata.errors import DataUnavailable, GitdataError, Mendable, TryAgain
from gitdata.storage import ssh
from gitdata.storage.cache import CORRUPT, Blob, Cache, CorruptCopy, is_content_of, largest
from gitdata.storage.config import RemoteConfig
from gitdata.storage.patience import patiently

JOBS = 4
LISTED = 8  # blobs asked for in one of the 256 folders: from here on one listing serves all of them
_EXTRAS = frozenset({"azure", "gs", "hdfs", "oss", "s3", "ssh", "webdav", "webdavs", "webhdfs"})

T = TypeVar("T")
R = TypeVar("R")


class Remote:
    """A DVC remote; relative URLs resolve against `base`. `shared`: others of the group write to its folders too."""

    def __init__(self, config: RemoteConfig, base: Path, *, shared: bool = False) -> None:
        self.config = config
        self.base = base
        self.shared = shared

    @property
    def url(self) -> str:
        return self.config.url

    @property
    def may_be_written(self) -> bool:
        """Whether a folder may be written by whoever asks; of other remotes only an upload tells."""
        store = self._store
        return not isinstance(store, _Folder) or os.access(_existing(store.cache.root), os.W_OK)

    def missing(self, blobs: Iterable[Blob]) -> list[Blob]:
        """The blobs that the remote was not seen to hold with the right size."""
        wanted = list(dict.fromkeys(blobs))
        folders: dict[str, list[Blob]] = {}
        for blob in wanted:
            folders.setdefault(blob.md5[:2], []).append(blob)
        with self._faults():
            lacking = self._parallel(self._store.lacking, list(folders.values()))
        absent = {blob for found in lacking for blob in found}
        return [blob for blob in wanted if blob in absent]

    def corrupt(self, blobs: Iterable[Blob]) -> list[Blob]:
        """The blobs that the remote holds with other content than their digests name: all are read."""
        wanted = list(dict.fromkeys(blobs))
        with self._faults():
            sound = self._parallel(self._store.verify, wanted)
        return [blob for blob, is_sound in zip(wanted, sound, strict=True) if not is_sound]

    def set_aside(self, blob: Blob) -> None:
        """Move a corrupt object of the remote out of the way; it is kept there, below `corrupt/`."""
        with self._faults():
            self._store.set_aside(blob)

    def objects(self) -> list[tuple[Blob, float]]:
        """Every object of the remote by name and size, and when it was last modified (seconds since the epoch)."""
        with self._faults():
            return list(self._store.objects())

    def remove(self, blobs: Iterable[Blob]) -> None:
        """Delete objects for good, with what was set aside of them, and see that they are gone."""
        doomed = list(dict.fromkeys(blobs))
        with self._faults():
            self._parallel(self._store.remove, doomed)
        if len(self.missing(doomed)) != len(doomed):
            raise TryAgain(f"{self.url} still holds what was deleted.", "Look at the remote, then try again.")

    def upload(self, cache: Cache, blobs: Iterable[Blob]) -> int:
        """Send what the remote lacks, files before directory objects, and see it there; the bytes sent.

        Raises DataUnavailable if the cache has a blob not, or not as its digest says; directory objects stay here then.
        """
        absent = self.missing(blobs)
        with self._faults(cache):
            for group in _files_first(absent):
                unsound = [e for e in self._parallel(lambda blob: self._send(cache, blob), group) if e]
                if unsound:
                    raise _first_of(unsound)
        if still := self.missing(absent):
            raise DataUnavailable(
                f"{self.url} does not hold what was sent to it: {_names(still)}.",
                "Look at the remote, then try again.",
            )
        return sum(cache.path(blob).stat().st_size for blob in absent)

    def download(self, cache: Cache, blobs: Iterable[Blob]) -> int:
        """Fetch blobs into the cache, each verified before it takes its place; the bytes that came.

        Raises DataUnavailable naming what is missing or corrupt; the good ones stay.
        """
        wanted = list(dict.fromkeys(blobs))
        with self._faults(cache):
            failures = [error for error in self._parallel(lambda blob: self._receive(cache, blob), wanted) if error]
        if failures:
            raise _first_of(failures)
        return sum(cache.path(blob).stat().st_size for blob in wanted)

    # --- one blob --------------------------------------------------------------------------------------------

    def _send(self, cache: Cache, blob: Blob) -> DataUnavailable | None:
        try:
            self._store.send(cache, blob)
        except CorruptCopy:
            return cache.reject(blob)
        return None

    def _receive(self, cache: Cache, blob: Blob) -> DataUnavailable | None:
        try:
            self._store.receive(cache, blob)
        except FileNotFoundError:
            return DataUnavailable(
                f"The blob {blob.md5} is not on {self.url}.",
                "Push it from a clone that holds it: `gitdata push`.",
            )
        except CorruptCopy:
            return DataUnavailable(
                f"The blob {blob.md5} came from {self.url} with other content than its digest names.",
                "The copy there is corrupt; a clone that holds a good one mends it: "
                "`gitdata verify --remote --deep --repair`.",
            )
        return None

    # --- faults ----------------------------------------------------------------------------------------------

    @cached_property
    def _store(self) -> _Folder | _Cloud:
        if "://" in self.url and not self.url.startswith("file://"):
            return _Cloud(self.config)
        folder = self.base / self.url.removeprefix("file://")
        _require_anchor(folder)
        return _Folder(Cache(folder, shared=self.shared or _is_of_group(folder)))

    @contextmanager
    def _faults(self, cache: Cache | None = None) -> Iterator[None]:
        """What a file system raises, as errors a person can act on; faults of this clone's own disk stay."""
        try:
            yield
        except GitdataError:
            raise
        except Exception as error:  # fsspec's back ends raise whatever their client libraries raise
            if cache is not None and isinstance(error, OSError) and _is_below(error.filename, cache.root):
                raise
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> GitdataError:
        scheme = self.url.partition("://")[0]
        if isinstance(error, ImportError) or ("requires" in str(error) and "install" in str(error)):
            extra = scheme.removesuffix("s") if scheme == "webdavs" else scheme
            hint = (
                f"Install it: `pip install 'gitdata[{extra}]'`." if scheme in _EXTRAS else "Use another kind of remote."
            )
            return Mendable(f"The remote {self.url} needs support for {scheme}:// that is not installed.", hint)
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        if scheme == "ssh" and what == "Failure":
            what = "Failure, which is all that SFTP says, mostly of a full disk there"
        return TryAgain(
            f"The remote {self.url} is not available: {what}.",
            "Check that it is there and that you may use it, then run the same command again.",
        )

    def _parallel(self, work: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
        if len(tasks) < 2 or JOBS < 2:
            return [work(task) for task in tasks]
        with ThreadPoolExecutor(JOBS) as pool:
            return list(pool.map(work, tasks))


class _Folder:
    """A remote that is a folder: laid out as the cache is, and written as durably."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def lacking(self, blobs: Sequence[Blob]) -> list[Blob]:
        absent = self.cache.absent((blob.md5, blob.size) for blob in blobs)
        return [blob for blob in blobs if (blob.md5, blob.size) in absent] if absent else []

    def verify(self, blob: Blob) -> bool:
        return self.cache.verify(blob)

    def set_aside(self, blob: Blob) -> None:
        self.cache.set_aside(blob)

    def objects(self) -> Iterator[tuple[Blob, float]]:
        yield from self.cache.objects()

    def remove(self, blob: Blob) -> None:
        self.cache.remove(blob)

    def send(self, cache: Cache, blob: Blob) -> None:
        self.cache.copy_from(cache.path(blob), blob)

    def receive(self, cache: Cache, blob: Blob) -> None:
        cache.copy_from(self.cache.path(blob), blob)


class _Cloud:
    """A remote that DVC's file systems reach; none may keep us waiting for ever."""

    def __init__(self, config: RemoteConfig) -> None:
        from dvc.fs import get_cloud_fs

        kind, options, path = get_cloud_fs(None, url=config.url, **config.options)
        self.filesystem: Any = kind(**options)
        self.ssh = None
        if kind.protocol == "ssh":
            self.ssh = patiently(lambda: ssh.open_store(self.filesystem, path, config.url))
        self.root = self.ssh.path if self.ssh else path

    def place(self, blob: Blob) -> str:
        return str(self.filesystem.join(self.root, "files", "md5", blob.md5[:2], blob.md5[2:]))

    def lacking(self, blobs: Sequence[Blob]) -> list[Blob]:
        """Those of some blobs of one two-digit folder that are not there with the right size; many: by one listing."""
        sizes = self._listing(blobs[0]) if len(blobs) >= LISTED else None
        held = [self.size(blob) if sizes is None else sizes.get(blob.md5[2:]) for blob in blobs]
        return [b for b, size in zip(blobs, held, strict=True) if size is None or b.size not in (None, size)]

    def _listing(self, blob: Blob) -> dict[str, int] | None:
        """Sizes by name in the folder of a blob, as they are now; None where the remote cannot list, as over HTTP."""
        folder = self.filesystem.parent(self.place(blob))
        self.filesystem.fs.invalidate_cache()
        try:
            entries = patiently(lambda: list(self.filesystem.ls(folder, detail=True)))
        except FileNotFoundError:
            return {}
        except NotImplementedError:
            return None
        return {entry["name"].rpartition("/")[2]: int(entry["size"] or 0) for entry in entries}

    def size(self, blob: Blob) -> int | None:
        try:
            return int(patiently(lambda: self.filesystem.info(self.place(blob)))["size"])
        except FileNotFoundError:
            return None

    def verify(self, blob: Blob) -> bool:
        meter = _Meter()

        def read() -> bool:
            with self.filesystem.open(self.place(blob), "rb") as file:
                return is_content_of(file, blob, meter)

        try:
            return patiently(read, lambda: meter.value)
        except FileNotFoundError:
            return False

    def set_aside(self, blob: Blob) -> None:
        if self.size(blob) is None:
            return
        aside = self.filesystem.join(self.root, CORRUPT, f"{blob.md5}.{secrets.token_hex(4)}")
        self._make_folder(self.filesystem.parent(aside))
        patiently(lambda: self.filesystem.move(self.place(blob), aside))

    def objects(self) -> Iterator[tuple[Blob, float]]:
        for path, about in self._found("files", "md5").items():
            *_, prefix, name = path.split("/")
            yield Blob(prefix + name, int(about["size"])), _modified(about)

    def remove(self, blob: Blob) -> None:
        asides = [path for path in self._found(CORRUPT) if path.rpartition("/")[2].startswith(f"{blob.md5}.")]
        for path in [self.place(blob), *asides]:
            with suppress(FileNotFoundError):
                patiently(partial(self.filesystem.remove, path))

    def send(self, cache: Cache, blob: Blob) -> None:
        if not cache.verify(blob):
            raise CorruptCopy(blob.md5)
        place, source, meter = self.place(blob), str(cache.path(blob)), _callback(None)
        self._make_folder(self.filesystem.parent(place))
        patiently(lambda: self.filesystem.put_file(source, place, callback=meter), lambda: meter.value)

    def receive(self, cache: Cache, blob: Blob) -> None:
        place, meter = self.place(blob), _callback(largest(blob))
        with cache.receiving(blob) as temporary:
            patiently(lambda: self.filesystem.get_file(place, str(temporary), callback=meter), lambda: meter.value)

    def _found(self, *below: str) -> dict[str, Any]:
        """Every file below a folder of the remote, with what the file system tells of it."""
        folder = self.filesystem.join(self.root, *below)

        def find() -> dict[str, Any]:
            return dict(self.filesystem.find(folder, detail=True)) if self.filesystem.exists(folder) else {}

        return patiently(find)

    def _make_folder(self, folder: str) -> None:
        if self.ssh:
            mode = self.ssh.group_mode
            patiently(lambda: ssh.make_folder(self.filesystem, folder, mode))
        else:
            patiently(lambda: self.filesystem.makedirs(folder, exist_ok=True))


class _Meter:
    """Counts the bytes that are written to it."""

    value = 0

    def write(self, piece: memoryview) -> None:
        self.value += len(piece)


def _callback(limit: int | None) -> Any:
    """What a transfer of fsspec tells how much it has moved, in `value`; it ends the transfer of an endless one."""
    from fsspec.callbacks import Callback

    class Meter(Callback):  # type: ignore[misc]  # fsspec has no types
        def call(self, *arguments: Any, **more: Any) -> None:
            if limit is not None and self.value > limit:
                raise CorruptCopy("it is longer than it may be")

    return Meter()


def _modified(about: Mapping[str, Any]) -> float:
    """When an object was modified, as the file systems tell it; now, where one does not."""
    for key in ("mtime", "last_modified", "LastModified", "updated", "modified"):
        if (value := about.get(key)) is not None:
            return value.timestamp() if isinstance(value, datetime) else float(value)
    return time.time()


def _files_first(blobs: Sequence[Blob]) -> tuple[list[Blob], list[Blob]]:
    """A directory object on the remote means that its files are there: so it goes last."""
    return [b for b in blobs if not b.is_directory], [b for b in blobs if b.is_directory]


def _names(blobs: Sequence[Blob]) -> str:
    return ", ".join(blob.md5 for blob in blobs[:3]) + (" …" if len(blobs) > 3 else "")


def _require_anchor(folder: Path) -> None:
    """The store's own folders may be made; where what they lie in is missing, a disk is not mounted."""
    anchor = folder.parent
    while anchor.name in ("remote", "gitdata") and not anchor.exists():
        anchor = anchor.parent
    if not anchor.is_dir():
        raise FileNotFoundError(f"there is no folder '{anchor}'")


def _existing(folder: Path) -> Path:
    """A folder, or the one in which it would be made."""
    return folder if folder.exists() else _existing(folder.parent)


def _is_of_group(folder: Path) -> bool:
    """Whether the repository that a derived store lies in is a group's."""
    return ssh.is_of_group(next((p.stat().st_mode for p in folder.parents if (p / "objects").is_dir()), 0))


def _first_of(errors: Sequence[DataUnavailable]) -> DataUnavailable:
    more = f" ({len(errors) - 1} more blobs likewise.)" if len(errors) > 1 else ""
    return DataUnavailable(f"{errors[0].message}{more}", errors[0].next_step)


def _is_below(name: Any, folder: Path) -> bool:
    return isinstance(name, str | bytes) and folder in Path(os.fsdecode(name)).parents
