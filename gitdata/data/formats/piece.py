"""Piece: the rows of one verified file that belong to a union, whatever its format.

Rows are handed out in blocks, so that what is made of many files never takes the memory of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data import formats
from gitdata.data.formats import Columns, Table
from gitdata.data.schema import TEXT, Field, Schema


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of `rows` rows, of which `keep` names those that count (None: all); `suffix` tells its format.

    `beside`: what the file's place gives each of its rows (see `folder`).
    """

    path: Path
    suffix: str
    schema: Schema
    rows: int
    keep: NDArray[np.bool_] | None = None
    beside: Columns = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The rows that count."""
        return self.rows if self.keep is None else int(np.count_nonzero(self.keep))

    @property
    def nbytes(self) -> int:
        """The bytes that the numbers among the rows that count take in memory."""
        numbers = (each for each in self.schema.fields if each.dtype != TEXT)
        return self.count * sum(math.prod(each.shape) * dtype_of(each).itemsize for each in numbers)

    def table(self) -> Table:
        """All rows of the file. Raises Mendable where it is not sound, or leads out of itself."""
        return formats.table(self.path, self.schema, suffix=self.suffix, beside=self.beside)

    def blocks(self) -> Iterator[Columns]:
        """The columns of some of the rows that count at a time, in order."""
        start = 0
        for block in self.table().blocks():
            stop = start + len(next(iter(block.values())))
            if self.keep is None:
                yield block
            elif (keep := self.keep[start:stop]).any():
                yield {name: array[keep] for name, array in block.items()}
            start = stop


def gathered(blocks: Iterable[Columns], bytes_at_once: int = formats.BLOCK_BYTES) -> Iterator[Columns]:
    """The same rows in blocks that are not small: thousands of tiny files become a few."""
    waiting: list[Columns] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += sum(array.nbytes for array in block.values())
        if size >= bytes_at_once:
            yield formats.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield formats.concatenate(waiting)


def empty(schema: Schema, rows: int) -> dict[str, NDArray[Any]]:
    """Columns of a schema with room for some rows."""
    return {field.name: np.empty((rows, *field.shape), dtype_of(field)) for field in schema.fields}


def dtype_of(field: Field) -> np.dtype[Any]:
    """Of the array that holds a field."""
    return np.dtype(object if field.dtype == TEXT else field.dtype)
