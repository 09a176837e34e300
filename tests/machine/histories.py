"""What git does to histories: branches, merges, reverts and cherry-picks, and what must come of them."""

from __future__ import annotations

from world import run

from machine.model import State
from machine.stage import DATASET, Stage


def switch(stage: Stage, name: str) -> None:
    exists = name in stage.tips(stage.here, "refs/heads")
    stage.here.git("switch", "--quiet", *([] if exists else ["--create"]), name)


def merge(stage: Stage, other: str) -> None:
    """Git merges without a conflict, unless both sides took something away or gave it another label."""
    ours, theirs = stage.head, stage.here.git("rev-parse", other)
    base = _base(stage, ours, theirs)
    state = stage.commits[ours].merged(base, stage.commits[theirs])
    done = run("git", "merge", "--quiet", "--no-edit", other, cwd=stage.here.path)
    if done.code != 0:
        assert all(base.removed(stage.commits[side]) for side in (ours, theirs)), (other, done)
        _resolve(stage, ours, theirs, state)
    assert stage.commits.setdefault(stage.head, state) == state


def _base(stage: Stage, *commits: str) -> State:
    """What git merges against: the only merge base, or several merged."""
    first, *others = stage.here.git("merge-base", "--all", *commits).splitlines()
    state = stage.commits[first]
    for other in others:
        state = state.merged(_base(stage, first, other), stage.commits[other])
    return state


def _resolve(stage: Stage, ours: str, theirs: str, state: State) -> None:
    """As a person does: the pointers of both sides, less what either took away."""
    stage.here.git("reset", "--quiet", "--", "datasets")
    for side in (ours, theirs):
        if stage.here.git("ls-tree", side, "--", "datasets"):
            stage.here.git("checkout", "--quiet", side, "--", "datasets")
    wanted = {f"datasets/{DATASET}/{stem}.dvc" for stem in state.pointers}
    wanted |= {f"datasets/{DATASET}/retracted/{id}.json" for id in state.retracted}
    for path in stage.here.git("ls-files", "--", "datasets").splitlines():
        if path not in wanted:
            stage.here.git("rm", "--quiet", "--force", "--", path)
    for path in stage.here.git("ls-files", "--others", "--exclude-standard", "--", "datasets").splitlines():
        (stage.here.path / path).unlink()
    stage.here.git("commit", "--quiet", "--no-edit")


def criss_cross(stage: Stage, other: str) -> None:
    """Two branches of this clone merge each other as they were."""
    name, tip = stage.here.git("symbolic-ref", "--short", "HEAD"), stage.head
    merge(stage, other)
    switch(stage, other)
    merge(stage, tip)
    switch(stage, name)


def apply(stage: Stage, how: str, commit: str) -> None:
    """`revert` or `cherry-pick`; a conflict, which only what was taken away can make, is given up."""
    ours, (before,) = stage.head, stage.here.git("rev-parse", f"{commit}^@").splitlines()
    base, theirs = (commit, before) if how == "revert" else (before, commit)
    state = stage.commits[ours].merged(stage.commits[base], stage.commits[theirs])
    if state == stage.commits[ours]:
        return  # git has nothing to commit
    options = ["--no-edit"] if how == "revert" else []
    done = run("git", how, *options, commit, cwd=stage.here.path)
    if done.code != 0:
        assert all(stage.commits[base].removed(stage.commits[side]) for side in (ours, theirs)), done
        stage.here.git(how, "--abort")
        assert stage.head == ours
        return
    stage.committed(state)
