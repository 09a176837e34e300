"""The gate as people meet it: forgetting, slices, conditions, superiority, and who spoils a candidate; on concrete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import Clone, World, run_gitdata

NAMES = [*"abcdefgh", "strength"]
TEXT = """
[data]
dataset = "concrete"
outputs = ["strength"]

[network]
layers = [{ dense = 48 }, "relu", { dense = 24 }, "relu", { dense = "outputs" }]

[training]
epochs = 60
loss = "mae"
optimizer = { name = "adam", learning_rate = 3e-3 }
schedule = "cosine"

[retraining]
method = "finetune"

[deployment]
"""
PARTS = ("--test", "0.25", "--validation", "0.15")

Rows = np.ndarray


@pytest.fixture(scope="module")
def concrete(shared_data: Path) -> Rows:
    """Concrete by the first input: what comes last is a new domain."""
    rows = np.loadtxt(shared_data / "uci" / "concrete.data.csv.gz", delimiter=",")
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return np.asarray(rows[np.argsort(rows[:, 0], kind="stable")])


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Rows], Path]:
    """A CSV file of some rows."""
    made: list[Path] = []

    def write(rows: Rows) -> Path:
        path = tmp_path / f"rows{len(made)}.csv"
        made.append(path)
        np.savetxt(path, rows, delimiter=",", header=",".join(NAMES), comments="", fmt="%.8g")
        return path

    return write


@pytest.fixture
def alone(tmp_path: Path) -> Clone:
    world = World.make(tmp_path, init=False)
    world.clone.git("remote", "remove", "origin")
    world.clone.gitdata("init")
    return world.clone


def begin(clone: Clone, rows: Path, deployment: str = "", **more: str) -> dict[str, Any]:
    """A base, a model, and its first training."""
    clone.declare("concrete", TEXT + deployment, **more)
    clone.gitdata("add", "concrete", rows, *PARTS, "-m", "base")
    clone.commit("a model")
    return train(clone)


def train(clone: Clone, code: int = 0, *more: str) -> dict[str, Any]:
    return clone.gitdata("train", "concrete", "--json", *more, code=code).records[-1]


def extend(clone: Clone, rows: Path, *more: str) -> None:
    clone.gitdata("extend", "concrete", rows, *(more or PARTS), "-m", "more")


def against(record: dict[str, Any], role: str) -> dict[str, Any]:
    return next(c for c in record["comparisons"] if c["against"] == role)


def test_a_candidate_that_forgot_is_refused_though_it_is_better_overall(
    alone: Clone, concrete: Rows, table: Callable[[Rows], Path]
) -> None:
    """Fine-tuned on a new domain alone; `tolerance` lets it pass over all rows, `forgetting` does not."""
    begin(alone, table(concrete[:600]), "tolerance = 2.0\n")
    extend(alone, table(concrete[700:]))
    refused = train(alone, 6)
    assert (refused["verdict"], refused["champion"]) == ("refused", False)
    assert against(refused, "champion")["verdict"] != "refused"
    seen = against(refused, "seen")
    assert seen["verdict"] == "refused"
    assert seen["rows"] > 140
    assert seen["lower"] > 1.05
    assert f"on {seen['rows']} test rows of what that had seen" in refused["reason"]
    assert "worse than forgetting allows" in refused["reason"]
    assert "these rows show a difference of" in refused["reason"]
    table_of_versions = alone.gitdata("models").out
    assert "on seen" in table_of_versions
    assert "detectable" in table_of_versions
    slices = "slices = { a = [-50, 0, 100], h = [10000] }\n"
    alone.declare("concrete", TEXT + f"tolerance = 2.0\nforgetting = false\n{slices}")
    alone.commit("forgetting is fine, but not everywhere")
    refused = train(alone, 6, "--force")
    found = {c["against"]: c for c in refused["comparisons"]}
    assert found.keys() == {
        "champion", "slice a < -50", "slice a from -50 to 0", "slice a from 0 to 100", "slice a ≥ 100"
    }  # fmt: skip
    assert {c["verdict"] for c in found.values()} > {"accepted", "refused"} - {found["slice a ≥ 100"]["verdict"]}
    assert max(c["confidence"] for c in found.values()) == 0.9875
    assert "worse than slice_tolerance allows" in refused["reason"]
    alone.declare("concrete", TEXT + f"tolerance = 2.0\nforgetting = false\nslice_tolerance = false\n{slices}")
    alone.commit("nor on slices")
    assert train(alone, 0, "--force")["verdict"] == "accepted"


def card(clone: Clone, number: int) -> str:
    names = clone.git("ls-tree", "-r", "--name-only", "gitdata/models").splitlines()
    name = next(name for name in names if name.endswith(".md") and f"/{number}-" in name)
    return clone.git("show", f"gitdata/models:{name}")


def test_conditions_hold_for_a_first_version_too(alone: Clone, concrete: Rows, table: Callable[[Rows], Path]) -> None:
    conditions = 'slices = { a = [0] }\nconditions = ["r2 >= 0.99", "mae <= 0.9 where a < 0"]\n'
    clone, rows = alone, np.random.default_rng(1).permutation(concrete)
    clone.declare("concrete", TEXT + conditions)
    clone.gitdata("add", "concrete", table(rows[:600]), *PARTS, "-m", "base")
    clone.commit("a model")
    refused = train(clone, 6)
    assert (refused["verdict"], refused["champion"]) == ("refused", False)
    value = refused["conditions"][0]["value"]
    assert refused["metrics"]["overall"]["r2"] == value
    assert refused["reason"].startswith(f"r2 is {value:.4g}, and >= 0.99 is declared")
    assert [condition["met"] for condition in refused["conditions"]] == [False, True]
    assert "no champion" in clone.gitdata("status").out
    assert "| r2 >= 0.99 |" in card(clone, 1)
    assert train(clone)["action"] == "nothing"
    clone.gitdata("promote", "concrete@1", "-m", "good enough")
    assert clone.gitdata("models", "--json").records[0]["champion"]


def test_a_condition_of_which_no_test_row_says_anything_waits_for_one(
    alone: Clone, concrete: Rows, table: Callable[[Rows], Path]
) -> None:
    deployment = 'slices = { a = [200] }\nconditions = ["mae <= 5 where a >= 200"]\n'
    low, high = concrete[concrete[:, 0] < 200][:600], concrete[concrete[:, 0] >= 200]
    waiting = begin(alone, table(low), deployment)
    assert (waiting["verdict"], waiting["champion"]) == ("waiting", False)
    assert waiting["reason"].startswith("no test row says whether mae <= 5 where a >= 200")
    alone.gitdata("extend", "concrete", "--test", table(high), "-m", "tests")
    accepted = train(alone)
    assert (accepted["action"], accepted["verdict"], accepted["champion"]) == ("gate", "accepted", True)


def test_superiority_accepts_what_is_surely_better_alone(
    alone: Clone, concrete: Rows, table: Callable[[Rows], Path]
) -> None:
    rows = np.random.default_rng(2).permutation(concrete)
    begin(alone, table(rows[:150]), 'mode = "superiority"\n', finetune="union")
    extend(alone, table(rows[150:158]), "--validation", "0.1")
    close = train(alone)
    assert (close["verdict"], close["champion"]) == ("undecided", False)
    assert "not surely better; the champion stays" in close["reason"]
    extend(alone, table(rows[158:900]))
    better = train(alone)
    assert (better["verdict"], better["champion"]) == ("accepted", True)
    assert against(better, "champion")["upper"] < 1
    assert ": surely better" in better["reason"]


@pytest.mark.parametrize("spoil", ["shuffled", pytest.param("wrong unit", marks=pytest.mark.slow)])
def test_after_two_refusals_the_extension_that_spoils_the_rest_is_named(
    alone: Clone, concrete: Rows, table: Callable[[Rows], Path], spoil: str
) -> None:
    rows = np.random.default_rng(3).permutation(concrete)
    settings = {"finetune": "rehearse", "epochs = 60": "epochs = 200", 'loss = "mae"': 'loss = "mse"'}
    bad = rows[500:800].copy()
    bad[:, -1] = np.random.default_rng(4).permutation(bad[:, -1]) if spoil == "shuffled" else bad[:, -1] * 145  # psi
    begin(alone, table(rows[:400]), "tolerance = 0.05\n", **settings)
    extend(alone, table(rows[400:500]))
    extend(alone, table(bad), "--validation", "0.15")
    first = train(alone, 6)
    assert first["suspects"] == []
    extend(alone, table(rows[800:950]))
    second = alone.gitdata("train", "concrete", code=6, env={"GITDATA_PROGRESS": "1"})
    assert "which of 3 pending extensions spoils it?" in second.err
    assert "concrete@1.2.0 spoils the rest: gitdata retract concrete@1.2.0 --reason …" in second.out
    version = alone.gitdata("models", "--json").records[-1]
    (suspect,) = version["suspects"]
    assert suspect["name"] == "concrete@1.2.0"
    assert suspect["ratio"] <= 1.05 < suspect["ratio_with"]
    for command in ("status", "pending"):
        assert "concrete@1.2.0 spoils the rest" in alone.gitdata(command).out
    assert "without concrete@1.2.0 within the tolerance" in " ".join(alone.gitdata("models").out.split())
    assert train(alone)["action"] == "nothing"
    alone.gitdata("retract", "concrete@1.2.0", "--reason", "spoilt", "-m", "retracted")
    good = train(alone)
    assert good["champion"], good
    assert alone.gitdata("pending", "--json").records[0]["suspects"] == []


def test_test_rows_that_were_trained_on_are_left_out_and_said(
    alone: Clone, concrete: Rows, table: Callable[[Rows], Path]
) -> None:
    rows = np.random.default_rng(5).permutation(concrete)
    alone.declare("concrete", TEXT)
    alone.gitdata("add", "concrete", table(rows[:400]), "--test", table(rows[380:480]), "-m", "base")
    alone.commit("a model")
    first = train(alone)
    left_out = first["left_out"]
    assert 0 < left_out <= 20
    assert first["test_rows"] == 100 - left_out
    assert f"; {left_out} test rows that it was trained on left out" in first["reason"]
    extend(alone, table(rows[480:700]), "--validation", "0.1")
    second = run_gitdata("train", "concrete", "--json", cwd=alone.path).records[-1]
    assert against(second, "champion")["rows"] == second["test_rows"] == 100 - second["left_out"]


DIGITS = """
[data]
dataset = "digits"
inputs = ["image"]
outputs = ["digit"]
scaling = { image = "image" }

