"""Losses, optimisers and schedules beside PyTorch: `pip install torch==2.13.0; pytest tests/training/test_torch.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gitdata.training import optimizer
from gitdata.training.losses import Term, row_loss
from gitdata.training.settings import Optimizer, Schedule

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
functional: Any = torch.nn.functional

RNG = np.random.default_rng(11)
OUT = RNG.normal(size=(30, 4)).astype(np.float32)
NUMBERS = RNG.normal(size=(30, 4)).astype(np.float32)
CODES = RNG.integers(0, 4, 30)
CODES[::5] = 3
TRUTHS = RNG.integers(0, 2, (30, 4)).astype(np.float32)
WEIGHTS = np.array([1.0, 0.5, 2.0, 0.0], np.float32)


def mean(loss: Callable[..., Any], targets: np.ndarray, **options: object) -> Callable[[Any], Any]:
    return lambda p: loss(p, torch.tensor(targets), reduction="none", **options).mean(dim=1)


def classes(**options: object) -> Callable[[Any], Any]:
    return lambda p: functional.cross_entropy(p, torch.tensor(CODES), reduction="none", **options)


LOSSES: list[tuple[Term, np.ndarray, Callable[[Any], Any]]] = [
    (Term("mae", 4), NUMBERS, mean(functional.l1_loss, NUMBERS)),
    (Term("mse", 4), NUMBERS, mean(functional.mse_loss, NUMBERS)),
    (Term("huber", 4, delta=0.4), NUMBERS, mean(functional.huber_loss, NUMBERS, delta=0.4)),
    (Term("cross_entropy", 4), np.eye(4, dtype=np.float32)[CODES], classes()),
    (Term("cross_entropy", 4, label_smoothing=0.1), np.eye(4, dtype=np.float32)[CODES], classes(label_smoothing=0.1)),
    (Term("cross_entropy", 4), (np.eye(4) * WEIGHTS)[CODES].astype("f4"), classes(weight=torch.tensor(WEIGHTS))),
    (
        Term("cross_entropy", 4, label_smoothing=0.1), (np.eye(4) * [1, 1, 1, 0])[CODES].astype("f4"),
        classes(label_smoothing=0.1, ignore_index=3),
    ),
    (
        Term("binary_cross_entropy", 4, positive_weight=3.0), TRUTHS,
        mean(functional.binary_cross_entropy_with_logits, TRUTHS, pos_weight=torch.tensor(3.0)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("term", "targets", "theirs"), LOSSES, ids=lambda case: getattr(case, "name", ""))
def test_a_loss_and_its_gradient(term: Term, targets: np.ndarray, theirs: Callable[[Any], Any]) -> None:
    predicted = torch.tensor(OUT, requires_grad=True)
    losses = theirs(predicted)
    losses.sum().backward()
    np.testing.assert_allclose(row_loss((term,), OUT, targets), losses.detach().numpy(), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda p: row_loss((term,), p, targets).sum())(OUT)
    np.testing.assert_allclose(gradient, predicted.grad.numpy(), atol=1e-6)


OPTIMIZERS: list[tuple[dict[str, object], Callable[[Any], Any]]] = [
    ({"name": "adam"}, lambda p: torch.optim.Adam(p, 0.01)),
    ({"name": "adamw", "weight_decay": 0.1}, lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
    ({"name": "sgd"}, lambda p: torch.optim.SGD(p, 0.01)),
    ({"name": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    (
        {"name": "sgd", "momentum": 0.9, "nesterov": True},
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True),
    ),
    ({"name": "rmsprop", "momentum": 0.5}, lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, momentum=0.5)),
    ({"name": "adagrad"}, lambda p: torch.optim.Adagrad(p, 0.01, initial_accumulator_value=0.1)),
    ({"name": "adadelta"}, lambda p: torch.optim.Adadelta(p, 0.01)),
]


@pytest.mark.parametrize(("options", "theirs"), OPTIMIZERS, ids=lambda case: getattr(case, "get", str)("name"))
@pytest.mark.parametrize("clip_norm", [None, 0.8])
def test_twenty_steps(options: dict[str, object], theirs: Callable[[Any], Any], clip_norm: float | None) -> None:
    declared = Optimizer(**options, clip_norm=clip_norm)  # type: ignore[arg-type]
    start, gradients = RNG.normal(size=12).astype(np.float32), RNG.normal(size=(20, 12)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.tensor(start))
    other = theirs([parameter])
    direction, weights = optimizer.direction(declared), jnp.asarray(start)
    state = direction.init(weights)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_([parameter], clip_norm)
        other.step()
        moved, state = direction.update(jnp.asarray(gradient), state, weights)
        weights = weights - 0.01 * moved
    np.testing.assert_allclose(weights, parameter.detach().numpy(), atol=2e-5)


SCHEDULES: list[tuple[dict[str, object], Callable[[Any], Any]]] = [
    (
        {"name": "cosine", "final": 0.1},
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 60, eta_min=0.01),
    ),
    ({"name": "linear", "final": 0.1}, lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, 60)),
    ({"name": "exponential", "rate": 0.9, "steps": 1}, lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
    ({"name": "step", "rate": 0.5, "steps": 20}, lambda o: torch.optim.lr_scheduler.StepLR(o, 20, 0.5)),
    (
        {"name": "piecewise", "rate": 0.5, "boundaries": (7, 30)},
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [7, 30], 0.5),
    ),
]


@pytest.mark.parametrize(("options", "theirs"), SCHEDULES, ids=lambda case: getattr(case, "get", str)("name"))
def test_sixty_rates(options: dict[str, object], theirs: Callable[[Any], Any]) -> None:
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule, expected = theirs(other), []
    for _ in range(60):
        expected.append(other.param_groups[0]["lr"])
        other.step()
        schedule.step()
    declared = Schedule(**options)  # type: ignore[arg-type]
    found = optimizer.learning_rates(Optimizer(learning_rate=0.1), declared, 60, 0)
    np.testing.assert_allclose(found, np.maximum(expected, 0.1 * declared.final), rtol=1e-5)
