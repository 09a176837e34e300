"""Histories as git really makes them: each ends in the right live set, the right union, and a message that helps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from branches import branch, chain_of, grow, live, merge, start, switch
from world import Clone, Server, World, run

from gitdata.automation import hooks
from gitdata.commands.extend import extend
from gitdata.commands.init import init
from gitdata.commands.intake import Request
from gitdata.commands.prune import prune
from gitdata.commands.union import union_parts
from gitdata.commands.verify import Options, verify
from gitdata.data import pointerfile
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot


def stems(*extensions: Extension) -> set[str]:
    return {extension.stem for extension in extensions}


def union_rows(clone: Clone) -> int:
    chain = chain_of(clone)
    return sum(part.rows for part in union_parts(clone.repo, chain, clone.repo.live(chain), "train"))


def committed(repo: Repo, revision: str = "HEAD") -> Snapshot:
    return repo.snapshot(revision)


def pointer(extension: Extension) -> str:
    return f"datasets/lattice/{extension.stem}.dvc"


def test_a_criss_cross_merge(world: World) -> None:
    """Each branch merges the other's tip, then both go on: git finds two merge bases, we need none."""
    clone = world.clone
    base = start(world)
    branch(clone, "side")
    side = grow(world, "side", 4, 6)
    switch(clone, "main")
    main = grow(world, "main", 6, 8)
    tip = clone.git("rev-parse", "main")
    merge(clone, "side")
    switch(clone, "side")
    merge(clone, tip)
    later_side = grow(world, "later-side", 8, 9)
    switch(clone, "main")
    later_main = grow(world, "later-main", 9, 10)
    merge(clone, "side")
    assert len(clone.git("merge-base", "--all", "main~1", "side").splitlines()) == 2
    assert live(clone) == stems(base, side, main, later_side, later_main)
    assert set(later_side.parents) == set(later_main.parents) == {side.id, main.id}
    assert set(chain_of(clone).heads) == {later_side.id, later_main.id}
    assert union_rows(clone) == 16 * 10
    last = grow(world, "last", 10, 11)
    assert chain_of(clone).heads == (last.id,)


def test_an_octopus_merge_of_three_branches_that_each_extended(world: World) -> None:
    clone = world.clone
    base = start(world)
    made = []
    for number, name in enumerate(("a", "b", "c")):
        branch(clone, name)
        made.append(grow(world, name, 4 + number, 6 + number))  # neighbours share a run
    switch(clone, "main")
    merge(clone, "a", "b", "c")
    assert len(clone.git("rev-parse", "HEAD^@").splitlines()) == 3
    assert live(clone) == stems(base, *made)
    assert set(chain_of(clone).heads) == {extension.id for extension in made}
    assert union_rows(clone) == 16 * 8  # runs 0–7, each once
    assert len(chain_of(clone).double_versions["1.1.0"]) == 3
    joined = grow(world, "joined", 20, 21)
    assert set(joined.parents) == {extension.id for extension in made}
    assert union_rows(clone) == 16 * 9
    drawing = clone.gitdata("log", "lattice", "--graph").out.splitlines()
    assert drawing[0].startswith(f"●  {joined.version} ({joined.short})")
    assert [line[:5] for line in drawing[1:]] == ["├─╮", "├─┼─╮", "● │ │", "│ ● │", "├─╯ │", "│   ●", "├───╯", "○  1."]


def test_a_cherry_picked_extension(world: World) -> None:
    """The same pointer on two branches is one extension; the parent that was left behind counts as retracted."""
    clone = world.clone
    base = start(world)
    branch(clone, "side")
    first = grow(world, "first", 4, 6)
    second = grow(world, "second", 6, 8)
    switch(clone, "main")
    clone.git("cherry-pick", "side")
    assert live(clone) == stems(base, second)
    assert chain_of(clone).lost == {first.id}
    merge(clone, "side")
    assert live(clone) == stems(base, first, second)
    assert union_rows(clone) == 16 * 8


@pytest.mark.slow
def test_where_the_parent_of_a_cherry_pick_was_never_fetched_it_is_named(world: World) -> None:
    clone = world.clone
    start(world)
    branch(clone, "side")
    first = grow(world, "first", 4, 6)
    grow(world, "second", 6, 8)
    switch(clone, "main")
    clone.git("cherry-pick", "side")
    assert f"The pointer of lattice@{first.version} ({first.short}) was deleted" in clone.push("origin", "main")
    clone.push("origin", "side")
    lone = Clone(world.root / "lone")
    run("git", "clone", "--quiet", "--single-branch", f"file://{world.server.path}", lone.path, cwd=world.root)
    for command in (("status",), ("log", "lattice"), ("ls",)):
        done = lone.gitdata(*command, code=4)
        assert f"names the parent {first.short}, whose pointer is neither here nor in history" in done.err
        assert "git fetch --all" in done.err
    lone.git("fetch", "--quiet", "origin", "side:refs/remotes/origin/side")
    assert "lost" in lone.gitdata("log", "lattice", "--graph").out


