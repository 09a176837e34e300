"""Layers: one class for each kind, with its options, and the shape of its output for a shape of its input.

A *shape* is that of one row: (features,), (steps, features) for sequences, (nodes, features) for graphs, or (height,
width, channels) for images. The first field of a class is its kind, by which it is written: `{ dense = 64 }`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

Shape = tuple[int, ...]

MOST_LAYERS = 1024  # after blocks and repetitions are written out
MOST_UNITS = 65536  # of one axis
MOST_NUMBERS = 2**28  # of what one layer makes of one row

Activation = Literal[
    "elu", "gelu", "identity", "leaky_relu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus",
    "softsign", "tanh",
]  # fmt: skip
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

_as_tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Units = Annotated[int, Field(gt=0, le=MOST_UNITS)]
Outputs = Literal["outputs"]
Size = Annotated[Units | tuple[Units, Units], _as_tuple]
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


class _Named(Layer):
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


Layers = Annotated[tuple[SerializeAsAny[Layer], ...], Field(min_length=1)]


# --- single values -------------------------------------------------------------------------------------------


class Activate(Layer):
    """A function of each number, or softmax over the last axis."""

    activation: Activation

    @property
    def name(self) -> str:
        return self.activation

    def written(self) -> Any:
        return self.activation


class Dense(Layer):
    """y = x W + b over the last axis; `outputs`: as wide as the outputs need."""

    dense: Units | Outputs
    bias: bool = True
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if not shape:
            raise Misfit("it takes at least one axis", 'Put "flatten" before it.')
        return (*shape[:-1], scope.output_width if self.dense == "outputs" else self.dense)


class Dropout(Layer):
    """While training, each number is 0 with this probability, and the others grow so that the mean stays."""

    dropout: Annotated[float, Field(ge=0, lt=1)]


class Embedding(Layer):
    """A vector of learned numbers for each code; a code that is out of range is unknown, and has a vector of its own.

    `of` begins anew with an input of that name. `size`: how many codes there are, where the input does not say.
    """

    embedding: Units
    of: str | None = None
    size: Annotated[int, Field(gt=0, le=10_000_000)] | None = None
    has_weights: ClassVar[bool] = True

    def codes(self, scope: Scope) -> int:
        """How many codes there are."""
        name = self.of or (next(iter(scope.inputs)) if len(scope.inputs) == 1 else "")
        found = self.size or scope.categories.get(name)
        if found is None:
            raise Misfit("how many codes there are is not known", "Say size = …, or of = the name of a coded input.")
        return found

    def after(self, shape: Shape, scope: Scope) -> Shape:
        self.codes(scope)
        shape = shape if self.of is None else scope.input(self.of)
        return (self.embedding,) if shape in ((), (1,)) else (*shape, self.embedding)


# --- images and sequences ------------------------------------------------------------------------------------


class _Window(Layer):
    """Something that slides over one axis of a sequence or two of an image, channels last."""

    def over(self, shape: Shape) -> tuple[int, ...]:
        if len(shape) not in (2, 3):
            side = math.isqrt(math.prod(shape))
            remedy = f"Put {{ reshape = [{', '.join(map(str, _as_image(shape, side)))}] }} before it."
            raise Misfit("it takes images (height, width, channels) or sequences (steps, channels)", remedy)
        return shape[:-1]

    def slid(self, shape: Shape, kernel: Sequence[int], stride: Sequence[int], padding: str) -> tuple[int, ...]:
        """The places that a window of `kernel` takes."""
        axes = self.over(shape)
        if padding == "same":
            return tuple(-(-axis // step) for axis, step in zip(axes, stride, strict=True))
        places = tuple((axis - window) // step + 1 for axis, window, step in zip(axes, kernel, stride, strict=True))
        if min(places) < 1:
            raise Misfit(
                f"its window {list(kernel)} is larger than {list(axes)}", 'Make it smaller, or padding = "same".'
            )
        return places

    def sizes(self, value: int | tuple[int, int], shape: Shape) -> tuple[int, ...]:
        """One number for each axis it slides over."""
        axes = len(self.over(shape))
        if isinstance(value, tuple) and axes != 2:
            raise Misfit(f"{list(value)} is for two axes, and there is one", "Give one number.")
        return value if isinstance(value, tuple) else (value,) * axes


def _as_image(shape: Shape, side: int) -> Shape:
    return (side, side, 1) if len(shape) == 1 and side > 1 and side * side == shape[0] else (*shape, 1)


class Conv(_Window):
    """A convolution over images or sequences, channels last; as wide as `conv` says."""

    conv: Units
    kernel: Size = 3
    stride: Size = 1
    dilation: Size = 1
    groups: Units = 1
    padding: Padding = "same"
    bias: bool = True
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        kernel, stride, dilation = (self.sizes(v, shape) for v in (self.kernel, self.stride, self.dilation))
        if shape[-1] % self.groups or self.conv % self.groups:
            raise Misfit(
                f"{shape[-1]} and {self.conv} channels do not fall into {self.groups} groups", "Change groups."
            )
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        return (*self.slid(shape, reach, stride, self.padding), self.conv)


class _Pool(_Window):
    stride: Size | None = None
    padding: Padding = "valid"

    @property
    def window(self) -> int | tuple[int, int]:
        found: int | tuple[int, int] = getattr(self, self.kind())
        return found

    def after(self, shape: Shape, scope: Scope) -> Shape:
        window = self.sizes(self.window, shape)
        stride = window if self.stride is None else self.sizes(self.stride, shape)
        return (*self.slid(shape, window, stride, self.padding), shape[-1])

    @classmethod
    def kind(cls) -> str:
        return next(name for name in cls.model_fields if name.endswith("_pool"))


class MaxPool(_Pool):
    """The largest number in each window, channel by channel; stride: default as wide as the window."""

    max_pool: Size


class AvgPool(_Pool):
    """The mean of each window, channel by channel; what padding adds does not count."""

    avg_pool: Size


class _GlobalPool(_Named):
    def after(self, shape: Shape, scope: Scope) -> Shape:
        if len(shape) < 2:
            raise Misfit("it takes images or sequences", "Leave it out: there is nothing to pool.")
        return shape[-1:]


class GlobalAvgPool(_GlobalPool):
    """The mean over all places, channel by channel."""

    global_avg_pool: Literal[True] = True


class GlobalMaxPool(_GlobalPool):
    """The largest number over all places, channel by channel."""

    global_max_pool: Literal[True] = True


class Flatten(_Named):
    """All numbers of a row in one axis."""

    flatten: Literal[True] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return (math.prod(shape),)


class Reshape(Layer):
    """The same numbers in another shape, the last axis running fastest."""

    reshape: Annotated[tuple[Units, ...], _as_tuple, Field(min_length=1, max_length=4)]

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if math.prod(self.reshape) != math.prod(shape):
            raise Misfit(f"it makes {math.prod(self.reshape)} numbers of {math.prod(shape)}", "Both must be the same.")
        return self.reshape


# --- normalisation -------------------------------------------------------------------------------------------


class BatchNorm(_Named):
    """Ioffe & Szegedy 2015: each channel of a batch gets mean 0 and variance 1, then a learned scale and shift.

    Used, it takes the running mean and variance of training, of which a step keeps `momentum`.
    """

    batch_norm: Literal[True] = True
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    has_weights: ClassVar[bool] = True


class LayerNorm(_Named):
    """Ba, Kiros & Hinton 2016: the last axis of each row gets mean 0 and variance 1, then a learned scale and shift."""

    layer_norm: Literal[True] = True
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-6
    has_weights: ClassVar[bool] = True


# --- sequences -----------------------------------------------------------------------------------------------


class _Recurrent(Layer):
    sequences: bool = False
    reverse: bool = False
    bidirectional: bool = False
    has_weights: ClassVar[bool] = True

    @property
    def units(self) -> int:
        found: int = getattr(self, self.kind())
        return found

    @classmethod
    def kind(cls) -> str:
        return next(name for name in cls.model_fields if name in ("gru", "lstm", "rnn"))

    def after(self, shape: Shape, scope: Scope) -> Shape:
        _require_sequence(shape)
        width = self.units * (2 if self.bidirectional else 1)
        return (shape[0], width) if self.sequences else (width,)


class GRU(_Recurrent):
    """Cho et al. 2014; its last state, or with `sequences` that of every step."""

    gru: Units


class LSTM(_Recurrent):
    """Hochreiter & Schmidhuber 1997; its last output, or with `sequences` that of every step."""

    lstm: Units


class RNN(_Recurrent):
    """h = tanh(x W + h U + b) (Elman 1990); its last state, or with `sequences` that of every step."""

    rnn: Units


class Attention(Layer):
    """Multi-head self-attention over the steps of a sequence (Vaswani et al. 2017), as wide as its input."""

    attention: Units
    width: Units | None = None
    causal: bool = False
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        _require_sequence(shape)
        width = self.width or shape[-1]
        if width % self.attention:
            raise Misfit(f"a width of {width} does not fall into {self.attention} heads", "Give a width that does.")
        return shape


class Positions(Layer):
    """Adds to every step of a sequence what says which one it is: sines (Vaswani et al. 2017), or learned numbers."""

    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        _require_sequence(shape)
        return shape


def _require_sequence(shape: Shape) -> None:
    if len(shape) != 2:
        steps = f"[{shape[0]}, {shape[1] * shape[2]}]" if len(shape) == 3 else f"[{math.prod(shape)}, 1]"
        raise Misfit("it takes a sequence (steps, features)", f"Put {{ reshape = {steps} }} before it.")


# --- graphs --------------------------------------------------------------------------------------------------


class GraphConv(Layer):
    """Kipf & Welling 2017: D^-½ (A + I) D^-½ x W + b over nodes; `edges` names the input that holds the graph.

    That input is an adjacency matrix (nodes, nodes), or a list (edges, 2) of node numbers, undirected, −1 for none.
    """

    graph_conv: Units
    edges: str
    bias: bool = True
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if len(shape) != 2:
            raise Misfit("it takes nodes (nodes, features)", "Put { reshape = [nodes, features] } before it.")
        edges = scope.input(self.edges)
        if edges != (shape[0], shape[0]) and (len(edges) != 2 or edges[1] != 2):
            raise Misfit(
                f"'{self.edges}' has the shape {list(edges)}",
                f"Give an adjacency matrix [{shape[0]}, {shape[0]}], or edges [n, 2].",
            )
        return (shape[0], self.graph_conv)


class GraphPool(Layer):
    """One vector for a graph: the mean, sum or largest number over its nodes.

    `nodes` names an input that has 1 for each node that is there, and 0 for those that only fill up.
    """

    graph_pool: Literal["mean", "sum", "max"]
    nodes: str | None = None

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if len(shape) != 2:
            raise Misfit(
                "it takes nodes (nodes, features)", "Leave it out, or put { reshape = [nodes, features] } before."
            )
        if self.nodes is not None and math.prod(scope.input(self.nodes)) != shape[0]:
            raise Misfit(f"'{self.nodes}' does not have one number for each of {shape[0]} nodes", "Name another input.")
        return shape[1:]


# --- several ways --------------------------------------------------------------------------------------------


class Input(Layer):
    """Begins anew with one of the inputs in its own shape, or with several, their numbers one after the other."""

    input: Annotated[str | tuple[str, ...], _as_tuple]

    @property
    def names(self) -> tuple[str, ...]:
        return self.input if isinstance(self.input, tuple) else (self.input,)

    def after(self, shape: Shape, scope: Scope) -> Shape:
        shapes = [scope.input(name) for name in self.names]
        return shapes[0] if isinstance(self.input, str) else (sum(math.prod(shape) for shape in shapes),)


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
    sizes: Annotated[tuple[Units, ...], _as_tuple]

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


def _walk_each(branches: Sequence[Sequence[Layer]], shapes: Iterable[Shape], scope: Scope) -> list[Shape]:
    pairs = enumerate(zip(branches, shapes, strict=True), 1)
    return [walk(branch, shape, scope, of=f"branch {place}") for place, (branch, shape) in pairs]


KINDS: dict[str, type[Layer]] = {
    layer.kind(): layer
    for layer in (
        Dense, Dropout, Embedding, Conv, MaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, Flatten, Reshape, BatchNorm,
        LayerNorm, GRU, LSTM, RNN, Attention, Positions, GraphConv, GraphPool, Input, Residual, Concat, Add, Multiply,
        Split, Heads,
    )
}  # fmt: skip
