"""Killed, or without power, at every step that a command takes: nothing lies, and a repeat ends as if undisturbed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from disk_faults import Crash, dying
from scenes import Call, assert_nothing_lies, command_of, outcome, prepare

from gitdata import durable
from gitdata.automation.jobs import ModelResult, Spool
from gitdata.storage import remote

COMMANDS = ["init", "retract"]
SLOW = ["extend", "push", "pull", "train", "promote", "rollback"]


@pytest.mark.parametrize("name", [*COMMANDS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_command_that_dies_at_any_step_leaves_no_lie_and_repeats(name: str, tmp_path: Path, call: Call) -> None:
    scene = prepare(name, tmp_path)
    command, clone = command_of(scene, name), scene.world.clone.path
    with dying(None, scene.world.root) as alive:
        assert call(clone, *command).code == 0
    undisturbed, steps = outcome(scene, call), len(alive.steps)
    assert steps >= (3 if name == "init" else 8), alive.steps
    for at, power_cut in alive.deaths():
        scene.restore()
        with dying(at) as disk, pytest.raises(Crash):
            call(clone, *command)
        assert disk.steps == alive.steps[:at]
        if power_cut:
            disk.cut_power()
        step = f"{disk.steps[-1]} (step {at} of {steps}, {'power cut' if power_cut else 'killed'})"
        assert_nothing_lies(scene, call)
        again = call(clone, *command)
        assert again.code in (0, 2), (step, again)  # 2: all of it was done, and the command says so
        assert outcome(scene, call) == undisturbed, (step, again)


def test_a_job_that_is_spooled_or_finished_survives_or_never_was(tmp_path: Path) -> None:
    """At every step: the spool can be read, a job is in one state, and what was reported as done stays done."""
    for at in range(1, 30):
        for power_cut in (False, True):
            state = tmp_path / f"{at}-{power_cut}"
            reported: list[str] = []
            with dying(at) as disk:
                try:
                    spool = Spool(state)
                    id = spool.add(["refs/heads/main"])
                    reported.append("pending")
                    assert spool.start(id)
                    reported.append("running")
                    spool.finish(id, [ModelResult("m", 0, "fine", 0.0)], 0.0)
                    reported.append("done")
                except Crash:
                    pass
            if power_cut:
                disk.cut_power()
            jobs = Spool(state).jobs()
            assert len(jobs) == bool(reported) or (not reported and len(jobs) <= 1), (at, power_cut, jobs)
            if reported[-1:] == ["done"]:
                assert not disk.dead
                assert jobs[0].state == "done"
                return
    pytest.fail("the spool took more steps than expected")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["extend", "push", "pull"])
def test_a_full_disk_is_said_and_leaves_no_lie(
    name: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC at every flush, as file systems that allocate late raise it, and beforehand where it can be foreseen."""
    import errno

    from disk_faults import DyingDisk

    scene = prepare(name, tmp_path)
    command, clone = command_of(scene, name), scene.world.clone.path
    before = outcome(scene, call)
    scene.restore()

    class FullDisk(DyingDisk):
        def step(self, what: str) -> None:
            self.steps.append(what)
            if len(self.steps) == self.at and what.startswith(("flush", "create", "make")):
                raise OSError(errno.ENOSPC, "No space left on device", "a file")

    monkeypatch.setattr(remote, "JOBS", 1)
    disk = FullDisk()
    monkeypatch.setattr(durable, "disk", disk)
    assert call(clone, *command).code == 0
    for at in range(1, len(disk.steps) + 1):
        if not disk.steps[at - 1].startswith(("flush", "create", "make")):
            continue
        scene.restore()
        monkeypatch.setattr(durable, "disk", FullDisk(at))
        done = call(clone, *command)
        monkeypatch.setattr(durable, "disk", durable.Disk())
        assert done.code in (2, 5), (at, disk.steps[at - 1], done)
        assert "No space left" in done.err
        assert_nothing_lies(scene, call)
        assert outcome(scene, call)["head"] == before["head"]
    scene.restore()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    assert call(clone, *command).code in (2, 5)
    monkeypatch.undo()
    assert_nothing_lies(scene, call)
