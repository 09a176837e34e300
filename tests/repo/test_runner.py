"""The runner: one at a time, no job lost, a killed one taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from world import World, wait_for

from gitdata.automation.jobs import ModelResult, Spool
from gitdata.errors import Mendable


def test_a_job_moves_through_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    id = spool.add(["refs/heads/main"])
    assert [(j.id, j.state, j.refs) for j in spool.jobs()] == [(id, "pending", ("refs/heads/main",))]
    assert spool.start(id)
    assert not spool.start(id)
    assert spool.job(id[-4:]).state == "running"
    assert spool.take_over() == [id]
    spool.start(id)
    spool.finish(id, [ModelResult("m", 0, "fine", 1.0)], started=0.0)
    (job,) = spool.jobs()
    assert (job.state, job.refs, job.record["results"][0]["message"]) == ("done", ("refs/heads/main",), "fine")
    other = spool.add([])
    spool.start(other)
    spool.finish(other, [ModelResult("m", 2, "no", 1.0), ModelResult("n", 6, "refused", 1.0)], started=0.0)
    assert {j.state for j in spool.jobs()} == {"done", "failed"}
    with pytest.raises(Mendable, match="names no job"):
        spool.job("nothing")


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"refs": 3, "results": 4}', "[]", "", "\0\0", '{"refs": [], "results": [1]}']
)
def test_a_damaged_job_is_shown_and_run_all_the_same(tmp_path: Path, content: str) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "jobs" / "pending").mkdir(parents=True)
    (tmp_path / "jobs" / "pending" / "odd").write_text(content)
    assert [(job.id, job.refs) for job in spool.jobs()] == [("odd", ())]
    spool.start("odd")
    spool.finish("odd", [], started=0.0)
    assert spool.job("odd").state == "done"


def test_a_second_runner_leaves_at_once_and_the_first_finds_its_job(world: World) -> None:
    world.clone.commit("settings")
    world.clone.push()
    world.server.wait()
    jobs = len(world.server.spool.jobs())
    state = world.server.path / "gitdata"
    with FileLock(state / "runner.lock"):
        world.server.spool.add(["refs/heads/main"])
        assert world.server.gitdata("run", "--once").out == "0 jobs done; another runner is at work on 1 job\n"
        assert len(world.server.spool.ids("pending")) == 1
    assert world.server.gitdata("run", "--once").out == "1 job done\n"
    assert len(world.server.spool.jobs()) == jobs + 1


def test_a_killed_runner_is_taken_over_and_the_end_is_as_if_undisturbed(world: World) -> None:
    world.clone.declare(**{"epochs = 20": "epochs = 400"})
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    spool = world.server.spool
    id = spool.add(["refs/heads/main"])
    command = [sys.executable, "-P", "-m", "gitdata", "run", "--once"]
    runner = subprocess.Popen(
        command, cwd=world.server.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    log = spool.log_path(id)
    while not (log.exists() and b"Training from scratch" in log.read_bytes()):
        assert runner.poll() is None
    os.killpg(runner.pid, signal.SIGKILL)
    runner.communicate()
    assert spool.ids("running") == [id]
    assert world.server.ledger() == []
    assert world.server.gitdata("run", "--once").out == "1 job done\n"
    (version,) = world.server.ledger()
    assert version["champion"]
    assert not list((world.server.path).rglob("gitdata-index-*"))


def test_a_failing_model_fails_the_job_and_does_not_stop_the_others(world: World) -> None:
    world.clone.declare("broken", "[data\n")
    world.clone.declare("lattice")
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("models")
    world.clone.push()
    while world.server.spool.ids("pending") or world.server.spool.ids("running"):
        pass
    (job,) = world.server.spool.jobs()
    assert job.state == "failed"
    assert {r["model"]: r["exit_code"] for r in job.record["results"]} == {"broken": 2, "lattice": 0}
    messages = {result["model"]: result["message"] for result in job.record["results"]}
    assert "models/broken.toml" in messages["broken"]
    assert "models/broken.toml" in world.server.gitdata("logs", job.id).out
    assert [v["model"] for v in world.server.ledger()] == ["lattice"]
    assert (world.server.path / "gitdata" / "settled").read_text() == ""


def test_logs_follow_a_job_to_its_end(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    job = world.server.spool.jobs()[-1]
    followed = world.server.gitdata("logs", job.id, "--follow").out
    assert followed.splitlines()[-1].endswith("it is the champion")
    assert world.server.spool.job(job.id).state == "done"


def test_two_publishers_at_once_lose_nothing(world: World) -> None:
    """Two training clones publish different models at the same time: both versions are on the ledger."""
    for name in ("one", "two"):
        world.clone.declare(name)
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("models")
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    clones = [world.clone, world.another_clone()]
    pipe, train = subprocess.PIPE, [sys.executable, "-P", "-m", "gitdata", "train"]
    running = [
        subprocess.Popen([*train, model], cwd=clone.path, stdout=pipe, stderr=pipe)
        for model, clone in zip(("one", "two"), clones, strict=True)
    ]
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, (out, err)
    assert sorted((v["model"], v["champion"]) for v in world.server.ledger()) == [("one", True), ("two", True)]


def failing_then_mended(world: World) -> str:
    """A push whose training fails, since a blob on the server is gone, and which is then put back; the job."""
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    lost = max((world.server.store / "files").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    content = lost.read_bytes()
    lost.unlink()
    id = world.server.spool.add(["refs/heads/main"])
    world.server.gitdata("run", "--once")
    assert world.server.spool.job(id).state == "failed"
    lost.write_bytes(content)
    return id


def test_run_asks_again_for_what_a_job_failed_at(world: World) -> None:
    failing_then_mended(world)
    assert world.server.gitdata("run", "--once").out == "1 job done\n"
    assert [v["champion"] for v in world.server.ledger()] == [True]
    assert world.server.gitdata("run", "--once").out == "0 jobs done\n"


def test_a_job_whose_runner_was_killed_is_cancelled_at_once_and_taints_no_later_one(world: World) -> None:
    spool = world.server.spool
    failing_then_mended(world)
    stale = spool.add(["refs/heads/main"])
    assert spool.start(stale)  # and then the runner was killed
    assert world.server.gitdata("cancel", stale).out == f"{stale}: cancelled\n"
    later = spool.add(["refs/heads/main"])
    assert world.server.gitdata("run", "--once").out == "1 job done\n"
    assert spool.job(later).state == "done"
    assert len(world.server.ledger()) == 1


def long_training(world: World) -> tuple[subprocess.Popen[bytes], psutil.Process, str]:
    """A runner, the training that it has begun and that takes long, and its job."""
    world.clone.declare(**{"epochs = 20": "epochs = 200000"})
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    id = world.server.spool.add(["refs/heads/main"])
    command = [sys.executable, "-P", "-m", "gitdata", "run", "--once"]
    runner = subprocess.Popen(command, cwd=world.server.path, stdout=subprocess.DEVNULL, start_new_session=True)
    log = world.server.spool.log_path(id)
    wait_for(lambda: log.exists() and b"Training from scratch" in log.read_bytes())
    (training,) = psutil.Process(runner.pid).children()
    return runner, training, id


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, also where nobody has asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_training_ends_with_its_runner(world: World) -> None:
    runner, training, id = long_training(world)
    runner.kill()  # the runner alone, not its group
    runner.wait()
    wait_for(lambda: ended(training))
    world.server.gitdata("cancel", id)


def test_a_training_that_was_killed_says_so_and_is_asked_for_again(world: World) -> None:
    runner, training, id = long_training(world)
    training.kill()
    assert runner.wait() == 0
    job = world.server.spool.job(id)
    (result,) = job.record["results"]
    assert (job.state, result["exit_code"]) == ("failed", 137)
    assert "killed (SIGKILL" in result["message"]
    assert "killed (SIGKILL" in world.server.gitdata("doctor", code=1).out
    assert "killed (SIGKILL" in world.server.gitdata("logs", id).out


def test_what_cannot_be_read_or_was_interrupted_is_told_beside_the_rest(world: World) -> None:
    spool = world.server.spool
    stale = spool.add(["refs/heads/main"])
    spool.start(stale)  # and then the runner was killed
    (spool.folder / "done").mkdir()
    (spool.folder / "done" / "20200101-000000-abc").symlink_to(spool.folder / "pending" / "nothing")
    assert [(job["id"], job["state"]) for job in world.server.gitdata("jobs", "--json").records] == [
        (stale, "interrupted")
    ]


def test_in_a_shared_repository_everything_belongs_to_the_group(world: World) -> None:
    world.server.git("config", "core.sharedRepository", "group")
    subprocess.run(["chmod", "-R", "g+ws", world.server.path], check=True)  # as `git init --shared` has it
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    before = os.umask(0o077)
    try:
        world.clone.push()
        world.server.wait()
    finally:
        os.umask(before)
    state = world.server.path / "gitdata"
    modes = {path: path.stat().st_mode & 0o070 for path in (state / "jobs").rglob("*")}
    assert {oct(mode) for path, mode in modes.items() if path.is_dir()} == {"0o70"}
    assert {oct(mode) for path, mode in modes.items() if path.is_file()} == {"0o60"}
    assert all(path.stat().st_mode & 0o040 for path in (state / "remote").rglob("*"))
    assert (state / "runner.lock").stat().st_mode & 0o060 == 0o060
