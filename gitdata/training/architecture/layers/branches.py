"""Layers that hold layers, and the beginnings and ends of branches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gitdata.training.architecture.layers.base import Layer, Layers, Misfit, Scope, Shape, Units, as_tuple, begin, walk
from gitdata.training.architecture.layers.single import Dense
from gitdata.training.architecture.layers.spatial import Conv


class Input(Layer):
    """Begins anew with one of the inputs in its own shape, or with several, their numbers one after the other."""

    input: Annotated[str | tuple[str, ...], as_tuple]

    @property
    def names(self) -> tuple[str, ...]:
        return self.input if isinstance(self.input, tuple) else (self.input,)

    def after(self, shape: Shape, scope: Scope) -> Shape:
        shapes = [scope.input(name) for name in self.names]
        return begin(shapes) if isinstance(self.input, str) else (sum(math.prod(shape) for shape in shapes),)


class Residual(Layer):
    """f(x) + x (He et al. 2016); `shortcut = "project"`: where the shapes differ, x goes through a linear map."""

    residual: Layers
    shortcut: Literal["identity", "project"] = "identity"

    def after(self, shape: Shape, scope: Scope) -> Shape:
        after = walk(self.residual, shape, scope)
        if after != shape and (self.shortcut == "identity" or len(after) != len(shape)):
            remedy = 'Add shortcut = "project".' if len(after) == len(shape) else "Let its layers keep the axes."
            raise Misfit(f"its layers make {list(after)} of {list(shape)}, and both are to be added", remedy)
        return after

    def projection(self, shape: Shape, scope: Scope) -> Layer | None:
        """The layer that the shortcut goes through; None where shapes agree."""
        after = walk(self.residual, shape, scope)
        if after == shape:
            return None
        if len(shape) == 1:
            return Dense(dense=after[-1], bias=False)
        steps = tuple(-(-old // new) for old, new in zip(shape[:-1], after[:-1], strict=True))
        stride = (steps[0], steps[1]) if len(steps) == 2 else steps[0]
        return Conv(conv=after[-1], kernel=1, stride=stride, bias=False)


class _Branches(Layer):
    @property
    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        found: tuple[tuple[Layer, ...], ...] = getattr(self, self.kind())
        return found


_Several = Annotated[tuple[Layers, ...], Field(min_length=2)]


class Concat(_Branches):
    """What several branches make of the same input, side by side in the last axis."""

    concat: _Several

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return joined(_walk_each(self.branches, [shape] * len(self.branches), scope))


class Add(_Branches):
    """The sum of what several branches make of the same input."""

    add: _Several

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return _equal(_walk_each(self.branches, [shape] * len(self.branches), scope))


class Multiply(_Branches):
    """The product, number by number, of what several branches make of the same input."""

    multiply: _Several

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return _equal(_walk_each(self.branches, [shape] * len(self.branches), scope))


class Split(_Branches):
    """Each branch gets its part of the last axis, `sizes` wide; what they make stands side by side again."""

    split: _Several
    sizes: Annotated[tuple[Units, ...], as_tuple]

    @model_validator(mode="after")
    def _one_each(self) -> Split:
        if len(self.sizes) != len(self.split):
            raise ValueError(f"'sizes' has {len(self.sizes)} numbers for {len(self.split)} branches")
        return self

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if not shape or sum(self.sizes) != shape[-1]:
            raise Misfit(f"its sizes come to {sum(self.sizes)}, and there are {list(shape)}", "Change sizes.")
        return joined(_walk_each(self.branches, [(*shape[:-1], size) for size in self.sizes], scope))


class Heads(Layer):
    """The last layer where outputs have layers of their own: by output, each ending in { dense = "outputs" }."""

    heads: Annotated[dict[str, Layers], Field(min_length=1)]

    def __hash__(self) -> int:
        return hash(tuple(self.heads.items()))

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if set(self.heads) != set(scope.outputs):
            wrong = sorted(set(self.heads) ^ set(scope.outputs))[0]
            known = wrong in scope.outputs
            raise Misfit(
                f"the output '{wrong}' has no head" if known else f"there is no output '{wrong}'",
                f"The outputs are {', '.join(scope.outputs)}.",
            )
        return joined([self.after_head(name, shape, scope) for name in scope.outputs])

    def after_head(self, name: str, shape: Shape, scope: Scope) -> Shape:
        after = walk(self.heads[name], shape, self.scope_of(name, scope), of=f"head '{name}'")
        if after != (scope.outputs[name],):
            raise Misfit(f"the head of '{name}' makes {list(after)}", f"It needs [{scope.outputs[name]}].")
        return after

    @staticmethod
    def scope_of(name: str, scope: Scope) -> Scope:
        return Scope(scope.inputs, {name: scope.outputs[name]}, scope.categories)


def joined(shapes: Sequence[Shape]) -> Shape:
    """The shape of several side by side in the last axis. Raises Misfit where their other axes differ."""
    if len({shape[:-1] for shape in shapes}) > 1 or not all(shapes):
        named = ", ".join(str(list(shape)) for shape in shapes)
        raise Misfit(
            f"its branches make {named}, which do not stand side by side", "Let them differ in the last axis alone."
        )
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _equal(shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) > 1:
        named = ", ".join(str(list(shape)) for shape in shapes)
        raise Misfit(f"its branches make {named}", "All must make the same shape.")
    return shapes[0]


def _walk_each(branches: Sequence[Sequence[Layer]], shapes: Iterable[Shape], scope: Scope) -> list[Shape]:
    pairs = enumerate(zip(branches, shapes, strict=True), 1)
    return [walk(branch, shape, scope, of=f"branch {place}") for place, (branch, shape) in pairs]