def test_a_rebased_branch_with_two_extensions(world: World) -> None:
    """Ids hold no commit, so a rebase changes none; the rebased branch has two heads."""
    clone = world.clone
    base = start(world)
    branch(clone, "side")
    first, second = grow(world, "first", 4, 6), grow(world, "second", 6, 8)
    switch(clone, "main")
    main = grow(world, "main", 8, 10)
    switch(clone, "side")
    clone.git("rebase", "--quiet", "main")
    assert live(clone) == stems(base, first, second, main)
    assert set(chain_of(clone).heads) == {second.id, main.id}
    switch(clone, "main")
    clone.git("merge", "--quiet", "--ff-only", "side")
    assert clone.git("rev-list", "--merges", "HEAD") == ""
    assert union_rows(clone) == 16 * 10


def test_a_reverted_leaf_is_gone_and_an_interior_one_counts_as_retracted(world: World) -> None:
    clone = world.clone
    base = start(world)
    inner = grow(world, "inner", 4, 6)
    inner_commit = clone.git("rev-parse", "HEAD")
    leaf = grow(world, "leaf", 6, 8)
    clone.git("revert", "--no-edit", "HEAD")
    assert live(clone) == stems(base, inner)
    assert leaf.id not in chain_of(clone).extensions
    clone.git("revert", "--no-edit", "HEAD")  # and back
    clone.git("revert", "--no-edit", inner_commit)
    assert live(clone) == stems(base, leaf)
    assert union_rows(clone) == 16 * 6
    assert inner.short in clone.gitdata("status").out
    assert f"The pointer of lattice@1.1.0 ({inner.short}) was deleted" in clone.push("origin", "main")
    clone.git("revert", "--no-edit", "HEAD")
    assert live(clone) == stems(base, inner, leaf)


def test_what_a_reverted_generation_replaced_is_not_missed(world: World) -> None:
    """Its child keeps the replacement in force, so `prune` may take the old rows out of the cache."""
    clone = world.clone
    base = start(world)
    old = grow(world, "old", 4, 6)
    request = Request("lattice", [world.lattice("all", 1, 6)], grown="replace", message="corrected")
    generation = extend(clone.repo, request).id
    corrected = clone.git("rev-parse", "HEAD")
    child = grow(world, "child", 6, 8)
    clone.git("revert", "--no-edit", corrected)
    clone.push("origin", "main")
    assert live(clone) == stems(child)
    chain = chain_of(clone)
    assert (chain.lost, chain.replaced) == ({generation}, {base.id, old.id})
    prune(clone.repo, remote=False, dry_run=False)
    assert [missing(clone, id) for id in (base.id, old.id, child.id)] == [True, True, False]
    findings = [record["part"] for record in verify(clone.repo, Options())[:-1]]
    assert findings == ["chain"]  # the pointer that was taken away; no blob


def missing(clone: Clone, id: str) -> bool:
    return bool(clone.repo.missing_from_cache(chain_of(clone).extensions[id]))


def test_a_shallow_clone_names_a_parent_beyond_its_horizon(world: World) -> None:
    clone = world.clone
    start(world)
    inner = grow(world, "inner", 4, 6)
    leaf = grow(world, "leaf", 6, 8)
    clone.push("origin", "main")
    shallow = Clone(world.root / "shallow")
    command = ("git", "clone", "--quiet", "--depth", "1", f"file://{world.server.path}")
    run(*command, shallow.path, cwd=world.root)
    assert live(shallow) == live(clone)  # every pointer is in the newest commit
    shutil.rmtree(shallow.path)
    clone.git("rm", "--quiet", pointer(inner))
    clone.git("commit", "--quiet", "-m", "away")
    clone.push("origin", "main")
    run(*command, shallow.path, cwd=world.root)
    done = shallow.gitdata("log", "lattice", code=4)
    assert inner.short in done.err
    assert "git fetch --unshallow" in done.err
    shallow.git("fetch", "--quiet", "--unshallow")
    assert live(shallow) == live(clone)
    assert leaf.stem in live(shallow)


def test_a_linked_worktree_extends_a_branch_of_its_own(world: World) -> None:
    clone = world.clone
    base = start(world)
    clone.git("worktree", "add", "--quiet", "-b", "side", world.root / "linked")
    linked = Clone(world.root / "linked")
    side = grow(world, "side", 4, 6, clone=linked)
    main = grow(world, "main", 5, 8)
    assert live(linked) == stems(base, side)
    assert live(clone) == stems(base, main)
    assert not (linked.path / ".dvc" / "cache").exists()  # they share the blobs of the clone
    merge(clone, "side")
    assert live(clone) == stems(base, side, main)
    assert union_rows(clone) == 16 * 8
    linked.push("origin", "side")


