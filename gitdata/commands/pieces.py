"""Pieces: the files of a union brought here, each verified before anybody reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata.commands.records import Say, silent
from gitdata.commands.rowsource import schema_of
from gitdata.commands.transfer import fetch_extensions
from gitdata.commands.union import Part
from gitdata.repo import Repo, blob_of

if TYPE_CHECKING:
    from gitdata.data.formats.piece import Piece


def pieces_of(repo: Repo, parts: Sequence[Part], say: Say = silent) -> list[Piece]:
    """The pieces of some parts of one dataset, in order. Raises DataUnavailable where a blob is missing or corrupt."""
    from gitdata.data.formats.piece import Piece

    if not parts:
        return []
    extensions = {part.extension.id: part.extension for part in parts}
    fetch_extensions(repo, list(extensions.values()), {part.file.split for part in parts}, say)
    schema = schema_of(repo, parts[0].extension)
    pieces = []
    for part in parts:
        blob = blob_of(part.file)
        if not repo.cache.verify(blob):
            raise repo.cache.reject(blob)
        suffix = Path(part.file.path).suffix.lower()
        pieces.append(Piece(repo.cache.path(blob), suffix, schema, part.file.rows, part.keep))
    return pieces
