"""Blocks: columns that are not held in memory, read block by block, in as many passes as somebody needs.

A *strand* is a stretch of rows that can be read from its beginning only, in blocks of known sizes: a whole file, or a
single block where a file can be entered anywhere. Rows are numbered in the order of the strands. What is in memory is
plain columns; `blocks_of` gives either as blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Strand:
    """Rows that are read in order: the number of rows in each block, and the blocks from the first one on."""

    sizes: tuple[int, ...]
    read: Callable[[], Iterator[Columns]]


@dataclass(frozen=True)
class Blocks(Mapping[str, NDArray[Any]]):
    """The columns `names` of some strands. A column that is asked for by its name is read whole, and kept."""

    names: tuple[str, ...]
    strands: tuple[Strand, ...]
    _kept: dict[str, NDArray[Any]] = field(default_factory=dict)

    @cached_property
    def rows(self) -> int:
        return sum(sum(strand.sizes) for strand in self.strands)

    def blocks(self) -> Iterator[Columns]:
        """All rows, in order."""
        for strand in self.strands:
            yield from strand.read()

    def select(self, mask: NDArray[np.bool_]) -> Blocks:
        """The rows that a mask of shape (rows,) keeps."""
        chosen, start = [], 0
        for strand in self.strands:
            stop = start + sum(strand.sizes)
            chosen.append(_selected(strand, mask[start:stop]))
            start = stop
        return Blocks(self.names, tuple(strand for strand in chosen if strand.sizes))

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._kept:
            self._kept[name] = np.concatenate([np.asarray(block[name]) for block in self.blocks()])
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def blocks_of(columns: Columns) -> Iterator[Columns]:
    """Columns in blocks: those in memory are one."""
    return columns.blocks() if isinstance(columns, Blocks) else iter([columns])


def rows_of(columns: Columns) -> int:
    """The number of rows; no columns, no rows."""
    if isinstance(columns, Blocks):
        return columns.rows
    return len(next(iter(columns.values()))) if columns else 0


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of some columns, one after the other; of fields that some lack, none. Blocks where one is."""
    parts = [part for part in parts if rows_of(part)] or list(parts[:1])
    if len(parts) < 2:
        return parts[0] if parts else {}
    names = tuple(name for name in parts[0] if all(name in part for part in parts))
    if any(isinstance(part, Blocks) for part in parts):
        return Blocks(names, tuple(strand for part in parts for strand in _strands(part, names)))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _strands(columns: Columns, names: Sequence[str]) -> tuple[Strand, ...]:
    """Columns in memory are one strand of one block."""
    if isinstance(columns, Blocks):
        return columns.strands
    return (Strand((rows_of(columns),), lambda: iter([{name: columns[name] for name in names}])),)


def sizes_of(columns: Columns) -> tuple[tuple[int, ...], ...]:
    """The sizes of the blocks of each strand: with a seed, what the order of training depends on."""
    return tuple(s.sizes for s in columns.strands) if isinstance(columns, Blocks) else ((rows_of(columns),),)


def _selected(strand: Strand, keep: NDArray[np.bool_]) -> Strand:
    """A strand of the rows that a mask keeps; blocks of which none is left are read and dropped."""
    masks = np.split(keep, np.cumsum(strand.sizes)[:-1])

    def read() -> Iterator[Columns]:
        for mask, block in zip(masks, strand.read(), strict=True):
            if mask.any():
                yield {name: column[mask] for name, column in block.items()}

    sizes = (int(np.count_nonzero(mask)) for mask in masks)
    return Strand(tuple(size for size in sizes if size), read)