[network]
layers = ["flatten", { dense = 32 }, "relu", { dense = "outputs" }]

[training]
epochs = 15
loss = "cross_entropy"
optimizer = { name = "adam", learning_rate = 1e-3 }
"""


@pytest.mark.slow
def test_what_is_taken_for_a_new_class_is_not_forgotten(alone: Clone, shared_data: Path, tmp_path: Path) -> None:
    """Fours and sevens look like nines: their cross-entropy rises when these come, whatever learns them."""
    with np.load(shared_data / "mnist10k" / "mnist10k.npz") as found:
        images, digits = found["x"].reshape(-1, 28, 28), found["y"].astype(np.int64)
    for name, classes in (("base", (3, 4, 5, 7)), ("more", (9,))):
        chosen = np.isin(digits, classes)
        np.savez(tmp_path / f"{name}.npz", image=images[chosen], digit=digits[chosen])
    alone.declare("digits", DIGITS)
    alone.gitdata("add", "digits", tmp_path / "base.npz", *PARTS, "-m", "base")
    alone.commit("a model")
    alone.gitdata("train", "digits")
    alone.gitdata("extend", "digits", tmp_path / "more.npz", *PARTS, "-m", "nines")
    learned = alone.gitdata("train", "digits", "--json").records[-1]
    assert (learned["verdict"], learned["method"]) == ("accepted", "rehearse")
    assert against(learned, "seen")["ratio"] < 1.05
