"""Outside: what rows hold that the rows a model was fitted to did not: numbers far off, and unknown categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training.preprocessing.fields import Categorical, Category, FieldCode, Numeric, category, column_of
from gitdata.training.preprocessing.scaling import TRANSFORMS

Columns = Mapping[str, NDArray[Any]]

MARGIN = 0.1  # of the range that was seen: what is a little beyond it is no news
DEVIATIONS = 8.0


@dataclass(frozen=True, slots=True)
class Outside:
    """A field with values far from those that were seen: in how many rows, the farthest one, and how far it is.

    `unit` says of what `distance` is a multiple. Of categories `unknown` holds those that were not known.
    """

    field: str
    rows: int
    value: float | None = None
    distance: float | None = None
    unit: str = ""
    seen: tuple[float, float] | None = None
    unknown: tuple[Category, ...] = ()

    @property
    def sentence(self) -> str:
        """For people."""
        where = f"in {self.rows} row{'s' * (self.rows != 1)}"
        if self.unknown:
            names = ", ".join(str(name) for name in self.unknown[:5]) + ", …" * (len(self.unknown) > 5)
            return f"'{self.field}' has categories {where} that were not trained on: {names}"
        seen = f" ({self.seen[0]:g} to {self.seen[1]:g})" if self.seen else ""
        far = f", {self.distance:.3g} {self.unit}" if self.distance is not None else ""
        return f"'{self.field}' lies far outside what was trained on{seen} {where}; the farthest is {self.value:g}{far}"

    def to_json(self) -> dict[str, Any]:
        return {
            "distance": None if self.distance is None else float(f"{self.distance:.6g}"),
            "field": self.field,
            "rows": self.rows,
            "seen": list(self.seen) if self.seen else None,
            "unit": self.unit,
            "unknown": [str(name) for name in self.unknown],
            "value": self.value,
        }


def outside(field: FieldCode, columns: Columns) -> Outside | None:
    """What rows hold of a field that is far outside; None where nothing is. Rows that do not fit raise Mendable."""
    if isinstance(field, Categorical):
        return _unknown(field, columns)
    values = np.asarray(field.numbers(columns), np.float64).reshape(len(column_of(columns, field.name)), -1)
    return _beyond(field, values) or _deviating(field, values)


def unknown_categories(field: Categorical, columns: Columns) -> list[Category]:
    """Categories that were not known, in order."""
    values = {category(value) for value in column_of(columns, field.name).ravel().tolist()}
    return sorted(values - set(field.categories), key=str)


def _unknown(field: Categorical, columns: Columns) -> Outside | None:
    bad = (field.codes(columns) < 0).reshape(len(column_of(columns, field.name)), -1).any(axis=1)
    if not bad.any():
        return None
    return Outside(field.name, int(bad.sum()), unknown=tuple(unknown_categories(field, columns)))


def _beyond(field: Numeric, values: NDArray[np.float64]) -> Outside | None:
    """Beyond the range that was seen, by more than a tenth of it."""
    if field.seen is None or not values.size:
        return None
    low, high = field.seen
    past = np.maximum(low - values, values - high)
    bad = (past > MARGIN * (high - low)).any(axis=1)
    if not bad.any():
        return None
    place = np.unravel_index(int(np.nanargmax(past)), past.shape)
    width = high - low
    distance = float(past[place]) / width if width else None
    unit = "times that range beyond it"
    return Outside(field.name, int(bad.sum()), float(values[place]), distance, unit, field.seen)


def _deviating(field: Numeric, values: NDArray[np.float64]) -> Outside | None:
    """More than eight standard deviations off, where deviations are known and ranges are not: by number of a row."""
    if field.scaling not in ("standard", "channels") or not values.size or (field.seen and field.width == 1):
        return None
    transform = TRANSFORMS[field.transform]
    defined = np.where(transform.undefined(values), np.nan, values)
    with np.errstate(invalid="ignore"):
        away = np.abs((transform.forward(defined) - np.array(field.mean)) / np.array(field.scale))
    bad = (away > DEVIATIONS).any(axis=1)
    if not bad.any():
        return None
    place = np.unravel_index(int(np.nanargmax(away)), away.shape)
    unit = "standard deviations from the mean"
    return Outside(field.name, int(bad.sum()), float(values[place]), float(away[place]), unit, field.seen)
