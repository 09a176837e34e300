"""ewc: finetune with a penalty by how much each weight matters to what was seen: L(w; unseen) + λ/2 (w−w₀)ᵀ F (w−w₀).

Kirkpatrick et al. 2017, eq. 3, F being the empirical Fisher information, the mean over rows of g gᵀ, g the gradient of
the loss of a single row. It is taken at the restored weights over the reservoir, so that one term stands for all that
was ever seen (as in online EWC, but never out of date). Where rows × weights are few enough, F is *full*, as its factor
G with a row g ÷ √rows for each row; else only its diagonal is kept. λ = strength × UNIT × seen rows ÷ unseen rows. By
Laplace's approximation UNIT were 1; gradients of rows that are fitted well say too little of how much these matter, and
by experiment it is 300 (docs/experiments/bounded-memory.md). Cost: finetune's, and a gradient for each row of the
reservoir.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gitdata.training import losses, network
from gitdata.training.architecture.plan import Plan
from gitdata.training.losses import Terms
from gitdata.training.methods import finetune
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.pull import Pull
from gitdata.training.shuffle import Held

UNIT = 300.0
MOST_NUMBERS = 2**24  # of a factor: 64 MiB
AT_ONCE = 32  # rows whose gradients are taken together


def prepare(occasion: Occasion) -> Ingredients:
    reservoir = occasion.reservoir
    weighing = occasion.weighing((occasion.unseen, 1.0), (reservoir.trained, reservoir.seen / len(reservoir.held)))
    anchor = network.vector(occasion.plan, occasion.version.weights)
    terms = losses.terms(occasion.declaration.training, occasion.plan.outputs)
    strength = occasion.method.strength * UNIT * reservoir.seen / max(1, occasion.data.unseen_rows)
    return finetune.on_unseen(
        occasion, fisher(occasion.plan, terms, anchor, occasion.held(reservoir.trained, weighing), strength)
    )


def fisher(plan: Plan, loss: Terms, weights: NDArray[np.float32], rows: Held, strength: float) -> Pull:
    """The pull by the Fisher information of some rows at some weights, times a strength."""
    scale = np.float32(np.sqrt(strength / rows.count))
    gradients = (scale * block for block in _gradients(plan, loss, weights, rows))
    if rows.count * len(weights) <= MOST_NUMBERS:
        return Pull(weights, factor=np.concatenate(list(gradients)))
    return Pull(weights, diagonal=np.sum([(block**2).sum(axis=0) for block in gradients], axis=0))


def _gradients(plan: Plan, loss: Terms, weights: NDArray[np.float32], rows: Held) -> Iterator[NDArray[np.float32]]:
    """The gradient of the loss of each row, shape (some rows, weights)."""
    for start in range(0, rows.count, AT_ONCE):
        x, y = rows.inputs[start : start + AT_ONCE], rows.targets[start : start + AT_ONCE]
        padding = ((0, AT_ONCE - len(x)), (0, 0))
        found = _compiled(plan, loss)(weights, np.pad(x, padding), np.pad(y, padding))
        yield np.asarray(found)[: len(x)]


@lru_cache(maxsize=8)
def _compiled(plan: Plan, loss: Terms) -> Any:
    def of_one(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return losses.row_loss(loss, network.apply(plan, weights, x[None]), y[None])[0]

    return jax.jit(jax.vmap(jax.grad(of_one), in_axes=(None, 0, 0)))
