"""Stopping: when a run ends before its last epoch, and when its rate is lowered, from validation losses alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from gitdata.training.settings import EarlyStopping, Schedule


@dataclass(frozen=True, slots=True)
class Patience:
    """The loss that is to be improved on, and how many epochs have not."""

    reference: float = math.inf
    waited: int = 0

    def after(self, loss: float, min_delta: float) -> Patience:
        """One epoch later. A loss that is no number improves on nothing."""
        return Patience(loss, 0) if loss < self.reference - min_delta else replace(self, waited=self.waited + 1)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known after some epochs of a run: the best of them, and how long the run and its rate have waited.

    `factor`: what the declared learning rates are multiplied by from here on. `stopped`: the run ends here.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    run: Patience = field(default=Patience())
    rate: Patience = field(default=Patience())
    factor: float = 1.0
    stopped: bool = False


def is_watched(early: EarlyStopping | None, schedule: Schedule) -> bool:
    """Whether anything depends on validation losses during a run."""
    return early is not None or schedule.name == "plateau"


def after_epoch(watched: Watched, loss: float, early: EarlyStopping | None, schedule: Schedule) -> Watched:
    """What is known one epoch later, whose validation loss is `loss`."""
    is_best = loss < watched.best_loss
    result = replace(
        watched,
        epochs=watched.epochs + 1,
        best_epoch=watched.epochs + 1 if is_best else watched.best_epoch,
        best_loss=loss if is_best else watched.best_loss,
    )
    if early is not None:
        run = watched.run.after(loss, early.min_delta)
        result = replace(result, run=run, stopped=run.waited >= early.patience)
    return _with_rate(result, loss, schedule) if schedule.name == "plateau" else result


def _with_rate(watched: Watched, loss: float, schedule: Schedule) -> Watched:
    """The rate is lowered where it has waited long enough, and then waits anew; never below the floor."""
    rate = watched.rate.after(loss, schedule.min_delta)
    if rate.waited < schedule.patience:
        return replace(watched, rate=rate)
    factor = max(watched.factor * schedule.factor, schedule.final)
    return replace(watched, rate=replace(rate, waited=0), factor=factor)
