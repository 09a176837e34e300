"""Borrowing: layers of other models' versions put into a network, with how their inputs are coded, and their weights.

A *lender* is such a version, `lattice@3`. What is borrowed becomes part of the borrower's own package, so that this
needs no other. Inputs that a part reads are coded as its lender codes them, statistics included: to its weights nothing
else means anything. Nothing here needs JAX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import contents
from gitdata.training.architecture.layers import Borrow, Heads, Layer, Part
from gitdata.training.architecture.plan import Input, Plan
from gitdata.training.declaration import Data, Declaration, Network
from gitdata.training.preprocessing import Categorical, FieldCode, Preprocessing

_Kind = TypeVar("_Kind", bound=Layer)

_NAME = re.compile(
    r"(?:part|frozen)([0-9]+)_(.+)"
)  # of the weights of a part: its number, and their name at the lender


@dataclass(frozen=True, slots=True)
class Lender:
    """A version that others borrow of: its network, how its fields are coded, its weights by name."""

    plan: Plan
    preprocessing: Preprocessing
    weights: Mapping[str, NDArray[np.float32]]

    @property
    def inputs(self) -> tuple[FieldCode, ...]:
        return self.preprocessing.inputs


Lenders = Mapping[str, Lender]


def lender(files: Mapping[str, bytes]) -> Lender:
    """The lender that the files of a package are. Raises DataUnavailable naming the part that is damaged."""
    preprocessing = contents.preprocessing_of(files)
    return Lender(contents.plan_of(files, preprocessing), preprocessing, contents.tensors(files, "weights.safetensors"))


def borrowed(network: Network) -> tuple[str, ...]:
    """The versions that a network borrows of, each once, in its order."""
    return tuple(dict.fromkeys(layer.model for layer in _found(network.layers, Borrow)))


def resolved(declaration: Declaration, lenders: Lenders) -> Declaration:
    """The declaration with layers in place of what it borrows. Raises Mendable where that is not there."""
    numbers = count()

    def put(layer: Layer) -> Layer:
        if not isinstance(layer, Borrow):
            return layer
        own = lenders[layer.model].plan
        layers = own.layers[: _taken(declaration.name, layer, own)]
        inputs = tuple(field.name for field in own.inputs)
        return Part(part=layers, inputs=inputs, source=layer.model, number=next(numbers), freeze=layer.freeze)

    layers = _mapped(declaration.network.layers, put)
    return declaration.model_copy(update={"network": declaration.network.model_copy(update={"layers": layers})})


def _taken(model: str, borrow: Borrow, own: Plan) -> int:
    """How many layers of its lender are borrowed: at most all before the one that makes its outputs."""
    most = max(place for place, layer in enumerate(own.layers) if layer.has_weights or isinstance(layer, Heads))
    if not 0 < (borrow.layers or most) <= most:
        raise Mendable(
            f"models/{model}.toml borrows {borrow.layers or 'all'} layers of {borrow.model}, which has {most} before "
            "the one that makes its outputs.",
            f"Borrow {most} at most." if most else "Borrow of another model.",
        )
    return borrow.layers or most


def lent(lenders: Lenders) -> dict[str, Input]:
    """The inputs that lenders code, as the network gets them."""
    return {field.name: field.as_input for own in lenders.values() for field in own.inputs}


def coded(codes: Preprocessing, declaration: Declaration, lenders: Lenders) -> Preprocessing:
    """Preprocessing with the inputs of lenders coded as there. Raises Mendable where something else is declared."""
    found: dict[str, FieldCode] = {}
    for name, own in lenders.items():
        for field in own.inputs:
            if found.setdefault(field.name, field) != field:
                others = " and ".join(sorted(lenders))
                raise Mendable(
                    f"models/{declaration.name}.toml borrows of {others}, which code '{field.name}' differently.",
                    "Borrow of versions that were fitted to the same rows, or of one.",
                )
            _require_same(declaration, name, field)
    return replace(codes, inputs=tuple(found.get(field.name, field) for field in codes.inputs))


def _require_same(declaration: Declaration, lender: str, field: FieldCode) -> None:
    wanted, there = _declared(declaration.data, field), _coding(field)
    for key, value in there.items():
        if wanted[key] != value:
            raise Mendable(
                f"models/{declaration.name}.toml: '{field.name}' has the {key} '{wanted[key]}', and {lender}, whose "
                f"layers are borrowed, '{value}'.",
                f'Declare in [data] what it was trained with: {key} = {{ {field.name} = "{value}" }}.',
            )


def _declared(data: Data, field: FieldCode) -> dict[str, str]:
    name = field.name
    return {
        "transform": data.transform_of(name), "scaling": data.scaling_of(name), "encoding": data.encoding_of(name),
    }  # fmt: skip


def _coding(field: FieldCode) -> dict[str, str]:
    if isinstance(field, Categorical):
        return {"encoding": "codes" if field.coded else "one-hot"}
    return {"transform": field.transform, "scaling": field.scaling}


def weights(layers: tuple[Layer, ...], own: Mapping[str, Any], lenders: Lenders) -> dict[str, Any]:
    """The weights of a network by name, those of its parts as their lenders have them."""
    sources = {part.number: part.source for part in _found(layers, Part)}
    names = {name: match for name in own if (match := _NAME.fullmatch(name))}
    found = {name: lenders[sources[int(match[1])]].weights[match[2]] for name, match in names.items()}
    return {**own, **found}


# --- layers within layers ----------------------------------------------------------------------------------------


def _found(value: Any, kind: type[_Kind]) -> Iterator[_Kind]:
    """Layers of a kind, in order; what stands within a part is its lender's, and not looked at."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Layer) and not isinstance(value, Part):
        for name in type(value).model_fields:
            yield from _found(getattr(value, name), kind)
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _found(item, kind)


def _mapped(value: Any, change: Callable[[Layer], Layer]) -> Any:
    """Layers with each one changed, those within layers first."""
    if isinstance(value, Layer):
        inner = {name: getattr(value, name) for name in type(value).model_fields}
        new = {name: _mapped(own, change) for name, own in inner.items() if isinstance(own, tuple | dict)}
        return change(value.model_copy(update=new) if new else value)
    if isinstance(value, tuple):
        return tuple(_mapped(item, change) for item in value)
    return {name: _mapped(item, change) for name, item in value.items()} if isinstance(value, dict) else value
