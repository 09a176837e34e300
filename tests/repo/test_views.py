"""`checkout --union`: what a view shows, when it is built anew, and that a missing source is never silent."""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from world import Clone, World

import gitdata
from gitdata import durable, open_union
from gitdata.commands import extend, view
from gitdata.commands.intake import Request
from gitdata.data import formats
from gitdata.data.formats import hdf5view
from gitdata.errors import DataUnavailable, Mendable


def rows_of(seed: int, count: int) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        "in/x": generator.random((count, 3), dtype="f4"),
        "n": np.arange(count) + 1000 * seed,
        "ok": generator.random(count) < 0.5,
        "t": np.array([f"ü{seed}-{row}" for row in range(count)], object),
    }


def write_hdf5(path: Path, content: dict[str, NDArray[Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            file.create_dataset(name, data=array, dtype=h5py.string_dtype() if array.dtype == object else None)
    return path


def grow(clone: Clone, seed: int, count: int, *, test: int = 0) -> None:
    """One more extension of the dataset `d`."""
    incoming = clone.path.parent / "incoming"
    rows = write_hdf5(incoming / f"{seed}.h5", rows_of(seed, count))
    more = str(write_hdf5(incoming / f"test{seed}.h5", rows_of(100 + seed, test))) if test else None
    make = extend.extend if (clone.path / "datasets" / "d").exists() else extend.add
    make(clone.repo, Request("d", [rows], test=more, inputs=("n",), outputs=("in/x",)))


def read(file: h5py.File, group: str = "") -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    (file[group] if group else file).visititems(
        lambda name, item: found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None
    )
    return {n: np.array([t.decode() for t in a], object) if n == "t" else a for n, a in found.items()}


def assert_equal(found: dict[str, Any], *wanted: dict[str, Any]) -> None:
    joined = formats.concatenate(wanted)
    assert found.keys() == joined.keys()
    for name, array in joined.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture
def grown(clone: Clone) -> Clone:
    """Two extensions in HDF5, with test rows in the first."""
    grow(clone, 1, 40, test=7)
    grow(clone, 2, 20)
    return clone


def test_a_view_shows_the_union_and_grows_with_it(grown: Clone) -> None:
    out = grown.path.parent / "all 100%b ü.h5"  # outside the clone, with a name that HDF5 could take for a pattern
    built = view.union(grown.repo, "d", out, [])
    assert (built["virtual"], built["built"], built["rows"]) == (True, True, {"train": 60, "test": 7})
    with open_union(out) as file:
        assert_equal(read(file, "train"), rows_of(1, 40), rows_of(2, 20))
        assert_equal(read(file, "test"), rows_of(101, 7))
    before = out.stat()
    assert before.st_size < 16_000
    assert not view.union(grown.repo, "d", out, [])["built"]
    assert out.stat().st_ino == before.st_ino
    grow(grown, 3, 5)
    assert view.union(grown.repo, "d", out, [])["rows"] == {"train": 65, "test": 7}
    with open_union(out) as file:
        assert_equal(read(file, "train"), rows_of(1, 40), rows_of(2, 20), rows_of(3, 5))
    view.union(grown.repo, "d@1.0.0", out, ["train"])
    with open_union(out) as file:
        assert_equal(read(file), rows_of(1, 40))


def test_a_plain_file_holds_the_same(grown: Clone) -> None:
    out = grown.path / "plain.h5"
    assert not view.union(grown.repo, "d", out, [], copy=True)["virtual"]
    shutil.rmtree(grown.path / ".dvc" / "cache")
    with open_union(out) as file:
        assert_equal(read(file, "train"), rows_of(1, 40), rows_of(2, 20))
        assert file["train/in/x"].chunks is None


# --- never silent --------------------------------------------------------------------------------------------


def cached(clone: Clone, seed: int) -> Path:
    """The blob that holds the rows of an extension."""
    content = (clone.path.parent / "incoming" / f"{seed}.h5").read_bytes()
    (path,) = (p for p in (clone.path / ".dvc" / "cache").rglob("*") if p.is_file() and p.read_bytes() == content)
    return path


def test_a_source_that_is_gone_is_loud_with_and_without_gitdata(grown: Clone) -> None:
    out = grown.path / "v.h5"
    view.union(grown.repo, "d", out, ["train"])
    cached(grown, 2).unlink()
    with pytest.raises(DataUnavailable, match=r"source \.dvc/cache/.* is missing") as error:
        open_union(out)
    assert f"gitdata checkout d --union {out}" in error.value.next_step
    with h5py.File(out) as file:  # what a reader meets that knows nothing of gitdata
        assert np.isnan(file["in/x"][40:]).all()
        assert (file["n"][40:] == np.iinfo("i8").min).all()
        assert (file["t"].asstr()[40:] == "missing").all()
        assert_equal({"n": file["n"][:40]}, {"n": rows_of(1, 40)["n"]})


def test_a_view_that_was_moved_away_is_found_out_and_one_moved_with_its_sources_is_not(grown: Clone) -> None:
    out = grown.path / "v.h5"
    view.union(grown.repo, "d", out, ["train"])
    moved = grown.path.parent / "elsewhere.h5"
    shutil.copy(out, moved)
    with pytest.raises(DataUnavailable, match="is missing"):
        open_union(moved)
    together = grown.path.rename(grown.path.parent / "renamed")
    with open_union(together / "v.h5") as file:
        assert_equal(read(file), rows_of(1, 40), rows_of(2, 20))


def test_a_source_that_changed_is_found_out_by_its_time_or_if_asked_by_its_content(grown: Clone) -> None:
    out = grown.path / "v.h5"
    view.union(grown.repo, "d", out, ["train"])
    blob = cached(grown, 2)
    content, times = blob.read_bytes(), blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(content)  # as when it was fetched again: another time, the same bytes
    open_union(out).close()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataUnavailable, match="was changed"):
        open_union(out)
    os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns))
    open_union(out).close()
    with pytest.raises(DataUnavailable, match="was changed"):
        open_union(out, deep=True)


