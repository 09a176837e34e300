"""Columnar: fields and arrays as Arrow has them. A field with a shape per row is a list of fixed length, nested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gitdata.data.formats.format import DESCRIPTIONS, UNITS
from gitdata.data.schema import TEXT, Field


def arrow_type(field: Field) -> pa.DataType:
    kind = pa.string() if field.dtype == TEXT else pa.from_numpy_dtype(np.dtype(field.dtype))
    for length in reversed(field.shape):
        kind = pa.list_(kind, length)
    return kind


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    return pa.schema([_arrow_field(field) for field in fields])


def _arrow_field(field: Field) -> pa.Field:
    """With what is known of it as metadata."""
    said = {UNITS[0]: field.unit, DESCRIPTIONS[0]: field.description}
    metadata = {key: text for key, text in said.items() if text is not None}
    return pa.field(field.name, arrow_type(field), nullable=False, metadata=metadata or None)


def arrow_array(array: NDArray[Any], field: Field) -> pa.Array:
    """Numbers share their memory with `array`; truth values are packed and text is encoded."""
    kind = pa.string() if field.dtype == TEXT else None
    values = pa.array(array.reshape(-1), kind)
    for length in reversed(field.shape):
        values = pa.FixedSizeListArray.from_arrays(values, length)
    return values


def arrow_table(fields: Sequence[Field], columns: Sequence[Sequence[NDArray[Any]]]) -> pa.Table:
    """A table of fields, the arrays of each one after the other as its chunks."""
    schema = arrow_schema(fields)
    chunked = [
        pa.chunked_array([arrow_array(array, field) for array in arrays], arrow_type(field))
        for field, arrays in zip(fields, columns, strict=True)
    ]
    return pa.table(chunked, schema=schema)
