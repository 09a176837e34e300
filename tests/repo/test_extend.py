"""Extensions on real data: what is stored, what is the same everywhere, what is kept out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, World, fingerprint

from gitdata.data import formats, rows
from gitdata.data.pointerfile import INLINE_BYTES

Write = Callable[[str, "str | bytes"], Path]


def pointer_of(clone: Clone, dataset: str, id: str) -> Path:
    (path,) = (clone.path / "datasets" / dataset).glob(f"*-{id[:8]}.dvc")
    return path


def test_the_same_extension_made_in_two_clones_is_the_same_bytes(world: World) -> None:
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 4), "--test", "0.2", "-m", "base")
    world.clone.commit("settings")
    world.clone.push()
    other = world.another_clone()
    pointers = []
    for clone in (world.clone, other):
        arguments = ("extend", "lattice", world.lattice("more", 4, 8), "--test", "0.2", "--json")
        id = clone.gitdata(*arguments).records[0]["id"]
        pointers.append(pointer_of(clone, "lattice", id))
    assert pointers[0].read_bytes() == pointers[1].read_bytes()
    assert pointers[0].name == pointers[1].name


def test_only_the_new_rows_are_stored_and_the_file_stays_where_it_is(world: World) -> None:
    path = world.lattice("base", 0, 30)
    before = path.read_bytes()
    world.clone.gitdata("add", "lattice", path)
    cache = world.clone.path / ".dvc" / "cache"
    size = sum(p.stat().st_size for p in cache.rglob("*") if p.is_file())
    more = world.lattice("more", 30, 33)
    world.clone.gitdata("extend", "lattice", more)
    grown = sum(p.stat().st_size for p in cache.rglob("*") if p.is_file()) - size
    assert grown < more.stat().st_size + 48 * 8 + 600  # the rows, their index, the directory object
    assert path.read_bytes() == before


def test_splits_by_fraction_partition_the_rows_and_never_part_equal_inputs(world: World, shared_data: Path) -> None:
    source = shared_data / "crashbox" / "crashbox.csv"
    inputs = ["Thickness", "Velocity"]
    record = world.clone.gitdata(
        "add", "boxes", source, "--test", "0.2", "--validation", "0.2", "--inputs", ",".join(inputs), "--json"
    ).records[0]
    assert sum(record["rows"].values()) == 500
    assert record["known_rows"] == 0
    world.clone.gitdata("checkout", "boxes")
    folder = world.clone.path / "datasets" / "boxes" / f"1.0.0-{record['id'][:8]}"
    parts = {split: formats.read(folder / split / "crashbox.csv") for split in ("train", "test", "validation")}
    keys = {split: set(rows.digests(columns, inputs)[:, 0].tolist()) for split, columns in parts.items()}
    assert len(keys["train"] | keys["test"] | keys["validation"]) == 333
    assert sum(len(k) for k in keys.values()) == 333
    lines = sorted(source.read_text().splitlines()[1:])
    stored = [line for split in parts for line in (folder / split / "crashbox.csv").read_text().splitlines()[1:]]
    assert sorted(stored) == lines


def test_five_batches_that_overlap_are_reported_and_deduplicated(world: World, shared_data: Path) -> None:
    """crashbox repeats simulations: by inputs and outputs only 333 of 500 are distinct, though each has its number."""
    header, *lines = (shared_data / "crashbox" / "crashbox.csv").read_text().splitlines()
    roles = ["--inputs", "Thickness,Velocity", "--outputs", "Peak_Impact_Force_KN,Energy_Absorbed_KJ"]
    stored = {"plain": 0, "deduplicated": 0}
    known = 0
    for batch in range(5):
        path = world.root / f"batch{batch}.csv"
        path.write_text("\n".join([header, *lines[100 * batch : 100 * (batch + 1)]]) + "\n")
        for dataset, more in (("plain", []), ("deduplicated", ["--dedupe"])):
            command = ["extend"] if batch else ["add", *roles]
            record = world.clone.gitdata(command[0], dataset, path, *command[1:], *more, "--json").records[0]
            stored[dataset] += sum(record["rows"].values())
            known += record["known_rows"] if dataset == "plain" else 0
    assert stored == {"plain": 500, "deduplicated": 333}
    assert known == 167


def test_parents_can_be_named_and_versions_follow(world: World) -> None:
    clone = world.clone
    clone.gitdata("add", "d", world.lattice("a", 0, 1))
    first = clone.gitdata("extend", "d", world.lattice("b", 1, 2), "--json").records[0]
    side = clone.gitdata("extend", "d", world.lattice("c", 2, 3), "--parent", "1.0.0", "--json").records[0]
    assert (first["version"], side["version"]) == ("1.1.0", "1.2.0")
    joined = clone.gitdata("extend", "d", world.lattice("e", 3, 4), "--version", "2.5.0", "--json").records[0]
    assert sorted(joined["parents"]) == sorted(f"{r['version']}-{r['id'][:8]}" for r in (first, side))
    tests = clone.gitdata("extend", "d", "--test", world.lattice("f", 4, 5), "--json").records[0]
    assert (joined["version"], tests["version"]) == ("2.5.0", "2.5.1")


def test_a_wide_schema_and_a_long_listing_travel_in_sidecars(world: World, write: Write) -> None:
    header = ",".join(f"a_rather_long_name_of_a_column_{n}" for n in range(120))
    files = [write(f"part{n}.csv", f"{header}\n{','.join([str(n)] * 120)}\n") for n in range(40)]
    record = world.clone.gitdata("add", "wide", *files, "-m", "wide", "--json").records[0]
    pointer = pointer_of(world.clone, "wide", record["id"])
    assert len(pointer.read_bytes()) <= INLINE_BYTES
    listed = json.loads(pointer.read_text())["meta"]["gitdata"]
    assert "files" not in listed["listing"]
    assert {s["path"] for s in listed["sidecars"]} == {
        f"sidecar/{n}" for n in ("listing.json", "rows.json", "rows.u64", "schema.json")
    }
    world.clone.commit("settings")
    world.clone.push()
    other = world.another_clone()
    assert other.gitdata("status", "--json").records[0]["missing"] != {}
    other.gitdata("pull", "wide")
    assert len(list((other.path / "datasets" / "wide").rglob("part*.csv"))) == 40
    bad = write("bad.csv", "x\n1\n")
    assert "is missing" in other.gitdata("extend", "wide", bad, code=2).err
    other.gitdata("extend", "wide", write("more.csv", f"{header}\n{','.join(['99'] * 120)}\n"))
    assert other.gitdata("status", "--json").records[0]["missing"] == {}


def test_hdf5_grows_and_trains(world: World, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def write(name: str, count: int) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            x = generator.normal(size=(count, 4)).astype(np.float32)
            file["fields/x"] = x
            file["material"] = [["steel", "foam"][n % 2] for n in range(count)]
            file["y"] = x.sum(axis=1) + np.arange(count) % 2
        return path

    text = """
