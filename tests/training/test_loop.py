"""The loop: what one compiled chunk computes, against NumPy, for every loss, optimiser and schedule."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.errors import Mendable
from gitdata.training import loop, losses, network, optimizer, pace, pull
from gitdata.training.architecture import notation
from gitdata.training.architecture.layers import ACTIVATIONS
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.declaration import Optimizer, Schedule


def plan_of(inputs: int, outputs: int, *layers: object) -> Plan:
    return Plan((Input("x", (inputs,)),), (Output("y", outputs),), notation.read(list(layers), {}))


PLAN = plan_of(3, 2, {"dense": 5}, "tanh", {"dense": "outputs"})
RNG = np.random.default_rng(7)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)


def run(**settings: object) -> loop.Run:
    defaults: dict[str, object] = {
        "plan": PLAN, "loss": "mse", "optimizer": Optimizer(name="sgd", learning_rate=0.1),
        "schedule": Schedule(), "batch_size": 40, "steps": 1, "seed": 0,
    }  # fmt: skip
    return loop.Run(**(defaults | settings))  # type: ignore[arg-type]


def by_hand(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    hidden = np.tanh(x @ weights["dense.0.kernel"] + weights["dense.0.bias"])
    return hidden @ weights["dense.1.kernel"] + weights["dense.1.bias"]


LOSSES = {
    "mae": lambda p, y: np.abs(p - y).mean(axis=1),
    "mse": lambda p, y: ((p - y) ** 2).mean(axis=1),
    "huber": lambda p, y: np.where(np.abs(p - y) <= 1, (p - y) ** 2 / 2, np.abs(p - y) - 0.5).mean(axis=1),
    "cross_entropy": lambda p, y: -(y * (p - np.log(np.exp(p).sum(axis=1, keepdims=True)))).sum(axis=1),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_their_gradients(loss: str) -> None:
    target = np.eye(2, dtype=np.float32)[RNG.integers(0, 2, 40)] if loss == "cross_entropy" else Y * 2
    predicted = RNG.normal(size=(40, 2)).astype(np.float32)
    np.testing.assert_allclose(losses.row_loss(loss, predicted, target), LOSSES[loss](predicted, target), rtol=2e-5)
    gradient = jax.grad(lambda p: losses.row_loss(loss, p, target).mean())(predicted)
    for place in ((0, 0), (17, 1)):
        nudge = np.zeros((40, 2))
        nudge[place] = 1e-4
        up, down = (LOSSES[loss](predicted + sign * nudge, target).mean() for sign in (1, -1))
        assert gradient[place] == pytest.approx((up - down) / 2e-4, abs=1e-4)


FORMULAS = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)), "identity": lambda x: x,
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x), "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "silu": lambda x: x / (1 + np.exp(-x)),
    "relu6": lambda x: np.clip(x, 0, 6), "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    "softplus": lambda x: np.log1p(np.exp(x)), "softsign": lambda x: x / (1 + np.abs(x)), "tanh": np.tanh,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    x = np.linspace(-4, 4, 64, dtype=np.float32)[:, None]
    x = np.concatenate([x, x[::-1]], axis=1)
    plan = plan_of(2, 2, {"dense": "outputs"}, name)
    weights = network.vector(plan, {"dense.0.bias": np.zeros(2, np.float32), "dense.0.kernel": np.eye(2, dtype="f4")})
    np.testing.assert_allclose(network.forward(plan, weights, x), FORMULAS[name](x.astype(float)), atol=2e-6)


def test_one_step_of_gradient_descent() -> None:
    state = loop.start(PLAN, Optimizer(name="sgd", learning_rate=0.1), seed=0)
    before = network.named(PLAN, np.asarray(state.weights))
    after = network.named(PLAN, np.asarray(loop.train(run(), state, X, Y).weights))
    error = by_hand(before, X) - Y
    expected = before["dense.1.bias"] - 0.1 * 2 * error.mean(axis=0) / 2
    np.testing.assert_allclose(after["dense.1.bias"], expected, atol=1e-6)


def test_one_step_of_adam_and_of_momentum() -> None:
    for declared, steps in (
        (Optimizer(name="adam", learning_rate=0.01), 1),
        (Optimizer(name="sgd", learning_rate=0.1, momentum=0.9), 2),
    ):
        state = loop.start(PLAN, declared, seed=0)
        weights = np.asarray(state.weights, np.float64)
        velocity = np.zeros_like(weights)
        gradient_of = jax.grad(lambda w: losses.row_loss("mse", network.apply(PLAN, w, X), Y).mean())
        for _ in range(steps):
            gradient = np.asarray(gradient_of(weights.astype(np.float32)), np.float64)
            if declared.name == "adam":
                weights = weights - 0.01 * gradient / (np.abs(gradient) + 1e-8)
            else:
                velocity = gradient + 0.9 * velocity
                weights = weights - 0.1 * velocity
        trained = loop.train(run(optimizer=declared, steps=steps), state, X, Y)
        np.testing.assert_allclose(trained.weights, weights, atol=2e-5)


def test_padding_weighs_nothing() -> None:
    odd = loop.train(run(batch_size=64), loop.start(PLAN, Optimizer(name="sgd", learning_rate=0.1), 0), X, Y)
    full = loop.train(run(batch_size=40), loop.start(PLAN, Optimizer(name="sgd", learning_rate=0.1), 0), X, Y)
    np.testing.assert_allclose(odd.weights, full.weights, atol=1e-6)


def test_learning_rates_are_never_zero() -> None:
    adam = Optimizer(learning_rate=0.01)
    cosine = optimizer.learning_rates(adam, Schedule(name="cosine"), 100, position=5000)
    assert cosine[0] == pytest.approx(0.01)
    assert 0 < cosine[-1] < 2e-4
    expected = 0.01 * (0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(100) / 100)) / 2)
    np.testing.assert_allclose(cosine, expected, rtol=1e-5)
    halved = optimizer.learning_rates(adam, Schedule(name="exponential", rate=0.5, steps=10), 11, position=20)
    np.testing.assert_allclose(halved[[0, 10]], [0.0025, 0.00125], rtol=1e-5)
    assert (optimizer.learning_rates(adam, Schedule(), 3, 9) == np.float32(0.01)).all()


@pytest.mark.parametrize(
    "declared", [Optimizer(learning_rate=0.01), Optimizer(name="sgd", learning_rate=0.1, momentum=0.9)]
)
def test_going_on_from_what_was_stored_is_going_on(declared: Optimizer) -> None:
    """Weights, optimiser state and position through their arrays: bit for bit what an uninterrupted state gives."""
    state = loop.train(run(optimizer=declared, steps=130), loop.start(PLAN, declared, 0), X, Y)
    arrays = optimizer.state_to_arrays(state.optimizer)
    weights = network.vector(PLAN, network.named(PLAN, np.asarray(state.weights)))
    again = loop.State(weights, optimizer.state_from_arrays(state.optimizer, arrays), state.position)
    on, restored = (loop.train(run(optimizer=declared, steps=70), s, X, Y) for s in (state, again))
    assert on.position == restored.position == 200
    assert (np.asarray(on.weights) == np.asarray(restored.weights)).all()
    assert (np.asarray(on.weights) != weights).any()
    fresh = loop.State(weights, optimizer.direction(declared).init(weights), state.position)
    assert (
        np.asarray(loop.train(run(optimizer=declared, steps=70), fresh, X, Y).weights) != np.asarray(on.weights)
    ).any()


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    adam = Optimizer(learning_rate=0.01)
    results = [
        np.asarray(
            loop.train(
                run(optimizer=adam, batch_size=8, steps=50, seed=seed), loop.start(PLAN, adam, seed), X, Y
            ).weights
        )
        for seed in (1, 1, 2)
    ]
    assert (results[0] == results[1]).all()
    assert (results[0] != results[2]).any()


def test_one_compiled_program_serves_every_size_of_data_and_every_number_of_steps() -> None:
    adam = Optimizer(learning_rate=0.02)
    chunk = loop.compiled_chunk(PLAN, "mae", adam)
    for rows, steps, schedule in ((40, 3, "constant"), (17, 200, "cosine"), (33, 129, "exponential")):
        settings = run(optimizer=adam, loss="mae", batch_size=8, steps=steps, schedule=Schedule(name=schedule))
        loop.train(settings, loop.start(PLAN, adam, 0), X[:rows], Y[:rows])
    assert chunk._cache_size() == 1  # type: ignore[attr-defined]
    assert loop.compiled_chunk(PLAN, "mae", Optimizer(learning_rate=0.3)) is chunk, "and every learning rate"
    assert loop.compiled_chunk(PLAN, "mae", Optimizer(learning_rate=0.02, b1=0.5)) is not chunk


@pytest.mark.parametrize("moment", [0.0, 60.0])
def test_how_a_run_is_cut_changes_no_number(moment: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a network: a step at a time, or as many as there is room for."""
    adam = Optimizer(learning_rate=0.02)
    settings = run(optimizer=adam, batch_size=8, steps=300)
    undisturbed = loop.train(settings, loop.start(PLAN, adam, 0), X, Y)
    monkeypatch.setattr(pace, "MOMENT", moment)
    cuts: list[int] = []
    onlookers = loop.Onlookers(lambda first, own, rates: cuts.append(len(own)))
    trained = loop.train(settings, loop.start(PLAN, adam, 0), X, Y, onlookers)
    assert (np.asarray(trained.weights) == np.asarray(undisturbed.weights)).all()
    assert cuts == [1] * 300 if moment == 0 else cuts[0] == 1 and len(cuts) < 20


