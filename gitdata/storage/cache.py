"""Cache: the store of blobs in this clone, laid out as DVC does.

A *blob* is file content by digest. DVC names it by md5 (`files/md5/ab/cdef…`), a directory object by that and
`.dir`; gitdata verifies by sha256 besides. Blobs are write-once and never deleted here: one that turns out to be
corrupt is set aside. What nothing needs goes by `remove`, for purge and prune alone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, cycle
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from gitdata import durable
from gitdata.errors import DataUnavailable, Mendable
from gitdata.storage import presence

if TYPE_CHECKING:
    from concurrent.futures import Future

CHUNK = 1024 * 1024
AHEAD = 8  # pieces
BLOB_MODE = 0o444
CORRUPT = "corrupt"
LARGEST_DIRECTORY_OBJECT = 256 * CHUNK  # of millions of files
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


class NotPlain(Exception):
    """Something that is no plain file stands in the place of a blob."""


class CorruptCopy(Exception):
    """Content that was offered as a blob is not what the blob's digests name."""


class Cache:
    """The blobs below `root`, as DVC's caches and folder remotes hold them.

    `shared`: others of the group write to its folders too, as git's `core.sharedRepository` has it.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self.root = root
        self.shared = shared

    def path(self, blob: Blob) -> Path:
        return self.root / "files" / "md5" / blob.md5[:2] / blob.md5[2:]

    def holds(self, blob: Blob) -> bool:
        """Whether a file of the right size is in the blob's place; its content is not looked at."""
        try:
            size = self.path(blob).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return blob.size is None or size == blob.size

    def size(self, blob: Blob) -> int | None:
        """How many bytes the object in the blob's place has; None where there is none."""
        try:
            return self.path(blob).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def absent(self, blobs: Iterable[tuple[str, int | None]]) -> frozenset[tuple[str, int | None]]:
        """Those of many blobs, by name and size, that the cache does not hold; each folder is opened once."""
        return presence.absent(self.root / "files" / "md5", blobs)

    def verify(self, blob: Blob) -> bool:
        """Whether the blob is here with the content that its digests name."""
        try:
            with open_plain(self.path(blob)) as file:
                return is_content_of(file, blob)
        except (FileNotFoundError, NotADirectoryError, PermissionError, NotPlain):
            return False

    def is_intact(self, blob: Blob) -> bool:
        """Whether the object's content is what its own name says, whatever else a pointer says of it."""
        return _is_named(self.path(blob), blob)

    def add_file(self, source: Path) -> Blob:
        """Copy a file in, in one pass that also hashes it. Raises Mendable if it changes meanwhile."""
        with self.adding(source) as (blob, place):
            place()
        return blob

    @contextmanager
    def adding(self, source: Path) -> Iterator[tuple[Blob, Callable[[], None]]]:
        """A file is copied, in one pass that also hashes it: what it holds, and what gives the copy its place.

        Without that call nothing of it is left at the end of the block. Raises Mendable if the file changes meanwhile.
        """
        with source.open("rb") as file:
            before = os.fstat(file.fileno())
            with self._staging(before.st_size) as staged:
                found = digests(file, None if _clone(file, staged) else staged.file)
                after = os.fstat(file.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise Mendable(f"'{source}' changed while it was read.", "Try again when nobody writes to it.")
                yield found, lambda: self._place(staged, found, found)

    def add_bytes(self, content: bytes, *, directory: bool = False) -> Blob:
        """Put content in, as a file or as a directory object."""
        with self._staging(len(content)) as staged:
            found = digests(io.BytesIO(content), staged.file)
            blob = Blob(found.md5 + (".dir" if directory else ""), found.size, found.sha256)
            self._place(staged, blob, found)
        return blob

    def deliver(self, blob: Blob, target: Path) -> None:
        """Put a verified copy of a blob at `target`: a reflink where the file system can, else a copy.

        Raises DataUnavailable, and leaves no `target`, where the blob is missing or corrupt.
        """
        try:
            with open_plain(self.path(blob)) as source, durable.staging(target.parent, room=blob.size or 0) as staged:
                if not is_content_of(source, blob, None if _clone(source, staged) else staged.file):
                    raise self.reject(blob)
                staged.place(target)
        except (FileNotFoundError, NotPlain) as error:
            raise self.reject(blob) from error

    def read(self, blob: Blob) -> bytes:
        """The verified content of a blob. Raises DataUnavailable where it is missing or corrupt."""
        content = io.BytesIO()
        try:
            with open_plain(self.path(blob)) as file:
                sound = is_content_of(file, blob, content)
        except (FileNotFoundError, NotPlain) as error:
            raise self.reject(blob) from error
        if not sound:
            raise self.reject(blob)
        return content.getvalue()

    def reject(self, blob: Blob) -> DataUnavailable:
        """What is wrong with a blob that did not verify; a corrupt one is set aside.

        Content that is what its name says is not at fault: then whoever wants another sha256 or size is.
        """
        aside = self.set_aside(blob)
        if aside is not None:
            return DataUnavailable(
                f"The cached blob {blob.md5} is corrupt; it was set aside as {aside}.",
                "Fetch it again: `gitdata fetch`.",
            )
        if not self.path(blob).is_file():
            return _missing(blob)
        return DataUnavailable(
            f"The blob {blob.md5} is intact, but a pointer gives it another sha256 or size.",
            "The pointer was edited by hand; restore it from git.",
        )

    def set_aside(self, blob: Blob) -> Path | None:
        """Move a corrupt object out of the way, to `corrupt/`, where it is kept; where it lies then.

        What is moved is looked at once more: of two processes that found it corrupt, the second must not take away
        the good copy that the first has put in its place. None where nothing corrupt was there.
        """
        place, aside = self.path(blob), self.root / CORRUPT / f"{blob.md5}.{secrets.token_hex(4)}"
        if not os.path.lexists(place):
            return None
        durable.make_folder(aside.parent)
        try:
            durable.rename(place, aside)
        except FileNotFoundError:
            return None
        if _is_named(aside, blob):
            durable.rename(aside, place)
            return None
        return aside

    def objects(self) -> Iterator[tuple[Blob, float]]:
        """Every object, by its name and size alone, and when it was last modified (seconds since the epoch)."""
        for path in (self.root / "files" / "md5").glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                yield Blob(path.parent.name + path.name, status.st_size), status.st_mtime

    def remove(self, blob: Blob) -> None:
        """Delete an object for good, and what was set aside of it: nothing live may need it."""
        asides = (self.root / CORRUPT).glob(f"{blob.md5}.*")
        for path in [self.path(blob), *asides]:
            with suppress(FileNotFoundError):
                durable.remove(path)

    @contextmanager
    def receiving(self, blob: Blob) -> Iterator[Path]:
        """A path to write a fetched blob to; when the block ends it is verified and takes its place.

        Raises CorruptCopy where the content is not what the digests name; nothing is delivered then.
        """
        with self._staging(blob.size or 0) as staged:
            yield staged.path
            self._place(staged, blob, hash_file(staged.path, largest(blob)))

    def copy_from(self, source: Path, blob: Blob) -> None:
        """Take a blob over from a file, in one pass that also hashes it.

        Raises FileNotFoundError, and CorruptCopy where the content is not what the digests name.
        """
        try:
            with open_plain(source) as file, self._staging(blob.size or 0) as staged:
                if os.fstat(file.fileno()).st_size > largest(blob):
                    raise CorruptCopy(blob.md5)
                self._place(staged, blob, digests(file, None if _clone(file, staged) else staged.file, largest(blob)))
        except NotPlain as error:
            raise CorruptCopy(blob.md5) from error

    def _place(self, staged: durable.Staged, blob: Blob, found: Blob) -> None:
        """Give what was written its name, unless a good copy has it; a corrupt one goes aside first."""
        if not agrees(found, blob):
            raise CorruptCopy(blob.md5)
        if self.holds(blob) and self.verify(blob):
            return
        if os.path.lexists(self.path(blob)):
            self.set_aside(blob)
        if self.shared:
            _make_shared(self.path(blob).parent)
        staged.place(self.path(blob), BLOB_MODE)
        if self.shared:
            self.path(blob).chmod(BLOB_MODE)  # whatever the umask of whoever pushes

    @contextmanager
    def _staging(self, size: int) -> Iterator[durable.Staged]:
        """A temporary file on the cache's disk; what killed processes left there goes first."""
        if self.shared:
            _make_shared(self.root)
        durable.remove_leftovers(self.root)
        with durable.staging(self.root, room=size) as staged:
            yield staged


def hash_file(path: Path, limit: int | None = None) -> Blob:
    """The blob that the content of a file is. Raises CorruptCopy where it is longer than `limit`, NotPlain."""
    with open_plain(path) as file:
        return digests(file, limit=limit)


def open_plain(path: Path) -> IO[bytes]:
    """A file to read. Raises NotPlain where it is a link, or something that may never end: a pipe, a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotPlain(str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(str(path))
    return os.fdopen(descriptor, "rb")


def largest(blob: Blob) -> int:
    """How many bytes a blob can have; a pointer does not tell the size of a directory object."""
    return LARGEST_DIRECTORY_OBJECT if blob.size is None else blob.size


def _is_named(path: Path, blob: Blob) -> bool:
    try:
        return hash_file(path, largest(blob)).md5 == blob.md5.removesuffix(".dir")
    except (OSError, NotPlain, CorruptCopy):
        return False


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


def digests(source: IO[bytes], target: IO[bytes] | None = None, limit: int | None = None) -> Blob:
    """Hash a stream in one pass, copying it along the way. Raises CorruptCopy where it is longer than `limit`."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    sinks: list[Callable[[memoryview], Any]] = [md5.update, sha256.update]
    if target is not None:
        sinks.append(target.write)
    size = _pour(source, sinks, limit)
    return Blob(md5.hexdigest(), size, sha256.hexdigest())


def _pour(source: IO[bytes], sinks: Sequence[Callable[[memoryview], Any]], limit: int | None) -> int:
    """Hand a stream to sinks that work beside each other, each in a thread of its own; its size.

    A sink may be some pieces ahead of another, so that the slowest, md5, waits for none; a piece fits the processor's
    cache. A small file, of which a folder may hold thousands, needs neither threads nor large buffers.
    """
    begun = [memoryview(source.read(CHUNK)), memoryview(source.read(CHUNK))]
    if not begun[1]:
        for sink in sinks:
            sink(begun[0])
        return len(begun[0])
    from concurrent.futures import ThreadPoolExecutor

    size = 0
    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in sinks]
        unfinished: deque[list[Future[Any]]] = deque()
        for piece in chain(begun, _pieces(source, CHUNK, AHEAD + 1)):
            if len(unfinished) == AHEAD:
                _wait(unfinished.popleft())
            size += len(piece)
            if limit is not None and size > limit:
                raise CorruptCopy("it is longer than it may be")
            unfinished.append([thread.submit(sink, piece) for thread, sink in zip(threads, sinks, strict=True)])
        for futures in unfinished:
            _wait(futures)
    return size