[data]
dataset = "h"
outputs = ["y"]
[network]
layers = [{ dense = 16 }, "tanh", { dense = "outputs" }]
[training]
epochs = 60
optimizer = { name = "adam", learning_rate = 0.01 }
"""
    world.clone.declare("m", text)
    world.clone.gitdata("add", "h", write("a.h5", 300), "--test", "0.2", "--outputs", "y", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    world.server.wait()
    world.clone.gitdata("extend", "h", write("b.h5", 100), "--test", "0.2", "-m", "more")
    world.clone.push()
    world.server.wait()
    versions = world.server.ledger()
    assert len(versions) == 2
    assert versions[0]["metrics"]["overall"]["mae"] < 0.3
    world.clone.gitdata("predict", "m@2", write("c.h5", 10), "-o", "p.csv")
    assert len((world.clone.path / "p.csv").read_text().splitlines()) == 11


def test_checkout_never_overwrites_what_somebody_changed(world: World) -> None:
    record = world.clone.gitdata("add", "d", world.lattice("a", 0, 1), "--json").records[0]
    world.clone.gitdata("checkout", "d")
    (file,) = (world.clone.path / "datasets" / "d").rglob("a.csv")
    world.clone.gitdata("checkout", "d")
    file.write_text("mine\n")
    assert "was changed" in world.clone.gitdata("checkout", f"d@{record['id'][:8]}", code=2).err
    assert file.read_text() == "mine\n"


def test_a_retracted_extension_is_no_longer_live_and_the_clean_version_returns(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    world.server.wait()
    more = ("extend", "lattice", world.lattice("more", 30, 36), "--json", "-m", "more")
    id = world.clone.gitdata(*more).records[0]["id"]
    world.clone.push()
    world.server.wait()
    world.clone.gitdata("promote", "lattice@2")
    retraction = world.clone.path / "datasets" / "lattice" / "retracted" / f"{id}.json"
    retraction.parent.mkdir()
    retraction.write_text(json.dumps({"format": 1, "id": id, "reason": "a broken solver"}))
    assert world.clone.gitdata("pending", "--json").records[0]["tainted"] == []  # not committed yet
    world.clone.commit("retract")
    assert world.clone.gitdata("pending", "--json").records[0]["tainted"] == [f"1.1.0-{id[:8]}"]
    world.clone.push()
    world.server.wait()
    assert [v["champion"] for v in world.server.ledger()] == [True, False]
    retraction.unlink()
    world.clone.commit("undo")
    assert world.clone.gitdata("status", "--json").records[0]["retracted"] == []


def test_a_reverted_interior_pointer_is_found_in_history(world: World) -> None:
    clone = world.clone
    clone.gitdata("add", "d", world.lattice("a", 0, 1), "-m", "a")
    clone.commit("settings")
    clone.gitdata("extend", "d", world.lattice("b", 1, 2), "-m", "b")
    interior = clone.git("rev-parse", "HEAD")
    clone.gitdata("extend", "d", world.lattice("c", 2, 3), "-m", "c")
    clone.git("revert", "--no-edit", interior)
    status = clone.gitdata("status", "--json").records[0]
    assert (status["extensions"], len(status["lost"]), status["retracted"], len(status["heads"])) == (2, 1, [], 1)
    clone.push()
    shallow = Clone(world.root / "shallow")
    clone.git("clone", "--quiet", "--depth", "1", f"file://{world.server.path}", str(shallow.path))
    shallow.gitdata("init")
    assert "--unshallow" in shallow.gitdata("status", code=4).err
    shallow.git("fetch", "--quiet", "--unshallow")
    assert shallow.gitdata("status", "--json").records[0]["extensions"] == 2


def test_a_killed_extend_leaves_nothing_that_lies_and_repeats(world: World) -> None:
    """Killed at the moment the pointer is about to be written: garbage in the cache, nothing else; then it works."""
    import subprocess
    import sys

    clone = world.clone
    clone.gitdata("add", "d", world.lattice("a", 0, 1), "-m", "a")
    before = fingerprint(clone.path / "datasets"), clone.git("status", "--porcelain", "--", "datasets")
    program = (
        "import os, signal; from gitdata.commands import extend; "
        "extend._write_pointer = lambda *a: os.kill(os.getpid(), signal.SIGKILL); "
        "from gitdata.cli import main; main(['extend', 'd', 'FILE'])"
    ).replace("FILE", str(world.lattice("b", 1, 2)))
    done = subprocess.run([sys.executable, "-c", program], cwd=clone.path, capture_output=True, check=False)
    assert done.returncode == -9
    assert (fingerprint(clone.path / "datasets"), clone.git("status", "--porcelain", "--", "datasets")) == before
    clone.gitdata("extend", "d", world.lattice("b", 1, 2))
    assert clone.gitdata("status", "--json").records[0]["missing"] == {}


@pytest.mark.parametrize("branch", ["main", "gitdata"])
def test_a_branch_called_gitdata_is_named(world: World, branch: str) -> None:
    world.clone.git("remote", "remove", "origin")
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    if branch == "gitdata":
        world.clone.git("branch", "gitdata")
        assert "a branch has the name" in world.clone.gitdata("train", "lattice", code=2).err
    else:
        world.clone.gitdata("train", "lattice")
