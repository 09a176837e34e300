"""Optimisers and schedules: every one against its published recursion in NumPy, in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.training import optimizer
from gitdata.training.optimizer import learning_rates
from gitdata.training.settings import Optimizer, Schedule

SHAPES = {"dense.0.bias": (2,), "dense.0.kernel": (3, 2), "layer_norm.0.scale": (2,)}
RNG = np.random.default_rng(5)
START = RNG.normal(size=10)
GRADIENTS = RNG.normal(size=(4, 10)) * np.array([[3.0], [0.1], [1.0], [0.5]])

Recursion = Callable[[Optimizer, np.ndarray], np.ndarray]


def moments(declared: Optimizer, gradients: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    m = v = np.zeros(gradients.shape[1])
    for g in gradients:
        m = declared.b1 * m + (1 - declared.b1) * g
        v = declared.b2 * v + (1 - declared.b2) * g**2
    return m, v, len(gradients)


def adam(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    m, v, t = moments(declared, gradients)
    return m / (1 - declared.b1**t) / (np.sqrt(v / (1 - declared.b2**t)) + declared.eps)


def nadam(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    """Dozat 2016, with a constant momentum: the next step's mean, looked at now."""
    m, v, t = moments(declared, gradients)
    ahead = declared.b1 * m / (1 - declared.b1 ** (t + 1)) + (1 - declared.b1) * gradients[-1] / (1 - declared.b1**t)
    return ahead / (np.sqrt(v / (1 - declared.b2**t)) + declared.eps)


