"""`git rm -r datasets/x` and `git mv datasets/a datasets/b`, as people do it: what is said, and how to go back."""

from __future__ import annotations

from branches import branch, grow, live, start, switch
from world import World


def test_a_removed_dataset_is_said_and_comes_back(world: World) -> None:
    clone = world.clone
    clone.declare()
    start(world)
    clone.push("origin", "main")
    before = live(clone)
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    said = clone.gitdata("status")
    assert "lattice: removed, to be committed: 1 file (git restore" in said.out
    clone.commit("away")
    assert "lattice@" not in clone.gitdata("ls").out
    for command in (("log", "lattice"), ("train", "lattice"), ("pending",)):
        refused = clone.gitdata(*command, code=2)
        assert "There is no dataset 'lattice'" in refused.err
        assert "git log --diff-filter=D -- datasets/lattice" in refused.err
    assert "There is no dataset 'lattice'" in clone.gitdata("status").out  # of the model that learns from it
    clone.gitdata("verify")
    clone.gitdata("push")
    clone.push("origin", "main")
    clone.git("revert", "--no-edit", "HEAD")
    assert live(clone) == before


def test_the_same_base_is_the_same_extension_when_it_is_added_again(world: World) -> None:
    clone = world.clone
    base = start(world)
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    clone.git("commit", "--quiet", "-m", "away")
    again = clone.gitdata("add", "lattice", world.lattice("base", 0, 4), "-m", "again", "--json").records[0]
    assert again["id"] == base.id


def test_a_renamed_dataset_is_refused_everywhere_and_the_way_back_is_named(world: World) -> None:
    clone = world.clone
    clone.declare()
    base = start(world)
    clone.git("mv", "datasets/lattice", "datasets/frames")
    clone.commit("renamed")
    for command in (("status",), ("ls",), ("log", "frames"), ("train", "lattice"), ("pending",), ("push",)):
        refused = clone.gitdata(*command, code=4)
        assert f"datasets/frames/{base.stem}.dvc belongs to the dataset 'lattice'" in refused.err
        assert "`git mv datasets/frames datasets/lattice`" in refused.err
        assert "`gitdata add NEW FILE`" in refused.err
    assert "belongs to the dataset 'lattice'" in clone.gitdata("verify", code=1).out
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
    assert "`git mv datasets/old/lattice datasets/lattice`" in clone.gitdata("status", code=4).err


def test_the_honest_way_to_another_name(world: World) -> None:
    clone = world.clone
    base = start(world)
    clone.gitdata("checkout", "lattice")
    file = clone.path / "datasets" / "lattice" / base.stem / "train" / "base.csv"
    clone.gitdata("add", "frames", file, "-m", "Frames, from lattice")
    clone.git("rm", "-r", "--quiet", "datasets/lattice")
    clone.git("commit", "--quiet", "-m", "lattice is frames now")
    assert [line.split("@")[0] for line in clone.gitdata("ls").out.splitlines()] == ["frames"]


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
