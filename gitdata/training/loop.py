"""The loop: a run is a number of calls of one compiled chunk of steps.

A *chunk* goes through as many steps as it is told, batches and learning rates being its input: so one compiled program
serves every size of data and every number of steps, and a run can be cut between any two chunks. Weights are one
vector, since a loop costs by the number of arrays it carries. While a chunk is computed the next one is gathered in a
thread, and its losses are looked at when the one after it is on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import feed, network, optimizer
from gitdata.training.architecture.plan import Plan
from gitdata.training.checkpoint import Checkpoint, Saved
from gitdata.training.declaration import Optimizer, Schedule
from gitdata.training.devices import Devices
from gitdata.training.prefetch import ahead
from gitdata.training.shuffle import Held, Rows

_WEIGHTS = "weights"
_MOMENTS = "optimizer."


class Diverged(Mendable):
    """The loss is no finite number any more: at `step`, of a batch with the rows `numbers`."""

    def __init__(self, step: int, numbers: Sequence[int], names: Sequence[str] | None = None) -> None:
        shown = list(names) if names is not None else [f"row {number + 1}" for number in numbers]
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        super().__init__(
            f"Training diverged: the loss is no finite number at step {step}. Its batch: "
            f"{', '.join(shown[:SHOWN])}{more}.",
            "Lower learning_rate in [training.optimizer], or look at these rows; the champion stays.",
        )
        self.step, self.numbers = step, tuple(numbers)

    def named(self, names: Sequence[str]) -> Diverged:
        """The same, its rows called as people know them."""
        return Diverged(self.step, self.numbers, names)


SHOWN = 8  # rows of a batch that a message names


@dataclass(frozen=True, slots=True)
class State:
    """What training goes on from: weights and optimiser state as vectors, and the steps taken so far."""

    weights: Any
    optimizer: Any
    position: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run: which rows in which order follows from seed and position."""

    plan: Plan
    loss: str
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    steps: int
    seed: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on at a run, between two chunks.

    `losses` is told the first step of a chunk and its losses; `weights` may look at the weights after so many steps,
    before the next chunk is begun; `checkpoint` keeps where the run stands.
    """

    losses: Callable[[int, NDArray[np.float32]], None] | None = None
    weights: Callable[[int, Any], None] | None = None
    checkpoint: Checkpoint | None = None


def start(plan: Plan, declared: Optimizer, seed: int) -> State:
    """Fresh weights and a fresh optimiser."""
    weights = network.initial_weights(plan, seed)
    return State(weights, optimizer.direction(declared).init(weights), 0)


def train(
    run: Run, state: State, inputs: NDArray[np.float32], targets: NDArray[np.float32], watch: Watch | None = None
) -> State:
    """`train_rows` on rows in memory: `inputs` and `targets`, shape (rows, width)."""
    return train_rows(run, state, Held(inputs, targets), watch)


def train_rows(run: Run, state: State, rows: Rows, watch: Watch | None = None) -> State:
    """Minimise the loss over some rows for `run.steps` steps, or for what a checkpoint leaves of them.

    Raises Diverged, naming step and rows, where the loss is no finite number any more.
    """
    watch, devices = watch or Watch(), Devices.local()
    chunk = compiled_chunk(run.plan, run.loss, run.optimizer)
    rates = optimizer.learning_rates(run.optimizer, run.schedule, run.steps, state.position)
    began, first, now = _begin(state, watch.checkpoint)
    weights, moments = devices.state((now.weights, now.optimizer))
    order = feed.Order(run.batch_size, run.seed, state.position, devices.count)
    late: list[tuple[feed.Chunk, jax.Array]] = []
    with closing(ahead(feed.chunks(rows, order, first, run.steps))) as chunks:
        for batch in chunks:
            weights, moments, losses = chunk(weights, moments, *_arguments(run, state, batch, rates, devices))
            late.append((batch, losses))
            if len(late) > 1:
                _settle(late.pop(0), state, watch)
            if watch.weights:
                watch.weights(batch.first + batch.count, weights)
            if watch.checkpoint and watch.checkpoint.is_due:
                _settle(late.pop(), state, watch)
                seconds = time.monotonic() - began
                watch.checkpoint.write(Saved(batch.first + batch.count, _arrays(weights, moments), seconds))
    for waiting in late:
        _settle(waiting, state, watch)
    return State(weights, moments, state.position + run.steps)


def _arguments(
    run: Run, state: State, batch: feed.Chunk, rates: NDArray[np.float32], devices: Devices
) -> tuple[Any, ...]:
    """What the compiled chunk takes besides the state."""
    steps, last = len(batch.masks), batch.first + batch.count
    rate = np.zeros(steps, np.float32)
    rate[: batch.count] = rates[batch.first : last]
    first = np.uint32((state.position + batch.first) % 2**32)
    placed = (devices.batches(array) for array in (batch.inputs, batch.targets, batch.masks))
    return (*placed, rate, np.uint32(run.seed), first, np.int32(batch.count))


def _settle(settled: tuple[feed.Chunk, jax.Array], state: State, watch: Watch) -> None:
    """Look at the losses of a chunk that was computed."""
    batch, losses = settled[0], np.asarray(settled[1])[: settled[0].count]
    bad = ~np.isfinite(losses)
    if bad.any():
        step = int(bad.argmax())
        raise Diverged(state.position + batch.first + step + 1, batch.rows_of_step(step).tolist())
    if watch.losses:
        watch.losses(batch.first, losses)


# --- checkpoints ---------------------------------------------------------------------------------------------


def _begin(state: State, checkpoint: Checkpoint | None) -> tuple[float, int, State]:
    """When the run began, as if it had never been interrupted; its next step; and the state before that step."""
    saved = checkpoint.read() if checkpoint else None
    if checkpoint is None or saved is None:
        return time.monotonic(), 0, state
    moments = {name.removeprefix(_MOMENTS): a for name, a in saved.arrays.items() if name != _WEIGHTS}
    weights = saved.arrays[_WEIGHTS]
    checkpoint.say(f"Going on after step {saved.steps} from a checkpoint.")
    went_on = State(weights, optimizer.state_from_arrays(state.optimizer, moments), state.position + saved.steps)
    return time.monotonic() - saved.seconds, saved.steps, went_on


def _arrays(weights: Any, moments: Any) -> dict[str, NDArray[Any]]:
    named = {f"{_MOMENTS}{name}": array for name, array in optimizer.state_to_arrays(moments).items()}
    return {**named, _WEIGHTS: np.asarray(weights)}


# --- the compiled chunk --------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def compiled_chunk(plan: Plan, loss: str, declared: Optimizer) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """The compiled chunk: (weights, moments, batches …, rates, seed, position, steps) → the same state later, losses.

    Batches are inputs (most steps, rows, width), targets (…), masks (most steps, rows); `steps` of them are taken.
    """
    direction = optimizer.direction(declared)
    learned, random = network.learned(plan), network.is_random(plan)

    def mean_loss(
        weights: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        output, kept = network.apply_training(plan, weights, x, key, mask)
        return jnp.sum(mask * row_loss(loss, output, y)) / jnp.sum(mask), kept

    def step(
        weights: jax.Array, moments: Any, batch: tuple[jax.Array, ...], key: jax.Array | None
    ) -> tuple[jax.Array, Any, jax.Array]:
        x, y, mask, rate = batch
        (value, kept), gradient = jax.value_and_grad(mean_loss, has_aux=True)(weights, x, y, mask, key)
        updates, moved = direction.update(gradient, moments, weights)
        stepped = optax.apply_updates(weights, -rate * updates)
        return stepped if learned is None else jnp.where(learned, stepped, kept), moved, value

    def chunk(
        weights: jax.Array, moments: Any, x: jax.Array, y: jax.Array, masks: jax.Array, rates: jax.Array,
        seed: jax.Array, position: jax.Array, steps: jax.Array,
    ) -> tuple[jax.Array, Any, jax.Array]:  # fmt: skip
        def body(place: jax.Array, carry: tuple[jax.Array, Any, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
            weights, moments, losses = carry
            at = position + place.astype(jnp.uint32)
            key = jax.random.fold_in(jax.random.key(seed), at) if random else None
            weights, moments, value = step(weights, moments, (x[place], y[place], masks[place], rates[place]), key)
            return weights, moments, losses.at[place].set(value)

        begin = (weights, moments, jnp.zeros(len(masks)))
        weights, moments, losses = jax.lax.fori_loop(0, steps, body, begin)
        return weights, moments, losses

    return jax.jit(chunk, donate_argnums=(0, 1), out_shardings=Devices.local().replicated)


def row_loss(loss: str, predicted: jax.Array, target: jax.Array) -> jax.Array:
    """The loss of each row, shape (rows,): the mean over outputs of |e|, e² or Huber's (δ = 1); or −log p."""
    if loss == "cross_entropy":
        return jnp.asarray(optax.softmax_cross_entropy(predicted, target))
    error = predicted - target
    if loss == "mae":
        return jnp.mean(jnp.abs(error), axis=-1)
    if loss == "mse":
        return jnp.mean(jnp.square(error), axis=-1)
    return jnp.mean(optax.huber_loss(predicted, target, delta=1.0), axis=-1)
