"""Borrowing: what comes with borrowed layers: how their inputs are coded, and their weights.

What is borrowed becomes part of the borrower's own package, so that this needs no other. Inputs that a part reads are
coded as its lender codes them, statistics included: to its weights nothing else means anything. Nothing here needs JAX.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import contents
from gitdata.training.architecture.borrowed import found
from gitdata.training.architecture.layers import Layer, Part
from gitdata.training.architecture.plan import Plan
from gitdata.training.declaration import Data, Declaration
from gitdata.training.preprocessing import Categorical, FieldCode, Outside, Preprocessing

_NAME = re.compile(
    r"(?:part|frozen)([0-9]+)_(.+)"
)  # of the weights of a part: its number, and their name at the lender


@dataclass(frozen=True, slots=True)
class Lender:
    """A version that others borrow of: its network, how its fields are coded, its weights by name."""

    plan: Plan
    preprocessing: Preprocessing
    weights: Mapping[str, NDArray[np.float32]]


Lenders = Mapping[str, Lender]


def lender(files: Mapping[str, bytes]) -> Lender:
    """The lender that the files of a package are. Raises DataUnavailable naming the part that is damaged."""
    preprocessing = contents.preprocessing_of(files)
    return Lender(contents.plan_of(files, preprocessing), preprocessing, contents.tensors(files, "weights.safetensors"))


def plans_of(lenders: Lenders) -> dict[str, Plan]:
    """The networks of lenders."""
    return {name: own.plan for name, own in lenders.items()}


def require_alike(declaration: Declaration, lenders: Lenders) -> None:
    """Raises Mendable where inputs are declared to be coded otherwise than lenders code them, or these differ."""
    there: dict[str, FieldCode] = {}
    for name, own in lenders.items():
        for field in own.preprocessing.inputs:
            if there.setdefault(field.name, field) != field:
                others = " and ".join(sorted(lenders))
                raise Mendable(
                    f"models/{declaration.name}.toml borrows of {others}, which code '{field.name}' differently.",
                    "Borrow of versions that were fitted to the same rows, or of one.",
                )
            _require_same(declaration, name, field)


def far(lenders: Lenders, columns: Mapping[str, NDArray[Any]]) -> list[tuple[str, Outside]]:
    """What rows hold that is far from all that lenders were fitted to, with the name of the lender."""
    return [
        (name, found)
        for name, own in lenders.items()
        for found in replace(own.preprocessing, outputs=()).outside(columns)
    ]


def coded(codes: Preprocessing, lenders: Lenders) -> Preprocessing:
    """Preprocessing with the inputs of lenders coded as there."""
    there = {field.name: field for own in lenders.values() for field in own.preprocessing.inputs}
    return replace(codes, inputs=tuple(there.get(field.name, field) for field in codes.inputs))


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
    sources = {part.number: part.source for part in found(layers, Part)}
    names = {name: match for name in own if (match := _NAME.fullmatch(name))}
    lent = {name: lenders[sources[int(match[1])]].weights[match[2]] for name, match in names.items()}
    return {**own, **lent}
