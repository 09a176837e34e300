"""CSV: columns out of text. What is not plainly a number or a truth value stays text as it was written.

A CSV file has no dtypes: numbers are float64; columns of integers of which one is beyond ±2⁵³ are int64, or uint64.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats import exact, textfile
from gitdata.data.formats.format import Columns, Format, Table, table_of
from gitdata.data.schema import TEXT, Schema
from gitdata.errors import Mendable

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_HEADER = 1 << 20  # bytes in which the header must end


def open_table(delimiter: str, path: Path, schema: Schema) -> Table:
    """The table in a CSV file, its columns held in memory."""
    return table_of(path, read(path, delimiter, schema))


def read(path: Path, delimiter: str, schema: Schema) -> Columns:
    """The columns of a CSV file; what `schema` says is text is text, whatever it looks like."""
    import pyarrow as pa

    _check(path)
    names = _header(path, delimiter)
    texts = {field.name for field in schema.fields if field.dtype == TEXT} & set(names)
    numbers = {field.name for field in schema.fields if field.dtype != TEXT}
    table = _parse_csv(path, delimiter, names, texts)
    kinds = {name: table.schema.field(name).type for name in names}
    integers = {name for name, kind in kinds.items() if pa.types.is_integer(kind)}
    plain = integers | {n for n, k in kinds.items() if pa.types.is_floating(k) or pa.types.is_string(k)}
    plain |= {n for n, k in kinds.items() if pa.types.is_boolean(k) and table.column(n).null_count == 0}
    plain |= {n for n, k in kinds.items() if pa.types.is_null(k) and n in numbers}  # every cell is empty
    floating = {name for name, kind in kinds.items() if pa.types.is_floating(kind)}
    columns = {name: _column(table.column(name)) for name in integers | floating}
    written = _as_written(path, delimiter, names, {n: c for n, c in columns.items() if exact.is_doubtful(c)})
    integers |= {name for name, cells in written.items() if all(isinstance(cell, int) for cell in cells)}
    as_text = (set(names) - plain) | (_labels(path, delimiter, names, integers) - numbers)
    if as_text:
        table = _parse_csv(path, delimiter, names, as_text | texts)
    columns |= {n: exact.settle(columns[n], cells, n, path) for n, cells in written.items() if n not in as_text}
    others = {name: _column(table.column(name)) for name in names if name in as_text or name not in columns}
    return {name: others[name] if name in others else columns[name] for name in names}


def _as_written(
    path: Path, delimiter: str, names: list[str], doubtful: Mapping[str, NDArray[Any]]
) -> dict[str, list[exact.Written]]:
    """What the cells of some columns say."""
    if not doubtful:
        return {}
    table = _parse_csv(path, delimiter, names, set(doubtful), only=sorted(doubtful))
    return {
        name: list(map(exact.as_written, table.column(name).to_pylist(), column.tolist()))
        for name, column in doubtful.items()
    }


def _labels(path: Path, delimiter: str, names: list[str], integers: set[str]) -> set[str]:
    """The columns whose integers are written like `007`: they are labels, not numbers."""
    import pyarrow.compute as pc

    if not integers:
        return set()
    written = _parse_csv(path, delimiter, names, integers, only=sorted(integers))
    return {n for n in integers if pc.any(pc.match_substring_regex(written.column(n), "^[+-]?0[0-9]")).as_py()}


def _check(path: Path) -> None:
    quotes = sum(piece.count(b'"') for piece in textfile.pieces(path, "CSV"))
    if quotes % 2:
        raise Mendable(
            f"'{path}' ends inside a quoted text: it was cut off, or a quote is missing.", "Correct the file."
        )


def _header(path: Path, delimiter: str) -> list[str]:
    """The names of the columns. Raises Mendable where they are not what a header must be."""
    import csv

    with path.open("rb") as file:
        lines = io.StringIO(file.read(_HEADER).decode("utf-8-sig", errors="ignore"), newline="")
    records = csv.reader(lines, delimiter=delimiter, strict=False)
    try:
        names, first = next(records, []), next(records, [])
    except csv.Error as error:
        raise Mendable(f"The first line of '{path}' is no header: {error}.", "Give it a header.") from error
    if len(first) > len(names) > 0:
        raise Mendable(
            f"The header of '{path}' names {len(names)} columns, its first row has {len(first)} fields.",
            "Name every column.",
        )
    if not names or any(not name.strip() for name in names):
        raise Mendable(f"The first line of '{path}' does not name every column.", "Give it a header.")
    if len(names) == 1 and (other := next((d for d in ";\t|" if d != delimiter and d in names[0]), None)):
        raise Mendable(
            f"The columns of '{path}' seem to be separated by {other!r}, not by {delimiter!r}.",
            "Write it with commas (.csv) or tabs (.tsv).",
        )
    if double := next((name for name, count in Counter(names).items() if count > 1), None):
        raise Mendable(f"'{path}' has two columns named '{double}'.", "Rename one of them.")
    return names


def _parse_csv(path: Path, delimiter: str, names: list[str], texts: set[str], only: Sequence[str] = ()) -> Any:
    """The table as Arrow infers it, `texts` as strings. Raises Mendable with the line where it is malformed."""
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(texts, pa.string()),
        include_columns=only,
        null_values=["", "NaN", "nan"],
        true_values=["true", "True", "TRUE"],
        false_values=["false", "False", "FALSE"],
        strings_can_be_null=False,
    )
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        for threads in (True, False):  # only a single thread knows the number of a malformed line
            read_options = csv.ReadOptions(column_names=names, skip_rows_after_names=1, use_threads=threads)
            try:
                return csv.read_csv(path, read_options, parse, convert)
            except pa.ArrowInvalid:
                if not threads:
                    raise
    except pa.ArrowInvalid as error:
        raise Mendable(f"'{path}' is not well-formed: {_first_line(error)}.", "Correct the file.") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].removeprefix("CSV parse error: ").rstrip(".")


def _column(chunks: Any) -> NDArray[Any]:
    """An Arrow column as an array: text, truth values, float64, or int64 where it goes beyond ±2⁵³."""
    import pyarrow as pa

    if pa.types.is_string(chunks.type):
        return np.array(chunks.to_pylist(), dtype=object)
    if pa.types.is_boolean(chunks.type):
        return np.asarray(chunks.to_numpy(), bool)
    if pa.types.is_integer(chunks.type) and chunks.null_count == 0:
        integers = np.asarray(chunks.to_numpy())
        if ((integers > exact.EXACT) | (integers < -exact.EXACT)).any():
            return integers.astype(np.int64)
    return np.asarray(chunks.cast("float64", safe=False).to_numpy(), np.float64)


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a CSV file with their line ends, as raw bytes; quoted line ends do not end a record."""
    start, position, quoted = 0, 0, False
    for line in content.splitlines(keepends=True):
        position += len(line)
        quoted ^= line.count(b'"') % 2 == 1
        if not quoted:
            if line.strip(b"\r\n"):
                yield content[start:position]
            start = position
    if start < len(content):
        yield content[start:]


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The header and the kept records, byte for byte."""
    records = list(_records(source.read_bytes()))
    if len(records) != len(keep) + 1:
        raise Mendable(
            f"'{source}' has lines that cannot be told apart: {len(records) - 1} records, {len(keep)} rows.",
            "Remove blank or oddly quoted lines.",
        )
    kept = [record for record, wanted in zip(records[1:], keep.tolist(), strict=True) if wanted]
    _write_records([records[0], *kept], target)


def tail(source: Path, size: int, target: Path) -> bool:
    """The header and what follows the first `size` bytes, as `subset` would write it; False where no record does.

    Those bytes are known to be a well-formed file. None is written where their last record goes on in the tail.
    """
    with source.open("rb") as file:
        header = next(_records(file.read(min(size, _HEADER))), b"")
        file.seek(max(0, size - 1))
        last, rest = file.read(1), file.read()
    if last not in (b"\n", b"\r") and not rest.startswith((b"\n", b"\r")):
        return False
    records = list(_records(rest))
    if not records or len(header) == _HEADER:
        return False
    _write_records([header, *records], target)
    return True


def _write_records(records: list[bytes], target: Path) -> None:
    """Records with their line ends; the last one gets one where it has none."""
    if not records[-1].endswith((b"\n", b"\r")):
        records[-1] += b"\n"
    target.write_bytes(b"".join(records))


def write(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write columns as CSV, numbers so that reading them gives the same value."""
    import csv

    from gitdata import durable

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(array.tolist() for array in columns.values()), strict=True))
    durable.write(path, text.getvalue().encode())


def _format(name: str, suffix: str) -> Format:
    delimiter = DELIMITERS[suffix]
    return Format(
        name,
        (suffix,),
        open=partial(open_table, delimiter),
        subset=subset,
        has_dtypes=False,
        header=lambda path: tuple(_header(path, delimiter)),
        tail=tail,
    )


CSV = _format("CSV", ".csv")
TSV = _format("TSV", ".tsv")
