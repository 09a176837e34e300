"""`git rm -r datasets/x` and `git mv datasets/a datasets/b`, as people do it: what is said, and how to go back."""

from __future__ import annotations

from functools import partial

import pytest
from branches import branch, grow, live, start, switch
from world import World

from gitdata.commands.extend import add
from gitdata.commands.history import log
from gitdata.commands.intake import Request
from gitdata.commands.listing import ls
from gitdata.commands.situation import pending
from gitdata.commands.status import status
from gitdata.commands.sync import checkout, push
from gitdata.commands.verify import Options, verify
from gitdata.errors import DataUnavailable, Mendable
from gitdata.report.tables import status_lines


def test_a_removed_dataset_is_said_and_comes_back(world: World) -> None:
    clone = world.clone
    clone.declare()
    start(world)
    clone.push("origin", "main")
    before = live(clone)
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    (said, _) = status_lines(status(clone.repo))[:2]
    assert said.startswith("lattice: removed, to be committed: 1 file (git restore")
    clone.commit("away")
    assert [record.kind for record in ls(clone.repo)] == ["model listed"]
    refused = clone.gitdata("train", "lattice", code=2)
    assert "There is no dataset 'lattice'" in refused.err
    assert "git log --diff-filter=D -- datasets/lattice" in refused.err
    for call in (
        partial(log, clone.repo, "lattice"),
        partial(pending, clone.repo, ["lattice"], clone.repo.snapshot(), None),
    ):
        with pytest.raises(Mendable, match="There is no dataset 'lattice'"):
            call()
    (model,) = status(clone.repo)
    assert "There is no dataset 'lattice'" in model["error"]
    (verified,) = verify(clone.repo, Options())
    assert verified["extensions"] == 0
    assert push(clone.repo, [])[0]["blobs"] == 0
    clone.push("origin", "main")
    clone.git("revert", "--no-edit", "HEAD")
    assert live(clone) == before


def test_the_same_base_is_the_same_extension_when_it_is_added_again(world: World) -> None:
    clone = world.clone
    base = start(world)
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    clone.git("commit", "--quiet", "-m", "away")
    again = add(clone.repo, Request("lattice", [world.lattice("base", 0, 4)], message="again"))
    assert again.id == base.id


def test_a_renamed_dataset_is_refused_everywhere_and_the_way_back_is_named(world: World) -> None:
    clone = world.clone
    clone.declare()
    base = start(world)
    clone.git("mv", "datasets/lattice", "datasets/frames")
    clone.commit("renamed")
    refused = clone.gitdata("train", "lattice", code=4)
    assert f"datasets/frames/{base.stem}.dvc belongs to the dataset 'lattice'" in refused.err
    assert "`git mv datasets/frames datasets/lattice`" in refused.err
    assert "`gitdata add NEW FILE`" in refused.err
    for call in (status, ls, partial(log, reference="frames"), partial(push, references=[])):
        with pytest.raises(DataUnavailable, match="belongs to the dataset 'lattice'"):
            call(clone.repo)
    finding, _ = verify(clone.repo, Options())
    assert "belongs to the dataset 'lattice'" in finding["problem"]
    assert "cannot be renamed" in clone.push("origin", "main", ok=False)
    clone.git("mv", "datasets/frames", "datasets/lattice")
    clone.commit("back")
    clone.push("origin", "main")  # what history holds of the attempt is in nobody's way
    assert live(clone) == {base.stem}


def test_a_dataset_moved_into_another_folder_does_not_vanish(world: World) -> None:
    clone = world.clone
    start(world)
    (clone.path / "datasets" / "old").mkdir()
    clone.git("mv", "datasets/lattice", "datasets/old")
    with pytest.raises(DataUnavailable) as refused:
        status(clone.repo)
    assert "`git mv datasets/old/lattice datasets/lattice`" in refused.value.next_step


def test_the_honest_way_to_another_name(world: World) -> None:
    clone = world.clone
    base = start(world)
    checkout(clone.repo, "lattice", [])
    file = clone.path / "datasets" / "lattice" / base.stem / "train" / "base.csv"
    add(clone.repo, Request("frames", [file], message="Frames, from lattice"))
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    clone.git("commit", "--quiet", "-m", "lattice is frames now")
    assert [record.id for record in ls(clone.repo)] == ["frames"]


def test_a_dataset_removed_on_one_branch_and_extended_on_another(world: World) -> None:
    """The merge keeps the extension; its base is found in history and counts as retracted."""
    clone = world.clone
    base = start(world)
    branch(clone, "side")
    more = grow(world, "more", 4, 6)
    switch(clone, "main")
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    clone.git("commit", "--quiet", "-m", "away")
    clone.git("merge", "--quiet", "--no-edit", "side")
    assert live(clone) == {more.stem}
    assert f"The pointer of lattice@1.0.0 ({base.short}) was deleted" in clone.push("origin", "main")
