"""The loop: a run is a number of calls of one compiled chunk of steps.

A *chunk* goes through as many steps as it is told, batches and learning rates being its input: so one compiled program
serves every size of data and every number of steps, and a run can be cut between any two chunks, which is where it
is interrupted. Weights are one vector, since a loop costs by the number of arrays it carries. While a chunk is
computed the next one is gathered in a thread, and its losses are looked at when the one after it is on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.errors import Interrupted, Mendable
from gitdata.training import feed, interruption, losses, network, optimizer, pull
from gitdata.training.architecture.layers import Conv
from gitdata.training.architecture.notation import every_layer
from gitdata.training.architecture.plan import Plan
from gitdata.training.checkpoint import Checkpoint, Saved
from gitdata.training.devices import Devices
from gitdata.training.losses import Terms
from gitdata.training.pace import Pace
from gitdata.training.prefetch import ahead
from gitdata.training.pull import Pull
from gitdata.training.settings import Optimizer, Schedule
from gitdata.training.shuffle import Held, Rows

_WEIGHTS = "weights"
_MOMENTS = "optimizer."
_MEMORY = "memory."
_MEANS = "means"
OnEpoch = Callable[["State"], float]
Carry = tuple[Any, Any, Any, jax.Array]  # weights, optimiser state, means of weights, losses
Rates = NDArray[np.float32]


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
    """What training goes on from: weights and optimiser state as vectors, and the steps taken so far.

    `means`: of the weights of a run that keeps some (`Run.averages`), a row each.
    """

    weights: Any
    optimizer: Any
    position: int
    means: Any = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: which rows in which order follows from seed and position. `epoch`: the steps of one, 0: no matter.

    `averages`: stretches of the run, as shares of its steps, whose weights are averaged; `pull` adds to the gradient.
    """

    plan: Plan
    loss: str | Terms
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int
    steps: int
    seed: int
    epoch: int = 0
    averages: tuple[tuple[float, float], ...] = ()
    pull: Pull | None = None


class Memory(Protocol):
    """What whoever steers a run remembers of it, to be kept in a checkpoint: JSON, and arrays by name."""

    def remember(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]: ...

    def recall(self, known: dict[str, Any], arrays: dict[str, NDArray[Any]], like: State) -> float:
        """Take up what was remembered; what the rates of the next epoch are multiplied by, 0 where the run is over."""
        ...


@dataclass(frozen=True, slots=True)
class Onlookers:
    """Who looks on at a run, between two chunks.

    `losses` is told the first step of a chunk, its losses and its learning rates; of the last chunk of an epoch, after
    `on_epoch` was. `weights` may look at the weights after so many steps, before the next chunk is begun; `checkpoint`
    keeps where the run stands.
    """

    losses: Callable[[int, NDArray[np.float32], Rates], None] | None = None
    weights: Callable[[int, Any], None] | None = None
    checkpoint: Checkpoint | None = None


def start(plan: Plan, declared: Optimizer, seed: int) -> State:
    """Fresh weights and a fresh optimiser."""
    weights = network.initial_weights(plan, seed)
    return State(weights, optimizer.direction(declared, network.weight_shapes(plan)).init(weights), 0)


def train(
    run: Run,
    state: State,
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    onlookers: Onlookers | None = None,
    on_epoch: OnEpoch | None = None,
) -> State:
    """`train_rows` on rows in memory: `inputs` and `targets`, shape (rows, width)."""
    return train_rows(run, state, Held(inputs, targets), onlookers, on_epoch)


