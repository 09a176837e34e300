"""Optimisers and learning rates, by Optax.

The learning rate of every step is computed before a run and handed to the compiled program, so that neither the
horizon nor the position is baked into it. A schedule with a horizon (cosine) starts anew with each run and decays over
it; the others go on from their position.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.training.declaration import Optimizer, Schedule


def direction(optimizer: Optimizer) -> optax.GradientTransformation:
    """What turns gradients into a direction; the learning rate is applied by the loop.

    adam: m̂ ÷ (√v̂ + ε) (Kingma & Ba 2015); sgd: the gradient, with momentum its running sum.
    """
    if optimizer.name == "adam":
        return optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps)
    return optax.trace(decay=optimizer.momentum) if optimizer.momentum else optax.identity()


def learning_rates(optimizer: Optimizer, schedule: Schedule, steps: int, position: int) -> NDArray[np.float32]:
    """The learning rate of each of the `steps` of a run that starts at `position`; all above zero."""
    peak = optimizer.learning_rate
    if schedule.name == "cosine":
        rate = optax.cosine_decay_schedule(peak, decay_steps=max(steps, 1), alpha=schedule.final)
        at = np.arange(steps)
    else:
        at = position + np.arange(steps)
        rate = optax.constant_schedule(peak)
        if schedule.name == "exponential":
            floor = (
                peak * schedule.final
            )  # the position goes on from version to version: without it training would cease
            rate = optax.exponential_decay(peak, schedule.steps, schedule.rate, end_value=floor)
    return np.broadcast_to(np.asarray(rate(at), np.float32), (steps,))


def fits(like: Any, arrays: dict[str, NDArray[Any]]) -> bool:
    """Whether stored state has the parts that a declared optimiser needs: other settings may need others."""
    return {name for name, _ in _leaves(like)} == arrays.keys()


def state_to_arrays(state: Any) -> dict[str, NDArray[Any]]:
    """The optimiser's state by name."""
    return {name: np.asarray(leaf) for name, leaf in _leaves(state)}


def state_from_arrays(like: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """The state that `arrays` hold, in the structure of `like`; raises ValueError naming what does not fit."""
    named = _leaves(like)
    if {name for name, _ in named} != arrays.keys():
        different = sorted({name for name, _ in named} ^ arrays.keys())
        raise ValueError(f"the optimiser state has other parts than declared ('{different[0]}')")
    for name, leaf in named:
        if arrays[name].shape != np.shape(leaf):
            raise ValueError(f"the optimiser state '{name}' has the shape {list(arrays[name].shape)}")
    leaves = [np.asarray(arrays[name], np.asarray(leaf).dtype) for name, leaf in named]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _leaves(state: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path).strip("."), leaf) for path, leaf in leaves]
