"""Arrow: columns out of Arrow's types, for every format that Arrow reads, and its own files (IPC, Feather).

What an Arrow column becomes: numbers and truth values as they are; text, and dictionaries of text (their labels are
the field's categories); dates and times as ISO 8601 text; lists of fixed size and tensors as values with a shape per
row. A number that is null is NaN, its column then of floats; a text that is null is the empty text. Anything nested,
bytes, decimals and null truth values are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.exact import EXACT
from gitdata.data.formats.fitting import changed
from gitdata.data.formats.format import DESCRIPTIONS, UNITS, Columns, Format, Table, first_line, require_room
from gitdata.data.schema import MOST_CATEGORIES, TEXT, Field, Schema
from gitdata.errors import Mendable


class _InexactError(Exception):
    """Integers that floats would have to stand for, and cannot."""


# --- fields --------------------------------------------------------------------------------------------------


def schema_of(arrow: Any, path: Path, with_nulls: frozenset[str], wanted: Schema) -> Schema:
    """The fields of an Arrow schema; integers in columns `with_nulls` are floats. Raises Mendable."""
    names = arrow.names
    for name in names:
        if not name.strip():
            raise Mendable(f"A column of '{path}' has no name.", "Name every column.")
        if names.count(name) > 1:
            raise Mendable(f"'{path}' has two columns named '{name}'.", "Rename one of them.")
    if not names:
        raise Mendable(f"'{path}' names no field.", "Nothing was changed.")
    return Schema(tuple(_field(arrow.field(name), path, name in with_nulls, wanted) for name in sorted(names)))


def _field(arrow: Any, path: Path, has_nulls: bool, wanted: Schema) -> Field:
    dtype, shape = _dtype_and_shape(arrow.type, arrow.name, path)
    if dtype is None:  # no value at all: whatever the dataset has there
        ours = wanted.get(arrow.name)
        dtype = "float64" if ours is not None and ours.dtype != TEXT else TEXT
    elif has_nulls and dtype == "bool":
        raise Mendable(f"'{arrow.name}' of '{path}' has truth values that are null.", "Fill them, or use numbers.")
    elif has_nulls and not dtype.startswith("float") and dtype != TEXT:
        dtype = _dtype_with_nulls(wanted.get(arrow.name), path)
    said = {key.decode(errors="replace"): value for key, value in (arrow.metadata or {}).items()}
    return Field(arrow.name, dtype, shape, _said(said, UNITS), _said(said, DESCRIPTIONS))


def _dtype_with_nulls(ours: Field | None, path: Path) -> str:
    """That of a column of integers and nulls: the dataset's float, if it has one. Raises Mendable where it has none."""
    if ours is None or ours.dtype == TEXT:
        return "float64"
    if not ours.dtype.startswith("float"):
        raise Mendable(
            f"'{ours.name}' of '{path}' has nulls; in the dataset it is {ours.dtype}, which has no place for them.",
            f"Fill the nulls, or start another dataset, where '{ours.name}' is float64: `gitdata add`.",
        )
    return ours.dtype


def _said(said: Mapping[str, bytes], keys: tuple[str, ...]) -> str | None:
    texts = (said[key].decode(errors="replace").strip() for key in keys if key in said)
    return next((text for text in texts if text), None)


