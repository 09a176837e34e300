"""Borrowed: the layers of other models' versions put where a network refers to them.

A *lender* is such a version, `lattice@3`; here it is its plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, TypeVar

from gitdata.training.architecture.layers import Borrow, Heads, Layer, Misfit, Part
from gitdata.training.architecture.plan import Plan

_Kind = TypeVar("_Kind", bound=Layer)


def borrowed(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """The versions that a network borrows of, each once, in its order."""
    return tuple(dict.fromkeys(layer.model for layer in found(layers, Borrow)))


def resolved(layers: tuple[Layer, ...], lenders: Mapping[str, Plan]) -> tuple[Layer, ...]:
    """The layers with those of lenders in place of what is borrowed. Raises Misfit where more is than there are."""
    numbers = count()

    def put(layer: Layer) -> Layer:
        if not isinstance(layer, Borrow):
            return layer
        own = lenders[layer.model]
        part, inputs = own.layers[: _taken(layer, own)], tuple(field.name for field in own.inputs)
        return Part(part=part, inputs=inputs, source=layer.model, number=next(numbers), freeze=layer.freeze)

    return tuple(_mapped(layers, put))


def _taken(borrow: Borrow, own: Plan) -> int:
    """How many layers are borrowed: at most all before the one that makes the lender's outputs."""
    most = max(place for place, layer in enumerate(own.layers) if layer.has_weights or isinstance(layer, Heads))
    if not 0 < (borrow.layers or most) <= most:
        raise Misfit(
            f"{borrow.layers or 'all'} layers of {borrow.model} are borrowed, which has {most} before the one that "
            "makes its outputs",
            f"Borrow {most} at most." if most else "Borrow of another model.",
        )
    return borrow.layers or most


def found(value: Any, kind: type[_Kind]) -> Iterator[_Kind]:
    """Layers of a kind, in order; what stands within a part is its lender's, and not looked at."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Layer) and not isinstance(value, Part):
        for name in type(value).model_fields:
            yield from found(getattr(value, name), kind)
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from found(item, kind)


def _mapped(value: Any, change: Callable[[Layer], Layer]) -> Any:
    """Layers with each one changed, those within layers first."""
    if isinstance(value, Layer):
        inner = {name: getattr(value, name) for name in type(value).model_fields}
        new = {name: _mapped(own, change) for name, own in inner.items() if isinstance(own, tuple | dict)}
        return change(value.model_copy(update=new) if new else value)
    if isinstance(value, tuple):
        return tuple(_mapped(item, change) for item in value)
    return {name: _mapped(item, change) for name, item in value.items()} if isinstance(value, dict) else value
