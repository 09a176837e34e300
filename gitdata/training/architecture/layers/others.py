"""Layers from elsewhere: those of another model's version, with its weights, and Python that somebody wrote."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from gitdata.canonical import canonical_json
from gitdata.training.architecture.layers.base import Layer, Layers, Misfit, Scope, Shape, Units, as_tuple, begin, walk


class Borrow(Layer):
    """What version `model`, as in `"lattice@3"`, makes of its inputs with its first `layers`, trained as they are.

    Without `layers`: all before the one that makes its outputs. `freeze`: they stay as they are, else training goes on
    from them. It stands for a `Part` once that version is at hand.
    """

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[1-9][0-9]{0,8}$")]
    layers: Units | None = None
    freeze: bool = False

    def after(self, shape: Shape, scope: Scope) -> Shape:
        raise Misfit(f"the package of {self.model} is not at hand", "Fetch it: `gitdata check MODEL`.")


class Part(Layer):
    """The layers of a `Borrow`, as a package holds them: what they make of `inputs`, whatever stood before.

    `number` tells the parts of a network apart, `source` says where it comes from.
    """

    part: Layers
    inputs: Annotated[tuple[str, ...], as_tuple]
    source: str
    number: int
    freeze: bool = False

    @property
    def name(self) -> str:
        return f"{self.source}{', frozen' if self.freeze else ''}"

    @property
    def label(self) -> str:
        """What the names of its weights begin with."""
        return f"{'frozen' if self.freeze else 'part'}{self.number}_"

    def begins(self, scope: Scope) -> Shape:
        """What its first layer gets."""
        return begin([scope.input(name) for name in self.inputs])

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return walk(self.part, self.begins(scope), scope, of=self.source)


class Python(Layer):
    """A Flax NNX module of a Python file in models/, as in `"blocks.py:Encoder"`, which makes `shape` of each row.

    It is made as `Encoder(shape, **options, rngs=…)`, with the shape that it gets of a row, and called with an array
    (rows, *shape). `source`: the text of the file, so that a package is whole. Nothing of it runs where this machine's
    owner did not allow it.
    """

    has_weights: ClassVar[bool] = True

    python: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.py:[A-Za-z_][A-Za-z0-9_]*$")]
    shape: Annotated[tuple[Units, ...], Field(min_length=1, max_length=4), as_tuple]
    options: dict[str, bool | int | float | str] = {}  # noqa: RUF012 (pydantic copies it)
    source: str = ""

    def __hash__(self) -> int:
        return hash(canonical_json(self.written()))

    @property
    def name(self) -> str:
        return f"python {self.python}"

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return self.shape
