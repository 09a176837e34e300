"""HDF5: data sets as columns, in blocks of rows. Nothing that leads out of the file is followed.

A data set in a group is the field `group/name`. Enumerations are text, their names the field's categories; the
attributes `units` (or `unit`) and `description` (or `long_name`, `comment`) of a data set are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.format import (
    BLOCK_BYTES,
    DESCRIPTIONS,
    UNITS,
    Columns,
    Format,
    Table,
    field_of,
    first_line,
    one_length,
    require_room,
)
from gitdata.data.schema import TEXT, Field, Schema
from gitdata.errors import Mendable

COPIED_BYTES = BLOCK_BYTES
TEXT_COPIES = 4  # what is read is held more than once on its way
TEXT_AT_ONCE = 16 * 1024 * 1024  # characters
_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_table(path: Path, schema: Schema) -> Table:
    """The table in an HDF5 file; no value is read yet. An enumeration that is numbers in `schema` stays numbers."""
    with _open(path) as file:
        datasets = dict(_datasets(file, path))
        fields = [_field(dataset, name, path, schema.get(name)) for name, dataset in sorted(datasets.items())]
        require_room(f"The table in '{path}'", sum(dataset.nbytes for dataset in datasets.values()))
        rows = one_length({name: len(dataset) for name, dataset in datasets.items()}, path, "data set")
    known = Schema(tuple(fields))
    scan = partial(_scan, path, known, rows)
    return Table(path, known, rows, scan, scan)


def _scan(path: Path, schema: Schema, rows: int, rows_at_once: int, first: int = 0) -> Iterator[Columns]:
    with _open(path) as file:
        datasets = dict(_datasets(file, path))
        for start in range(first, rows, rows_at_once):
            part = slice(start, min(start + rows_at_once, rows))
            yield {name: _values(dataset, part, schema.field(name), path) for name, dataset in datasets.items()}


def _field(dataset: Any, name: str, path: Path, wanted: Field | None) -> Field:
    """The field that a data set is. Raises Mendable where it is none, before anything is read."""
    import h5py

    where = f"'{name}' of '{path}'"
    if dataset.is_virtual or dataset.external:
        raise Mendable(f"{where} keeps its data in other files.", "Copy the data into the file.")
    if dataset.ndim == 0 or dataset.shape is None:
        raise Mendable(f"{where} is a single value, not one per row.", "Store it as an attribute, or once per row.")
    try:
        dataset.dtype  # noqa: B018  # h5py knows not every type of HDF5
    except TypeError as error:
        raise Mendable(f"{where} has a type that is no number and no text.", "Convert it.") from error
    if 0 in dataset.shape[1:]:
        raise Mendable(f"{where} has rows without a value.", "Remove that data set.")
    require_room(where, max(dataset.nbytes, math.prod(dataset.chunks or ()) * dataset.dtype.itemsize))
    shape, unit, about = dataset.shape[1:], _said(dataset, UNITS), _said(dataset, DESCRIPTIONS)
    names = h5py.check_enum_dtype(dataset.dtype)
    if names is not None and (wanted is None or wanted.dtype == TEXT):
        labels = tuple(sorted(names, key=lambda label: int(names[label])))
        return Field(name, TEXT, shape, unit, about, labels)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return Field(name, TEXT, shape, unit, about)
    plain = field_of(name, dataset.dtype, shape, path)
    return Field(name, plain.dtype, shape, unit, about)


def _said(dataset: Any, keys: tuple[str, ...]) -> str | None:
    """What an attribute says, where it is a text."""
    for key in keys:
        try:
            value = dataset.attrs.get(key)
        except (OSError, RuntimeError, TypeError, ValueError):
            continue  # an attribute of a kind that h5py cannot read says nothing here
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and text.strip():
            return text.strip()
    return None


def _values(dataset: Any, part: slice, field: Field, path: Path) -> NDArray[Any]:
    import h5py

    where = f"'{field.name}' of '{path}'"
    try:
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return _texts(dataset, part, where)
        array = dataset[part]
    except MemoryError as error:
        raise Mendable(
            f"{where} has {dataset.nbytes:,} bytes, more than this machine can hold.", "Split the file."
        ) from error
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise Mendable(f"{where} cannot be read: {first_line(error)}.", "Write the file anew.") from error
    if field.dtype == TEXT:
        return _labels(array, h5py.check_enum_dtype(dataset.dtype), where)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _texts(dataset: Any, part: slice, where: str) -> NDArray[Any]:
    """Texts, a few rows at a time: many may stand for one long text, and together be more than a machine can hold."""
    pieces, held, at_once, start = [], 0, 16, part.start
    while start < part.stop:
        stop = min(start + at_once, part.stop)
        texts = dataset.asstr()[start:stop]
        pieces.append(np.array(texts.ravel().tolist(), dtype=object).reshape(texts.shape))
        length = sum(map(len, pieces[-1].ravel().tolist())) // (stop - start) + 1  # of a row, on average
        held += length * (stop - start)
        require_room(where, TEXT_COPIES * (held + length * (part.stop - stop)))
        start, at_once = stop, max(16, min(2 * at_once, TEXT_AT_ONCE // length))
    return np.concatenate(pieces)


def _labels(array: NDArray[Any], names: Any, where: str) -> NDArray[Any]:
    """The names of an enumeration's codes. Raises Mendable where a code has none."""
    labels = {int(code): label for label, code in names.items()}
    codes, places = np.unique(array, return_inverse=True)
    for code in codes.tolist():
        if code not in labels:
            raise Mendable(f"{where} holds {code}, which its enumeration does not name.", "Correct the file.")
    found = np.array([labels[code] for code in codes.tolist()], dtype=object)
    return np.asarray(found[places.reshape(array.shape)])


def _open(path: Path) -> Any:
    import h5py

    with path.open("rb") as raw:
        if raw.read(8) != _MAGIC and not h5py.is_hdf5(path):
            raise Mendable(f"'{path}' is not an HDF5 file.", "Check that it was copied whole.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise Mendable(
            f"'{path}' is a damaged HDF5 file: {first_line(error)}.",
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
            if not _is_hard_link(group, key):
                raise Mendable(f"'{name}' of '{path}' is a link; gitdata follows none.", "Copy the data into the file.")
            try:
                item = group[key]
            except (KeyError, OSError, RuntimeError) as error:
                raise Mendable(
                    f"'{name}' of '{path}' cannot be read: {first_line(error)}.", "Write the file anew."
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


def _is_hard_link(group: Any, key: str) -> bool:
    import h5py

    try:
        return isinstance(group.get(key, getlink=True), h5py.HardLink)
    except TypeError:  # of a kind that h5py does not know
        return False


def _keys(group: Any, path: Path) -> list[str]:
    try:
        names = list(group)
    except (OSError, RuntimeError) as error:
        raise Mendable(f"'{path}' is a damaged HDF5 file: {first_line(error)}.", "Write the file anew.") from error
    for name in names:
        if not isinstance(name, str) or not name.isprintable():
            raise Mendable(f"'{path}' holds {name!r:.80}, whose name is no plain text.", "Rename it.")
    return sorted(names)


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


HDF5 = Format("HDF5", (".h5", ".hdf5", ".he5"), open_table, subset)
