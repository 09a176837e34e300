"""Exact: an integer in a text file, or beside nulls, is that integer, or the file is refused; never one near it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import feather, parquet
from world import World

from gitdata.data import formats
from gitdata.data.schema import Field, Schema
from gitdata.errors import Mendable

BIG = 2**53 + 1
NEAR = [sign * (2**bits + step) for bits in (0, 53, 60, 63, 64, 65) for sign in (1, -1) for step in (-1, 0, 1)]
CELLS = st.lists(st.sampled_from(NEAR) | st.integers(-(2**70), 2**70), min_size=1, max_size=4)
BESIDE = st.sampled_from([None, None, "", "1.5"])


def read(path: Path, content: str) -> np.ndarray:  # type: ignore[type-arg]
    path.write_text(content)
    return formats.read(path)["id"]


@given(CELLS, BESIDE)
@example([2**53], None)
@example([2**53, 2**63], None)
def test_integers_are_kept_or_refused(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], beside: str | None
) -> None:
    """Beside a fraction or an empty place, or not; with the same dtype out of CSV and JSON Lines."""
    cells = [*map(str, numbers), *([] if beside is None else [beside])]
    folder, found = tmp_path_factory.getbasetemp(), []
    for name, content in {
        "x.csv": "id,b\n" + "".join(f"{cell},1\n" for cell in cells),
        "x.jsonl": "".join(f'{{"id": {cell or "null"}}}\n' for cell in cells),
    }.items():
        try:
            column = read(folder / name, content)
        except Mendable:
            found.append("refused")
            assert any(int(float(number)) != number for number in numbers)
        else:
            found.append(str(column.dtype))
            assert column.tolist()[: len(numbers)] == numbers
    assert found[0] == found[1]
    fit = all(0 <= n < 2**64 for n in numbers) or all(-(2**63) <= n < 2**63 for n in numbers)
    assert found[0] != "refused" or beside is not None or not fit


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1", str(BIG), ""], f"holds {BIG} in row 2 "),
        ([str(BIG), "1.5"], f"holds {BIG} in row 1 "),
        (["-1", str(2**64 - 1)], f"holds {2**64 - 1} in row 2 "),
        (["1", str(10**23)], f"holds {10**23} in row 2 "),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_row_is_named(tmp_path: Path, suffix: str, cells: list[str], told: str) -> None:
    csv, lines = "id,b\n" + "".join(f"{c},1\n" for c in cells), "".join(f'{{"id":{c or "null"}}}\n' for c in cells)
    with pytest.raises(Mendable, match=told):
        read(tmp_path / f"x{suffix}", csv if suffix == ".csv" else lines)


def test_what_is_written_as_a_float_is_rounded_but_not_to_infinity(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert read(path, "id\n9007199254740993.0\n1e23\n0.1\n").tolist() == [2.0**53, 1e23, 0.1]
    assert read(path, "id\ninf\n-Infinity\n1\n").tolist() == [np.inf, -np.inf, 1]
    for cell in ("1e999", "-1e999", "9" * 5000):
        with pytest.raises(Mendable, match=r"in row 2, which is beyond float64"):
            read(path, f"id\n1\n{cell}\n")
    with pytest.raises(Mendable, match=r"too big"):
        read(tmp_path / "x.jsonl", '{"id": 1e999}\n')


def test_labels_of_many_digits_stay_text(tmp_path: Path) -> None:
    cells = ["00123456789012345678", "10000000000000000001"]
    assert read(tmp_path / "x.csv", "id\n" + "\n".join(cells) + "\n").tolist() == cells


def test_nulls_beside_large_integers_are_named(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([None, 1, BIG], pa.int64())})
    coded = pa.table({"id": pa.array([None, 1, BIG], pa.int64()).dictionary_encode()})
    for content in (table, coded):
        parquet.write_table(content, tmp_path / "x.parquet")
        feather.write_feather(content, tmp_path / "x.feather", chunksize=1)
        for name in ("x.parquet", "x.feather"):
            with pytest.raises(Mendable, match=f"'id' of .* has nulls, .* does not hold its {BIG}"):
                list(formats.table(tmp_path / name).blocks(1))
    parquet.write_table(pa.table({"id": pa.array([None, 2**60])}), tmp_path / "x.parquet")
    assert formats.read(tmp_path / "x.parquet")["id"][1] == 2**60


def test_nulls_take_the_floats_of_the_dataset(tmp_path: Path) -> None:
    """A nullable column of integers joins any floats that hold it; of integers it is refused, and why is said."""
    path, coded = tmp_path / "x.parquet", tmp_path / "x.feather"
    array = pa.array([1, None, 7], pa.int64())
    parquet.write_table(pa.table({"n": array}), path)
    feather.write_feather(pa.table({"n": array.dictionary_encode()}), coded, chunksize=2)
    for place in (path, coded):
        for dtype in ("float16", "float32", "float64"):
            column = formats.read(place, Schema((Field("n", dtype),)))["n"]
            assert column.dtype == dtype
            assert column.tolist()[::2] == [1, 7]
            assert np.isnan(column[1])
        with pytest.raises(Mendable, match=r"'n' of .* has nulls; in the dataset it is int32"):
            formats.read(place, Schema((Field("n", "int32"),)))
    parquet.write_table(pa.table({"n": pa.array([1, None, 2**24 + 1])}), path)
    with pytest.raises(Mendable, match=f"are float32, which does not hold its {2**24 + 1}"):
        formats.read(path, Schema((Field("n", "float32"),)))


def test_ids_of_64_bits_grow_from_text(world: World) -> None:
    """Ids next to each other are different rows to --dedupe and --grown, in every format."""
    base, more = world.root / "ids.csv", world.root / "more.jsonl"
    base.write_text(f"id,y\n{2**64 - 1},1\n7,1\n")
    world.clone.gitdata("add", "ids", base)
    more.write_text("".join(json.dumps({"id": n, "y": 1}) + "\n" for n in (2**64 - 1, 2**64 - 2, 7, 8)))
    made = world.clone.gitdata("extend", "ids", more, "--dedupe", "--json").records[0]
    assert made["rows"]["train"] == 2
    base.write_text(base.read_text() + f"{2**64 - 3},1\n{2**64 - 4},1\n")
    assert world.clone.gitdata("extend", "ids", base, "--grown", "--append-only-new", "--json").records[0]["rows"]
    base.write_text(f"id,y\n{2**64 - 5},1\n,1\n")
    before = world.clone.git("status", "--porcelain")
    assert f"holds {2**64 - 5} in row 1" in world.clone.gitdata("extend", "ids", base, code=2).err
    assert world.clone.git("status", "--porcelain") == before


def test_the_dataset_says_what_small_numbers_are(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id\n7\n8\n")
    assert formats.read(tmp_path / "x.csv", Schema((Field("id", "uint64"),)))["id"].dtype == np.uint64
    (tmp_path / "x.csv").write_text("id\n-7\n")
    with pytest.raises(Mendable, match=r"-7\.0 in row 1 is not"):
        formats.read(tmp_path / "x.csv", Schema((Field("id", "uint64"),)))