@pytest.mark.slow
def test_a_submodule_is_a_repository_of_its_own(world: World) -> None:
    start(world)
    world.clone.push("origin", "main")
    outer = Clone(world.root / "outer")
    run("git", "init", "--quiet", outer.path, cwd=world.root)
    outer.git("submodule", "--quiet", "add", str(world.server.path), "data")
    outer.git("commit", "--quiet", "-m", "data")
    inner = Clone(outer.path / "data")
    init(inner.repo)
    hooks.install(inner.repo)
    more = grow(world, "more", 4, 6, clone=inner)
    assert more.stem in live(inner)
    assert union_rows(inner) == 16 * 6
    inner.push("origin", "HEAD:main")
    assert "gitdata" in outer.gitdata("status", code=2).err  # the outer one is none of ours
    other = world.another_clone()
    assert live(other) == live(inner)


@pytest.mark.slow
def test_a_sha256_repository(tmp_path: Path) -> None:
    server, clone = tmp_path / "server.git", Clone(tmp_path / "clone")
    for arguments in (("--bare", server), (clone.path,)):
        run("git", "init", "--quiet", "--object-format=sha256", "--initial-branch=main", *arguments, cwd=tmp_path)
    clone.git("remote", "add", "origin", str(server))
    init(clone.repo)
    hooks.install(clone.repo)
    world = World(tmp_path, Server(server), clone)
    base = start(world)
    branch(clone, "side")
    side = grow(world, "side", 4, 6)
    switch(clone, "main")
    main = grow(world, "main", 6, 8)
    clone.push("origin", "main")
    merge(clone, "side")
    clone.gitdata("renumber", "lattice", "-m", "settle")
    clone.gitdata("retract", f"lattice@{side.short}", "--reason", "bad", "-m", "bad")
    clone.push("origin", "main", "side")
    assert len(clone.git("rev-parse", "HEAD")) == 64
    assert live(clone) == stems(base, main)
    other = world.another_clone()
    other.gitdata("pull", "lattice")
    clone.gitdata("verify", "--deep", "--remote")
    assert live(other) == live(clone)
    clone.git("rm", "--quiet", pointer(main))
    grow(world, "last", 8, 9, parents=["1.0.0"])


def test_a_parent_that_is_nowhere_is_named_and_stops_no_other_dataset(world: World) -> None:
    clone = world.clone
    start(world)
    more = grow(world, "more", 4, 6)
    alone = Clone(world.root / "alone")
    run("git", "init", "--quiet", alone.path, cwd=world.root)
    init(alone.repo)
    target = alone.path / pointer(more)
    target.parent.mkdir(parents=True)
    shutil.copy(clone.path / pointer(more), target)
    alone.commit("copied by hand")
    (missing,) = more.parents
    with pytest.raises(DataUnavailable, match=missing[:8]):
        alone.repo.live(chain_of(alone))
    assert missing[:8] in alone.gitdata("extend", "lattice", world.lattice("x", 8, 9), code=4).err
    assert f"parent {missing[:8]} has no pointer" in alone.gitdata("verify", code=1).out
    assert committed(alone.repo).chains["lattice"].extensions.keys() == {more.id}


def test_a_cycle_cannot_be_made_by_hand(world: World) -> None:
    """The id is over the parents: whoever edits them gets another id, and the pointer is refused."""
    clone = world.clone
    base = start(world)
    more = grow(world, "more", 4, 6)
    path = clone.path / pointer(base)
    text = path.read_text()
    path.write_text(text.replace('"parents": []', f'"parents": [\n        "{more.id}"\n      ]'))
    done = clone.gitdata("log", "lattice", code=4)
    assert f"{pointer(base)} is damaged: its id is {base.short}, its content gives" in done.err
    assert "git log -- datasets" in done.err
    with pytest.raises(pointerfile.PointerError):
        pointerfile.decode(path.read_bytes())
    clone.gitdata("verify", "--repair")
    assert path.read_text() == text


def test_parallel_extensions_are_joined_by_the_next_whoever_makes_it(world: World) -> None:
    clone = world.clone
    start(world)
    branch(clone, "side")
    grow(world, "side", 4, 6)
    switch(clone, "main")
    grow(world, "main", 6, 8)
    merge(clone, "side")
    clone.push("origin", "main")
    other = world.another_clone()
    made = [grow(world, "joined", 8, 9, clone=own) for own in (clone, other)]
    assert made[0] == made[1]
    assert len(made[0].parents) == 2
    assert (clone.path / pointer(made[0])).read_bytes() == (other.path / pointer(made[1])).read_bytes()
