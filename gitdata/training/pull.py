"""Pull: a penalty on the weights, that draws them towards where they were.

½ (w − a)ᵀ D (w − a) + ½ ‖G (w − a)‖², a the anchor, D a diagonal, G a factor. With D = α it is L2-SP (Li, Grandvalet &
Davoine 2018), with the Fisher information of old rows EWC (Kirkpatrick et al. 2017), G having a row for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax


class Pull(NamedTuple):
    """`anchor`: shape (weights,); `diagonal`: (weights,) or a number, or None; `factor`: (rows, weights), or None."""

    anchor: Any
    diagonal: Any = None
    factor: Any = None


def pulled(gradient: jax.Array, weights: jax.Array, pull: Pull | None) -> jax.Array:
    """The gradient of a loss with that of the penalty added."""
    if pull is None:
        return gradient
    away = weights - pull.anchor
    if pull.diagonal is not None:
        gradient = gradient + pull.diagonal * away
    if pull.factor is not None:
        gradient = gradient + pull.factor.T @ (pull.factor @ away)
    return gradient
