"""Losses: every one against its formula in NumPy, gradients against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
import pytest

from gitdata.errors import Mendable
from gitdata.training import losses
from gitdata.training.architecture.plan import Output
from gitdata.training.losses import Term, class_weights, mean_loss, row_loss, terms
from gitdata.training.preprocessing import Binary, Categorical, FieldCode, Numeric
from gitdata.training.settings import Loss, Training

RNG = np.random.default_rng(3)
ROWS, WIDTH = 24, 3
OUT = RNG.normal(size=(ROWS, WIDTH)) * 2
NUMBERS = RNG.normal(size=(ROWS, WIDTH))
CLASSES = np.eye(WIDTH)[RNG.integers(0, WIDTH, ROWS)] * RNG.choice([0.0, 0.5, 3.0], (ROWS, 1))
TRUTHS = RNG.integers(0, 2, (ROWS, WIDTH)).astype(float)

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def smoothed_classes(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Class by class: 0.9 of a row's weight on its class, 0.1 spread over all three."""
    found = np.zeros(len(p))
    for row, (q, t) in enumerate(zip(softmax(p), y, strict=True)):
        weight = t.sum()
        onehot = t / weight if weight else t
        found[row] = -(weight * (0.9 * onehot + 0.1 / WIDTH) * np.log(q)).sum()
    return found


