"""Occasion: all that a method may use, and what it answers with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import borrowing, losses, statistics
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Plan
from gitdata.training.blocks import Blocks, blocks_of, rows_of
from gitdata.training.borrowing import Lenders
from gitdata.training.declaration import Declaration, Method
from gitdata.training.package import Package
from gitdata.training.preprocessing import Categorical, Preprocessing
from gitdata.training.pull import Pull
from gitdata.training.reservoir import Digests, Reservoir
from gitdata.training.retraining import ANEW
from gitdata.training.shuffle import Held, Rows, Streamed, encode

Columns = Mapping[str, NDArray[Any]]

SPARE = 0.1  # of the union's steps: what retraining may take beyond the unseen share


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows, read when asked for, in memory or as Blocks. `validation` rows are never trained on, the others are.

    `names`: what people call some rows, by their numbers, of columns that were handed out. `digests`: what tells rows
    apart. `unseen_validation`: the validation rows that came with unseen ones (None: all did). `is_bounded`: no row of
    what was seen is read, not even to validate. `is_here`: whether the rows of what was seen are on this machine.
    """

    unseen: Callable[[], Columns]
    whole: Callable[[], Columns]
    validation: Callable[[], Columns]
    unseen_rows: int
    whole_rows: int
    names: Callable[[Columns, Sequence[int]], Sequence[str]] | None = None
    digests: Digests | None = None
    unseen_validation: Callable[[], Columns] | None = None
    is_bounded: bool = False
    is_here: bool = True

    @property
    def unseen_share(self) -> float:
        return min(1.0, self.unseen_rows / max(1, self.whole_rows))


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a method wants to be done: so many steps, with epochs of `epoch`, on encoded `rows`, under a `pull`.

    `trained_on`: the rows that the version comes to know. `read`: how many train rows were read. `weighing`: what
    targets are multiplied by.
    """

    rows: Rows
    trained_on: Columns
    read: int
    steps: int
    epoch: int
    weighing: NDArray[np.float32] | None = None
    pull: Pull | None = None


@dataclass(frozen=True)
class Occasion:
    """A method, declared as it is, and what it may use. `restored`: the version that is gone on from, if one is."""

    declaration: Declaration
    method: Method
    data: TrainingData
    restored: Package | None
    lenders: Lenders

    # --- cost ------------------------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        return self.declaration.training.batch_size

    @property
    def epochs(self) -> int:
        manual = self.declaration.retraining
        own = manual.epochs if self.restored is not None and manual.type == "manual" else None
        return own or self.declaration.training.epochs

    def batches(self, rows: int) -> int:
        """The steps of an epoch of so many rows."""
        return math.ceil(rows / self.batch_size)

    def steps(self, share: float) -> int:
        """The budget: what the method declares, else such a share of the epochs of the whole chain; at least a step."""
        wanted = min(1.0, share) if self.method.budget is None else self.method.budget
        return max(1, round(wanted * self.epochs * self.batches(self.data.whole_rows)))

    @property
    def usual_share(self) -> float:
        """The unseen share of the union's steps, and a little more."""
        return self.data.unseen_share + SPARE

    # --- what is restored ------------------------------------------------------------------------------------

    @property
    def version(self) -> Package:
        """What is gone on from; methods that restore nothing never ask."""
        assert self.restored is not None
        return self.restored

    @cached_property
    def reservoir(self) -> Reservoir:
        """The sample of what was seen. Raises Mendable where the package holds none."""
        found = self.version.reservoir
        if found is None or not rows_of(found.trained):
            why = "has none" if found is None else "has no row to train on"
            share, name = self.declaration.retraining.reservoir, self.declaration.name
            larger = int(share * self.data.whole_rows) < 1
            first = f"Declare more than reservoir = {share:g} in [retraining], then train" if larger else "Train"
            raise Mendable(
                f"{self.method.name} needs the reservoir of the restored version, which {why}.",
                f"{first} once by another method, as in `gitdata train {name} --method rehearse`: its version will have"
                " one.",
            )
        return found

    @cached_property
    def codes(self) -> Preprocessing:
        """How fields are coded: as in the restored version, else fitted to the whole chain."""
        if self.restored is not None and self.method.name not in ANEW:
            return self.restored.preprocessing
        return borrowing.coded(statistics.fit(self.declaration, self.whole), self.lenders)

    @cached_property
    def plan(self) -> Plan:
        """The network for these codes. Raises Mendable where it does not take them."""
        if self.restored is not None and self.method.name not in ANEW:
            return self.restored.plan
        try:
            return self.codes.plan(self.declaration.network.with_parts(borrowing.plans_of(self.lenders)))
        except Misfit as misfit:
            raise Mendable(f"models/{self.declaration.name}.toml: {misfit}.", misfit.remedy) from misfit

    # --- rows ------------------------------------------------------------------------------------------------

    @cached_property
    def unseen(self) -> Columns:
        return self.data.unseen()

    @cached_property
    def whole(self) -> Columns:
        """The rows of the whole chain. Raises Mendable where there is none."""
        rows = self.data.whole()
        if not rows_of(rows):
            raise Mendable(
                "There are no rows to train on.",
                "Extend the dataset with train rows; where there are no validation rows, some of them are held out.",
            )
        return rows

    def encoded(self, rows: Columns, weighing: NDArray[np.float32] | None) -> Rows:
        """Rows as the network takes them."""
        return Streamed(rows, self.codes, weighing) if isinstance(rows, Blocks) else self.held(rows, weighing)

    def held(self, rows: Columns, weighing: NDArray[np.float32] | None) -> Held:
        """The same in memory."""
        widths = self.codes.input_width, self.codes.output_width
        inputs, targets = (np.empty((rows_of(rows), width), np.float32) for width in widths)
        place = 0
        for block in blocks_of(rows):
            end = place + rows_of(block)
            encode(self.codes, block, inputs[place:end], targets[place:end])
            place = end
        return Held(inputs, targets if weighing is None else targets * weighing[None, :])

    def weighing(self, *parts: tuple[Columns, float]) -> NDArray[np.float32] | None:
        """What targets are multiplied by: class weights, by the rows of some parts, each standing for so many."""
        if not any(isinstance(field, Categorical) for field in self.codes.outputs):
            return None
        sums = [
            stands_for * self.codes.encode_outputs(block).sum(axis=0, dtype=np.float64)
            for rows, stands_for in parts
            for block in blocks_of(rows)
            if rows_of(block)
        ]
        total = np.asarray(np.sum(sums, axis=0)) if sums else np.zeros(self.codes.output_width)
        return losses.class_weights(self.declaration.training, self.codes.outputs, total)
