"""Losses: what a run minimises, row by row, over a line of outputs.

A loss is the mean over its *terms*, weighted: each term is the loss of an output, or of all outputs if they share one.
A plain name stands for one term over the whole line. Weights of classes are not part of it, since they may follow from
the rows: they are in the targets, whose classes are one-hot × the weight; a class of weight 0 teaches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.architecture.plan import Output
from gitdata.training.preprocessing import Categorical, FieldCode
from gitdata.training.settings import Loss, Training


@dataclass(frozen=True, slots=True)
class Term:
    """The loss of `width` outputs in a row; `weight` beside other terms. What the others mean, `settings.Loss` says."""

    name: str
    width: int
    weight: float = 1.0
    delta: float = 1.0
    quantile: float = 0.5
    label_smoothing: float = 0.0
    positive_weight: float = 1.0


Terms = tuple[Term, ...]


def terms(training: Training, outputs: Sequence[Output]) -> Terms:
    """The terms of a declared loss; one that outputs share is one term, unless each output has classes of its own."""
    if not isinstance(training.loss, dict) and training.loss.kind != "classes":
        return (_term(training.loss, sum(output.width for output in outputs)),)
    return tuple(_term(training.loss_of(output.name), output.width) for output in outputs)


def _term(loss: Loss, width: int) -> Term:
    return Term(
        loss.name, width, loss.weight, loss.delta, loss.quantile, loss.label_smoothing, loss.positive_weight
    )  # fmt: skip


def row_loss(loss: str | Terms, predicted: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of each row, shape (rows,), of what a network puts out and of the targets, shape (rows, width)."""
    found = (Term(loss, predicted.shape[-1]),) if isinstance(loss, str) else loss
    if len(found) == 1:
        return _LOSSES[found[0].name](found[0], predicted, targets)
    total, start = jnp.zeros(len(predicted)), 0
    for term in found:
        own = slice(start, start + term.width)
        total += term.weight * _LOSSES[term.name](term, predicted[:, own], targets[:, own])
        start += term.width
    return total / sum(term.weight for term in found)


def mean_loss(loss: str | Terms, predicted: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """The mean of `row_loss` over rows, computed by a program that serves as many rows again."""
    rows = len(predicted)
    padding = ((0, (1 << max(rows - 1, 0).bit_length()) - rows), (0, 0))
    losses = _compiled(loss)(np.pad(predicted, padding), np.pad(targets, padding))
    return float(np.asarray(losses)[:rows].mean(dtype=np.float64))


@lru_cache(maxsize=32)
def _compiled(loss: str | Terms) -> Callable[..., jax.Array]:
    return jax.jit(partial(row_loss, loss))


def class_weights(
    training: Training, fields: Sequence[FieldCode], sums: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """What each column of targets is to be multiplied by, shape (width,); None: by nothing.

    `sums`: the sum of each column over the rows that are trained on: of a class, how many rows have it. Raises Mendable
    naming a class that does not exist.
    """
    found, start = np.ones(len(sums), np.float32), 0
    for field in fields:
        own = slice(start, start + field.width)
        if isinstance(field, Categorical) and field.kind == "classes":
            found[own] = _weights_of(training.loss_of(field.name), field, sums[own])
        start += field.width
    return None if (found == 1).all() else found


def _weights_of(loss: Loss, field: Categorical, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    names = [str(category) for category in field.categories]
    given = loss.class_weights if isinstance(loss.class_weights, dict) else {}
    if unknown := [name for name in given if name not in names]:
        raise Mendable(
            f"'{field.name}' has no class '{unknown[0]}'; classes: {', '.join(names[:20])}.",
            "Correct class_weights in [training].",
        )
    learned = np.array([str(loss.ignore) != name for name in names])
    if loss.class_weights == "balanced":
        present = learned & (counts > 0)
        weights = np.where(present, counts[present].sum() / np.maximum(present.sum() * counts, 1), 1.0)
    else:
        weights = np.array([given.get(name, 1.0) for name in names])
    return np.asarray(np.where(learned, weights, 0.0))


# --- one term: outputs and targets (rows, width) → losses (rows,) ------------------------------------------------


def _over_error(of: Callable[[Term, jax.Array], jax.Array]) -> Callable[[Term, jax.Array, jax.Array], jax.Array]:
    """The loss that is the mean over outputs of a function of the error."""
    return lambda term, predicted, targets: jnp.mean(of(term, predicted - targets), axis=-1)


def _huber(term: Term, error: jax.Array) -> jax.Array:
    """e² ÷ 2 up to δ, then δ (|e| − δ ÷ 2) (Huber 1964)."""
    return jnp.asarray(optax.huber_loss(error, delta=term.delta))


def _log_cosh(term: Term, error: jax.Array) -> jax.Array:
    """log cosh e, without overflow."""
    return jnp.asarray(optax.log_cosh(error))


def _quantile(term: Term, error: jax.Array) -> jax.Array:
    """τ × what is missing, or (1 − τ) × what is too much (Koenker & Bassett 1978)."""
    return jnp.maximum(-term.quantile * error, (1 - term.quantile) * error)


def _cross_entropy(term: Term, logits: jax.Array, targets: jax.Array) -> jax.Array:
    """w × ((1 − ε) × −log p of the class + ε × the mean of −log p over classes); w = the sum of the row of targets."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    plain = -jnp.sum(targets * log_p, axis=-1)
    if not term.label_smoothing:
        return plain
    evenly = -jnp.mean(log_p, axis=-1) * jnp.sum(targets, axis=-1)
    return (1 - term.label_smoothing) * plain + term.label_smoothing * evenly


def _binary_cross_entropy(term: Term, logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean over outputs of −(w y log σ(x) + (1 − y) log σ(−x)); smoothed, y is drawn towards a half."""
    y = (1 - term.label_smoothing) * targets + term.label_smoothing / 2
    parts = term.positive_weight * y * jax.nn.log_sigmoid(logits) + (1 - y) * jax.nn.log_sigmoid(-logits)
    return -jnp.mean(parts, axis=-1)


_LOSSES: dict[str, Callable[[Term, jax.Array, jax.Array], jax.Array]] = {
    "mae": _over_error(lambda term, error: jnp.abs(error)),
    "mse": _over_error(lambda term, error: jnp.square(error)),
    "huber": _over_error(_huber),
    "log_cosh": _over_error(_log_cosh),
    "quantile": _over_error(_quantile),
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
}
