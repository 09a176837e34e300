"""NumPy files: an array (NPY), or a zip file of arrays (NPZ). Nothing in them is ever unpickled.

The arrays of an NPZ file are the fields, `a.npy` the field `a`. The fields of a structured array are fields; of one in
an NPZ file they are called `a/field`. A plain NPY file has one field, `values`. Text (`U`, and `S` as UTF-8) is text.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.format import Columns, Format, Table, field_of, first_line, one_length, require_room
from gitdata.data.schema import TEXT, Field, Schema
from gitdata.errors import Mendable

VALUES = "values"
_MAGIC = b"\x93NUMPY"
_MAXIMUM_HEADER = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; others unpack without bounds
_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that equal input gives equal bytes


@dataclass(frozen=True, slots=True)
class _Array:
    """What the header of an array declares; `prefix`: of the names of its fields."""

    prefix: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def fields(self, path: Path) -> list[Field]:
        """The fields that it is. Raises Mendable where it is none."""
        if self.dtype.names is None:
            return [_field(self.prefix or VALUES, self.dtype, self.shape[1:], path)]
        kinds = [(name, self.dtype[name]) for name in self.dtype.names]
        lead = f"{self.prefix}/" if self.prefix else ""
        return [_field(lead + name, kind.base, (*self.shape[1:], *kind.shape), path) for name, kind in kinds]

    def columns(self, array: NDArray[Any], path: Path) -> Columns:
        """Rows of it by field."""
        if self.dtype.names is None:
            return {self.prefix or VALUES: _plain(array, path)}
        lead = f"{self.prefix}/" if self.prefix else ""
        return {lead + name: _plain(array[name], path) for name in self.dtype.names}


def _field(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], path: Path) -> Field:
    if not name.strip():
        raise Mendable(f"An array of '{path}' has no name.", "Name it.")
    if dtype.hasobject:
        raise Mendable(
            f"'{name}' of '{path}' holds Python objects (pickled); gitdata unpickles nothing.",
            "Store numbers, or text with a dtype such as 'U20'.",
        )
    if dtype.kind in "US":
        return Field(name, TEXT, shape)
    return field_of(name, dtype, shape, path)


def _plain(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Text as objects, numbers in native byte order."""
    if array.dtype.kind == "S":
        try:
            texts = [text.decode() for text in array.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise Mendable(f"'{path}' holds text that is not UTF-8.", "Write it anew.") from error
        return np.array(texts, dtype=object).reshape(array.shape)
    if array.dtype.kind == "U":
        try:
            return array.astype(object)
        except ValueError as error:  # what is no code point
            raise Mendable(f"'{path}' holds text that is damaged.", "Write it anew.") from error
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


# --- headers -------------------------------------------------------------------------------------------------


def _read_header(file: IO[bytes], prefix: str, path: Path, holds: int) -> _Array:
    """What an array of `holds` bytes, header and all, declares. Raises Mendable before anything is allocated."""
    where = f"'{prefix}' of '{path}'" if prefix else f"'{path}'"
    if file.read(6) != _MAGIC:
        raise Mendable(f"{where} is no array of NumPy.", "Check that it was written and copied whole.")
    version = file.read(2)
    width = 2 if version[:1] == b"\x01" else 4
    length = int.from_bytes(file.read(width), "little")
    if version[:1] not in (b"\x01", b"\x02", b"\x03") or length > _MAXIMUM_HEADER:
        raise Mendable(f"{where} has a header that NumPy does not write.", "Write it anew.")
    text = file.read(length).decode("utf-8" if version[:1] == b"\x03" else "latin-1", errors="replace")
    try:
        dtype, shape, is_fortran = _parse_header(text)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
        raise Mendable(f"{where} has a header that cannot be read.", "Write it anew.") from error
    array = _Array(prefix, dtype, shape, is_fortran, 8 + width + length)
    if not shape:
        raise Mendable(f"{where} is a single value, not one per row.", "Store one entry per row.")
    require_room(where, array.size)
    if dtype.hasobject:
        array.fields(path)
    if array.start + array.size > holds:
        raise Mendable(
            f"{where} declares {array.size:,} bytes and has {max(0, holds - array.start):,}: it was cut off.",
            "Check that it was written and copied whole.",
        )
    return array


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    header = ast.literal_eval(text.strip())
    shape = header["shape"]
    if header.keys() != {"descr", "fortran_order", "shape"} or not isinstance(shape, tuple):
        raise ValueError("not the keys of an array")
    if any(type(length) is not int or length < 0 for length in shape) or type(header["fortran_order"]) is not bool:
        raise ValueError("not the shape of an array")
    return np.lib.format.descr_to_dtype(header["descr"]), shape, header["fortran_order"]


# --- tables --------------------------------------------------------------------------------------------------


@contextmanager
def _arrays(path: Path) -> Iterator[list[tuple[_Array, IO[bytes]]]]:
    """The arrays of a file, each with a stream that stands at its first value."""
    try:
        with ExitStack() as stack:
            if path_is_zip(path):
                yield list(_members(stack.enter_context(zipfile.ZipFile(path)), path, stack))
            else:
                file = stack.enter_context(path.open("rb"))
                yield [(_read_header(file, "", path, path.stat().st_size), file)]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OverflowError) as error:
        raise Mendable(
            f"'{path}' is a damaged NumPy file: {first_line(error)}.", "Check that it was written and copied whole."
        ) from error


