"""Study: the stages of a chain gone through by several methods and from several seeds, to compare accuracy and cost.

A *stage* is what some extensions bring, the first of them what a model begins with. A *way* is the methods that are
declared for it: one, or rungs. All seeds of a way are trained together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import GitdataError
from gitdata.training import gate
from gitdata.training.blocks import joined, rows_of
from gitdata.training.borrowing import Lenders
from gitdata.training.declaration import Declaration, Method
from gitdata.training.methods import Outcome, TrainingData, ascent, climb_together
from gitdata.training.package import Package
from gitdata.training.reservoir import Digests
from gitdata.training.retraining import WHOLE

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Stage:
    """Train and held-out rows that come with it; `validation` and `test`: those that hold from then on.

    `origin`: with which stage each test row came, shape (test rows,).
    """

    train: Columns
    own_validation: Columns
    validation: Columns
    test: Columns
    origin: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a way led to at a stage: what it lost on the test rows, and what it cost, rungs that were left included.

    `before`: the loss on test rows of earlier stages; `losses`: on those of each stage; None where there are none.
    `taken`: the method whose version was taken.
    """

    taken: str
    loss: float | None
    before: float | None
    losses: tuple[float | None, ...]
    steps: int
    union_steps: int
    rows_read: int
    seconds: float


@dataclass(frozen=True)
class Traveller:
    """A declaration with its seed and way, the stages, and the version that it comes to a stage with, if any."""

    declaration: Declaration
    stages: Sequence[Stage]
    digests: Digests
    package: Package | None = None
    lenders: Lenders = field(default_factory=lambda: MappingProxyType({}))


def on_its_way(declaration: Declaration, way: Sequence[Method], seed: int) -> Declaration:
    """A declaration with another seed, and methods."""
    training = declaration.training.model_copy(update={"seed": seed})
    retraining = declaration.retraining.model_copy(update={"method": tuple(way)})
    return declaration.model_copy(update={"training": training, "retraining": retraining})


def travel(travellers: Sequence[Traveller], place: int) -> list[tuple[Package, Point] | GitdataError]:
    """The versions that some come to at a stage, trained together, and where these lead to; or what kept them."""
    climbs = [
        ascent(own.declaration, _data(own, place), own.package, own.package, lenders=own.lenders) for own in travellers
    ]
    outcomes = climb_together(climbs)
    return [
        (found.package, _point(own, place, found)) if isinstance(found, Outcome) else found
        for own, found in zip(travellers, outcomes, strict=True)
    ]


def _data(own: Traveller, place: int) -> TrainingData:
    """What a training at a stage may read: of a way that does without old rows, none of these."""
    stage = own.stages[place]
    names = {method.name for method in own.declaration.retraining.method}
    is_bounded = own.package is not None and not names & {*WHOLE, "auto"}
    reservoir = own.package.reservoir if is_bounded and own.package is not None else None
    travels = reservoir is not None and bool(reservoir.held.any())
    return TrainingData(
        unseen=lambda: stage.train,
        whole=lambda: joined([each.train for each in own.stages[: place + 1]]),
        validation=lambda: stage.own_validation if travels else stage.validation,
        unseen_rows=rows_of(stage.train),
        whole_rows=sum(rows_of(each.train) for each in own.stages[: place + 1]),
        digests=own.digests,
        unseen_validation=lambda: stage.own_validation,
        is_bounded=is_bounded,
    )


def _point(own: Traveller, place: int, outcome: Outcome) -> Point:
    stage, declaration = own.stages[place], own.declaration
    losses = gate.row_losses(outcome.package, stage.test, declaration) if rows_of(stage.test) else np.empty(0)

    def mean(rows: NDArray[np.bool_]) -> float | None:
        found = gate.mean_loss(losses[rows], declaration) if rows.any() else None
        return found if found is None or math.isfinite(found) else None

    return Point(
        taken=outcome.rung.method,
        loss=mean(stage.origin >= 0),
        before=mean(stage.origin < place),
        losses=tuple(mean(stage.origin == each) for each in range(place + 1)),
        steps=sum(rung.steps for rung in outcome.rungs),
        union_steps=outcome.rung.union_steps,
        rows_read=sum(rung.rows_read for rung in outcome.rungs),
        seconds=sum(rung.seconds for rung in outcome.rungs),
    )
