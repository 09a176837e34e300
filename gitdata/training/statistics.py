"""Statistics: preprocessing fitted in one pass over blocks, for rows that are not held in memory.

Means and variances are joined block by block (Chan, Golub & LeVeque 1983, eq. 2.1). All else follows from which values
there are: it is fitted on a few *witness* rows, which have every category, and the smallest and largest numbers. Up to
the rounding of float64 the same as `preprocessing.fit` on all rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training import preprocessing
from gitdata.training.blocks import Blocks, Columns
from gitdata.training.declaration import Declaration
from gitdata.training.preprocessing import Categorical, FieldCode, Numeric, Preprocessing


@dataclass(frozen=True, slots=True)
class Moments:
    """The number of rows, their mean, and the sum of their squared deviations from it, element by element."""

    rows: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Of values of shape (rows, elements)."""
        mean = values.mean(axis=0)
        return cls(len(values), mean, ((values - mean) ** 2).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        rows = self.rows + other.rows
        step = other.mean - self.mean
        mean = self.mean + step * (other.rows / rows)
        squares = self.squares + other.squares + step**2 * (self.rows * other.rows / rows)
        return Moments(rows, mean, squares)


def fit(declaration: Declaration, columns: Columns) -> Preprocessing:
    """Statistics and categories of rows in memory or in blocks. Raises Mendable naming a field that does not serve."""
    if not isinstance(columns, Blocks):
        return preprocessing.fit(declaration, columns)
    moments: dict[str, Moments] = {}
    witness: dict[str, NDArray[Any]] = {}
    for block in columns.blocks():
        fitted = preprocessing.fit(declaration, block)  # refuses what would be refused in memory
        for field in (*fitted.inputs, *fitted.outputs):
            column, known = block[field.name], witness.get(field.name)
            witness[field.name] = _witness(field, column if known is None else np.concatenate([known, column]))
            if isinstance(field, Numeric):
                own = Moments.of(preprocessing.transformed(column, field.transform, field.name))
                moments[field.name] = moments[field.name] + own if field.name in moments else own
    fitted = preprocessing.fit(declaration, _of_one_length(witness))
    inputs, outputs = (tuple(_code(f, moments) for f in fields) for fields in (fitted.inputs, fitted.outputs))
    return Preprocessing(inputs, outputs)


def _witness(field: FieldCode, column: NDArray[Any]) -> NDArray[Any]:
    """As few rows as have all that `column` has: every category once, or the smallest and largest numbers."""
    if isinstance(field, Categorical):
        return np.array(list(dict.fromkeys(column.ravel().tolist())), column.dtype)
    return np.stack([column.min(axis=0), column.max(axis=0)])


def _of_one_length(columns: dict[str, NDArray[Any]]) -> Columns:
    """Columns whose last rows are repeated until all have as many."""
    most = max(map(len, columns.values()))
    return {name: column[np.minimum(np.arange(most), len(column) - 1)] for name, column in columns.items()}


def _code(field: FieldCode, moments: dict[str, Moments]) -> FieldCode:
    if not isinstance(field, Numeric):
        return field
    seen = moments[field.name]
    scale = preprocessing.scale_of(seen.mean, np.sqrt(seen.squares / seen.rows))
    return replace(field, mean=tuple(seen.mean.tolist()), scale=tuple(scale.tolist()))
