"""HDF5 view: one file whose data sets are virtual, so that the rows stay in the files that hold them.

HDF5 reads a source that is missing, or has another name or shape inside, as fill values, and says nothing. So a view
carries its mark (`data.view`), `open_union` looks at every source before it opens a view, and the fill values are
ones that no row is likely to hold: NaN, the lowest integer (of unsigned ones the highest), the text `missing`.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gitdata.data import view
from gitdata.data.formats import hdf5file
from gitdata.data.formats.format import DESCRIPTIONS, UNITS
from gitdata.data.formats.piece import Piece
from gitdata.data.schema import TEXT, Field
from gitdata.data.view import MARK, Mark
from gitdata.errors import DataUnavailable, Mendable

MODE = 0o444  # whoever writes to a virtual data set writes to its sources
LIBRARY = ("v110", "v110")  # the first that knows virtual data sets, and attributes of any size
FILES = 200  # in one view: HDF5 opens them all at once, and reads as fill values those that it may not open any more
STRETCHES = 10_000  # of rows, in one view: more are slow to build and to read
FILES_BESIDE = 32
MISSING = b"missing"


def obstacle(pieces: Sequence[Piece]) -> str | None:
    """Why HDF5 cannot show these pieces virtually; None where it can. Raises Mendable where a file is not sound."""
    others = [piece for piece in pieces if piece.suffix not in hdf5file.HDF5.suffixes]
    if others:
        return f"HDF5 cannot refer to {others[0].suffix} files ({len(others)} of {len(pieces)})"
    if len({piece.path for piece in pieces}) > FILES:
        return f"HDF5 would have to open {len(pieces)} files at once"
    if sum(len(view.runs(piece.keep, piece.rows)) for piece in pieces) > STRETCHES:
        return f"the rows stand in more than {STRETCHES:,} stretches"
    texts: dict[str, Any] = {}
    for piece in pieces:
        piece.table()  # refuses what leads out of the file
        with h5py.File(piece.path, "r") as file:
            for field in piece.schema.fields:
                if (found := _obstacle(file.get(field.name), field, texts)) is not None:
                    return found
    return None


def _obstacle(dataset: Any, field: Field, texts: dict[str, Any]) -> str | None:
    """Why a data set cannot be a source; `texts` are the types of text seen so far, by field."""
    if not isinstance(dataset, h5py.Dataset):
        return f"the field '{field.name}' is no data set of its own"
    if field.dtype != TEXT:
        plain = np.dtype(dataset.dtype).newbyteorder("=") == np.dtype(field.dtype)
        return None if plain else f"the field '{field.name}' is not stored as {field.dtype}"
    if h5py.check_string_dtype(dataset.dtype) is None:
        return f"the field '{field.name}' is not stored as text"
    # HDF5 2.0 crashes where it converts text of fixed length to text of any length.
    stored = dataset.id.get_type()
    if not texts.setdefault(field.name, stored).equal(stored):
        return f"the text of '{field.name}' is stored in different ways"
    return None


def write(path: Path, groups: Mapping[str, Sequence[Piece]], names: Mapping[Path, str], mark: Mark) -> None:
    """Write a view to a file that exists and is ours; `names` tells how it refers to the files of the pieces."""
    with h5py.File(path, "w", libver=LIBRARY, locking=False) as file:
        file.attrs[MARK] = mark.encode()
        for name, pieces in groups.items():
            group = file.require_group(name) if name else file
            for field in pieces[0].schema.fields:
                _write_field(group, field, pieces, names)


def _write_field(group: Any, field: Field, pieces: Sequence[Piece], names: Mapping[Path, str]) -> None:
    kind = _stored_type(field, pieces[0])
    shape = (sum(piece.count for piece in pieces), *field.shape)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.VIRTUAL)
    if (fill := _fill_value(field, kind)) is not None:
        properties.set_fill_value(fill)
    start, space = 0, h5py.h5s.create_simple(shape)
    for piece in pieces:
        source = h5py.h5s.create_simple((piece.rows, *field.shape))
        name = os.fsencode(names[piece.path].replace("%", "%%"))  # a lone % would be a pattern
        for first, last in view.runs(piece.keep, piece.rows):
            extent = (last - first, *field.shape)
            space.select_hyperslab((start, *(0 for _ in field.shape)), extent)
            source.select_hyperslab((first, *(0 for _ in field.shape)), extent)
            properties.set_virtual(space, name, field.name.encode(), source)
            start += last - first
    space.select_all()
    parent, _, own = field.name.rpartition("/")
    folder = group.require_group(parent) if parent else group
    describe(h5py.Dataset(h5py.h5d.create(folder.id, own.encode(), kind, space, dcpl=properties)), field)


def describe(dataset: Any, field: Field) -> None:
    """Keep with a data set what is known of its field."""
    for key, text in ((UNITS[0], field.unit), (DESCRIPTIONS[0], field.description)):
        if text is not None:
            dataset.attrs[key] = text


def _stored_type(field: Field, piece: Piece) -> Any:
    """The HDF5 type of a field: of numbers this machine's, of text that of the sources, which is one."""
    if field.dtype != TEXT:
        return h5py.h5t.py_create(np.dtype(field.dtype), logical=True)
    with h5py.File(piece.path, "r") as file:
        return file[field.name].id.get_type().copy()