def train_rows(
    run: Run,
    state: State,
    rows: Rows,
    onlookers: Onlookers | None = None,
    on_epoch: OnEpoch | None = None,
    memory: Memory | None = None,
) -> State:
    """Minimise the loss over some rows for `run.steps` steps, or for what a checkpoint leaves of them.

    `on_epoch` is handed the state after each epoch and says what the rates of the next are multiplied by; 0 ends all.
    `memory` is what it remembers. Raises Diverged, naming step and rows, where the loss is no finite number any more,
    and Interrupted where somebody pressed Ctrl-C and a checkpoint keeps where the run stood.
    """
    looking, devices = onlookers or Onlookers(), Devices.local()
    chunk = compiled_chunk(run.plan, run.loss, run.optimizer)
    kept = _Kept(looking.checkpoint, memory)
    first, now, factor = kept.begin(state)
    if not factor:
        return now
    means = np.zeros((len(run.averages), len(now.weights)), np.float32) if run.averages else None
    held = (now.weights, now.optimizer, means if now.means is None else now.means, run.pull)
    weights, moments, means, towards = devices.state(held)
    order = feed.Order(run.batch_size, run.seed, state.position, devices.count)
    cut, pace, done = run.epoch if on_epoch else 0, Pace(), first
    late: list[tuple[feed.Chunk, Rates, jax.Array]] = []
    coming = ahead(feed.chunks(rows, order, first, run.steps, cut=cut, pace=pace))
    with interruption.heard() as interrupted, closing(coming) as chunks:
        for batch in chunks:
            if not late:
                pace.begin()
            arguments = _arguments(run, state, batch, factor, devices)
            weights, moments, means, found = chunk(weights, moments, means, *arguments, towards)
            if not done - first:
                pace.begin()  # the first call compiles
            done = batch.first + batch.count
            late.append((batch, arguments[3][: batch.count], found))
            ends_epoch = on_epoch is not None and (done % run.epoch == 0 or done == run.steps)
            is_due = kept.is_due or interrupted.asked
            settled = [_settle(late.pop(0), state, pace) for _ in range(len(late) - (0 if ends_epoch or is_due else 1))]
            if on_epoch and ends_epoch:
                factor = on_epoch(State(weights, moments, state.position + done, means))
            _tell(looking, settled)
            if looking.weights:
                looking.weights(done, weights)
            if is_due:
                kept.write(done, weights, moments, means)
            if not factor or interrupted.asked:
                break
    _tell(looking, [_settle(waiting, state, pace) for waiting in late])
    if interrupted.asked:
        kept.interrupt(done, run.steps, weights, moments, means)
    kept.end(done, weights, moments, means)
    return State(weights, moments, state.position + done, means)


def _arguments(run: Run, state: State, batch: feed.Chunk, factor: float, devices: Devices) -> tuple[Any, ...]:
    """What the compiled chunk takes besides the state."""
    rates, gains, first = terms_of(run, state, batch)
    placed = (devices.batches(array) for array in (batch.inputs, batch.targets, batch.masks))
    return (*placed, np.float32(factor) * rates, gains, np.uint32(run.seed), first, np.int32(batch.count))


def terms_of(run: Run, state: State, batch: feed.Chunk) -> tuple[Rates, NDArray[np.float32] | None, np.uint32]:
    """Of the steps of a chunk the declared learning rates, the gains of means, and the position of the first."""
    rates = np.zeros(len(batch.masks), np.float32)
    rates[: batch.count] = optimizer.learning_rates(
        run.optimizer, run.schedule, run.steps, state.position, batch.first, batch.count
    )
    return rates, _gains(run, batch.first, len(batch.masks)), np.uint32((state.position + batch.first) % 2**32)


def _gains(run: Run, first: int, count: int) -> NDArray[np.float32] | None:
    """By how much of its distance from the weights each mean moves at each of some steps, shape (steps, means)."""
    if not run.averages:
        return None
    stretches = np.array([(round(low * run.steps), round(high * run.steps)) for low, high in run.averages])
    begins, ends = stretches[:, 0], np.maximum(stretches[:, 1], stretches[:, 0] + 1)
    at = np.arange(first, first + count)[:, None]
    within = (at >= begins) & (at < ends)
    return np.asarray(np.where(within, 1 / np.maximum(at - begins + 1, 1), 0), np.float32)


