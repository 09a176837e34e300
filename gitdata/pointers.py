"""Pointers read: the extensions of many pointers, of which most were read before.

What a pointer says follows from its bytes alone, and git names bytes. So what was parsed is kept in one file of this
clone's state by git's name of the content; then reading ten thousand pointers that git says are as they were opens one
file. The file holds a digest of itself: what is torn, stale or of another gitdata is read as nothing, and made anew.
Anybody may delete it at any time.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gitdata import __version__, durable
from gitdata.data import compact
from gitdata.data.compact import Records
from gitdata.data.pointer import Extension
from gitdata.errors import GitdataError
from gitdata.snapshot import belongs, is_pointer, read_pointer

Names = Mapping[str, str | None]  # path → git's name of the content, None where only the content itself can tell
Contents = Callable[[Iterable[str]], Mapping[str, bytes]]  # paths → their bytes

KEPT = "pointers"
WORTH_KEEPING = 64  # parsing fewer takes less time than writing them down
_FORMAT = f"gitdata {__version__} pointers 3"


def read(state: Path, ask: Callable[[], Names], contents: Contents) -> dict[str, Extension]:
    """The extensions of pointers by path; a path that is no pointer's is left out.

    `ask` says which there are, and is asked late, since git may still be at work; `contents` is asked for what was
    not read before. Raises DataUnavailable naming a damaged pointer.
    """
    with _collector_paused():
        known = _load(state / KEPT)
        names = ask()
        paths = [path for path in names if is_pointer(path)]
        found = {path: e for path in paths if (e := _recall(known, names[path], path)) is not None}
        fresh: dict[str, Extension] = {}
        wanted = [path for path in paths if path not in found]
        length = next((len(name) for name in names.values() if name), 40)
        for path, content in sorted(contents(wanted).items()):
            name = object_name(content, length)
            if (extension := _recall(known, name, path)) is None and (extension := read_pointer(path, content)):
                fresh[name] = extension
            if extension is not None:
                found[path] = extension
        if len(fresh) >= max(WORTH_KEEPING, len(known.values) // 16):
            _keep(state / KEPT, known, fresh, [named for path in found if (named := names[path])])
    return found


def object_name(content: bytes, length: int) -> str:
    """Git's name of a file's content, in a repository whose names have `length` digits."""
    digest = hashlib.sha256() if length == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest()


def _recall(known: Records, name: str | None, path: str) -> Extension | None:
    """What is known of a name; None where it is not the pointer that belongs at `path`: reading that says why."""
    if name is None:
        return None
    try:
        extension = known.get(name)
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    return extension if extension is not None and belongs(extension, path) else None


def _load(path: Path) -> Records:
    """What is kept; nothing where that is not, as a whole, what was written."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if head.decode() == _head(body):
            return compact.decode(body)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return Records()


def _keep(path: Path, known: Records, fresh: Mapping[str, Extension], asked: Iterable[str]) -> None:
    """Write down what is known. Where most of it is of other times, only what was asked for now stays."""
    for name, extension in fresh.items():
        known.add(name, extension)
    wanted = {*asked, *fresh}
    if len(known.values) > 4 * len(wanted):
        known = known.only(wanted)
    body = compact.encode(known)
    with suppress(OSError, GitdataError):  # a repository that only others may write to, or a full disk: then not
        durable.write(path, f"{_head(body)}\n".encode() + body)


def _head(body: bytes) -> str:
    return f"{_FORMAT} {hashlib.sha256(body).hexdigest()}"


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without looking for cycles among what has none: that would take longer than all the rest."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
