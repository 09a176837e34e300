"""Runs that are computed as one come to what each would have come to alone, and none disturbs another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest

from gitdata.training import loop
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.declaration import Optimizer, Schedule
from gitdata.training.pull import Pull
from gitdata.training.shuffle import Held
from gitdata.training.together import kind_of, train_together

ADAM = Optimizer(learning_rate=0.01)
SEEDS = (0, 1, 7)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3)).astype(np.float32)
Y = (X @ RNG.normal(size=(3, 2))).astype(np.float32)


@dataclass(frozen=True)
class Beginning:
    run: loop.Run
    state: loop.State
    rows: Held


def plan_of(*layers: object) -> Plan:
    layers = ({"dense": 8}, *layers, "tanh", {"dense": "outputs"})
    return Plan((Input("x", (3,)),), (Output("y", 2),), notation.read(list(layers), {}))


def made(*layers: object, averages: bool = False, pull: bool = False, rows: int = 70) -> list[Beginning]:
    """150 steps, more than one chunk, of each seed; the rows of each in another order."""
    plan, found = plan_of(*layers), []
    for seed in SEEDS:
        state = loop.start(plan, ADAM, seed)
        run = loop.Run(
            plan, "mae", ADAM, Schedule(name="cosine"), 8, 150, seed,
            averages=((0.5, 1.0),) if averages else (),
            pull=Pull(np.asarray(state.weights), np.float32(0.1)) if pull else None,
        )  # fmt: skip
        order = np.random.default_rng(seed).permutation(70)[:rows]
        found.append(Beginning(run, state, Held(X[order], Y[order])))
    return found


@pytest.mark.parametrize(
    "beginnings",
    [made(), made({"dropout": 0.3}), made("batch_norm"), made(averages=True), made(pull=True)],
    ids=["plain", "dropout", "statistics", "averages", "pull"],
)
def test_each_comes_to_what_it_would_have_come_to_alone(beginnings: list[Beginning]) -> None:
    together = train_together(beginnings)
    for own, found in zip(beginnings, together, strict=True):
        assert isinstance(found, loop.State)
        alone = loop.train_rows(own.run, own.state, own.rows)
        assert found.position == alone.position == 150
        for one, other in zip(
            jax.tree.leaves((found.weights, found.optimizer, found.means)),
            jax.tree.leaves((alone.weights, alone.optimizer, alone.means)),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
    first, second = (np.asarray(found.weights) for found in together[:2] if isinstance(found, loop.State))
    assert (first != second).any(), "seeds differ"


def test_a_run_that_diverges_is_told_with_its_step_and_stops_no_other() -> None:
    beginnings = made()
    spoilt = beginnings[1].rows.targets.copy()
    spoilt[5] = np.inf
    beginnings[1] = replace(beginnings[1], rows=Held(beginnings[1].rows.inputs, spoilt))
    found = train_together(beginnings)
    with pytest.raises(loop.Diverged) as alone:
        loop.train_rows(beginnings[1].run, beginnings[1].state, beginnings[1].rows)
    assert isinstance(found[1], loop.Diverged)
    assert (found[1].step, found[1].numbers) == (alone.value.step, alone.value.numbers)
    assert all(isinstance(own, loop.State) and np.isfinite(own.weights).all() for own in (found[0], found[2]))


def test_what_differs_in_more_than_its_seed_is_of_another_kind() -> None:
    own = made()
    assert len({kind_of(each) for each in own}) == 1
    kinds = {kind_of(each) for each in (made()[0], made("batch_norm")[0], made(pull=True)[0], made(rows=60)[0])}
    assert len(kinds) == 4
    longer = replace(own[0], run=replace(own[0].run, steps=151))
    assert kind_of(longer) != kind_of(own[0])
    moved = replace(own[0], state=replace(own[0].state, position=3))
    assert kind_of(moved) != kind_of(own[0])


def test_convolutions_are_computed_alone() -> None:
    """XLA is slow with them within a loop, and `loop` takes such steps one by one."""
    layers = [{"conv": 2, "kernel": 2}, "flatten", {"dense": "outputs"}]
    plan = Plan((Input("x", (4, 4)),), (Output("y", 2),), notation.read(layers, {}))
    run = replace(made()[0].run, plan=plan)
    assert kind_of(Beginning(run, loop.start(plan, ADAM, 0), Held(np.zeros((3, 16), np.float32), Y[:3]))) is None
