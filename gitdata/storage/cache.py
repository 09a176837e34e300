"""Cache: the store of blobs in this clone, laid out as DVC does.

A *blob* is file content by digest. DVC names it by md5 (`files/md5/ab/cdef…`), a directory object by that and
`.dir`; gitdata verifies by sha256 besides. Blobs are write-once and never deleted here: one that turns out to be
corrupt is set aside.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gitdata import durable
from gitdata.errors import DataUnavailable, Mendable

CHUNK = 1024 * 1024
_FICLONE = 0x40049409
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by digest; `size` in bytes. A directory object's md5 ends in `.dir`, and it has md5 alone."""

    md5: str
    size: int | None
    sha256: str | None = None

    @property
    def is_directory(self) -> bool:
        return self.md5.endswith(".dir")


class Cache:
    """The blobs below `root`, as DVC's cache holds them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, blob: Blob) -> Path:
        return self.root / "files" / "md5" / blob.md5[:2] / blob.md5[2:]

    def holds(self, blob: Blob) -> bool:
        """Whether a file of the right size is in the blob's place; its content is not looked at."""
        try:
            size = self.path(blob).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return blob.size is None or size == blob.size

    def verify(self, blob: Blob) -> bool:
        """Whether the blob is here with the content that its digests name."""
        try:
            return agrees(hash_file(self.path(blob)), blob)
        except FileNotFoundError:
            return False

    def add_file(self, source: Path) -> Blob:
        """Copy a file in, in one pass that also hashes it. Raises Mendable if it changes meanwhile."""
        with source.open("rb") as file:
            before = os.fstat(file.fileno())
            blob = self._add(file, before.st_size, "")
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise Mendable(f"'{source}' changed while it was read.", "Try again when nobody writes to it.")
        return blob

    def add_bytes(self, content: bytes, *, directory: bool = False) -> Blob:
        return self._add(io.BytesIO(content), len(content), ".dir" if directory else "")

    def deliver(self, blob: Blob, target: Path) -> None:
        """Put a verified copy of a blob at `target`: a reflink where the file system can, else a copy.

        Raises DataUnavailable, and leaves no `target`, where the blob is missing or corrupt.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{durable.TEMPORARY_PREFIX}{os.getpid()}-{blob.md5[:16]}"
        try:
            _clone_or_copy(self.path(blob), temporary)
            if not agrees(found := hash_file(temporary), blob):
                raise self.reject(blob, found)
            temporary.replace(target)
        except FileNotFoundError as error:
            raise _missing(blob) from error
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, blob: Blob) -> bytes:
        """The verified content of a blob. Raises DataUnavailable where it is missing or corrupt."""
        try:
            content = self.path(blob).read_bytes()
        except FileNotFoundError as error:
            raise _missing(blob) from error
        if not agrees(found := _digests(io.BytesIO(content)), blob):
            raise self.reject(blob, found)
        return content

    def reject(self, blob: Blob, found: Blob | None = None) -> DataUnavailable:
        """What is wrong with a blob that did not verify; a corrupt one is set aside.

        Content that is what its name says is not at fault: then whoever wants another sha256 or size is.
        """
        found = found or hash_file(self.path(blob))
        if found.md5 == blob.md5.removesuffix(".dir"):
            return DataUnavailable(
                f"The blob {blob.md5} is intact, but a pointer gives it another sha256 or size.",
                "The pointer was edited by hand; restore it from git.",
            )
        return _corrupt(blob, self.set_aside(blob))

    def set_aside(self, blob: Blob) -> Path:
        """Move a corrupt object out of the way, to `corrupt/`; it is never deleted."""
        folder = self.root.parent / f"{self.root.name}-corrupt"
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while (target := folder / f"{blob.md5}.{number}").exists():
            number += 1
        with suppress(FileNotFoundError):  # another process set it aside already
            self.path(blob).replace(target)
        return target

    @contextmanager
    def receiving(self, blob: Blob) -> Iterator[Path]:
        """A path to write a fetched blob to; when the block ends it is verified and takes its place.

        Raises DataUnavailable where the content is not what the digests name; nothing is delivered then.
        """
        folder = self.root / "files" / "md5" / blob.md5[:2]
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{durable.TEMPORARY_PREFIX}{os.getpid()}-{blob.md5[2:]}"
        try:
            yield temporary
            if not agrees(hash_file(temporary), blob):
                raise DataUnavailable(
                    f"The blob {blob.md5} came from the remote with other content than its digest names.",
                    "The copy there is corrupt: push it again from a clone that holds it.",
                )
            self._place(temporary, blob)
        finally:
            temporary.unlink(missing_ok=True)

    def _add(self, source: IO[bytes], size: int, ending: str) -> Blob:
        folder = self.root / "files" / "md5"
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < size:
            raise Mendable(f"The disk of '{folder}' has no room for {size} bytes.", "Free some, then try again.")
        temporary = folder / f"{durable.TEMPORARY_PREFIX}{os.getpid()}-{id(source)}"
        try:
            with temporary.open("wb") as target:
                found = _digests(source, target)
            blob = Blob(found.md5 + ending, found.size, found.sha256)
            if self.holds(blob) and self.verify(blob):
                return blob
            if self.path(blob).exists():
                self.set_aside(blob)
            self._place(temporary, blob)
            return blob
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, blob: Blob) -> None:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o444)
        target = self.path(blob)
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.rename(temporary, target)


def hash_file(path: Path) -> Blob:
    """The blob that the content of a file is."""
    with path.open("rb") as file:
        return _digests(file)


def agrees(found: Blob, wanted: Blob) -> bool:
    """Whether content that was hashed is the blob that is wanted."""
    return (
        found.md5 == wanted.md5.removesuffix(".dir")
        and wanted.size in (None, found.size)
        and wanted.sha256 in (None, found.sha256)
    )


def directory_object(entries: Mapping[str, Blob]) -> tuple[Blob, bytes]:
    """DVC's directory object for files by path: its blob and its bytes, exactly as dvc-data encodes them."""
    listed = [{"md5": entries[path].md5, "relpath": path} for path in sorted(entries)]
    content = json.dumps(listed, sort_keys=True).encode()
    return Blob(f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir", len(content)), content


def parse_directory_object(content: bytes) -> dict[str, str]:
    """md5 by path of a directory object. Raises DataUnavailable where it is malformed."""
    try:
        listed = json.loads(content)
        entries = {str(item["relpath"]): str(item["md5"]) for item in listed}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataUnavailable("A directory object of DVC is malformed.", "Fetch it again.") from error
    if len(entries) != len(listed):
        raise DataUnavailable("A directory object of DVC names a path twice.", "Fetch it again.")
    return entries


def _digests(source: IO[bytes], target: IO[bytes] | None = None) -> Blob:
    """Hash a stream in one pass, copying it along the way."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK))
    reader: Any = source
    while length := reader.readinto(buffer):
        piece = buffer[:length]
        md5.update(piece)
        sha256.update(piece)
        if target is not None:
            target.write(piece)
        size += length
    return Blob(md5.hexdigest(), size, sha256.hexdigest())


def _clone_or_copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            shutil.copyfileobj(old, new, CHUNK)


def _missing(blob: Blob) -> DataUnavailable:
    return DataUnavailable(f"The blob {blob.md5} is not in the cache of this clone.", "Fetch it: `gitdata fetch`.")


def _corrupt(blob: Blob, aside: Path) -> DataUnavailable:
    return DataUnavailable(
        f"The cached blob {blob.md5} is corrupt; it was set aside as {aside}.",
        "Fetch it again: `gitdata fetch`.",
    )
