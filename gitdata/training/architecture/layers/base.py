"""Layers: what all kinds have in common, and the walk of a shape through several.

A *shape* is that of one row: (features,), (steps, features) for sequences, (nodes, features) for graphs, or (height,
width, channels) for images. The first field of a class is its kind, by which it is written: `{ dense = 64 }`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

Shape = tuple[int, ...]

MOST_LAYERS = 1024  # after blocks and repetitions are written out
MOST_UNITS = 65536  # of one axis
MOST_NUMBERS = 2**28  # of what one layer makes of one row

as_tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Units = Annotated[int, Field(gt=0, le=MOST_UNITS)]
Outputs = Literal["outputs"]
Size = Annotated[Units | tuple[Units, Units], as_tuple]
Padding = Literal["same", "valid"]


class Misfit(Exception):
    """A layer does not take the shape it is given: where it stands, what it takes, and as `remedy` what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text, self.remedy = text, remedy
        self.path: list[str] = []
        self.shape: Shape | None = None

    def __str__(self) -> str:
        if not self.path:
            return self.text
        return f"{' → '.join(self.path)} gets {list(self.shape or ())}: {self.text}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a layer may refer to by name: the inputs' shapes, and the widths of the outputs, in their order.

    `categories`: of an input that is coded by number, how many there are.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, int]
    categories: Mapping[str, int]

    def input(self, name: str) -> Shape:
        if name not in self.inputs:
            raise Misfit(f"there is no input '{name}'", f"The inputs are {', '.join(self.inputs)}.")
        return self.inputs[name]

    @property
    def output_width(self) -> int:
        return sum(self.outputs.values())


class Layer(BaseModel):
    """A declared layer. `has_weights`: it brings a module of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)
    has_weights: ClassVar[bool] = False

    @classmethod
    def kind(cls) -> str:
        return next(iter(cls.model_fields))

    @property
    def name(self) -> str:
        """What it is called where it is drawn or complained about."""
        return self.kind()

    def after(self, shape: Shape, scope: Scope) -> Shape:
        """The shape of the output. Raises Misfit."""
        return shape

    def written(self) -> Any:
        """The layer in the notation of a model file, without what is as it is by default."""
        return {self.kind(): _plain(getattr(self, self.kind()))} | self._options()

    def _options(self) -> dict[str, Any]:
        """What is not as it is by default."""
        fields = type(self).model_fields.items()
        values = {name: getattr(self, name) for name, field in fields if getattr(self, name) != field.default}
        return {name: _plain(value) for name, value in values.items() if name != self.kind()}


class NamedLayer(Layer):
    """A layer that is written by its name alone."""

    def written(self) -> Any:
        return {self.kind(): True} | options if (options := self._options()) else self.kind()


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Layer):
        return value.written()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def begin(shapes: Sequence[Shape]) -> Shape:
    """What the first layer gets of inputs: one in its own shape, several as one line of numbers."""
    if len(shapes) == 1 and shapes[0]:
        return shapes[0]
    return (sum(math.prod(shape) for shape in shapes),)


Layers = Annotated[tuple[SerializeAsAny[Layer], ...], Field(min_length=1)]


def walk(layers: Iterable[Layer], shape: Shape, scope: Scope, *, of: str = "") -> Shape:
    """The shape after all layers. Raises Misfit that names the layer it comes from, and the branch, `of`, it is in."""
    for place, layer in enumerate(layers, 1):
        before = shape
        try:
            shape = layer.after(before, scope)
            if math.prod(shape) > MOST_NUMBERS:
                raise Misfit(f"it makes {math.prod(shape):,} numbers of each row", "Make the network smaller.")
        except Misfit as misfit:
            misfit.path[:0] = [*([of] if of else []), f"layer {place} ({layer.name})"]
            misfit.shape = before if misfit.shape is None else misfit.shape
            raise
    return shape
