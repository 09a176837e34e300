"""Chains of real data that methods of retraining are measured on: stages of train, validation and test rows.

A tenth of the groups of every stage is for testing, a tenth of the rest is held out; groups (rows of one run, or of one
input) are never split. What is drawn is drawn anew for every seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import datasets
from datasets import Dataset

from gitdata.data import rows as row_digests
from gitdata.training.blocks import joined, rows_of
from gitdata.training.declaration import Declaration, parse
from gitdata.training.study import Stage

PAPER = '[{ dense = 96 }, "relu", { dense = 64 }, "relu", { dense = 64 }, "relu", { dense = "outputs" }]'
REGRESSION = ("lattice", "crashbox", "concrete", "energy", "airfoil")
SHARES = (0.4, 0.1, 0.05)

Rows = np.ndarray


@dataclass(frozen=True, slots=True)
class Scenario:
    """`growth`: how the data grow; `share`: of an extension that is the only one."""

    data: str
    growth: str
    epochs: int
    share: float | None = None

    @property
    def name(self) -> str:
        return f"{self.data}, {self.growth}" if self.share is None else f"{self.data}, {self.share:.0%} {self.growth}"

    @property
    def is_classification(self) -> bool:
        return self.data in ("gas_drift", "mnist10k")

    def rows_of(self, own: Dataset, seed: int) -> list[Rows]:
        """The rows that come with each stage."""
        if self.share is not None:
            return _at_the_end(own, _same(own, seed) if self.growth == "same" else _first_input(own), self.share)
        if own.batches is not None:
            return [np.flatnonzero(own.batches == batch) for batch in np.unique(own.batches)]
        return _ten(_time_of_bike(own) if self.data == "bike" else _same(own, seed))


def scenarios() -> Iterator[Scenario]:
    for data in REGRESSION:
        for share in SHARES:
            yield Scenario(data, "same", 200, share)
            yield Scenario(data, "new", 200, share)
    yield Scenario("gas_drift", "batches in order", 100)
    yield Scenario("mnist10k", "two classes at a time", 20)
    yield Scenario("concrete", "ten of 5 %", 200)
    yield Scenario("bike", "ten of 5 % in time order", 50)


def _same(own: Dataset, seed: int) -> Rows:
    """A rank for every row: those that were recorded grow as they did, run by run, the others at random."""
    _, first, inverse = np.unique(own.groups, return_index=True, return_inverse=True)
    if own.recorded:
        return first[inverse]
    return np.random.default_rng([seed, 1]).permutation(len(first))[inverse]


def _first_input(own: Dataset) -> Rows:
    return np.unique(own.columns[own.inputs[0]], return_inverse=True)[1].ravel()


def _time_of_bike(own: Dataset) -> Rows:
    """Year, month, day and hour, of which its columns are."""
    keys = [own.columns[name] for name in ("x6", "x2", "x1", "x0")]
    rank = np.empty(own.rows, int)
    rank[np.lexsort(keys)] = np.arange(own.rows)
    return rank


def _at_the_end(own: Dataset, rank: Rows, share: float) -> list[Rows]:
    """Base and extension: the rows with the highest ranks are of the extension; equal ones come in order."""
    order = np.argsort(rank, kind="stable")
    cut = own.rows - round(share * own.rows)
    return [order[:cut], order[cut:]]


def _ten(rank: Rows) -> list[Rows]:
    """Half of the rows, and ten extensions of a twentieth."""
    order = np.argsort(rank, kind="stable")
    cuts = [round(len(order) * (0.5 + 0.05 * place)) for place in range(10)]
    return np.split(order, cuts)


# --- as a study has them -------------------------------------------------------------------------------------


def stages(scenario: Scenario, own: Dataset, seed: int) -> list[Stage]:
    split = _split(own, seed)
    parts = [[own.select(rows[split[rows] == kind]) for kind in range(3)] for rows in scenario.rows_of(own, seed)]
    found = []
    for place, (train, held, _) in enumerate(parts):
        upto = parts[: place + 1]
        origin = np.repeat(np.arange(place + 1), [rows_of(test) for _, _, test in upto])
        found.append(
            Stage(train, held, joined([held for _, held, _ in upto]), joined([test for _, _, test in upto]), origin)
        )
    return found


def _split(own: Dataset, seed: int) -> Rows:
    """0: to train on, 1: held out, 2: to test on."""
    drawn = np.random.default_rng([seed, 0]).random(own.groups.max() + 1)[own.groups]
    return np.where(drawn < 0.1, 2, np.where(drawn < 0.19, 1, 0))


def declaration(scenario: Scenario, own: Dataset, rate: float, schedule: str) -> Declaration:
    """The paper's network."""
    loss, layers = ("cross_entropy" if scenario.is_classification else "mae"), PAPER
    metric = "accuracy" if scenario.is_classification else "mae"
    image = scenario.data == "mnist10k"
    if image:
        layers = f'["flatten", {PAPER[1:]}'
    return parse(
        f"""
        [data]
        dataset = "{scenario.data}"
        inputs = {list(own.inputs)}
        outputs = {list(own.outputs)}
        {'scaling = { image = "image" }' if image else ""}

        [network]
        layers = {layers}

        [training]
        epochs = {scenario.epochs}
        batch_size = 32
        loss = "{loss}"
        optimizer = {{ name = "adam", learning_rate = {rate} }}
        schedule = {{ name = "{schedule}" }}

        [retraining]
        method = "auto"

        [deployment]
        metric = "{metric}"
        """,
        scenario.data,
    )


def digests(own: Dataset) -> Callable[[datasets.Columns], np.ndarray]:
    fields = (*own.inputs, *own.outputs)
    return lambda columns: row_digests.digests(columns, fields)[:, 0]
