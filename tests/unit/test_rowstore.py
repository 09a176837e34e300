"""Pieces, the row store and splits over them: equal to NumPy of the files, whatever is mapped, decoded or left out."""

from __future__ import annotations

import mmap
import pickle
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gitdata.commands.split import Split
from gitdata.data import formats
from gitdata.data.formats import hdf5view, rowstore, writers
from gitdata.data.formats.piece import Piece, gathered
from gitdata.data.formats.rowstore import Column, RowStore
from gitdata.data.schema import TEXT, Field, Schema
from gitdata.data.view import Mark
from gitdata.errors import Mendable

SCHEMA = Schema((Field("g/n", "int64"), Field("ok", "bool"), Field("t", TEXT), Field("x", "float32", (3,))))
MARK = Mark("d", (), None, ("train",), flat=True, virtual=False, sources=())


def columns(rows: int, seed: int) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        "g/n": np.arange(rows) + 1000 * seed,
        "ok": generator.random(rows) < 0.5,
        "t": np.array([f"ü{seed}-{row}" for row in range(rows)], object),
        "x": generator.random((rows, 3), dtype="f4"),
    }


def hdf5(path: Path, content: dict[str, NDArray[Any]], **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            dtype = h5py.string_dtype() if array.dtype == object else None
            file.create_dataset(name, data=array, dtype=dtype, **options)
    return path


def split_of(pieces: list[Piece]) -> Split:
    return Split(RowStore(SCHEMA, sum(piece.count for piece in pieces), lambda: pieces), SCHEMA.names)


def assert_equal(found: formats.Columns, wanted: formats.Columns) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def is_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Piece], formats.Columns]:
    """Files in one piece, in compressed chunks, and with a mask; even small data sets are mapped."""
    monkeypatch.setattr(rowstore, "MAPPED_BYTES", 1)
    parts = [columns(rows, seed) for seed, rows in enumerate((40, 30, 20), start=1)]
    keep = np.ones(20, bool)
    keep[[0, 7, 8]] = False
    paths = [hdf5(tmp_path / "a", parts[0]), hdf5(tmp_path / "b", parts[1], compression="gzip")]
    paths.append(hdf5(tmp_path / "c", parts[2]))
    made = [Piece(path, ".h5", SCHEMA, rows) for path, rows in zip(paths, (40, 30, 20), strict=True)]
    made[2] = Piece(paths[2], ".h5", SCHEMA, 20, keep)
    parts[2] = {name: array[keep] for name, array in parts[2].items()}
    return made, formats.concatenate(parts)


def test_arrays_equal_those_of_the_files(pieces: tuple[list[Piece], formats.Columns]) -> None:
    split = split_of(pieces[0])
    assert (len(split), split.rows, split.schema) == (87, 87, SCHEMA)
    assert_equal(split.to_numpy(), pieces[1])
    assert_equal(split[:], pieces[1])
    assert split.to_numpy()["x"] is split.to_numpy()["x"]


def test_rows_by_position(pieces: tuple[list[Piece], formats.Columns]) -> None:
    split, wanted = split_of(pieces[0]), pieces[1]
    for position in (0, 39, 40, 69, 70, 86, -1, -87, np.int64(75)):
        row = split[position]
        assert list(row) == list(SCHEMA.names)
        for name, array in wanted.items():
            np.testing.assert_array_equal(row[name], array[position])
    assert [row["t"] for row in split] == wanted["t"].tolist()
    assert [row["g/n"] for row in split.__getitems__([85, 3, 3])] == wanted["g/n"][[85, 3, 3]].tolist()
    assert_equal(split[[60, -1, 2]], {name: array[[60, -1, 2]] for name, array in wanted.items()})
    assert_equal(split[70:10:-7], {name: array[70:10:-7] for name, array in wanted.items()})
    assert_equal(split[5:2], {name: array[5:2] for name, array in wanted.items()})
    for outside in (87, -88, [0, 87], [True] * 87):
        with pytest.raises(IndexError):
            split[outside]


def test_batches_cover_all_rows_in_order(pieces: tuple[list[Piece], formats.Columns]) -> None:
    split, wanted = split_of(pieces[0]), pieces[1]
    for size in (1, 7, 87, 1000):
        batches = list(split.batches(size))
        assert [len(batch["x"]) for batch in batches] == [min(size, 87 - at) for at in range(0, 87, size)]
        assert_equal(formats.concatenate(batches), wanted)
    assert [len(batch["x"]) for batch in split.batches(20, drop_last=True)] == [20, 20, 20, 20]
    assert [list(batch) for batch in split.batches(87, fields=["x", "t"])] == [["x", "t"]]
    with pytest.raises(Mendable, match="batch of 0"):
        split.batches(0)
    with pytest.raises(Mendable, match="no field 'z'"):
        split.batches(2, fields=["z"])


