"""NUL: the one character that text of HDF5 and of CSV files cannot hold, so that no view could show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gitdata.data.formats.format import Columns, Table
from gitdata.errors import Mendable


def without_nul(table: Table) -> Table:
    """The table. Raises Mendable where what it says of a field has a NUL character; reading it, where a text has."""
    for field in table.schema.fields:
        if any("\0" in (text or "") for text in (field.name, field.unit, field.description, *field.categories)):
            name = field.name.replace("\0", "\\0")
            raise Mendable(f"What '{table.path}' says of '{name}' has a NUL character.", "Write it without.")

    def scan(rows_at_once: int) -> Iterator[Columns]:
        start = 0
        for columns in table.scan(rows_at_once):
            _check(columns, table, start)
            start += len(next(iter(columns.values())))
            yield columns

    return replace(table, scan=scan)


def _check(columns: Columns, table: Table, start: int) -> None:
    for name, column in columns.items():
        texts = set(column.ravel().tolist()) if column.dtype.kind == "O" else set()  # a long one may stand many times
        if any("\0" in text for text in texts):
            rows = column.reshape(len(column), -1).tolist()
            first = start + 1 + next(number for number, row in enumerate(rows) if any("\0" in text for text in row))
            raise Mendable(
                f"The text '{name}' of '{table.path}' has a NUL character in row {first}.", "Write it without."
            )
