"""Together: runs that differ in their seeds alone, computed as one, each array with a first axis of runs.

Each run is fed as it would be alone, and comes to what it would have come to, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from gitdata.training import feed, loop
from gitdata.training.devices import Devices
from gitdata.training.prefetch import ahead
from gitdata.training.shuffle import Rows


class Beginning(Protocol):
    """A run, the state that it begins with, and its rows."""

    @property
    def run(self) -> loop.Run: ...
    @property
    def state(self) -> loop.State: ...
    @property
    def rows(self) -> Rows: ...


def kind_of(beginning: Beginning) -> Hashable:
    """Runs of one kind may be computed together; None: it has to be computed alone."""
    run, state = beginning.run, beginning.state
    if loop.is_slow_in_a_loop(run.plan) or Devices.local().count > 1:
        return None
    leaves, tree = jax.tree.flatten((state.weights, state.optimizer, run.pull))
    shapes = tuple(np.shape(leaf) for leaf in leaves)
    return replace(run, seed=0, pull=None), state.position, beginning.rows.count, tree, shapes


def train_together(beginnings: Sequence[Beginning]) -> list[loop.State | loop.Diverged]:
    """What `loop.train_rows` comes to for each of some runs of one kind; a run that diverges stops no other."""
    first = beginnings[0]
    run, position = first.run, first.state.position
    chunk = loop.compiled_together(run.plan, run.loss, run.optimizer)
    weights, moments = _stacked([(each.state.weights, each.state.optimizer) for each in beginnings])
    means = np.zeros((len(beginnings), len(run.averages), weights.shape[1]), np.float32) if run.averages else None
    towards = _stacked([each.run.pull for each in beginnings])
    seeds = np.array([each.run.seed for each in beginnings], np.uint32)
    diverged: dict[int, loop.Diverged] = {}
    late: list[tuple[tuple[feed.Chunk, ...], jax.Array]] = []
    with closing(ahead(_chunks(beginnings))) as coming:
        for batches in coming:
            rates, gains, at = loop.terms_of(run, first.state, batches[0])
            placed = (np.stack([getattr(b, name) for b in batches]) for name in ("inputs", "targets", "masks"))
            weights, moments, means, losses = chunk(
                weights, moments, means, *placed, rates, gains, seeds, at, np.int32(batches[0].count), towards
            )
            late.append((batches, losses))
            if len(late) > 1:
                _note(diverged, position, *late.pop(0))
    for waiting in late:
        _note(diverged, position, *waiting)
    state = loop.State(weights, moments, position + run.steps, means)
    return [diverged.get(place) or _one(state, place) for place in range(len(beginnings))]


def _chunks(beginnings: Sequence[Beginning]) -> Generator[tuple[feed.Chunk, ...], None, None]:
    """The next chunk of each run."""
    orders = [feed.Order(each.run.batch_size, each.run.seed, each.state.position) for each in beginnings]
    all_chunks: list[Iterator[feed.Chunk]] = [
        feed.chunks(each.rows, order, 0, each.run.steps) for each, order in zip(beginnings, orders, strict=True)
    ]
    yield from zip(*all_chunks, strict=True)


def _stacked(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, whose leaves have a first axis."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _one(state: loop.State, place: int) -> loop.State:
    """The state of one of many runs."""
    own = jax.tree.map(lambda leaf: np.asarray(leaf)[place], (state.weights, state.optimizer, state.means))
    return loop.State(own[0], own[1], state.position, own[2])


def _note(diverged: dict[int, loop.Diverged], position: int, batches: Sequence[feed.Chunk], losses: jax.Array) -> None:
    """Which runs' loss is no finite number any more, the first time that it is not."""
    found: NDArray[np.float32] = np.asarray(losses)
    for place, batch in enumerate(batches):
        bad = ~np.isfinite(found[place, : batch.count])
        if bad.any() and place not in diverged:
            step = int(bad.argmax())
            numbers = batch.rows_of_step(step).tolist()
            diverged[place] = loop.Diverged(position + batch.first + step + 1, numbers)
