"""Mixture: which files may come together in one extension, and which of them are left when rows were left out.

An *opaque* file is one whose suffix no format knows: it is kept as it is, its rows unknown. A dataset holds tables or
opaque files, never both; the labels table of a folder goes with the files that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdata.data.schema import Schema
from gitdata.errors import Mendable

if TYPE_CHECKING:
    from gitdata.commands.intake import Part, Request


def refuse_mixture(request: Request, parts: Sequence[Part], schema: Schema | None, *, by_fraction: bool) -> None:
    """Opaque files and tables do not share a dataset, and what needs rows needs tables. Raises Mendable.

    `schema`: the parents', without fields where theirs are opaque, None where there are no parents.
    """
    opaque = next((part for part in parts if part.is_opaque), None)
    table = next((part for part in parts if part.table is not None), None)
    if opaque is not None and (table is not None or (schema is not None and schema.fields)):
        from gitdata.data.formats import NAMES

        other = f"'{table.source}' holds rows" if table is not None else f"'{request.dataset}' holds rows"
        raise Mendable(
            f"'{opaque.source}' is of no format that gitdata reads, while {other}; a dataset has one or the other.",
            f"Convert it ({NAMES}), or give it a dataset of its own: `gitdata add`.",
        )
    if table is not None and schema is not None and not schema.fields:
        raise Mendable(
            f"'{table.source}' holds rows, '{request.dataset}' opaque files; a dataset has one or the other.",
            "Start another dataset with `gitdata add`.",
        )
    if opaque is not None and (by_fraction or request.dedupe or request.inputs or request.outputs):
        raise Mendable(
            f"'{opaque.source}' is kept as it is: gitdata knows no rows in it to split, compare or name fields of.",
            "Leave out fractions, --dedupe, --inputs and --outputs; splits of such files are made by file.",
        )


def with_rows_or_opaque(parts: Sequence[Part]) -> list[Part]:
    """The parts of which something is left; a labels table is, where a file of its folder is."""
    folders = {(part.split, part.place.partition("/")[0]) for part in parts if part.rows}
    return [
        part
        for part in parts
        if part.rows
        or part.is_opaque
        or (part.is_labels_table and (part.split, part.place.partition("/")[0]) in folders)
    ]
