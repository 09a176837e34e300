"""Packs: what many small files hold, as arrays, in few files of this clone's state.

A *part* is what was read out of one small file: columns of equal length, by a key that says of which content and how
it was read. A *pack* holds parts of one layout (fields, their dtypes and shapes) one after the other. A pack begins
with the digest of all that follows it: one that is torn or damaged is removed, and read as nothing. Packs are never
changed; a new one takes in those that are not larger, as far as a pack goes, so that there are few, and the oldest go
where they take more than their room. Which parts a pack holds its second line says, so that only those are read whole
that have something to give. Anybody may delete them at any time.
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

Layout = tuple[tuple[str, str, tuple[int, ...]], ...]

SUFFIX = ".pack"
ROOM = 256 * 1024 * 1024  # bytes of all packs together
MOST = 32 * 1024 * 1024  # of one; a part that is larger has one of its own
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class _Head:
    """`layout`: name, dtype and shape per row of each field, in order; `rows` of each part by its key."""

    layout: Layout
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Pack:
    head: _Head
    columns: Columns

    def parts(self) -> Iterator[tuple[str, Columns]]:
        start = 0
        for key, count in self.head.rows.items():
            yield key, {name: column[start : start + count] for name, column in self.columns.items()}
            start += count


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs in a folder."""

    folder: Path

    def recall(self, keys: Collection[str]) -> dict[str, Columns]:
        """The parts that are here, of those asked for."""
        missing = set(keys)
        found: dict[str, Columns] = {}
        for path in self._paths():
            if not missing:
                break
            head = _read_head(path)  # where it cannot be read the pack is damaged, and opening it removes it
            if head is not None and missing.isdisjoint(head.rows):
                continue
            if (pack := self._open(path)) is not None:
                found |= {key: columns for key, columns in pack.parts() if key in missing}
                missing -= found.keys()
        return found

    def keep(self, parts: Mapping[str, Columns]) -> None:
        """Put parts into packs; those of which a dtype is neither a number nor text are left out."""
        layouts: dict[Layout, dict[str, Columns]] = {}
        for key, columns in parts.items():
            if (layout := _layout(columns)) is not None:
                layouts.setdefault(layout, {})[key] = columns
        with suppress(OSError, GitdataError):  # a repository that only others may write to, or a full disk: then not
            for layout, group in layouts.items():
                for some in _shared_out(group):
                    self._add(layout, some)
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

    def _add(self, layout: Layout, parts: Mapping[str, Columns]) -> None:
        merged, superseded = dict(parts), []
        taken = sum(map(bytes_of, parts.values()))
        for path in sorted(self._paths(), key=_size):
            if taken + _size(path) > MOST:
                break
            head = _read_head(path)
            if head is None or head.layout != layout or len(head.rows) > len(merged):
                continue
            if (pack := self._open(path)) is not None:
                merged = dict(pack.parts()) | merged
                taken += _size(path)
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
            if taken > max(ROOM, _size(path)):  # the newest stays, whatever its size
                path.unlink(missing_ok=True)


def _may_hold(path: Path, contents: Collection[str]) -> bool:
    head = _read_head(path)
    if head is None:
        return path.exists()
    return any(not frozenset(contents).isdisjoint(key.split(" ")) for key in head.rows)


def _read_head(path: Path) -> _Head | None:
    """What a pack says that it holds, which nothing has verified; None where it says nothing, or is gone."""
    try:
        with path.open("rb") as file:
            file.readline()
            return _parse_head(file.readline())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _parse_head(line: bytes) -> _Head:
    """Raises ValueError, KeyError or TypeError where it is none."""
    about = json.loads(line)
    layout = tuple((name, dtype, tuple(shape)) for name, dtype, shape in about["layout"])
    return _Head(layout, {str(key): int(count) for key, count in about["rows"]})


def bytes_of(columns: Columns) -> int:
    """About how many bytes columns take in a pack: of a text, one for each character and eight for its end."""
    texts = [column for column in columns.values() if column.dtype.kind == "O"]
    lengths = sum(len(value) for column in texts for value in column.ravel().tolist() if type(value) is str)
    return sum(column.nbytes for column in columns.values()) + lengths


def _shared_out(parts: Mapping[str, Columns]) -> Iterator[dict[str, Columns]]:
    """Parts in groups that fit into a pack each."""
    group: dict[str, Columns] = {}
    taken = 0
    for key, columns in parts.items():
        size = bytes_of(columns)
        if group and taken + size > MOST:
            yield group
            group, taken = {}, 0
        group[key] = columns
        taken += size
    yield group


def _layout(columns: Columns) -> Layout | None:
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


def _encode(layout: Layout, parts: Mapping[str, Columns]) -> tuple[str, bytes]:
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
        line, _, body = rest.partition(b"\n")
        head = _parse_head(line)
        columns: Columns = {}
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            for number, (name, dtype, shape) in enumerate(head.layout):
                column = arrays[f"{number}"]
                columns[name] = _to_text(column, arrays[f"{number} ends"], shape) if dtype == _TEXT else column
        return _Pack(head, columns)
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
