"""The hooks that pre-commit and DVC install, beside ours and in either order: all of them run, and none is lost.

GITDATA_TEST_PRECOMMIT and GITDATA_TEST_DVC name the executables, from environments of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from world import Clone, World, run

pytestmark = pytest.mark.slow

CONFIG = """\
repos:
- repo: local
  hooks:
  - id: note
    name: note
    entry: sh -c 'echo "$PRE_COMMIT_REMOTE_NAME" >> {note}'
    language: system
    always_run: true
    pass_filenames: false
    stages: [pre-push]
"""


def executable(variable: str) -> Path:
    named = [part for part in os.environ.get(variable, "").split(os.pathsep) if part]
    if not named:
        pytest.skip(f"{variable} names no executable")
    return Path(named[-1])


def arrived(world: World) -> int:
    return len(list((world.server.store / "files" / "md5").rglob("*.dir")))


@pytest.mark.parametrize("first", ["pre-commit", "gitdata"])
def test_pre_commit_and_gitdata_both_run_in_either_order(tmp_path: Path, first: str) -> None:
    precommit, world = executable("GITDATA_TEST_PRECOMMIT"), World.make(tmp_path, init=False)
    clone, note = world.clone, tmp_path / "note"
    (clone.path / ".pre-commit-config.yaml").write_text(CONFIG.format(note=note))

    def install_theirs() -> None:
        assert run(precommit, "install", "--hook-type", "pre-push", cwd=clone.path).code == 0

    steps = [install_theirs, lambda: clone.gitdata("init")]
    for step in steps if first == "pre-commit" else reversed(steps):
        step()
    assert clone.gitdata("install").out == "Everything is in place.\n"
    clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    clone.commit("settings")
    clone.push("origin", "main")
    assert note.read_text() == "origin\n"
    assert arrived(world) == 1
    clone.gitdata("uninstall")
    (clone.path / "file").write_text("x")
    clone.commit()
    clone.push("origin", "main")
    assert note.read_text() == "origin\norigin\n"


def test_hooks_of_dvc_that_were_there_are_kept_and_run_first(tmp_path: Path) -> None:
    dvc, world = executable("GITDATA_TEST_DVC"), World.make(tmp_path, init=False)
    clone: Clone = world.clone
    assert run(dvc, "init", "--quiet", cwd=clone.path).code == 0
    assert run(dvc, "install", cwd=clone.path).code == 0
    path = {"PATH": f"{dvc.parent}{os.pathsep}{os.environ['PATH']}"}
    clone.gitdata("init")
    clone.gitdata("install", "--train")
    assert "dvc" in (clone.path / ".git" / "hooks" / "post-checkout.before-gitdata").read_text()
    clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base", env=path)
    clone.git("add", "--all", env=path)
    clone.git("commit", "--quiet", "-m", "settings", env=path)
    clone.git("push", "origin", "main", env=path)
    assert arrived(world) == 1
    clone.git("checkout", "--quiet", "-b", "side", "HEAD~1", env=path)
    clone.gitdata("uninstall")
    assert run(dvc, "status", cwd=clone.path).code == 0
    assert "dvc" in (clone.path / ".git" / "hooks" / "pre-push").read_text()
