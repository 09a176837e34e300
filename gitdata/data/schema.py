"""Schema: the fields of a data set's rows, their dtypes and their shapes per row.

A *field* is a CSV column, an HDF5 data set, an array of an NPZ file …; its dtype is a NumPy name or `text`. Where the
format says more of a field, its *unit*, *description* and *categories* (the labels that its texts are taken from) are
kept. A schema without fields is that of *opaque* files: kept as they are, their rows unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

TEXT = "text"
MOST_CATEGORIES = 4096  # what has more labels is encoded that way to save room, and is no list of categories
_DTYPE = re.compile(r"text|bool|u?int(8|16|32|64)|float(16|32|64)")


@dataclass(frozen=True, slots=True)
class Field:
    """A field by name; `shape` is that of one row, `()` for a scalar. The rest is what the format says besides."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    unit: str | None = None
    description: str | None = None
    categories: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Dtype and shape, for people."""
        shape = f" of shape {'×'.join(map(str, self.shape))} per row" if self.shape else ""
        return f"{self.dtype}{shape}"


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of a file or dataset; their order has no meaning."""

    fields: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def get(self, name: str) -> Field | None:
        """The field of that name, None where there is none."""
        return next((field for field in self.fields if field.name == name), None)

    def to_json(self) -> list[dict[str, Any]]:
        """Sorted by name, so that equal schemas are equal bytes; what a field does not have is left out."""
        return [_to_json(field) for field in sorted(self.fields, key=lambda field: field.name)]

    @classmethod
    def from_json(cls, value: Any) -> Schema:
        """The schema that `to_json` wrote; raises ValueError on anything else."""
        if not isinstance(value, list):
            raise ValueError("a schema is a list of fields")
        fields = tuple(_field(item) for item in value)
        if len({field.name for field in fields}) != len(fields):
            raise ValueError("a schema names a field twice")
        return cls(fields)


def differences(parent: Schema, child: Schema) -> list[str]:
    """One sentence for each field that is missing, extra, or of another dtype, shape or unit than the parents'.

    A unit that only one of them names is no difference.
    """
    ours = {field.name: field for field in parent.fields}
    theirs = {field.name: field for field in child.fields}
    extra = [name for name in theirs if name not in ours]
    found = [f"field '{name}' is missing{_nearest(name, extra)}" for name in ours if name not in theirs]
    found += [f"field '{name}' is new" for name in extra]
    for name, field in ours.items():
        other = theirs.get(name)
        if other is None:
            continue
        if (other.dtype, other.shape) != (field.dtype, field.shape):
            found.append(f"field '{name}' is {other.kind}, not {field.kind}")
        if field.unit and other.unit and field.unit != other.unit:
            found.append(f"field '{name}' is in {other.unit}, not in {field.unit}")
    return found


def inherit(parent: Schema, child: Schema) -> Schema:
    """`child` with what only the parents' schema says of a field: a CSV file names no unit.

    Categories are the parents' and then the new ones, so that a code keeps its label.
    """
    known = {field.name: field for field in parent.fields}
    return Schema(tuple(_inherit(known.get(field.name), field) for field in child.fields))


def _inherit(parent: Field | None, field: Field) -> Field:
    if parent is None:
        return field
    return replace(
        field,
        unit=field.unit or parent.unit,
        description=field.description or parent.description,
        categories=tuple(dict.fromkeys((*parent.categories, *field.categories))),
    )


def _nearest(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, 1)
    return f" (is '{near[0]}' meant?)" if near else ""


def _to_json(field: Field) -> dict[str, Any]:
    more = {"unit": field.unit, "description": field.description, "categories": list(field.categories)}
    always = {"dtype": field.dtype, "name": field.name, "shape": list(field.shape)}
    return always | {key: value for key, value in more.items() if value}


_ALWAYS = {"dtype", "name", "shape"}
_SOMETIMES = {"unit", "description", "categories"}


def _field(item: Any) -> Field:
    if not isinstance(item, dict) or not _ALWAYS <= item.keys() <= _ALWAYS | _SOMETIMES:
        raise ValueError("a field has dtype, name and shape, and may have unit, description and categories")
    name, dtype, shape = item["name"], item["dtype"], item["shape"]
    if not isinstance(name, str) or not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError("a field has a name and a known dtype")
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"the shape of field {name!r:.40} is not a list of lengths")
    name.encode()
    unit, description = (_text_or_none(item.get(key), name) for key in ("unit", "description"))
    return Field(name, dtype, tuple(shape), unit, description, _categories(item.get("categories", []), name))


def _text_or_none(value: Any, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"unit and description of field {name!r:.40} are texts, or absent")
    if value is not None:
        value.encode()
    return value


def _categories(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ValueError(f"the categories of field {name!r:.40} are not a list of texts")
    if len(set(value)) != len(value):
        raise ValueError(f"a category of field {name!r:.40} stands twice")
    for label in value:
        label.encode()
    return tuple(value)