@given(st.integers(1, 128), st.floats(0, 1e3))
def test_a_chunk_is_to_take_a_moment(steps: int, seconds: float) -> None:
    found = pace.next_steps(steps, seconds)
    assert 1 <= found <= pace.GROWTH * steps
    assert found == 1 or found * seconds <= steps * pace.MOMENT * (1 + 1e-9)


def test_a_pace_follows_what_was_measured() -> None:
    now = [0.0]
    own = pace.Pace(clock=lambda: now[0])
    assert own.steps == 1
    for seconds, steps in ((0.001, 8), (0.001, 64), (2.0, 32), (1.0, 32), (9.0, 3), (9.0, 1)):
        asked = own.steps
        now[0] += 7  # what is done between two chunks
        own.begin()
        now[0] += seconds
        own.settle(asked)
        assert own.steps == steps


def test_divergence_stops_the_run_and_names_the_step() -> None:
    wild = Optimizer(name="sgd", learning_rate=100.0)
    with pytest.raises(Mendable, match=r"diverged: the loss is no finite number at step \d+"):
        loop.train(run(optimizer=wild, steps=300), loop.start(PLAN, wild, 0), X * 1e3, Y)


def test_weights_that_do_not_fit_are_named() -> None:
    weights = network.named(PLAN, np.asarray(network.initial_weights(PLAN, 0)))
    assert set(weights) == {"dense.0.bias", "dense.0.kernel", "dense.1.bias", "dense.1.kernel"}
    with pytest.raises(ValueError, match=r"'dense\.1\.kernel' is missing"):
        network.vector(PLAN, {k: v for k, v in weights.items() if k != "dense.1.kernel"})
    with pytest.raises(ValueError, match=r"'dense\.0\.bias' is float32\[4\]"):
        network.vector(PLAN, weights | {"dense.0.bias": np.zeros(4, np.float32)})


