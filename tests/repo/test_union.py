"""What is trained on, judged by and held back is the union: rows that parallel extensions share count once."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from branches import branch, chain_of, grow, merge, start, switch
from world import Clone, World

from gitdata.commands import extend as command
from gitdata.commands.intake import Request
from gitdata.commands.rowsource import RowSource, count
from gitdata.commands.union import union_parts


def rows_of(clone: Clone, ids: set[str] | None = None, split: str = "train") -> list[int]:
    """Rows that each extension brings to the union, in order; those that bring none stand as 0."""
    chain = clone.repo.work_tree_snapshot().chains["lattice"]
    parts = union_parts(clone.repo, chain, chain.live if ids is None else ids, split, within=chain.live)
    return [part.rows for part in parts]


@pytest.fixture
def forked(world: World) -> World:
    """Runs 0–4; on `main` runs 4–8, on `side` runs 6–10, merged: runs 6 and 7 stand in both."""
    start(world)
    branch(world.clone, "side")
    grow(world, "side", 6, 10)
    switch(world.clone, "main")
    grow(world, "main", 4, 8)
    merge(world.clone, "side")
    return world


def test_rows_that_two_branches_brought_are_read_once(forked: World) -> None:
    clone = forked.clone
    assert rows_of(clone) == [64, 64, 32]
    source = RowSource(clone.repo, (), ("W_max",))
    columns = source.rows(source.parts(chain_of(clone), chain_of(clone).live, "train"))
    assert count(columns) == 160
    assert len(set(source.digests(columns).tolist())) == 160


def test_what_extensions_hold_together_may_be_more_and_is_told_so(forked: World) -> None:
    for report in ("status", "ls"):
        assert "up to 192 train rows" in forked.clone.gitdata(report).out
        assert forked.clone.gitdata(report, "--json").records[0]["rows_at_most"] is True


def test_the_next_extension_joins_them_and_adds_up(forked: World) -> None:
    clone = forked.clone
    grow(forked, "again", 6, 7)
    assert rows_of(clone) == [64, 64, 32, 16]


def test_unseen_rows_that_a_seen_parallel_extension_brought_are_left_out(forked: World) -> None:
    clone, chain = forked.clone, chain_of(forked.clone)
    first, second = chain.ordered(chain.heads)
    assert rows_of(clone, {second.id}) == [32]
    assert rows_of(clone, {first.id}) == [64]
    alone = union_parts(clone.repo, chain, chain.closure([second.id]), "train")
    assert [part.rows for part in alone] == [64, 64]  # of its own closure nothing is missing


def test_a_retracted_extension_takes_no_rows_away(forked: World) -> None:
    clone, chain = forked.clone, chain_of(forked.clone)
    first, _ = chain.ordered(chain.heads)
    clone.gitdata("retract", f"lattice@{first.short}", "--reason", "bad", "-m", "bad")
    assert rows_of(clone) == [64, 64]


def test_splits_are_apart(world: World) -> None:
    """A row that is a train row here and a test row there is neither's double."""
    clone = world.clone
    start(world, 0, 2)
    for name, arguments in (("a", ["--test"]), ("b", []), ("c", ["--test"])):
        branch(clone, name)
        clone.gitdata("extend", "lattice", *arguments, world.lattice(f"{name}-rows", 2, 4), "-m", name)
    switch(clone, "main")
    merge(clone, "a", "b", "c")
    assert rows_of(clone) == [32, 32]
    assert sorted(rows_of(clone, split="test")) == [0, 32]


def test_of_a_linear_chain_no_index_is_read(world: World) -> None:
    clone = world.clone
    start(world, 0, 2)
    grow(world, "more", 1, 3)
    shutil.rmtree(clone.path / ".dvc" / "cache")
    assert rows_of(clone) == [32, 32]


