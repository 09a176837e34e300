"""How far a training that was repeated is from what was recorded: bytes, weights, answers, losses, and the bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gitdata.training.methods import TrainingData, climb
from gitdata.training.package import Package, encode
from gitdata.training.sameness import BOUND, Sameness, compared, different_parts, differing, largest

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def rows(lattice: Columns) -> Columns:
    return {name: column[:64] for name, column in lattice.items()}


@pytest.fixture(scope="module")
def package(rows: Columns) -> Package:
    from gitdata.automation.demo import DECLARATION
    from gitdata.training.declaration import parse

    declaration = parse(DECLARATION.replace("epochs = 200", "epochs = 1"), "lattice")
    data = TrainingData(lambda: rows, lambda: rows, lambda: {}, 64, 64)
    return climb(declaration, data, None, None).package


def moved(package: Package, by: float) -> Package:
    """The same with one weight moved, the last bias: every answer moves by as much."""
    weights = dict(package.weights)
    name = next(name for name in reversed(weights) if weights[name].shape == (2,))
    weights[name] = weights[name] + np.array([by, 0], np.float32)
    return replace(package, weights=weights)


def test_equal_packages_are_equal_bytes(package: Package, rows: Columns) -> None:
    found = compared(package, replace(package), rows, (0.5, 0.5))
    assert found == Sameness((), 0.0, 0.0, (0.5, 0.5), True, False)
    assert (found.outcome, found.loss_difference) == ("equal", 0.0)


def test_what_other_programs_made_is_equal_if_all_else_is(package: Package) -> None:
    other = replace(package, manifest={**package.manifest, "made_by": {"jax": "0.0"}})
    assert compared(package, other, None, None).outcome == "equal"
    reseeded = replace(other, manifest={**other.manifest, "seed": 7})
    assert compared(package, reseeded, None, None).outcome == "close"
    assert not compared(package, reseeded, None, None).only_programs


@pytest.mark.parametrize(("by", "outcome"), [(BOUND / 2, "close"), (BOUND * 2, "different"), (np.nan, "different")])
def test_answers_decide_within_the_bound(package: Package, rows: Columns, by: float, outcome: str) -> None:
    found = compared(package, moved(package, by), rows, (1.0, 1.0))
    assert found.parts == ("weights.safetensors",)
    assert found.outcome == outcome
    if np.isfinite(by):
        assert found.weights == pytest.approx(by, rel=1e-3)
        assert found.answers == pytest.approx(by, rel=1e-2)


@pytest.mark.parametrize(
    ("losses", "outcome"),
    [
        ((1.0, 1 + BOUND / 2), "close"),
        ((1.0, 1 - 2 * BOUND), "different"),
        ((0.0, 0.0), "close"),
        ((0.0, 1.0), "different"),
    ],
)
def test_losses_decide_too(package: Package, rows: Columns, losses: tuple[float, float], outcome: str) -> None:
    assert compared(package, moved(package, BOUND / 4), rows, losses).outcome == outcome


def test_other_rows_and_other_networks_are_never_close(package: Package, rows: Columns) -> None:
    other = replace(moved(package, 1e-6), trained_rows=np.array([1], np.uint64))
    assert compared(package, other, rows, None).outcome == "different"
    first = next(iter(package.weights))
    wide = replace(package, weights={**package.weights, first: np.zeros((1, 1), np.float32)})
    found = compared(package, wide, rows, None)
    assert (found.weights, found.answers, found.outcome) == (None, None, "different")


def test_parts_that_one_side_alone_has_are_different(package: Package) -> None:
    files = encode(package)
    assert different_parts(files, {**files, "more.json": b"{}"}) == ("more.json",)
    assert different_parts(
        files, {name: content for name, content in files.items() if name != "weights.safetensors"}
    ) == ("weights.safetensors",)


def test_the_largest_difference() -> None:
    one: dict[str, Any] = {"a": np.array([1.0, 2.0]), "b": np.empty(0)}
    assert largest(one, {"a": np.array([1.0, -2.0]), "b": np.empty(0)}) == 4
    assert largest(one, {"a": np.array([1.0, np.nan]), "b": np.empty(0)}) == np.inf
    assert largest({}, {}) == 0


def test_what_differs_of_an_environment() -> None:
    then = {"jax": "0.9", "numpy": "2.1", "processors": 2}
    assert differing(then, {"jax": "0.10", "numpy": "2.1", "flax": "1"}) == {
        "flax": (None, "1"),
        "jax": ("0.9", "0.10"),
        "processors": ("2", None),
    }
