"""Row digests: the value decides, not format, dtype, order of columns or the size of a block."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gitdata.data import formats, rows

floats = hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats())
texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, np.ndarray]:
    count = draw(st.integers(1, 12))
    return {
        "n": draw(hnp.arrays(np.float64, count, elements=st.floats(width=32))),
        "t": np.array(draw(st.lists(texts, min_size=count, max_size=count)), dtype=object),
        "v": draw(hnp.arrays(np.int32, (count, 2))),
    }


def test_the_digest_is_what_the_specification_says() -> None:
    """Fixed by hand: these bytes may never change."""
    columns = {"b": np.array([1.5]), "a": np.array(["é"], object), "c": np.array([True])}
    expected = xxhash.xxh3_128_digest(
        xxhash.xxh3_128_digest("é".encode()) + np.float64(1.5).tobytes() + np.float64(1.0).tobytes()
    )
    found = rows.digests(columns)
    assert found.shape == (1, 2)
    assert found.astype(">u8").tobytes() == expected
    assert expected.hex() == "41f1ffa365366a3177d173ae0974e28b"


@given(tables())
def test_the_order_of_columns_has_no_meaning(table: dict[str, np.ndarray]) -> None:
    backwards = {name: table[name] for name in reversed(list(table))}
    assert (rows.digests(table) == rows.digests(backwards)).all()


@given(tables())
def test_the_dtype_has_no_meaning_where_the_value_is_the_same(table: dict[str, np.ndarray]) -> None:
    narrow = {**table, "n": table["n"].astype(np.float32), "v": table["v"].astype(np.int64)}
    assert (rows.digests(table) == rows.digests(narrow)).all()
    as_float = {**table, "v": table["v"].astype(np.float64)}
    assert (rows.digests(table) == rows.digests(as_float)).all()


@given(tables(), st.data())
def test_any_changed_value_changes_its_row_alone(table: dict[str, np.ndarray], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(table["n"]) - 1))
    changed = {name: column.copy() for name, column in table.items()}
    field = data.draw(st.sampled_from(["t", "v"]))
    changed[field][place] = changed[field][place] + ("x" if field == "t" else 1)
    same = (rows.digests(table) == rows.digests(changed)).all(axis=1)
    assert not same[place]
    assert same.sum() == len(same) - 1


@given(floats)
def test_zero_and_nan_have_one_encoding_each(values: np.ndarray) -> None:
    negated = np.where(values == 0, -values, values)
    payload = np.where(np.isnan(values), np.uint64(0xFFF8000000000001).view(np.float64), negated)
    assert (rows.digests({"x": values}) == rows.digests({"x": payload})).all()


def test_integers_that_float64_does_not_hold_are_told_apart() -> None:
    values = np.array([2**53, 2**53 + 1, 2**53 + 2, -(2**53) - 1, 2**62 + 1], np.int64)
    assert len(np.unique(rows.digests({"x": values})[:, 0])) == 5
    assert (rows.digests({"x": values[:1]}) == rows.digests({"x": values[:1].astype(float)})).all()
    large = np.array([2**63 + 1], np.uint64)
    raw = xxhash.xxh3_64_intdigest((2**63 + 1).to_bytes(8, "little"))
    assert rows.digests({"x": large}).astype(">u8").tobytes() == xxhash.xxh3_128_digest(raw.to_bytes(8, "little"))


@given(tables(), st.integers(1, 200))
def test_blocks_do_not_change_the_result(table: dict[str, np.ndarray], block: int) -> None:
    whole = rows.digests(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "BLOCK_BYTES", block)
        assert (rows.digests(table) == whole).all()


def test_csv_and_hdf5_give_the_same_digests(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("b,a\n1,north\n2.5,süd\n")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = ["north", "süd"]
        file["b"] = np.array([1, 2.5], np.float32)
    csv, hdf5 = (formats.read(tmp_path / name) for name in ("x.csv", "x.h5"))
    assert (rows.digests(csv) == rows.digests(hdf5)).all()
    assert (rows.digests(csv) == rows.digests(hdf5)).all()


@given(tables())
def test_the_index_holds_the_first_halves(table: dict[str, np.ndarray]) -> None:
    content = rows.index(rows.digests(table)[:, 0])
    assert len(content) == 8 * len(table["n"])
    assert (rows.read_index(content) == rows.digests(table)[:, 0]).all()


@given(tables(), st.floats(0.01, 0.98))
def test_a_larger_fraction_takes_the_same_rows_and_more(table: dict[str, np.ndarray], fraction: float) -> None:
    small = rows.fraction_mask(table, ["n", "t"], fraction, "test")
    large = rows.fraction_mask(table, ["n", "t"], fraction + 0.01, "test")
    assert (large | ~small).all()


def test_a_fraction_is_about_its_size_and_keeps_equal_inputs_together(shared_data: Path) -> None:
    table = formats.read(shared_data / "crashbox" / "crashbox.csv")
    inputs = ["Thickness", "Velocity"]
    taken = rows.fraction_mask(table, inputs, 0.3, "test")
    assert 0.2 < taken.mean() < 0.4
    keys = rows.digests(table, inputs)[:, 0]
    assert len(np.unique(keys)) == 333
    assert not set(keys[taken]) & set(keys[~taken])
    other = rows.fraction_mask(table, inputs, 0.3, "validation")
    assert (taken != other).any()
