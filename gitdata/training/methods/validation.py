"""Validation: the rows that rungs are compared on, which none of them is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training import gate
from gitdata.training.blocks import joined, rows_of
from gitdata.training.declaration import Declaration
from gitdata.training.methods.occasion import TrainingData
from gitdata.training.package import Package

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Validation:
    """Rows, and how many each stands for (None: all the same)."""

    columns: Columns
    stand_for: NDArray[np.float64] | None = None

    def __bool__(self) -> bool:
        return rows_of(self.columns) > 0

    def loss(self, package: Package | None, declaration: Declaration) -> float | None:
        """The metric of the gate over these rows; None where there are none, or that answers another question."""
        losses = self._losses(package, declaration)
        return None if losses is None else gate.mean_loss(losses, declaration, self.stand_for)

    def is_surely_worse(self, package: Package, other: Package | None, declaration: Declaration) -> bool:
        """Whether a version answers these rows worse than another, and not by chance, by the test of the gate."""
        own, others = self._losses(package, declaration), self._losses(other, declaration)
        if own is None or others is None:
            return False
        each = 1.0 if self.stand_for is None else self.stand_for / self.stand_for.mean()
        return gate.compare(each * own, each * others, 0.0).verdict == "refused"

    def _losses(self, package: Package | None, declaration: Declaration) -> NDArray[np.float64] | None:
        if package is None or not self or not gate.comparable(package, declaration, self.columns):
            return None
        return gate.row_losses(package, self.columns, declaration)


def validation(data: TrainingData, restored: Package | None) -> Validation:
    """The rows that are held out; where no seen row may be read, with those that travel in the package."""
    own = data.validation()
    reservoir = restored.reservoir if restored is not None and data.is_bounded else None
    if reservoir is None or not reservoir.held.any():
        return Validation(own)
    old = reservoir.held_out
    if not rows_of(own):
        return Validation(old)
    each = reservoir.seen / len(reservoir.held)
    return Validation(joined([own, old]), np.concatenate([np.ones(rows_of(own)), np.full(rows_of(old), each)]))
