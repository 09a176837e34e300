"""Drift: how the rows that came differ from those that were there, field by field. Pure.

A field of numbers is compared by the two-sample Kolmogorov–Smirnov test, text and truth values by the chi-square test
of homogeneity. Many fields make many false alarms, so p-values are adjusted by Benjamini and Hochberg (1995): of the
fields reported below 0.05 one in twenty is expected to be a false alarm. A field *lies outside* its old domain in a row
where a value is beyond the old minimum and maximum, or is a category that was not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Columns = Mapping[str, NDArray[Any]]

SIGNIFICANT = 0.05
FEW = 5  # values of a side; below, the test says nothing
EXPECTED = 5.0  # rarer categories are taken together: the chi-square distribution does not hold for them


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of the values of a field that are finite numbers; `not_finite` counts the others. None: there is no value."""

    count: int
    not_finite: int
    distinct: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class Categories:
    """Of all values of a field of text or truth values: how often each occurs, the most frequent first."""

    count: int
    counts: Mapping[str, int]

    @property
    def distinct(self) -> int:
        return len(self.counts)


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """One field: what was there, what came, and how far apart they are.

    `statistic` is the largest distance of the two distribution functions, or Cramér's V; `p` its p-value, `adjusted`
    that for all fields together. None where a side has too few values. `outside` is the share of the new rows that lie
    outside the old domain, `new_categories` those that were not there.
    """

    name: str
    test: str
    old: Numbers | Categories
    new: Numbers | Categories
    statistic: float | None
    p: float | None
    outside: float
    new_categories: tuple[str, ...] = ()
    adjusted: float | None = None

    @property
    def drifted(self) -> bool:
        return self.adjusted is not None and self.adjusted < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Drift:
    """All fields that both sides have, and the share of new rows that lie outside in one of them at least.

    `outside_numbers`: the same over fields of numbers; the names of runs, say, are always new.
    """

    fields: tuple[FieldDrift, ...]
    outside: float
    outside_numbers: float


def compare(old: Columns, new: Columns) -> Drift:
    """How the rows `new` differ from the rows `old`; fields by name, those that only one side has are left out."""
    rows = len(next(iter(new.values()))) if new else 0
    anywhere, in_numbers = np.zeros(rows, bool), np.zeros(rows, bool)
    found = []
    for name in sorted(old.keys() & new.keys()):
        drift, outside = _compare(name, old[name], new[name])
        found.append(drift)
        anywhere |= outside
        if isinstance(drift.new, Numbers):
            in_numbers |= outside
    return Drift(tuple(adjusted(found)), _share(anywhere), _share(in_numbers))


def adjusted(fields: Sequence[FieldDrift]) -> list[FieldDrift]:
    """The same with p-values adjusted for their number."""
    tested = [field.p for field in fields if field.p is not None]
    corrected = iter(stats.false_discovery_control(tested, method="bh") if tested else ())
    return [field if field.p is None else replace(field, adjusted=float(next(corrected))) for field in fields]


def numbers(values: NDArray[Any]) -> Numbers:
    flat = _finite(values)
    if not len(flat):
        return Numbers(0, values.size, 0, None, None, None, None)
    return Numbers(
        count=len(flat),
        not_finite=values.size - len(flat),
        distinct=len(np.unique(flat)),
        mean=float(flat.mean()),
        std=float(flat.std()),
        minimum=float(flat.min()),
        maximum=float(flat.max()),
    )


def categories(values: NDArray[Any]) -> Categories:
    names, counts = np.unique(values.ravel().astype(str), return_counts=True)
    found = sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    return Categories(values.size, dict(found))


def _compare(name: str, old: NDArray[Any], new: NDArray[Any]) -> tuple[FieldDrift, NDArray[np.bool_]]:
    """The field, and which of the new rows lie outside."""
    if old.dtype.kind in "OUTb" or new.dtype.kind in "OUTb":
        before, after = categories(old), categories(new)
        outside = _any_element(~np.isin(new.astype(str), list(before.counts)))
        fresh = tuple(name for name in after.counts if name not in before.counts)
        distance = _chi_square(before, after)
        return FieldDrift(name, "chi-square", before, after, *distance, _share(outside), fresh), outside
    summary, own = numbers(old), numbers(new)
    low, high = (np.inf, -np.inf) if summary.minimum is None else (summary.minimum, summary.maximum)
    outside = _any_element((new < low) | (new > high))
    drift = FieldDrift(name, "Kolmogorov–Smirnov", summary, own, *_kolmogorov_smirnov(old, new), _share(outside))
    return drift, outside


def _kolmogorov_smirnov(old: NDArray[Any], new: NDArray[Any]) -> tuple[float | None, float | None]:
    """Statistic and p-value; of a field with several values in a row their mean, so that rows stay independent."""
    before, after = _finite(_one_per_row(old)), _finite(_one_per_row(new))
    if min(len(before), len(after)) < FEW:
        return None, None
    result = stats.ks_2samp(before, after, method="asymp")  # the exact one takes ties for a numerical failure
    return float(result.statistic), float(result.pvalue)


def _chi_square(old: Categories, new: Categories) -> tuple[float | None, float | None]:
    """Cramér's V and p-value of the table of categories and sides; rare categories are taken together."""
    names = list(dict.fromkeys((*old.counts, *new.counts)))
    table = np.array([[side.counts.get(name, 0) for name in names] for side in (old, new)], float)
    if not table.sum(axis=1).all():
        return None, None
    smaller = table.sum(axis=1).min() / table.sum()
    rare = table.sum(axis=0) * smaller < EXPECTED
    table = np.hstack([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    result = stats.chi2_contingency(table, correction=False)
    return float(np.sqrt(result.statistic / table.sum())), float(result.pvalue)


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    flat = values.ravel().astype(np.float64)
    return flat[np.isfinite(flat)]


def _one_per_row(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.ndim == 1 else values.reshape(len(values), -1).astype(np.float64).mean(axis=1)


def _any_element(outside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(outside.any(axis=tuple(range(1, outside.ndim))))


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if len(mask) else 0.0
