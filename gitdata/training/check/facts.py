"""Facts: what is known of a field before anything is trained: from its schema alone, or measured in rows.

Rows are measured a block at a time, so that they need not be in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Data

Category = str | int

MOST_COUNTED = 4096  # different values of a field; what has more is no list of categories
SAMPLE = 4096  # rows in which fields are compared with each other
_BLOCK = 2**22  # numbers that are transformed at a time


@dataclass(frozen=True, slots=True)
class Measured:
    """A field in rows. `minimum` and `maximum` are of its finite numbers, None where there are none.

    `mean`, `deviation`, `low` and `high` are of the transformed numbers, over the whole field. `not_finite` and
    `undefined` (for the transform) count rows, `first` is the first row that is not finite. `counts`: how often each
    value occurs; None where they are not whole, or too many. `sample`: the first rows, of a field with one number each.
    """

    rows: int = 0
    not_finite: int = 0
    first: int | None = None
    undefined: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float = 0.0
    deviation: float = 0.0
    low: float = 0.0
    high: float = 0.0
    counts: Mapping[Category, int] | None = None
    sample: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A field: its dtype (`text`, or a NumPy name), shape per row, the labels that its format names, and its rows."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    measured: Measured | None = None

    @property
    def is_text(self) -> bool:
        return self.dtype == "text"

    @property
    def is_whole(self) -> bool:
        """Whether its dtype holds whole numbers."""
        return self.dtype.startswith(("int", "uint", "bool"))

    @property
    def categories(self) -> int | None:
        """How many different values there are, None where nobody knows."""
        if self.measured is not None:
            return len(self.measured.counts) if self.measured.counts is not None else None
        return len(self.labels) or None


def measure(fields: Mapping[str, Facts], data: Data, blocks: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, Facts]:
    """Fields with what rows say of those that are inputs and outputs; blocks are columns (rows, …) by name."""
    used = fields.keys() if data.inputs is None else {*data.inputs, *data.outputs}
    meters = {name: _Meter(facts, data) for name, facts in fields.items() if name in used}
    for columns in blocks:
        for name, meter in meters.items():
            if name in columns:
                meter.add(columns[name])
    return {**fields, **{name: replace(fields[name], measured=meter.found()) for name, meter in meters.items()}}


class _Meter:
    """Measures one field; `squares`: the sum of squared distances from the mean so far."""

    def __init__(self, facts: Facts, data: Data) -> None:
        self.facts = facts
        self.transform = data.transform_of(facts.name)
        self.count_all = not facts.shape or data.encoding_of(facts.name) == "codes" or data.is_categorical(facts.name)
        self.counts: Counter[Category] | None = Counter() if self.count_all else None
        self.rows = self.not_finite = self.undefined = self.numbers = 0
        self.first: int | None = None
        self.minimum = self.low = float("inf")
        self.maximum = self.high = float("-inf")
        self.mean = self.squares = 0.0
        self.sample: list[NDArray[np.float64]] = []

    def add(self, column: NDArray[Any]) -> None:
        """One more block of rows."""
        if self.facts.is_text or column.dtype.kind in "OUT":
            self._count(column.ravel().tolist())
            self.rows += len(column)
            return
        step = max(1, _BLOCK // max(1, column[:1].size))
        for start in range(0, len(column), step):
            self._add_numbers(column[start : start + step])

    def _add_numbers(self, column: NDArray[Any]) -> None:
        import numpy as np

        from gitdata.training.preprocessing.scaling import TRANSFORMS

        values = np.asarray(column, np.float64).reshape(len(column), -1)
        finite = np.isfinite(values)
        bad = ~finite.all(axis=1)
        if bad.any() and self.first is None:
            self.first = self.rows + int(bad.argmax()) + 1
        self.not_finite += int(bad.sum())
        if not self.facts.shape and sum(map(len, self.sample)) < SAMPLE:
            self.sample.append(values[:SAMPLE, 0])
        function = TRANSFORMS[self.transform]
        undefined = function.undefined(values) & finite
        self.undefined += int(undefined.any(axis=1).sum())
        self.rows += len(column)
        if finite.any():
            known = values[finite]
            self.minimum, self.maximum = min(self.minimum, known.min()), max(self.maximum, known.max())
            self._count_numbers(known)
        if (useful := finite & ~undefined).any():
            self._gather(np.asarray(function.forward(values[useful]), np.float64))

    def _gather(self, values: NDArray[np.float64]) -> None:
        """Mean and squares of all so far (Chan, Golub & LeVeque 1983); of numbers too large to be squared, infinite."""
        import numpy as np

        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            count, mean, variance = len(values), float(values.mean()), float(values.var())
        total, difference = self.numbers + count, mean - self.mean
        self.squares += variance * count + difference * difference * self.numbers * count / total
        self.mean += difference * count / total
        self.numbers = total

    def _count_numbers(self, values: NDArray[np.float64]) -> None:
        import numpy as np

        if self.counts is None or (values != np.round(values)).any():
            self.counts = None
            return
        found, counts = np.unique(values, return_counts=True)
        self._add_counts({int(value): count for value, count in zip(found.tolist(), counts.tolist(), strict=True)})

    def _count(self, values: list[Any]) -> None:
        if self.counts is not None:
            self._add_counts(Counter(str(value) for value in values))

    def _add_counts(self, found: Mapping[Any, int]) -> None:
        if self.counts is not None:
            self.counts.update(found)
            self.counts = self.counts if len(self.counts) <= MOST_COUNTED else None

    def found(self) -> Measured:
        """What was measured."""
        import numpy as np

        known, gathered = self.minimum <= self.maximum, self.numbers > 0
        return Measured(
            rows=self.rows,
            not_finite=self.not_finite,
            first=self.first,
            undefined=self.undefined,
            minimum=float(self.minimum) if known else None,
            maximum=float(self.maximum) if known else None,
            mean=self.mean,
            deviation=float(np.sqrt(self.squares / self.numbers)) if gathered else 0.0,
            low=self.low if gathered else 0.0,
            high=self.high if gathered else 0.0,
            counts=dict(self.counts) if self.counts is not None else None,
            sample=np.concatenate(self.sample)[:SAMPLE] if self.sample else None,
        )
