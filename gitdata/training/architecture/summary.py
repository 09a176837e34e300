"""Summary: a network layer by layer, with what each makes of a row and how many weights it has; nothing is computed.

The weights of a layer are all numbers of its module, those that it keeps without learning them (running means) too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import zip_longest

from gitdata.training.architecture import layers as declared
from gitdata.training.architecture.layers import Layer, Scope, Shape
from gitdata.training.architecture.plan import Plan

MOST_WEIGHTS = 2**31  # of a network that is held


@dataclass(frozen=True, slots=True)
class Line:
    """A layer: how deep it stands in others, its name, what it gets and makes of a row, and its own weights."""

    depth: int
    name: str
    before: Shape
    after: Shape
    weights: int


def lines(plan: Plan) -> list[Line]:
    """Every layer in the order of the network; layers within a layer stand after it, one deeper."""
    return list(_lines(plan.layers, plan.shape, plan.scope, 0))


def weight_count(plan: Plan) -> int:
    """The number of weights of a network."""
    return sum(line.weights for line in lines(plan))


def numbers_held(plan: Plan) -> int:
    """How many numbers of a row training holds: its inputs, and what layers make that make more than other numbers."""
    found = lines(plan)
    leaves = [line for line, after in zip_longest(found, found[1:]) if after is None or after.depth <= line.depth]
    made = (math.prod(line.after) for line in leaves if line.weights or math.prod(line.before) != math.prod(line.after))
    return plan.input_width + sum(made)


def _lines(layers: Sequence[Layer], shape: Shape, scope: Scope, depth: int) -> Iterator[Line]:
    for layer in layers:
        after = layer.after(shape, scope)
        yield Line(depth, named(layer), shape, after, weights(layer, shape, scope))
        for label, inner, start, within in _inner(layer, shape, scope):
            if label:
                end = declared.walk(inner, start, within)
                yield Line(depth + 1, label, start, end, 0)
            yield from _lines(inner, start, within, depth + 1 + bool(label))
        shape = after


def named(layer: Layer) -> str:
    """A layer in a word, with its size or the inputs it begins with: `dense 96`, `input t1, t2`."""
    written = layer.written()
    value = written.get(layer.kind()) if isinstance(written, dict) else None
    if isinstance(layer, declared.Part | declared.Python):
        return layer.name
    if isinstance(layer, declared.Input):
        value = ", ".join(layer.names)
    return f"{layer.name} {value}" if isinstance(value, int | float | str) and value is not True else layer.name


def _inner(layer: Layer, shape: Shape, scope: Scope) -> Iterator[tuple[str, Sequence[Layer], Shape, Scope]]:
    """The layers within a layer, in groups: the name of the group, its layers, and what they get."""
    if isinstance(layer, declared.Residual):
        yield "", layer.residual, shape, scope
    elif isinstance(layer, declared.Part):
        yield "", layer.part, layer.begins(scope), scope
    elif isinstance(layer, declared.Split):
        for place, (branch, size) in enumerate(zip(layer.split, layer.sizes, strict=True), 1):
            yield f"branch {place}", branch, (*shape[:-1], size), scope
    elif isinstance(layer, declared.Concat | declared.Add | declared.Multiply):
        for place, branch in enumerate(layer.branches, 1):
            yield f"branch {place}", branch, shape, scope
    elif isinstance(layer, declared.Heads):
        for name in scope.outputs:
            yield f"head {name}", layer.heads[name], shape, layer.scope_of(name, scope)


@singledispatch
def weights(layer: Layer, shape: Shape, scope: Scope) -> int:
    """The weights of a layer itself, without those of layers within it."""
    return 0


@weights.register
def _(layer: declared.Dense, shape: Shape, scope: Scope) -> int:
    return (shape[-1] + layer.bias) * layer.after(shape, scope)[-1]


@weights.register
def _(layer: declared.Conv, shape: Shape, scope: Scope) -> int:
    window = math.prod(layer.sizes(layer.kernel, shape))
    return (window * shape[-1] // layer.groups + layer.bias) * layer.conv


@weights.register
def _(layer: declared.BatchNorm, shape: Shape, scope: Scope) -> int:
    return 4 * shape[-1]


@weights.register
def _(layer: declared.LayerNorm, shape: Shape, scope: Scope) -> int:
    return 2 * shape[-1]


@weights.register
def _(layer: declared.Embedding, shape: Shape, scope: Scope) -> int:
    return (layer.codes(scope) + 1) * layer.embedding


@weights.register(declared.GRU)
@weights.register(declared.LSTM)
@weights.register(declared.RNN)
def _(layer: declared.GRU | declared.LSTM | declared.RNN, shape: Shape, scope: Scope) -> int:
    gates = {"gru": 3, "lstm": 4, "rnn": 1}[layer.kind()]
    return layer.units * gates * (shape[-1] + layer.units + 1) * (1 + layer.bidirectional)


@weights.register
def _(layer: declared.Attention, shape: Shape, scope: Scope) -> int:
    width = layer.width or shape[-1]
    return 3 * (shape[-1] + 1) * width + (width + 1) * shape[-1]


@weights.register
def _(layer: declared.Positions, shape: Shape, scope: Scope) -> int:
    return math.prod(shape) if layer.positions == "learned" else 0


@weights.register
def _(layer: declared.GraphConv, shape: Shape, scope: Scope) -> int:
    return (shape[-1] + layer.bias) * layer.graph_conv


@weights.register
def _(layer: declared.Residual, shape: Shape, scope: Scope) -> int:
    projection = layer.projection(shape, scope)
    return weights(projection, shape, scope) if projection else 0
