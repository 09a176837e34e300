"""What two versions have and have not in common, on real data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from branches import branch, grow, merge, start, switch
from world import World

from gitdata.commands import extend as command
from gitdata.commands.diff import diff
from gitdata.commands.intake import Request
from gitdata.report.differences import difference_lines


def test_rows_are_compared_as_multisets_without_a_blob(world: World) -> None:
    clone = world.clone
    start(world, 0, 4)
    branch(clone, "side")
    grow(world, "side", 6, 10)
    switch(clone, "main")
    grow(world, "main", 4, 8, version="1.2.0")
    merge(clone, "side")
    for path in (clone.path / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:  # rows, not indexes
            path.unlink()
    (record,) = diff(clone.repo, "lattice@1.1.0", "lattice@1.2.0", statistics=False)
    assert record["rows_in_both"] == 16 * 6  # the base, and the runs 6 and 7
    assert record["only_in_first"] == record["only_in_second"] == 16 * 2
    assert [len(record[f"extensions_of_{side}"]) for side in ("first", "second")] == [1, 1]
    (record,) = diff(clone.repo, "lattice@1.1.0", "lattice", statistics=False)
    assert (record["only_in_first"], record["only_in_second"]) == (0, 32)
    assert record["rows_of_second"]["train"] == 160
    (record,) = diff(clone.repo, "lattice", "lattice")
    assert (record["rows_in_both"], record["only_in_second"]) == (160, 0)


def test_later_lattice_runs_beside_earlier_ones(world: World) -> None:
    """The struts of later runs reach the corners of the domain; load cases are the same; names are of course new."""
    clone = world.clone
    start(world, 0, 50)
    grow(world, "later", 50, 107)
    records = diff(clone.repo, "lattice@1.0.0", "lattice@1.1.0")
    difference, domain, *fields = (record.to_json() for record in records)
    assert (difference["only_in_second"], difference["rows_in_both"]) == (57 * 16, 50 * 16)
    by_name = {field["id"]: field for field in fields}
    assert by_name["W_max"]["new"]["count"] == 57 * 16
    assert not by_name["scenario"]["drifted"]
    assert by_name["t1"]["drifted"]
    assert by_name["t1"]["old"]["maximum"] < by_name["t1"]["new"]["maximum"] == 1
    assert by_name["run"]["outside"] == domain["outside"] == 1
    assert 0.1 < by_name["t1"]["outside"] <= domain["outside_numbers"] < 0.5
    assert domain["outside"] >= max(field["outside"] for field in fields)
    shown = clone.gitdata("diff", "lattice@1.0.0", "lattice@1.1.0").out
    assert "800 rows in both, 0 only in lattice@1.0.0, 912 only in lattice@1.1.0" in shown
    assert "W_max" in shown


def test_a_row_that_is_repeated_counts_again(world: World) -> None:
    start(world, 0, 2)
    grow(world, "again", 1, 2)
    record, _, *fields = diff(world.clone.repo, "lattice@1.0.0", "lattice@1.1.0")
    assert (record["only_in_second"], record["rows_in_both"]) == (16, 32)
    assert all(field["outside"] == 0 for field in fields)


def test_the_whole_thing_in_a_fresh_clone_fetches_what_it_needs(world: World) -> None:
    start(world, 0, 2)
    grow(world, "more", 2, 3)
    world.clone.push("origin", "main")
    other = world.another_clone()
    (record,) = diff(other.repo, "lattice@1.0.0", "lattice@1.1.0", statistics=False)
    assert record["only_in_second"] == 16
    sizes = [path.stat().st_size for path in (other.path / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    assert sorted(sizes) == [16 * 8, 32 * 8]
    assert len(diff(other.repo, "lattice@1.0.0", "lattice@1.1.0")) > 3


def test_another_dataset_and_its_fields(world: World, tmp_path: Path) -> None:
    start(world, 0, 2)
    table = world.lattice("renamed", 1, 3)
    table.write_text(table.read_text().replace("W_max", "energy"))
    command.add(world.clone.repo, Request("other", [table], message="other"))
    record, *_ = diff(world.clone.repo, "lattice", "other")
    assert record["rows_in_both"] == 0  # the order of fields follows their names, so such rows are others
    assert any("'W_max' is missing" in sentence for sentence in record["fields"])
    assert any("energy" in line for line in difference_lines([record]))


def test_the_gas_sensors_drift(world: World, shared_data: Path) -> None:
    """Batches over 36 months: the sensors age, and nearly every one of the 128 features shows it."""
    clone = world.clone
    for number in (1, 4):
        with np.load(shared_data / "gas_drift" / f"batch{number}.npz") as batch:
            features = next(batch[name] for name in batch.files if batch[name].ndim == 2)
        path = world.root / f"batch{number}.csv"
        header = ",".join(f"s{n}" for n in range(features.shape[1]))
        np.savetxt(path, features, delimiter=",", header=header, comments="")
        make = command.add if number == 1 else command.extend
        make(clone.repo, Request("gas", [path], message=f"batch {number}"))
    _, domain, *fields = diff(clone.repo, "gas@1.0.0", "gas@1.1.0")
    assert sum(field["drifted"] for field in fields) > 0.8 * len(fields)
    assert domain["outside"] > 0.5


def test_what_does_not_exist_is_said(world: World) -> None:
    start(world, 0, 2)
    assert "has no version '9.0.0'" in world.clone.gitdata("diff", "lattice", "lattice@9.0.0", code=2).err
    shutil.rmtree(world.clone.path / ".dvc" / "cache" / "files")
    assert world.clone.gitdata("diff", "lattice@1.0.0", "lattice", code=4).err
