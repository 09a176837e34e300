"""The gate's statistics: honest at the margin, sensible at the edges, one yardstick for every version."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gitdata.training import gate, student
from gitdata.training.declaration import Declaration, parse
from gitdata.training.methods import TrainingData, climb
from gitdata.training.metrics import measure
from gitdata.training.package import Package, predict

Columns = dict[str, np.ndarray]


Pair = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def paired(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are hard for one side are hard for the other."""
    shared = generator.gamma(2.0, 1.0, rows)
    return shared * generator.gamma(20.0, 1 / 20, rows), shared * generator.gamma(20.0, 1 / 20, rows)


def heavy_tailed(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """|t3|, unrelated."""
    candidate, baseline = np.abs(generator.standard_t(3, (2, rows)))
    return candidate, baseline


def lognormal(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    shared = np.exp(generator.normal(size=rows))
    return shared * np.exp(0.3 * generator.normal(size=rows)), shared * np.exp(0.3 * generator.normal(size=rows))


def skewed(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The candidate fails badly on one row in five: differences lean to the right."""
    shared = generator.gamma(2.0, 1.0, rows)
    fails = generator.random(rows) < 0.2
    return shared * np.where(fails, 3.0, 1.0) / 1.4, shared * generator.gamma(20.0, 1 / 20, rows)


def accepted_share(rows: int, ratio: float, trials: int = 300, pair: Pair = paired, tolerance: float = 0.02) -> float:
    """How often a candidate whose true loss is `ratio` × the baseline's is accepted."""
    generator = np.random.default_rng(rows)
    accepted = 0
    for trial in range(trials):
        candidate, baseline = pair(generator, rows)
        found = gate.compare(ratio * candidate, baseline, tolerance, seed=trial, resamples=200)
        accepted += found.verdict == "accepted"
    return accepted / trials


@pytest.mark.parametrize("pair", [paired, heavy_tailed, lognormal, skewed])
@pytest.mark.parametrize("rows", [50, 200, 1000])
def test_exactly_at_the_margin_few_are_accepted(rows: int, pair: Pair) -> None:
    """The level is 5 %, up to what that many trials say. With `undecided = "hold"` no other candidate passes."""
    trials = 60 if rows == 1000 else 300
    assert accepted_share(rows, 1.02, trials, pair) <= stats.binom.ppf(0.999, trials, 0.05) / trials


def test_equally_good_is_not_superior() -> None:
    generator = np.random.default_rng(5)
    found = [gate.compare(*paired(generator, 200), 0.0, superiority=True, resamples=300) for _ in range(200)]
    assert np.mean([one.verdict == "accepted" for one in found]) <= 0.11
    losses = generator.gamma(2.0, 1.0, 50)
    assert gate.compare(losses, losses, 0.0, superiority=True).verdict == "refused"
    assert gate.compare(0.8 * losses, losses, 0.0, superiority=True).verdict == "accepted"
    assert gate.compare(np.ones(1), np.ones(1), 0.0, superiority=True).verdict == "undecided"


def test_many_parts_refuse_no_more_often_than_one_would() -> None:
    """Six parts exactly at the margin, and one among them that is clearly worse (Holm 1979)."""
    generator, wrongly = np.random.default_rng(6), 0
    for trial in range(30):
        parts = []
        for _ in range(6):
            candidate, baseline = paired(generator, 60)
            parts.append(gate.Part(1.05 * candidate, baseline, 0.05))
        wrongly += any(found.verdict == "refused" for found in gate.compare_parts(parts, seed=trial))
    assert wrongly <= stats.binom.ppf(0.999, 30, 0.05)
    worse = gate.Part(2.0 * baseline, baseline, 0.05)
    found = gate.compare_parts([*parts, worse, gate.Part(np.ones(1), np.ones(1), 0.05)])
    assert [one.verdict == "refused" for one in found] == [False] * 6 + [True, False]
    assert found[6].confidence == pytest.approx(1 - 0.05 / 8)
    assert gate.compare_parts([]) == []


def test_a_clearly_better_candidate_is_accepted_and_a_clearly_worse_one_refused() -> None:
    assert accepted_share(500, 0.9, trials=60) == 1.0
    generator = np.random.default_rng(0)
    baseline = generator.gamma(2.0, 1.0, 500)
    assert gate.compare(1.2 * baseline, baseline, 0.02).verdict == "refused"


positive = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


@given(positive, positive, st.floats(0, 1))
def test_a_comparison_never_fails_and_its_bounds_enclose_the_ratio(
    one: list[float], other: list[float], tolerance: float
) -> None:
    size = min(len(one), len(other))
    found = gate.compare(np.array(one[:size]), np.array(other[:size]), tolerance, resamples=50)
    assert found.rows == size
    assert found.lower <= found.upper or size == 1
    assert found.verdict in ("accepted", "refused", "undecided")


@given(positive)
def test_equal_losses_are_accepted_unless_there_is_one_row(losses: list[float]) -> None:
    values = np.array(losses)
    found = gate.compare(values, values, 0.02, resamples=50)
    assert found.ratio == pytest.approx(1.0)
    if len(values) > 1 and np.ptp(values) == 0:
        assert found.verdict == "accepted"


def test_few_rows_leave_it_undecided_and_say_what_could_have_been_seen() -> None:
    generator = np.random.default_rng(1)
    baseline = generator.gamma(2.0, 1.0, 40)
    candidate = baseline * generator.gamma(20.0, 1 / 20, 40)
    found = gate.compare(candidate, baseline, 0.02)
    assert found.verdict == "undecided"
    assert 0.05 < found.detectable < 0.5
    assert gate.compare(np.ones(1), np.ones(1), 0.02).verdict == "undecided"


@pytest.mark.parametrize("rows", [10, 40])
def test_heavy_tails_and_few_rows_do_not_make_it_liberal(rows: int) -> None:
    """400 trials at a level of 5 % give at most 8.5 % (99.9 %)."""
    assert accepted_share(rows, 1.02, trials=400, pair=heavy_tailed) <= 0.085


def test_the_interval_of_the_ratio_does_not_depend_on_the_tolerance() -> None:
    generator = np.random.default_rng(3)
    candidate, baseline = 30 * generator.gamma(2.0, 1.0, 60), generator.gamma(2.0, 1.0, 60)
    found = [gate.compare(candidate, baseline, tolerance) for tolerance in (0.02, 100.0)]
    assert (found[0].lower, found[0].upper) == (found[1].lower, found[1].upper)
    assert 0 < found[0].lower < found[0].ratio < found[0].upper


def test_rmse_is_judged_in_its_own_unit(declare: Callable[..., Declaration]) -> None:
    declaration = declare(**{'metric = "mae"': 'metric = "rmse"'})
    baseline = np.random.default_rng(4).gamma(5.0, 1.0, 400)
    found = gate.judge(1.015**2 * baseline, baseline, declaration)
    assert (found.verdict, round(found.ratio, 6)) == ("accepted", 1.015)
    assert gate.judge(1.03**2 * baseline, baseline, declaration).verdict == "refused"


def trained(declaration: Declaration, rows: Columns) -> Package:
    count = len(rows["t1"])
    return climb(declaration, TrainingData(lambda: rows, lambda: rows, dict, count, count), None, None).package


def test_losses_do_not_depend_on_a_versions_own_statistics(
    lattice: Columns, declare: Callable[..., Declaration]
) -> None:
    """Per-row losses by hand: |log10 prediction − log10 truth| ÷ the spread of the rows that are judged."""
    declaration = declare(**{"epochs = 200": "epochs = 3"})
    rows = {name: column[1500:] for name, column in lattice.items()}
    for last in (200, 800):
        package = trained(declaration, {name: column[:last] for name, column in lattice.items()})
        predicted = predict(package, rows)
        expected = np.mean(
            [np.abs(np.log10(predicted[n]) - np.log10(rows[n])) / np.log10(rows[n]).std() for n in ("W_max", "P_peak")],
            axis=0,
        )
        np.testing.assert_allclose(gate.row_losses(package, rows, declaration), expected, rtol=1e-4)
        found = measure(package, rows, declaration)
        assert found["overall"]["mae"] == pytest.approx(expected.mean(), rel=1e-4)
        error = predicted["P_peak"] - rows["P_peak"]
        assert found["outputs"]["P_peak"]["mae"] == pytest.approx(np.abs(error).mean())
        assert found["outputs"]["P_peak"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
        assert found["outputs"]["P_peak"]["r2"] == pytest.approx(1 - (error**2).mean() / rows["P_peak"].var())


def test_a_version_of_another_transform_is_judged_by_the_declared_one(
    lattice: Columns, declare: Callable[..., Declaration]
) -> None:
    short = {"epochs = 200": "epochs = 3"}
    rows = {name: column[1500:] for name, column in lattice.items()}
    plain = trained(declare(**short, **{'transform = { outputs = "log10" }': ""}), rows)
    losses = gate.row_losses(plain, rows, declare(**short))
    assert np.isfinite(losses).all()
    assert gate.comparable(plain, declare(**short), rows)
    assert not gate.comparable(plain, declare(**{'"P_peak"]\n': '"P_peak", "J_end"]\n'}), rows)


def test_classes_are_judged_by_their_probability(lattice: Columns) -> None:
    text = """
[data]
dataset = "lattice"
inputs = ["t1", "t2", "lambda_end", "J_end"]
outputs = ["dir"]
[network]
layers = [{ dense = 16 }, "relu", { dense = "outputs" }]
[training]
epochs = 10
loss = "cross_entropy"
metrics = ["accuracy"]
"""
    declaration = parse(text, "m")
    package = trained(declaration, lattice)
    losses = gate.row_losses(package, lattice, declaration)
    assert 0 <= losses.mean() < np.log(2)
    found = measure(package, lattice, declaration)["overall"]
    assert found["cross_entropy"] == pytest.approx(losses.mean())
    assert found["accuracy"] == pytest.approx((predict(package, lattice)["dir"] == lattice["dir"]).mean())
    assert found["accuracy"] > 0.9


@given(st.integers(1, 5000), st.floats(1e-5, 1 - 1e-5))
def test_quantiles_are_scipys(freedom: int, share: float) -> None:
    assert student.quantile(freedom, share) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-9, abs=1e-12)