def _settle(
    computed: tuple[feed.Chunk, Rates, jax.Array], state: State, pace: Pace
) -> tuple[int, NDArray[np.float32], Rates]:
    """Wait for a chunk; its first step, losses and rates. Raises Diverged."""
    batch, rates, losses = computed
    found = np.asarray(losses)[: batch.count]
    pace.settle(batch.count)
    bad = ~np.isfinite(found)
    if bad.any():
        step = int(bad.argmax())
        raise Diverged(state.position + batch.first + step + 1, batch.rows_of_step(step).tolist())
    return batch.first, found, rates


def _tell(looking: Onlookers, settled: Sequence[tuple[int, NDArray[np.float32], Rates]]) -> None:
    if looking.losses:
        for first, found, rates in settled:
            looking.losses(first, found, rates)


# --- checkpoints ---------------------------------------------------------------------------------------------


class _Kept:
    """Where a run stands, as its checkpoint has it."""

    def __init__(self, checkpoint: Checkpoint | None, memory: Memory | None) -> None:
        self.checkpoint, self.memory = checkpoint, memory
        self.began = time.monotonic()

    @property
    def is_due(self) -> bool:
        return self.checkpoint is not None and self.checkpoint.is_due

    def begin(self, state: State) -> tuple[int, State, float]:
        """The next step, the state before it, and what the rates are multiplied by; 0 where the run is over."""
        saved = self.checkpoint.read() if self.checkpoint else None
        if self.checkpoint is None or saved is None:
            return 0, state, 1.0
        self.checkpoint.say(f"Going on after step {saved.steps} from a checkpoint.")
        self.began -= saved.seconds
        moments = _part(saved.arrays, _MOMENTS)
        weights, position = saved.arrays[_WEIGHTS], state.position + saved.steps
        moved = optimizer.state_from_arrays(state.optimizer, moments)
        now = State(weights, moved, position, saved.arrays.get(_MEANS))
        factor = self.memory.recall(saved.known, _part(saved.arrays, _MEMORY), state) if self.memory else 1.0
        return saved.steps, now, factor

    def write(self, steps: int, weights: Any, moments: Any, means: Any) -> bool:
        """Keep this, if anything is kept; whether it is."""
        if self.checkpoint is None:
            return False
        known, arrays = self.memory.remember() if self.memory else ({}, {})
        held = {f"{_MOMENTS}{name}": array for name, array in optimizer.state_to_arrays(moments).items()}
        held |= {f"{_MEMORY}{name}": array for name, array in arrays.items()} | {_WEIGHTS: np.asarray(weights)}
        held |= {} if means is None else {_MEANS: np.asarray(means)}
        return self.checkpoint.write(Saved(steps, held, time.monotonic() - self.began, known))

    def interrupt(self, done: int, steps: int, weights: Any, moments: Any, means: Any) -> NoReturn:
        """End a run of so many steps before its end."""
        if self.write(done, weights, moments, means):
            raise Interrupted(f"Interrupted after step {done} of {steps}; the same command goes on from there.")
        raise KeyboardInterrupt

    def end(self, steps: int, weights: Any, moments: Any, means: Any) -> None:
        """A run that took long is kept to its end: other methods may follow before anything is recorded."""
        if self.checkpoint is not None and time.monotonic() - self.began >= self.checkpoint.every:
            self.write(steps, weights, moments, means)


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


# --- the compiled chunk --------------------------------------------------------------------------------------


def compiled_chunk(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., Carry]:
    """The compiled chunk: (weights, moments, means, batches …, seed, position, steps, pull) → the state later, losses.

    Batches are inputs (most steps, rows, width), targets (…), masks (most steps, rows), learning rates and gains of the
    means (most steps, …); `steps` of them are taken. Learning rates being given, that of the optimiser makes no other.
    """
    return _compiled_chunk(plan, loss, declared.model_copy(update={"learning_rate": 1.0}))


def compiled_together(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., Carry]:
    """The same for many runs at once: all but rates, gains, position and steps has a first axis of runs."""
    return _compiled_together(plan, loss, declared.model_copy(update={"learning_rate": 1.0}))