def test_weights_are_averaged_over_stretches_of_a_run() -> None:
    """Against the weights after each step, as runs of a step each come to them."""
    adam = Optimizer(learning_rate=0.02)
    settings = run(optimizer=adam, steps=20, averages=((0.75, 1.0), (0.5, 0.55)))
    found = loop.train(settings, loop.start(PLAN, adam, 0), X, Y)
    state, after = loop.start(PLAN, adam, 0), []
    for _ in range(20):
        state = loop.train(run(optimizer=adam, steps=1), state, X, Y)
        after.append(np.asarray(state.weights))
    np.testing.assert_allclose(found.weights, after[-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.means[0], np.mean(after[15:], axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.means[1], after[10], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [None, np.ones((2, network.weights_of(PLAN)), np.float32)])
def test_a_pull_is_the_gradient_of_its_penalty(factor: np.ndarray | None) -> None:
    weights = RNG.normal(size=network.weights_of(PLAN)).astype(np.float32)
    own = pull.Pull(np.zeros_like(weights), np.float32(0.5), factor)

    def penalty(at: jax.Array) -> jax.Array:
        further = 0.0 if factor is None else 0.5 * ((factor @ at) ** 2).sum()
        return 0.25 * (at**2).sum() + further

    found = pull.pulled(np.zeros_like(weights), weights, own)
    np.testing.assert_allclose(found, jax.grad(penalty)(weights), rtol=1e-4, atol=1e-5)
