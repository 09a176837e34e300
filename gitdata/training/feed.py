"""Feed: the batches of a run, gathered a chunk at a time.

Which rows a step takes follows from the seed, the position at which the run began, and the step: a run that goes on
after it was stopped is fed what it would have been fed. The last batch of an epoch is filled up with rows that weigh
nothing, so that every batch has the same shape; it is that of the declared size, where there are so many rows.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gitdata.training.pace import Pace
from gitdata.training.shuffle import Rows, Window, numbers_of

STEPS = 128  # in a chunk, at most
FEW = 128  # rows of a batch that need not be fewer
CHUNK_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """The batches of `count` steps from step `first` of the run on: inputs and targets (steps, batch, width), masks.

    `sources`: for stretches of the batches, where they begin, and which rows of which window they are; to them a batch
    has `held` rows. On several devices batches may have more, which weigh nothing.
    """

    first: int
    count: int
    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    masks: NDArray[np.float32]
    held: int
    sources: tuple[tuple[int, NDArray[np.int64], tuple[tuple[int, int], ...]], ...]

    def rows_of_step(self, step: int) -> NDArray[np.int64]:
        """The numbers of the rows in the batch of a step of this chunk."""
        first = step * self.held
        last = first + int(np.count_nonzero(self.masks[step]))
        found = [
            numbers_of(order[max(first - start, 0) : last - start], pieces)
            for start, order, pieces in self.sources
            if start < last and start + len(order) > first
        ]
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Order:
    """What decides which rows a step takes: batch size, seed, and the position at which the run began.

    `multiple`: what the rows of a batch are filled up to a multiple of.
    """

    batch_size: int
    seed: int
    began: int
    multiple: int = 1

    def steps_of_epoch(self, rows: int) -> int:
        return math.ceil(rows / self.batch_size)

    def held(self, rows: int) -> int:
        """The rows of a batch in memory: the declared size, or less where it is far more than there are rows.

        Then it is a power of two, and not a small one: one compiled program is to serve many sizes of data.
        """
        return min(self.batch_size, max(FEW, 1 << max(rows - 1, 0).bit_length()))


def steps_at_once(row_bytes: int, held: int) -> int:
    """The most steps of a chunk: a power of two, so many as their batches take a bounded part of memory."""
    most = max(1, CHUNK_BYTES // max(1, row_bytes * held))
    return min(STEPS, 1 << most.bit_length() - 1)


def chunks(
    rows: Rows, order: Order, first: int, last: int, *, cut: int = 0, pace: Pace | None = None
) -> Iterator[Chunk]:
    """The chunks of the steps `first` up to `last` of a run; with `cut`, none goes on beyond a multiple of it.

    Each has as many steps as `pace` asks for when it is gathered; without one, as many as there is room for.
    """
    most = steps_at_once(rows.row_bytes, order.held(rows.count))
    with closing(_Cursor(rows, order, first)) as cursor:
        while first < last:
            count = min(most, last - first, cut - first % cut if cut else most, pace.steps if pace else most)
            yield _gather(cursor, order, first, count, most)
            first += count


def _gather(cursor: _Cursor, order: Order, first: int, count: int, steps: int) -> Chunk:
    """The batches of some steps; of those past `count`, which are never applied, only the shape matters."""
    size = order.held(cursor.rows.count)
    inputs, targets = (np.zeros((steps * size, width), np.float32) for width in cursor.widths)
    masks, sources, place = np.zeros(steps * size, np.float32), [], 0
    while place < count * size:
        window, taken = cursor.take(count * size - place)
        stop = place + len(taken)
        np.take(window.inputs, taken, axis=0, out=inputs[place:stop], mode="clip")
        np.take(window.targets, taken, axis=0, out=targets[place:stop], mode="clip")
        masks[place:stop] = 1.0
        sources.append((place, taken, window.pieces))
        place = stop if cursor.in_epoch else -(-stop // size) * size
    padding = -size % order.multiple
    inputs, targets, masks = (_batches(array, steps, padding) for array in (inputs, targets, masks))
    return Chunk(first, count, inputs, targets, masks, size, tuple(sources))


def _batches(rows: NDArray[np.float32], steps: int, padding: int) -> NDArray[np.float32]:
    """Rows as the batches of some steps, each with `padding` rows more, which weigh nothing."""
    batches = rows.reshape(steps, len(rows) // steps, *rows.shape[1:])
    return np.pad(batches, ((0, 0), (0, padding), *((0, 0) for _ in batches.shape[2:]))) if padding else batches


class _Cursor:
    """Goes through the rows of one epoch after the other, from a step of the run on."""

    def __init__(self, rows: Rows, order: Order, first: int) -> None:
        self.rows, self.order = rows, order
        self.epoch, step = divmod(first, order.steps_of_epoch(rows.count))
        self.windows, self.window, self.place, self.left = self._begin()
        skipped = step * order.batch_size
        while skipped:
            skipped -= len(self.take(skipped)[1])

    @property
    def widths(self) -> tuple[int, int]:
        return self.window.inputs.shape[1], self.window.targets.shape[1]

    @property
    def in_epoch(self) -> bool:
        """Whether the epoch that the last rows were taken from has more."""
        return self.left > 0

    def take(self, most: int) -> tuple[Window, NDArray[np.int64]]:
        """At most so many of the next rows of an epoch: which rows of which window."""
        if not self.left:
            self.epoch += 1
            self.windows.close()
            self.windows, self.window, self.place, self.left = self._begin()
        elif self.place == len(self.window.order):
            self.window, self.place = next(self.windows), 0
        taken = self.window.order[self.place : self.place + most]
        self.place += len(taken)
        self.left -= len(taken)
        return self.window, taken

    def _begin(self) -> tuple[Generator[Window, None, None], Window, int, int]:
        """The windows of an epoch, the first of them, the place in it, and the rows that are left of the epoch."""
        windows = self.rows.epoch(np.random.default_rng([self.order.seed, self.order.began, self.epoch]))
        return windows, next(windows), 0, self.rows.count

    def close(self) -> None:
        self.windows.close()
