"""Preprocessing: fields to the numbers a network takes, and its numbers back to fields; frozen when first fitted.

Numeric fields are transformed and scaled as [data] declares; text, and what is declared a category, becomes one-hot or
codes over the categories of the first training. Outputs are scaled likewise, or are classes. Statistics are float64 and
travel in the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.architecture import plan
from gitdata.training.architecture.plan import Plan
from gitdata.training.declaration import Declaration, Network
from gitdata.training.preprocessing import documents
from gitdata.training.preprocessing.alike import Alike, alike
from gitdata.training.preprocessing.fields import (
    Binary,
    Categorical,
    Category,
    Columns,
    FieldCode,
    Numeric,
    fit_input,
    fit_output,
)
from gitdata.training.preprocessing.outside import Outside, outside, unknown_categories
from gitdata.training.preprocessing.scaling import transformed

__all__ = ["Binary", "Categorical", "FieldCode", "Numeric", "Outside", "Preprocessing", "fit", "transformed"]


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

    def encode_inputs(self, columns: Columns, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Shape (rows, input_width); `into`: an array for it."""
        return _side_by_side(self.inputs, columns, into)

    def encode_outputs(self, columns: Columns, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Shape (rows, output_width): scaled values, or one-hot classes. An unknown class is an error."""
        for field in self.outputs:
            if isinstance(field, Categorical) and (field.codes(columns) < 0).any():
                row = int((field.codes(columns) < 0).argmax())
                raise Mendable(
                    f"The class '{columns[field.name][row]}' of '{field.name}' is new to the model.",
                    "A new class needs a new start: `gitdata train MODEL --method union`.",
                )
        return _side_by_side(self.outputs, columns, into)

    def decode_outputs(self, encoded: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Predictions by output, in original units or as class names."""
        predictions, start = {}, 0
        for field in self.outputs:
            predictions[field.name] = field.decode(np.asarray(encoded[:, start : start + field.width], np.float64))
            start += field.width
        return predictions

    def unknown_categories(self, columns: Columns) -> dict[str, list[Category]]:
        """Categories of the inputs that the first training did not know, by field."""
        coded = [field for field in self.inputs if isinstance(field, Categorical)]
        found = {field.name: unknown_categories(field, columns) for field in coded}
        return {name: unknown for name, unknown in found.items() if unknown}

    def outside(self, columns: Columns) -> list[Outside]:
        """What these rows hold that is far from all that the first training saw; of outputs, where rows have them."""
        fields = [*self.inputs, *(field for field in self.outputs if field.name in columns)]
        return [found for field in fields if (found := outside(field, columns)) is not None]

    def alike(self, blocks: Iterable[Columns]) -> list[Alike]:
        """The outputs that are one and the same in all rows of some blocks."""
        return alike(self.outputs, blocks)

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": [documents.to_json(f) for f in self.inputs],
            "outputs": [documents.to_json(f) for f in self.outputs],
        }

    @classmethod
    def from_json(cls, value: Any) -> Preprocessing:
        """What `to_json` wrote; raises ValueError on anything else."""
        try:
            inputs, outputs = (tuple(documents.from_json(item) for item in value[role]) for role in _ROLES)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the preprocessing is malformed: {error}") from error
        if not inputs or not outputs:
            raise ValueError("the preprocessing has no inputs or no outputs")
        return cls(inputs, outputs)


_ROLES = ("inputs", "outputs")


def _side_by_side(
    fields: tuple[FieldCode, ...], columns: Columns, into: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """What each field is encoded as, one beside the other."""
    start = 0
    for field in fields:
        encoded = field.encode(columns)
        if into is None:
            into = np.empty((len(encoded), sum(each.width for each in fields)), np.float32)
        into[:, start : start + field.width] = encoded
        start += field.width
    assert into is not None
    return into


def fit(declaration: Declaration, columns: Columns) -> Preprocessing:
    """Statistics and categories of these rows. Raises Mendable naming a field that does not serve."""
    outputs = declaration.data.outputs
    inputs = declaration.data.inputs or tuple(name for name in columns if name not in outputs)
    if not inputs:
        raise Mendable("No field is left to be an input.", "Name the inputs in [data].")
    return Preprocessing(
        tuple(fit_input(declaration, columns, name) for name in inputs),
        tuple(fit_output(declaration, columns, name) for name in outputs),
    )
