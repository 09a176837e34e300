"""A clone that retrains, a person's word on versions, retraction, and many at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from world import PATIENCE, Clone, World, run, wait_for

from gitdata.automation import hooks
from gitdata.automation.jobs import Job, Spool
from gitdata.automation.watch import wait_until_idle

pytestmark = pytest.mark.slow  # many processes: the default suite stays short


def settled(clone: Clone) -> Job:
    """The last job of a clone that retrains, once it has ended well."""
    spool = Spool(clone.path / ".git" / "gitdata")
    assert wait_until_idle(spool, PATIENCE)
    job = spool.jobs()[-1]
    assert job.state == "done", (job, (spool.logs / f"{job.id}.log").read_text())
    return job


def versions(clone: Clone) -> list[tuple[int, str, bool]]:
    return [(v["number"], v["verdict"], v["champion"]) for v in clone.gitdata("models", "--json").records]


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("training"))
    hooks.uninstall(world.server.repo)
    world.clone.gitdata("install", "--train")
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("a", 0, 20), "--test", "0.2", "-m", "a")
    world.clone.commit("model")
    assert "looks for models that have something to learn" in world.clone.push("origin", "main")
    world.clone.git("branch", "--set-upstream-to=origin/main")
    settled(world.clone)
    assert versions(world.clone) == [(1, "accepted", True)]
    return world


@pytest.fixture
def training(first: World, tmp_path: Path) -> World:
    """A plain bare server, and a clone that retrains; a base and a model are there, and trained."""
    return first.copy(tmp_path)


def extend(world: World, clone: Clone, name: str, first: int, last: int) -> None:
    clone.gitdata("extend", "lattice", world.lattice(name, first, last), "--test", "0.2", "-m", name)


def test_what_is_pulled_and_what_is_pushed_is_trained_once_and_published(training: World) -> None:
    clone, other = training.clone, training.another_clone()
    extend(training, other, "theirs", 20, 30)
    other.push("origin", "main")
    clone.git("pull", "--quiet", "--ff-only")
    settled(clone)
    assert [v["number"] for v in other.gitdata("models", "--json").records] == [1, 2]
    extend(training, clone, "mine", 30, 40)
    assert len(versions(clone)) == 2  # a commit alone wakes nobody
    clone.push("origin", "main")
    settled(clone)
    assert [number for number, _, _ in versions(clone)] == [1, 2, 3]
    jobs = len(Spool(clone.path / ".git" / "gitdata").jobs())
    clone.push("origin", "main")
    clone.git("checkout", "--quiet", "-b", "side")
    clone.git("checkout", "--quiet", "main")
    assert len(Spool(clone.path / ".git" / "gitdata").jobs()) == jobs


def test_a_merge_that_is_not_pushed_is_an_experiment_and_its_push_gates_it_as_it_is(training: World) -> None:
    clone, other = training.clone, training.another_clone()
    extend(training, other, "theirs", 20, 30)
    other.push("origin", "main")
    extend(training, clone, "mine", 30, 40)
    clone.git("pull", "--quiet", "--no-rebase", "--no-edit")
    settled(clone)
    assert versions(clone)[-1] == (2, "experiment", False)
    clone.push("origin", "main")
    settled(clone)
    number, verdict, _ = versions(clone)[-1]
    assert (number, verdict != "experiment") == (2, True)


def test_a_push_by_url_is_confirmed_by_the_next_wake_up(training: World) -> None:
    clone = training.clone
    extend(training, clone, "mine", 20, 30)
    clone.git("push", "--quiet", str(training.server.path), "HEAD:main")
    assert len(versions(clone)) == 1
    clone.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    settled(clone)
    assert [number for number, _, _ in versions(clone)] == [1, 2]


def test_a_person_goes_back_during_a_training_and_keeps_the_last_word(training: World) -> None:
    """The candidate was trained from what a person rolled back meanwhile: it may not become champion."""
    clone = training.clone
    extend(training, clone, "more", 20, 30)
    clone.push("origin", "main")
    settled(clone)
    clone.gitdata("promote", "lattice@2", "-m", "so that there is something to roll back")
    extend(training, clone, "slow", 30, 40)
    clone.git("push", "--quiet", "origin", "main", env={"GITDATA_SKIP_TRAIN": "1"})
    program = (
        "import sys; from gitdata.commands import train, settle; from gitdata.repo import Repo; run = train._climb\n"
        "def climb(*a):\n    outcome = run(*a)\n    settle.rollback(Repo('.'), 'lattice', None, 'bad')\n"
        "    return outcome\n"
        "train._climb = climb\nfrom gitdata.cli import main; main(['train', 'lattice'])"
    )
    done = run(sys.executable, "-P", "-c", program, cwd=clone.path)
    assert done.code == 0, done
    assert versions(clone) == [(1, "accepted", True), (2, "rolled back", False), (3, "experiment", False)]
    assert "nothing to do" in clone.gitdata("train", "lattice").out


def test_reject_and_rollback_say_who_and_why_and_refuse_what_makes_no_sense(training: World) -> None:
    clone = training.clone
    assert "is the champion" in clone.gitdata("reject", "lattice@1", code=2).err
    assert "no champion before" in clone.gitdata("rollback", "lattice", code=2).err
    assert "names no version" in clone.gitdata("reject", "lattice", code=2).err
    extend(training, clone, "more", 20, 30)
    clone.push("origin", "main")
    settled(clone)
    clone.gitdata("promote", "lattice@2", "-m", "better on the bench")
    assert "not older" in clone.gitdata("rollback", "lattice", "--to", "2", code=2).err
    (record,) = clone.gitdata("rollback", "lattice", "--to", "1", "-m", "2 fails in the field", "--json").records
    assert (record["number"], record["champion"], record["reason"]) == (1, True, "2 fails in the field")
    assert versions(clone) == [(1, "accepted", True), (2, "rolled back", False)]
    assert "nothing to do" in clone.gitdata("train", "lattice").out
    clone.gitdata("reject", "lattice@2", "-m", "for good")
    assert versions(clone)[1] == (2, "rejected", False)
    log = clone.git("log", "--format=%s%n%b", "origin/gitdata/models")
    assert "version 1 is the champion again, 2 rolled back" in log
    assert "2 fails in the field" in log
    assert "for good" in log


def test_evaluate_compare_and_lineage_name_the_rows_they_used(training: World) -> None:
    clone = training.clone
    extend(training, clone, "more", 20, 30)
    clone.push("origin", "main")
    settled(clone)
    (evaluation,) = clone.gitdata("evaluate", "lattice@2", "--json").records
    (only,) = clone.gitdata("evaluate", "lattice@2", "--on", "lattice@1.0.0", "--json").records
    assert len(evaluation["extensions"]) == 2
    assert only["extensions"] == evaluation["extensions"][:1]
    assert 0 < only["rows"] < evaluation["rows"]
    ledger = {v["number"]: v for v in clone.gitdata("models", "--json").records}
    assert evaluation["metrics"] == ledger[2]["metrics"]
    (same,) = clone.gitdata("compare", "lattice@2", "lattice@2", "--json").records
    assert (same["ratio"], same["lower"], same["upper"], same["verdict"]) == (1.0, 1.0, 1.0, "accepted")
    (found,) = clone.gitdata("compare", "lattice@2", "lattice@1", "--json").records
    (judged,) = [comparison for comparison in ledger[2]["comparisons"] if comparison["against"] == "champion"]
    assert (found["ratio"], found["rows"], found["verdict"]) == (judged["ratio"], judged["rows"], judged["verdict"])
    youngest, oldest = clone.gitdata("lineage", "lattice@2", "--json").records
    assert (youngest["number"], youngest["parent"], oldest["parent"]) == (2, 1, None)
    assert youngest["added"][0].startswith("lattice@1.1.0-")
    saw = clone.gitdata("lineage", "lattice", "--of", "lattice@1.0.0", "--json").records
    assert [(r["number"], r["added"]) for r in saw] == [(1, True), (2, False)]
    assert [r["number"] for r in clone.gitdata("lineage", "lattice", "--of", "lattice@1.1.0", "--json").records] == [2]
    assert "no version '9'" in clone.gitdata("evaluate", "lattice@9", code=2).err


def test_a_retraction_taints_the_champion_and_undoing_it_brings_it_back(training: World) -> None:
    clone = training.clone
    extend(training, clone, "bad", 20, 30)
    clone.push("origin", "main")
    settled(clone)
    clone.gitdata("promote", "lattice@2")
    record = clone.gitdata("retract", "lattice@1.1.0", "--reason", "wrong material", "-m", "retract", "--json").records[
        0
    ]
    assert (record["retracted"], record["seen_by"], record["committed"]) == (True, ["lattice@2"], True)
    (pending,) = clone.gitdata("pending", "--json", "--exit-code", code=1).records
    assert [label[:5] for label in pending["tainted"]] == ["1.1.0"]
    clone.push("origin", "main")
    settled(clone)
    assert [number for number, _, champion in versions(clone) if champion] == [1]  # clean, and covers all that is live
    clone.gitdata("retract", "lattice@1.1.0", "--undo", "-m", "it was right after all")
    clone.push("origin", "main")
    settled(clone)
    (pending,) = clone.gitdata("pending", "--json").records
    assert pending["action"] == "nothing"
    assert "is not retracted" in clone.gitdata("retract", "lattice@1.1.0", "--undo", code=2).err
    assert "needs a reason" in clone.gitdata("retract", "lattice@1.1.0", code=2).err
    assert "names no extension" in clone.gitdata("retract", "lattice", "--reason", "x", code=2).err
    assert clone.git("status", "--porcelain") == ""


def test_a_job_can_be_cancelled_while_it_waits_and_while_it_trains(world: World) -> None:
    spool = world.server.spool
    waiting = spool.add(["refs/heads/main"])
    assert "cancelled" in world.server.gitdata("cancel", waiting).out
    assert "has ended already" in world.server.gitdata("cancel", waiting, code=2).err
    assert spool.job(waiting).record["results"][0]["message"].startswith("cancelled by ")
    world.clone.declare(**{"epochs = 20": "epochs = 200000"})
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    wait_for(lambda: bool(spool.ids("running")))
    (id,) = spool.ids("running")
    log = spool.logs / f"{id}.log"
    wait_for(lambda: log.exists() and b"Training from scratch" in log.read_bytes())
    assert "being stopped" in world.server.gitdata("cancel", id).out
    assert wait_until_idle(spool, PATIENCE)
    job = spool.job(id)
    assert job.state == "failed"
    assert job.record["results"][0]["message"].startswith("cancelled by ")
    assert world.server.gitdata("models", "--json").records == []
    assert not list((world.server.path / "gitdata").rglob(".gitdata-tmp-*"))


def test_four_clones_push_five_extensions_each_at_once_and_each_is_seen_exactly_once(world: World) -> None:
    """Pushes that lose the race for the branch are repeated after a merge; none is rejected because of a retraining.

    The gate is opened: which rows come together in a training depends on who is fast, and so would its verdict.
    """
    world.clone.declare(**{"epochs = 20": "epochs = 4", "tolerance = 0.02": "tolerance = 1000.0"})
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 10), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push("origin", "main")
    clones = [world.another_clone(f"person{number}") for number in range(4)]
    files = [[world.lattice(f"p{c}-{e}", 10 + 5 * c + e, 11 + 5 * c + e) for e in range(5)] for c in range(4)]
    rejections: list[str] = []
    failures: list[Any] = []

    def work(clone: Clone, own: list[Path]) -> None:
        try:
            for path in own:
                clone.gitdata("extend", "lattice", path, "-m", path.stem)
                for _ in range(60):
                    done = run("git", "push", "origin", "main", cwd=clone.path)
                    if done.code == 0:
                        break
                    rejections.append(done.err)
                    clone.git("pull", "--quiet", "--no-rebase", "--no-edit")
                else:
                    raise AssertionError("the push never succeeded")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(clones, files, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    race = ("fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref", "incorrect old value")
    for said in rejections:
        assert any(sign in said for sign in race), said
    world.server.wait()
    repo = world.server.repo
    chain = repo.snapshot("main").chain("lattice")
    ledger = repo.ledgers(repo.ledger_commit())["lattice"]
    added = Counter(id for entry in ledger.lineage(ledger.champion) for id in ledger.entries[entry].version.added)
    assert len(chain.live) == 21
    assert added == Counter(chain.live)
    assert world.server.gitdata("verify", "--remote", "--deep").out.endswith("no findings\n")


def test_two_runners_at_once_train_once(training: World) -> None:
    clone = training.clone
    extend(training, clone, "more", 20, 30)
    clone.git("push", "--quiet", "origin", "main", env={"GITDATA_SKIP_TRAIN": "1"})
    Spool(clone.path / ".git" / "gitdata").add(["refs/heads/main"])
    command = [sys.executable, "-P", "-m", "gitdata", "run", "--once"]
    runners = [
        subprocess.Popen(command, cwd=clone.path, stdout=subprocess.PIPE, env=os.environ.copy()) for _ in range(3)
    ]
    said = sorted(runner.communicate()[0].decode() for runner in runners)
    assert [runner.returncode for runner in runners] == [0, 0, 0]
    assert said.count("1 job done\n") == 1
    assert [number for number, _, _ in versions(clone)] == [1, 2]
