"""Grown files on real data: the union is every version, corrections are told, only what is new is stored."""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, World, fingerprint

from gitdata.commands import extend, storing
from gitdata.commands.intake import Corrections, Request
from gitdata.commands.known import Facts
from gitdata.commands.records import Record
from gitdata.data import rows
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo, blob_of

Write = Callable[[str, "str | bytes"], Path]


def take(clone: Clone, path: Path, corrections: Corrections = "refuse", dataset: str = "d", **more: object) -> Record:
    """`gitdata extend DATASET --grown FILE`, or `gitdata add` of the first version, in this process."""
    repo = Repo(clone.path)
    request = Request(dataset, [path], **more)  # type: ignore[arg-type]
    if not (clone.path / "datasets" / dataset).exists():
        return extend.add(repo, request)
    return extend.extend(repo, replace(request, grown=corrections))


def stored(clone: Clone, dataset: str = "d") -> Counter[tuple[str, ...]]:
    """The rows of all live data files by value, as a multiset."""
    repo = Repo(clone.path)
    chain = repo.work_tree_snapshot().chain(dataset)
    union: Counter[tuple[str, ...]] = Counter()
    for extension in chain.ordered(chain.live):
        for file in repo.files_of(extension):
            union.update(rows_of(repo.cache.read(blob_of(file))))
    return union


@cache
def rows_of(content: bytes) -> list[tuple[str, ...]]:
    """The rows of a CSV file by value."""
    _, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
    return [tuple(_value(cell) for cell in row) for row in lines if row]


def _value(cell: str) -> str:
    try:
        return repr(float(cell))
    except ValueError:
        return cell


# --- all versions of a real file -----------------------------------------------------------------------------


