"""Pooling: one number of each window that slides over the axes between rows and channels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def pooled(x: jax.Array, window: Sequence[int], stride: Sequence[int], padding: str, *, largest: bool) -> jax.Array:
    """The largest number of each window of `x` (rows, *axes, channels), or the mean; what padding adds does not count.

    `padding`: "same" or "valid". Windows that lie side by side are an axis of their own: XLA is slow on gradients of
    sliding ones.
    """
    if tuple(window) == tuple(stride) and padding == "valid":
        tiles = _tiles(x, window)
        axes = tuple(range(2, 2 * len(window) + 1, 2))
        return tiles.max(axis=axes) if largest else tiles.mean(axis=axes)
    places = ((1, *window, 1), (1, *stride, 1), padding.upper())
    if largest:
        return jnp.asarray(jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *places))
    sums, counts = (jax.lax.reduce_window(values, 0.0, jax.lax.add, *places) for values in (x, jnp.ones_like(x)))
    return jnp.asarray(sums / counts)


def _tiles(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """`x` with each axis cut into windows, (rows, windows, within, …, channels); what is left over falls away."""
    counts = [length // size for length, size in zip(x.shape[1:-1], window, strict=True)]
    kept = [slice(count * size) for count, size in zip(counts, window, strict=True)]
    cut = [size for pair in zip(counts, window, strict=True) for size in pair]
    return x[(slice(None), *kept)].reshape(-1, *cut, x.shape[-1])
