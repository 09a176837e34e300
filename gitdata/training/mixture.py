"""Mixture: rows of one kind with rows of others among them, that are drawn anew in every epoch.

A *source* hands out rows as they are drawn: those of a reservoir, say, or rows that nobody measured, labelled by a
model. Beside every row of the main kind there are `share` rows of it: every batch holds about so many of each.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gitdata.training.shuffle import WINDOW_BYTES, Held, Random, Rows, Window

Encoded = tuple[NDArray[np.float32], NDArray[np.float32]]  # inputs and targets, (rows, width) each


class Source(Protocol):
    """What rows can be drawn of."""

    def draw(self, generator: Random, count: int) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class Beside:
    """A source, and how many of its rows there are to every row of the main kind."""

    source: Source
    share: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows in memory, at least one; each is drawn about equally often."""

    rows: Held

    def draw(self, generator: Random, count: int) -> Encoded:
        order = [generator.permutation(self.rows.count) for _ in range(-(-count // self.rows.count))]
        chosen = np.concatenate([*order, np.empty(0, np.int64)])[:count]
        return self.rows.inputs[chosen], self.rows.targets[chosen]


@dataclass(frozen=True)
class Mixed:
    """The rows of `main`, and among them those of the sources beside it."""

    main: Rows
    beside: tuple[Beside, ...]
    window_bytes: int = WINDOW_BYTES

    @property
    def count(self) -> int:
        return self.main.count + sum(round(self.main.count * beside.share) for beside in self.beside)

    @property
    def row_bytes(self) -> int:
        return self.main.row_bytes

    def epoch(self, generator: Random) -> Generator[Window, None, None]:
        """Windows of main rows, each with its part of the others; these are numbered from `main.count` on.

        What is drawn has a generator of its own, since the main rows may be read ahead in a thread. Windows are cut so
        that no more is drawn at once than memory is to hold.
        """
        own = np.random.default_rng(generator.integers(2**63))
        most = max(1, self.window_bytes // max(1, self.row_bytes))
        done = 0
        for window in self.main.epoch(generator):
            rows = len(window.order)
            cuts = -(-round(rows * (1 + sum(beside.share for beside in self.beside))) // most) or 1
            for cut in range(cuts):
                main = window.order[rows * cut // cuts : rows * (cut + 1) // cuts]
                part = self._part(window, main, done + rows * cut / cuts, done + rows * (cut + 1) / cuts, own)
                if len(part.order):
                    yield part
            done += rows

    def _part(
        self, window: Window, main: NDArray[np.int64], begin: float, end: float, generator: Random
    ) -> Window:  # fmt: skip
        """Some main rows of a window, and what comes beside main rows from the begin-th to the end-th."""
        counts = [round(end * each.share) - round(begin * each.share) for each in self.beside]
        drawn = [each.source.draw(generator, count) for each, count in zip(self.beside, counts, strict=True)]
        held = len(window.inputs)
        inputs = np.concatenate([window.inputs, *(rows[0] for rows in drawn)])
        targets = np.concatenate([window.targets, *(rows[1] for rows in drawn)])
        order = np.concatenate([main, np.arange(held, len(inputs))])
        return Window(inputs, targets, generator.permutation(order), (*window.pieces, (held, self.main.count)))
