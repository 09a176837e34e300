"""Fields: how one field becomes the numbers a network takes, and back; frozen when first fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.architecture import plan
from gitdata.training.declaration import Declaration
from gitdata.training.preprocessing.scaling import TRANSFORMS, statistics, transformed
from gitdata.training.settings import Kind

Columns = Mapping[str, NDArray[Any]]
Category = str | int


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric field: `transform`, then (x − mean) ÷ scale, element by element of its `shape` per row.

    `mean` is what the scaling subtracts, whatever it is called there. `seen`: the smallest and largest number of the
    rows it was fitted to; None in packages of old.
    """

    name: str
    transform: str
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    scaling: str = "standard"
    seen: tuple[float, float] | None = None

    @property
    def kind(self) -> Kind:
        return "numbers"

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def as_input(self) -> plan.Input:
        return plan.Input(self.name, self.shape)

    def numbers(self, columns: Columns) -> NDArray[Any]:
        """Its column, shape (rows, *shape). Raises Mendable where rows have another shape, or text."""
        array = numbers(columns, self.name)
        if array.shape[1:] != self.shape:
            raise Mendable(
                f"Field '{self.name}' has the shape {array.shape[1:]} per row; the model was trained on {self.shape}.",
                "Give it rows like those it was trained on.",
            )
        return array

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """Scaled values, shape (rows, width)."""
        values = transformed(self.numbers(columns), self.transform, self.name)
        encoded = np.asarray(values - np.array(self.mean), np.float64)
        encoded /= np.array(self.scale)
        return encoded

    def decode(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Original units, shape (rows, *shape)."""
        values = encoded * np.array(self.scale) + np.array(self.mean)
        with np.errstate(over="ignore"):
            original = TRANSFORMS[self.transform].inverse(values)
        return np.asarray(original, np.float64).reshape(-1, *self.shape)


@dataclass(frozen=True, slots=True)
class Categorical:
    """A field of text, classes or codes: one column for each category, in this order; or `coded`, one number each.

    Coded fields may have several values per row, as a sequence of words has: `shape`.
    """

    name: str
    categories: tuple[Category, ...]
    coded: bool = False
    shape: tuple[int, ...] = ()

    @property
    def kind(self) -> Kind:
        return "classes"

    @property
    def width(self) -> int:
        return self.as_input.width

    @property
    def as_input(self) -> plan.Input:
        if not self.coded:
            return plan.Input(self.name, (len(self.categories),))
        return plan.Input(self.name, self.shape or (1,), categories=len(self.categories))

    def codes(self, columns: Columns) -> NDArray[np.int64]:
        """The category of each value as its index, −1 where it is unknown: shape (rows,), or (values,) of all rows."""
        places = {category: place for place, category in enumerate(self.categories)}
        values = column_of(columns, self.name).ravel().tolist()
        return np.array([places.get(category(value), -1) for value in values], np.int64)

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """Shape (rows, width): one-hot, all zeros where the category is unknown; or codes, −1 where it is."""
        codes = self.codes(columns)
        if not self.coded:
            return np.asarray(codes[:, None] == np.arange(self.width), np.float64)
        column = column_of(columns, self.name)
        if column.shape[1:] not in (self.shape, (*self.shape, 1)):
            raise Mendable(
                f"Field '{self.name}' has the shape {column.shape[1:]} per row; the model was trained on {self.shape}.",
                "Give it rows like those it was trained on.",
            )
        return codes.astype(np.float64).reshape(len(column), -1)

    def decode(self, encoded: NDArray[np.float64]) -> NDArray[Any]:
        """The most likely category of each row."""
        return np.asarray(np.array(self.categories, dtype=object)[encoded.argmax(axis=1)])


@dataclass(frozen=True, slots=True)
class Binary(Categorical):
    """One of two classes as one column: 1 where it is the second. What a network puts out there is its logit."""

    @property
    def kind(self) -> Kind:
        return "binary"

    @property
    def width(self) -> int:
        return 1

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """0 or 1, shape (rows, 1)."""
        return np.asarray(self.codes(columns)[:, None] == 1, np.float64)

    def decode(self, encoded: NDArray[np.float64]) -> NDArray[Any]:
        """The more likely class of each row."""
        return np.asarray(np.array(self.categories, dtype=object)[(encoded[:, 0] > 0).astype(int)])


FieldCode = Numeric | Categorical


def is_categorical(declaration: Declaration, columns: Columns, name: str) -> bool:
    """Whether a field stands for categories or classes: as declared, or as its loss has it, or since it is text."""
    if name in declaration.data.outputs:
        return declaration.kind_of(name) != "numbers"
    return column_of(columns, name).dtype.kind in "OUT" or declaration.data.is_categorical(name)


def fit_input(declaration: Declaration, columns: Columns, name: str) -> FieldCode:
    """How an input is coded, from its values. Raises Mendable where it does not serve."""
    if is_categorical(declaration, columns, name):
        return _fit_categories(columns, name, coded=declaration.data.encoding_of(name) == "codes")
    return _fit_numeric(declaration, columns, name)


def fit_output(declaration: Declaration, columns: Columns, name: str) -> FieldCode:
    """How an output is coded, from its values. Raises Mendable where the loss does not take it."""
    kind = declaration.kind_of(name)
    if kind == "numbers":
        if column_of(columns, name).dtype.kind in "OUT":
            raise Mendable(f"The output '{name}' is text.", 'Declare loss = "cross_entropy" for classes.')
        return _fit_numeric(declaration, columns, name)
    categories = _fit_categories(columns, name, coded=False)
    return _binary(categories) if kind == "binary" else categories


def _binary(found: Categorical) -> Binary:
    """The two classes of an output; where there are only zeros or ones, the other one may come later."""
    categories = (0, 1) if set(found.categories) <= {0, 1} else found.categories
    if len(categories) != 2:
        raise Mendable(
            f"The output '{found.name}' has {len(categories)} classes; binary_cross_entropy takes two.",
            'Declare loss = "cross_entropy" for more.',
        )
    return Binary(found.name, categories)


def _fit_categories(columns: Columns, name: str, *, coded: bool) -> Categorical:
    column = column_of(columns, name)
    if column.dtype.kind == "f" and not (np.isfinite(column) & (column == np.round(column))).all():
        raise Mendable(f"The classes of '{name}' are not whole numbers.", "Declare another loss, or classes as text.")
    shape = () if column[:1].size <= 1 else column.shape[1:]
    if shape and not coded:
        raise Mendable(
            f"Field '{name}' has several categories per row.",
            f'Name fields with one value per row, or declare encoding = {{ {name} = "codes" }} for an embedding.',
        )
    values = {category(value) for value in column.ravel().tolist()}
    return Categorical(name, tuple(sorted(values, key=lambda value: (isinstance(value, str), value))), coded, shape)


def _fit_numeric(declaration: Declaration, columns: Columns, name: str) -> Numeric:
    array = numbers(columns, name)
    transform, scaling = declaration.data.transform_of(name), declaration.data.scaling_of(name)
    values = transformed(array, transform, name)
    shape = array.shape[1:]
    mean, scale = statistics(values, scaling, shape, array.dtype, name)
    seen = (float(array.min()), float(array.max())) if array.size else None
    return Numeric(name, transform, shape, tuple(mean.tolist()), tuple(scale.tolist()), scaling, seen)


def column_of(columns: Columns, name: str) -> NDArray[Any]:
    """A column by name. Raises Mendable naming the nearest."""
    if name not in columns:
        near = get_close_matches(name, list(columns), 1)
        hint = f"Is '{near[0]}' meant?" if near else f"There are {', '.join(columns)}."
        raise Mendable(f"There is no field '{name}'.", hint)
    return columns[name]


def numbers(columns: Columns, name: str) -> NDArray[Any]:
    """A column of numbers by name. Raises Mendable where it is text."""
    array = column_of(columns, name)
    if array.dtype.kind in "OUT":
        raise Mendable(f"Field '{name}' is text; the model was trained on numbers there.", "Correct the file.")
    return array


def category(value: Any) -> Category:
    """Whole numbers are one category whatever their dtype; what is no whole number is one that nobody knows."""
    if isinstance(value, float) and not value.is_integer():
        return str(value)
    return value if isinstance(value, str) else int(value)
