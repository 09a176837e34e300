"""Formats: text stays text, numbers keep their value, chosen rows keep their bytes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import formats
from gitdata.data.formats import csvfile, hdf5file
from gitdata.data.schema import Field, Schema, differences
from gitdata.errors import Mendable

cells = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8) | st.sampled_from(
    ['"', "a,b", "x\ny", "007"]
)


def table(path: Path, text: str) -> dict[str, np.ndarray]:
    path.write_text(text)
    return formats.read(path)


@pytest.mark.parametrize(
    ("cell", "dtype"),
    [
        (["1", "2"], "float64"), (["1.5", ""], "float64"), (["1e-3", "-0"], "float64"), (["nan", "1"], "float64"),
        (["007", "012"], "object"), (["2020-01-02", "2021-01-02"], "object"), (["2020-01-02 10:00:00", "x"], "object"),
        (["10:30", "11:30"], "object"), (["true", "false"], "bool"), (["true", ""], "object"), (["1", "x"], "object"),
        (["9007199254740993", "1"], "int64"), (["", ""], "object"),
    ],
)  # fmt: skip
def test_dtypes_of_csv(tmp_path: Path, cell: list[str], dtype: str) -> None:
    columns = table(tmp_path / "x.csv", "a,b\n" + "".join(f"{value},x\n" for value in cell))
    assert str(columns["a"].dtype) == dtype
    if dtype == "object":
        assert columns["a"].tolist() == cell


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    """Whatever a spreadsheet puts into quotes comes back, a column of text in it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a", "b"), *rows, ("x", "y")])
    path = tmp_path_factory.getbasetemp() / "quoted.csv"
    path.write_text(text.getvalue(), newline="")
    columns = formats.read(path, Schema((Field("a", "text"), Field("b", "text"))))
    assert list(zip(columns["a"], columns["b"], strict=True)) == [*rows, ("x", "y")]


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_chosen_rows_of_csv_keep_their_bytes(tmp_path_factory: pytest.TempPathFactory, keep: list[bool]) -> None:
    records = [b'1.50,"a\nb",x\r\n', b"2e0,c,y\n", b'"3",d,"z""z"']
    folder = tmp_path_factory.getbasetemp()
    (folder / "in.csv").write_bytes(b"n,t,u\n" + b"".join(records))
    formats.subset(folder / "in.csv", np.array(keep), folder / "out.csv")
    kept = [
        record if record.endswith(b"\n") else record + b"\n"
        for record, wanted in zip(records, keep, strict=True)
        if wanted
    ]
    assert (folder / "out.csv").read_bytes() == b"n,t,u\n" + b"".join(kept)


