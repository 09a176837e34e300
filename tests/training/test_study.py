"""A study of lattice rows: what its travellers come to is what `climb` comes to, and what is said over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import rows as row_digests
from gitdata.errors import GitdataError
from gitdata.training import gate
from gitdata.training.across import Interval, across, ratio
from gitdata.training.blocks import joined
from gitdata.training.declaration import Declaration, Method
from gitdata.training.methods import TrainingData, climb
from gitdata.training.package import Package
from gitdata.training.study import Point, Stage, Traveller, on_its_way, travel

Columns = dict[str, np.ndarray]
Declare = Callable[..., Declaration]

LADDER = '["finetune", "rehearse", "union"]'
FIELDS = ("t1", "t2", "t3", "scenario", "dir", "W_max", "P_peak")
SEEDS = (0, 1)
UNION = (Method(name="union"),)


def digests(columns: Columns) -> np.ndarray:
    return row_digests.digests(columns, FIELDS)[:, 0]


@pytest.fixture(scope="module")
def stages(lattice: Columns) -> list[Stage]:
    """Two stages, of 480 and 160 rows to train on."""

    def part(first: int, last: int) -> Columns:
        return {name: column[first:last] for name, column in lattice.items()}

    tests, held = [part(800, 900), part(900, 940)], [part(1000, 1060), part(1060, 1080)]
    origin = np.repeat([0, 1], [100, 40])
    return [
        Stage(part(0, 480), held[0], held[0], tests[0], origin[:100]),
        Stage(part(480, 640), held[1], joined(held), joined(tests), origin),
    ]


@pytest.fixture
def declaration(declare: Declare) -> Declaration:
    return declare(**{"epochs = 200": "epochs = 20", LADDER: '"auto"'})


def gone(
    declaration: Declaration, stages: list[Stage], name: str, packages: list[Package]
) -> list[tuple[Package, Point]]:
    way = (Method(name=name),)  # type: ignore[arg-type]
    travellers = [
        Traveller(on_its_way(declaration, way, seed), stages, digests, package)
        for seed, package in zip(SEEDS, packages, strict=True)
    ]
    found = travel(travellers, 1)
    assert not any(isinstance(own, GitdataError) for own in found), found
    return found  # type: ignore[return-value]


@pytest.fixture
def bases(declaration: Declaration, stages: list[Stage]) -> list[Package]:
    found = travel([Traveller(on_its_way(declaration, UNION, seed), stages, digests) for seed in SEEDS], 0)
    return [own[0] for own in found if not isinstance(own, GitdataError)]


@pytest.mark.parametrize("name", ["finetune", "distil", "auto", "union"])
def test_travellers_come_to_what_a_climb_comes_to(
    name: str, declaration: Declaration, stages: list[Stage], bases: list[Package]
) -> None:
    for seed, base, (package, point) in zip(SEEDS, bases, gone(declaration, stages, name, bases), strict=True):
        alone = climb(on_its_way(declaration, (Method(name=name),), seed), _data(stages, base, name), base, base)  # type: ignore[arg-type]
        for part in package.weights:
            np.testing.assert_allclose(package.weights[part], alone.package.weights[part], rtol=1e-3, atol=1e-4)
        assert point.steps == sum(rung.steps for rung in alone.rungs)
        assert point.rows_read == sum(rung.rows_read for rung in alone.rungs)
        assert point.union_steps == 20 * 20
        losses = gate.row_losses(package, stages[1].test, declaration)
        assert point.loss == losses.mean()
        assert point.before == losses[:100].mean()
        assert point.losses == (losses[:100].mean(), losses[100:].mean())


def _data(stages: list[Stage], base: Package, name: str) -> TrainingData:
    own, bounded = stages[1], name in ("finetune", "distil")
    return TrainingData(
        unseen=lambda: own.train,
        whole=lambda: joined([stages[0].train, own.train]),
        validation=lambda: own.own_validation if bounded else own.validation,
        unseen_rows=160,
        whole_rows=640,
        digests=digests,
        unseen_validation=lambda: own.own_validation,
        is_bounded=bounded,
    )


def test_keep_costs_nothing_and_stays_what_it_was(
    declaration: Declaration, stages: list[Stage], bases: list[Package]
) -> None:
    for base, (package, point) in zip(bases, gone(declaration, stages, "keep", bases), strict=True):
        assert all((package.weights[part] == base.weights[part]).all() for part in base.weights)
        assert (point.steps, point.rows_read, point.taken) == (0, 0, "keep")


def test_a_bounded_way_reads_no_row_of_an_earlier_stage(
    declaration: Declaration, stages: list[Stage], bases: list[Package]
) -> None:
    class Forbidden(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: str) -> np.ndarray:
            raise AssertionError(f"'{name}' of an earlier stage was read")

    locked = [replace(stages[0], own_validation=Forbidden(stages[0].own_validation)), stages[1]]
    counted = len(stages[0].train["t1"])
    locked[0] = replace(locked[0], train=Forbidden(stages[0].train))
    assert counted == 480
    gone(declaration, locked, "distil", bases)
    with pytest.raises(AssertionError, match="of an earlier stage was read"):
        gone(declaration, locked, "rehearse", bases)


def test_what_keeps_one_seed_keeps_no_other(
    declaration: Declaration, stages: list[Stage], bases: list[Package]
) -> None:
    """A package without a sample has nothing to distil from."""
    travellers = [
        Traveller(on_its_way(declaration, (Method(name="distil"),), seed), stages, digests, package)
        for seed, package in zip(SEEDS, [replace(bases[0], reservoir=None), bases[1]], strict=True)
    ]
    first, second = travel(travellers, 1)
    assert isinstance(first, GitdataError)
    assert "distil needs the reservoir" in first.message
    assert not isinstance(second, GitdataError)


# --- over seeds ----------------------------------------------------------------------------------------------

LOSS = st.floats(0.01, 100)


def points(losses: list[float], *, steps: int = 10, seconds: float = 1.0) -> list[Point]:
    return [
        Point("rehearse", loss, loss, (loss,) * (place + 1), steps, 100, 1000, seconds)
        for place, loss in enumerate(losses)
    ]


def by_seed(paths: list[list[float]]) -> dict[int, list[Point]]:
    return {seed: points(path) for seed, path in enumerate(paths)}


@given(st.lists(st.lists(LOSS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_union_beside_itself_is_one_whatever_it_is(paths: list[list[float]]) -> None:
    found = across(by_seed(paths), by_seed(paths))
    for place, stage in enumerate(found.stages):
        assert stage.gap is not None
        assert stage.gap.mean == pytest.approx(1)
        assert stage.gap.high == (None if len(paths) == 1 else pytest.approx(1)), "seeds are pairs"
        assert stage.loss is not None
        assert stage.loss.mean == pytest.approx(np.mean([path[place] for path in paths]))
    assert (found.steps_ratio, found.time_ratio, found.gap_in) == (pytest.approx(0.1), pytest.approx(1), "ratio")


@given(st.lists(st.tuples(LOSS, LOSS), min_size=2, max_size=8), st.floats(0.1, 10))
def test_a_ratio_is_of_pairs_and_its_interval_is_never_below_zero(
    pairs: list[tuple[float, float]], factor: float
) -> None:
    own, union = zip(*pairs, strict=True)
    found, scaled = ratio(own, union), ratio([factor * loss for loss in own], union)
    assert found is not None
    assert scaled is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.mean * (1 + 1e-9)
    assert found.mean <= found.high * (1 + 1e-9)
    assert scaled.mean == pytest.approx(factor * found.mean)
    assert found.mean == pytest.approx(math.exp(np.mean(np.log(np.array(own) / np.array(union)))))


def test_points_are_of_accuracy() -> None:
    paths = {0: points([0.5, 0.1]), 1: points([0.5, 0.2])}
    unions = {0: points([0.5, 0.2]), 1: points([0.5, 0.3]), 2: points([0.5, 0.9])}
    found = across(paths, unions, by_points=True)
    assert found.gap_in == "points"
    gap = found.stages[1].gap
    assert gap is not None
    assert (gap.mean, gap.low) == (pytest.approx(10), pytest.approx(10)), "of the seeds that both have"


def test_of_no_path_nothing_is_said() -> None:
    assert across({}, {0: points([0.5])}) == across({}, {})
    assert across({}, {}).stages == ()
    (alone,) = across({0: points([0.5])}, {}).stages
    assert (alone.gap, alone.loss) == (None, Interval(0.5))


@given(st.lists(LOSS, min_size=2, max_size=30), st.floats(0.1, 10))
def test_an_interval_moves_with_its_values(values: list[float], factor: float) -> None:
    own, scaled = Interval.of(values), Interval.of([factor * value for value in values])
    assert own is not None
    assert scaled is not None
    assert own.low is not None
    assert own.high is not None
    assert own.low <= own.mean <= own.high
    assert scaled.high == pytest.approx(factor * own.high)
    assert Interval.of(values[:1]) == Interval(values[0]), "of one value nothing more is known"
    assert Interval.of([None, *values]) == own


def test_an_interval_of_95_percent_holds_the_truth_in_95_percent() -> None:
    generator = np.random.default_rng(0)
    found = [Interval.of(generator.normal(3, 1, 5).tolist()) for _ in range(2000)]
    held = np.mean([own.low <= 3 <= own.high for own in found if own and own.low is not None and own.high is not None])
    assert abs(held - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_forgetting_is_what_was_lost_of_what_was_best() -> None:
    path = [
        Point("union", 0.5, None, (0.5,), 10, 10, 1, 1.0),
        Point("finetune", 0.6, 0.8, (0.8, 0.4), 10, 10, 1, 1.0),
    ]
    assert across({0: path}, {}).forgetting == pytest.approx(0.8 - 0.5)