def adabelief(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    m = s = np.zeros(gradients.shape[1])
    for g in gradients:
        m = declared.b1 * m + (1 - declared.b1) * g
        s = declared.b2 * s + (1 - declared.b2) * (g - m) ** 2 + declared.eps
    t = len(gradients)
    return m / (1 - declared.b1**t) / (np.sqrt(s / (1 - declared.b2**t)) + declared.eps)


def lion(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    m = np.zeros(gradients.shape[1])
    for g in gradients:
        said = np.sign(declared.b1 * m + (1 - declared.b1) * g)
        m = declared.b2 * m + (1 - declared.b2) * g
    return said


def momentum(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    trace = np.zeros(gradients.shape[1])
    for g in gradients:
        trace = g + declared.momentum * trace
    return gradients[-1] + declared.momentum * trace if declared.nesterov else trace


def rmsprop(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    v, scaled = np.zeros(gradients.shape[1]), []
    for g in gradients:
        v = declared.decay * v + (1 - declared.decay) * g**2
        scaled.append(g / np.sqrt(v + declared.eps))
    return momentum(declared, np.array(scaled))


def adagrad(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    return gradients[-1] / np.sqrt(0.1 + (gradients**2).sum(axis=0) + declared.eps)


def adadelta(declared: Optimizer, gradients: np.ndarray) -> np.ndarray:
    v = u = np.zeros(gradients.shape[1])
    for g in gradients:
        v = declared.decay * v + (1 - declared.decay) * g**2
        step = np.sqrt(u + declared.eps) / np.sqrt(v + declared.eps) * g
        u = declared.decay * u + (1 - declared.decay) * step**2
    return step


def sizes() -> list[slice]:
    stops = np.cumsum([0] + [int(np.prod(shape)) for shape in SHAPES.values()])
    return [slice(first, last) for first, last in pairwise(stops)]


PLAIN: dict[str, Recursion] = {
    "adam": adam, "adamw": adam, "nadam": nadam, "adabelief": adabelief, "lion": lion, "sgd": momentum,
    "rmsprop": rmsprop, "adagrad": adagrad, "adadelta": adadelta, "lamb": adam,
}  # fmt: skip
OPTIONS = [
    *({"name": name, "weight_decay": 0.0} for name in PLAIN),
    {"name": "sgd", "momentum": 0.8},
    {"name": "sgd", "momentum": 0.8, "nesterov": True},
    {"name": "rmsprop", "momentum": 0.5, "decay": 0.95},
    {"name": "adam", "b1": 0.7, "b2": 0.9, "eps": 1e-3},
    {"name": "adamw", "weight_decay": 0.1},
    {"name": "adamw", "weight_decay": 0.1, "decay_all": True},
    {"name": "lion"},
    {"name": "lamb", "weight_decay": 0.1},
    {"name": "adam", "clip_norm": 0.7},
    {"name": "sgd", "clip_value": 0.5, "clip_norm": 1.0},
]


def clipped(declared: Optimizer, gradient: np.ndarray) -> np.ndarray:
    if declared.clip_value is not None:
        gradient = np.clip(gradient, -declared.clip_value, declared.clip_value)
    if declared.clip_norm is not None:
        gradient = gradient * min(1.0, declared.clip_norm / np.sqrt((gradient**2).sum()))
    return gradient


def by_hand(declared: Optimizer) -> np.ndarray:
    weights, gradients = START.copy(), np.array([clipped(declared, g) for g in GRADIENTS])
    for step in range(1, len(gradients) + 1):
        moved = PLAIN[declared.name](declared, gradients[:step])
        for own, name in zip(sizes(), SHAPES, strict=True):
            if declared.decay_all or name.endswith("kernel"):
                moved[own] += declared.weight_decay * weights[own]
            if declared.name == "lamb":
                moved[own] *= np.linalg.norm(weights[own]) / np.linalg.norm(moved[own])
        weights = weights - 0.01 * moved
    return weights


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(map(str, options.values())))
def test_four_steps(options: dict[str, object]) -> None:
    declared = Optimizer(**options)  # type: ignore[arg-type]
    direction = optimizer.direction(declared, SHAPES)
    weights = jnp.asarray(START, jnp.float32)
    state = direction.init(weights)
    for gradient in GRADIENTS.astype(np.float32):
        moved, state = direction.update(jnp.asarray(gradient), state, weights)
        weights = weights - 0.01 * moved
    np.testing.assert_allclose(weights, by_hand(declared), atol=3e-6)
    arrays = optimizer.state_to_arrays(state)
    again = optimizer.state_to_arrays(optimizer.state_from_arrays(direction.init(weights), arrays))
    assert {name: array.tolist() for name, array in again.items()} == {n: a.tolist() for n, a in arrays.items()}


def test_clipping_and_decay_change_nothing_of_what_is_stored() -> None:
    """An optimiser's state goes on where somebody turns them on."""
    plain, more = Optimizer(), Optimizer(name="adamw", weight_decay=0.3, clip_norm=1.0)
    weights = jnp.zeros(10)
    arrays = optimizer.state_to_arrays(optimizer.direction(plain, SHAPES).init(weights))
    assert optimizer.fits(optimizer.direction(more, SHAPES).init(weights), arrays)
    assert set(arrays) == {"count", "mu", "nu"}


def test_a_gradient_of_zero_is_clipped_to_zero() -> None:
    direction = optimizer.direction(Optimizer(name="sgd", clip_norm=1.0))
    moved, _ = direction.update(jnp.zeros(3), direction.init(jnp.zeros(3)), jnp.zeros(3))
    assert (np.asarray(moved) == 0).all()


# --- schedules -----------------------------------------------------------------------------------------------

PEAK = Optimizer(learning_rate=0.1)


def rates(count: int = 100, position: int = 0, **options: object) -> np.ndarray:
    return learning_rates(PEAK, Schedule(**options), count, position)  # type: ignore[arg-type]


def test_schedules_over_a_run_are_those_of_optax() -> None:
    for found, expected in (
        (rates(name="cosine", final=0.1), optax.cosine_decay_schedule(0.1, 100, alpha=0.1)),
        (rates(name="linear", final=0.1), optax.linear_schedule(0.1, 0.01, 100)),
        (rates(name="polynomial", power=3.0, final=0.1), optax.polynomial_schedule(0.1, 0.01, 3, 100)),
        (rates(name="one_cycle", start=0.2, final=0.05, rise=0.25),
         optax.cosine_onecycle_schedule(100, 0.1, pct_start=0.25, div_factor=5, final_div_factor=4)),
    ):  # fmt: skip
        np.testing.assert_allclose(found[::9], [expected(step) for step in range(0, 100, 9)], rtol=2e-5)
    assert (rates(name="cosine", position=7000) == rates(name="cosine")).all()


def test_schedules_by_position_go_on() -> None:
    smooth = rates(name="exponential", rate=0.5, steps=10, position=20, final=1e-6)
    np.testing.assert_allclose(smooth, 0.1 * 0.5 ** ((20 + np.arange(100)) / 10), rtol=1e-5)
    stairs = rates(name="step", rate=0.5, steps=10, position=15, final=1e-6)
    np.testing.assert_allclose(stairs[[0, 4, 5, 15]], [0.05, 0.05, 0.025, 0.0125], rtol=1e-6)
    pieces = rates(name="piecewise", rate=0.1, boundaries=(30, 60), position=20)
    np.testing.assert_allclose(pieces[[0, 9, 10, 39, 40, 99]], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)
    whole = rates(name="exponential", steps=10)
    for position in (0, 37):
        np.testing.assert_array_equal(rates(50, position, name="exponential", steps=10), whole[position:][:50])
    assert rates(name="exponential", steps=10, position=10**7).min() == pytest.approx(0.001)


def test_a_warm_up_rises_evenly_before_any_schedule() -> None:
    constant = rates(warmup=4)
    np.testing.assert_allclose(constant[:6], [0.02, 0.04, 0.06, 0.08, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(rates(position=3, warmup=4)[:2], [0.08, 0.1], rtol=1e-6)
    assert (rates(position=400, warmup=4) == np.float32(0.1)).all()
    cosine = rates(name="cosine", warmup=0.2, position=5000)
    np.testing.assert_allclose(cosine[:20], 0.1 * np.arange(1, 21) / 21, rtol=1e-5)
    np.testing.assert_allclose(cosine[20:], rates(80, name="cosine"), rtol=1e-6)
    np.testing.assert_allclose(rates(name="step", warmup=0.5)[:50], 0.1 * np.arange(1, 51) / 51, rtol=1e-5)
    assert (rates(position=100, warmup=0.5) == np.float32(0.1)).all()


@given(
    st.sampled_from(sorted(Schedule.OPTIONS)),
    st.integers(0, 200),
    st.integers(0, 10**6),
    st.one_of(st.integers(0, 400), st.floats(0.01, 0.99)),
)
def test_rates_are_above_zero_and_at_most_the_peak(name: str, steps: int, position: int, warmup: float) -> None:
    options = {"boundaries": (5, 9)} if name == "piecewise" else {}
    found = rates(steps, position, name=name, warmup=warmup, **options)
    assert found.shape == (steps,)
    assert found.dtype == np.float32
    assert (found > 0).all()
    assert (found <= 0.1 * (1 + 1e-6)).all()


@given(
    st.sampled_from(sorted(Schedule.OPTIONS)),
    st.integers(1, 300),
    st.integers(0, 10**6),
    st.one_of(st.integers(0, 400), st.floats(0.01, 0.99)),
    st.data(),
)
def test_rates_of_some_steps_are_those_of_the_run(
    name: str, steps: int, position: int, warmup: float, data: st.DataObject
) -> None:
    options: dict[str, Any] = {"boundaries": (5, 9)} if name == "piecewise" else {}
    schedule = Schedule(name=name, warmup=warmup, **options)
    first = data.draw(st.integers(0, steps))
    count = data.draw(st.integers(0, steps - first))
    some = learning_rates(PEAK, schedule, steps, position, first, count)
    assert (some == learning_rates(PEAK, schedule, steps, position)[first : first + count]).all()


def test_the_rates_of_few_steps_take_no_room_for_all_of_them() -> None:
    some = learning_rates(PEAK, Schedule(name="cosine"), 10**15, 0, 10**14, 4)
    assert some.shape == (4,)
