"""Parquet: columns in blocks of rows, through Arrow.

Text is read as dictionaries, so that a few bytes that stand for a long text a million times stay a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats import arrowfile
from gitdata.data.formats.format import Columns, Format, Table, first_line, require_room
from gitdata.data.schema import MOST_CATEGORIES, Schema
from gitdata.errors import Mendable


def open_table(path: Path, schema: Schema) -> Table:
    """The table in a Parquet file; what it declares is compared with this machine's memory before it is read."""
    with _open(path) as file:
        arrow, rows = file.schema_arrow, file.metadata.num_rows
        known = arrowfile.schema_of(arrow, path, frozenset(), schema)
        require_room(f"The table in '{path}'", max(rows * len(arrow.names), _declared(file.metadata)))
        nulls = frozenset(name for name in arrow.names if _has_nulls(file, name))
        labels = {name: _categories(file, name) for name in arrow.names if _is_dictionary(arrow.field(name).type)}
    known = arrowfile.schema_of(arrow, path, nulls, schema)
    known = Schema(tuple(replace(f, categories=labels.get(f.name, ())) for f in known.fields))
    return Table(path, known, rows, partial(_scan, path, known))


def header(path: Path) -> tuple[str, ...]:
    """The names of the columns, in the order of the file."""
    with _open(path) as file:
        return tuple(file.schema_arrow.names)


@contextmanager
def _open(path: Path, texts: tuple[str, ...] = ()) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, read_dictionary=list(texts), memory_map=False) as file:
            yield file
    except (pa.ArrowException, OSError, MemoryError, OverflowError) as error:
        if getattr(error, "errno", None) is not None:  # the disk's, not the file's
            raise
        raise Mendable(
            f"'{path}' is no Parquet file, or a damaged one: {first_line(error)}.",
            "Check that it was written and copied whole.",
        ) from error


def _declared(metadata: Any) -> int:
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def _is_dictionary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(kind))


def _has_nulls(file: Any, name: str) -> bool:
    """Whether a column has a null: by its statistics, else by reading it."""
    column = file.schema_arrow.names.index(name)
    if file.metadata.num_columns == len(file.schema_arrow.names):  # else columns of lists stand in between
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        known = [group.column(column).statistics for group in groups]
        if all(statistics is not None and statistics.has_null_count for statistics in known):
            return any(statistics.null_count for statistics in known)
    return any(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))


def _categories(file: Any, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for batch in file.iter_batches(columns=[name]):
        found |= dict.fromkeys(arrowfile.categories_of(batch.column(0)))
    return tuple(found) if len(found) <= MOST_CATEGORIES else ()


def _scan(path: Path, schema: Schema, rows_at_once: int) -> Iterator[Columns]:
    texts = tuple(field.name for field in schema.fields if field.dtype == "text" and not field.shape)
    with _open(path, texts) as file:
        for batch in file.iter_batches(batch_size=rows_at_once):
            yield arrowfile.declared_columns(batch, path, schema)


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The kept rows, in a file of the same schema and compression."""
    import pyarrow as pa
    from pyarrow import parquet

    start = 0
    with _open(source) as old:
        settings = {"compression": _compression(old.metadata), "version": "2.6"}
        with parquet.ParquetWriter(target, old.schema_arrow, **settings) as new:
            for batch in old.iter_batches():
                stop = start + batch.num_rows
                kept = batch.filter(pa.array(keep[start:stop]))
                if kept.num_rows:
                    new.write_batch(kept)
                start = stop


def _compression(metadata: Any) -> str:
    if not metadata.num_row_groups or not metadata.num_columns:
        return "snappy"
    name = str(metadata.row_group(0).column(0).compression).lower()
    return "none" if name == "uncompressed" else name


PARQUET = Format("Parquet", (".parquet", ".pq"), open_table, subset, header=header)
