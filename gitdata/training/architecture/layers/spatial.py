"""Layers over images and sequences: convolution, pooling, and other shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gitdata.training.architecture.layers.base import (
    Layer,
    Misfit,
    NamedLayer,
    Padding,
    Scope,
    Shape,
    Size,
    Units,
    as_tuple,
)


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


class _GlobalPool(NamedLayer):
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


class Flatten(NamedLayer):
    """All numbers of a row in one axis."""

    flatten: Literal[True] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        return (math.prod(shape),)


class Reshape(Layer):
    """The same numbers in another shape, the last axis running fastest."""

    reshape: Annotated[tuple[Units, ...], as_tuple, Field(min_length=1, max_length=4)]

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if math.prod(self.reshape) != math.prod(shape):
            raise Misfit(f"it makes {math.prod(self.reshape)} numbers of {math.prod(shape)}", "Both must be the same.")
        return self.reshape
