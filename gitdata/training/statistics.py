"""Statistics: preprocessing fitted in one pass over blocks, for rows that are not held in memory.

Means and variances are joined block by block (Chan, Golub & LeVeque 1983, eq. 2.1). All else follows from which values
there are: it is fitted on a few *witness* rows, which have every category, and the smallest and largest numbers. Up to
the rounding of float64 the same as `preprocessing.fit` on all rows at once. Quantiles (scaling `robust`) need all
numbers of their field at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training import preprocessing
from gitdata.training.blocks import Blocks, Columns
from gitdata.training.declaration import Declaration
from gitdata.training.preprocessing import Categorical, FieldCode, Preprocessing
from gitdata.training.preprocessing.fields import column_of, is_categorical, numbers
from gitdata.training.preprocessing.scaling import divisor, statistics, transformed


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
    shapes: dict[str, tuple[int, ...]] = {}
    for block in columns.blocks():
        for name in (*(declaration.data.inputs or block), *declaration.data.outputs):
            column = column_of(block, name)
            if is_categorical(declaration, block, name):
                shapes[name] = () if column[:1].size <= 1 else column.shape[1:]
                witness[name] = _categories(column, witness.get(name))
            else:
                witness[name] = _extremes(column, witness.get(name))
                own = _moments(declaration, block, name)
                moments[name] = moments[name] + own if name in moments else own
    fitted = preprocessing.fit(declaration, _of_one_length(witness))

    def code(field: FieldCode) -> FieldCode:
        if isinstance(field, Categorical):
            return replace(field, shape=shapes[field.name]) if field.coded else field
        if field.scaling == "robust":
            values = transformed(columns[field.name], field.transform, field.name)
            mean, scale = statistics(values, "robust", field.shape, columns[field.name].dtype, field.name)
        elif field.scaling in ("standard", "channels"):
            seen = moments[field.name]
            repeats = field.width // len(seen.mean)
            mean = np.tile(seen.mean, repeats)
            scale = np.tile(divisor(np.sqrt(seen.squares / seen.rows), seen.mean), repeats)
        else:
            return field
        return replace(field, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    return Preprocessing(tuple(map(code, fitted.inputs)), tuple(map(code, fitted.outputs)))


def _categories(column: NDArray[Any], known: NDArray[Any] | None) -> NDArray[Any]:
    """Every category once."""
    values = column.ravel() if known is None else np.concatenate([known, column.ravel()])
    return np.array(list(dict.fromkeys(values.tolist())), column.dtype)


def _extremes(column: NDArray[Any], known: NDArray[Any] | None) -> NDArray[Any]:
    """The smallest and the largest number of each place of a row."""
    values = column if known is None else np.concatenate([known, column])
    return np.stack([values.min(axis=0), values.max(axis=0)])


def _moments(declaration: Declaration, block: Columns, name: str) -> Moments:
    """Of a field of numbers, by place of a row; of one that is scaled by channels, by channel."""
    values = transformed(numbers(block, name), declaration.data.transform_of(name), name)
    if declaration.data.scaling_of(name) == "channels":
        values = values.reshape(-1, block[name].shape[-1] if block[name].ndim > 1 else 1)
    return Moments.of(values)


def _of_one_length(columns: dict[str, NDArray[Any]]) -> Columns:
    """Columns whose last rows are repeated until all have as many."""
    most = max(map(len, columns.values()))
    return {name: column[np.minimum(np.arange(most), len(column) - 1)] for name, column in columns.items()}
