"""The same table in every format: equal digests, equal values, chosen rows as they were."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from gitdata.data import formats, rows
from gitdata.data.schema import Field, Schema, differences, inherit

Columns = dict[str, np.ndarray]

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)


@st.composite
def tables(draw: st.DrawFn) -> Columns:
    """Scalars alone: what every format can hold."""
    count = draw(st.integers(1, 8))
    return {
        "n": draw(hnp.arrays(np.float64, count, elements=numbers)),
        "flag": draw(hnp.arrays(np.bool_, count)),
        "t": np.array(draw(st.lists(texts, min_size=count, max_size=count)), dtype=object),
        "größe in/mm": draw(hnp.arrays(np.float64, count, elements=st.integers(0, 9).map(float))),
    }


SCHEMA = Schema(
    (Field("flag", "bool"), Field("größe in/mm", "float64"), Field("n", "float64"), Field("t", "text")),
)


def write_csv(columns: Columns, path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    cells = [[str(v).lower() if isinstance(v, bool) else v for v in c.tolist()] for c in columns.values()]
    writer.writerows(zip(*cells, strict=True))
    path.write_text(text.getvalue(), newline="")


def write_json(columns: Columns, path: Path) -> None:
    lines = zip(*(column.tolist() for column in columns.values()), strict=True)
    path.write_text("".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines))


def write_hdf5(columns: Columns, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, dtype=h5py.string_dtype() if column.dtype == object else None)


def write_npz(columns: Columns, path: Path) -> None:
    np.savez_compressed(path, **{n: c.astype("U") if c.dtype == object else c for n, c in columns.items()})


def write_npy(columns: Columns, path: Path) -> None:
    kinds = [(n, c.astype("U").dtype if c.dtype == object else c.dtype) for n, c in columns.items()]
    array = np.zeros(len(columns["n"]), kinds)
    for name, column in columns.items():
        array[name] = column
    np.save(path, array)


def arrow(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(column.tolist()) for name, column in columns.items()})


def write_parquet(columns: Columns, path: Path) -> None:
    parquet.write_table(arrow(columns), path, row_group_size=3)


def write_arrow(columns: Columns, path: Path) -> None:
    table = arrow(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def write_stream(columns: Columns, path: Path) -> None:
    table = arrow(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS: dict[str, Callable[[Columns, Path], None]] = {
    "a.csv": write_csv, "a.jsonl": write_json, "a.h5": write_hdf5, "a.npz": write_npz, "a.npy": write_npy,
    "a.parquet": write_parquet, "a.arrow": write_arrow, "a.arrows": write_stream,
}  # fmt: skip


@settings(max_examples=25)
@given(tables())
def test_the_same_table_has_the_same_digests_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, table: Columns
) -> None:
    expected = rows.digests(table)
    for name, write in WRITERS.items():
        path = tmp_path_factory.getbasetemp() / name
        write(table, path)
        found = formats.read(path, SCHEMA)
        assert set(found) == set(table), name
        assert (rows.digests(found) == expected).all(), name
        assert {n: formats.schema_of(found).field(n) for n in found} == {f.name: f for f in SCHEMA.fields}, name
        assert differences(SCHEMA, formats.table(path, SCHEMA).schema) == [], name


@settings(max_examples=20)
@given(tables(), st.data())
def test_chosen_rows_are_those_rows_in_the_same_format(
    tmp_path_factory: pytest.TempPathFactory, table: Columns, data: st.DataObject
) -> None:
    count = len(table["n"])
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any)))
    expected = rows.digests(table)[keep]
    for name, write in WRITERS.items():
        folder = tmp_path_factory.getbasetemp()
        source, target, again = (folder / f"{part}-{name}" for part in ("source", "target", "again"))
        write(table, source)
        formats.subset(source, keep, target)
        formats.subset(source, keep, again)
        assert target.read_bytes() == again.read_bytes(), name
        assert (rows.digests(formats.read(target, SCHEMA)) == expected).all(), name


@settings(max_examples=15)
@given(tables(), st.integers(1, 400))
def test_blocks_of_any_size_are_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, table: Columns, size: int
) -> None:
    for name, write in WRITERS.items():
        path = tmp_path_factory.getbasetemp() / name
        write(table, path)
        found = formats.table(path, SCHEMA)
        blocks = list(found.blocks(size))
        assert sum(len(block["n"]) for block in blocks) == found.rows, name
        assert (rows.digests(formats.concatenate(blocks)) == rows.digests(table)).all(), name


@settings(max_examples=30)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.float64, ">i4", ">f8", np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    ),
    st.booleans(),
)
def test_arrays_of_any_shape(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fortran: bool) -> None:
    """Values with a shape per row: HDF5, NPZ, NPY, and Arrow's lists of fixed size."""
    folder = tmp_path_factory.getbasetemp()
    array = np.asfortranarray(array) if fortran else array
    np.save(folder / "x.npy", array)
    np.savez(folder / "x.npz", values=array)
    with h5py.File(folder / "x.h5", "w") as file:
        file["values"] = array
    native = pa.array(np.ascontiguousarray(array, array.dtype.newbyteorder("=")).ravel().tolist(),
                      pa.from_numpy_dtype(array.dtype.newbyteorder("=")))  # fmt: skip
    for length in reversed(array.shape[1:]):
        native = pa.FixedSizeListArray.from_arrays(native, length)
    parquet.write_table(pa.table({"values": native}), folder / "x.parquet")
    expected = rows.digests({"values": array})
    for name in ("x.npy", "x.npz", "x.h5", "x.parquet"):
        found = formats.read(folder / name)["values"]
        assert found.shape == array.shape, name
        assert found.dtype == array.dtype.newbyteorder("="), name
        assert (rows.digests({"values": found}) == expected).all(), name
        mask = np.arange(len(array)) % 2 == 0
        formats.subset(folder / name, mask, folder / f"half-{name}")
        half = formats.read(folder / f"half-{name}")["values"]
        assert (rows.digests({"values": half}) == expected[mask]).all(), name


