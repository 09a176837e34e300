"""`kill -9` at random moments of extend, push, training and publishing: a repeat ends as an undisturbed run does.

Twenty deaths by default; a long campaign:
`GITDATA_KILLS=300 python -m pytest -m slow -n 0 tests/faults/test_killed.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import loaded
import pytest
from scenes import Call, Scene, assert_nothing_lies, outcome
from world import PATIENCE, World

from gitdata.automation.watch import wait_until_idle

DEATHS = int(os.environ.get("GITDATA_KILLS", "20"))
WORK = """
{gitdata} extend lattice {file} --test 0.2 -m b || [ $? = 2 ]
git push --quiet origin HEAD:main
cd {server}
{gitdata} run --once
"""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A base that is pushed and trained on; new rows wait beside the clone; the server retrains on a push."""
    (tmp_path / "world").mkdir()
    world = World.make(tmp_path / "world")
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("a", 0, 6), "--test", "0.2", "-m", "a")
    world.clone.commit("model")
    world.clone.push("origin", "HEAD:main")
    world.server.wait()
    world.clone.gitdata("fetch")
    world.lattice("b", 6, 8)
    shutil.copytree(world.root, tmp_path / "backup", symlinks=True)
    return Scene(world, tmp_path / "backup")


def start(scene: Scene, python: str) -> subprocess.Popen[bytes]:
    """Extend, push and train, by commands and hooks that start `python`."""
    world = scene.world
    for hook in (world.clone.path / ".git" / "hooks" / "pre-push", world.server.path / "hooks" / "post-receive"):
        hook.write_text(hook.read_text().replace(f"python={sys.executable}\n", f"python={python}\n"))
    script = WORK.format(
        gitdata=f"{python} -P -m gitdata", file=world.root / "incoming" / "b.csv", server=world.server.path
    )
    return subprocess.Popen(
        ["sh", "-e", "-c", script],
        cwd=world.clone.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def finish(scene: Scene, python: str) -> None:
    """Do it again, to the end."""
    for place in (scene.world.clone.path / ".git", scene.world.server.path):
        for lock in place.rglob("*.lock"):
            if lock.name != "runner.lock":
                lock.unlink()  # git asks for that where a git was killed
    process = start(scene, python)
    assert process.wait(PATIENCE) == 0
    spool = scene.world.server.spool
    assert wait_until_idle(spool, PATIENCE)
    assert spool.jobs()[-1].state == "done"
    scene.world.clone.gitdata("fetch")


@pytest.mark.slow
def test_a_repeat_after_a_kill_ends_as_an_undisturbed_run(scene: Scene, call: Call) -> None:
    began = time.monotonic()
    finish(scene, sys.executable)
    duration = time.monotonic() - began
    undisturbed = outcome(scene, call)
    assert len(undisturbed["ledger"]) == 2  # type: ignore[arg-type]
    quick = str(loaded.python.stand_in) if loaded.python else sys.executable  # for what nobody kills
    moments = random.Random(0)
    died = 0
    for death in range(DEATHS):
        scene.restore()
        process = start(scene, sys.executable)
        moment = moments.uniform(0, duration)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            died += 1
        with suppress(ProcessLookupError):  # all of it had ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reported = [version["id"] for version in scene.world.server.ledger()]
        assert_nothing_lies(scene, call)
        finish(scene, quick)
        after = outcome(scene, call)
        assert after == undisturbed, (death, moment)
        assert {*reported} <= {id for id, *_ in after["ledger"]}  # type: ignore[attr-defined]
    assert died >= DEATHS // 4  # the others came too late to kill anything
