"""Row store: the rows of a split in memory or mapped, field by field, for access in any order.

A large HDF5 data set that lies in one piece is mapped: its rows are read by the operating system when somebody looks
at them, and take no memory of their own. All else is decoded once and kept. A *segment* is a stretch of rows that
lies in one array; a slice within one is a view of it, never a copy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from threading import RLock
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gitdata.data import view
from gitdata.data.formats import hdf5file
from gitdata.data.formats.piece import Piece, dtype_of, empty
from gitdata.data.schema import TEXT, Field, Schema

Array = NDArray[Any]

MAPPED_BYTES = 1024 * 1024  # of a data set: what is smaller is quicker read than mapped, and maps are limited
MAPPED_RUNS = 16  # of kept rows in one file: more are copied together


class Column:
    """A field of all rows: its segments, in order."""

    def __init__(self, segments: Sequence[Array]) -> None:
        self.segments = segments
        self.ends = list(accumulate(len(segment) for segment in segments))

    def slice(self, start: int, stop: int) -> Array:
        """The rows `start` up to `stop`; a view where they lie in one segment."""
        first = bisect_right(self.ends, start)
        pieces = []
        for segment, end in zip(self.segments[first:], self.ends[first:], strict=True):
            begin = end - len(segment)
            pieces.append(segment[max(start - begin, 0) : stop - begin])
            if end >= stop:
                break
        if not pieces:
            return self.segments[0][:0]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def row(self, position: int) -> Any:
        """The value of a row: a number, a text, or an array that is a view."""
        which = bisect_right(self.ends, position)
        return self.segments[which][position - self.ends[which] + len(self.segments[which])]

    def rows(self, positions: NDArray[np.int64]) -> Array:
        """A copy of the rows at some positions, in their order."""
        if len(self.segments) == 1:
            return self.segments[0][positions]
        which = np.searchsorted(self.ends, positions, side="right")
        found = np.empty((len(positions), *self.segments[0].shape[1:]), self.segments[0].dtype)
        for index in np.unique(which):
            chosen = which == index
            begin = self.ends[index] - len(self.segments[index])
            found[chosen] = self.segments[index][positions[chosen] - begin]
        return found


class RowStore:
    """The columns of some pieces. `open_pieces` brings and verifies them, when somebody first asks for a row."""

    def __init__(self, schema: Schema, rows: int, open_pieces: Callable[[], Sequence[Piece]]) -> None:
        self.schema = schema
        self.rows = rows
        self._open_pieces = open_pieces
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()
        self._columns: dict[str, Column] = {}
        self._decoded: list[dict[str, Array] | None] = []
        self._mapped: list[dict[str, Array]] = []

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: the verified files; it reads or maps them itself."""
        self._opened()
        return {"schema": self.schema, "rows": self.rows, "pieces": self._pieces}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.schema, self.rows = state["schema"], state["rows"]
        pieces = state["pieces"]
        self._open_pieces = lambda: pieces
        self._begin()

    def column(self, name: str) -> Column:
        """A field of all rows. Raises what opening and reading the files raises."""
        with self._lock:
            if name not in self._columns:
                self._columns[name] = self._read(self.schema.field(name))
            return self._columns[name]

    def whole(self, name: str) -> Array:
        """A field of all rows as one array, kept in place of its segments."""
        with self._lock:
            column = self.column(name)
            if len(column.segments) > 1:
                self._columns[name] = column = Column([np.concatenate(column.segments)])
            return column.segments[0]

    def _opened(self) -> None:
        if not self._mapped:
            self._pieces = list(self._open_pieces())
            self._mapped = [_mapped(piece) for piece in self._pieces]
            self._decoded = [None] * len(self._pieces)

    def _read(self, field: Field) -> Column:
        """What is decoded is joined to as few segments as the mapped ones between allow."""
        self._opened()
        segments: list[tuple[bool, Array]] = []
        for index, mapped in enumerate(self._mapped):
            if field.name in mapped:
                segments += [(True, segment) for segment in _shown(mapped[field.name], self._pieces[index])]
            else:
                segments.append((False, self._decode(index).pop(field.name)))
        joined: list[Array] = []
        for is_mapped, group in groupby(segments, key=lambda pair: pair[0]):
            arrays = [array for _, array in group]
            joined += arrays if is_mapped or len(arrays) == 1 else [np.concatenate(arrays)]
        return Column(joined or [empty(Schema((field,)), 0)[field.name]])

    def _decode(self, index: int) -> dict[str, Array]:
        """The fields of a piece that are not mapped: read once, all of them."""
        kept = self._decoded[index]
        if kept is None:
            piece, mapped = self._pieces[index], self._mapped[index]
            fields = Schema(tuple(field for field in self.schema.fields if field.name not in mapped))
            kept = self._decoded[index] = _filled(piece, fields)
        return kept


def _filled(piece: Piece, fields: Schema) -> dict[str, Array]:
    columns, start = empty(fields, piece.count), 0
    for block in piece.blocks():
        stop = start + len(next(iter(block.values())))
        for name, column in columns.items():
            column[start:stop] = block[name]
        start = stop
    return columns


# --- mapping -------------------------------------------------------------------------------------------------


def _shown(array: Array, piece: Piece) -> list[Array]:
    """The rows of a mapped array that count, as views of it."""
    return [array[start:stop] for start, stop in view.runs(piece.keep, piece.rows)]


def _mapped(piece: Piece) -> dict[str, Array]:
    """The fields of a piece that can be mapped. Writing to them changes memory, never the file."""
    if piece.suffix not in hdf5file.HDF5.suffixes or len(view.runs(piece.keep, piece.rows)) > MAPPED_RUNS:
        return {}
    piece.table()  # refuses what leads out of the file
    found: dict[str, Array] = {}
    size = piece.path.stat().st_size
    with h5py.File(piece.path, "r") as file:
        if file.userblock_size:
            return {}
        for field in piece.schema.fields:
            dataset = file.get(field.name)
            if (offset := _offset(dataset, field, piece.rows, size)) is not None:
                shape = (piece.rows, *field.shape)
                array = np.memmap(piece.path, dtype_of(field), "c", offset, shape)
                found[field.name] = array.view(np.ndarray)
    return found


def _offset(dataset: Any, field: Field, rows: int, size: int) -> int | None:
    """Where in its file, of `size` bytes, a data set lies in one piece, exactly as memory would hold it.

    None where it does not.
    """
    if not isinstance(dataset, h5py.Dataset) or field.dtype == TEXT or dataset.shape != (rows, *field.shape):
        return None
    dtype = dtype_of(field)
    if dataset.dtype != dtype or dataset.nbytes < MAPPED_BYTES or dataset.external or dataset.is_virtual:
        return None
    offset = dataset.id.get_offset()
    if offset is None or offset % dtype.alignment or offset + dataset.nbytes > size:
        return None
    return int(offset)
