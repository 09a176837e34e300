"""Early stopping and plateaus: the pure machine, and what a run makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.training import feed, loop
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.declaration import Declaration
from gitdata.training.methods import TrainingData, climb
from gitdata.training.settings import EarlyStopping, Optimizer, Schedule
from gitdata.training.shuffle import Held
from gitdata.training.stopping import Watched, after_epoch, is_watched

Columns = dict[str, np.ndarray]
CONSTANT = Schedule()
LAYERS = notation.read([{"dense": 5}, "tanh", {"dense": "outputs"}], {})
PLAN = Plan((Input("x", (3,)),), (Output("y", 2),), LAYERS)
X = np.random.default_rng(7).normal(size=(40, 3)).astype(np.float32)
Y = X[:, :2] ** 2


def watch(found: list[float], early: EarlyStopping | None = None, schedule: Schedule = CONSTANT) -> list[Watched]:
    result = [Watched()]
    for loss in found:
        result.append(after_epoch(result[-1], loss, early, schedule))
    return result[1:]


def test_a_run_stops_when_its_patience_is_at_an_end() -> None:
    found = watch([5, 4, 3.95, 3.99, 3.97, 3.9], EarlyStopping(patience=3, min_delta=0.2))
    assert [w.stopped for w in found] == [False, False, False, False, True, True]
    assert [w.best_epoch for w in found] == [1, 2, 3, 3, 3, 6]  # the best counts whatever it is better by
    assert found[4].best_loss == 3.95


def test_a_plateau_lowers_the_rate_again_and_again_down_to_its_floor() -> None:
    schedule = Schedule(name="plateau", factor=0.1, patience=2, final=0.005)
    found = watch([3, 3, 3, 2, 2, 2, 2, 2, 2, 2], schedule=schedule)
    factors = [w.factor for w in found]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.005, 0.005, 0.005], rtol=1e-9)
    assert not any(w.stopped for w in found)


@given(
    st.lists(st.one_of(st.floats(0, 10), st.just(math.nan)), min_size=1, max_size=40),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(1, 5),
)
def test_what_is_watched_is_what_a_reader_of_all_losses_says(
    found: list[float], patience: int, min_delta: float, slow: int
) -> None:
    schedule = Schedule(name="plateau", patience=slow)
    watched = watch(found, EarlyStopping(patience=patience, min_delta=min_delta), schedule)
    reference, last = math.inf, 0
    for epoch, (loss, state) in enumerate(zip(found, watched, strict=True), 1):
        if loss < reference - min_delta:
            reference, last = loss, epoch
        assert state.stopped == (epoch - last >= patience)
        known = [loss for loss in found[:epoch] if not math.isnan(loss)]
        assert state.best_loss == min(known, default=math.inf)
        assert state.best_epoch == (found.index(min(known)) + 1 if known else 0)
        assert schedule.final <= state.factor <= 1


def test_only_what_depends_on_losses_is_watched() -> None:
    assert not is_watched(None, CONSTANT)
    assert is_watched(EarlyStopping(), CONSTANT)
    assert is_watched(None, Schedule(name="plateau"))


# --- the loop ------------------------------------------------------------------------------------------------


def run(declared: Optimizer, steps: int, epoch: int, batch_size: int = 40) -> loop.Run:
    return loop.Run(PLAN, "mse", declared, Schedule(), batch_size, steps, 0, epoch)


@pytest.mark.parametrize(("steps", "epoch"), [(40, 5), (300, 150), (7, 7), (9, 20), (640, 128)])
def test_an_epoch_ends_where_a_chunk_does(steps: int, epoch: int) -> None:
    chunks = feed.chunks(Held(X, Y), feed.Order(8, 0, 0), 0, steps, cut=epoch)
    cuts = [(chunk.first, chunk.count) for chunk in chunks]
    assert sum(count for _, count in cuts) == steps
    assert all(0 < count <= feed.STEPS for _, count in cuts)
    ends = {first + count for first, count in cuts}
    assert ends >= set(range(epoch, steps + 1, epoch)) | {steps}


def test_looking_at_epochs_changes_no_step() -> None:
    adam = Optimizer(learning_rate=0.01)
    seen: list[int] = []

    def look(state: loop.State) -> float:
        seen.append(state.position)
        return 1.0

    settings = run(adam, 50, 5, batch_size=8)
    watched = loop.train(settings, loop.start(PLAN, adam, 0), X, Y, on_epoch=look)
    alone = loop.train(settings, loop.start(PLAN, adam, 0), X, Y)
    assert seen == list(range(5, 51, 5))
    assert (np.asarray(watched.weights) == np.asarray(alone.weights)).all()


def test_a_factor_multiplies_the_rates_of_the_next_epoch_and_zero_ends_the_run() -> None:
    sgd = Optimizer(name="sgd", learning_rate=0.1)
    states: list[np.ndarray] = []

    def look(state: loop.State) -> float:
        states.append(np.array(state.weights))
        return (0.5, 0.25, 0.0)[len(states) - 1]

    settings = run(sgd, 10, 1)
    last = loop.train(settings, loop.start(PLAN, sgd, 0), X, Y, on_epoch=look)
    assert last.position == 3
    for before, after, factor in ((states[0], states[1], 0.5), (states[1], states[2], 0.25)):
        whole = loop.train(run(sgd, 1, 1), loop.State(before, loop.start(PLAN, sgd, 0).optimizer, 0), X, Y)
        np.testing.assert_allclose(after - before, factor * (np.asarray(whole.weights) - before), atol=1e-6)


# --- methods ---------------------------------------------------------------------------------------------------


def part(columns: Columns, first: int, last: int) -> Columns:
    return {name: column[first:last] for name, column in columns.items()}


def data(lattice: Columns, rows: int) -> TrainingData:
    train = part(lattice, 0, rows)
    return TrainingData(lambda: train, lambda: train, lambda: part(lattice, 1400, 1712), rows, rows)


def test_a_run_stops_early_and_its_best_epoch_is_kept(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    words = {"epochs = 200": "epochs = 60\nearly_stopping = { patience = 4 }", "3e-3": "3e-2", '"cosine"': '"constant"'}
    found = climb(declare(**words), data(lattice, 320), None, None)
    said = found.package.manifest["watched"]
    assert said["stopped"]
    assert said["best_epoch"] + 4 <= said["epochs"] < 60
    assert found.rung.steps == found.package.manifest["steps"] == 10 * said["epochs"]
    assert found.package.position == 10 * said["best_epoch"]
    assert found.package.state["count"] == found.package.position
    again = climb(
        declare(**words | {"epochs = 200": f"epochs = {said['best_epoch']}\nearly_stopping = {{ patience = 4 }}"}),
        data(lattice, 320), None, None,
    )  # fmt: skip
    for name, weights in found.package.weights.items():
        np.testing.assert_array_equal(weights, again.package.weights[name])


@pytest.mark.parametrize("patience", [1, 60])
def test_averages_of_a_watched_run_are_of_its_last_stretch_or_there_are_none(
    patience: int, lattice: Columns, declare: Callable[..., Declaration]
) -> None:
    """Whether its best epoch was the last one or not; a run that was stopped has no last stretch."""
    ladder = '["finetune", "rehearse", "union"]'
    averaged = {ladder: '{ name = "union", average = 0.5 }', "3e-3": "3e-2", '"cosine"': '"constant"'}
    watched = {"epochs = 200": f"epochs = 12\nearly_stopping = {{ patience = {patience} }}"}
    found = climb(declare(**averaged, **watched), data(lattice, 320), None, None)
    plain = climb(declare(**averaged, **{"epochs = 200": "epochs = 12"}), data(lattice, 320), None, None)
    said = found.package.manifest["watched"]
    assert said["stopped"] == (patience == 1)
    equal = [(own == plain.package.weights[name]).all() for name, own in found.package.weights.items()]
    assert all(equal) == (not said["stopped"])


def test_without_validation_rows_nothing_stops(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    words = {"epochs = 200": "epochs = 3\nearly_stopping = { patience = 1 }"}
    found = climb(declare(**words), replace(data(lattice, 64), validation=dict), None, None)
    assert found.rung.steps == 6
    assert "watched" not in found.package.manifest


def test_a_plateau_lowers_the_rates_of_a_run(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    words = {
        "epochs = 200": "epochs = 30",
        '{ name = "cosine" }': '{ name = "plateau", patience = 1, factor = 0.1, min_delta = 0.02 }',
    }
    found = climb(declare(**words), data(lattice, 96), None, None)
    assert found.package.manifest["watched"]["factor"] < 1
    assert not found.package.manifest["watched"]["stopped"]
    assert found.package.position == 90


def test_manual_retraining_may_stop_otherwise(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    short = {"epochs = 200": "epochs = 5"}
    base = climb(declare(**short), data(lattice, 320), None, None).package
    manual = {'type = "automatic"': 'type = "manual"\nepochs = 50\nearly_stopping = { patience = 1 }'}
    found = climb(declare(**short, **manual), data(lattice, 320), base, base, ["finetune"])
    assert found.package.manifest["watched"]["stopped"]
    assert found.rung.steps < 500
