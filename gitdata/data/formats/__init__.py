"""Formats: rows out of files, and chosen rows back into a file of the same format.

`format` says what a format is, `registry` which one a file is of; the rest of this room is one module for each. What
others call is here. A format without dtypes of its own gives numbers as float64 (integers beyond it as int64 or
uint64) unless the dataset's schema says otherwise; whatever is not plainly a number or a truth value stays text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.fitting import fit
from gitdata.data.formats.folder import is_labels_table, members, with_fields
from gitdata.data.formats.format import BLOCK_BYTES, Columns, Format, Table, require_room, schema_of
from gitdata.data.formats.registry import NAMES, SUFFIXES, format_of
from gitdata.data.schema import Schema
from gitdata.errors import Mendable

DIGESTS_BYTES = 16  # what is held of each row while a file is scanned

__all__ = [
    "BLOCK_BYTES", "NAMES", "SUFFIXES", "Columns", "Format", "Table",
    "concatenate", "format_of", "grows_by_bytes", "read", "require_readable", "schema_of", "subset", "table", "tail",
]  # fmt: skip


def table(
    path: Path, schema: Schema | None = None, *, suffix: str | None = None, beside: Columns | None = None
) -> Table:
    """The table in a file. With `schema`, fields get its dtypes where that changes no value.

    `suffix` names the format of a file whose name does not; `beside` holds what the file's place gives each of its
    rows (see `folder`). Raises Mendable naming the file and what is wrong.
    """
    require_readable(path)
    format = _known(path, suffix)
    found = format.open(path, schema or Schema(()))
    if not found.rows:
        raise Mendable(f"'{path}' has no rows.", "Nothing was changed.")
    require_room(f"The row index of '{path}'", DIGESTS_BYTES * found.rows)
    without_dtype = frozenset(beside or ()) if format.has_dtypes else {*found.schema.names, *(beside or ())}
    found = with_fields(found, beside or {})
    return found if schema is None else fit(found, schema, without_dtype)


def read(
    path: Path, schema: Schema | None = None, *, suffix: str | None = None, beside: Columns | None = None
) -> Columns:
    """All rows of a file, or of the files in a folder, in memory. Raises as `table` does."""
    if path.is_dir():
        files = [member for member in members(path, schema or Schema(())) if not is_labels_table(member.place)]
        return concatenate([read(file.path, schema, beside=file.beside) for file in files])
    return concatenate(list(table(path, schema, suffix=suffix, beside=beside).blocks(bytes_at_once=2**62)))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The rows of several files one after the other; no parts, no columns."""
    if len(parts) < 2:
        return parts[0] if parts else {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """Write the rows of `source` that `keep` names to `target`, in the same format: text byte for byte."""
    _known(source, None).subset(source, keep, target)


def grows_by_bytes(path: Path) -> bool:
    """Whether a file of this format that got more rows may begin with the very bytes that it was before."""
    format = format_of(path.suffix)
    return format is not None and format.tail is not None


def tail(source: Path, size: int, target: Path) -> bool:
    """Write the rows after the first `size` bytes of a file that grows by bytes to `target`, as `subset` would.

    False where no row can be read there without those before it.
    """
    write = _known(source, None).tail
    return write is not None and write(source, size, target)


def require_readable(path: Path) -> None:
    """Raises Mendable where there is no file, or none with content that may be read."""
    if any("\udc80" <= character <= "\udcff" for character in str(path)):  # how Python holds bytes that are no text
        raise Mendable(f"The name of '{path}' is not UTF-8.", "Rename it.")
    if not path.exists():
        raise Mendable(f"There is no file '{path}'.", "Check the name.")
    if not path.is_file():
        raise Mendable(f"'{path}' is not a file.", "Name a file.")
    if not os.access(path, os.R_OK):
        raise Mendable(f"'{path}' may not be read.", "Ask its owner for permission.")
    if path.stat().st_size == 0:
        raise Mendable(f"'{path}' is empty.", "Nothing was changed.")


def _known(path: Path, suffix: str | None) -> Format:
    wanted = path.suffix if suffix is None else suffix
    format = format_of(wanted)
    if format is None:
        raise Mendable(
            f"'{path}' has the suffix '{wanted}', which is of no format that gitdata reads here.",
            f"gitdata reads {NAMES}, and what plug-ins add; install the one that was used.",
        )
    return format