def table_of(path: Path, **columns: Any) -> formats.Table:
    parquet.write_table(pa.table(columns), path)
    return formats.table(path)


def values(table: formats.Table) -> dict[str, list[Any]]:
    (block,) = table.blocks()
    return {name: column.tolist() for name, column in block.items()}


def test_what_arrow_types_become(tmp_path: Path) -> None:
    import datetime

    day = datetime.date(2020, 1, 2)
    moment = datetime.datetime(2020, 1, 2, 10, 30, 0, 250000)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    table = table_of(
        tmp_path / "x.parquet",
        number=pa.array([1, None, 3], pa.int32()),
        text=pa.array(["a", None, "c"]),
        kind=pa.array(["low", "high", "low"]).dictionary_encode(),
        code=pa.array([7, 8, 7]).dictionary_encode(),
        day=pa.array([day] * 3),
        moment=pa.array([moment, moment.replace(microsecond=0), None], pa.timestamp("us")),
        there=pa.array([moment.astimezone(zone).replace(microsecond=0, hour=12, tzinfo=zone)] * 3,
                       pa.timestamp("ms", "Europe/Berlin")),
        clock=pa.array([moment.time()] * 3, pa.time64("us")),
        nothing=pa.nulls(3),
    )  # fmt: skip
    found = values(table)
    assert found["number"][::2] == [1.0, 3.0]
    assert np.isnan(found["number"][1])
    assert found["text"] == ["a", "", "c"]
    assert found["kind"] == ["low", "high", "low"]
    assert table.schema.field("kind").categories == ("low", "high")
    assert found["code"] == [7, 8, 7]
    assert found["day"] == ["2020-01-02"] * 3
    assert found["moment"] == ["2020-01-02 10:30:00.25", "2020-01-02 10:30:00", ""]
    assert found["there"] == ["2020-01-02 10:30:00Z"] * 3
    assert found["clock"] == ["10:30:00.25"] * 3
    assert found["nothing"] == ["", "", ""]
    assert table.schema.field("number").dtype == "float64"


def test_units_descriptions_and_categories_are_kept(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["in/force"] = np.arange(3.0)
        file["in/force"].attrs["units"] = "kN"
        file["in/force"].attrs["long_name"] = "peak force"
        kind = h5py.enum_dtype({"tension": 1, "compression": 0}, basetype="i1")
        file.create_dataset("kind", data=np.array([0, 1, 0], "i1"), dtype=kind)
    force = pa.field("in/force", pa.float64(), metadata={"unit": "kN", "description": "peak force"})
    labels = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), ["compression", "tension"])
    table = pa.table([pa.array(np.arange(3.0)), labels], pa.schema([force, pa.field("kind", labels.type)]))
    parquet.write_table(table, tmp_path / "x.parquet")
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    expected = (
        Field("in/force", "float64", (), "kN", "peak force"),
        Field("kind", "text", (), None, None, ("compression", "tension")),
    )
    for name in ("x.h5", "x.parquet", "x.arrow"):
        assert formats.table(tmp_path / name).schema == Schema(expected), name
        assert formats.read(tmp_path / name)["kind"].tolist() == ["compression", "tension", "compression"]
        formats.subset(tmp_path / name, np.array([True, False, True]), tmp_path / f"half-{name}")
        assert formats.table(tmp_path / f"half-{name}").schema == Schema(expected), name
    assert Schema.from_json(Schema(expected).to_json()) == Schema(expected)


def test_an_enumeration_that_a_dataset_has_as_numbers_stays_numbers(tmp_path: Path) -> None:
    """An extension that was made when enumerations were read as their codes is read so for ever."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("kind", data=np.array([0, 1], "i1"), dtype=h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1"))
    assert formats.read(tmp_path / "x.h5", Schema((Field("kind", "int8"),)))["kind"].tolist() == [0, 1]


def test_what_only_the_parents_say_is_inherited_and_a_changed_unit_is_a_difference() -> None:
    parents = Schema((Field("f", "float64", (), "kN", "force"), Field("k", "text", (), None, None, ("a", "b"))))
    plain = Schema((Field("f", "float64"), Field("k", "text", (), None, None, ("c", "b"))))
    assert differences(parents, plain) == []
    assert inherit(parents, plain).field("f") == parents.field("f")
    assert inherit(parents, plain).field("k").categories == ("a", "b", "c")
    assert differences(parents, Schema((Field("f", "float64", (), "N"), plain.field("k")))) == [
        "field 'f' is in N, not in kN"
    ]