def _dtype_and_shape(kind: Any, name: str, path: Path) -> tuple[str | None, tuple[int, ...]]:
    """The dtype that values of an Arrow type have, None of one without values. Raises Mendable."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.FixedShapeTensorType) and kind.permutation in (None, list(range(len(kind.shape)))):
        return _dtype_and_shape(kind.value_type, name, path)[0], tuple(kind.shape)
    if types.is_fixed_size_list(kind):
        dtype, shape = _dtype_and_shape(kind.value_type, name, path)
        return dtype, (kind.list_size, *shape)
    if types.is_null(kind):
        return None, ()
    if types.is_dictionary(kind):
        return _dtype_and_shape(kind.value_type, name, path)
    if _is_text(kind) or types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return TEXT, ()
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).name), ()
    if types.is_nested(kind):
        raise Mendable(
            f"'{name}' of '{path}' is nested ({kind}).", "Give every value a field of its own, or a list a fixed size."
        )
    raise Mendable(f"'{name}' of '{path}' has the type {kind}, which is no number and no text.", "Convert it.")


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


# --- values --------------------------------------------------------------------------------------------------


def to_columns(table: Any, path: Path, wanted: Schema) -> Columns:
    """An Arrow table or record batch as columns. Raises Mendable; what is not valid is found before it is used."""
    import pyarrow as pa

    try:
        table.validate(full=True)
        nulls = frozenset(name for name in table.column_names if table.column(name).null_count)
        schema = schema_of(table.schema, path, nulls, wanted)
        return {name: _values(_one(table.column(name)), schema.field(name)) for name in table.column_names}
    except (pa.ArrowException, MemoryError, UnicodeDecodeError, OverflowError) as error:
        raise Mendable(f"'{path}' cannot be read: {first_line(error)}.", "Write the file anew.") from error
    except _InexactError as error:
        raise _inexact(error, path) from error


def _inexact(error: _InexactError, path: Path) -> Mendable:
    name, value, dtype = error.args
    return Mendable(
        f"'{name}' of '{path}' has nulls, so that its numbers are {dtype}, which does not hold its {value}.",
        "Fill the nulls, or make the column text.",
    )


def _floats(integers: NDArray[Any], field: Field) -> NDArray[Any]:
    """Integers as the floats of a field. Raises _InexactError where one is not equal to any."""
    with np.errstate(all="ignore"):
        floats = integers.astype(field.dtype)
        is_lost = changed(integers, floats)
    if is_lost.any():
        raise _InexactError(field.name, integers[is_lost][0], field.dtype)
    return floats


def plain_floats(array: NDArray[Any]) -> NDArray[Any]:
    """Integers of a format that has no dtypes: float64 where it holds them all."""
    if array.dtype.kind not in "iu" or ((array > EXACT) | (array < -EXACT)).any():
        return array
    return array.astype(np.float64)


def _one(column: Any) -> Any:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _values(array: Any, field: Field) -> NDArray[Any]:
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if field.shape:
        return _shaped(array, field)
    if pa.types.is_dictionary(array.type):
        return _decoded(array, field)
    if field.dtype == TEXT:
        return _texts(array)
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    if array.null_count and not pa.types.is_floating(array.type):
        floats = _floats(array.fill_null(0).to_numpy(zero_copy_only=False), field)
        floats[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return floats
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _decoded(array: Any, field: Field) -> NDArray[Any]:
    """The values that the codes of a dictionary stand for; equal texts are one object."""
    import pyarrow as pa

    if array.dictionary.null_count and field.dtype != TEXT:
        raise pa.ArrowInvalid(f"a label of '{field.name}' is null")
    labels, codes = _values(array.dictionary, field), array.indices
    if array.null_count:
        missing: NDArray[Any] = np.array([""], object) if field.dtype == TEXT else np.array([np.nan], field.dtype)
        labels = _floats(labels, field) if labels.dtype.kind in "iu" else labels
        labels, codes = np.concatenate([labels, missing]), codes.cast("int64").fill_null(len(labels))
    return np.asarray(labels[codes.to_numpy(zero_copy_only=False)])


def _shaped(array: Any, field: Field) -> NDArray[Any]:
    """Lists of fixed size: their values with the shape of one row."""
    import pyarrow as pa

    if array.null_count:
        raise pa.ArrowInvalid(f"'{field.name}' has lists that are null")
    rows = len(array)
    while pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    if array.null_count and field.dtype != "float64":
        raise pa.ArrowInvalid(f"'{field.name}' has lists with values that are null")
    return _values(array, replace(field, shape=())).reshape(rows, *field.shape)


def _texts(array: Any) -> NDArray[Any]:
    """Text as it is; dates and times as ISO 8601, a fraction of a second only as long as it has to be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(array.type) and not pa.types.is_null(array.type):
        has_fraction = not pa.types.is_date(array.type) and array.type.unit != "s"
        zone = getattr(array.type, "tz", None)
        if zone is not None:
            array = array.cast(pa.timestamp(array.type.unit, "UTC")).cast(pa.timestamp(array.type.unit))
        array = array.cast("date32" if pa.types.is_date(array.type) else array.type).cast(pa.string())
        array = pc.replace_substring_regex(array, r"\.?0+$", "") if has_fraction else array
        array = pc.binary_join_element_wise(array, "Z", "") if zone is not None else array
    texts = np.array(array.to_pylist(), dtype=object)
    texts[texts == None] = ""  # noqa: E711
    return texts


