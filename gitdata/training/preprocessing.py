"""Preprocessing: fields to the numbers a network takes, and its numbers back to fields; frozen when first fitted.

Numeric fields are transformed (log, log10) and standardised; text inputs become one-hot over the categories of the
first training, an unknown one being all zeros. Outputs are standardised likewise, or are classes. Statistics are
float64 and travel in the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.architecture import plan
from gitdata.training.architecture.plan import Plan
from gitdata.training.declaration import Declaration, Network
from gitdata.training.settings import Kind

Columns = Mapping[str, NDArray[Any]]
Category = str | int


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric field: `transform`, then (x − mean) ÷ scale, element by element of its `shape` per row."""

    name: str
    transform: str
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def kind(self) -> Kind:
        return "numbers"

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def as_input(self) -> plan.Input:
        return plan.Input(self.name, self.shape)

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """Standardised values, shape (rows, width)."""
        array = _numbers(columns, self.name)
        if array.shape[1:] != self.shape:
            raise Mendable(
                f"Field '{self.name}' has the shape {array.shape[1:]} per row; the model was trained on {self.shape}.",
                "Give it rows like those it was trained on.",
            )
        values = transformed(array, self.transform, self.name)
        return np.asarray((values - np.array(self.mean)) / np.array(self.scale), np.float64)

    def decode(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Original units, shape (rows, *shape)."""
        values = encoded * np.array(self.scale) + np.array(self.mean)
        base = {"log": np.e, "log10": 10.0}.get(self.transform)
        with np.errstate(over="ignore"):
            original = values if base is None else np.power(base, values)
        return np.asarray(original, np.float64).reshape(-1, *self.shape)


@dataclass(frozen=True, slots=True)
class Categorical:
    """A field of text or classes: one column for each category, in this order."""

    name: str
    categories: tuple[Category, ...]

    @property
    def kind(self) -> Kind:
        return "classes"

    @property
    def width(self) -> int:
        return len(self.categories)

    @property
    def as_input(self) -> plan.Input:
        return plan.Input(self.name, (self.width,))

    def codes(self, columns: Columns) -> NDArray[np.int64]:
        """The category of each row as its index, −1 where it is unknown."""
        places = {category: place for place, category in enumerate(self.categories)}
        values = _column(columns, self.name).ravel().tolist()
        return np.array([places.get(_category(value), -1) for value in values], np.int64)

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """One-hot, shape (rows, width); all zeros where the category is unknown."""
        codes = self.codes(columns)
        return np.asarray(codes[:, None] == np.arange(self.width), np.float64)

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


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How the inputs become a matrix and the outputs one, each field in the order declared."""

    inputs: tuple[FieldCode, ...]
    outputs: tuple[FieldCode, ...]

    @property
    def input_width(self) -> int:
        return sum(field.width for field in self.inputs)

    @property
    def output_width(self) -> int:
        return sum(field.width for field in self.outputs)

    def plan(self, network: Network) -> Plan:
        """The network for these fields. Raises Misfit where it does not take them, or does not make the outputs."""
        inputs = tuple(field.as_input for field in self.inputs)
        return Plan(inputs, tuple(plan.Output(f.name, f.width) for f in self.outputs), network.layers)

    def encode_inputs(self, columns: Columns) -> NDArray[np.float32]:
        """Shape (rows, input_width)."""
        return np.concatenate([f.encode(columns) for f in self.inputs], axis=1).astype(np.float32)

    def encode_outputs(self, columns: Columns) -> NDArray[np.float32]:
        """Shape (rows, output_width): standardised values, or one-hot classes. An unknown class is an error."""
        for field in self.outputs:
            if isinstance(field, Categorical) and (field.codes(columns) < 0).any():
                row = int((field.codes(columns) < 0).argmax())
                raise Mendable(
                    f"The class {columns[field.name][row]!r} of '{field.name}' is new to the model.",
                    "A new class needs a new start: `gitdata train MODEL --method union`.",
                )
        return np.concatenate([f.encode(columns) for f in self.outputs], axis=1).astype(np.float32)

    def decode_outputs(self, encoded: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Predictions by output, in original units or as class names."""
        predictions, start = {}, 0
        for field in self.outputs:
            predictions[field.name] = field.decode(np.asarray(encoded[:, start : start + field.width], np.float64))
            start += field.width
        return predictions

    def unknown_categories(self, columns: Columns) -> dict[str, list[Category]]:
        """Categories of the inputs that the first training did not know, by field."""
        found = {}
        for field in self.inputs:
            if isinstance(field, Categorical):
                values = {_category(value) for value in _column(columns, field.name).ravel().tolist()}
                if unknown := values - set(field.categories):
                    found[field.name] = sorted(unknown, key=str)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": [_field_json(f) for f in self.inputs],
            "outputs": [_field_json(f) for f in self.outputs],
        }

    @classmethod
    def from_json(cls, value: Any) -> Preprocessing:
        """What `to_json` wrote; raises ValueError on anything else."""
        try:
            inputs, outputs = (tuple(_field_from_json(item) for item in value[role]) for role in ("inputs", "outputs"))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the preprocessing is malformed: {error}") from error
        if not inputs or not outputs:
            raise ValueError("the preprocessing has no inputs or no outputs")
        return cls(inputs, outputs)


def fit(declaration: Declaration, columns: Columns) -> Preprocessing:
    """Statistics and categories of these rows. Raises Mendable naming a field that does not serve."""
    outputs = declaration.data.outputs
    inputs = declaration.data.inputs or tuple(name for name in columns if name not in outputs)
    if not inputs:
        raise Mendable("No field is left to be an input.", "Name the inputs in [data].")
    return Preprocessing(
        tuple(_fit_input(declaration, columns, name) for name in inputs),
        tuple(_fit_output(declaration, columns, name) for name in outputs),
    )


def transformed(array: NDArray[Any], transform: str, name: str) -> NDArray[np.float64]:
    """`array` as float64 after a transform, shape (rows, elements). Raises Mendable where it is not defined."""
    values = np.asarray(array, np.float64).reshape(len(array), -1)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise Mendable(
            f"Field '{name}' is not a finite number in {int((~finite).sum())} of {len(values)} rows; the first is row "
            f"{int((~finite).argmax()) + 1}.",
            "Correct these rows; where an extension holds them, extend with the correct ones and retract it.",
        )
    if transform == "none":
        return values
    if (values <= 0).any():
        row = int((values <= 0).any(axis=1).argmax())
        raise Mendable(
            f"Field '{name}' is {values[row].min():g} in a row; {transform} needs numbers above 0.",
            f"Leave the transform of '{name}' out of [data].",
        )
    return np.asarray(np.log(values) if transform == "log" else np.log10(values), np.float64)


def _fit_input(declaration: Declaration, columns: Columns, name: str) -> FieldCode:
    if _column(columns, name).dtype.kind in "OUT":
        return _fit_categories(columns, name)
    return _fit_numeric(declaration, columns, name)


def _fit_output(declaration: Declaration, columns: Columns, name: str) -> FieldCode:
    column = _column(columns, name)
    kind = declaration.kind_of(name)
    if kind == "numbers":
        if column.dtype.kind in "OUT":
            raise Mendable(f"The output '{name}' is text.", 'Declare loss = "cross_entropy" for classes.')
        return _fit_numeric(declaration, columns, name)
    if column.dtype.kind == "f" and not (np.isfinite(column) & (column == np.round(column))).all():
        raise Mendable(f"The classes of '{name}' are not whole numbers.", "Declare another loss, or classes as text.")
    categories = _fit_categories(columns, name)
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


def _fit_categories(columns: Columns, name: str) -> Categorical:
    values = {_category(value) for value in columns[name].ravel().tolist()}
    if columns[name].ndim > 1 and int(np.prod(columns[name].shape[1:])) > 1:
        raise Mendable(f"Field '{name}' has several categories per row.", "Name fields with one value per row.")
    return Categorical(name, tuple(sorted(values, key=lambda value: (isinstance(value, str), value))))


def _fit_numeric(declaration: Declaration, columns: Columns, name: str) -> Numeric:
    array = _numbers(columns, name)
    transform = declaration.data.transform_of(name)
    values = transformed(array, transform, name)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    scale = scale_of(mean, deviation)
    return Numeric(name, transform, array.shape[1:], tuple(mean.tolist()), tuple(scale.tolist()))


def scale_of(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """What values are divided by: their deviation, 1 where they are constant."""
    return np.where(deviation <= 1e-12 * np.maximum(1.0, np.abs(mean)), 1.0, deviation)


def _column(columns: Columns, name: str) -> NDArray[Any]:
    if name not in columns:
        near = get_close_matches(name, list(columns), 1)
        hint = f"Is '{near[0]}' meant?" if near else f"There are {', '.join(columns)}."
        raise Mendable(f"There is no field '{name}'.", hint)
    return columns[name]


def _numbers(columns: Columns, name: str) -> NDArray[Any]:
    array = _column(columns, name)
    if array.dtype.kind in "OUT":
        raise Mendable(f"Field '{name}' is text; the model was trained on numbers there.", "Correct the file.")
    return array


def _category(value: Any) -> Category:
    """Whole numbers are one category whatever their dtype."""
    return value if isinstance(value, str) else int(value)


def _field_json(field: FieldCode) -> dict[str, Any]:
    if isinstance(field, Categorical):
        binary = {"binary": True} if isinstance(field, Binary) else {}
        return {**binary, "categories": list(field.categories), "name": field.name}
    return {
        "mean": list(field.mean),
        "name": field.name,
        "scale": list(field.scale),
        "shape": list(field.shape),
        "transform": field.transform,
    }


def _field_from_json(item: Any) -> FieldCode:
    name = item["name"]
    if not isinstance(name, str):
        raise ValueError("a field has no name")
    if "categories" in item:
        categories = tuple(item["categories"])
        if not categories or any(type(category) not in (str, int) for category in categories):
            raise ValueError(f"the categories of '{name}' are malformed")
        if item.get("binary") and len(categories) != 2:
            raise ValueError(f"'{name}' has not two classes")
        return (Binary if item.get("binary") else Categorical)(name, categories)
    mean, scale, shape = (_floats(item[key], name) for key in ("mean", "scale", "shape"))
    sizes = tuple(int(size) for size in shape)
    if len(mean) != len(scale) or len(mean) != int(np.prod(sizes, dtype=np.int64)) or min(scale, default=1.0) <= 0:
        raise ValueError(f"the statistics of '{name}' are malformed")
    if item["transform"] not in ("log", "log10", "none"):
        raise ValueError(f"the transform of '{name}' is unknown")
    return Numeric(name, item["transform"], sizes, mean, scale)


def _floats(values: Sequence[Any], name: str) -> tuple[float, ...]:
    if not isinstance(values, list) or any(type(v) not in (int, float) or not np.isfinite(v) for v in values):
        raise ValueError(f"the statistics of '{name}' are malformed")
    return tuple(float(value) for value in values)
