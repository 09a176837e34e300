"""Schema: the fields of a data set's rows, their dtypes and their shapes per row.

A *field* is a CSV column or an HDF5 data set; its dtype is a NumPy name or `text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

TEXT = "text"
_DTYPE = re.compile(r"text|bool|u?int(8|16|32|64)|float(16|32|64)")


@dataclass(frozen=True, slots=True)
class Field:
    """A field by name; `shape` is that of one row, `()` for a scalar."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def description(self) -> str:
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

    def to_json(self) -> list[dict[str, Any]]:
        """Sorted by name, so that equal schemas are equal bytes."""
        ordered = sorted(self.fields, key=lambda field: field.name)
        return [{"dtype": f.dtype, "name": f.name, "shape": list(f.shape)} for f in ordered]

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
    """One sentence for each field that is missing, extra, or of another dtype or shape than the parents'."""
    ours = {field.name: field for field in parent.fields}
    theirs = {field.name: field for field in child.fields}
    extra = [name for name in theirs if name not in ours]
    found = [f"field '{name}' is missing{_nearest(name, extra)}" for name in ours if name not in theirs]
    found += [f"field '{name}' is new" for name in extra]
    for name, field in ours.items():
        other = theirs.get(name)
        if other is not None and (other.dtype, other.shape) != (field.dtype, field.shape):
            found.append(f"field '{name}' is {other.description}, not {field.description}")
    return found


def _nearest(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, 1)
    return f" (is '{near[0]}' meant?)" if near else ""


def _field(item: Any) -> Field:
    if not isinstance(item, dict) or item.keys() != {"dtype", "name", "shape"}:
        raise ValueError("a field has exactly dtype, name and shape")
    name, dtype, shape = item["name"], item["dtype"], item["shape"]
    if not isinstance(name, str) or not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise ValueError("a field has a name and a known dtype")
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"the shape of field {name!r:.40} is not a list of lengths")
    name.encode()
    return Field(name, dtype, tuple(shape))
