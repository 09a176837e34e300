"""Packs: what many small files hold, as arrays, in few files of this clone's state.

A *part* is what was read out of one small file: columns of equal length, by a key that says of which content and how
it was read. A *pack* holds parts of one layout (fields, their dtypes and shapes) one after the other. A pack begins
with the digest of all that follows it: one that is torn or damaged is removed, and read as nothing. Packs are never
changed; a new one takes in those that are not larger, so that there are few, and the oldest go where they take more
than their room. Anybody may delete them at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import durable
from gitdata.canonical import canonical_json
from gitdata.errors import GitdataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

SUFFIX = ".pack"
ROOM = 256 * 1024 * 1024  # bytes of all packs together
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class _Pack:
    """`layout`: name, dtype and shape per row of each field, in order; `rows` of each part by its key."""

    layout: tuple[tuple[str, str, tuple[int, ...]], ...]
    rows: Mapping[str, int]
    columns: Columns

    def parts(self) -> Iterator[tuple[str, Columns]]:
        start = 0
        for key, count in self.rows.items():
            yield key, {name: column[start : start + count] for name, column in self.columns.items()}
            start += count


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs in a folder."""

    folder: Path

    def recall(self, keys: Collection[str]) -> dict[str, Columns]:
        """The parts that are here, of those asked for."""
        wanted = frozenset(keys)
        found: dict[str, Columns] = {}
        for path in self._paths():
            if len(found) == len(wanted):
                break
            if (pack := self._open(path)) is not None and not wanted.isdisjoint(pack.rows):
                found |= {key: columns for key, columns in pack.parts() if key in wanted}
        return found

    def keep(self, parts: Mapping[str, Columns]) -> None:
        """Put parts into packs; those of which a dtype is neither a number nor text are left out."""
        layouts: dict[Any, dict[str, Columns]] = {}
        for key, columns in parts.items():
            if (layout := _layout(columns)) is not None:
                layouts.setdefault(layout, {})[key] = columns
        with suppress(OSError, GitdataError):  # a repository that only others may write to, or a full disk: then not
            for layout, group in layouts.items():
                self._add(layout, group)
            self._make_room()

    def may_hold(self, contents: Collection[str]) -> bool:
        """Whether a pack, or what is left of one that was being written, may hold parts with these words in their keys.

        Only what a pack says of its parts is read; one that is damaged, and what a killed process left, may hold any.
        """
        left = [path for path in self.folder.iterdir() if path.suffix != SUFFIX] if self.folder.is_dir() else []
        return bool(contents) and (bool(left) or any(_may_hold(path, contents) for path in self._paths()))

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _add(self, layout: Any, parts: dict[str, Columns]) -> None:
        merged, superseded = dict(parts), []
        for path in sorted(self._paths(), key=_size):
            pack = self._open(path)
            if pack is not None and pack.layout == layout and len(pack.rows) <= len(merged):
                merged = dict(pack.parts()) | merged
                superseded.append(path)
        name, content = _encode(layout, merged)
        durable.write(self.folder / f"{name}{SUFFIX}", content)
        for path in superseded:
            if path.name != f"{name}{SUFFIX}":
                path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """The packs, newest first."""
        return sorted(self.folder.glob(f"*{SUFFIX}"), key=_time, reverse=True)

    def _open(self, path: Path) -> _Pack | None:
        """A pack; None where it is gone, or damaged: then it is removed."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        pack = _decode(content)
        if pack is None:
            with suppress(OSError):
                path.unlink()
        return pack

    def _make_room(self) -> None:
        taken = 0
        for path in self._paths():
            taken += _size(path)
            if taken > ROOM:
                path.unlink(missing_ok=True)


def _may_hold(path: Path, contents: Collection[str]) -> bool:
    try:
        with path.open("rb") as file:
            file.readline()
            keys = json.loads(file.readline())["rows"]
        return any(not frozenset(contents).isdisjoint(key.split(" ")) for key, _ in keys)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, AttributeError):
        return True


def _layout(columns: Columns) -> tuple[tuple[str, str, tuple[int, ...]], ...] | None:
    """None where a column is neither of numbers nor of text."""
    fields = []
    for name, column in columns.items():
        if column.dtype.kind == "O" and all(type(value) is str for value in column.ravel().tolist()):
            fields.append((name, _TEXT, column.shape[1:]))
        elif column.dtype.kind in "biuf":
            fields.append((name, column.dtype.str, column.shape[1:]))
        else:
            return None
    return tuple(fields) if fields else None


def _encode(layout: Any, parts: Mapping[str, Columns]) -> tuple[str, bytes]:
    """The name of a pack, a digest of what is inside, and its bytes."""
    import numpy as np

    counts = {key: len(columns[layout[0][0]]) for key, columns in parts.items()}
    head = canonical_json({"layout": layout, "rows": list(counts.items())})
    arrays: dict[str, NDArray[Any]] = {}
    for number, (name, dtype, _) in enumerate(layout):
        pieces = [columns[name] for columns in parts.values()]
        column = np.concatenate(pieces, dtype=pieces[0].dtype)  # else it would be of this machine's byte order
        if dtype == _TEXT:
            arrays[f"{number}"], arrays[f"{number} ends"] = _from_text(column)
        else:
            arrays[f"{number}"] = column
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, **arrays)
    rest = head + b"\n" + body.getvalue()
    return hashlib.sha256(head).hexdigest(), hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def _decode(content: bytes) -> _Pack | None:
    """The pack that `_encode` wrote, or None."""
    import numpy as np

    digest, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    try:
        head, _, body = rest.partition(b"\n")
        about = json.loads(head)
        layout = tuple((name, dtype, tuple(shape)) for name, dtype, shape in about["layout"])
        columns: Columns = {}
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            for number, (name, dtype, shape) in enumerate(layout):
                column = arrays[f"{number}"]
                columns[name] = _to_text(column, arrays[f"{number} ends"], shape) if dtype == _TEXT else column
        return _Pack(layout, dict(about["rows"]), columns)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile):
        return None


def _from_text(column: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All texts one after the other as UTF-8, and after how many characters each ends."""
    import numpy as np

    texts = column.ravel().tolist()
    joined = "".join(texts).encode(errors="surrogatepass")
    return np.frombuffer(joined, np.uint8), np.cumsum([len(text) for text in texts], dtype=np.int64)


def _to_text(joined: NDArray[np.uint8], ends: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[Any]:
    import numpy as np

    text, stops = joined.tobytes().decode(errors="surrogatepass"), ends.tolist()
    column = np.empty(len(stops), object)
    column[:] = [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    return column.reshape(-1, *shape) if shape else column


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