# --- Arrow's own files ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """What one pass over the record batches of a file finds."""

    arrow: Any
    rows: int
    with_nulls: frozenset[str]
    categories: Mapping[str, tuple[str, ...]]


def open_table(path: Path, schema: Schema) -> Table:
    """The table in an Arrow IPC file or stream; its record batches are read twice, one at a time."""
    with _batches(path) as (arrow, batches):
        found = _look(arrow, batches, path)
    fields = schema_of(found.arrow, path, found.with_nulls, schema).fields
    known = Schema(tuple(replace(f, categories=found.categories.get(f.name, ())) for f in fields))
    return Table(path, known, found.rows, partial(_scan, path, known))


def _look(arrow: Any, batches: Iterator[Any], path: Path) -> _Found:
    rows, with_nulls = 0, set()
    categories: dict[str, dict[str, None]] = {}
    for batch in batches:
        batch.validate(full=True)
        rows += batch.num_rows
        require_room(f"The table in '{path}'", rows * max(1, batch.num_columns))
        for name in batch.schema.names if len(set(batch.schema.names)) == len(batch.schema.names) else ():
            column = batch.column(name)
            if column.null_count:
                with_nulls.add(name)
            categories.setdefault(name, {}).update(dict.fromkeys(categories_of(column)))
    labels = {name: tuple(found) for name, found in categories.items() if len(found) <= MOST_CATEGORIES}
    return _Found(arrow, rows, frozenset(with_nulls), labels)


def categories_of(column: Any) -> tuple[str, ...]:
    """The labels of a column that is a dictionary of text, in order; of another, none."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return ()
    labels = column.dictionary
    return tuple(labels.drop_null().to_pylist()) if len(labels) <= MOST_CATEGORIES else ()


def _scan(path: Path, schema: Schema, rows_at_once: int) -> Iterator[Columns]:
    with _batches(path) as (_, batches):
        for batch in batches:
            for start in range(0, batch.num_rows, rows_at_once):
                yield declared_columns(batch.slice(start, rows_at_once), path, schema)


def declared_columns(block: Any, path: Path, schema: Schema) -> Columns:
    """A block as columns, whose integers are floats where other blocks hold nulls. Raises Mendable."""
    columns = to_columns(block, path, schema)
    fields = [schema.field(name) for name, array in columns.items() if array.dtype.kind in "iu"]
    try:
        return columns | {f.name: _floats(columns[f.name], f) for f in fields if f.dtype.startswith("float")}
    except _InexactError as error:
        raise _inexact(error, path) from error


@contextmanager
def _batches(path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Schema and record batches of a file; not mapped into memory, where a file that is cut meanwhile is a crash."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path), "rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic[:4] == b"FEA1":
                raise Mendable(f"'{path}' is a Feather file of version 1.", "Write it anew, in version 2.")
            if magic == b"ARROW1":
                reader = pa.ipc.open_file(file)
                yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
            else:
                reader = pa.ipc.open_stream(file)
                yield reader.schema, iter(reader)
    except (pa.ArrowException, OSError, MemoryError, OverflowError) as error:
        if getattr(error, "errno", None) is not None:  # the disk's, not the file's
            raise
        raise Mendable(
            f"'{path}' is no Arrow file, or a damaged one: {first_line(error)}.",
            "Check that it was written and copied whole.",
        ) from error


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The kept rows of every record batch, in a file of the same schema."""
    import pyarrow as pa

    start = 0
    with (
        _batches(source) as (arrow, batches),
        pa.OSFile(str(target), "wb") as file,
        pa.ipc.new_file(file, arrow) as new,
    ):
        for batch in batches:
            stop = start + batch.num_rows
            new.write_batch(batch.filter(pa.array(keep[start:stop])))
            start = stop


ARROW = Format("Arrow", (".arrow", ".feather", ".ipc", ".arrows"), open_table, subset)