@lru_cache(maxsize=32)
def _compiled_chunk(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., Carry]:
    body = _step(plan, loss, declared)
    if is_slow_in_a_loop(plan):
        return _step_by_step(jax.jit(body, donate_argnums=1))
    return jax.jit(_chunk(body), donate_argnums=(0, 1, 2), out_shardings=Devices.local().replicated)


@lru_cache(maxsize=32)
def _compiled_together(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., Carry]:
    many = jax.vmap(_chunk(_step(plan, loss, declared)), (0, 0, 0, 0, 0, 0, None, None, 0, None, None, 0))
    return jax.jit(many, donate_argnums=(0, 1, 2))


def _step(plan: Plan, loss: str | Terms, declared: Optimizer) -> Callable[..., Carry]:
    """One step: (its place, state, batch, gain, seed, position, pull) → the state later."""
    direction = optimizer.direction(declared, network.weight_shapes(plan))
    learned, random = network.learned(plan), network.is_random(plan)

    def mean_loss(
        weights: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        output, kept = network.apply_training(plan, weights, x, key, mask)
        return jnp.sum(mask * losses.row_loss(loss, output, y)) / jnp.sum(mask), kept

    def step(
        place: Any, carry: Carry, batch: tuple[Any, ...], gain: Any, seed: Any, position: Any, towards: Pull | None
    ) -> Carry:
        (weights, moments, means, found), (x, y, mask, rate) = carry, batch
        key = jax.random.fold_in(jax.random.key(seed), position) if random else None
        (value, kept), gradient = jax.value_and_grad(mean_loss, has_aux=True)(weights, x, y, mask, key)
        updates, moments = direction.update(pull.pulled(gradient, weights, towards), moments, weights)
        stepped = optax.apply_updates(weights, -rate * updates)
        weights = stepped if learned is None else jnp.where(learned, stepped, kept)
        means = None if means is None else means + gain[:, None] * (weights[None, :] - means)
        return weights, moments, means, found.at[place].set(value)

    return step


def _chunk(step: Callable[..., Carry]) -> Callable[..., Carry]:
    """Many steps in one program."""

    def chunk(
        weights: jax.Array, moments: Any, means: Any, x: jax.Array, y: jax.Array, masks: jax.Array, rates: jax.Array,
        gains: Any, seed: jax.Array, position: jax.Array, steps: jax.Array, towards: Pull | None,
    ) -> Carry:  # fmt: skip
        def taken(place: jax.Array, carry: Carry) -> Carry:
            batch, gain = (x[place], y[place], masks[place], rates[place]), None if gains is None else gains[place]
            return step(place, carry, batch, gain, seed, position + place.astype(jnp.uint32), towards)

        done: Carry = jax.lax.fori_loop(0, steps, taken, (weights, moments, means, jnp.zeros(len(masks))))
        return done

    return chunk


def is_slow_in_a_loop(plan: Plan) -> bool:
    """Whether XLA would not lay out what the network computes for its fast CPU kernels: convolutions within a loop."""
    convolves = any(isinstance(layer, Conv) for layer in every_layer(plan.layers))
    return convolves and jax.default_backend() == "cpu" and Devices.local().count == 1


def _step_by_step(step: Callable[..., Carry]) -> Callable[..., Carry]:
    """A chunk that calls a compiled step for each batch."""

    def chunk(
        weights: Any, moments: Any, means: Any, x: Any, y: Any, masks: Any, rates: Any, gains: Any,
        seed: Any, position: Any, steps: Any, towards: Pull | None,
    ) -> Carry:  # fmt: skip
        carry = (weights, moments, means, jnp.zeros(len(masks)))
        for place in range(int(steps)):
            at = np.uint32((int(position) + place) % 2**32)
            batch, gain = (x[place], y[place], masks[place], rates[place]), None if gains is None else gains[place]
            carry = step(np.int32(place), carry, batch, gain, seed, at, towards)
        return carry

    return chunk
