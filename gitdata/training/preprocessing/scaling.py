"""Scaling: what makes the numbers of a field fit for a network: a transform, then (x − offset) ÷ scale.

A *transform* is a function of one number that has an inverse; a *scaling* finds offset and scale in rows. Both are
declared in [data], and what a scaling found is frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable

Values = NDArray[np.float64]
Statistics = tuple[Values, Values]  # offset and scale, of each number of a row


@dataclass(frozen=True, slots=True)
class Transform:
    """A function of one number and its inverse; it is defined `above` a number, and at it where `including`."""

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    above: float = -np.inf
    including: bool = False

    def undefined(self, values: Values) -> NDArray[np.bool_]:
        """Where it is not defined."""
        return np.asarray(values < self.above if self.including else values <= self.above)

    @property
    def domain(self) -> str:
        """For people."""
        return f"numbers from {self.above:g}" if self.including else f"numbers above {self.above:g}"


TRANSFORMS: dict[str, Transform] = {
    "none": Transform(lambda x: x, lambda x: x),
    "log": Transform(np.log, np.exp, above=0.0),
    "log10": Transform(np.log10, lambda x: np.power(10.0, x), above=0.0),
    "log1p": Transform(np.log1p, np.expm1, above=-1.0),
    "sqrt": Transform(np.sqrt, lambda x: np.square(np.maximum(x, 0.0)), above=0.0, including=True),
}


def transformed(array: NDArray[Any], transform: str, name: str) -> Values:
    """`array` as float64 after a transform, shape (rows, elements). Raises Mendable where it is not defined."""
    values = np.asarray(array, np.float64).reshape(len(array), -1)
    if not np.isfinite(array).all():
        finite = np.isfinite(values).all(axis=1)
        raise Mendable(
            f"Field '{name}' is not a finite number in {int((~finite).sum())} of {len(values)} rows; the first is row "
            f"{int((~finite).argmax()) + 1}.",
            "Correct these rows; where an extension holds them, extend with the correct ones and retract it.",
        )
    function = TRANSFORMS[transform]
    if function.above > -np.inf and (undefined := function.undefined(values)).any():
        row = int(undefined.any(axis=1).argmax())
        raise Mendable(
            f"Field '{name}' is {values[row].min():g} in a row; {transform} needs {function.domain}.",
            f"Leave the transform of '{name}' out of [data].",
        )
    return np.asarray(function.forward(values), np.float64)


def statistics(values: Values, scaling: str, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> Statistics:
    """Offset and scale of each number of a row, shape (elements,), found in transformed rows (rows, elements).

    Raises Mendable where `image` meets what has no range.
    """
    if scaling == "image":
        most = most_of(dtype)
        if most is None:
            raise Mendable(
                f"Field '{name}' is {dtype}, which says no largest number; scaling \"image\" goes by that.",
                f'Declare scaling = {{ {name} = "minmax" }} or "standard".',
            )
        return np.zeros(values.shape[1]), np.full(values.shape[1], most)
    return _FOUND[scaling](values, shape)


def most_of(dtype: np.dtype[Any]) -> float | None:
    """The largest number of a small whole-number dtype, as images have it."""
    if dtype.kind == "b":
        return 1.0
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" and dtype.itemsize <= 2 else None


def _standard(values: Values, shape: tuple[int, ...]) -> Statistics:
    """To mean 0 and variance 1."""
    mean = values.mean(axis=0)
    return mean, divisor(values.std(axis=0), mean)


def _channels(values: Values, shape: tuple[int, ...]) -> Statistics:
    """The same, with one mean and deviation for each place of the last axis."""
    last = shape[-1] if shape else 1
    mean, scale = _standard(values.reshape(-1, last), (last,))
    repeats = values.shape[1] // last
    return np.tile(mean, repeats), np.tile(scale, repeats)


def _minmax(values: Values, shape: tuple[int, ...]) -> Statistics:
    """From the smallest number to the largest as 0 to 1."""
    low = values.min(axis=0)
    return low, divisor(values.max(axis=0) - low, low)


def _robust(values: Values, shape: tuple[int, ...]) -> Statistics:
    """By median and interquartile range, which a few wild values do not move; as `standard` for a normal field."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    spread = np.where(high > low, (high - low) / 1.349, values.std(axis=0))
    return median, divisor(spread, median)


def _none(values: Values, shape: tuple[int, ...]) -> Statistics:
    """The numbers as they are."""
    return np.zeros(values.shape[1]), np.ones(values.shape[1])


def divisor(scale: Values, offset: Values) -> Values:
    """1 where a field is constant but for rounding."""
    return np.where(scale <= 1e-12 * np.maximum(1.0, np.abs(offset)), 1.0, scale)


_FOUND: dict[str, Callable[[Values, tuple[int, ...]], Statistics]] = {
    "standard": _standard,
    "minmax": _minmax,
    "robust": _robust,
    "channels": _channels,
    "none": _none,
}
SCALINGS = (*_FOUND, "image")
