"""Streaming: rows that memory does not hold, read from the blobs block by block.

A file that can be entered anywhere gives blocks that may come in any order; another one is read from its beginning.
Small files that follow each other make one block together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

from gitdata.commands.pieces import pieces_of
from gitdata.commands.records import Say
from gitdata.commands.union import Part
from gitdata.data.schema import TEXT, Field
from gitdata.errors import Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.data.formats import Columns
    from gitdata.data.formats.piece import Piece
    from gitdata.training.blocks import Blocks, Strand

SETTING = "gitdata.trainmemory"
SHARE = 4  # of the machine's memory, by default one part in so many
TEXT_BYTES = 64  # what a text of a row takes, about
ENCODED_BYTES = 24  # of each number of a row, while it is read, joined and encoded: measured
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def memory_limit(repo: Repo) -> int:
    """Bytes up to which rows are held in memory: the setting gitdata.trainMemory, else a part of what there is."""
    from gitdata.data.formats.format import memory

    value = repo.git.config(SETTING)
    if value is None:
        return memory() // SHARE
    number, unit = value.strip().lower(), 1
    if number[-1:] in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1]]
    if not number.isdecimal():
        raise Mendable(
            f"gitdata.trainMemory is '{value}', which is no number of bytes.",
            "As in `git config gitdata.trainMemory 4g`.",
        )
    return int(number) * unit


def bytes_in_memory(parts: Sequence[Part], fields: Sequence[Field]) -> int:
    """What the rows of some parts take in memory, as they are and while they are encoded."""
    return sum(part.rows for part in parts) * sum(_row_bytes(field, ENCODED_BYTES) for field in fields)


def _row_bytes(field: Field, more: int = 0) -> int:
    """What a field of a row takes, with so much more for each number."""
    import numpy as np

    size = TEXT_BYTES if field.dtype == TEXT else np.dtype(field.dtype).itemsize
    return prod(field.shape) * (size + more)


def in_blocks(repo: Repo, parts: Sequence[Part], fields: Sequence[Field], say: Say) -> Blocks:
    """The rows of some parts, each file verified, `fields` of them."""
    from gitdata.data.formats import BLOCK_BYTES
    from gitdata.training.blocks import Blocks

    names = tuple(field.name for field in fields)
    at_once = max(1, BLOCK_BYTES // max(1, sum(map(_row_bytes, fields))))
    pieces = pieces_of(repo, [part for part in parts if part.rows], say)
    strands = (_strands(group, names, at_once) for group in _groups(pieces, at_once))
    return Blocks(names, tuple(chain.from_iterable(strands)))


def _groups(pieces: Sequence[Piece], at_once: int) -> Iterator[list[Piece]]:
    """Pieces that follow each other, as many as make a block; a larger one alone."""
    group: list[Piece] = []
    for piece in pieces:
        if group and sum(each.count for each in group) + piece.count > at_once:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _strands(group: list[Piece], names: Sequence[str], at_once: int) -> list[Strand]:
    from gitdata.training.blocks import Strand

    if len(group) == 1 and group[0].table().scan_from is not None:
        return _entered_anywhere(group[0], names, at_once)
    rows = sum(piece.count for piece in group)
    sizes = tuple(min(at_once, rows - first) for first in range(0, rows, at_once))

    def read() -> Iterator[Columns]:
        return _recut(chain.from_iterable(piece.blocks() for piece in group), names, at_once)

    return [Strand(sizes, read)]


def _entered_anywhere(piece: Piece, names: Sequence[str], at_once: int) -> list[Strand]:
    """A strand for each block of a file; what does not count is read and left out."""
    from gitdata.training.blocks import Strand

    def strand(first: int) -> Strand:
        keep = None if piece.keep is None else piece.keep[first : first + at_once]
        stop = min(first + at_once, piece.rows)

        def read() -> Iterator[Columns]:
            scan = piece.table().scan_from
            assert scan is not None
            block = next(scan(stop - first, first))
            yield {name: block[name] if keep is None else block[name][keep] for name in names}

        return Strand((stop - first if keep is None else int(keep.sum()),), read)

    strands = [strand(first) for first in range(0, piece.rows, at_once)]
    return [each for each in strands if each.sizes != (0,)]


def _recut(blocks: Iterator[Columns], names: Sequence[str], rows: int) -> Iterator[Columns]:
    """The same rows, `rows` at a time, whatever the format hands out at once."""
    from gitdata.data import formats

    held: list[Columns] = []
    count = 0
    for block in blocks:
        chosen = {name: block[name] for name in names}
        start, length = 0, len(chosen[names[0]])
        while count + length - start >= rows:
            stop = start + rows - count
            yield formats.concatenate([*held, {name: column[start:stop] for name, column in chosen.items()}])
            held, count, start = [], 0, stop
        if start < length:
            held.append({name: column[start:] for name, column in chosen.items()})
            count += length - start
    if held:
        yield formats.concatenate(held)