def binary(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    y = 0.8 * y + 0.1
    return -(3.0 * y * np.log(sigmoid(p)) + (1 - y) * np.log(1 - sigmoid(p))).mean(axis=1)


CASES: list[tuple[Term, np.ndarray, Formula]] = [
    (Term("mae", WIDTH), NUMBERS, lambda p, y: np.abs(p - y).mean(axis=1)),
    (Term("mse", WIDTH), NUMBERS, lambda p, y: ((p - y) ** 2).mean(axis=1)),
    (
        Term("huber", WIDTH, delta=0.5), NUMBERS,
        lambda p, y: np.where(
            np.abs(p - y) <= 0.5, (p - y) ** 2 / 2, 0.5 * (np.abs(p - y) - 0.25)
        ).mean(axis=1),
    ),
    (Term("log_cosh", WIDTH), NUMBERS, lambda p, y: np.log(np.cosh(p - y)).mean(axis=1)),
    (
        Term("quantile", WIDTH, quantile=0.9), NUMBERS,
        lambda p, y: np.where(y >= p, 0.9 * (y - p), 0.1 * (p - y)).mean(axis=1),
    ),
    (Term("cross_entropy", WIDTH), CLASSES, lambda p, y: -(y * np.log(softmax(p))).sum(axis=1)),
    (Term("cross_entropy", WIDTH, label_smoothing=0.1), CLASSES, smoothed_classes),
    (Term("binary_cross_entropy", WIDTH, label_smoothing=0.2, positive_weight=3.0), TRUTHS, binary),
]  # fmt: skip


@pytest.mark.parametrize(("term", "targets", "formula"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_a_loss_and_its_gradient(term: Term, targets: np.ndarray, formula: Formula) -> None:
    found = row_loss((term,), OUT.astype(np.float32), targets.astype(np.float32))
    np.testing.assert_allclose(found, formula(OUT, targets), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda p: row_loss((term,), p, targets.astype(np.float32)).sum())(OUT.astype(np.float32))
    expected = np.zeros_like(OUT)
    for place in np.ndindex(OUT.shape):
        nudge = np.zeros_like(OUT)
        nudge[place] = 1e-6
        expected[place] = (formula(OUT + nudge, targets) - formula(OUT - nudge, targets)).sum() / 2e-6
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


@pytest.mark.parametrize("name", Loss.OPTIONS)
def test_a_loss_stays_finite_far_out(name: str) -> None:
    far = np.array([[1e4, -1e4, 0.0]], np.float32)
    targets = np.array([[0.0, 1.0, 0.0]], np.float32)
    value, gradient = jax.value_and_grad(lambda p: row_loss(name, p, targets).sum())(far)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


OUTPUTS = (Output("W", 2), Output("kind", 3), Output("good", 1))


def test_each_output_may_have_a_loss_of_its_own() -> None:
    each = {
        "W": Loss(name="huber", delta=2.0, weight=2.0), "kind": Loss(name="cross_entropy"),
        "good": Loss(name="binary_cross_entropy"),
    }  # fmt: skip
    found = terms(Training(loss=each), OUTPUTS)
    assert [(term.name, term.width) for term in found] == [
        ("huber", 2), ("cross_entropy", 3), ("binary_cross_entropy", 1)
    ]  # fmt: skip
    predicted = RNG.normal(size=(9, 6)).astype(np.float32)
    targets = np.concatenate([RNG.normal(size=(9, 2)), np.eye(3)[RNG.integers(0, 3, 9)], TRUTHS[:9, :1]], axis=1)
    targets = targets.astype(np.float32)
    parts = [
        row_loss((term,), predicted[:, own], targets[:, own])
        for term, own in zip(found, (slice(0, 2), slice(2, 5), slice(5, 6)), strict=True)
    ]
    expected = (2 * parts[0] + parts[1] + parts[2]) / 4
    np.testing.assert_allclose(row_loss(found, predicted, targets), expected, rtol=1e-6)
    assert mean_loss(found, predicted, targets) == pytest.approx(float(np.mean(expected)), rel=1e-6)
    assert hash(found) == hash(terms(Training(loss=each), OUTPUTS))  # one compiled program


def test_one_loss_for_all_outputs_is_the_mean_over_their_numbers_or_over_their_classes() -> None:
    assert terms(Training(loss=Loss(name="mae")), OUTPUTS) == (Term("mae", 6),)
    classes = terms(Training(loss=Loss(name="cross_entropy")), OUTPUTS[1:])
    assert [term.width for term in classes] == [3, 1]


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_the_mean_over_rows_is_that_of_the_rows_alone(rows: int) -> None:
    found = mean_loss("mse", OUT[:rows].astype(np.float32), NUMBERS[:rows].astype(np.float32))
    assert found == pytest.approx(((OUT[:rows] - NUMBERS[:rows]) ** 2).mean(), rel=1e-6)


# --- weights of classes ------------------------------------------------------------------------------------------

KIND = Categorical("kind", ("a", "b", "c"))
FIELDS: Sequence[FieldCode] = (Numeric("W", "none", (1,), (0.0,), (1.0,)), KIND)
COUNTS = np.array([12.5, 60.0, 30.0, 10.0])


def weights(**options: object) -> list[float] | None:
    training = Training(loss={"W": Loss(), "kind": Loss(name="cross_entropy", **options)})  # type: ignore[arg-type]
    found = class_weights(training, FIELDS, COUNTS)
    return None if found is None else found.tolist()


def test_classes_weigh_what_is_declared() -> None:
    assert weights() is None
    assert weights(class_weights={"b": 2.0}) == [1.0, 1.0, 2.0, 1.0]
    np.testing.assert_allclose(weights(class_weights="balanced") or 0, [1, 100 / 180, 100 / 90, 100 / 30], rtol=1e-6)
    assert weights(ignore="b") == [1.0, 1.0, 0.0, 1.0]
    np.testing.assert_allclose(weights(class_weights="balanced", ignore="a") or 0, [1, 0, 40 / 60, 40 / 20], rtol=1e-6)


def test_balanced_weights_are_one_on_average_over_the_rows() -> None:
    found = np.array(weights(class_weights="balanced"))[1:]
    assert (found * COUNTS[1:]).sum() == pytest.approx(COUNTS[1:].sum())


def test_a_class_that_does_not_exist_is_named() -> None:
    with pytest.raises(Mendable, match="'kind' has no class 'd'; classes: a, b, c"):
        weights(class_weights={"d": 2.0})


def test_one_of_two_classes_has_no_weights_by_class() -> None:
    field = Binary("good", (0, 1))
    assert class_weights(Training(loss=Loss(name="binary_cross_entropy")), [field], np.array([3.0])) is None


def test_an_ignored_class_teaches_nothing() -> None:
    targets = np.eye(3, dtype=np.float32) * np.array([[1.0, 0.0, 1.0]], np.float32)
    logits = OUT[:3].astype(np.float32)
    smoothed = (Term("cross_entropy", 3, label_smoothing=0.3),)
    gradient = jax.grad(lambda p: row_loss(smoothed, p, targets).sum())(logits)
    assert (gradient[1] == 0).all()
    assert (np.asarray(gradient[0]) != 0).all()
    assert losses.row_loss(smoothed, logits, targets)[1] == 0
