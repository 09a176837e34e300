"""Every way in which git brings or sends data, and who is woken: the clone that retrains, the server, or nobody.

The hooks are real, and so is git; only the Python that they start notes that it was started. What it does then is
told in the flows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from world import Clone, Place, World, run, wait_for

from gitdata.automation import hooks
from gitdata.automation.jobs import Spool

KINDS = ("installed", "train", "server")


@dataclass(frozen=True)
class Scene:
    """A server, a clone that is looked at, and another clone from which others push."""

    world: World
    kind: str

    @property
    def clone(self) -> Clone:
        return self.world.clone

    @property
    def other(self) -> Clone:
        return Clone(self.world.root / "other")

    def note(self, place: Place) -> Path:
        return self.world.root / f"started-{place.path.name}"

    def woken(self, place: Place) -> bool:
        """Whether a hook of a repository started a runner: it left a job before it returned, and starts it detached."""
        if not Spool(place.repo.state).ids("pending"):
            return False
        wait_for(lambda: self.note(place).exists() and "run\n" in self.note(place).read_text())
        return True

    def extend(self, clone: Clone, name: str, first: int) -> None:
        clone.gitdata("extend", "lattice", self.world.lattice(name, first, first + 1), "-m", name)

    def others_push(self) -> None:
        """Somebody else pushes an extension."""
        self.extend(self.other, "theirs", 40)
        self.other.push("origin", "HEAD:main")

    def others_push_notes(self) -> None:
        (self.other.path / "notes.txt").write_text("theirs\n")
        self.other.commit("notes")
        self.other.push("origin", "HEAD:main")


def note_instead_of_python(folder: Path, note: Path) -> None:
    """Let hooks start a Python that notes which command it was asked for."""
    python = note.with_name(f"python-{note.name}")
    python.write_text(
        f'#!/bin/sh\nfor word in run hook; do for a; do [ "$a" = $word ] && echo $word >>{note}; done; done\nexit 0\n'
    )
    python.chmod(0o755)
    for name in (*hooks.CLIENT_HOOKS, *hooks.TRAINING_HOOKS, *hooks.SERVER_HOOKS):
        hook = folder / name
        if hook.is_file() and hooks.MARKER in hook.read_text():
            line = next(line for line in hook.read_text().splitlines() if line.startswith("python="))
            hook.write_text(hook.read_text().replace(line, f"python={python}"))


def settle(place: Place) -> None:
    """Let the real runner find that nothing is left to do, and leave its stamp."""
    spool = Spool(place.repo.state)
    spool.add(["refs/heads/main"])
    place.gitdata("run", "--once")
    shutil.rmtree(spool.folder)


def make(kind: str, root: Path) -> Scene:
    world = World.make(root, init=False)
    scene, clone = Scene(world, kind), world.clone
    clone.gitdata("init")
    if kind == "train":
        clone.gitdata("install", "--train")
    if kind == "server":
        world.server.gitdata("install", "--server")
    clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    (clone.path / "notes.txt").write_text("ours\n")
    clone.commit("settings")
    clone.push("origin", "main")
    clone.git("branch", "--set-upstream-to=origin/main")
    run("git", "clone", "--quiet", world.server.path, scene.other.path, cwd=root)
    scene.other.gitdata("init")
    for place in (clone, world.server):
        while any(Spool(place.repo.state).ids(state) for state in ("pending", "running")):
            place.gitdata("run", "--once")
        settle(place)
        note_instead_of_python(place.repo.git.hooks_folder(), scene.note(place))
    return scene


@pytest.fixture(scope="module", params=KINDS)
def scenes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Path]:
    root = tmp_path_factory.mktemp(request.param) / "world"
    root.mkdir()
    scene = make(request.param, root)
    shutil.copytree(root, root.with_name("backup"), symlinks=True)
    return scene, root.with_name("backup")


@pytest.fixture
def scene(scenes: tuple[Scene, Path]) -> Scene:
    """A scene that is brought back to its beginning for every test: making one takes seconds."""
    scene, backup = scenes
    shutil.rmtree(scene.world.root)
    shutil.copytree(backup, scene.world.root, symlinks=True)
    return scene


# --- what happens --------------------------------------------------------------------------------------------


def fast_forward(s: Scene) -> None:
    s.others_push()
    s.clone.git("pull", "--quiet", "--ff-only")


def merge(s: Scene) -> None:
    s.others_push()
    s.clone.git("commit", "--quiet", "--allow-empty", "-m", "ours")
    s.clone.git("pull", "--quiet", "--no-rebase", "--no-edit")


def rebase(s: Scene) -> None:
    s.others_push()
    s.clone.git("commit", "--quiet", "--allow-empty", "-m", "ours")
    s.clone.git("pull", "--quiet", "--rebase")


def conflict_by_hand(s: Scene) -> None:
    s.others_push()
    s.others_push_notes()
    (s.clone.path / "notes.txt").write_text("mine\n")
    s.clone.commit("mine")
    s.clone.git("pull", "--quiet", "--no-rebase", ok=False)
    assert not s.woken(s.clone)
    (s.clone.path / "notes.txt").write_text("both\n")
    s.clone.git("commit", "--quiet", "-a", "-m", "both")


def squash(s: Scene) -> None:
    s.others_push()
    s.clone.git("fetch", "--quiet")
    s.clone.git("merge", "--quiet", "--squash", "origin/main")


def pull_without_data(s: Scene) -> None:
    s.others_push_notes()
    s.clone.git("pull", "--quiet", "--ff-only")


def commit_all(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    (s.clone.path / "notes.txt").write_text("more\n")
    s.clone.git("commit", "--quiet", "-a", "-m", "notes")


def checkout_of_news(s: Scene) -> None:
    s.others_push()
    s.clone.git("fetch", "--quiet", "origin", "main:incoming")
    s.clone.git("checkout", "--quiet", "incoming")


def checkout_of_nothing_new(s: Scene) -> None:
    s.clone.git("checkout", "--quiet", "-b", "side")
    s.clone.git("checkout", "--quiet", "main")
    s.clone.git("checkout", "--quiet", "HEAD", "--", "notes.txt")


def push(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    s.clone.push("origin", "main")


def push_with_training_skipped(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    s.clone.git("push", "origin", "main", env={"GITDATA_SKIP_TRAIN": "1"})


def push_by_url(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    s.clone.push(str(s.world.server.path), "HEAD:main")
    assert not s.woken(s.clone)
    s.clone.git("checkout", "--quiet", "-b", "side", "HEAD~1")  # the next wake-up finds that something was pushed


def rejected_push(s: Scene) -> None:
    s.others_push()
    shutil.rmtree(s.world.server.repo.state / "jobs", ignore_errors=True)
    s.extend(s.clone, "mine", 20)
    s.clone.push("origin", "main", ok=False)


def push_of_nothing(s: Scene) -> None:
    s.clone.push("origin", "main")
    s.clone.git("tag", "v1")
    s.clone.push("origin", "v1")


def push_of_sixty_refs(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    names = [f"refs/heads/branch-{number}" for number in range(60)]
    s.clone.push("origin", *(f"HEAD:{name}" for name in names))


def deletion(s: Scene) -> None:
    s.clone.git("push", "--quiet", "origin", "HEAD:side", env={"GITDATA_SKIP_TRAIN": "1"})
    s.clone.push("origin", ":side")


def force_push(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    s.clone.git("push", "--quiet", "origin", "main", env={"GITDATA_SKIP_TRAIN": "1"})
    s.clone.git("reset", "--quiet", "--hard", "HEAD~1")
    s.extend(s.clone, "mine instead", 21)
    s.clone.push("--force", "origin", "main")


def mirror(s: Scene) -> None:
    s.extend(s.clone, "mine", 20)
    s.clone.push("--mirror", "origin")


def linked_worktree(s: Scene) -> None:
    s.others_push()
    linked = Clone(s.world.root / "linked")
    s.clone.git("worktree", "add", "--quiet", "-b", "side", str(linked.path))
    s.clone.git("fetch", "--quiet")
    linked.git("merge", "--quiet", "--ff-only", "origin/main")


WAKES: dict[Callable[[Scene], None], tuple[bool, bool]] = {  # who is woken: the clone that retrains, the server
    fast_forward: (True, True),
    merge: (True, True),
    rebase: (True, True),
    conflict_by_hand: (True, True),
    squash: (False, True),
    pull_without_data: (False, False),
    commit_all: (False, False),
    checkout_of_news: (True, True),
    checkout_of_nothing_new: (False, False),
    push: (True, True),
    push_with_training_skipped: (False, False),
    push_by_url: (True, True),
    rejected_push: (False, False),
    push_of_nothing: (False, False),
    push_of_sixty_refs: (True, True),
    deletion: (False, False),
    force_push: (True, True),
    mirror: (True, True),
    linked_worktree: (True, True),
}


@pytest.mark.parametrize("event", WAKES, ids=lambda event: event.__name__)
def test_who_is_woken(scene: Scene, event: Callable[[Scene], None]) -> None:
    clone_wakes, server_wakes = WAKES[event]
    event(scene)
    jobs = {place: Spool(place.repo.state).ids("pending") for place in (scene.clone, scene.world.server)}
    assert scene.woken(scene.clone) == (clone_wakes and scene.kind == "train")
    assert scene.woken(scene.world.server) == (server_wakes and scene.kind == "server")
    assert len(jobs[scene.clone]) <= 1 + (event is linked_worktree)  # one event, one job: also for sixty refs
    assert len(jobs[scene.world.server]) <= 2


@pytest.mark.parametrize("how", [("--single-branch",), ("--depth", "1"), ()])
def test_shallow_and_single_branch_clones_and_submodules_retrain_too(tmp_path: Path, how: tuple[str, ...]) -> None:
    scene = make("installed", tmp_path)
    source = f"file://{scene.world.server.path}"
    small = Clone(tmp_path / "small")
    if how:
        run("git", "clone", "--quiet", *how, source, small.path, cwd=tmp_path)
    else:
        run("git", "init", "--quiet", tmp_path / "super", cwd=tmp_path)
        Place(tmp_path / "super").git("submodule", "--quiet", "add", source, "sub")
        small = Clone(tmp_path / "super" / "sub")
    small.gitdata("init")
    small.gitdata("install", "--train")
    note = scene.note(small)
    note_instead_of_python(small.repo.git.hooks_folder(), note)
    scene.others_push()
    small.git("pull", "--quiet", "--ff-only")
    assert len(Spool(small.repo.state).ids("pending")) == 1
    wait_for(lambda: note.exists() and note.read_text() == "run\n")


@pytest.mark.parametrize("kind", ["relative", "absolute", "global"])
def test_a_hooks_path_is_respected_by_all_hooks_of_training(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.make(tmp_path, init=False)
    folder = tmp_path / "everybody's" if kind == "global" else world.clone.path / ".git" / "own hooks"
    if kind == "global":
        config = tmp_path / "gitconfig"
        config.write_text(f'[core]\n\thooksPath = "{folder}"\n[init]\n\tdefaultBranch = main\n')
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        folder.mkdir()
    else:
        world.clone.git("config", "core.hooksPath", ".git/own hooks" if kind == "relative" else str(folder))
    world.clone.gitdata("init")
    said = world.clone.gitdata("install", "--train").out
    names = {*hooks.CLIENT_HOOKS, *hooks.TRAINING_HOOKS}
    if kind == "global":
        assert list(folder.iterdir()) == []
        assert {path.name for path in (world.clone.path / ".git" / "gitdata" / "hooks").iterdir()} == names
        for name in names:
            assert f"gitdata/hooks/{name}" in said
    else:
        assert {path.name for path in folder.iterdir()} == names


def test_hooks_that_were_there_run_first_with_their_arguments_and_input(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    folder = world.clone.path / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    for name in hooks.TRAINING_HOOKS:
        (folder / name).write_text(f'#!/bin/sh\necho "$# $(cat)" >> "{tmp_path}/{name}.seen"\n')
        (folder / name).chmod(0o755)
    world.clone.gitdata("init")
    world.clone.gitdata("install", "--train")
    world.clone.commit("one")
    world.clone.git("checkout", "--quiet", "-b", "side")
    world.clone.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "two")
    world.clone.git("checkout", "--quiet", "main")
    world.clone.git("merge", "--quiet", "--no-edit", "side", "--allow-unrelated-histories")
    seen = {name: (tmp_path / f"{name}.seen").read_text() for name in hooks.TRAINING_HOOKS}
    assert seen["post-checkout"].startswith("3 ")
    assert "refs/heads/main" in seen["reference-transaction"]
    assert len(seen["post-rewrite"].split()) == 3  # one argument, then old and new
    assert seen["post-merge"].startswith("1 ")
    assert seen["post-commit"].startswith("0 ")


def test_an_earlier_hook_may_still_refuse_a_transaction(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    folder = world.clone.path / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    refuse = folder / "reference-transaction"
    refuse.write_text('#!/bin/sh\n[ "$1" != prepared ] || ! grep -q refs/heads/forbidden\n')
    refuse.chmod(0o755)
    world.clone.gitdata("init")
    world.clone.gitdata("install", "--train")
    world.clone.commit("one")
    world.clone.git("branch", "allowed")
    world.clone.git("branch", "forbidden", ok=False)