def versions(shared_data: Path) -> Iterator[bytes]:
    """Every published version of the Brent oil prices, in order."""
    with tarfile.open(shared_data / "growing" / "brent-daily.versions.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            yield file.read()


def replay(clone: Clone, path: Path, contents: Iterator[bytes]) -> tuple[Counter[str], list[int]]:
    """Extend by version after version; how each was recognised, and which were corrections."""
    union: Counter[tuple[str, ...]] = Counter()
    ways: Counter[str] = Counter()
    corrections, before = [], b""
    for number, content in enumerate(contents):
        path.write_bytes(content)
        expected = Counter(rows_of(content))
        if missing := (union - expected).total():
            with pytest.raises(Mendable, match="corrects what 'd' holds") as error:
                take(clone, path)
            record = take(clone, path, "replace")
            told = record["grown"]["correction"]
            assert (told["missing"], told["changed"] + told["disappeared"]) == (missing, missing)
            assert told["new"] + told["changed"] == (expected - union).total()
            assert all(example in error.value.message for example in told["examples"])
            assert (record["parents"], len(record["replaces"])) == ([], 1)
            corrections.append(number)
        else:
            record = take(clone, path)
            if record["grown"]:
                assert record["grown"]["by"] == ("bytes" if content.startswith(before) else "rows")
                ways[record["grown"]["by"]] += 1
        union, before = expected, content
        assert stored(clone) == expected
    return ways, corrections


def test_versions_of_a_real_file_with_a_correction_replayed(clone: Clone, tmp_path: Path, shared_data: Path) -> None:
    """The first versions hold what is rare: rows put in between, one lost, all reformatted without a new value."""
    chosen = [content for number, content in enumerate(versions(shared_data)) if number < 7 or 26 <= number < 32]
    ways, corrections = replay(clone, tmp_path / "brent.csv", iter(chosen))
    assert (ways, corrections) == (Counter(bytes=8, rows=2), [2, 8])


@pytest.mark.slow
def test_every_version_of_a_real_file_replayed(clone: Clone, tmp_path: Path, shared_data: Path) -> None:
    ways, corrections = replay(clone, tmp_path / "brent.csv", versions(shared_data))
    assert (ways, len(corrections)) == (Counter(bytes=164, rows=2), 9)


# --- corrections ---------------------------------------------------------------------------------------------


@pytest.fixture
def tubes(clone: Clone, tmp_path: Path, shared_data: Path) -> tuple[Clone, Path]:
    """crash_tubes as first published in the dataset, and its second revision under the same name beside it."""
    folder, path = shared_data / "crash_tubes", tmp_path / "tubes.csv"
    shutil.copyfile(folder / "simulaciones_v1_b9c20dc.csv", path)
    clone.gitdata("add", "tubes", path, "-m", "base")
    shutil.copyfile(folder / "simulaciones_v2_0f57e75.csv", path)
    return clone, path


def test_a_revision_of_units_is_a_correction_of_297_rows(tubes: tuple[Clone, Path]) -> None:
    """In 296 rows mass and absorbed energy per mass change their unit, in one the text of an error."""
    clone, path = tubes
    folders = clone.path / "datasets", clone.path / ".dvc" / "cache"
    before = fingerprint(*folders)
    refused = clone.gitdata("extend", "tubes", "--grown", path, code=2).err
    assert "297 rows changed (Masa in 296, SEA in 296, Error in 1; rows are told by Caso)" in refused
    assert "0 rows disappeared, 0 new." in refused
    assert "Caso 1: Masa 0.000521243 → 0.521243, SEA 20111.4 → 20.1114" in refused
    assert "Caso 211: Error" in refused
    assert "--append-only-new" in refused
    assert fingerprint(*folders) == before
    record = clone.gitdata("extend", "tubes", "--grown", path, "--replace", "-m", "units", "--json").records[0]
    assert (record["version"], record["parents"], record["rows"]) == ("2.0.0", [], {"train": 300})
    assert record["replaces"][0].startswith("1.0.0-")
    assert record["grown"]["correction"]["fields"] == {"Masa": 296, "SEA": 296, "Error": 1}
    with path.open("a") as file:
        file.write(path.read_text().splitlines()[-1].replace("300,", "301,", 1) + "\n")
    again = clone.gitdata("extend", "tubes", "--grown", path, "--json").records[0]
    assert (again["version"], again["rows"], again["grown"]["by"]) == ("2.1.0", {"train": 1}, "bytes")


def test_only_what_is_new_can_be_stored_beside_what_was_corrected(tubes: tuple[Clone, Path]) -> None:
    clone, path = tubes
    record = take(clone, path, "append-only-new", "tubes")
    assert (record["version"], record["rows"]) == ("1.1.0", {"train": 297})
    chain = clone.repo.work_tree_snapshot().chain("tubes")
    assert sum(chain.extensions[id].rows_of("train") for id in chain.live) == 597
    with pytest.raises(Mendable, match="297 rows disappeared"):  # the old ones are still there, unlike in the file
        take(clone, path, "refuse", "tubes")


def test_where_old_values_cannot_be_had_the_numbers_are_told(tubes: tuple[Clone, Path]) -> None:
    clone, path = tubes
    for blob in [blob_of(file) for e in heads(clone, "tubes") for file in clone.repo.files_of(e)]:
        clone.repo.cache.path(blob).unlink()
    with pytest.raises(Mendable, match="297 rows changed or disappeared"):
        take(clone, path, "refuse", "tubes")


def heads(clone: Clone, dataset: str = "d") -> list[Extension]:
    chain = clone.repo.work_tree_snapshot().chain(dataset)
    return [chain.extensions[head] for head in chain.heads]


def test_what_was_made_in_parallel_on_a_replaced_extension_stays(clone: Clone, write: Write) -> None:
    path = write("x.csv", "a,b\n1,1\n2,2\n")
    take(clone, path)
    clone.gitdata("init")
    clone.commit("base")
    clone.git("switch", "--quiet", "-c", "side")
    clone.gitdata("extend", "d", write("side.csv", "a,b\n9,9\n"), "-m", "side")
    clone.git("switch", "--quiet", "main")
    write("x.csv", "a,b\n1,1\n2,3\n")
    clone.gitdata("extend", "d", "--grown", path, "--replace", "-m", "corrected")
    clone.git("merge", "--quiet", "--no-edit", "side")
    assert stored(clone) == Counter([("1.0", "1.0"), ("2.0", "3.0"), ("9.0", "9.0")])
    assert len(heads(clone)) == 2


def test_rows_that_two_branches_brought_count_once(clone: Clone, write: Write) -> None:
    """Both branches took in a file that has some rows in common: the merged dataset is the longer file, and no more."""
    path = write("x.csv", "a,b\n1,1\n2,2\n")
    take(clone, path)
    clone.gitdata("init")
    clone.commit("base")
    clone.git("switch", "--quiet", "-c", "side")
    take(clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n3,3\n"), message="side")
    clone.git("switch", "--quiet", "main")
    take(clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n4,4\n"), message="main")
    clone.git("merge", "--quiet", "--no-edit", "side")
    with pytest.raises(Mendable, match=r"1 row disappeared, 0 new\.\n  a 3, b 3: stands 2× in the dataset, 1× in"):
        take(clone, path)
    record = take(clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n4,4\n3,3\n"))
    assert (record.kind, record["grown"]["known_rows"]) == ("unchanged", 5)
    record = take(clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n4,4\n3,3\n5,5\n"))
    assert (record["rows"], record["grown"]["by"]) == ({"train": 1}, "rows")
    record = take(clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n4,4\n3,3\n5,5\n6,6\n"))
    assert (record["rows"], record["grown"]["by"]) == ({"train": 1}, "bytes")


def test_rows_that_two_branches_split_otherwise_count_once(clone: Clone, write: Write) -> None:
    """The same file on both branches, other rows of it for tests: the merged dataset is that file."""
    lines = [f"{n},{n * n}\n" for n in range(60)]
    take(clone, write("x.csv", "a,b\n" + "".join(lines[:10])), inputs=("a",))
    clone.gitdata("init")
    clone.commit("base")
    path = write("x.csv", "a,b\n" + "".join(lines[:50]))
    clone.git("branch", "side")
    take(clone, path, test="0.5", message="main")
    clone.git("switch", "--quiet", "side")
    take(clone, path, test="0.3", message="side")
    clone.git("merge", "--quiet", "--no-edit", "main")
    record = take(clone, path)
    assert (record.kind, record["grown"]["known_rows"]) == ("unchanged", 50)
    record = take(clone, write("x.csv", "a,b\n" + "".join(lines)))
    assert (record["rows"], record["grown"]["known_rows"]) == ({"train": 10}, 50)


def test_a_new_generation_does_not_lose_the_test_rows_unnoticed(clone: Clone, write: Write) -> None:
    lines = [f"{n},{n * n}\n" for n in range(100)]
    take(clone, write("x.csv", "a,b\n" + "".join(lines)), test="0.2", inputs=("a",))
    path = write("x.csv", "a,b\n" + "".join([*lines[:40], "40,-1\n", *lines[41:]]))
    with pytest.raises(Mendable, match=r"test rows; the file alone brings none"):
        take(clone, path, "replace")
    (before,) = heads(clone)
    record = take(clone, path, "replace", test="0.2")
    assert record["rows"] == dict(before.rows)  # the same inputs, the same split
    assert record["leaks"] == {"test_rows_in_train": 0, "train_rows_in_test": 0}
    assert record["known_rows"] == 0


def test_a_change_within_rows_of_several_values_is_shown(clone: Clone, tmp_path: Path) -> None:
    path, values = tmp_path / "x.h5", np.arange(12.0).reshape(4, 3)
    values[2, 0] = np.nan
    for step in range(2):
        values[2, 1] += step
        with h5py.File(path, "w") as file:
            file["number"], file["curve"] = np.arange(4), values
        if step == 0:
            take(clone, path)
    with pytest.raises(Mendable, match=r"number 2: curve\[1\] 7 → 8"):
        take(clone, path)


# --- appends -------------------------------------------------------------------------------------------------


def test_a_clone_without_the_data_appends_by_the_sidecars_alone(world: World, shared_data: Path) -> None:
    """Two rows are put in between, so that rows must be told; nothing but small files is fetched for that."""
    source = (shared_data / "growing" / "brent-daily.latest.csv").read_bytes().splitlines(keepends=True)
    path = world.root / "brent.csv"
    path.write_bytes(b"".join([*source[:50], *source[52:]]))
    world.clone.gitdata("add", "oil", path, "--test", "0.1", "-m", "base")
    world.clone.commit("settings")
    world.clone.push()
    other = world.another_clone()
    path.write_bytes(b"".join(source))
    record = other.gitdata("extend", "oil", "--grown", path, "--json").records[0]
    assert (record["rows"], record["grown"]["by"]) == ({"train": 2}, "rows")
    cached = sum(file.stat().st_size for file in (other.path / ".dvc" / "cache" / "files").rglob("*") if file.is_file())
    assert cached < 8 * len(source) + 3000


def test_splits_go_on_and_a_test_file_of_its_own_is_no_part_of_the_grown_file(clone: Clone, write: Write) -> None:
    lines = [f"{n},{n % 7}\n" for n in range(400)]
    path, held_out = write("x.csv", "a,b\n" + "".join(lines[:300])), write("held.csv", "a,b\n-1,0\n-2,1\n")
    take(clone, path, test=str(held_out), validation="0.2", inputs=("a",))
    write("x.csv", "a,b\n" + "".join(lines))
    record = take(clone, path, validation="0.2")
    assert record["grown"]["by"] == "bytes"
    assert sum(record["rows"].values()) == 100
    assert record["rows"]["validation"] > 5
    write("x.csv", "a,b\n-5,5\n" + "".join(lines))
    assert take(clone, path)["rows"] == {"train": 1}


def test_a_file_that_is_no_larger_is_nothing_to_do_and_a_killed_run_is_finished(clone: Clone, write: Write) -> None:
    path = write("x.csv", "a,b\n1,1\n")
    clone.gitdata("add", "d", path, "-m", "base")
    out = clone.gitdata("extend", "d", "--grown", path).out
    assert "1 row of the file known, by its bytes" in out
    assert "nothing to do" in out
    write("x.csv", "a,b\n1,1\n1,1\n")
    staged = clone.gitdata("extend", "d", "--grown", path, "--json").records[0]
    finished = clone.gitdata("extend", "d", "--grown", path, "-m", "more", "--json").records[0]
    assert (staged["id"], staged["committed"], finished["committed"]) == (finished["id"], False, True)
    assert clone.git("show", "--name-only", "--format=%s").splitlines() == ["more", "", finished["pointer"]]


def test_the_same_rows_may_come_again_and_again(clone: Clone, write: Write) -> None:
    for count in (1, 2, 3, 4):
        record = take(clone, write("x.csv", "a,b\n" + "1,1\n" * count))
    assert stored(clone) == Counter({("1.0", "1.0"): 4})
    assert record["version"] == "1.3.0"


def test_equal_bytes_are_stored_however_new_rows_are_found(world: World, write: Write) -> None:
    """By bytes where the base tells what file it was, by rows where it was made of two."""
    found = []
    for name, text in (("bytes", "a,b\n1,1\n2,2\n"), ("rows", "a,b\n2,2\n1,1\n")):
        take(world.clone, write("x.csv", text), dataset=name)
        record = take(world.clone, write("x.csv", "a,b\n1,1\n2,2\n3,3\n\n4,4"), dataset=name)
        assert record["grown"]["by"] == name
        (head,) = heads(world.clone, name)
        found.append(world.clone.repo.files_of(head))
    assert found[0] == found[1]


def test_a_bad_tail_is_told_as_a_row_of_the_file(clone: Clone, write: Write) -> None:
    path = write("x.csv", "a,b\n1,1\n2,2\n")
    take(clone, path, inputs=("a",))
    write("x.csv", "a,b\n1,1\n2,2\nnan,3\n")
    with pytest.raises(Mendable, match=f"in 1 of 3 rows of '{path}'; the first is row 3"):
        take(clone, path)


def test_an_hdf5_file_that_grows_stores_its_new_rows(clone: Clone, tmp_path: Path) -> None:
    path, generator, sizes = tmp_path / "x.h5", np.random.default_rng(0), []
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (0, 120), "f4", maxshape=(None, 120), chunks=(64, 120))
        file.create_dataset("name", (0,), h5py.string_dtype(), maxshape=(None,))
    for step in (300, 300, 77):
        with h5py.File(path, "a") as file:
            for dataset in file.values():
                dataset.resize(len(dataset) + step, axis=0)
            file["x"][-step:] = generator.normal(size=(step, 120))
            file["name"][-step:] = [f"run {n}" for n in range(step)]
        record = take(clone, path)
        assert record["rows"] == {"train": step}
        sizes.append(sum(file.size for file in heads(clone)[0].files))
    assert sizes[2] < 0.5 * sizes[1]


# --- what confirms a hit -------------------------------------------------------------------------------------


def collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first 64 bits of row digests all but one are lost, so that rows are taken for others all the time."""
    honest = rows.digests

    def weak(*arguments: object) -> np.ndarray:
        found = honest(*arguments)  # type: ignore[arg-type]
        found[:, 0] &= np.uint64(1)
        return found

    monkeypatch.setattr(rows, "digests", weak)


def test_rows_that_share_64_bits_are_told_apart(clone: Clone, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch)
    lines = [f"{n},{n * n}\n" for n in range(30)]
    take(clone, write("x.csv", "a,b\n" + "".join(lines[10:20])))
    path = write("x.csv", "a,b\n" + "".join([*lines[:15], *lines[15:]]))
    assert take(clone, path)["rows"] == {"train": 20}
    assert stored(clone) == Counter(rows_of(path.read_bytes()))


def test_without_the_blob_a_refuted_hit_is_never_taken(
    clone: Clone, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    collide(monkeypatch)
    take(clone, write("x.csv", "a,b\n5,5\n6,6\n"))
    (head,) = heads(clone)
    for file in clone.repo.files_of(head):
        clone.repo.cache.path(blob_of(file)).unlink()
    with pytest.raises(DataUnavailable, match="64 bits in common"):
        take(clone, write("x.csv", "a,b\n" + "".join(f"{n},{n}\n" for n in range(12))))


def test_an_extension_of_older_times_has_no_row_facts(
    clone: Clone, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is confirmed by its blob, or accepted by 64 bits where that is not here."""
    path = write("x.csv", "a,b\n1,1\n2,2\n")
    with monkeypatch.context() as patch:
        patch.setattr(storing, "ROW_FACTS", "older.json")
        take(clone, path)
    write("x.csv", "a,b\n1,1\n2,2\n3,3\n")
    record = take(clone, path)
    assert (record["rows"], record["grown"]["by"]) == ({"train": 1}, "rows")
    said: list[str] = []
    base = next(e for e in clone.repo.work_tree_snapshot().chain("d").extensions.values() if not e.parents)
    for file in clone.repo.files_of(base):
        clone.repo.cache.path(blob_of(file)).unlink()
    write("x.csv", "a,b\n0,0\n1,1\n2,2\n3,3\n")
    request = Request("d", [path], grown="refuse")
    assert extend.extend(Repo(clone.path), request, said.append)["rows"] == {"train": 1}
    assert any("2 rows were recognised by 64 of the 128 bits" in line for line in said)


def test_malformed_row_facts_are_refused() -> None:
    listed = b'{"contents": [], "apart": [], '
    bad = [b"", b"[]", b"{}", b'{"contents": 1, "apart": []}', listed + b'"source": {}}', listed + b'"roles": 1}']
    for content in bad:
        with pytest.raises(DataUnavailable, match="malformed"):
            Facts.decode(content)


@pytest.mark.parametrize("table", [None, "file,label\none.csv,left\ntwo.csv,right\n"])
def test_rows_of_a_folder_are_known_with_what_their_place_says(
    clone: Clone, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str | None
) -> None:
    folder = tmp_path / "runs"
    for number, (name, label) in enumerate((("one.csv", "left"), ("two.csv", "right"))):
        place = folder / name if table else folder / label / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"a\n{number}\n{number + 10}\n")
    if table:
        (folder / "labels.csv").write_text(table)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "ROW_FACTS", "older.json")  # its rows are confirmed one by one
        take(clone, folder)
    rows_there = "a,label\n0,left\n10,left\n1,right\n11,right\n"
    record = take(clone, write("x.csv", rows_there + "7,left\n"))
    assert (record["rows"], record["grown"]["known_rows"]) == ({"train": 1}, 4)
    with pytest.raises(Mendable, match=r"1 row changed .*label in 1.*\n.*a 11: label 'right' → 'left'"):
        take(clone, write("x.csv", rows_there.replace("11,right", "11,left") + "7,left\n"))


# --- usage and leaks -----------------------------------------------------------------------------------------


def test_options_that_do_not_go_together(clone: Clone, write: Write) -> None:
    path = write("x.csv", "a,b\n1,1\n")
    clone.gitdata("add", "d", path)
    for options, message in (
        (["--replace"], "about a grown file"),
        (["--grown", "--replace", "--append-only-new"], "exclude each other"),
        (["--grown", "--dedupe"], "would part the dataset from the file"),
        (["--grown", write("y.csv", "a,b\n1,1\n")], "exactly one file"),
    ):
        assert message in clone.gitdata("extend", "d", path, *options, code=2).err
    assert "exactly one file" in clone.gitdata("extend", "d", path.parent, "--grown", code=2).err
    clone.gitdata("add", "scans", write("x.bin", b"\1\2"))
    assert "knows no rows" in clone.gitdata("extend", "scans", write("y.bin", b"\3"), "--grown", code=2).err


def test_rows_that_are_trained_and_tested_on_are_counted(clone: Clone, write: Write) -> None:
    held = write("held.csv", "a,b\n1,1\n5,5\n")
    base = clone.gitdata("add", "d", write("x.csv", "a,b\n1,1\n2,2\n"), "--test", held, "--json").records[0]
    assert base["leaks"] == {"test_rows_in_train": 1, "train_rows_in_test": 1}
    more = clone.gitdata("extend", "d", write("y.csv", "a,b\n5,5\n7,7\n"), "--json").records[0]
    assert more["leaks"] == {"test_rows_in_train": 0, "train_rows_in_test": 1}
    tested = write("z.csv", "a,b\n7,7\n2,2\n8,8\n")
    out = clone.gitdata("extend", "d", "--test", tested).out
    assert "2 test rows also among the train rows: no gate uses them" in out
    dropped = ("extend", "d", write("w.csv", "a,b\n8,8\n"), "--test", write("v.csv", "a,b\n6,6\n"))
    assert clone.gitdata(*dropped, "--test-policy", "replace", "--json").records[0]["leaks"]["train_rows_in_test"] == 0
