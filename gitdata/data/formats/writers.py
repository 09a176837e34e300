"""Writers: the rows of pieces as one plain file, HDF5, Parquet or CSV, in blocks; a mark stands in it where it can."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import pyarrow as pa
import pyarrow.parquet as pq

from gitdata.data import view
from gitdata.data.formats import Columns, csvfile, hdf5file, hdf5view, parquetfile
from gitdata.data.formats.columnar import arrow_array, arrow_schema
from gitdata.data.formats.piece import Piece, dtype_of, gathered
from gitdata.data.schema import TEXT, Field
from gitdata.data.view import MARK, Mark
from gitdata.errors import Mendable

HDF5 = hdf5file.HDF5.suffixes
PARQUET = parquetfile.PARQUET.suffixes
CSV = tuple(csvfile.DELIMITERS)


def _blocks(pieces: Sequence[Piece]) -> Iterator[Columns]:
    return gathered(block for piece in pieces for block in piece.blocks())


def write_hdf5(path: Path, groups: Mapping[str, Sequence[Piece]], mark: Mark) -> None:
    """Contiguous data sets; each group of pieces is a group of the file, `""` the file itself."""
    with h5py.File(path, "w", libver=hdf5view.LIBRARY, locking=False) as file:
        file.attrs[MARK] = mark.encode()
        for name, pieces in groups.items():
            rows, start = sum(piece.count for piece in pieces), 0
            group = file.require_group(name) if name else file
            datasets = {field.name: _dataset(group, field, rows) for field in pieces[0].schema.fields}
            for block in _blocks(pieces):
                for field, dataset in datasets.items():
                    dataset[start : start + len(block[field])] = block[field]
                start += len(next(iter(block.values())))


def _dataset(group: Any, field: Field, rows: int) -> Any:
    dtype = h5py.string_dtype() if field.dtype == TEXT else dtype_of(field)
    dataset = group.create_dataset(field.name, (rows, *field.shape), dtype, track_times=False)
    hdf5view.describe(dataset, field)
    return dataset


def write_parquet(file: IO[bytes], pieces: Sequence[Piece], mark: Mark | None) -> None:
    """One Parquet file; the mark stands in its metadata."""
    fields = pieces[0].schema.fields
    schema = arrow_schema(fields).with_metadata({MARK: mark.encode()} if mark is not None else None)
    with pq.ParquetWriter(file, schema) as writer:
        for block in _blocks(pieces):
            arrays = [arrow_array(block[field.name], field) for field in fields]
            writer.write_table(pa.table(arrays, schema=schema))


def write_csv(file: IO[bytes], pieces: Sequence[Piece], delimiter: str) -> None:
    """One CSV file with a header; numbers so that reading them gives the same value. Raises Mendable for arrays."""
    fields = pieces[0].schema.fields
    if wide := next((field for field in fields if field.shape), None):
        raise Mendable(
            f"The field '{wide.name}' is {wide.kind}; a CSV file holds one value per cell.",
            "Name a .h5 or .parquet file.",
        )
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(field.name for field in fields)
    for block in _blocks(pieces):
        writer.writerows(zip(*(block[field.name].tolist() for field in fields), strict=True))
    text.detach()


def parquet_mark(path: Path) -> Mark | None:
    """The mark in a Parquet file; None where it carries none, or is no Parquet file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return view.decode(metadata.get(MARK.encode(), b""))
