"""Exact: numbers that a text format writes with more digits than their dtype holds.

What is written as an integer, digits alone, is to be held as it is: as uint64 where all of a column are such, else
refused. What is written with a fraction or an exponent is rounded to the nearest float64, but not to infinity.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable

EXACT = 2**53  # float64 holds all integers up to it
_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")

Written = int | str | None  # an integer, or the text of another number where one was written


def is_doubtful(column: NDArray[Any]) -> bool:
    """Whether floats may stand for numbers that they are not equal to."""
    return column.dtype.kind == "f" and bool((np.abs(column) >= EXACT).any())


def as_written(cell: str | None, value: float) -> Written:
    """What a cell says that was read as `value`."""
    text = (cell or "").strip()
    if np.isfinite(value) and (found := _INTEGER.fullmatch(text)):  # so it has few digits besides leading zeros
        return int(found[1] + found[2])
    return text or None


def settle(column: NDArray[Any], written: Sequence[Written], name: str, path: Path) -> NDArray[Any]:
    """A doubtful column as what is written, of each row, says: uint64 or as it is.

    Raises Mendable naming the row where neither holds it.
    """
    integers = [value for value in written if isinstance(value, int) and 0 <= value < 2**64]
    if len(integers) == len(written) and max(integers, default=0) > EXACT:
        return np.array(integers, np.uint64)
    for row in np.flatnonzero(np.abs(column) >= EXACT).tolist():
        value, found = written[row], float(column[row])
        if isinstance(value, int) and value != found:
            raise Mendable(
                f"'{name}' of '{path}' holds {value} in row {row + 1} among what only float64 holds, as fractions, "
                f"negative numbers and empty places; there it would be {int(found)}.",
                "Fill the empty places, write fewer digits (as 1.25e19), or make the column text (as `id-1234`).",
            )
        if np.isinf(found) and isinstance(value, str) and any(map(str.isdigit, value)):
            raise Mendable(
                f"'{name}' of '{path}' holds {value:.40} in row {row + 1}, which is beyond float64.",
                "Correct the file.",
            )
    return column