def test_shuffled_batches_are_a_permutation_that_the_seed_decides(
    pieces: tuple[list[Piece], formats.Columns],
) -> None:
    split, wanted = split_of(pieces[0]), pieces[1]
    first, again, other, epoch = (formats.concatenate(list(split.batches(16, seed=seed))) for seed in (1, 1, 2, (1, 5)))
    assert_equal(first, again)
    order = np.argsort(first["g/n"])
    assert_equal({name: array[order] for name, array in first.items()}, wanted)  # whole rows, each once
    assert len({tuple(shuffled["g/n"]) for shuffled in (first, other, epoch, wanted)}) == 4


def test_nothing_is_copied_that_lies_in_one_piece(pieces: tuple[list[Piece], formats.Columns]) -> None:
    split = split_of(pieces[0])
    batches = list(split.batches(20))
    (mapped, decoded, *kept) = split._store.column("x").segments
    assert (is_mapped(mapped), is_mapped(decoded)) == (True, False)
    assert [len(segment) for segment in kept] == [6, 11]
    assert np.shares_memory(batches[0]["x"], mapped)
    assert np.shares_memory(split[3]["x"], mapped)
    assert np.shares_memory(split[5:9]["x"], mapped)
    assert np.shares_memory(split.select(["x"])[45:50]["x"], decoded)
    whole = split.to_numpy(["x"])["x"]
    assert all(np.shares_memory(batch["x"], whole) for batch in split.batches(20))
    table = split.to_arrow(["x"]).column("x").chunk(0)
    assert table.flatten().to_numpy(zero_copy_only=True).ctypes.data == whole.ctypes.data


def test_writing_to_a_row_never_reaches_the_file(pieces: tuple[list[Piece], formats.Columns]) -> None:
    before = pieces[0][0].path.read_bytes()
    split_of(pieces[0])[0]["x"][:] = -1
    assert pieces[0][0].path.read_bytes() == before


@pytest.mark.parametrize(
    "array",
    [np.arange(8, dtype=">f8"), np.array([b"a", b"bc"] * 4), np.arange(8, dtype="f2")],
    ids=["big-endian", "fixed-length text", "half precision"],
)
def test_what_memory_holds_otherwise_is_decoded(
    tmp_path: Path, array: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowstore, "MAPPED_BYTES", 1)
    with h5py.File(tmp_path / "f", "w") as file:
        file["odd"] = np.zeros(3, "i1") if len(array) == 3 else np.zeros(8, "i1")
        file["v"] = array
    schema = formats.table(tmp_path / "f", suffix=".h5").schema
    store = RowStore(schema, 8, lambda: [Piece(tmp_path / "f", ".h5", schema, 8)])
    found = Split(store, schema.names).to_numpy()["v"]
    wanted = (
        array.astype("U").astype(object) if array.dtype.kind == "S" else array.astype(array.dtype.newbyteorder("="))
    )
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype.isnative


def test_a_link_that_leads_out_of_the_file_is_not_followed(tmp_path: Path) -> None:
    """Who pushes a blob can write any link into it: neither memory nor a view shows what it leads to."""
    schema = Schema((Field("v", "float64"),))
    hdf5(tmp_path / "other", {"v": np.arange(200_000.0)})
    with h5py.File(tmp_path / "f", "w") as file:
        file["v"] = h5py.ExternalLink(str(tmp_path / "other"), "v")
    made = [Piece(tmp_path / "f", ".h5", schema, 200_000)]
    with pytest.raises(Mendable, match="is a link"):
        Split(RowStore(schema, 200_000, lambda: made), schema.names).to_numpy()
    with pytest.raises(Mendable, match="is a link"):
        hdf5view.obstacle(made)


def test_another_process_reads_the_same_files_and_gets_no_copy(pieces: tuple[list[Piece], formats.Columns]) -> None:
    split = split_of(pieces[0])
    split.to_numpy()
    sent = pickle.dumps(split)
    assert pieces[1]["x"].tobytes()[:64] not in sent
    assert_equal(pickle.loads(sent).to_numpy(), pieces[1])


def test_arrow_tables_hold_the_same(pieces: tuple[list[Piece], formats.Columns]) -> None:
    table, wanted = split_of(pieces[0]).to_arrow(), pieces[1]
    assert table.column("t").to_pylist() == wanted["t"].tolist()
    assert table.column("ok").to_pylist() == wanted["ok"].tolist()
    assert table.column("x").to_pylist() == wanted["x"].tolist()
    assert str(table.schema.field("g/n").type) == "int64"


