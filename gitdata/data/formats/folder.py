"""Folders: several data files that came together, each with what its place says of its rows.

A folder `digits` becomes files `digits/3/0017.png` of an extension: the path tells what a file's rows have besides its
own fields, the same at intake and whenever they are read again. Either the folder holds a *labels table*, `labels.csv`:
its first column of text that is no field of the dataset names every other file, and its other columns are fields. Or
what lies in a sub-folder has its name as the text field `label`. Any format may lie in a folder; mostly it is images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gitdata.data.formats import csvfile
from gitdata.data.formats.format import Columns, Table, schema_of
from gitdata.data.schema import Schema
from gitdata.errors import Mendable

LABEL = "label"
LABELS_TABLE = "labels.csv"


@dataclass(frozen=True, slots=True)
class Labels:
    """A labels table: the row of each file, and the columns."""

    path: Path
    places: Mapping[str, int]
    columns: Columns

    def of(self, file: str) -> Columns:
        """The fields that the table gives a file, one row of each. Raises Mendable where it does not name it."""
        if file not in self.places:
            raise Mendable(f"'{self.path}' does not name '{file}'.", "Give every file one row.")
        row = self.places[file]
        return {name: column[row : row + 1] for name, column in self.columns.items()}


@dataclass(frozen=True, slots=True)
class Member:
    """A file that a person hands in, alone or in a folder; `place`: its path within the split."""

    path: Path
    place: str
    labels: Labels | None = None

    @property
    def beside(self) -> Columns:
        return beside(self.place, self.labels)


def members(path: Path, schema: Schema) -> list[Member]:
    """The files that a path stands for: itself, or what lies in the folder. Raises Mendable."""
    if not path.is_dir():
        return [Member(path, path.name)]
    files = [] if (path / ".git").exists() else files_in(path)
    if not files:
        raise Mendable(f"'{path}' is not a file, and no folder of data files.", "Name a file, or a folder of them.")
    name = path.resolve().name
    data = [file for file in files if file != LABELS_TABLE]
    if data == files:
        return [Member(path / file, f"{name}/{file}") for file in files]
    labels = read_labels(path / LABELS_TABLE, schema)
    check_labels(labels, data)
    return [Member(path / file, f"{name}/{file}", labels) for file in files]


def files_in(folder: Path) -> list[str]:
    """The paths of the files in a folder, below it, sorted; hidden ones are no data. Raises Mendable for links."""
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.is_symlink():
            raise Mendable(f"'{path}' is a link; gitdata follows none.", "Copy the file into the folder.")
        if path.is_file():
            found.append(relative.as_posix())
    return sorted(found)


def read_labels(path: Path, schema: Schema, shown: Path | None = None) -> Labels:
    """The labels table at `path`; `shown` is what messages call it. Raises Mendable where it names no files."""
    columns = csvfile.read(path, ",", schema)
    shown = shown or path
    texts = (name for name, column in columns.items() if column.dtype.kind == "O")
    naming = next((name for name in texts if schema.get(name) is None), None)
    if naming is None:
        raise Mendable(f"'{shown}' has no column of text that names files.", "Give it one, the first of text.")
    files = columns[naming].tolist()
    places = {file: row for row, file in enumerate(files)}
    if len(places) != len(files):
        double = next(file for row, file in enumerate(files) if places[file] != row)
        raise Mendable(f"'{shown}' names '{double}' twice.", "Give every file one row.")
    return Labels(shown, places, {name: column for name, column in columns.items() if name != naming})


def check_labels(labels: Labels, files: Iterable[str]) -> None:
    """Raises Mendable where the table names a file that is not there."""
    if missing := sorted(labels.places.keys() - set(files)):
        raise Mendable(f"'{labels.path}' names '{missing[0]}', which is not in the folder.", "Correct the table.")


def beside(place: str, labels: Labels | None) -> Columns:
    """The fields that a file's rows have besides its own; `place` is its path within the split.

    A file that did not come in a folder has none.
    """
    _, *within = place.split("/")
    if not within:
        return {}
    if labels is not None:
        return labels.of("/".join(within))
    return {LABEL: np.array(["/".join(within[:-1])], object)} if within[1:] else {}


def labels_place(place: str) -> str | None:
    """Where the labels table of a file would lie; None for a file that did not come in a folder, or is one."""
    folder, _, within = place.partition("/")
    return f"{folder}/{LABELS_TABLE}" if within and within != LABELS_TABLE else None


def is_labels_table(place: str) -> bool:
    return place.partition("/")[2] == LABELS_TABLE


def with_fields(table: Table, more: Columns) -> Table:
    """The table whose rows all have these fields besides. Raises Mendable where it has one of that name itself."""
    if not more:
        return table
    if both := sorted(set(table.schema.names) & more.keys()):
        raise Mendable(f"'{table.path}' has a field '{both[0]}' itself, and its folder gives one.", "Rename one.")
    fields = sorted((*table.schema.fields, *schema_of(more).fields), key=lambda field: field.name)

    def scan(rows_at_once: int) -> Iterator[Columns]:
        for columns in table.scan(rows_at_once):
            rows = len(next(iter(columns.values())))
            yield columns | {name: np.repeat(column, rows, axis=0) for name, column in more.items()}

    return replace(table, schema=Schema(tuple(fields)), scan=scan, scan_from=None)