def test_a_corrupt_source_is_never_shown(grown: Clone, world: World) -> None:
    grown.commit("d")
    grown.gitdata("push")
    blob = cached(grown, 2)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises(DataUnavailable, match="corrupt"):
        view.union(grown.repo, "d", grown.path / "v.h5", [])
    assert not (grown.path / "v.h5").exists()
    view.union(grown.repo, "d", grown.path / "v.h5", [])  # it was set aside, so it is fetched again
    with open_union(grown.path / "v.h5") as file:
        assert_equal(read(file, "train"), rows_of(1, 40), rows_of(2, 20))


def test_sources_that_the_process_could_not_open_are_refused(grown: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 reads what it cannot open as fill values, and a process may open so many files and no more."""
    out = grown.path / "v.h5"
    view.union(grown.repo, "d", out, [])
    monkeypatch.setattr(hdf5view, "FILES_BESIDE", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with pytest.raises(Mendable, match=r"shows 3 files, and this process may have \d+ open"):
        open_union(out)


def test_a_file_that_is_no_view_is_not_opened(grown: Clone) -> None:
    for content in (b"", b"text"):
        (grown.path / "f.h5").write_bytes(content)
        with pytest.raises(Mendable, match="no union view"):
            open_union(grown.path / "f.h5")
    with pytest.raises(Mendable, match="no union view"):
        open_union(write_hdf5(grown.path / "g.h5", rows_of(1, 2)))


# --- tables --------------------------------------------------------------------------------------------------


def test_a_folder_of_parquet_shows_a_table_part_by_part(world: World, clone: Clone) -> None:
    extend.add(clone.repo, Request("lattice", [world.lattice("a", 0, 6)], test="0.2", inputs=("t1",)))
    out = clone.path / "lattice.parquet"
    view.union(clone.repo, "lattice", out, [])
    extend.extend(clone.repo, Request("lattice", [world.lattice("b", 6, 9)]))
    view.union(clone.repo, "lattice", out, [])
    assert not list(clone.path.glob(".gitdata-tmp-*"))
    splits = {split: pq.read_table(out / split) for split in ("train", "test")}
    assert [path.name[:11] for path in sorted((out / "train").iterdir())] == ["00000-1.0.0", "00001-1.1.0"]
    whole = formats.read(world.lattice("c", 0, 9))
    assert sum(table.num_rows for table in splits.values()) == len(whole["t1"])
    runs = np.concatenate([splits["train"]["W_max"].to_numpy(), splits["test"]["W_max"].to_numpy()])
    np.testing.assert_array_equal(np.sort(runs), np.sort(whole["W_max"]))
    assert splits["train"].schema.field("scenario").type == "string"
    view.union(clone.repo, "lattice", out, ["train"])
    assert pq.read_table(out).equals(splits["train"])


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.h5"])
def test_a_table_is_copied_into_one_file_that_reads_the_same(world: World, clone: Clone, name: str) -> None:
    extend.add(clone.repo, Request("lattice", [world.lattice("a", 0, 4)]))
    extend.extend(clone.repo, Request("lattice", [world.lattice("b", 4, 6)]))
    record = view.union(clone.repo, "lattice", clone.path / name, ["train"], copy=True)
    assert (record["virtual"], record["rows"]) == (False, {"train": 96})
    wanted = formats.read(world.lattice("c", 0, 6))
    if name.endswith("parquet"):
        table = pq.read_table(clone.path / name)
        found = {column: np.array(table[column].to_pylist(), wanted[column].dtype) for column in table.column_names}
    else:
        found = formats.read(clone.path / name)
    assert_equal(found, wanted)


def test_formats_side_by_side_are_copied_and_that_is_said(clone: Clone) -> None:
    csv = clone.path.parent / "incoming" / "a.csv"
    csv.parent.mkdir(exist_ok=True)
    csv.write_text("a,t\n1.5,u\n2,v\n")
    extend.add(clone.repo, Request("m", [csv]))
    more = {"a": np.array([3.0]), "t": np.array(["w"], object)}
    extend.extend(clone.repo, Request("m", [write_hdf5(csv.with_suffix(".h5"), more)]))
    done = clone.gitdata("checkout", "m", "--union", "m.h5")
    reason = "HDF5 cannot refer to .csv files (1 of 2)"
    assert done.out == f"m.h5: 3 train rows; copied from 2 files, since {reason}\n"
    with open_union(clone.path / "m.h5") as file:
        assert file["train/a"][...].tolist() == [1.5, 2, 3]
        assert file["train/t"].asstr()[...].tolist() == ["u", "v", "w"]


@pytest.mark.parametrize("table", [False, True])
def test_rows_of_folders_have_what_their_place_says(clone: Clone, table: bool) -> None:
    """Also where a parallel extension, which shares rows with another one, shows only some of its rows."""

    def folder(name: str, *values: int) -> Request:
        for number, label in enumerate(("left", "right")):
            place = clone.path.parent / name / ("." if table else label) / f"{number}.csv"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("a\n" + "".join(f"{value}\n" for value in values))
        if table:
            (place.parent / "labels.csv").write_text("file,label\n0.csv,left\n1.csv,right\n")
        return Request("f", [clone.path.parent / name])

    base = extend.add(clone.repo, folder("base", 0))
    one = extend.extend(clone.repo, folder("one", 1, 2))
    extend.extend(clone.repo, replace(folder("two", 2, 3), parents=(base.id[:8],)))
    view.union(clone.repo, "f", clone.path / "f.parquet", [], copy=True)
    view.union(clone.repo, "f", clone.path / "parts", [])
    split = gitdata.Repo(clone.path).dataset("f")["train"]
    for columns in (formats.read(clone.path / "f.parquet"), pq.read_table(clone.path / "parts"), split.to_numpy()):
        rows = sorted(zip(*(np.asarray(columns[name]).tolist() for name in ("a", "label")), strict=True))
        assert rows == [(value, label) for value in range(4) for label in ("left", "right")]
    assert len(list((clone.path / "parts" / "train").iterdir())) == 3
    assert one.id in gitdata.Repo(clone.path).dataset("f").ids


@pytest.mark.parametrize("name", ["copied.h5", "virtual.h5", "copied.parquet"])
def test_what_is_known_of_a_field_stands_in_the_view(clone: Clone, name: str) -> None:
    path = write_hdf5(clone.path.parent / "incoming" / "a.h5", {"v": np.arange(3.0)})
    with h5py.File(path, "a") as file:
        file["v"].attrs.update({"unit": "V", "long_name": "the voltage"})
    extend.add(clone.repo, Request("m", [path]))
    view.union(clone.repo, "m", clone.path / name, ["train"], copy=name.startswith("copied"))
    if name == "virtual.h5":
        with open_union(clone.path / name) as file:
            assert dict(file["v"].attrs) == {"units": "V", "description": "the voltage"}
    else:
        (field,) = formats.table(clone.path / name).schema.fields
        assert (field.unit, field.description) == ("V", "the voltage")


def test_a_csv_view_is_made_anew_as_long_as_nobody_changed_it(clone: Clone, world: World) -> None:
    extend.add(clone.repo, Request("lattice", [world.lattice("a", 0, 2)]))
    out = clone.path / "u.csv"
    for last in (3, 4):
        view.union(clone.repo, "lattice", out, [])
        extend.extend(clone.repo, Request("lattice", [world.lattice(f"b{last}", last - 1, last)]))
    with pytest.MonkeyPatch.context() as patch:  # killed before the new file has its name: the old one is known still
        patch.setattr(durable.Staged, "place", lambda *_: None)
        view.union(clone.repo, "lattice", out, [])
    view.union(clone.repo, "lattice", out, [])
    assert_equal(formats.read(out), formats.read(world.lattice("c", 0, 4)))
    with out.open("a") as file:
        file.write("my own line\n")
    before = out.read_bytes()
    assert "did not write it as it is" in clone.gitdata("checkout", "lattice", "--union", "u.csv", code=2).err
    assert out.read_bytes() == before


def test_a_folder_is_not_made_anew_over_somebodys_own_files(grown: Clone) -> None:
    out = grown.path / "folder"
    view.union(grown.repo, "d", out, [])
    view.union(grown.repo, "d", out, [])
    mine = [out / "notes.txt", out / "train" / "00000-mine.parquet", out / "deep" / "er" / "x", out / "link"]
    for path in mine[:3]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    mine[3].symlink_to(grown.path.parent)
    told = grown.gitdata("checkout", "d", "--union", "folder", code=2).err
    assert "deep/er/x, link, notes.txt and 1 more" in told
    assert all(path.read_text() == "mine" for path in mine[:3])
    for path in mine:
        path.unlink()
    view.union(grown.repo, "d", out, [])
    assert not (out / "deep").exists()


# --- refusals ------------------------------------------------------------------------------------------------


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("v.xlsx", {}, "names no format that gitdata writes"),
    ("mine.h5", {}, "gitdata did not write it"),
    ("mine.csv", {}, "gitdata did not write it"),
    ("mine", {}, "gitdata did not write it"),
    (".dvc/v.h5", {}, "keep their own"),
    (".git/v.h5", {}, "keep their own"),
    ("datasets/d/v.h5", {}, "keep their own"),
    ("nowhere/v.h5", {}, "cannot be written"),
    ("link.h5", {}, "symbolic link"),
    ("v.csv", {}, "holds one table, and d has train and test rows"),
    ("v.csv", {"splits": ["train"]}, "one value per cell"),
    ("v.h5", {"splits": ["validation"]}, "'d' has no validation rows"),
    ("folder.parquet", {"copy": True, "splits": ["train"]}, "a view of another kind"),
]


def test_what_cannot_be_is_refused_and_nothing_changes(grown: Clone) -> None:
    for name in ("mine.h5", "mine.csv"):
        (grown.path / name).write_text("a\n1\n")
    (grown.path / "mine").mkdir()
    (grown.path / "link.h5").symlink_to("mine.h5")
    view.union(grown.repo, "d", grown.path / "folder.parquet", [])
    before = sorted(grown.path.iterdir())
    for out, options, message in REFUSED:
        with pytest.raises(Mendable, match=message):
            view.union(grown.repo, "d", grown.path / out, **{"splits": [], **options})
    assert sorted(grown.path.iterdir()) == before
    assert (grown.path / "mine.csv").read_text() == "a\n1\n"


def test_copy_without_union_is_a_mistake(grown: Clone) -> None:
    done = grown.gitdata("checkout", "d", "--copy", code=2)
    assert "--copy belongs to --union" in done.err


# --- only what is asked for travels --------------------------------------------------------------------------


def blobs(clone: Clone) -> set[str]:
    """The data files in the cache, by their names."""
    cache = clone.path / ".dvc" / "cache" / "files" / "md5"
    listed = {file.md5: f"{e.version}:{file.split}" for e in clone.repo.work_tree_snapshot().chain("d")
              .extensions.values() for file in clone.repo.files_of(e)}  # fmt: skip
    return {listed[name] for p in cache.rglob("*") if (name := p.parent.name + p.name) in listed}


TRAVELS: list[tuple[tuple[str, ...], set[str]]] = [
    (("fetch", "d@1.0.0", "--split", "test"), {"1.0.0:test"}),
    (("fetch", "d@1.0.0"), {"1.0.0:test", "1.0.0:train"}),
    (("pull", "d", "--split", "test"), {"1.0.0:test", "1.2.0:test"}),
    (("checkout", "d@1.1.0", "--split", "train"), {"1.0.0:train", "1.1.0:train"}),
    (("checkout", "d", "--split", "test", "--union", "v.h5"), {"1.0.0:test", "1.2.0:test"}),
    (
        ("fetch", "d", "--split", "test", "--split", "train"),
        {"1.0.0:test", "1.0.0:train", "1.1.0:train", "1.2.0:test", "1.2.0:train"},
    ),
]


def test_only_what_is_asked_for_travels(grown: Clone) -> None:
    grow(grown, 3, 5, test=4)
    grown.commit("d")
    grown.push()
    for command, came in TRAVELS:
        shutil.rmtree(grown.path / ".dvc" / "cache")
        grown.git("clean", "-fdxq", "datasets")
        grown.gitdata(*command)
        assert blobs(grown) == came, command
        if command[0] in ("pull", "checkout") and "--union" not in command:
            places = grown.path.glob("datasets/d/*/t*/*.h5")
            assert {f"{p.parts[-3].partition('-')[0]}:{p.parts[-2]}" for p in places} == came
