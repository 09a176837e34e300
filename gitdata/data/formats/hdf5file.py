"""HDF5: data sets as columns, in blocks of rows. Nothing that leads out of the file is followed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.schema import TEXT, Field, Schema
from gitdata.errors import Mendable

Columns = dict[str, NDArray[Any]]

SUFFIXES = (".h5", ".hdf5", ".he5")
COPIED_BYTES = 16 * 1024 * 1024
_MAGIC = b"\x89HDF\r\n\x1a\n"


def schema_and_rows(path: Path) -> tuple[Schema, int]:
    """The fields of a file and how many rows it has. Raises Mendable where it is no table of rows."""
    with _open(path) as file:
        fields = {name: _field(dataset, name, path) for name, dataset in _datasets(file, path)}
        lengths = {name: len(dataset) for name, dataset in _datasets(file, path)}
    if not fields:
        raise Mendable(f"'{path}' holds no data set.", "Nothing was changed.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{name}' {length}" for name, length in sorted(lengths.items())[:5])
        raise Mendable(
            f"The data sets of '{path}' differ in length on the first axis: {listed}.",
            "One row, one entry in each.",
        )
    return Schema(tuple(field for _, field in sorted(fields.items()))), next(iter(lengths.values()))


def _memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def blocks(path: Path, rows: int, block: int) -> Iterator[Columns]:
    """The columns of `block` rows at a time."""
    with _open(path) as file:
        datasets = dict(_datasets(file, path))
        for start in range(0, rows, block):
            part = slice(start, min(start + block, rows))
            yield {name: _values(dataset, part, name, path) for name, dataset in datasets.items()}


def _field(dataset: Any, name: str, path: Path) -> Field:
    """The field that a data set is. Raises Mendable where it is none, before anything is read."""
    import h5py

    where = f"'{name}' of '{path}'"
    if dataset.is_virtual or dataset.external:
        raise Mendable(f"{where} keeps its data in other files.", "Copy the data into the file.")
    if dataset.ndim == 0 or dataset.shape is None:
        raise Mendable(f"{where} is a single value, not one per row.", "Store it as an attribute, or once per row.")
    if dataset.nbytes > _memory():  # a few bytes can declare any size
        raise Mendable(f"{where} has {dataset.nbytes:,} bytes, more than this machine can hold.", "Split the file.")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return Field(name, TEXT, dataset.shape[1:])
    if dataset.dtype.kind not in "biuf" or dataset.dtype.itemsize > 8:
        raise Mendable(f"{where} has the dtype {dataset.dtype}, which is no number and no text.", "Convert it.")
    return Field(name, str(dataset.dtype.newbyteorder("=").name), dataset.shape[1:])


def _values(dataset: Any, part: slice, name: str, path: Path) -> NDArray[Any]:
    import h5py

    where = f"'{name}' of '{path}'"
    try:
        if h5py.check_string_dtype(dataset.dtype) is not None:
            texts = dataset.asstr()[part]
            return np.array(texts.ravel().tolist(), dtype=object).reshape(texts.shape)
        array = dataset[part]
    except MemoryError as error:
        raise Mendable(
            f"{where} has {dataset.nbytes:,} bytes, more than this machine can hold.", "Split the file."
        ) from error
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise Mendable(f"{where} cannot be read: {_first_line(error)}.", "Write the file anew.") from error
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _open(path: Path) -> Any:
    import h5py

    with path.open("rb") as raw:
        if raw.read(8) != _MAGIC and not h5py.is_hdf5(path):
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


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The same data sets with the kept rows; without time stamps, so that equal input gives equal bytes.

    Chunks are for what is filtered: elsewhere a last one that is not full would be stored for nothing.
    """
    import h5py

    rows = np.flatnonzero(keep)
    with _open(source) as old, h5py.File(target, "w", libver=("v110", "v110")) as new:
        for name, dataset in _datasets(old, source):
            filtered = dataset.compression is not None or dataset.shuffle or dataset.fletcher32
            chunks = (min(dataset.chunks[0], len(rows)), *dataset.chunks[1:]) if filtered else None
            copy = new.create_dataset(
                name,
                shape=(len(rows), *dataset.shape[1:]),
                dtype=dataset.dtype,
                chunks=chunks,
                compression=dataset.compression,
                compression_opts=dataset.compression_opts,
                shuffle=dataset.shuffle or None,
                fletcher32=dataset.fletcher32 or None,
                track_times=False,
            )
            _copy_rows(dataset, rows, copy)
            for key, value in sorted(dataset.attrs.items()):
                copy.attrs[key] = value


def _copy_rows(dataset: Any, rows: NDArray[np.intp], copy: Any) -> None:
    """Fill `copy` with some rows, ascending, of a data set, in blocks of whole chunks, so that each is packed once."""
    step = copy.chunks[0] if copy.chunks else 1
    width = max(1, dataset.dtype.itemsize * math.prod(dataset.shape[1:]))
    block = step * max(1, COPIED_BYTES // (width * step))
    for start in range(0, len(rows), block):
        wanted = rows[start : start + block]
        values = np.empty((len(wanted), *dataset.shape[1:]), dataset.dtype)
        done = 0
        while done < len(wanted):
            first = wanted[done]
            stop = int(np.searchsorted(wanted, first + block))
            values[done:stop] = dataset[first : wanted[stop - 1] + 1][wanted[done:stop] - first]
            done = stop
        copy[start : start + len(wanted)] = values


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
