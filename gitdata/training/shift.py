"""Shift: whether new rows have drifted from those that a summary is of, field by field.

Numbers are compared by the two-sample Kolmogorov–Smirnov test on their sketches, whose errors are subtracted from the
statistic: what was summed up coarsely is found less often, and never raises an alarm. Categories are compared by the
chi-square statistic, its p-value by simulation under the same margins (Hope 1968), since the distribution does not hold
for rare ones. p-values are adjusted by Holm (1979): the chance that any field raises a false alarm is at most LEVEL.

Rows are not always independent: one simulation run makes many rows with the same parameters, one experiment is read at
many times. A *unit* is what was drawn independently. It is recognised by values that come again: an input is *drawn*
if it has more different values than each of them has rows (different values² > rows); rows that agree in all drawn
inputs are one unit. Where no input is drawn, all are levels of a design, and rows that agree in all inputs are one.
Tests count as many units as rows of unequal units are worth: (Σ r)² ÷ Σ r² for units of r rows (Kish 1965).

What is not seen: a change of how fields depend on each other that leaves each of them as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gitdata.training.blocks import Columns, blocks_of
from gitdata.training.sketch import Distribution
from gitdata.training.summary import Categories, Field, Summary, elements, row_hashes, texts

LEVEL = 0.05
EXACT = 30  # units of the smaller side, up to which the distribution is counted out
MOST_UNITS = 5000  # of the larger side then; more change p-values by less than a hundredth of them
DRAWS = 4999
LARGEST = 200  # categories that are tested one by one

_ROUNDING = 2.0**-50  # smaller differences of chances from 1 are not told from 0


@dataclass(frozen=True, slots=True)
class FieldShift:
    """One field: `statistic` is the distance of the distribution functions, or Cramér's V; p-values say if by chance.

    Of several elements in a row that which differs most. `outside`: the share of new rows beyond the old minimum or
    maximum, or in a category that was not there; the first of these are `new_categories`.
    """

    name: str
    test: str
    statistic: float
    p: float
    adjusted: float
    outside: float
    new_categories: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        return self.adjusted <= LEVEL


@dataclass(frozen=True, slots=True)
class Shift:
    """All fields, the units that the rows of both sides are worth, and the share of new rows outside in any field."""

    fields: tuple[FieldShift, ...]
    units_seen: float
    units_new: float
    outside: float

    @property
    def drifted(self) -> bool:
        return any(field.drifted for field in self.fields)


def drift(summary: Summary, columns: Columns) -> Shift:
    """How the rows `columns`, in memory or in blocks, differ from those that `summary` is of.

    Blocks are read twice. No rows on either side: nothing has drifted. Raises KeyError naming a field that is absent,
    ValueError where one holds numbers here and text there.
    """
    own = Summary.of(columns, summary.inputs, tuple(summary.fields))
    if not summary.rows or not own.rows:
        return Shift((), 0.0, 0.0, 0.0)
    names = _drawn(summary + own)
    new, outside, anywhere = _worth(columns, names, summary)
    seen = min(summary.rows * new / own.rows, max(1.0, summary.census.different))
    found = [
        _compared(name, field, own.fields[name], (seen, new), outside[name]) for name, field in summary.fields.items()
    ]
    tested = iter(holm([p for _, ps in found for p in ps]))
    fields = (replace(field, adjusted=min((next(tested) for _ in ps), default=1.0)) for field, ps in found)
    return Shift(tuple(fields), seen, new, anywhere)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: that of rank i (from 0) × (number − i), ascending, at most 1."""
    order = np.argsort(ps, kind="stable")
    steps = np.array(ps)[order] * np.arange(len(ps), 0, -1)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(ps) else steps
    return [float(p) for p in adjusted]


def kolmogorov_smirnov(distance: float, units: tuple[float, float]) -> float:
    """The chance that the distribution functions of two samples of so many units differ as much, from one distribution.

    Ties, and sizes that are rounded down, make it larger.
    """
    few, many = sorted(max(1, math.floor(number)) for number in units)
    if few <= EXACT:
        return _counted(distance, few, min(many, MOST_UNITS))
    root = math.sqrt(few * many / (few + many))
    return _limit((root + 0.12 + 0.11 / root) * distance)


def _limit(x: float) -> float:
    """2 Σ (−1)^(j−1) exp(−2 j² x²) (Smirnov 1948), x as Stephens (1970) corrected it for small samples."""
    if x < 0.3:
        return 1.0
    total = math.fsum((-1.0) ** (j - 1) * math.exp(-2 * j * j * x * x) for j in range(1, 20))
    return min(1.0, max(0.0, 2 * total))


def _counted(distance: float, few: int, many: int) -> float:
    """The exact chance: paths from (0, 0) to (few, many) that leave |i ÷ few − j ÷ many| < distance (Hodges 1958)."""
    across = np.arange(many + 1) / many
    inside = np.abs(across - 0.0) < distance - 1e-12
    ways = np.cumprod(inside).astype(np.float64)
    for step in range(1, few + 1):
        inside = np.abs(across - step / few) < distance - 1e-12
        ways = np.cumsum(ways * inside) * inside
    return min(1.0, max(_ROUNDING, 1.0 - float(ways[-1]) / math.comb(few + many, few)))