def _wait(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.result()


class Sink(Protocol):
    """Where the pieces of a stream go."""

    def write(self, piece: memoryview, /) -> Any: ...


def is_content_of(source: IO[bytes], blob: Blob, target: Sink | None = None) -> bool:
    """Whether a stream holds a blob, by its sha256, or by md5 where that is all there is; copied along the way."""
    digest = hashlib.sha256() if blob.sha256 else hashlib.md5(usedforsecurity=False)
    size = 0
    for piece in _pieces(source):
        size += len(piece)
        if size > largest(blob):
            return False
        digest.update(piece)
        if target is not None:
            target.write(piece)
    wanted = blob.sha256 or blob.md5.removesuffix(".dir")
    return digest.hexdigest() == wanted and blob.size in (None, size)


def _pieces(source: IO[bytes], length: int = CHUNK, buffers: int = 1) -> Iterator[memoryview]:
    """The content of a stream; a piece lasts until as many more as there are buffers have been read."""
    reader: Any = source
    if not hasattr(reader, "readinto"):  # a file on a remote
        while piece := reader.read(length):
            yield memoryview(piece)
        return
    for buffer in cycle([memoryview(bytearray(length)) for _ in range(buffers)]):
        if not (read := reader.readinto(buffer)):
            return
        yield buffer[:read]


def _clone(source: IO[bytes], staged: durable.Staged) -> bool:
    """Make the staged file a reflink of `source`; False where the file system cannot."""
    try:
        fcntl.ioctl(staged.file.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
        return False
    return True


def _make_shared(folder: Path) -> None:
    """Make a folder that belongs to the group, with those it lies in, as git's own folders do."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    durable.make_folder(folder)
    for part in missing:
        part.chmod(0o2775)


def _missing(blob: Blob) -> DataUnavailable:
    return DataUnavailable(f"The blob {blob.md5} is not in the cache of this clone.", "Fetch it: `gitdata fetch`.")
