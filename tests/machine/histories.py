"""What git does to histories: branches, merges, reverts and cherry-picks, and what must come of them."""

from __future__ import annotations

from world import run

from machine.model import State
from machine.stage import DATASET, Stage


def branch(stage: Stage) -> str:
    """The branch that is checked out."""
    return stage.here.git("symbolic-ref", "--short", "HEAD")


def unmerged(stage: Stage) -> list[str]:
    """Branches, here and as the server was seen to have them, with commits that HEAD has not."""
    tips = stage.tips(stage.here, "refs/heads", "refs/remotes", "--no-merged", "HEAD")
    return sorted(tips)


def applicable(stage: Stage, how: str, *which: str) -> list[str]:
    """Commits with one parent, newest first, whose `revert` or `cherry-pick` changes something here."""
    listing = stage.here.git("rev-list", "--no-merges", "--min-parents=1", "--max-count=12", "--topo-order", *which)
    return [commit for commit in listing.splitlines() if _applied(stage, how, commit) != stage.commits[stage.head]]


def switch(stage: Stage, name: str) -> None:
    exists = name in stage.tips(stage.here, "refs/heads")
    stage.here.git("switch", "--quiet", *([] if exists else ["--create"]), name)


def merge(stage: Stage, other: str) -> None:
    """Git merges without a conflict, unless both sides took something away or gave it another label.

    Or both made one extension out of different grown files, which its sidecar remembers: then either pointer will do.
    """
    ours, theirs = stage.head, stage.here.git("rev-parse", other)
    base = _base(stage, ours, theirs)
    state = stage.commits[ours].merged(base, stage.commits[theirs])
    done = run("git", "merge", "--quiet", "--no-edit", other, cwd=stage.here.path)
    if done.code != 0:
        both_removed = all(base.removed(stage.commits[side]) for side in (ours, theirs))
        assert both_removed or _twice(stage, ours, theirs), (other, done)
        _resolve(stage, ours, theirs, state)
    assert stage.commits.setdefault(stage.head, state) == state


def _base(stage: Stage, *commits: str) -> State:
    """What git merges against: the only merge base, or several merged."""
    first, *others = stage.here.git("merge-base", "--all", *commits).splitlines()
    state = stage.commits[first]
    for other in others:
        state = state.merged(_base(stage, first, other), stage.commits[other])
    return state


def _twice(stage: Stage, *commits: str) -> bool:
    """Whether both sides have a pointer of one name with other bytes."""
    ours, theirs = (dict(reversed(entry) for entry in stage.entries(stage.here, commit)) for commit in commits)
    return any(theirs.get(path, object) != object for path, object in ours.items())


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
    name, tip = branch(stage), stage.head
    merge(stage, other)
    switch(stage, other)
    merge(stage, tip)
    switch(stage, name)


def apply(stage: Stage, how: str, commit: str) -> None:
    """`revert` or `cherry-pick`; a conflict, which only what was taken away can make, is given up."""
    ours, state = stage.head, _applied(stage, how, commit)
    done = run("git", how, *(["--no-edit"] if how == "revert" else []), commit, cwd=stage.here.path)
    if done.code == 0:
        stage.committed(state)
        return
    base, theirs = _sides(stage, how, commit)
    assert all(base.removed(side) for side in (stage.commits[ours], theirs)), done
    stage.here.git(how, "--abort")
    assert stage.head == ours


def _applied(stage: Stage, how: str, commit: str) -> State:
    base, theirs = _sides(stage, how, commit)
    return stage.commits[stage.head].merged(base, theirs)


def _sides(stage: Stage, how: str, commit: str) -> tuple[State, State]:
    """What git takes for the base and for the other side."""
    before, after = stage.commits[stage.here.git("rev-parse", f"{commit}^")], stage.commits[commit]
    return (after, before) if how == "revert" else (before, after)
