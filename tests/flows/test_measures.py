"""The measures of a chain of real data, from its ledger: three extensions, versions that saw them, and what is said."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from world import World

import gitdata
from gitdata.commands.records import Record
from gitdata.report.measures import compared_lines
from gitdata.report.tables import comparison_lines


def test_the_matrix_of_three_extensions_follows_from_the_ledger(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    lab = world.clone
    lab.git("remote", "remove", "origin")
    lab.gitdata("init")
    lenient = {"tolerance = 0.02": "tolerance = 9.0\nforgetting = false"}  # every version becomes champion
    lab.declare(**{'["finetune", "rehearse", "union"]': '["rehearse"]'}, **lenient)
    lab.commit("model")
    for number, (start, stop) in enumerate(pairwise([0, 12, 20, 28])):
        file = world.lattice(f"part{number}", start, stop)
        lab.gitdata("extend" if number else "add", "lattice", file, "--test", "0.25", "-m", f"part {number}")
        lab.gitdata("train", "lattice")
    versions = lab.gitdata("models", "lattice", "--json").records
    (record,) = lab.gitdata("measures", "lattice@3", "--json").records
    assert record["versions"] == [1, 2, 3]
    assert [name.partition("-")[0] for name in record["extensions"]] == [f"lattice@1.{n}.0" for n in range(3)]
    ids = [id for version in versions for id in version["added"]]
    for number, (row, version) in enumerate(zip(record["matrix"], versions, strict=True), 1):
        assert row[:number] == [version["metrics"]["extensions"][id]["loss"] for id in ids[:number]]
    first, second, _ = record["matrix"]
    assert [first[1] is None, first[2], second[2] is None] == [False, None, False]  # met by the version after it
    last = record["matrix"][-1]
    assert record["backward_transfer"] == pytest.approx(
        sum(record["matrix"][j][j] - last[j] for j in range(2)) / 2, abs=1e-6
    )
    assert 0 < record["sample_touch_ratio"] < 1
    shown = lab.gitdata("measures", "lattice@3").out
    assert "lattice@1.2.0" in shown
    assert "backward transfer" in shown
    (compared,) = lab.gitdata("compare", "lattice@3", "lattice@1", "--json").records
    assert [part["loss"] for part in compared["by_extension"]] == pytest.approx(last, rel=1e-4)
    assert compared["measures"]["forgetting"] == record["forgetting"]
    assert compared["measures_of_other"]["forgetting"] is None
    said = comparison_lines(Record(compared["kind"], compared["id"], compared))
    assert [line.partition("(")[0] for line in said if "test rows of l" in line] == [
        f"  test rows of {name} " for name in record["extensions"]
    ]
    assert "  forgetting: " in "".join(compared_lines(compared["measures"], compared["measures_of_other"]))
    assert gitdata.Repo(lab.path).model("lattice@3").measures() == json.loads(json.dumps(record))