def path_is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _members(archive: zipfile.ZipFile, path: Path, stack: ExitStack) -> Iterator[tuple[_Array, IO[bytes]]]:
    names = archive.namelist()
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        name = info.filename.removesuffix(".npy")
        if names.count(info.filename) > 1:
            raise Mendable(f"'{path}' has two arrays named '{name}'.", "Rename one of them.")
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise Mendable(f"'{name}' of '{path}' is packed as NumPy packs nothing.", "Write it anew.")
        require_room(f"'{name}' of '{path}'", info.file_size)
        file = stack.enter_context(archive.open(info))
        yield _read_header(file, name, path, info.file_size), file


def open_table(path: Path, schema: Schema) -> Table:
    """The table in an NPY or NPZ file; what it declares is compared with its size and this machine's memory."""
    with _arrays(path) as arrays:
        fields = [(field, array) for array, _ in arrays for field in array.fields(path)]
        require_room(f"The table in '{path}'", sum(array.size for array, _ in arrays))
    rows = one_length({field.name: array.shape[0] for field, array in fields}, path, "array")
    known = sorted((field for field, _ in fields), key=lambda field: field.name)
    return Table(path, Schema(tuple(known)), rows, partial(_scan, path, rows))


def _scan(path: Path, rows: int, rows_at_once: int) -> Iterator[Columns]:
    with _arrays(path) as arrays:
        wholes = [_values(a, file, a.shape, path) if a.is_fortran else None for a, file in arrays]
        for start in range(0, rows, rows_at_once):
            stop = min(start + rows_at_once, rows)
            block: Columns = {}
            for (array, file), whole in zip(arrays, wholes, strict=True):  # in Fortran order, rows lie scattered
                shape = (stop - start, *array.shape[1:])
                part = _values(array, file, shape, path) if whole is None else whole[start:stop]
                block |= array.columns(part, path)
            yield block


def _values(array: _Array, file: IO[bytes], shape: tuple[int, ...], path: Path) -> NDArray[Any]:
    content = file.read(math.prod(shape) * array.dtype.itemsize)
    if len(content) != math.prod(shape) * array.dtype.itemsize:
        raise Mendable(f"'{path}' ends before its last row.", "Check that it was written and copied whole.")
    if array.dtype.itemsize == 0:  # texts that are all empty
        return np.zeros(shape, array.dtype)
    flat = np.frombuffer(content, array.dtype)
    return flat.reshape(shape, order="F" if array.is_fortran else "C")


# --- subsets -------------------------------------------------------------------------------------------------


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The kept rows of every array, packed as they were."""
    with _arrays(source) as arrays:
        if not path_is_zip(source):
            ((array, file),) = arrays
            with target.open("wb") as new:
                _write(_values(array, file, array.shape, source)[keep], new)
            return
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as archive:
            for (array, file), info in zip(arrays, sorted(old.infolist(), key=lambda i: i.filename), strict=True):
                entry = zipfile.ZipInfo(info.filename, _EPOCH)
                entry.compress_type = info.compress_type
                with archive.open(entry, "w", force_zip64=True) as new_array:
                    _write(_values(array, file, array.shape, source)[keep], new_array)


def _write(array: NDArray[Any], file: IO[bytes]) -> None:
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


NPZ = Format("NPZ", (".npz",), open_table, subset)
NPY = Format("NPY", (".npy",), open_table, subset)
