"""Killed, or without power, at every step that a command takes: nothing lies, and a repeat ends as if undisturbed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from disk_faults import Crash, dying
from world import Done, World, fingerprint

from gitdata import durable
from gitdata.automation import hooks as installed
from gitdata.automation.jobs import ModelResult, Spool
from gitdata.storage import remote

Call = Callable[..., Done]


@dataclass(frozen=True)
class Scene:
    """A world that is set up once, and brought back before each step that is to be the last."""

    world: World
    backup: Path

    def restore(self) -> None:
        shutil.rmtree(self.world.root)
        shutil.copytree(self.backup, self.world.root, symlinks=True)


def prepare(name: str, tmp_path: Path) -> Scene:
    """A base that is pushed; an extension that is committed but not pushed; for `train` both, with a model."""
    (tmp_path / "world").mkdir()
    world = World.make(tmp_path / "world", init=name != "init")
    if name == "init":
        shutil.copytree(world.root, tmp_path / "backup", symlinks=True)
        return Scene(world, tmp_path / "backup")
    clone, hooks = world.clone, (world.clone.path / ".git" / "hooks", world.server.path / "hooks")
    for folder in hooks:
        shutil.rmtree(folder)  # commands are called here, not woken
    clone.declare()
    clone.gitdata("add", "lattice", world.lattice("a", 0, 6), "--test", "0.2", "-m", "a")
    clone.commit("model")
    clone.gitdata("push")
    clone.git("push", "--quiet", "origin", "HEAD:main")
    if name in ("train", "promote", "rollback"):
        clone.gitdata("train", "lattice")
    more = world.lattice("b", 6, 8)
    if name != "extend":
        clone.gitdata("extend", "lattice", more, "--test", "0.2", "-m", "b")
    if name in ("train", "promote", "rollback", "pull"):
        clone.gitdata("push")
        clone.git("push", "--quiet", "origin", "HEAD:main")
    if name in ("promote", "rollback"):
        clone.gitdata("train", "lattice")
    if name == "pull":
        shutil.rmtree(clone.path / ".dvc" / "cache")
    if name == "extend":
        installed.install(clone.repo)  # or the command does that last
    shutil.copytree(world.root, tmp_path / "backup", symlinks=True)
    return Scene(world, tmp_path / "backup")


def command_of(scene: Scene, name: str) -> list[str]:
    incoming = scene.world.root / "incoming" / "b.csv"
    return {
        "extend": ["extend", "lattice", str(incoming), "--test", "0.2", "-m", "b"],
        "push": ["push"],
        "train": ["train", "lattice"],
        "promote": ["promote", "lattice@1", "-m", "by hand"],
        "rollback": ["rollback", "lattice", "-m", "by hand"],
        "retract": ["retract", "lattice@1.0.0", "--reason", "bad", "-m", "bad"],
        "pull": ["pull"],
        "init": ["init"],
    }[name]


def outcome(scene: Scene, call: Call) -> dict[str, object]:
    """What a command is for: pointers, blobs, refs by the trees they name, the ledger's verdicts."""
    world, clone = scene.world, scene.world.clone
    (models,) = [call(clone.path, "models", "--json")]
    return {
        "work tree": {
            path: content
            for path, content in fingerprint(clone.path / "datasets", clone.path / "models").items()
            if durable.TEMPORARY_PREFIX not in path  # goes with the next write there, or by `gitdata doctor --fix`
        },
        "index": clone.git("ls-files", "--stage"),
        "head": clone.git("rev-parse", "HEAD^{tree}") if clone.repo.git.resolve("HEAD") else "",
        "blobs": fingerprint(clone.path / ".dvc" / "cache" / "files"),
        "store": fingerprint(world.server.store / "files"),
        "packages": fingerprint(world.server.store / "gitdata-models" / "files"),
        "ledger": sorted((v["id"], v["verdict"], v["champion"], v["promoted"]) for v in models.records)
        if models.code == 0
        else [],
    }


def assert_nothing_lies(scene: Scene, call: Call) -> None:
    """Every pointer, ref and blob that is there is what it says."""
    clone, server = scene.world.clone, scene.world.server
    if not (clone.path / ".dvc" / "config").exists():
        return
    done = call(clone.path, "verify", "--deep", "--json")
    found = [record for record in done.records if record["kind"] == "finding" and record["part"] != "cache"]
    assert found == [], done
    for cached in (clone.path / ".dvc" / "cache" / "files", server.store / "files"):
        for path, content in fingerprint(cached, digest="md5").items():
            if ".gitdata-tmp-" not in path:
                named = Path(path).parent.name + Path(path).name.removesuffix(".dir")
                assert content == named, path
    done = call(server.path, "verify", "--remote", "--deep", "--json")
    assert (done.code, len(done.records)) == (0, 1), done
    champions = call(clone.path, "models", "--json")
    assert champions.code in (0, 4) or champions.out == ""


COMMANDS = ["init", "retract"]
SLOW = ["extend", "push", "pull", "train", "promote", "rollback"]


@pytest.mark.parametrize("name", [*COMMANDS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_command_that_dies_at_any_step_leaves_no_lie_and_repeats(name: str, tmp_path: Path, call: Call) -> None:
    scene = prepare(name, tmp_path)
    command, clone = command_of(scene, name), scene.world.clone.path
    with dying(None) as disk:
        assert call(clone, *command).code == 0
    undisturbed, steps = outcome(scene, call), len(disk.steps)
    assert steps >= (3 if name == "init" else 8), disk.steps
    for at in range(1, steps + 1):
        for power_cut in (False, True):
            scene.restore()
            with dying(at) as disk, pytest.raises(Crash):
                call(clone, *command)
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