def test_csv_and_hdf5_stand_side_by_side(tmp_path: Path, pieces: tuple[list[Piece], formats.Columns]) -> None:
    schema = Schema((Field("a", "float64"), Field("t", TEXT)))
    (tmp_path / "a.csv").write_text("t,a\nu,1\nv,2.5\nw,\n")
    hdf5(tmp_path / "b", {"a": np.array([4.0, 5.0]), "t": np.array(["x", "y"], object)})
    made = [
        Piece(tmp_path / "a.csv", ".csv", schema, 3, np.array([True, False, True])),
        Piece(tmp_path / "b", ".h5", schema, 2),
    ]
    split = Split(RowStore(schema, 4, lambda: made), schema.names)
    assert split.to_numpy()["t"].tolist() == ["u", "w", "x", "y"]
    np.testing.assert_array_equal(split.to_numpy()["a"], [1, np.nan, 4, 5])
    assert hdf5view.obstacle(made) == "HDF5 cannot refer to .csv files (1 of 2)"


segmented = st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(sum)


@given(segmented, st.data())
def test_a_column_of_any_segments_is_one_array(lengths: list[int], data: st.DataObject) -> None:
    rows = sum(lengths)
    array = np.arange(2 * rows).reshape(rows, 2)
    column = Column(np.split(array, np.cumsum(lengths)[:-1]))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, rows), st.integers(0, rows))))
    positions = np.array(data.draw(st.lists(st.integers(0, rows - 1))), np.int64)
    np.testing.assert_array_equal(column.slice(start, stop), array[start:stop])
    np.testing.assert_array_equal(column.rows(positions), array[positions])
    for position in range(rows):
        np.testing.assert_array_equal(column.row(position), array[position])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 200))
def test_small_blocks_are_gathered(lengths: list[int], size: int) -> None:
    array = np.arange(sum(lengths))
    blocks = [{"a": part} for part in np.split(array, np.cumsum(lengths)[:-1])]
    found = [block["a"] for block in gathered(blocks, size)]
    np.testing.assert_array_equal(np.concatenate(found), array)
    assert all(block.nbytes >= size for block in found[:-1])


# --- masks and views -----------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=4))
@settings(max_examples=25)
def test_a_virtual_view_shows_the_rows_that_masks_keep(masks: list[list[bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts = [columns(len(mask), seed) for seed, mask in enumerate(masks)]
        made = [
            Piece(hdf5(root / str(n), part), ".h5", SCHEMA, len(mask), np.array(mask))
            for n, (part, mask) in enumerate(zip(parts, masks, strict=True))
        ]
        kept = [{name: a[np.array(m)] for name, a in part.items()} for part, m in zip(parts, masks, strict=True)]
        wanted = formats.concatenate(kept)
        if not len(wanted["x"]):
            return
        assert hdf5view.obstacle(made) is None
        hdf5view.write(root / "v.h5", {"": made}, {piece.path: piece.path.name for piece in made}, MARK)
        writers.write_hdf5(root / "c.h5", {"": made}, MARK)
        for name in ("v.h5", "c.h5"):
            with h5py.File(root / name) as file:
                found = {n: file[n].asstr()[...] if n == "t" else file[n][...] for n in SCHEMA.names}
            assert_equal(found, wanted)


def test_text_that_is_stored_in_different_ways_is_not_mapped(tmp_path: Path) -> None:
    """HDF5 2.0 crashes where it converts text of fixed length to text of any length."""
    schema = Schema((Field("t", TEXT),))
    with h5py.File(tmp_path / "a", "w") as file:
        file["t"] = np.array([b"ab", b"c"])
    hdf5(tmp_path / "b", {"t": np.array(["d"], object)})
    pieces = [Piece(tmp_path / "a", ".h5", schema, 2), Piece(tmp_path / "b", ".h5", schema, 1)]
    assert hdf5view.obstacle(pieces) == "the text of 't' is stored in different ways"
    assert hdf5view.obstacle(pieces[:1]) is None
    writers.write_hdf5(tmp_path / "c", {"": pieces}, MARK)
    with h5py.File(tmp_path / "c") as file:
        assert file["t"].asstr()[...].tolist() == ["ab", "c", "d"]


def test_more_files_than_a_process_may_open_are_not_mapped(tmp_path: Path) -> None:
    pieces = [Piece(tmp_path / str(n), ".h5", SCHEMA, 1) for n in range(hdf5view.FILES + 1)]
    assert hdf5view.obstacle(pieces) == "HDF5 would have to open 201 files at once"


def test_rows_in_too_many_stretches_are_not_mapped(tmp_path: Path) -> None:
    mask = np.arange(2 * hdf5view.STRETCHES + 2) % 2 == 0
    piece = Piece(tmp_path / "a", ".h5", SCHEMA, len(mask), mask)
    assert hdf5view.obstacle([piece]) == "the rows stand in more than 10,000 stretches"
