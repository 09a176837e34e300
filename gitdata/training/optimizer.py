"""Optimisers and learning rates, by Optax.

The learning rates of some steps are computed before these are taken, and handed to the compiled program, so that
neither the horizon nor the position is baked into it. A schedule with a horizon starts anew with each run and goes over
all of it; the others go on from their position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.training.settings import Optimizer, Schedule

Shapes = Mapping[str, tuple[int, ...]]

# What is left of a weight's name after the last dot, where decay does harm: offsets, and the scales of norms.
_UNDECAYED = ("bias", "scale")


def direction(declared: Optimizer, shapes: Shapes | None = None) -> optax.GradientTransformation:
    """What turns gradients into a direction; the learning rate is applied by the loop.

    Its state is the optimiser's own: clipping and decay keep none, so that turning them on or off loses nothing.
    `shapes`: the weights in the order of the vector (`network.weight_shapes`); None: it is one weight.
    """
    own = _OPTIMIZERS[declared.name](declared)

    def update(gradient: Any, state: Any, weights: Any = None) -> tuple[Any, Any]:
        moved, state = own.update(_clipped(declared, gradient), state, weights)
        if declared.weight_decay:
            moved = moved + declared.weight_decay * _decayed(declared, shapes) * weights
        return (_trusted(moved, weights, shapes) if declared.name == "lamb" else moved), state

    return optax.GradientTransformation(own.init, update)


def _adam(declared: Optimizer) -> optax.GradientTransformation:
    """m̂ ÷ (√v̂ + ε) (Kingma & Ba 2015; with Nesterov's momentum: Dozat 2016)."""
    return optax.scale_by_adam(declared.b1, declared.b2, declared.eps, nesterov=declared.name == "nadam")


def _adabelief(declared: Optimizer) -> optax.GradientTransformation:
    """Adam with the variance around m in place of the square (Zhuang et al. 2020)."""
    return optax.scale_by_belief(declared.b1, declared.b2, declared.eps, eps_root=declared.eps)


def _lion(declared: Optimizer) -> optax.GradientTransformation:
    """The sign of a mean of momentum and gradient (Chen et al. 2023)."""
    return optax.scale_by_lion(declared.b1, declared.b2)


def _momentum(declared: Optimizer) -> optax.GradientTransformation:
    """The running sum of what comes in, or what comes in (Polyak 1964; Sutskever et al. 2013)."""
    return optax.trace(declared.momentum, nesterov=declared.nesterov) if declared.momentum else optax.identity()


def _rmsprop(declared: Optimizer) -> optax.GradientTransformation:
    """g ÷ √(v + ε), then momentum (Tieleman & Hinton 2012)."""
    return optax.chain(optax.scale_by_rms(declared.decay, declared.eps), _momentum(declared))


def _adagrad(declared: Optimizer) -> optax.GradientTransformation:
    """g ÷ √(0.1 + Σg² + ε) (Duchi et al. 2011)."""
    return optax.scale_by_rss(initial_accumulator_value=0.1, eps=declared.eps)


def _adadelta(declared: Optimizer) -> optax.GradientTransformation:
    """g × √(u + ε) ÷ √(v + ε), u the mean square of the steps so far (Zeiler 2012)."""
    return optax.scale_by_adadelta(declared.decay, declared.eps)


_OPTIMIZERS: dict[str, Callable[[Optimizer], optax.GradientTransformation]] = {
    "adam": _adam, "adamw": _adam, "nadam": _adam, "lamb": _adam, "adabelief": _adabelief, "lion": _lion,
    "sgd": _momentum, "rmsprop": _rmsprop, "adagrad": _adagrad, "adadelta": _adadelta,
}  # fmt: skip


def _clipped(declared: Optimizer, gradient: Any) -> Any:
    """The gradient with each number bounded, then its norm."""
    if declared.clip_value is not None:
        gradient = jnp.clip(gradient, -declared.clip_value, declared.clip_value)
    if declared.clip_norm is not None:
        norm = jnp.linalg.norm(gradient)
        gradient = gradient * jnp.minimum(1.0, declared.clip_norm / jnp.maximum(norm, 1e-30))
    return gradient


def _decayed(declared: Optimizer, shapes: Shapes | None) -> NDArray[np.float32] | float:
    """1 for each number of the vector that decays, else 0."""
    if declared.decay_all or shapes is None:
        return 1.0
    decays = [name.rpartition(".")[2] not in _UNDECAYED for name in shapes]
    return np.repeat(np.array(decays, np.float32), _sizes(shapes))


def _trusted(moved: Any, weights: Any, shapes: Shapes | None) -> Any:
    """LAMB (You et al. 2020): each weight's direction × its norm ÷ the direction's; × 1 where either is zero."""
    stops = np.cumsum(_sizes(shapes))[:-1].tolist() if shapes else []
    parts = []
    for own, weight in zip(jnp.split(moved, stops), jnp.split(weights, stops), strict=True):
        length, size = jnp.linalg.norm(own), jnp.linalg.norm(weight)
        usable = (length > 0) & (size > 0)
        parts.append(own * jnp.where(usable, size / jnp.where(usable, length, 1.0), 1.0))
    return jnp.concatenate(parts)


def _sizes(shapes: Shapes) -> list[int]:
    return [int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()]


# --- learning rates ------------------------------------------------------------------------------------------


def learning_rates(
    optimizer: Optimizer, schedule: Schedule, steps: int, position: int, first: int = 0, count: int | None = None
) -> NDArray[np.float32]:
    """The learning rates of a run of `steps` that starts at `position`; all above zero.

    Of all its steps, or of `count` from step `first` on: the very same numbers.
    """
    at = np.arange(first, steps if count is None else first + count)
    has_horizon = schedule.name in _OVER_A_RUN
    warmup = _warmup(schedule, steps, 0 if has_horizon else position)
    if has_horizon:
        shares = np.maximum(at - warmup, 0) / max(steps - warmup, 1)
        rates = np.where(at < warmup, 1.0, _OVER_A_RUN[schedule.name](schedule, shares))
    else:
        at = position + at
        rates = np.maximum(_by_position(schedule, at), schedule.final)
    rising = np.minimum(1.0, (at + 1) / (warmup + 1)) if warmup else 1.0
    return np.asarray(optimizer.learning_rate * rates * rising, np.float32)


def _warmup(schedule: Schedule, steps: int, position: int) -> int:
    """In how many steps the rate rises; a share is one of a run that begins at 0."""
    if isinstance(schedule.warmup, float):
        return round(schedule.warmup * steps) if position == 0 else 0
    return min(schedule.warmup, steps) if schedule.name in _OVER_A_RUN else schedule.warmup


def _polynomial(schedule: Schedule, shares: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    return schedule.final + (1 - schedule.final) * (1 - shares) ** power


def _cosine(low: float, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1 down to `low` along half a wave (Loshchilov & Hutter 2017)."""
    return low + (1 - low) * (1 + np.cos(np.pi * shares)) / 2


def _one_cycle(schedule: Schedule, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    rises = shares < schedule.rise
    up = _cosine(schedule.start, 1 - shares / schedule.rise)
    down = _cosine(schedule.final, (shares - schedule.rise) / (1 - schedule.rise))
    return np.where(rises, up, down)


def _wsd(schedule: Schedule, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The peak, and from there evenly down (warm-up, stable, decay: Hu et al. 2024)."""
    return _polynomial(schedule, np.maximum(0, 1 - (1 - shares) / schedule.decay), 1.0)


# By the share of the run that is over, in multiples of the peak.
_OVER_A_RUN: dict[str, Callable[[Schedule, NDArray[np.float64]], NDArray[np.float64]]] = {
    "cosine": lambda schedule, shares: _cosine(schedule.final, shares),
    "linear": lambda schedule, shares: _polynomial(schedule, shares, 1.0),
    "polynomial": lambda schedule, shares: _polynomial(schedule, shares, schedule.power),
    "one_cycle": _one_cycle,
    "wsd": _wsd,
}


def _by_position(schedule: Schedule, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """In multiples of the peak. Positions go on from version to version: without a floor training would cease."""
    if schedule.name == "exponential":
        return np.asarray(schedule.rate ** (at / schedule.steps), np.float64)
    if schedule.name == "step":
        return np.asarray(schedule.rate ** (at // schedule.steps), np.float64)
    if schedule.name == "piecewise":
        return np.asarray(schedule.rate ** np.searchsorted(schedule.boundaries, at, side="right"), np.float64)
    return np.ones(len(at))


# --- state ---------------------------------------------------------------------------------------------------


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
