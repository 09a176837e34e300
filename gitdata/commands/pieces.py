"""Pieces: the files of a union brought here, each verified before anybody reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata.commands.records import Say, silent
from gitdata.commands.rowsource import labels_tables, schema_of, verified
from gitdata.commands.transfer import fetch_extensions
from gitdata.commands.union import Part, union_parts
from gitdata.data.chain import Chain
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.data.formats.piece import Piece


def parts_with_rows(repo: Repo, chain: Chain, ids: Iterable[str], split: str, within: Iterable[str]) -> list[Part]:
    """What the extensions `ids` bring to the union of `within`, files that bring no row aside."""
    return [part for part in union_parts(repo, chain, ids, split, within) if part.rows]


def pieces_of(repo: Repo, parts: Sequence[Part], say: Say = silent) -> list[Piece]:
    """The pieces of some parts of one dataset, in order. Raises DataUnavailable where a blob is missing or corrupt."""
    from gitdata.data.formats import folder
    from gitdata.data.formats.piece import Piece

    if not parts:
        return []
    extensions = {part.extension.id: part.extension for part in parts}
    fetch_extensions(repo, list(extensions.values()), {part.file.split for part in parts}, say)
    schema = schema_of(repo, parts[0].extension)
    pieces = []
    for (extension, split), own in groupby(parts, lambda part: (part.extension, part.file.split)):
        tables = labels_tables(repo, extension, [file for file in repo.files_of(extension) if file.split == split])
        for part in own:
            place = part.file.path
            beside = folder.beside(place, tables.get(folder.labels_place(place) or ""))
            path = verified(repo, part.file)
            pieces.append(Piece(path, Path(place).suffix.lower(), schema, part.file.rows, part.keep, beside))
    return pieces
