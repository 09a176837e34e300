"""Shuffle: the order in which rows are trained on, which follows from the seed and the position alone.

Every epoch sees each row once. Rows in memory are permuted. What is streamed is shuffled twice: the strands come in
random order, `OPEN` of them being read at a time, the next block from one of these in proportion to what is left of
it; and the rows of as many blocks as make a *window* are permuted together. So two rows that lie further apart than a
window in a file that can be read from its beginning only keep their order; in files that can be entered anywhere,
every block is a strand of its own and nothing but rows of one block stay near each other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import GeneratorType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gitdata.training.blocks import Blocks, Columns
from gitdata.training.prefetch import ahead
from gitdata.training.preprocessing import Preprocessing

OPEN = 4  # strands that are read at a time
WINDOW_BYTES = 256 * 1024 * 1024  # of encoded rows that are permuted together
HELD = 2  # windows: one is trained on while the next one is read
CACHED_NUMBERS = 2**16

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Window:
    """Encoded rows, (rows, width) each, and the order in which they are trained on.

    `pieces`: where each block begins in the window, and the number of its first row among all rows.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    order: NDArray[np.int64]
    pieces: tuple[tuple[int, int], ...] = ((0, 0),)


def numbers_of(order: NDArray[np.int64], pieces: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """The numbers, among all rows, of rows of a window."""
    starts, firsts = np.array(pieces).T
    piece = np.searchsorted(starts, order, side="right") - 1
    return np.asarray(order - starts[piece] + firsts[piece])


class Rows(Protocol):
    """Rows to train on: `count` of them; `epoch` gives each once, in an order that the generator decides."""

    @property
    def count(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    def epoch(self, generator: Random) -> Generator[Window, None, None]: ...


@dataclass(frozen=True)
class Held:
    """Encoded rows in memory: every epoch is one window."""

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.inputs)

    @property
    def row_bytes(self) -> int:
        return (self.inputs.nbytes + self.targets.nbytes) // max(self.count, 1)

    def epoch(self, generator: Random) -> Generator[Window, None, None]:
        yield Window(self.inputs, self.targets, generator.permutation(self.count))


def encode(codes: Preprocessing, columns: Columns, inputs: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
    """Encode some rows into arrays (rows, width): a few at a time, so that what is between fits a processor's cache."""
    at_once = max(16, CACHED_NUMBERS // max(1, inputs.shape[1]))
    for start in range(0, len(inputs), at_once):
        rows = slice(start, start + at_once)
        some = {name: column[rows] for name, column in columns.items()}
        codes.encode_inputs(some, inputs[rows])
        codes.encode_outputs(some, targets[rows])


@dataclass(frozen=True)
class Streamed:
    """Rows that are read and encoded anew in every epoch; `weighing`: what targets are multiplied by."""

    blocks: Blocks
    codes: Preprocessing
    weighing: NDArray[np.float32] | None = None
    window_bytes: int = WINDOW_BYTES

    @property
    def count(self) -> int:
        return self.blocks.rows

    @property
    def row_bytes(self) -> int:
        return 4 * sum(self._widths)

    def epoch(self, generator: Random) -> Generator[Window, None, None]:
        """Windows, the next one being read while the last one is used."""
        with closing(ahead(self._windows(generator))) as windows:
            yield from windows

    def _windows(self, generator: Random) -> Iterator[Window]:
        sizes = [strand.sizes for strand in self.blocks.strands]
        firsts = np.cumsum([0, *(sum(own) for own in sizes)]).tolist()
        order = block_order([len(own) for own in sizes], generator)
        groups = windows_of(order, sizes, self._window_rows)
        with closing(_Reader(self.blocks)) as reader:
            for place, group in enumerate(groups):
                ends = np.cumsum([sizes[strand][block] for strand, block in group]).tolist()
                pieces = tuple(
                    (end - sizes[strand][block], firsts[strand] + sum(sizes[strand][:block]))
                    for end, (strand, block) in zip(ends, group, strict=True)
                )
                inputs, targets = (array[: ends[-1]] for array in self._held[place % HELD])
                for (strand, _), (start, _), end in zip(group, pieces, ends, strict=True):
                    encode(self.codes, reader.next(strand), inputs[start:end], targets[start:end])
                if self.weighing is not None:
                    targets *= self.weighing
                yield Window(inputs, targets, generator.permutation(ends[-1]), pieces)

    @property
    def _widths(self) -> tuple[int, int]:
        return self.codes.input_width, self.codes.output_width

    @property
    def _window_rows(self) -> int:
        return max(1, self.window_bytes // self.row_bytes)

    @cached_property
    def _held(self) -> list[list[NDArray[np.float32]]]:
        """Room for windows, the same in every epoch: fresh memory costs as much as reading."""
        largest = max(max(strand.sizes) for strand in self.blocks.strands)
        most = min(max(self._window_rows, largest), self.count)
        return [[np.empty((most, width), np.float32) for width in self._widths] for _ in range(HELD)]


class _Reader:
    """Strands in the midst of being read: few files are open at a time."""

    def __init__(self, blocks: Blocks) -> None:
        self.strands = blocks.strands
        self.opened: dict[int, tuple[Iterator[Columns], int]] = {}

    def next(self, strand: int) -> Columns:
        """The next block of a strand; after its last one it is closed."""
        if strand not in self.opened:
            self.opened[strand] = (self.strands[strand].read(), len(self.strands[strand].sizes))
        blocks, left = self.opened.pop(strand)
        block = next(blocks)
        if left > 1:
            self.opened[strand] = (blocks, left - 1)
        else:
            _close(blocks)
        return block

    def close(self) -> None:
        for blocks, _ in self.opened.values():
            _close(blocks)


def _close(blocks: Iterator[Columns]) -> None:
    """Generators hold files open; other iterators have nothing to close."""
    if isinstance(blocks, GeneratorType):
        blocks.close()


def block_order(lengths: Sequence[int], generator: Random) -> list[tuple[int, int]]:
    """Strand and place within it of every block, in the order in which an epoch reads them.

    `lengths`: the number of blocks of each strand.
    """
    waiting = generator.permutation(len(lengths)).tolist()
    opened: list[int] = []
    done = [0] * len(lengths)
    order = []
    while waiting or opened:
        while waiting and len(opened) < OPEN:
            opened.append(waiting.pop())
        left = np.cumsum([lengths[strand] - done[strand] for strand in opened])
        place = int(np.searchsorted(left, generator.integers(left[-1]), side="right"))
        strand = opened[place]
        order.append((strand, done[strand]))
        done[strand] += 1
        if done[strand] == lengths[strand]:
            del opened[place]
    return order


def windows_of(
    order: Sequence[tuple[int, int]], sizes: Sequence[Sequence[int]], most: int
) -> list[Sequence[tuple[int, int]]]:
    """Consecutive blocks in groups of at most `most` rows; a block that has more is alone."""
    cuts, held = [0], 0
    for place, (strand, block) in enumerate(order):
        if held and held + sizes[strand][block] > most:
            cuts.append(place)
            held = 0
        held += sizes[strand][block]
    return [order[first:last] for first, last in pairwise([*cuts, len(order)])]
