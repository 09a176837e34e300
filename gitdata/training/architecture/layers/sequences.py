"""Layers over sequences: recurrence, attention, positions."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from gitdata.training.architecture.layers.base import Layer, Misfit, Scope, Shape, Units


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