def chi_square(seen: NDArray[np.int64], new: NDArray[np.int64]) -> tuple[float, float]:
    """Cramér's V of two rows of counts by category, and its p-value by simulation with fixed seed."""
    keep = seen + new > 0
    seen, new = seen[keep], new[keep]
    both, few = seen + new, int(new.sum())
    rows = int(both.sum())
    if len(both) < 2 or not few or few == rows:
        return 0.0, 1.0
    expected = both * (few / rows)

    def statistic(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(((counts - expected) ** 2 / expected).sum(axis=-1) * (rows / (rows - few)))

    own = float(statistic(new))
    drawn = statistic(np.random.default_rng(0).multivariate_hypergeometric(both, few, DRAWS, method="marginals"))
    return math.sqrt(own / rows), (1 + int((drawn >= own * (1 - 1e-9)).sum())) / (1 + DRAWS)


def _drawn(both: Summary) -> tuple[str, ...]:
    """The inputs that units are recognised by."""
    drawn = tuple(name for name in both.inputs if both.fields[name].census.different ** 2 > both.rows)
    return drawn or both.inputs


def _worth(
    columns: Columns, names: tuple[str, ...], summary: Summary
) -> tuple[float, Mapping[str, tuple[float, tuple[str, ...]]], float]:
    """How many units rows are worth; by field the share outside and the categories that are new; the share anywhere."""
    hashes, anywhere, rows = [], 0, 0
    outside = dict.fromkeys(summary.fields, 0)
    fresh: dict[str, dict[str, None]] = {name: {} for name in summary.fields}
    for block in blocks_of(columns):
        hashes.append(row_hashes(block, names))
        marked = np.zeros(len(hashes[-1]), bool)
        for name, field in summary.fields.items():
            own, categories = _outside(field, block[name])
            outside[name] += int(own.sum())
            fresh[name].update(dict.fromkeys(categories))
            marked |= own
        anywhere, rows = anywhere + int(marked.sum()), rows + len(marked)
    _, repeats = np.unique(np.concatenate(hashes), return_counts=True)
    found = {name: (outside[name] / rows, tuple(fresh[name])[:LARGEST]) for name in summary.fields}
    return rows**2 / float((repeats.astype(np.float64) ** 2).sum()), found, anywhere / rows


def _outside(field: Field, column: NDArray[np.generic]) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows lie outside what was seen, and the categories that were not; others, that are not named, hide them."""
    if isinstance(field.seen, Categories):
        names = texts(column).reshape(len(column), -1)
        if field.seen.others:
            return np.zeros(len(column), bool), []
        new = ~np.isin(names, list(field.seen.counts))
        return np.asarray(new.any(axis=1)), sorted(set(names[new].tolist()))
    values = elements(column)
    low, high = (np.array([getattr(item, name) for item in field.seen]) for name in ("minimum", "maximum"))
    return np.asarray(((values < low) | (values > high)).any(axis=1)), []


def _compared(
    name: str, old: Field, new: Field, units: tuple[float, float], outside: tuple[float, tuple[str, ...]]
) -> tuple[FieldShift, list[float]]:
    """The field, not yet adjusted, and the p-value of each of its elements."""
    if isinstance(old.seen, Categories) and isinstance(new.seen, Categories):
        statistic, p = chi_square(*_table(old.seen, new.seen, units))
        return FieldShift(name, "chi-square", statistic, p, p, *outside), [p]
    assert isinstance(old.seen, tuple)  # they were added up before
    assert isinstance(new.seen, tuple)
    found = [_distance(own, its, units) for own, its in zip(old.seen, new.seen, strict=True)]
    p, distance = min(found, key=lambda pair: (pair[0], -pair[1]), default=(1.0, 0.0))
    return FieldShift(name, "Kolmogorov–Smirnov", distance, p, p, *outside), [p for p, _ in found]


def _distance(old: Distribution, new: Distribution, units: tuple[float, float]) -> tuple[float, float]:
    """The p-value, and the distance."""
    if not old.count or not new.count:
        return 1.0, 0.0
    distance = old.distance(new)
    return kolmogorov_smirnov(distance, units), distance


def _table(old: Categories, new: Categories, units: tuple[float, float]) -> list[NDArray[np.int64]]:
    """Counts by category and side, in units: the largest categories, and the others together."""
    sums: dict[str, int] = {name: old.counts.get(name, 0) + count for name, count in new.counts.items()}
    names = sorted({**old.counts, **sums}, key=lambda name: (-sums.get(name, old.counts.get(name, 0)), name))[:LARGEST]
    table = []
    for side, number in zip((old, new), units, strict=True):
        counts = [side.counts.get(name, 0) for name in names]
        scaled = np.array([*counts, side.count - sum(counts)]) * min(1.0, number / side.count)
        table.append(np.rint(scaled).astype(np.int64))
    return table
