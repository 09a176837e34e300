"""Hooks: they come in beside what is there, filter cheaply, and never hold up or break a push."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from world import Clone, World, run, wait_for

from gitdata.automation import hooks


def test_installing_twice_changes_nothing(world: World) -> None:
    hook = world.clone.path / ".git" / "hooks" / "pre-push"
    hooks.install(world.clone.repo)
    before = hook.read_bytes(), hook.stat().st_mtime_ns
    assert [h.outcome for h in hooks.install(world.clone.repo)] == ["up to date"]
    assert (hook.read_bytes(), hook.stat().st_mtime_ns) == before
    assert hook.stat().st_mode & stat.S_IXUSR


def test_an_existing_hook_is_kept_and_runs_first(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    for repository, name in ((world.clone.path / ".git", "pre-push"), (world.server.path, "post-receive")):
        hook = repository / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/{name}.seen\n")
        hook.chmod(0o755)
    world.server.gitdata("install", "--server")
    world.clone.gitdata("init")
    world.clone.commit("start")
    world.clone.push()
    for name in ("pre-push", "post-receive"):
        assert "refs/heads/main" in (tmp_path / f"{name}.seen").read_text()
    refuse = world.clone.path / ".git" / "hooks" / f"pre-push{hooks.KEPT}"
    refuse.write_text("#!/bin/sh\nexit 1\n")
    (world.clone.path / "file").write_text("x")
    world.clone.commit()
    world.clone.push(ok=False)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_hooks_path_of_this_repository_is_respected(tmp_path: Path, kind: str) -> None:
    world = World.make(tmp_path, init=False)
    inside = world.clone.path / ".git" / "own"
    world.clone.git("config", "core.hooksPath", ".git/own" if kind == "relative" else str(inside))
    world.clone.gitdata("init")
    assert (inside / "pre-push").is_file()
    assert not (world.clone.path / ".git" / "hooks" / "pre-push").exists()


def test_a_shared_hooks_path_is_not_written_but_told_by_hand(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    shared = tmp_path / "shared"
    shared.mkdir()
    world.clone.git("config", "core.hooksPath", str(shared))
    for _ in range(2):  # told each time, until it is called
        said = world.clone.gitdata("init").out
        assert "gitdata is not called" in said
    assert list(shared.iterdir()) == []
    snippet = said[said.index("refs=$(cat)") :]
    (shared / "pre-push").write_text(f"#!/bin/sh\n{snippet}\ncat > {tmp_path}/seen\n")
    (shared / "pre-push").chmod(0o755)
    assert "not called" not in world.clone.gitdata("init").out
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.push()
    assert list((world.server.store / "files" / "md5").rglob("*.dir"))
    assert "refs/heads/main" in (tmp_path / "seen").read_text()


def test_a_hook_that_is_kept_is_never_lost(world: World) -> None:
    hook = world.clone.path / ".git" / "hooks" / "pre-push"
    for text in ("#!/bin/sh\n# A\n", "#!/bin/sh\n# B\n"):
        hook.write_text(text)
        world.clone.gitdata("install", code=0 if "A" in text else 2)
    assert hook.with_name(f"pre-push{hooks.KEPT}").read_text() == "#!/bin/sh\n# A\n"
    assert hook.read_text() == "#!/bin/sh\n# B\n"


def test_a_remote_that_was_made_anew_gets_its_blobs_again(world: World) -> None:
    """What this clone remembers of the remote is stale: what counts is what the remote says it holds."""
    import shutil

    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.push("origin", "main")
    world.server.wait()
    shutil.rmtree(world.server.path)
    run("git", "init", "--quiet", "--bare", world.server.path, cwd=world.root)
    world.clone.push("origin", "main")
    assert list((world.server.store / "files" / "md5").rglob("*.dir"))
    shutil.rmtree(world.server.store / "files")
    world.clone.push("origin", "main:refs/heads/other")
    assert list((world.server.store / "files" / "md5").rglob("*.dir"))


def counting_python(clone_or_server: Path, hook: Path, tmp_path: Path) -> Path:
    """Let a hook start a Python that notes that it was started."""
    note = tmp_path / "started"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho once >> {note}\nexit 0\n")
    python.chmod(0o755)
    text = hook.read_text()
    line = next(line for line in text.splitlines() if line.startswith("python="))
    hook.write_text(text.replace(line, f"python={python}"))
    return note


def test_pushes_without_new_pointers_start_no_python(world: World, tmp_path: Path) -> None:
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.commit("settings")
    world.clone.push()
    note = counting_python(world.clone.path, world.clone.path / ".git" / "hooks" / "pre-push", tmp_path)
    world.clone.push()
    (world.clone.path / "notes.txt").write_text("text")
    world.clone.commit()
    world.clone.push()
    world.clone.git("push", "origin", "HEAD:refs/heads/copy", env={"GITDATA_SKIP_PUSH": "1"})
    world.clone.push("origin", ":refs/heads/copy")
    assert not note.exists()
    world.clone.gitdata("extend", "lattice", world.lattice("more", 2, 3), "-m", "more")
    world.clone.push()
    assert note.read_text() == "once\n"


def test_the_servers_filter_wakes_nobody_when_nothing_is_left_to_do(world: World, tmp_path: Path) -> None:
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.commit("settings")
    world.clone.push()
    world.server.wait()
    assert (world.server.path / "gitdata" / "settled").read_text().count("\n") == 1
    jobs = len(world.server.spool.jobs())
    (world.clone.path / "notes.txt").write_text("text")
    world.clone.commit()
    said = world.clone.push()
    assert "retraining" not in said
    assert len(world.server.spool.jobs()) == jobs
    world.clone.declare()
    world.clone.commit("a model")
    assert "looks for models that have something to learn" in world.clone.push()
    world.server.wait()
    assert len(world.server.spool.jobs()) == jobs + 1


def test_a_push_returns_before_the_training_ends(world: World) -> None:
    """The hook's child holds none of the pusher's streams: the push ends while the runner still works."""
    world.clone.declare(**{"epochs = 20": "epochs = 2000"})
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    assert world.server.spool.ids("pending") or world.server.spool.ids("running")
    world.server.wait()


@pytest.mark.parametrize("option", ["environment", "push option"])
def test_training_can_be_skipped(world: World, option: str) -> None:
    world.server.git("config", "receive.advertisePushOptions", "true")
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    if option == "environment":
        world.clone.git("push", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    else:
        world.clone.push("-o", "gitdata.skip", "origin", "HEAD:main")
    assert world.server.spool.jobs() == []


def test_a_python_that_is_gone_is_named(world: World) -> None:
    hook = world.clone.path / ".git" / "hooks" / "pre-push"
    line = next(line for line in hook.read_text().splitlines() if line.startswith("python="))
    hook.write_text(hook.read_text().replace(line, "python=/gone/python"))
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2))
    world.clone.git("commit", "--quiet", "-m", "base")
    hook.write_text(hook.read_text().replace(hooks.MARKER, "# x"))
    assert "'gitdata install'" in world.clone.push(ok=False)


def test_a_python_that_lost_gitdata_is_found_by_doctor(world: World, tmp_path: Path) -> None:
    """As after an upgrade of the system's Python: it starts, and has nothing to start."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "No module named gitdata" >&2\nexit 1\n')
    python.chmod(0o755)
    hook = world.server.path / "hooks" / "post-receive"
    line = next(line for line in hook.read_text().splitlines() if line.startswith("python="))
    hook.write_text(hook.read_text().replace(line, f"python={python}"))
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    wait_for(lambda: (world.server.path / "gitdata" / "runner.log").stat().st_size > 0)
    said = world.server.gitdata("doctor", code=1).out
    assert "has no gitdata any more" in said
    assert "No module named gitdata" in said
    world.server.gitdata("doctor", "--fix", code=1)  # the job waits still
    world.server.gitdata("run", "--once")
    assert "has no gitdata" not in world.server.gitdata("doctor").out


