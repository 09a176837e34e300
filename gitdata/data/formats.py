"""Formats: rows out of CSV and HDF5 files, and chosen rows back into a file of the same format.

*Columns* are the rows of a file by field: arrays of equal length on the first axis, text as object arrays of str.
A CSV file has no dtypes, so numbers are float64 (int64 where float64 does not hold them) unless the parents' schema
says otherwise; whatever is not plainly a number or a truth value stays text as it was written.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.schema import TEXT, Field, Schema, differences
from gitdata.errors import Mendable

Columns = dict[str, NDArray[Any]]

CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}
HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
SUFFIXES = (*CSV_SUFFIXES, *HDF5_SUFFIXES)
_EXACT = 2**53
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def read(path: Path, schema: Schema | None = None, *, suffix: str | None = None) -> Columns:
    """All rows of a file. With `schema`, fields get its dtypes where that is exact.

    `suffix` names the format of a file whose name does not. Raises Mendable naming the file and what is wrong.
    """
    _require_readable(path)
    kind = (suffix if suffix is not None else path.suffix).lower()
    if kind in CSV_SUFFIXES:
        columns = _read_csv(path, CSV_SUFFIXES[kind], schema or Schema(()))
    elif kind in HDF5_SUFFIXES:
        columns = _read_hdf5(path)
    else:
        raise Mendable(f"'{path}' is neither CSV nor HDF5.", f"gitdata reads {', '.join(SUFFIXES)}.")
    if not len(next(iter(columns.values()))):
        raise Mendable(f"'{path}' has no rows.", "Nothing was changed.")
    return columns if schema is None else _fit(columns, schema, path, exact=kind in HDF5_SUFFIXES)


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
    if source.suffix.lower() in CSV_SUFFIXES:
        _subset_csv(source, keep, target)
    else:
        _subset_hdf5(source, keep, target)


def columns_to_csv(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write columns as CSV, numbers so that reading them gives the same value."""
    import csv

    from gitdata import durable

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(array.tolist() for array in columns.values()), strict=True))
    durable.write(path, text.getvalue().encode())


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


def _fit(columns: Columns, schema: Schema, path: Path, *, exact: bool) -> Columns:
    """`columns` with the parents' dtypes; raises Mendable listing every difference."""
    if not exact:
        dtypes = {field.name: field.dtype for field in schema.fields if not field.shape}
        columns = {name: _cast(array, dtypes.get(name), name, path) for name, array in columns.items()}
    found = differences(schema, schema_of(columns))
    if found:
        raise Mendable(
            f"'{path}' does not fit the dataset it is to extend: {'; '.join(found)}.",
            "Give it the fields of the dataset, or start another dataset with `gitdata add`.",
        )
    return columns


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


# --- CSV -----------------------------------------------------------------------------------------------------


def _read_csv(path: Path, delimiter: str, schema: Schema) -> Columns:
    """The columns of a CSV file; what `schema` says is text is text, whatever it looks like."""
    import pyarrow as pa

    names = _header(path, delimiter)
    texts = {field.name for field in schema.fields if field.dtype == TEXT} & set(names)
    numbers = {field.name for field in schema.fields if field.dtype != TEXT}
    table = _parse_csv(path, delimiter, names, texts)
    kinds = {name: table.schema.field(name).type for name in names}
    integers = {name for name, kind in kinds.items() if pa.types.is_integer(kind)}
    plain = integers | {n for n, k in kinds.items() if pa.types.is_floating(k) or pa.types.is_string(k)}
    plain |= {n for n, k in kinds.items() if pa.types.is_boolean(k) and table.column(n).null_count == 0}
    plain |= {n for n, k in kinds.items() if pa.types.is_null(k) and n in numbers}  # every cell is empty
    as_text = (set(names) - plain) | (_labels(path, delimiter, names, integers) - numbers)
    if as_text:
        table = _parse_csv(path, delimiter, names, as_text | texts)
    return {name: _column(table.column(name)) for name in names}


def _labels(path: Path, delimiter: str, names: list[str], integers: set[str]) -> set[str]:
    """The columns whose integers are written like `007`: they are labels, not numbers."""
    import pyarrow.compute as pc

    if not integers:
        return set()
    written = _parse_csv(path, delimiter, names, integers, only=sorted(integers))
    return {n for n in integers if pc.any(pc.match_substring_regex(written.column(n), "^[+-]?0[0-9]")).as_py()}


