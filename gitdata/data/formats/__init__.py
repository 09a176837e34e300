"""Formats: rows out of CSV and HDF5 files, and chosen rows back into a file of the same format.

*Columns* are the rows of a file by field: arrays of equal length on the first axis, text as object arrays of str.
A CSV file has no dtypes, so numbers are float64 (int64 where float64 does not hold them) unless the parents' schema
says otherwise; whatever is not plainly a number or a truth value stays text as it was written.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats import csvfile, hdf5file
from gitdata.data.schema import TEXT, Field, Schema, differences
from gitdata.errors import Mendable

Columns = dict[str, NDArray[Any]]

SUFFIXES = (*csvfile.SUFFIXES, *hdf5file.SUFFIXES)
BLOCK_BYTES = 16 * 1024 * 1024
_TEXT_BYTES = 32  # what a short text takes


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file, to be read in blocks: of a CSV file all columns are held, of an HDF5 file none."""

    path: Path
    schema: Schema
    rows: int
    columns: Columns | None = None

    def blocks(self, bytes_at_once: int = BLOCK_BYTES) -> Iterator[Columns]:
        """The columns of some rows at a time, in order; together all rows."""
        if self.columns is not None:
            yield self.columns
            return
        width = sum(_width(field) for field in self.schema.fields)
        yield from hdf5file.blocks(self.path, self.rows, max(1, bytes_at_once // max(width, 1)))


def table(path: Path, schema: Schema | None = None, *, suffix: str | None = None) -> Table:
    """The table in a file. With `schema`, fields get its dtypes where that is exact.

    `suffix` names the format of a file whose name does not. Raises Mendable naming the file and what is wrong.
    """
    _require_readable(path)
    kind = (suffix if suffix is not None else path.suffix).lower()
    if kind in csvfile.SUFFIXES:
        columns = csvfile.read(path, csvfile.SUFFIXES[kind], schema or Schema(()))
        found = Table(path, schema_of(columns), len(next(iter(columns.values()))), columns)
    elif kind in hdf5file.SUFFIXES:
        found = Table(path, *hdf5file.schema_and_rows(path))
    else:
        raise Mendable(f"'{path}' is neither CSV nor HDF5.", f"gitdata reads {', '.join(SUFFIXES)}.")
    if not found.rows:
        raise Mendable(f"'{path}' has no rows.", "Nothing was changed.")
    return found if schema is None else _fit(found, schema)


def read(path: Path, schema: Schema | None = None, *, suffix: str | None = None) -> Columns:
    """All rows of a file, in memory. Raises as `table` does."""
    found = table(path, schema, suffix=suffix)
    return found.columns if found.columns is not None else next(found.blocks(bytes_at_once=2**62))


def schema_of(columns: Mapping[str, NDArray[Any]]) -> Schema:
    """The schema of columns, sorted by name."""
    return Schema(tuple(Field(name, _dtype(array), array.shape[1:]) for name, array in sorted(columns.items())))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The rows of several files one after the other; no parts, no columns."""
    if len(parts) < 2:
        return parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """Write the rows of `source` that `keep` names to `target`, in the same format: CSV byte for byte."""
    (csvfile if source.suffix.lower() in csvfile.SUFFIXES else hdf5file).subset(source, keep, target)


def grows_by_bytes(path: Path) -> bool:
    """Whether a file of this format that got more rows may begin with the very bytes that it was before."""
    return path.suffix.lower() in csvfile.SUFFIXES


def tail(source: Path, size: int, target: Path) -> bool:
    """Write the rows after the first `size` bytes of a file that grows by bytes to `target`, as `subset` would.

    False where no row can be read there without those before it.
    """
    return csvfile.tail(source, size, target)


def _require_readable(path: Path) -> None:
    if any("\udc80" <= character <= "\udcff" for character in str(path)):  # how Python holds bytes that are no text
        raise Mendable(f"The name of '{path}' is not UTF-8.", "Rename it.")
    if not path.exists():
        raise Mendable(f"There is no file '{path}'.", "Check the name.")
    if not path.is_file():
        raise Mendable(f"'{path}' is not a file.", "Name a CSV or HDF5 file.")
    if not os.access(path, os.R_OK):
        raise Mendable(f"'{path}' may not be read.", "Ask its owner for permission.")
    if path.stat().st_size == 0:
        raise Mendable(f"'{path}' is empty.", "Nothing was changed.")


def _dtype(array: NDArray[Any]) -> str:
    return TEXT if array.dtype.kind in "OUT" else str(array.dtype.newbyteorder("=").name)


# --- the parents' schema -------------------------------------------------------------------------------------


def _fit(found: Table, schema: Schema) -> Table:
    """The table with the parents' dtypes, where it names none of its own; raises Mendable listing every difference."""
    if found.columns is not None:
        dtypes = {field.name: field.dtype for field in schema.fields if not field.shape}
        columns = {name: _cast(array, dtypes.get(name), name, found.path) for name, array in found.columns.items()}
        found = replace(found, columns=columns, schema=schema_of(columns))
    if different := differences(schema, found.schema):
        raise Mendable(
            f"'{found.path}' does not fit the dataset it is to extend: {'; '.join(different)}.",
            "Give it the fields of the dataset, or start another dataset with `gitdata add`.",
        )
    return found


def _width(field: Field) -> int:
    """Bytes of a field in one row."""
    return math.prod(field.shape) * (_TEXT_BYTES if field.dtype == TEXT else np.dtype(field.dtype).itemsize)


def _cast(array: NDArray[Any], dtype: str | None, name: str, path: Path) -> NDArray[Any]:
    """A CSV column in the parents' dtype where that changes no value; else as it is, and the schemas differ."""
    if dtype is None or dtype == _dtype(array) or _dtype(array) == TEXT:
        return array
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    narrower = dtype.startswith("float") and array.dtype.kind == "f"
    with np.errstate(all="ignore"):
        back = cast.astype(array.dtype)  # comparing with `cast` itself would round what is compared
    if not narrower and not np.array_equal(back, array, equal_nan=array.dtype.kind == "f"):
        row = int(np.flatnonzero(~(back == array))[0])
        raise Mendable(
            f"Field '{name}' of '{path}' is {dtype} in the dataset; {array[row]} in row {row + 1} is not.",
            "Correct the file.",
        )
    if narrower and np.isinf(cast).sum() > np.isinf(array).sum():
        raise Mendable(f"Field '{name}' of '{path}' holds values too large for {dtype}.", "Correct the file.")
    return cast
