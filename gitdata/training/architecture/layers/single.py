"""Layers of single values: dense, activations, dropout, embedding, normalisation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from gitdata.training.architecture.layers.base import Layer, Misfit, NamedLayer, Outputs, Scope, Shape, Units

Activation = Literal[
    "elu", "gelu", "identity", "leaky_relu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus",
    "softsign", "tanh",
]  # fmt: skip
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


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


class BatchNorm(NamedLayer):
    """Ioffe & Szegedy 2015: each channel of a batch gets mean 0 and variance 1, then a learned scale and shift.

    Used, it takes the running mean and variance of training, of which a step keeps `momentum`.
    """

    batch_norm: Literal[True] = True
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    has_weights: ClassVar[bool] = True


class LayerNorm(NamedLayer):
    """Ba, Kiros & Hinton 2016: the last axis of each row gets mean 0 and variance 1, then a learned scale and shift."""

    layer_norm: Literal[True] = True
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-6
    has_weights: ClassVar[bool] = True
