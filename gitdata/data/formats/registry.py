"""Registry: which format a file is of, by the suffix of its name.

Formats come with gitdata, or from a plug-in: a package installed on this machine that names a `Format` in the
entry-point group `gitdata.formats`. Nothing in a repository can name one, and none replaces a format that is built in.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from gitdata.data.formats import arrowfile, csvfile, hdf5file, imagefile, jsonfile, numpyfile, parquetfile
from gitdata.data.formats.format import Format
from gitdata.errors import Mendable

GROUP = "gitdata.formats"
BUILT_IN: tuple[Format, ...] = (
    csvfile.CSV, csvfile.TSV, hdf5file.HDF5, parquetfile.PARQUET, arrowfile.ARROW,
    numpyfile.NPZ, numpyfile.NPY, jsonfile.JSON_LINES, imagefile.IMAGE,
)  # fmt: skip
SUFFIXES = tuple(suffix for format in BUILT_IN for suffix in format.suffixes)
NAMES = ", ".join(dict.fromkeys(format.name for format in BUILT_IN))
_BY_SUFFIX = {suffix: format for format in BUILT_IN for suffix in format.suffixes}


def format_of(suffix: str) -> Format | None:
    """The format of files with this suffix, None where there is none. Plug-ins are asked for what is not built in."""
    suffix = suffix.lower()
    return _BY_SUFFIX.get(suffix) or _from_plug_ins(suffix)


def _from_plug_ins(suffix: str) -> Format | None:
    found = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        format = _load(entry)
        if suffix in format.suffixes:
            found[entry.value] = format
    if len(found) > 1:
        raise Mendable(f"Several plug-ins read '{suffix}': {', '.join(found)}.", "Uninstall all but one.")
    return next(iter(found.values()), None)


def _load(entry: EntryPoint) -> Format:
    try:
        format = entry.load()
    except (ImportError, AttributeError) as error:
        raise Mendable(
            f"The plug-in '{entry.name}' ({entry.value}) cannot be loaded: {error}.", "Mend or uninstall it."
        ) from error
    if not isinstance(format, Format):
        raise Mendable(f"The plug-in '{entry.name}' ({entry.value}) is no Format.", "Mend or uninstall it.")
    return format
