"""JSON Lines: an object a line, its keys the fields. Text stays text; nested values are refused.

JSON has no dtypes: numbers are as in CSV. A key that a line lacks,
or null, is NaN for a number and the empty text for a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats import exact, textfile
from gitdata.data.formats.arrowfile import plain_floats, to_columns
from gitdata.data.formats.format import Columns, Format, Table, first_line, table_of
from gitdata.data.schema import Schema
from gitdata.errors import Mendable


def open_table(path: Path, schema: Schema) -> Table:
    """The table in a JSON Lines file, its columns held in memory."""
    textfile.check(path, "JSON Lines")
    table = _with_floats(_parse(path))
    columns = to_columns(table, path, schema)
    columns |= _settled({name: array for name, array in columns.items() if exact.is_doubtful(array)}, path)
    return table_of(path, {name: plain_floats(array) for name, array in columns.items()})


def _with_floats(table: Any) -> Any:
    """The table with integers of which one is null as floats, the nearest ones."""
    import pyarrow as pa

    for number, field in enumerate(table.schema):
        if pa.types.is_integer(field.type) and table.column(number).null_count:
            table = table.set_column(number, field.name, table.column(number).cast("float64", safe=False))
    return table


def _settled(doubtful: Columns, path: Path) -> Columns:
    """Columns as the lines say them that Arrow may have rounded."""
    if not doubtful:
        return {}
    written: dict[str, list[exact.Written]] = {name: [] for name in doubtful}
    for line in _lines(path.read_bytes()):
        try:
            values = json.loads(line, strict=False)
        except (ValueError, RecursionError) as error:
            raise Mendable(f"'{path}' is not well-formed JSON Lines: {first_line(error)}.", "Correct it.") from error
        for name, cells in written.items():
            value = values.get(name)
            cells.append(value if type(value) is int else None)
    if any(len(cells) != len(doubtful[name]) for name, cells in written.items()):
        raise Mendable(f"'{path}' has not one object a line.", "Write one object a line.")
    return {name: exact.settle(doubtful[name], cells, name, path) for name, cells in written.items()}


def _parse(path: Path) -> Any:
    """The table as Arrow infers it; what it would take for a time is text, as written."""
    import pyarrow as pa

    found = _read(path, None)
    times = [pa.field(f.name, pa.string()) for f in found.schema if pa.types.is_temporal(f.type)]
    return _read(path, pa.schema(times)) if times else found


def _read(path: Path, texts: Any) -> Any:
    import pyarrow as pa
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    size = path.stat().st_size  # one block: types are inferred over all lines, and messages name the line
    options = ReadOptions(use_threads=False, block_size=min(size + 1, 2**31 - 1))
    try:
        return read_json(path, options, ParseOptions(explicit_schema=texts, newlines_in_values=False))
    except pa.ArrowException as error:
        reason = first_line(error).removeprefix("JSON parse error: ")
        reason = re.sub(r"\.? in row (\d+)", lambda row: f" in row {int(row[1]) + 1}", reason)  # Arrow's first is 0
        raise Mendable(f"'{path}' is not well-formed JSON Lines: {reason}.", "Correct the file.") from error


def _lines(content: bytes) -> Iterator[bytes]:
    return (line for line in content.split(b"\n") if line.strip())


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The kept lines, byte for byte."""
    lines = list(_lines(source.read_bytes()))
    if len(lines) != len(keep):
        raise Mendable(
            f"'{source}' has {len(lines)} lines and {len(keep)} rows: they cannot be told apart.",
            "Write one object a line.",
        )
    kept = (line for line, wanted in zip(lines, keep.tolist(), strict=True) if wanted)
    target.write_bytes(b"".join(line + b"\n" for line in kept))


JSON_LINES = Format("JSON Lines", (".jsonl", ".ndjson"), open_table, subset, has_dtypes=False)