def test_indexes_are_fetched_where_they_are_needed_and_nothing_else(forked: World) -> None:
    forked.clone.push("origin", "main")
    other = forked.another_clone()
    assert rows_of(other) == [64, 64, 32]
    fetched = [path for path in (other.path / ".dvc" / "cache").rglob("*") if path.is_file()]
    assert len(fetched) == 2
    assert {path.stat().st_size for path in fetched} == {64 * 8}


@pytest.mark.slow
def test_an_index_that_does_not_fit_is_named(forked: World) -> None:
    """As after an edit by hand that points to the sidecar of another extension."""
    clone, chain = forked.clone, chain_of(forked.clone)
    head = chain.ordered(chain.heads)[0]
    path = clone.path / "datasets" / "lattice" / f"{head.stem}.dvc"
    short = clone.gitdata("extend", "lattice", forked.lattice("short", 20, 21), "--json").records[0]
    index = next(a for a in chain_of(clone).extensions[short["id"]].sidecars if a.path.endswith("rows.u64"))
    own = next(a for a in head.sidecars if a.path.endswith("rows.u64"))
    clone.git("rm", "--quiet", "--force", short["pointer"])
    text = path.read_text().replace(own.md5, index.md5).replace(own.sha256, index.sha256)
    path.write_text(text.replace(f'"size": {own.size}', f'"size": {index.size}'))
    clone.declare()
    clone.commit("edited")
    done = clone.gitdata("train", "lattice", code=4)
    assert "has 16 entries" in done.err


@pytest.mark.slow
def test_a_cherry_picked_extension_teaches_nothing_twice(world: World) -> None:
    """The rows of `side` arrive by another extension: the model becomes current without a step."""
    clone = world.clone
    clone.declare(**{'method = ["finetune", "rehearse", "union"]': 'method = ["finetune"]'})
    clone.gitdata("add", "lattice", world.lattice("base", 0, 8), "--test", "0.2", "-m", "base")
    clone.commit("model")
    clone.git("remote", "remove", "origin")
    clone.git("switch", "--quiet", "-c", "side")
    clone.gitdata("extend", "lattice", world.lattice("rows", 8, 10), "-m", "side")
    clone.git("switch", "--quiet", "main")
    clone.gitdata("extend", "lattice", world.lattice("same-rows", 8, 10), "-m", "main")
    clone.gitdata("train", "lattice")
    clone.git("merge", "--quiet", "--no-edit", "side")
    record = clone.gitdata("train", "lattice", "--json").records[-1]
    assert len(record["unseen"]) == 1
    assert [(rung["method"], rung["steps"], rung["rows_read"]) for rung in record["rungs"]] == [("finetune", 0, 0)]
    assert clone.gitdata("pending", "--json").records[0]["unseen"] == []


@pytest.mark.parametrize("table", [False, True])
def test_rows_of_folders_keep_what_their_place_says(world: World, table: bool) -> None:
    """Labels are given to the rows of a file before rows that a parallel extension shares are left out of it."""

    def folder(name: str, *values: int) -> Request:
        for number, label in enumerate(("left", "right")):
            place = world.clone.path.parent / name / ("." if table else label) / f"{number}.csv"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("a\n" + "".join(f"{value}\n" for value in values))
        if table:
            (place.parent / "labels.csv").write_text("file,label\n0.csv,left\n1.csv,right\n")
        return Request("lattice", [world.clone.path.parent / name], message=name)

    repo = world.clone.repo
    command.add(repo, folder("base", 0))
    base = chain_of(world.clone).heads
    command.extend(repo, folder("one", 1, 2))
    command.extend(repo, replace(folder("two", 2, 3), parents=(base[0][:8],)))
    source = RowSource(repo, (), ())
    columns = source.rows(source.parts(chain_of(world.clone), chain_of(world.clone).live, "train"))
    rows = sorted(zip(columns["a"].tolist(), columns["label"].tolist(), strict=True))
    assert rows == [(value, label) for value in (0, 1, 2, 3) for label in ("left", "right")]