def test_a_job_that_cannot_be_written_is_said_and_the_push_goes_on(world: World) -> None:
    (world.server.path / "gitdata").mkdir(exist_ok=True)
    (world.server.path / "gitdata" / "jobs").write_text("in the way")
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.commit("model")
    said = world.clone.push()
    assert "no job could be written" in said
    assert "cannot create" not in said
    assert world.server.git("rev-parse", "main") == world.clone.git("rev-parse", "HEAD")


def test_hooks_stay_out_once_they_were_uninstalled(world: World) -> None:
    world.clone.gitdata("uninstall")
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    assert not (world.clone.path / ".git" / "hooks" / "pre-push").exists()
    world.clone.gitdata("install")
    assert (world.clone.path / ".git" / "hooks" / "pre-push").exists()


def test_hooks_work_in_a_linked_worktree_with_odd_names(world: World, tmp_path: Path) -> None:
    world.clone.commit("settings")
    linked = tmp_path / "it's a wörktree"
    world.clone.git("worktree", "add", "--quiet", "-b", "side", str(linked))
    other = Clone(linked)
    other.gitdata("init")
    other.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    other.push("origin", "side")
    assert list((world.server.store / "files" / "md5").rglob("*.dir"))


def test_deletions_tags_and_force_pushes_pass(world: World) -> None:
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.git("tag", "-a", "-m", "tag", "v1")
    world.clone.push("origin", "main", "v1", "HEAD:refs/heads/other")
    world.clone.git("commit", "--quiet", "--amend", "-m", "another message")
    world.clone.push("--force", "origin", "main")
    world.clone.push("origin", ":other", ":v1")
    world.clone.push("--all", "origin")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_store_that_may_not_be_written_refuses_the_push(world: World) -> None:
    import shutil

    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    for path in (world.root, *world.root.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
        if path == Path("/tmp"):
            break
    subprocess.run(["chown", "-R", "65534:65534", world.clone.path], check=True)
    done = run(
        "setpriv", "--reuid=65534", "--clear-groups", "git", "-c", "safe.directory=*", "push", "origin", "HEAD:main",
        cwd=world.clone.path, env={"HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"},
    )  # fmt: skip
    assert done.code != 0
    assert "main" not in world.server.git("for-each-ref")
    assert not list(world.server.store.rglob("*.dir"))


def test_blobs_follow_a_push_url_of_its_own(world: World) -> None:
    other = world.root / "other.git"
    run("git", "init", "--quiet", "--bare", other, cwd=world.root)
    world.clone.git("remote", "set-url", "--push", "origin", str(other))
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.push()
    assert list((other / "gitdata" / "remote" / "files" / "md5").rglob("*.dir"))
    assert not world.server.store.exists()
