"""Monitor: what is told of each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from gitdata.training.methods import Course
from gitdata.training.monitor import Epoch, Monitor


def course(**more: Any) -> Course:
    return Course("union", "key", 40, 8, 10, 5, lambda weights: 7.0, **more)


def told(own: Course, sizes: tuple[int, ...]) -> list[Epoch]:
    """The epochs of a run of ten steps in chunks of these sizes; losses and rates are 1, 2, 3, …"""
    found: list[Epoch] = []
    seconds = iter(range(0, 1000, 100))
    monitor = Monitor(own, found.append, lambda: float(next(seconds, 1000)))
    numbers, first = np.arange(1, 11, dtype=np.float32), 0
    for size in sizes:
        monitor.losses(first, numbers[first : first + size], numbers[first : first + size] / 100)
        first += size
        monitor.weights(first, None)
    return found


def test_the_loss_of_an_epoch_is_its_mean_and_the_rate_is_its_last() -> None:
    for sizes in ((10,), (5, 5), (1, 3, 4, 2)):
        found = told(course(), sizes)
        assert [(e.epoch, e.step, e.loss) for e in found] == [(1, 5, 3.0), (2, 10, 8.0)]
        np.testing.assert_allclose([e.rate for e in found], [0.05, 0.1], rtol=1e-6)


def test_validation_rows_are_looked_at_on_the_way_unless_the_run_does_so_itself() -> None:
    assert [e.validation for e in told(course(), (5, 5))] == [None, 7.0]
    after = iter((0.5, 0.25))
    assert [e.validation for e in told(course(watched=lambda: next(after)), (5, 5))] == [0.5, 0.25]
