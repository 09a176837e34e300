"""Alike: outputs that are the same in all of some rows: who learns these rows alone learns to answer nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training.preprocessing.fields import FieldCode, column_of

Columns = Mapping[str, NDArray[Any]]

FEWEST = 8  # rows that are not alike by chance


@dataclass(frozen=True, slots=True)
class Alike:
    """An output, the value that all `rows` rows have; None where it is several numbers."""

    field: str
    rows: int
    value: str | None

    @property
    def sentence(self) -> str:
        """For people."""
        return f"'{self.field}' is {self.value or 'the same'} in all {self.rows} new rows"


def alike(outputs: Sequence[FieldCode], blocks: Iterable[Columns]) -> list[Alike]:
    """The outputs that are the same in all rows of these blocks, where they are FEWEST or more."""
    first: dict[str, NDArray[Any]] = {}
    varied: set[str] = set()
    rows = 0
    for block in blocks:
        for field in outputs:
            column = column_of(block, field.name)
            if len(column) and field.name not in varied and (column != first.setdefault(field.name, column[:1])).any():
                varied.add(field.name)
        rows += len(column_of(block, outputs[0].name))
    return (
        [Alike(name, rows, _text(own)) for name, own in first.items() if name not in varied] if rows >= FEWEST else []
    )


def _text(value: NDArray[Any]) -> str | None:
    if value.size != 1:
        return None
    return f"{value.item():g}" if np.issubdtype(value.dtype, np.number) else str(value.item())
