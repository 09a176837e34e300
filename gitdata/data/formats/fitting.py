"""Fitting: the rows of a file in the dtypes of the dataset that they are to join.

A format that has dtypes keeps them, except that integers and truth values are taken for any number dtype, and floats
for wider floats, as long as no value changes: data frames say int64 of what is float64 in the dataset's CSV files.
Of a format without dtypes the dataset's are taken, and a float is rounded to a narrower one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.format import Columns, Table, dtype_of
from gitdata.data.schema import TEXT, Field, Schema, differences, inherit
from gitdata.errors import Mendable


def fit(found: Table, schema: Schema, without_dtype: Container[str]) -> Table:
    """The table as the dataset would have it; `without_dtype`: the fields whose dtypes the file does not name.

    Raises Mendable listing every difference; reading the table, at a value that does not fit.
    """
    wanted = {}
    for field in found.schema.fields:
        ours = schema.get(field.name)
        if ours is not None and ours.dtype != field.dtype and _may_become(field, ours, field.name in without_dtype):
            wanted[field.name] = ours.dtype
    fields = tuple(replace(f, dtype=wanted.get(f.name, f.dtype)) for f in found.schema.fields)
    if different := differences(schema, Schema(fields)):
        raise Mendable(
            f"'{found.path}' does not fit the rows that it is to join: {'; '.join(different)}.",
            "Give it the fields, dtypes and units of the dataset, or start another with `gitdata add`.",
        )
    fitted = inherit(schema, Schema(fields))
    if not wanted:
        return replace(found, schema=fitted)
    cast = _Cast(found, fitted)
    return replace(found, schema=fitted, scan=cast, scan_from=cast.starting_at if found.scan_from else None)


def _may_become(field: Field, ours: Field, is_free: bool) -> bool:
    """Whether values of a field may be taken for the dataset's dtype, as far as each of them fits."""
    if TEXT in (field.dtype, ours.dtype):
        return False
    theirs, dtype = np.dtype(field.dtype), np.dtype(ours.dtype)
    return is_free or theirs.kind != "f" or np.can_cast(theirs, dtype)


class _Cast:
    """A scan whose columns have the dtypes of a schema."""

    def __init__(self, found: Table, schema: Schema) -> None:
        self.found = found
        self.dtypes = {field.name: field.dtype for field in schema.fields}

    def __call__(self, rows_at_once: int) -> Iterator[Columns]:
        return self._cast_all(self.found.scan(rows_at_once), 0)

    def starting_at(self, rows_at_once: int, first: int) -> Iterator[Columns]:
        assert self.found.scan_from is not None
        return self._cast_all(self.found.scan_from(rows_at_once, first), first)

    def _cast_all(self, blocks: Iterator[Columns], start: int) -> Iterator[Columns]:
        for columns in blocks:
            yield {name: self._cast(name, array, start) for name, array in columns.items()}
            start += len(next(iter(columns.values())))

    def _cast(self, name: str, array: NDArray[Any], start: int) -> NDArray[Any]:
        dtype = self.dtypes[name]
        return array if dtype_of(array) == dtype else cast(array, dtype, name, self.found.path, start)


def cast(array: NDArray[Any], dtype: str, name: str, path: Path, start: int = 0) -> NDArray[Any]:
    """Values in another dtype; `start`: the row of the first. Raises Mendable where a value would change.

    Rounding to a narrower float is no change, becoming infinite is.
    """
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        is_lost = changed(array, cast)
    if is_lost.any():
        row, *_ = np.argwhere(is_lost)[0]
        value = array[is_lost][0]
        raise Mendable(
            f"Field '{name}' of '{path}' is {dtype} in the dataset; {value} in row {start + int(row) + 1} is not.",
            "Correct the file.",
        )
    return cast


def changed(array: NDArray[Any], cast: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a cast has another value, rounding to a narrower float aside.

    There and back is not enough: -1 and 255 of eight bits are the same bits."""
    theirs, ours = array.dtype, cast.dtype
    if theirs.kind == ours.kind == "f":
        return np.asarray(np.isinf(cast) & ~np.isinf(array))
    is_lost = np.asarray(cast.astype(theirs) != array)  # comparing with `cast` itself would round what is compared
    if ours.kind in "iu":
        is_lost |= ~_within(array, ours)
    if theirs.kind in "iu":
        is_lost |= ~_within(cast, theirs)
    return is_lost


def _within(array: NDArray[Any], integers: np.dtype[Any]) -> NDArray[np.bool_]:
    """Where values, of any dtype, lie within the range of a dtype of integers."""
    limits = np.iinfo(integers)
    if array.dtype.kind == "f":
        wide = array.astype(np.float64)  # which holds these powers of two, if not the integers beside them
        return np.asarray((wide >= float(limits.min)) & (wide < float(limits.max + 1)))
    if array.dtype.kind == "b":
        return np.ones(array.shape, np.bool_)
    return np.asarray((array >= limits.min) & (array <= limits.max))
