"""`gitdata check` in repositories: real data, exit codes, and what other commands say of a model that does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from world import Clone, World

import gitdata
from gitdata.commands.records import Record
from gitdata.data import rows
from gitdata.errors import Mendable

BROKEN = """
[data]
dataset = "lattice"
inputs = ["t1", "t2", "scenario"]
outputs = ["W_max"]
transform = { outputs = "log10" }
[network]
layers = [{ dense = 8 }, "relu", { dense = "outputs" }, "relu"]
"""
OUTLIER = (
    "20201201_000000,2020-12-01 00:00:00,99.5,0.275,0.785,torsion,compression,-0.3,0.343,0.00017,0.00017,0.00034\n"
)


def found(clone: Clone, model: str, *, quick: bool = False) -> dict[str, Record]:
    """Findings by rule."""
    records = gitdata.Repo(clone.path).check(model, quick=quick)
    assert records[0].kind == "model check"
    assert records[0]["errors"] + records[0]["warnings"] == len(records) - 1
    return {record["rule"]: record for record in records[1:]}


def refused(clone: Clone, model: str) -> str:
    """What is said of a declaration that cannot be held against anything."""
    with pytest.raises(Mendable) as error:
        gitdata.Repo(clone.path).check(model)
    return error.value.message


def test_what_lies_in_the_work_tree_counts(world: World) -> None:
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("a", 0, 60), "--test", "0.3")  # staged, not committed
    clone.declare()
    done = clone.gitdata("check", "lattice")
    assert "lattice fits its data: nothing was found." in done.out
    assert "scenario  text     one-hot of 8" in done.out
    assert "all                    11,842" in done.out
    assert "P_peak  float64  log10, standardised" in done.out
    quick = clone.gitdata("check", "lattice", "--quick")
    assert "scenario, dir have is not known" in quick.out
    assert not list((clone.path / "datasets").rglob("*.csv"))


def test_errors_are_findings_and_a_broken_file_is_for_a_person(world: World) -> None:
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("a", 0, 60), "--test", "0.3")
    clone.declare("broken", BROKEN)
    done = clone.gitdata("check", "broken", code=1)
    assert "error: layer 4 (relu) makes numbers from 0; the targets of 'W_max' go from" in done.out
    assert '→ Leave it out, or declare scaling = { W_max = "minmax" }.' in done.out
    clone.declare("broken", BROKEN.replace('"scenario"', '"scenari"').replace('"relu"]', '"identity"]'))
    (finding,) = found(clone, "broken", quick=True).values()
    assert (finding["field"], finding["remedy"]) == ("scenari", "Is 'scenario' meant?")
    clone.declare("broken", BROKEN.replace("[network]", "[network"))
    done = clone.gitdata("check", "broken", code=2)
    assert "models/broken.toml is not valid TOML" in done.err
    assert "at line 7, column 9" in done.err
    clone.declare("broken", BROKEN.replace("transform =", "scalign ="))
    assert "'data.scalign' is unknown; is 'scaling' meant?" in refused(clone, "broken")
    assert "declared models: broken" in refused(clone, "nothing")
    clone.declare("broken", BROKEN.replace('"lattice"', '"latice"'))
    assert "There is no dataset 'latice'" in refused(clone, "broken")


def test_training_stops_before_it_computes(world: World) -> None:
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("a", 0, 10), "--test", "0.3")
    clone.declare("broken", BROKEN)
    clone.commit("a")
    done = clone.gitdata("train", "broken", code=2)
    assert "models/broken.toml: layer 4 (relu) makes numbers from 0" in done.err
    assert "gitdata check broken" in done.err
    assert clone.gitdata("models", "--json").records == []


def test_extend_and_push_say_which_model_does_not_fit(world: World) -> None:
    clone = world.clone
    clone.declare("broken", BROKEN)
    clone.declare()
    done = clone.gitdata("add", "lattice", world.lattice("a", 0, 4), "--test", "0.3", "-m", "a")
    line = "models/broken.toml: layer 4 (relu) makes numbers from 0"
    assert done.out.count(line) == 1
    assert "models/lattice.toml" not in done.out
    assert "(gitdata check broken)" in done.out
    clone.declare("half", "[data]\n")
    clone.commit("models")
    said = clone.push("origin", "HEAD:feature")
    assert said.count(line) == 1
    assert "models/half.toml, line 1: 'data.dataset' is missing." in said
    clone.declare("broken", BROKEN.replace('"relu"]', '"identity"]'))
    assert line not in clone.gitdata("extend", "lattice", world.lattice("b", 4, 6), "-m", "b").out


def test_rows_far_from_what_the_champion_was_fitted_to_are_pointed_at(world: World) -> None:
    clone = world.clone
    clone.git("remote", "remove", "origin")  # so that what is trained here becomes the champion
    clone.gitdata("add", "lattice", world.lattice("a", 0, 60), "--test", "0.3", "-m", "a")
    clone.declare("lattice", **{"epochs = 20": "epochs = 2", "tolerance = 0.02": "tolerance = 9"})
    clone.commit("model")
    clone.gitdata("train", "lattice")
    path = world.lattice("b", 60, 61)
    path.write_text(path.read_text() + OUTLIER)
    clone.gitdata("extend", "lattice", path, "-m", "b")
    records = gitdata.Repo(clone.path).check("lattice")[1:]
    news = {record["field"]: record["text"] for record in records if record["rule"] == "outside-seen"}
    assert news.keys() == {"t1", "scenario"}
    assert "in 1 row; the farthest is 99.5" in news["t1"]
    assert "torsion" in news["scenario"]
    done = clone.gitdata("train", "lattice", "--method", "finetune", env={"GITDATA_PROGRESS": "1"})
    assert "Warning: 't1' lies far outside what was trained on" in done.err


def test_train_rows_that_are_all_held_out_are_an_error(world: World, tmp_path: Path) -> None:
    clone = world.clone
    values = np.arange(1.0, 200.0)
    held_out = rows.in_fraction(rows.digests({"x": values}, ["x"])[:, 0], 0.1, "holdout")
    file = tmp_path / "one.csv"
    file.write_text("".join(["x,y\n", *(f"{values[held_out][0]},{y}.5\n" for y in range(3))]))
    clone.gitdata("add", "one", file)
    text = '[data]\ndataset = "one"\ninputs = ["x"]\noutputs = ["y"]\n[network]\nlayers = [{ dense = "outputs" }]\n'
    clone.declare("one", text)
    finding = found(clone, "one")["held-out"]
    assert finding["level"] == "error"
    assert "--validation" in finding["remedy"]
    file.write_text("".join(["x,y\n", *(f"{values[~held_out][0]},{y}.5\n" for y in range(5, 8))]))
    clone.gitdata("extend", "one", file)
    assert "held-out" not in found(clone, "one")


def test_images_and_many_features(world: World, shared_data: Path) -> None:
    clone = world.clone
    clone.gitdata("add", "gas", shared_data / "gas_drift" / "batch4.npz", "--test", "0.2")
    clone.declare(
        "gas",
        '[data]\ndataset = "gas"\ninputs = ["x"]\noutputs = ["gas"]\n[network]\n'
        'layers = [{ dense = 16 }, "relu", { dense = "outputs" }, "softmax"]\n[training]\nloss = "cross_entropy"\n',
    )
    (finding,) = [finding for finding in found(clone, "gas").values() if finding["level"] == "error"]
    assert (finding["rule"], finding["layer"]) == ("activation-before-loss", "layer 4 (softmax)")
    record = gitdata.Repo(clone.path).check("gas", quick=True)[0]
    assert record["inputs"] == [{"name": "x", "dtype": "float64", "shape": (128,), "coding": "standardised"}]


def test_by_the_schema_alone_nothing_heavy_is_loaded(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.3")
    heavy = ("jax", "flax", "optax", "numpy", "scipy", "dvc", "h5py", "rich", "pyarrow")
    program = (
        "import sys; from gitdata import cli; code = cli._run(['check', 'lattice', '--quick']); "
        f"print([m for m in {heavy!r} if m in sys.modules], code)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=world.clone.path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
