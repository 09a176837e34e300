"""Monitor: what can be seen of a run while it goes on, epoch by epoch.

The loss of an epoch is the mean over its steps, each at its own weights. Validation rows are looked at now
and then, as far as that costs little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training.methods import Course

BETWEEN = 1.0  # seconds between two looks at the validation rows, at least
SHARE = 0.02  # of the time that they may take


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a run. `rate`: of its last step; `remaining`: seconds.

    `validation`: the last loss on validation rows that is known; where the run depends on it, that after this epoch.
    """

    method: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rate: float
    validation: float | None
    rows_per_second: float
    seconds: float
    remaining: float


class Monitor:
    """Tells of every epoch of a run as soon as its losses are known."""

    def __init__(
        self, course: Course, tell: Callable[[Epoch], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.course, self.tell, self.clock = course, tell, clock
        self.began = clock()
        self.since: tuple[int, float] | None = None  # a step and its time: the first chunk, which compiles, aside
        self.validation: float | None = None
        self.next_look = self.began + BETWEEN
        self._sum, self._steps = 0.0, 0

    def weights(self, step: int, weights: Any) -> None:
        """Look at the validation rows, if it is time to."""
        now = self.clock()
        if self.course.watched or now < self.next_look:
            return
        self.validation = self.course.measure(weights)
        self.next_look = self.clock() + max(BETWEEN, (self.clock() - now) / SHARE)

    def losses(self, first: int, losses: NDArray[np.float32], rates: NDArray[np.float32]) -> None:
        """Take the losses and learning rates of the steps from `first` on."""
        begins = self.since is None
        self.since = self.since or (first, self.began)
        self._take(first, losses, rates)
        if begins:
            self.since = (first + len(losses), self.clock())

    def _take(self, first: int, losses: NDArray[np.float32], rates: NDArray[np.float32]) -> None:
        start, epoch = 0, self.course.epoch
        while start < len(losses):
            stop = min(len(losses), start + epoch - (first + start) % epoch)
            self._sum += float(losses[start:stop].sum(dtype=np.float64))
            self._steps += stop - start
            start, step = stop, first + stop
            if step % epoch == 0 or step == self.course.steps:
                self.tell(self._epoch(step, float(rates[stop - 1])))
                self._sum, self._steps = 0.0, 0

    def _epoch(self, step: int, rate: float) -> Epoch:
        assert self.since is not None
        now = self.clock()
        steps_per_second = (step - self.since[0]) / max(now - self.since[1], 1e-9)
        return Epoch(
            method=self.course.method,
            epoch=math.ceil(step / self.course.epoch),
            epochs=math.ceil(self.course.steps / self.course.epoch),
            step=step,
            steps=self.course.steps,
            loss=self._sum / self._steps,
            rate=rate,
            validation=self.course.watched() if self.course.watched else self.validation,
            rows_per_second=steps_per_second * self.course.rows / math.ceil(self.course.rows / self.course.batch_size),
            seconds=now - self.began,
            remaining=(self.course.steps - step) / steps_per_second,
        )
