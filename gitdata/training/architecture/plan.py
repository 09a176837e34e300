"""Plan: a network whose inputs, outputs and layers are all known: plain data, all that is needed to build it again.

A row comes as one line of numbers, input after input; each input is a part of that line in a shape of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitdata.training.architecture import notation
from gitdata.training.architecture.layers import MOST_NUMBERS, Layer, Misfit, Scope, Shape, begin, walk


@dataclass(frozen=True, slots=True)
class Input:
    """A field that goes in: its `shape` per row; where it is coded by number, how many `categories` there are."""

    name: str
    shape: Shape
    categories: int = 0

    @property
    def width(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Output:
    """A field that comes out: `width` numbers, of classes one for each."""

    name: str
    width: int


@dataclass(frozen=True)
class Plan:
    """A network with all shapes filled in. Raises Misfit where a layer does not take what it is given."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        after = walk(self.layers, self.shape, self.scope)
        if after != (self.output_width,):
            remedy = 'Put "flatten" or a pooling layer before the last dense one.' if len(after) > 1 else ""
            raise Misfit(f"the network makes {list(after)} of each row; the outputs are [{self.output_width}]", remedy)

    @cached_property
    def scope(self) -> Scope:
        return Scope(
            {field.name: field.shape for field in self.inputs},
            {field.name: field.width for field in self.outputs},
            {field.name: field.categories for field in self.inputs if field.categories},
        )

    @property
    def shape(self) -> Shape:
        """What the first layer gets: a single input in its own shape, several as one line of numbers."""
        return begin([field.shape for field in self.inputs])

    @property
    def input_width(self) -> int:
        return sum(field.width for field in self.inputs)

    @property
    def output_width(self) -> int:
        return sum(field.width for field in self.outputs)


def to_json(plan: Plan) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": field.name, "shape": list(field.shape)}
            | ({"categories": field.categories} if field.categories else {})
            for field in plan.inputs
        ],
        "layers": [layer.written() for layer in plan.layers],
        "outputs": [{"name": field.name, "width": field.width} for field in plan.outputs],
    }


def from_json(value: Any) -> Plan:
    """What `to_json` wrote; raises ValueError on anything else."""
    try:
        inputs = tuple(
            Input(_text(item["name"]), tuple(_size(n) for n in item["shape"]), int(item.get("categories", 0)))
            for item in value["inputs"]
        )
        outputs = tuple(Output(_text(item["name"]), _size(item["width"])) for item in value["outputs"])
        layers = notation.read(value["layers"], {}, packed=True)
        if not inputs or not outputs or sum(field.width for field in inputs) > MOST_NUMBERS:
            raise ValueError("it has no inputs or outputs, or too many")
        return Plan(inputs, outputs, layers)
    except Misfit as misfit:
        raise ValueError(f"the network does not fit together: {misfit}") from misfit
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the network is malformed") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a field of the network has no name")
    return value


def _size(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MOST_NUMBERS:
        raise ValueError(f"{value!r:.40} is no size")
    return value
