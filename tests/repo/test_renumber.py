"""Two extensions with one label: which one yields, and what it is afterwards."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from branches import branch, chain_of, grow, live, merge, start, switch
from hypothesis import given
from hypothesis import strategies as st
from strategies import chains
from world import Clone, World

from gitdata.commands.renumber import renumber
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.data.renumbering import new_labels, relabelled


@given(chains(), st.data())
def test_every_label_stands_for_one_extension_afterwards(chain: Chain, data: st.DataObject) -> None:
    settled = data.draw(st.sets(st.sampled_from(sorted(chain.extensions))))
    labels = new_labels(chain, settled)
    after = chain
    for id, label in labels.items():
        after = relabelled(after, id, label)
    assert after.double_versions == new_labels(after, settled) == {}
    assert after.extensions.keys() == chain.extensions.keys()
    for label, ids in chain.double_versions.items():
        (kept,) = (id for id in ids if id not in labels)
        order = [e.id for e in chain.ordered(ids)]
        preferred = [id for id in order if id in settled] or order
        assert kept == preferred[0]
        assert after.extensions[kept].version == label


def two(world: World) -> tuple[Extension, Extension]:
    """A base; on `main` and on `side` one extension each, both 1.1.0."""
    start(world)
    branch(world.clone, "side")
    side = grow(world, "side", 6, 8)
    switch(world.clone, "main")
    main = grow(world, "main", 4, 6)
    assert main.version == side.version == "1.1.0"
    return main, side


def labels(clone: Clone) -> dict[str, str]:
    return {id: extension.version for id, extension in chain_of(clone).extensions.items()}


@pytest.mark.parametrize("pushed", ["main", "side"])
def test_what_is_not_on_the_deployment_branch_yields(world: World, pushed: str) -> None:
    main, side = two(world)
    clone = world.clone
    clone.push("origin", f"{pushed}:main")
    merge(clone, "side")
    (record,) = renumber(clone.repo, "lattice", "settle")
    yielding = side if pushed == "main" else main
    assert (record.id, record["before"], record["version"]) == (yielding.id, ["1.1.0"], "1.2.0")
    assert record.fields.keys() == {"before", "committed", "dataset", "path", "version"}
    assert clone.git("status", "--porcelain") == ""
    assert len(live(clone)) == 3


def test_every_clone_comes_to_the_same_result_and_a_second_run_does_nothing(world: World) -> None:
    main, side = two(world)
    clone = world.clone
    clone.push("origin", "main:a", "side:b")
    other = world.another_clone()
    for own, first, second in ((clone, "a", "b"), (other, "b", "a")):
        own.git("fetch", "--quiet", "origin")
        own.git("switch", "--quiet", "--detach", f"origin/{first}")
        own.git("merge", "--quiet", "--no-edit", f"origin/{second}")
        assert len(renumber(own.repo, "lattice", "settle")) == 1
        assert renumber(own.repo, "lattice", "settle") == []
    assert labels(clone) == labels(other)
    later = chain_of(clone).ordered([main.id, side.id])[1]
    assert labels(clone)[later.id] == "1.2.0"


def test_children_and_files_beside_the_pointer_follow(world: World) -> None:
    main, side = two(world)
    clone = world.clone
    clone.push("origin", "main")
    switch(clone, "side")
    child = grow(world, "child", 8, 9)
    clone.gitdata("checkout", "lattice")
    merge(clone, "main")
    assert "(gitdata renumber lattice)" in clone.gitdata("status").out
    assert f"Version 1.1.0 of 'lattice' stands for {', '.join(sorted((main.short, side.short)))}" in clone.push(
        "origin", "side"
    )
    done = clone.gitdata("renumber", "lattice")
    assert f"lattice@1.1.0 ({side.short}) is now 1.3.0" in done.out
    folder = clone.path / "datasets" / "lattice"
    assert not (folder / side.stem).exists()
    assert (folder / f"1.3.0-{side.short}" / "train" / "side.csv").is_file()
    assert clone.git("status", "--porcelain", "--find-renames=40%").splitlines() == [
        f"R  datasets/lattice/{side.stem}.dvc -> datasets/lattice/1.3.0-{side.short}.dvc"
    ]
    assert chain_of(clone).extensions[child.id].parents == (side.id,)
    clone.gitdata("verify")
    pointer = json.loads((folder / f"1.3.0-{side.short}.dvc").read_text())
    assert pointer["outs"][0]["path"] == f"1.3.0-{side.short}"


@pytest.mark.slow
def test_both_sides_renamed_it(world: World) -> None:
    """A merge keeps both names of one extension: the one that the deployment branch has stays."""
    main, side = two(world)
    clone = world.clone
    clone.push("origin", "main")
    merge(clone, "side")
    branch(clone, "once", "HEAD")
    renumber(clone.repo, "lattice", "settle")
    once = chain_of(clone).extensions[side.id]
    switch(clone, "main")
    grow(world, "more", 9, 10)
    renumber(clone.repo, "lattice", "settle")
    twice = chain_of(clone).extensions[side.id]
    assert (once.version, twice.version) == ("1.2.0", "1.3.0")
    clone.push("origin", "main")
    clone.git("merge", "--quiet", "--no-edit", "once", ok=False)  # git asks which name it is
    for name in (once, twice):
        clone.git("checkout", "HEAD" if name is twice else "once", "--", f"datasets/lattice/{name.stem}.dvc")
    clone.git("rm", "--quiet", "--cached", "--ignore-unmatch", f"datasets/lattice/{side.stem}.dvc")
    clone.git("commit", "--quiet", "-m", "both names")
    (record,) = renumber(clone.repo, "lattice", "one name")
    assert (record["before"], record["version"]) == (["1.2.0"], "1.3.0")
    assert main.id in chain_of(clone).live
    assert clone.git("status", "--porcelain") == ""


def test_what_is_not_committed_yet_is_renamed_as_well(world: World) -> None:
    two(world)
    clone = world.clone
    merge(clone, "side")
    clone.git("reset", "--quiet", "--soft", "HEAD~1")
    clone.git("reset", "--quiet")
    (record,) = renumber(clone.repo, "lattice", None)
    assert not record["committed"]
    assert chain_of(clone).double_versions == {}


def test_a_retracted_carrier_does_not_make_a_label_ambiguous(world: World) -> None:
    main, side = two(world)
    clone = world.clone
    merge(clone, "side")
    clone.gitdata("retract", f"lattice@{side.short}", "--reason", "bad", "-m", "bad")
    assert [e.id for e in chain_of(clone).matching("1.1.0")] == [main.id]
    assert renumber(clone.repo, "lattice", None) == []


@pytest.mark.slow
def test_a_run_that_was_killed_is_finished_by_the_next(world: World, tmp_path: Path) -> None:
    _, _ = two(world)
    clone = world.clone
    clone.push("origin", "main")
    merge(clone, "side")
    before = labels(clone)
    (record,) = renumber(clone.repo, "lattice", None)
    old = f"datasets/lattice/1.1.0-{record.id[:8]}.dvc"
    clone.git("checkout", "HEAD", "--", old)  # as if it had died before the old name went
    (again,) = renumber(clone.repo, "lattice", "settle")
    assert again["version"] == record["version"]
    assert not (clone.path / old).exists()
    assert before.keys() == labels(clone).keys()
    subprocess.run(["git", "diff", "--exit-code", "HEAD"], cwd=clone.path, check=True)