def _fill_value(field: Field, kind: Any) -> Any:
    """What a missing source reads as; truth values, and UTF-8 text of fixed length, leave no choice."""
    if field.dtype == TEXT:
        if kind.is_variable_str():
            return np.array(MISSING, h5py.string_dtype())
        is_ascii = kind.get_cset() == h5py.h5t.CSET_ASCII
        return np.array(MISSING, f"S{kind.get_size()}") if is_ascii else None
    dtype = np.dtype(field.dtype)
    if dtype.kind == "f":
        return np.array(np.nan, dtype)
    if dtype.kind == "b":
        return None
    limits = np.iinfo(dtype)
    return np.array(limits.min if dtype.kind == "i" else limits.max, dtype)


# --- reading -------------------------------------------------------------------------------------------------


def mark_of(path: Path) -> Mark | None:
    """The mark of an HDF5 file; None where it carries none, or is no HDF5 file."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            text = file.attrs.get(MARK)
    except (OSError, RuntimeError, TypeError, ValueError):  # also an attribute of a kind that h5py cannot read
        return None
    return view.decode(text) if isinstance(text, str) else None


def open_union(path: Path | str, *, deep: bool = False) -> h5py.File:
    """Open a union view for reading, after a look at every file that it shows; `deep` reads and hashes them all.

    Raises Mendable where the file is no view of gitdata, DataUnavailable naming a source that is missing or changed.
    """
    mark = mark_of(Path(path))
    if mark is None:
        raise Mendable(
            f"'{path}' is no union view of gitdata.", "Make one: `gitdata checkout DATASET --union FILE.h5`."
        )
    if mark.virtual and (problem := damage(Path(path), mark, deep=deep)) is not None:
        raise DataUnavailable(
            f"The union view '{path}' would show rows that are not there: {problem}.",
            f"Build it anew where its repository is: `gitdata checkout {mark.reference} --union {path}`.",
        )
    _require_room(path, len({source.name for source in mark.sources}))
    return h5py.File(path, "r", locking=False)  # the sources are opened likewise, and nobody writes to them


def _require_room(path: Path | str, files: int) -> None:
    """Raises Mendable unless the process may open so many files besides those that it has open."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if len(list(Path("/dev/fd").iterdir())) + files + FILES_BESIDE > allowed:
        raise Mendable(
            f"'{path}' shows {files} files, and this process may have {allowed} open.",
            "Allow more (`ulimit -n`), or write a plain file: `gitdata checkout … --union FILE.h5 --copy`.",
        )


def damage(path: Path, mark: Mark, *, deep: bool = False) -> str | None:
    """What is wrong with the sources of a view at `path`; a source that was written since is read and hashed."""
    folder = path.resolve().parent
    for source in mark.sources:
        place = folder / source.name
        try:
            found = place.stat()
        except OSError:
            return f"the source {source.name} is missing"
        untouched = (found.st_size, found.st_mtime_ns) == (source.size, source.mtime_ns)
        if (deep or not untouched) and _sha256(place) != source.sha256:
            return f"the source {source.name} was changed"
    return None


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
