"""Format: what every kind of file gives, and the table that it gives it as.

*Columns* are rows by field: arrays of equal length on the first axis, text as object arrays of str, numbers in native
byte order. A *table* is the rows of one file, read in blocks. A *format* opens files as tables and writes chosen rows
of a file into a file of the same kind; what is built in and what plug-ins bring is written against this page alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.schema import TEXT, Field, Schema
from gitdata.errors import Mendable

Columns = dict[str, NDArray[Any]]

UNITS = ("units", "unit")  # where formats that say something of a field say it, the first that is there
DESCRIPTIONS = ("description", "long_name", "comment")
BLOCK_BYTES = 16 * 1024 * 1024
_TEXT_BYTES = 32  # what a short text takes


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file. `scan(n)` gives them in order, at most `n` at a time; reading raises Mendable.

    `scan_from(n, row)`: the same from a row on, of a file that can be entered anywhere without reading what is before.
    """

    path: Path
    schema: Schema
    rows: int
    scan: Callable[[int], Iterator[Columns]]
    scan_from: Callable[[int, int], Iterator[Columns]] | None = None

    def blocks(self, bytes_at_once: int = BLOCK_BYTES) -> Iterator[Columns]:
        """The columns of some rows at a time, in order; together all rows."""
        width = sum(_width(field) for field in self.schema.fields)
        yield from self.scan(max(1, bytes_at_once // max(width, 1)))


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file, known by its suffixes (lower case, with the dot).

    `open` gives the table in a file and `subset` writes the rows that a mask keeps to another path, in the same format,
    equal input as equal bytes; both raise Mendable naming the file, and neither runs anything that a file says.
    `open` is told the dataset's schema, empty where there is none: a format whose cells could be read in several ways
    reads them as it says. `has_dtypes`: files name the dtypes of their fields; else the dataset's are taken.
    `header`: the names of the fields in the order of the file, where that order is seen by people.
    `tail`: of a format where a file that got more rows may begin with the very bytes that it was before. Writes the
    rows after so many bytes to another path, as `subset` would; False where no row can be read there alone.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, Schema], Table]
    subset: Callable[[Path, NDArray[np.bool_], Path], None]
    has_dtypes: bool = True
    header: Callable[[Path], tuple[str, ...]] | None = None
    tail: Callable[[Path, int, Path], bool] | None = None


def table_of(path: Path, columns: Columns, about: Mapping[str, Field] | None = None) -> Table:
    """A table whose rows are in memory; `about` holds fields of which more is known than their arrays say."""

    def scan(rows_at_once: int) -> Iterator[Columns]:
        for start in range(0, rows, rows_at_once):
            yield {name: array[start : start + rows_at_once] for name, array in columns.items()}

    rows = len(next(iter(columns.values()))) if columns else 0
    fields = {field.name: field for field in schema_of(columns).fields} | dict(about or {})
    return Table(path, Schema(tuple(fields[name] for name in sorted(fields))), rows, scan)


def schema_of(columns: Mapping[str, NDArray[Any]]) -> Schema:
    """The schema of columns, sorted by name."""
    return Schema(tuple(Field(name, dtype_of(array), array.shape[1:]) for name, array in sorted(columns.items())))


def dtype_of(array: NDArray[Any]) -> str:
    return TEXT if array.dtype.kind in "OUT" else str(array.dtype.newbyteorder("=").name)


def field_of(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], path: Path) -> Field:
    """The field that an array of numbers is. Raises Mendable where a row of it is no number and no truth value."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Mendable(f"'{name}' of '{path}' has the dtype {dtype}, which is no number and no text.", "Convert it.")
    return Field(name, str(dtype.newbyteorder("=").name), shape)


def one_length(lengths: Mapping[str, int], path: Path, what: str) -> int:
    """The number of rows that all fields have. Raises Mendable where there is none, or they differ."""
    if not lengths:
        raise Mendable(f"'{path}' holds no {what}.", "Nothing was changed.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' {length}" for name, length in sorted(lengths.items())[:5])
        raise Mendable(
            f"The {what}s of '{path}' differ in length on the first axis: {listed}.", "One row, one entry in each."
        )
    return next(iter(lengths.values()))


def require_room(what: str, declared: int) -> None:
    """Raises Mendable where this machine could not hold what a file declares: a few bytes can declare any size."""
    if declared > memory():
        raise Mendable(f"{what} has {declared:,} bytes, more than this machine can hold.", "Split the file.")


def memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, to stand within a sentence."""
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _width(field: Field) -> int:
    """Bytes of a field in one row."""
    return math.prod(field.shape) * (_TEXT_BYTES if field.dtype == TEXT else np.dtype(field.dtype).itemsize)
