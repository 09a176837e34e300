"""Training as people and runners see it: it resumes, streams, stops when it diverges, and tests what it publishes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from world import Clone, World, wait_for

import gitdata
from gitdata.commands.evaluate import evaluate
from gitdata.commands.transfer import package_files
from gitdata.commands.trial import first_difference, waiting_trial
from gitdata.commands.watching import forget, watch
from gitdata.data.choice import Decision
from gitdata.errors import GitdataError
from gitdata.training import package
from gitdata.training.checkpoint import Saved
from gitdata.training.methods import Course
from gitdata.training.package import Package


@pytest.fixture
def alone(tmp_path: Path) -> Clone:
    """A repository without a remote, with a base of 96 rows and a declared model."""
    world = World.make(tmp_path, init=False)
    clone = world.clone
    clone.git("remote", "remove", "origin")
    clone.gitdata("init")
    clone.declare()
    clone.gitdata("add", "lattice", world.lattice("base", 0, 6), "--test", "0.2", "-m", "base")
    clone.commit("model")
    return clone


def champion(clone: Clone) -> Package:
    repo = clone.repo
    ledger = repo.ledger("lattice", repo.ledger_commit())
    entry = ledger.entries[str(ledger.champion)]
    return package.decode(package_files(repo, entry, lambda text: None))


def judged_rows(clone: Clone) -> dict[str, np.ndarray]:
    """The test rows that the champion was not trained on: of the base, all."""
    return gitdata.Repo(clone.path).dataset("lattice")["test"].to_numpy()


def same_weights(one: Package, other: Package) -> bool:
    return all((one.weights[name] == other.weights[name]).all() for name in one.weights) and all(
        (one.state[name] == other.state[name]).all() for name in one.state
    )


def test_a_killed_training_goes_on_and_publishes_the_same_weights(alone: Clone) -> None:
    alone.declare(**{"epochs = 20": "epochs = 3000"})
    alone.commit("longer")
    alone.git("config", "gitdata.checkpointSeconds", "0")
    checkpoints = alone.path / ".git" / "gitdata" / "checkpoints" / "lattice"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gitdata", "train", "lattice"],
        cwd=alone.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: checkpoints.is_dir() and any(checkpoints.glob("*-union-*")))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert alone.repo.ledger_commit() is None
    done = alone.gitdata("train", "lattice", env={"GITDATA_PROGRESS": "1"})
    assert "Going on after step" in done.err
    assert not checkpoints.exists()
    resumed = champion(alone)
    alone.git("update-ref", "-d", "refs/heads/gitdata/models")
    (alone.path / ".git" / "gitdata" / "ledgers" / "own").unlink()
    assert "Going on" not in alone.gitdata("train", "lattice", env={"GITDATA_PROGRESS": "1"}).err
    assert same_weights(resumed, champion(alone))


# Whoever runs tests in the background ignores SIGINT, and so would what they start.
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from gitdata.__main__ import main
main()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_so_and_goes_on(alone: Clone, stop: signal.Signals) -> None:
    """Also whoever ends it politely: the step that it stood at is kept, however long ago the last checkpoint was."""
    alone.declare(**{"epochs = 20": "epochs = 1000000"})
    alone.commit("longer")
    checkpoints = alone.path / ".git" / "gitdata" / "checkpoints" / "lattice"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HEARING, "train", "lattice", "--json"],
        cwd=alone.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["kind"] == "epoch"
    assert not checkpoints.exists()
    process.send_signal(stop)
    _, said = process.communicate()
    assert process.returncode == 130, said
    found = re.fullmatch(r"gitdata: Interrupted after step (\d+) of 3000000; .*goes on from there\.\n", said)
    assert found, said
    assert [path.name.split("-")[1] for path in checkpoints.iterdir()] == ["union"]
    assert alone.repo.ledger_commit() is None
    again = subprocess.Popen(
        [sys.executable, "-P", "-m", "gitdata", "train", "lattice"], env=os.environ | {"GITDATA_PROGRESS": "1"},
        cwd=alone.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert again.stderr is not None
    lines = iter(again.stderr.readline, "")
    assert f"Going on after step {found[1]} from a checkpoint.\n" in lines
    again.kill()
    again.communicate()


def test_rungs_of_one_name_have_checkpoints_of_their_own(alone: Clone) -> None:
    """A ladder may name one method twice, with other options: the second is no damage of the first."""
    task = cast(Any, SimpleNamespace(repo=alone.repo, model="lattice", say=lambda text: None))
    decision = Decision("train", "unseen data", "a" * 64, None)
    courses = [Course("finetune", digit * 64, 1, 1, 1, 1, lambda weights: None) for digit in "12"]
    looking = [watch(task, decision, frozenset(), None)(course) for course in (*courses, courses[0])]
    first, second, again = [onlookers.checkpoint for onlookers in looking]
    assert first is not None
    assert second is not None
    assert again is not None
    first.write(Saved(5, {}, 1.0))
    second.write(Saved(7, {}, 1.0))
    assert again.read() == Saved(5, {}, 1.0)
    forget(alone.repo, "lattice")
    assert again.read() is None


def test_rows_beyond_the_limit_are_streamed_and_judged_alike(alone: Clone) -> None:
    alone.gitdata("train", "lattice")
    in_memory = champion(alone)
    metrics = alone.gitdata("evaluate", "lattice", "--json").records[0]["metrics"]
    alone.git("config", "gitdata.trainMemory", "1k")
    assert alone.gitdata("evaluate", "lattice", "--json").records[0]["metrics"] == metrics
    done = alone.gitdata("train", "lattice", "--force", "--method", "union", "--json").records[-1]
    assert done["verdict"] != "refused"
    streamed = champion(alone)
    assert (streamed.trained_rows == in_memory.trained_rows).all()
    for own, other in zip(streamed.preprocessing.inputs, in_memory.preprocessing.inputs, strict=True):
        assert own.name == other.name
        assert own.width == other.width
    alone.git("config", "gitdata.trainMemory", "much")
    assert "no number of bytes" in alone.gitdata("train", "lattice", "--force", code=2).err


def test_divergence_names_step_and_rows_and_keeps_the_champion(alone: Clone) -> None:
    alone.gitdata("train", "lattice")
    before = champion(alone)
    alone.declare(**{'{ name = "adam", learning_rate = 3e-3 }': '{ name = "sgd", learning_rate = 100.0 }'})
    alone.declare(text=(alone.path / "models" / "lattice.toml").read_text().replace('"mae"\nmetrics', '"mse"\nmetrics'))
    alone.commit("wild")
    done = alone.gitdata("train", "lattice", "--force", "--method", "union", code=2)
    assert "no finite number at step" in done.err
    assert "in lattice@1.0.0" in done.err
    assert same_weights(before, champion(alone))


def test_a_first_version_that_is_worse_than_the_mean_says_so(alone: Clone) -> None:
    alone.declare(**{"epochs = 20": "epochs = 1", "learning_rate = 3e-3": "learning_rate = 50.0"})
    alone.commit("wild")
    assert "worse than answering with the mean" in alone.gitdata("train", "lattice").out
    alone.declare()
    alone.commit("tame")
    assert "worse than answering" not in alone.gitdata("train", "lattice", "--force", "--method", "union").out


def test_epochs_are_records_with_json_and_lines_of_a_log(alone: Clone) -> None:
    done = alone.gitdata("train", "lattice", "--json")
    *epochs, training = done.records
    assert training["kind"] == "training"
    assert [record["epoch"] for record in epochs] == list(range(1, 21))
    assert epochs[-1]["step"] == epochs[-1]["steps"]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["remaining"] == 0
    assert done.err == ""
    logged = alone.gitdata("train", "lattice", "--force", "--method", "union", env={"GITDATA_PROGRESS": "1"})
    assert len([line for line in logged.err.splitlines() if line.startswith("{")]) == 20
    assert not logged.out.startswith("{")


def test_people_see_what_a_run_depends_on_and_when_it_ended(alone: Clone) -> None:
    alone.declare(**{"epochs = 20": "epochs = 400\nearly_stopping = { patience = 2 }", "3e-3": "5e-2"})
    alone.commit("patient")
    *epochs, training = alone.gitdata("train", "lattice", "--json").records
    assert training["kind"] == "training"
    assert {record["metric"] for record in epochs} == {"loss"}
    assert all(record["validation"] is not None and record["rate"] > 0 for record in epochs)
    after = epochs[-1]["epoch"]
    best = min(epochs, key=lambda record: record["validation"])["epoch"]
    assert 2 < after == best + 2 < 400
    ledger = alone.git("ls-tree", "-r", "--name-only", "gitdata/models").splitlines()
    card = alone.git("show", f"gitdata/models:{next(path for path in ledger if path.endswith('.md'))}")
    words = f"stopped after epoch {after} of 400; the best was epoch {best}"
    assert f"- union {words}" in card
    again = alone.gitdata("train", "lattice", "--force", "--method", "union", env={"GITDATA_PROGRESS": "1"})
    assert f"; {words}\n" in again.err


def test_the_log_of_a_job_shows_epochs_as_people_read_them(alone: Clone) -> None:
    spool = alone.repo.state / "jobs"
    record = alone.gitdata("train", "lattice", "--json").records[3]
    for folder in ("logs", "done"):
        (spool / folder).mkdir(parents=True)
    (spool / "done" / "20260101-000000-abc").write_text("- - refs/heads/main\n")
    log = f"Training from scratch.\n{json.dumps(record)}\n{{not json\nlattice 1: done\n"
    (spool / "logs" / "20260101-000000-abc.log").write_text(log)
    shown = alone.gitdata("logs").out.splitlines()
    assert (shown[0], shown[2], shown[3]) == ("Training from scratch.", "{not json", "lattice 1: done")
    assert shown[1].startswith(f"union: epoch 4/20  loss {record['loss']:.4g}  ")
    assert alone.gitdata("logs", "--json").records == [record]


def test_a_fresh_process_must_find_what_was_judged(alone: Clone) -> None:
    alone.gitdata("train", "lattice")
    found = champion(alone)
    repo = alone.repo
    record = evaluate(repo, "lattice", None)
    files = package.encode(found)
    text = (alone.path / "models" / "lattice.toml").read_text()
    columns = judged_rows(alone)
    changed = dict(found.weights)
    changed["dense.0.kernel"] = changed["dense.0.kernel"] * np.float32(1.05)
    spoilt = package.encode(Package(found.plan, found.preprocessing, changed, found.state, 0, {}, found.trained_rows))
    cache = Path(os.environ["GITDATA_COMPILE_CACHE"])
    with waiting_trial(cache) as trial:
        trial.require("lattice", text, files, columns, record["metrics"])
    with (
        waiting_trial(cache) as trial,
        pytest.raises(GitdataError, match=r"overall\.\w+ was .* in a fresh process it is"),
    ):
        trial.require("lattice", text, spoilt, columns, record["metrics"])
    with waiting_trial(cache) as trial, pytest.raises(GitdataError, match=r"could not use it: .*weights"):
        trial.require("lattice", text, {**files, "weights.safetensors": b""}, columns, record["metrics"])
    with waiting_trial(cache):
        pass


def test_metrics_that_differ_are_named() -> None:
    assert first_difference({"a": {"b": [1.0, 2]}}, {"a": {"b": [1.00001, 2]}}) is None
    assert first_difference({"a": float("nan")}, {"a": float("nan")}) is None
    assert first_difference({"a": 1.0}, {"a": 1.01}) == "metrics.a was 1, in a fresh process it is 1.01"
    assert "other things were measured (b)" in str(first_difference({"a": 1.0}, {"a": 1.0, "b": 2.0}))
