"""Sketches: what is kept of many values in little memory, and can be added up.

A *distribution* is a sketch of numbers: at most so many *atoms*, values with a weight each, which are all values with
their counts as long as these are few. A *census* is a sketch of how many different values there were: the smallest of
their hashes (Bar-Yossef et al. 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Hashes = NDArray[np.uint64]

KEPT = 64  # hashes of a census: its standard error is 1 ÷ √62, an eighth


@dataclass(frozen=True, slots=True)
class Distribution:
    """A sketch of `count` finite numbers; `not_finite` counts the others, which are not in it.

    `values` ascend, `weights` sum to `count`. `error` bounds |F̂(x) − F(x)| for every x, where F(x) is the share of
    numbers ≤ x and F̂(x) that of the atoms. It is 0 as long as there are at most `room` different numbers. To make
    room costs at most 1 ÷ (2 × room); errors of summands are averaged, so that of a chain of additions grows by at
    most as much with each of them. `squares`: the sum of squared deviations from the mean.
    """

    room: int
    count: int
    not_finite: int
    minimum: float
    maximum: float
    mean: float
    squares: float
    error: float
    values: Numbers
    weights: Numbers

    @classmethod
    def of(cls, numbers: NDArray[Any], room: int) -> Distribution:
        """Of numbers of any shape."""
        flat = numbers.ravel().astype(np.float64)
        finite = flat[np.isfinite(flat)]
        bad = len(flat) - len(finite)
        if not len(finite):
            return cls(room, 0, bad, np.inf, -np.inf, 0.0, 0.0, 0.0, finite, finite)
        unique, counts = np.unique(finite, return_counts=True)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers near the largest there is
            mean = float(finite.mean())
            squares = float(((finite - mean) ** 2).sum())
        low, high = float(finite.min()), float(finite.max())
        atoms = _with_room(unique, counts.astype(np.float64), room)
        return cls(room, len(finite), bad, low, high, mean, squares, *atoms)

    def __add__(self, other: Distribution) -> Distribution:
        """Of the numbers of both (mean and squares: Chan, Golub & LeVeque 1983, eq. 2.1)."""
        count = self.count + other.count
        share = other.count / count if count else 0.0
        unique, places = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        sums = np.bincount(places, np.concatenate([self.weights, other.weights]), len(unique)).astype(np.float64)
        room = min(self.room, other.room)
        error, values, weights = _with_room(unique, sums, room)
        with np.errstate(over="ignore", invalid="ignore"):
            step = other.mean - self.mean
            mean = self.mean + step * share
            squares = self.squares + other.squares + step**2 * self.count * share
        return Distribution(
            room=room,
            count=count,
            not_finite=self.not_finite + other.not_finite,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            mean=mean,
            squares=squares,
            error=error + self.error * (1 - share) + other.error * share,
            values=values,
            weights=weights,
        )

    def shares(self, at: Numbers) -> Numbers:
        """F̂ at some numbers."""
        below = np.concatenate([[0.0], np.cumsum(self.weights)])
        return np.asarray(below[np.searchsorted(self.values, at, side="right")] / below[-1])

    def distance(self, other: Distribution) -> float:
        """What the distribution functions of the numbers differ by at least, somewhere: 0 where errors hide it."""
        at = np.union1d(self.values, other.values)
        largest = float(np.abs(self.shares(at) - other.shares(at)).max())
        return max(0.0, largest - self.error - other.error)


@dataclass(frozen=True, slots=True)
class Census:
    """The KEPT smallest different hashes of values, ascending."""

    hashes: Hashes

    @classmethod
    def of(cls, hashes: Hashes) -> Census:
        return cls(np.unique(hashes)[:KEPT])

    def __add__(self, other: Census) -> Census:
        return Census.of(np.concatenate([self.hashes, other.hashes]))

    @property
    def different(self) -> float:
        """How many different values there were: exact below KEPT, from there (KEPT − 1) ÷ the largest hash kept."""
        if len(self.hashes) < KEPT:
            return float(len(self.hashes))
        return (KEPT - 1) * 2.0**64 / (float(self.hashes[-1]) + 1.0)


def hashes_of(column: NDArray[Any]) -> Hashes:
    """A hash of what each row of a column holds, shape (rows,)."""
    rows = column.reshape(len(column), -1)
    if column.dtype.kind in "biuf":
        with np.errstate(over="ignore"):
            return joined(_mixed((rows.astype(np.float64) + 0.0).view(np.uint64)))  # −0 is 0
    texts, places = np.unique(rows.astype(str), return_inverse=True)
    codes = np.array([xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts], np.uint64)
    return joined(codes[places.reshape(rows.shape)])


def joined(hashes: Hashes) -> Hashes:
    """One hash for each row of hashes, shape (rows, some)."""
    odd = _mixed(np.arange(1, hashes.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    return _mixed((hashes * odd).sum(axis=1, dtype=np.uint64))


class _Addable(Protocol):
    def __add__(self, other: Self) -> Self: ...


T = TypeVar("T", bound=_Addable)


def total(parts: Iterable[T], nothing: Callable[[], T]) -> T:
    """The sum, in pairs of pairs: what errors each addition makes grow with the logarithm of the number of parts."""
    pile: list[tuple[int, T]] = []
    for part in parts:
        level = 0
        while pile and pile[-1][0] == level:
            part = pile.pop()[1] + part
            level += 1
        pile.append((level, part))
    if not pile:
        return nothing()
    _, found = pile.pop()
    while pile:
        found = pile.pop()[1] + found
    return found


def _with_room(values: Numbers, weights: Numbers, room: int) -> tuple[float, Numbers, Numbers]:
    """At most `room` atoms, and the most that F̂ changed by: all of them, or `room` quantiles of equal mass."""
    if len(values) <= room:
        return 0.0, values, weights
    shares = np.cumsum(weights)
    places = np.searchsorted(shares, (np.arange(room) + 0.5) / room * shares[-1])
    chosen, repeats = np.unique(places, return_counts=True)
    coarse = np.cumsum(np.bincount(chosen, repeats, len(values))) / room
    error = float(np.abs(coarse - shares / shares[-1]).max())
    return error, values[chosen], repeats * (shares[-1] / room)


def _mixed(bits: Hashes) -> Hashes:
    """Every bit of the result depends on every bit given (Steele, Lea & Flood 2014: the finaliser of SplitMix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))
