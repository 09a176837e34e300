"""The loop: a run is a number of calls of one compiled chunk of steps.

A *chunk* scans over a fixed number of steps, batches and learning rates being its input: so one compiled program serves
every size of data and every number of steps, and a run can be cut between any two chunks. Weights are one vector,
since a scan costs by the number of arrays it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import losses, network, optimizer
from gitdata.training.architecture.plan import Plan
from gitdata.training.losses import Terms
from gitdata.training.settings import Optimizer, Schedule

CHUNK = 128  # steps

OnEpoch = Callable[["State"], float]


@dataclass(frozen=True, slots=True)
class State:
    """What training goes on from: weights and optimiser state as vectors, and the steps taken so far."""

    weights: Any
    optimizer: Any
    position: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run: which rows in which order follows from seed and position. `epoch`: the steps of one, 0: no matter."""

    plan: Plan
    loss: str | Terms
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    steps: int
    seed: int
    epoch: int = 0


def start(plan: Plan, declared: Optimizer, seed: int) -> State:
    """Fresh weights and a fresh optimiser."""
    weights = network.initial_weights(plan, seed)
    return State(weights, optimizer.direction(declared).init(weights), 0)


def train(
    run: Run,
    state: State,
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    on_chunk: Callable[[int, float], None] | None = None,
    on_epoch: OnEpoch | None = None,
) -> State:
    """Minimise the loss over `inputs` (rows, width) and `targets` (rows, width) for `run.steps` steps.

    `on_epoch` is handed the state after each epoch and says what the rates of the next are multiplied by; 0 ends all.
    Raises Mendable, naming the step, where the loss is no finite number any more.
    """
    chunk = compiled_chunk(run.plan, run.loss, run.optimizer)
    rates = optimizer.learning_rates(run.optimizer, run.schedule, run.steps, state.position)
    weights, moments = jnp.array(state.weights), jax.tree.map(jnp.array, state.optimizer)
    stream = batches(len(inputs), run.batch_size, np.random.default_rng([run.seed, state.position]))
    length, factor = chunk_length(run.epoch if on_epoch else 0), 1.0
    for first, count in _cuts(run.steps, length, run.epoch if on_epoch else 0):
        rows, masks = _gather(stream, count, length, run.batch_size)
        active = np.arange(length) < count
        rate = np.pad(np.float32(factor) * rates[first : first + count], (0, length - count))
        numbers = _step_seeds(run.seed, state.position + first, length)
        weights, moments, found = chunk(weights, moments, inputs[rows], targets[rows], masks, rate, active, numbers)
        _require_finite(np.asarray(found)[:count], state.position + first)
        done = first + count
        if on_chunk:
            on_chunk(done, float(np.mean(np.asarray(found)[:count])))
        if on_epoch and (done % run.epoch == 0 or done == run.steps):
            factor = on_epoch(State(weights, moments, state.position + done))
            if not factor:
                return State(weights, moments, state.position + done)
    return State(weights, moments, state.position + run.steps)


def chunk_length(epoch: int) -> int:
    """The steps of a chunk: where epochs are shorter and are looked at, the next power of two; few programs do."""
    return min(CHUNK, 1 << (epoch - 1).bit_length()) if epoch else CHUNK


def _cuts(steps: int, length: int, epoch: int) -> Iterator[tuple[int, int]]:
    """The first step and the number of steps of each chunk; none goes over the end of an epoch."""
    first = 0
    while first < steps:
        count = min(length, steps - first, epoch - first % epoch if epoch else length)
        yield first, count
        first += count


def batches(rows: int, size: int, generator: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Row numbers of one batch after the other, each epoch a new permutation; how many of a batch's rows count.

    The last batch of an epoch is padded with rows that weigh nothing, so that every batch has the same shape.
    """
    while True:
        order = generator.permutation(rows)
        for first in range(0, rows, size):
            batch = order[first : first + size]
            yield np.pad(batch, (0, size - len(batch))), len(batch)


def _gather(
    stream: Iterator[tuple[NDArray[np.int64], int]], count: int, length: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row numbers (length, size) and weights of the next batches; what is past `count` is never applied."""
    rows = np.zeros((length, size), np.int64)
    masks = np.ones((length, size), np.float32)
    for step in range(count):
        rows[step], valid = next(stream)
        masks[step, valid:] = 0.0
    return rows, masks


def _step_seeds(seed: int, position: int, length: int) -> NDArray[np.uint32]:
    """What is random within each step of a chunk follows from the seed and the step's position."""
    return np.random.default_rng([seed, 1, position]).integers(0, 2**32, length, np.uint32)


@lru_cache(maxsize=32)
def compiled_chunk(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """The compiled chunk: (weights, moments, inputs, targets, masks, rates, active) → the same state later, losses."""
    direction = optimizer.direction(declared, network.weight_shapes(plan))
    learned, random = network.learned(plan), network.is_random(plan)

    def mean_loss(
        weights: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        output, kept = network.apply_training(plan, weights, x, key, mask)
        return jnp.sum(mask * losses.row_loss(loss, output, y)) / jnp.sum(mask), kept

    def step(carry: tuple[jax.Array, Any], batch: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, Any], jax.Array]:
        weights, moments = carry
        x, y, mask, rate, active, number = batch
        key = jax.random.key(number) if random else None
        (value, kept), gradient = jax.value_and_grad(mean_loss, has_aux=True)(weights, x, y, mask, key)
        updates, moved = direction.update(gradient, moments, weights)
        stepped = optax.apply_updates(weights, -rate * updates)
        stepped = stepped if learned is None else jnp.where(learned, stepped, kept)
        keep = jax.tree.map(lambda new, old: jnp.where(active, new, old), (stepped, moved), (weights, moments))
        return keep, value

    def chunk(weights: jax.Array, moments: Any, *batches: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        (weights, moments), found = jax.lax.scan(step, (weights, moments), batches)
        return weights, moments, found

    return jax.jit(chunk, donate_argnums=(0, 1))


def _require_finite(found: NDArray[Any], first: int) -> None:
    bad = ~np.isfinite(found)
    if bad.any():
        raise Mendable(
            f"Training diverged: the loss is no finite number at step {first + int(bad.argmax()) + 1}.",
            "Lower learning_rate in [training.optimizer]; the champion stays.",
        )
