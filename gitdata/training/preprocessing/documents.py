"""Documents: fields as JSON, as a package carries them. What is as it was by default of old is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gitdata.training.preprocessing.fields import Binary, Categorical, FieldCode, Numeric
from gitdata.training.preprocessing.scaling import SCALINGS, TRANSFORMS

_MOST = 2**24  # numbers of one field in a row for which one may stand


def to_json(field: FieldCode) -> dict[str, Any]:
    if isinstance(field, Categorical):
        always: dict[str, Any] = {"categories": list(field.categories), "name": field.name}
        coded = {"encoding": "codes", "shape": list(field.shape)} if field.coded else {}
        return always | coded | ({"binary": True} if isinstance(field, Binary) else {})
    always = {
        "mean": _short(field.mean),
        "name": field.name,
        "scale": _short(field.scale),
        "shape": list(field.shape),
        "transform": field.transform,
    }
    if field.scaling != "standard":
        always["scaling"] = field.scaling
    return always | ({"seen": list(field.seen)} if field.seen else {})


def from_json(item: Any) -> FieldCode:
    """What `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
    name = item["name"]
    if not isinstance(name, str):
        raise ValueError("a field has no name")
    return _categorical(item, name) if "categories" in item else _numeric(item, name)


def _categorical(item: Any, name: str) -> Categorical:
    categories = tuple(item["categories"])
    if not categories or any(type(category) not in (str, int) for category in categories):
        raise ValueError(f"the categories of '{name}' are malformed")
    if item.get("binary"):
        if len(categories) != 2:
            raise ValueError(f"'{name}' has not two classes")
        return Binary(name, categories)
    if "encoding" not in item:
        return Categorical(name, categories)
    if item["encoding"] != "codes":
        raise ValueError(f"the encoding of '{name}' is unknown")
    return Categorical(name, categories, coded=True, shape=_shape(item["shape"], name))


def _numeric(item: Any, name: str) -> Numeric:
    shape = _shape(item["shape"], name)
    width = int(np.prod(shape, dtype=np.int64))
    mean, scale = (_long(_floats(item[key], name), width) for key in ("mean", "scale"))
    if len(mean) != width or len(scale) != width or min(scale, default=1.0) <= 0:
        raise ValueError(f"the statistics of '{name}' are malformed")
    transform, scaling = item["transform"], item.get("scaling", "standard")
    if transform not in TRANSFORMS or scaling not in SCALINGS:
        raise ValueError(f"the transform or scaling of '{name}' is unknown")
    seen = _floats(item["seen"], name) if "seen" in item else None
    if seen is not None and (len(seen) != 2 or seen[0] > seen[1]):
        raise ValueError(f"the range of '{name}' is malformed")
    return Numeric(name, transform, shape, mean, scale, scaling, (seen[0], seen[1]) if seen else None)


def _short(values: tuple[float, ...]) -> list[float]:
    """One number where all are the same: an image has many."""
    return list(values[:1] if len(values) > 1 and len(set(values)) == 1 else values)


def _long(values: tuple[float, ...], width: int) -> tuple[float, ...]:
    """One number for each of a row; a document that claims absurdly many stays short, and is refused."""
    return values * width if len(values) == 1 and width <= _MOST else values


def _shape(value: Any, name: str) -> tuple[int, ...]:
    sizes = _floats(value, name)
    if any(size < 1 or size != int(size) for size in sizes):
        raise ValueError(f"the shape of '{name}' is malformed")
    return tuple(int(size) for size in sizes)


def _floats(values: Sequence[Any], name: str) -> tuple[float, ...]:
    if not isinstance(values, list) or any(type(v) not in (int, float) or not np.isfinite(v) for v in values):
        raise ValueError(f"the statistics of '{name}' are malformed")
    return tuple(float(value) for value in values)
