"""Pace: how many steps go into a chunk, so that people and checkpoints wait for its end no longer than a moment.

Nothing that is computed depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MOMENT = 1.0  # seconds that a chunk is to take; to begin one of a large network may cost a fifth of that
GROWTH = 8  # times as many steps as were measured, at most: a first measure says little


@dataclass(slots=True)
class Pace:
    """`steps`: how many the next chunk is to have; it begins with one, since nobody knows how long that takes."""

    steps: int = 1
    clock: Callable[[], float] = time.monotonic
    _since: float = 0.0

    def begin(self) -> None:
        """From here on a chunk is computed; whatever was done before it does not count."""
        self._since = self.clock()

    def settle(self, steps: int) -> None:
        """So many steps were computed since the last chunk was, or since the beginning."""
        now = self.clock()
        self.steps = next_steps(steps, now - self._since)
        self._since = now


def next_steps(steps: int, seconds: float) -> int:
    """How many steps take a moment, where `steps` took so many seconds."""
    return max(1, min(GROWTH * steps, int(steps * MOMENT / max(seconds, 1e-9))))
