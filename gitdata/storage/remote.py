"""Remotes: blobs to and from a DVC remote, through DVC's own file systems, and checked by us.

DVC reports success for blobs that are missing or corrupt, so every blob fetched is hashed before anyone sees it, and
every upload ends with a listing. DVC's `Repo` is never opened: it trusts committed configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitdata import durable
from gitdata.errors import DataUnavailable, GitdataError, Mendable, TryAgain
from gitdata.storage.cache import Blob, Cache
from gitdata.storage.config import RemoteConfig

JOBS = 4
_EXTRAS = frozenset({"azure", "gs", "hdfs", "oss", "s3", "ssh", "webdav", "webdavs", "webhdfs"})


class Remote:
    """A DVC remote; relative URLs resolve against `base`. `shared`: others of the group write to its folders too."""

    def __init__(self, config: RemoteConfig, base: Path, *, shared: bool = False) -> None:
        self.config = config
        self.base = base
        self.shared = shared
        self._opened: tuple[Any, str] | None = None

    @property
    def url(self) -> str:
        return self.config.url

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    def missing(self, blobs: Iterable[Blob]) -> list[Blob]:
        """The blobs that the remote was not seen to hold with the right size."""
        wanted = list(dict.fromkeys(blobs))
        with self._faults():
            filesystem, root = self._open()
            held = self._parallel(lambda blob: _size(filesystem, _place(filesystem, root, blob)), wanted)
        return [blob for blob, size in zip(wanted, held, strict=True) if size is None or blob.size not in (None, size)]

    def upload(self, cache: Cache, blobs: Iterable[Blob]) -> int:
        """Send what the remote lacks, files before directory objects, and see it there; the bytes sent.

        Raises DataUnavailable before anything is sent if the cache has a blob not, or not as its digest says.
        """
        absent = self.missing(blobs)
        corrupt = [blob for blob in absent if not cache.verify(blob)]
        if corrupt:
            for blob in corrupt:
                if cache.path(blob).is_file():
                    cache.reject(blob)
            raise DataUnavailable(
                f"{len(corrupt)} blobs are missing or corrupt in the cache: {_names(corrupt)}.",
                "Fetch them from another remote, or add the files again; nothing was sent.",
            )
        with self._faults():
            for group in _files_first(absent):
                self._parallel(lambda blob: self._send(cache, blob), group)
        if still := self.missing(absent):
            raise DataUnavailable(
                f"{self.url} does not hold what was sent to it: {_names(still)}.",
                "Look at the remote, then try again.",
            )
        return sum(cache.path(blob).stat().st_size for blob in absent)

    def download(self, cache: Cache, blobs: Iterable[Blob]) -> int:
        """Fetch blobs into the cache, each verified before it takes its place; the bytes that came.

        Raises DataUnavailable naming all that are missing or corrupt; the good ones stay.
        """
        wanted = list(dict.fromkeys(blobs))
        with self._faults():
            failures = [error for error in self._parallel(lambda blob: self._receive(cache, blob), wanted) if error]
        if failures:
            first = failures[0]
            more = f" ({len(failures)} blobs in all)" if len(failures) > 1 else ""
            raise DataUnavailable(f"{first.message}{more}", first.next_step)
        return sum(cache.path(blob).stat().st_size for blob in wanted)

    # --- one blob --------------------------------------------------------------------------------------------

    def _send(self, cache: Cache, blob: Blob) -> None:
        filesystem, root = self._open()
        place = _place(filesystem, root, blob)
        if self.is_local:
            _make_folder(Path(place).parent, shared=self.shared)
            filesystem.put_file(str(cache.path(blob)), place)
            _make_last(Path(place))
        else:
            filesystem.makedirs(filesystem.parent(place), exist_ok=True)
            filesystem.put_file(str(cache.path(blob)), place)

    def _receive(self, cache: Cache, blob: Blob) -> GitdataError | None:
        filesystem, root = self._open()
        place = _place(filesystem, root, blob)
        try:
            with cache.receiving(blob) as temporary:
                filesystem.get_file(place, str(temporary))
        except FileNotFoundError:
            return DataUnavailable(
                f"The blob {blob.md5} is not on {self.url}.",
                "Push it from a clone that holds it: `gitdata push`.",
            )
        except DataUnavailable as error:
            return error
        return None

    # --- the file system -------------------------------------------------------------------------------------

    def _open(self) -> tuple[Any, str]:
        """DVC's file system for the URL, and the folder of the blobs there."""
        if self._opened is None:
            if self.is_local:
                from dvc_objects.fs.local import LocalFileSystem

                folder = self.base / self.url.removeprefix("file://")
                _require_anchor(folder)
                filesystem: Any = LocalFileSystem()  # type: ignore[no-untyped-call]
                self._opened = filesystem, str(folder / "files" / "md5")
            else:
                self._opened = self._open_cloud()
        return self._opened

    def _open_cloud(self) -> tuple[Any, str]:
        from dvc.fs import get_cloud_fs

        kind, options, path = get_cloud_fs(None, url=self.url, **self.config.options)
        filesystem = kind(**options)
        return filesystem, filesystem.join(path, "files", "md5")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What a file system raises, as errors a person can act on."""
        try:
            yield
        except GitdataError:
            raise
        except Exception as error:  # fsspec's back ends raise whatever their client libraries raise
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
        return TryAgain(
            f"The remote {self.url} is not available: {what}.",
            "Check that it is there and that you may use it, then run the same command again.",
        )

    def _parallel(self, work: Callable[[Blob], Any], blobs: Sequence[Blob]) -> list[Any]:
        self._open()
        if len(blobs) < 2:
            return [work(blob) for blob in blobs]
        with ThreadPoolExecutor(JOBS) as pool:
            return list(pool.map(work, blobs))


def _place(filesystem: Any, root: str, blob: Blob) -> str:
    return str(filesystem.join(root, blob.md5[:2], blob.md5[2:]))


def _size(filesystem: Any, place: str) -> int | None:
    try:
        return int(filesystem.info(place)["size"])
    except FileNotFoundError:
        return None


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


def _make_folder(folder: Path, *, shared: bool) -> None:
    """Make a folder of the store; in a shared repository it belongs to the group, as git's own folders do."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(exist_ok=True)
        if shared:
            part.chmod(0o2775)


def _make_last(path: Path) -> None:
    """Flush a blob and its name to the disk, read-only as DVC's are."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o444)
    durable.sync_folder(path.parent)