def test_chosen_rows_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("group/x", data=np.arange(40.0).reshape(10, 4), chunks=(3, 4), compression="gzip")
        file["group/x"].attrs["unit"] = "mm"
        file["name"] = [f"row {n}" for n in range(10)]
    keep = np.arange(10) % 3 == 0
    for name in ("a.h5", "b.h5"):
        formats.subset(tmp_path / "in.h5", keep, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    columns = formats.read(tmp_path / "a.h5")
    assert columns["name"].tolist() == ["row 0", "row 3", "row 6", "row 9"]
    assert columns["group/x"].tolist() == np.arange(40.0).reshape(10, 4)[keep].tolist()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["group/x"].attrs["unit"] == "mm"
        assert file["group/x"].compression == "gzip"


@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any), st.integers(1, 300), st.integers(1, 5))
def test_the_size_of_a_block_does_not_change_chosen_rows_of_hdf5(
    tmp_path_factory: pytest.TempPathFactory, keep: list[bool], block: int, chunk: int
) -> None:
    folder, values = tmp_path_factory.getbasetemp(), np.arange(36.0).reshape(12, 3)
    with h5py.File(folder / "in.h5", "w") as file:
        file.create_dataset("packed", data=values, chunks=(chunk, 2), compression="gzip", shuffle=True)
        file.create_dataset("growing", data=values, chunks=(chunk, 3), maxshape=(None, 3))
        file["fixed"] = np.array([f"row {n}".encode() for n in range(12)])
    formats.subset(folder / "in.h5", np.array(keep), folder / "whole.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5file, "COPIED_BYTES", block)
        formats.subset(folder / "in.h5", np.array(keep), folder / "blocks.h5")
    assert (folder / "blocks.h5").read_bytes() == (folder / "whole.h5").read_bytes()
    columns, expected = formats.read(folder / "blocks.h5"), formats.read(folder / "in.h5")
    assert all((columns[name] == expected[name][keep]).all() for name in expected)
    with h5py.File(folder / "blocks.h5") as file:
        assert file["packed"].chunks[1] == 2
        assert file["growing"].chunks is None


def test_texts_are_chosen_in_blocks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["text"] = [f"row {n}" * n for n in range(50)]
    monkeypatch.setattr(hdf5file, "COPIED_BYTES", 64)
    formats.subset(tmp_path / "in.h5", np.arange(50) % 3 > 0, tmp_path / "out.h5")
    assert formats.read(tmp_path / "out.h5")["text"].tolist() == [f"row {n}" * n for n in range(50) if n % 3]


def test_the_parents_schema_decides_what_csv_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("label,count,size\n1,2,0.1\n")
    schema = Schema((Field("label", "text"), Field("count", "int16"), Field("size", "float32")))
    columns = formats.read(path, schema)
    assert columns["label"].tolist() == ["1"]
    assert columns["count"].dtype == np.int16
    assert columns["size"].dtype == np.float32
    path.write_text("label,count,size\n1,70000,0.1\n")
    with pytest.raises(Mendable, match=r"70000\.0 in row 1 is not"):
        formats.read(path, schema)


def test_predictions_read_back_as_they_were(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, 1e-300, 5.0])
    csvfile.write({"y": values, "kind": np.array(["a", "b,c", "d", "e"], object)}, tmp_path / "p.csv")
    columns = formats.read(tmp_path / "p.csv")
    assert columns["y"].tolist() == values.tolist()
    assert columns["kind"].tolist() == ["a", "b,c", "d", "e"]


def test_real_files_are_read(shared_data: Path) -> None:
    lattice = formats.read(shared_data / "lattice" / "lattice_summary.csv")
    assert len(lattice["W_max"]) == 1712
    assert lattice["run"][0] == "20201130_121222"
    assert lattice["W_max"].dtype == np.float64
    tubes = formats.read(shared_data / "crash_tubes" / "simulaciones_v1_b9c20dc.csv")
    assert set(tubes["Estado"]) >= {"ERROR"}


fields = st.lists(
    st.builds(Field, st.sampled_from("abcd"), st.sampled_from(["float64", "text"]), st.sampled_from([(), (3,)])),
    max_size=4, unique_by=lambda field: field.name,
)  # fmt: skip


@given(fields, fields)
def test_schemas_differ_where_a_field_does(ours: list[Field], theirs: list[Field]) -> None:
    found = differences(Schema(tuple(ours)), Schema(tuple(theirs)))
    assert (found == []) == (set(ours) == set(theirs))
    assert differences(Schema(tuple(ours)), Schema(tuple(reversed(ours)))) == []
    assert Schema.from_json(Schema(tuple(ours)).to_json()).to_json() == Schema(tuple(ours)).to_json()


NO_SCHEMAS = [
    None,
    {},
    [1],
    [{"name": "a"}],
    [{"name": "a", "dtype": "object", "shape": []}],
    [{"name": "a", "dtype": "text", "shape": [-1]}],
    [{"name": 1, "dtype": "text", "shape": []}],
    [{"name": "a", "dtype": "text", "shape": [], "unit": ""}],
    [{"name": "a", "dtype": "text", "shape": [], "unit": 1}],
    [{"name": "a", "dtype": "text", "shape": [], "colour": "red"}],
    [{"name": "a", "dtype": "text", "shape": [], "categories": ["x", "x"]}],
    [{"name": "a", "dtype": "text", "shape": [], "categories": "x"}],
]


@pytest.mark.parametrize("value", NO_SCHEMAS)
def test_what_is_no_schema_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"field|schema|categor"):
        Schema.from_json(value)