def _header(path: Path, delimiter: str) -> list[str]:
    """The names of the columns. Raises Mendable where they are not what a header must be."""
    import csv

    with path.open("rb") as file:
        head = file.read(1 << 20)
        if b"\0" in head:
            raise Mendable(f"'{path}' holds NUL bytes: it is no CSV file.", "Nothing was changed.")
        quotes = head.count(b'"') + sum(piece.count(b'"') for piece in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:
        raise Mendable(
            f"'{path}' ends inside a quoted text: it was cut off, or a quote is missing.", "Correct the file."
        )
    try:
        lines = io.StringIO(head.decode("utf-8-sig", errors="strict" if len(head) < 1 << 20 else "ignore"), newline="")
    except UnicodeDecodeError as error:
        raise Mendable(f"'{path}' is not UTF-8 text (byte {error.start}).", "Convert it to UTF-8.") from error
    names = next(csv.reader(lines, delimiter=delimiter, strict=False), [])
    if not names or any(not name.strip() for name in names):
        raise Mendable(f"The first line of '{path}' does not name every column.", "Give it a header.")
    for name in names:
        if names.count(name) > 1:
            raise Mendable(f"'{path}' has two columns named '{name}'.", "Rename one of them.")
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
    """An Arrow column as an array: text, truth values, float64, or int64 where float64 does not hold it."""
    import pyarrow as pa

    if pa.types.is_string(chunks.type):
        return np.array(chunks.to_pylist(), dtype=object)
    if pa.types.is_boolean(chunks.type):
        return np.asarray(chunks.to_numpy(), bool)
    if pa.types.is_integer(chunks.type) and chunks.null_count == 0:
        integers = np.asarray(chunks.to_numpy())
        if ((integers > _EXACT) | (integers < -_EXACT)).any():
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


def _subset_csv(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    records = list(_records(source.read_bytes()))
    if len(records) != len(keep) + 1:
        raise Mendable(
            f"'{source}' has lines that cannot be told apart: {len(records) - 1} records, {len(keep)} rows.",
            "Remove blank or oddly quoted lines.",
        )
    if not records[-1].endswith((b"\n", b"\r")):
        records[-1] += b"\n"
    kept = [record for record, wanted in zip(records[1:], keep.tolist(), strict=True) if wanted]
    target.write_bytes(b"".join([records[0], *kept]))


# --- HDF5 ----------------------------------------------------------------------------------------------------


def _read_hdf5(path: Path) -> Columns:
    with _open_hdf5(path) as file:
        columns = {name: _hdf5_column(dataset, name, path) for name, dataset in _datasets(file, path)}
    if not columns:
        raise Mendable(f"'{path}' holds no data set.", "Nothing was changed.")
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' {length}" for name, length in sorted(lengths.items())[:5])
        raise Mendable(
            f"The data sets of '{path}' differ in length on the first axis: {listed}.",
            "One row, one entry in each.",
        )
    return columns


def _open_hdf5(path: Path) -> Any:
    import h5py

    with path.open("rb") as raw:
        if raw.read(8) != _HDF5_MAGIC and not h5py.is_hdf5(path):
            raise Mendable(f"'{path}' is not an HDF5 file.", "Check that it was copied whole.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise Mendable(
            f"'{path}' is a damaged HDF5 file: {_first_line(error)}.",
            "Check that it was written and copied whole.",
        ) from error


def _datasets(file: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Every data set with its path, groups in depth. Links that lead out of the file are refused, not followed."""
    import h5py

    waiting = [("", file)]
    seen = set()
    while waiting:
        prefix, group = waiting.pop()
        for key in _keys(group, path):
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise Mendable(f"'{name}' of '{path}' is a link; gitdata follows none.", "Copy the data into the file.")
            try:
                item = group[key]
            except (KeyError, OSError, RuntimeError) as error:
                raise Mendable(
                    f"'{name}' of '{path}' cannot be read: {_first_line(error)}.", "Write the file anew."
                ) from error
            identity = h5py.h5o.get_info(item.id).addr
            if identity in seen:
                raise Mendable(
                    f"'{name}' of '{path}' stands for something that has another name.", "Remove the double."
                )
            seen.add(identity)
            if isinstance(item, h5py.Dataset):
                yield name, item
            elif isinstance(item, h5py.Group):
                waiting.append((f"{name}/", item))


def _keys(group: Any, path: Path) -> list[str]:
    try:
        return sorted(group)
    except (OSError, RuntimeError) as error:
        raise Mendable(f"'{path}' is a damaged HDF5 file: {_first_line(error)}.", "Write the file anew.") from error


def _hdf5_column(dataset: Any, name: str, path: Path) -> NDArray[Any]:
    import h5py

    where = f"'{name}' of '{path}'"
    if dataset.is_virtual or dataset.external:
        raise Mendable(f"{where} keeps its data in other files.", "Copy the data into the file.")
    if dataset.ndim == 0 or dataset.shape is None:
        raise Mendable(f"{where} is a single value, not one per row.", "Store it as an attribute, or once per row.")
    try:
        if h5py.check_string_dtype(dataset.dtype) is not None:
            texts = dataset.asstr()[...]
            return np.array(texts.ravel().tolist(), dtype=object).reshape(dataset.shape)
        if dataset.dtype.kind not in "biuf" or dataset.dtype.itemsize > 8:
            raise Mendable(f"{where} has the dtype {dataset.dtype}, which is no number and no text.", "Convert it.")
        array = dataset[...]
    except MemoryError as error:
        raise Mendable(
            f"{where} has {dataset.nbytes:,} bytes, more than this machine can hold.", "Split the file."
        ) from error
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise Mendable(f"{where} cannot be read: {_first_line(error)}.", "Write the file anew.") from error
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _subset_hdf5(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The same data sets with the kept rows; without time stamps, so that equal input gives equal bytes."""
    import h5py

    rows = np.flatnonzero(keep)
    with _open_hdf5(source) as old, h5py.File(target, "w", libver=("v110", "v110")) as new:
        for name, dataset in _datasets(old, source):
            chunks = None if dataset.chunks is None else (min(dataset.chunks[0], len(rows)), *dataset.chunks[1:])
            copy = new.create_dataset(
                name,
                data=dataset[...][rows],
                dtype=dataset.dtype,
                chunks=chunks,
                compression=dataset.compression,
                compression_opts=dataset.compression_opts,
                shuffle=dataset.shuffle or None,
                fletcher32=dataset.fletcher32 or None,
                track_times=False,
            )
            for key, value in sorted(dataset.attrs.items()):
                copy.attrs[key] = value
