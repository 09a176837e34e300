"""Fitting: a value comes into the dataset's dtype as it is, or is refused with its row; never as another value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import formats
from gitdata.data.formats.fitting import cast
from gitdata.data.schema import Field, Schema
from gitdata.errors import Mendable

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]
EDGES = sorted({sign * (1 << bits) + step for bits in range(66) for sign in (1, -1) for step in (-1, 0, 1)})
NUMBERS = st.sampled_from(EDGES) | st.integers(-(2**64), 2**65)


@given(st.sampled_from([*INTEGERS, *FLOATS]), st.sampled_from([*INTEGERS, *FLOATS]), st.lists(NUMBERS, min_size=1))
def test_a_value_stays_what_it_is_or_is_refused(theirs: str, ours: str, numbers: list[int]) -> None:
    """Python's integers and floats, compared exactly, are the measure; rounding one float to another is no change."""
    kind = np.dtype(theirs).kind
    held = [n for n in numbers if kind == "f" or np.iinfo(theirs).min <= n <= np.iinfo(theirs).max]
    with np.errstate(over="ignore"):
        array = np.array([float(n) for n in held] if kind == "f" else held, theirs)
    values = array.tolist()
    with np.errstate(all="ignore"):
        expected = [_in(value, ours, both_floats=kind == np.dtype(ours).kind == "f") for value in values]
    if None in expected:
        row = expected.index(None) + 1
        with pytest.raises(Mendable, match=rf"is {ours} in the dataset; .* in row {row} is not"):
            cast(array, ours, "x", Path("x.npz"))
    else:
        found = cast(array, ours, "x", Path("x.npz"))
        assert found.dtype == ours
        assert found.tolist() == expected


def _in(value: float, dtype: str, *, both_floats: bool) -> float | None:
    """A number in a dtype; None where there is none that is equal."""
    if np.dtype(dtype).kind == "f":
        try:
            there: float = np.dtype(dtype).type(value).item()
        except OverflowError:
            return None
        is_kept = not np.isinf(there) or np.isinf(value) if both_floats else there == value
        return there if is_kept else None
    if np.isinf(value) or value != int(value):
        return None
    return int(value) if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max else None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_no_integer_is_any_of_these(dtype: str, value: float) -> None:
    with pytest.raises(Mendable, match=r"in row 2 is not"):
        cast(np.array([1.0, value]), dtype, "x", Path("x.h5"))


@pytest.mark.parametrize("value", [2, -1])
def test_only_zero_and_one_are_truth_values(value: int) -> None:
    assert cast(np.array([0, 1], np.int8), "bool", "x", Path("x.npz")).tolist() == [False, True]
    with pytest.raises(Mendable, match=r"in row 1 is not"):
        cast(np.array([value], np.int8), "bool", "x", Path("x.npz"))


def test_truth_values_are_any_number(tmp_path: Path) -> None:
    for dtype in (*INTEGERS, *FLOATS):
        assert cast(np.array([False, True]), dtype, "x", tmp_path).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("theirs", "ours", "values", "told"),
    [
        ("int64", "uint64", [1, -1, 255], "-1 in row 2"),
        ("int8", "uint8", [-1], "-1 in row 1"),
        ("uint8", "int8", [3, 200], "200 in row 2"),
        ("uint64", "int64", [2**63 + 5], "9223372036854775813 in row 1"),
    ],
)
def test_the_sign_of_a_file_is_kept(tmp_path: Path, theirs: str, ours: str, values: list[int], told: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = Schema((Field("x", ours),))
    np.savez(tmp_path / "x.npz", x=np.array(values, theirs))
    parquet.write_table(pa.table({"x": pa.array(values, pa.type_for_alias(theirs))}), tmp_path / "x.parquet")
    for name in ("x.npz", "x.parquet"):
        with pytest.raises(Mendable, match=f"is {ours} in the dataset; {told} is not"):
            formats.read(tmp_path / name, schema)
