"""Borrowed layers and Python as people use them: from declared files, across datasets, through retraction."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import Clone, World

from gitdata.commands.situation import deployments, lenders_first

BORROWER = {
    "layers = [": 'layers = [{ model = "peak@1", freeze = true }, "relu",',
}
BLOCKS = """
import jax
from flax import nnx


class Wide(nnx.Module):
    def __init__(self, shape, width, *, rngs):
        self.line = nnx.Linear(shape[-1], width, rngs=rngs)

    def __call__(self, x):
        return jax.nn.gelu(self.line(x))
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two datasets, `lattice` and `peaks`, and models of each: `lattice` borrows of `peak`."""
    world = World.make(tmp_path)
    clone = world.clone
    clone.gitdata("add", "peaks", world.lattice("peaks", 0, 6), "--test", "0.2", "-m", "peaks")
    clone.gitdata("add", "lattice", world.lattice("base", 6, 12), "--test", "0.2", "-m", "base")
    clone.declare("peak", **{'dataset = "lattice"': 'dataset = "peaks"'})
    clone.declare("lattice", **BORROWER)
    clone.commit("models")
    clone.git("push", "origin", "HEAD")
    return world


def ids(clone: Clone, dataset: str) -> set[str]:
    return set(clone.repo.snapshot().chain(dataset).extensions)


def seen(clone: Clone, model: str) -> frozenset[str]:
    ledger = clone.repo.ledger(model, clone.repo.ledger_commit())
    return ledger.seen(ledger.champion)


def test_a_part_counts_as_seen_across_datasets(world: World) -> None:
    clone = world.clone
    done = clone.gitdata("train", "lattice", code=2)
    assert "borrows of peak@1, which does not exist; versions: none" in done.err
    assert "gitdata train peak" in clone.gitdata("check", "lattice", code=2).err
    clone.gitdata("train", "peak")
    shown = clone.gitdata("check", "lattice").out
    assert "peak@1, frozen" in shown
    clone.gitdata("train", "lattice")
    assert seen(clone, "lattice") == ids(clone, "lattice") | ids(clone, "peaks")
    assert clone.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"
    assert "peaks@1.0.0" in clone.gitdata("lineage", "lattice").out
    assert "lattice@1" in clone.gitdata("lineage", "lattice", "--of", "peaks@1.0.0").out

    clone.gitdata("extend", "lattice", world.lattice("more", 12, 15), "--test", "0.2", "-m", "more")
    clone.git("push", "origin", "HEAD")
    clone.gitdata("train", "lattice")
    first, second = (clone.repo.ledger("lattice", clone.repo.ledger_commit()).numbered(n) for n in (1, 2))
    assert first
    assert second
    assert second.version.parent == first.id
    assert not frozenset(second.version.added) & ids(clone, "peaks")
    assert seen(clone, "lattice") == ids(clone, "lattice") | ids(clone, "peaks")

    clone.gitdata("retract", "peaks@1.0.0", "--reason", "wrong units")
    clone.commit("retracted")
    clone.git("push", "origin", "HEAD")
    assert "tainted" in clone.gitdata("pending", "lattice").out
    done = clone.gitdata("train", "lattice", code=2)
    assert "borrows of peak@1, which has seen what is not live" in done.err
    clone.gitdata("retract", "peaks@1.0.0", "--undo")
    clone.commit("undone")
    clone.git("push", "origin", "HEAD")
    assert "nothing to do" in clone.gitdata("pending", "lattice").out


def test_a_lender_is_trained_before_who_borrows_of_it(world: World) -> None:
    """One push may declare both; a runner takes them in an order in which each finds what it needs."""
    assert [found.model for found in deployments(world.clone.repo)] == ["peak", "lattice"]
    chained = lenders_first({"a": ("b@1", "c@2", "elsewhere@1"), "b": ("c@1",), "c": (), "d": ("d@1",)})
    assert [model for model in chained if model != "d"] == ["c", "b", "a"]
    assert sorted(chained) == ["a", "b", "c", "d"]
    assert lenders_first({"b": (), "a": ()}) == ["a", "b"]
    assert lenders_first({"a": ("b@1",), "b": ("a@1",)}) == ["a", "b"]


def test_python_runs_where_the_owner_allows_it_and_nowhere_else(world: World) -> None:
    clone = world.clone
    layers = 'layers = [{ python = "blocks.py:Wide", shape = [24], options = { width = 24 } }, { dense = "outputs" }] #'
    clone.declare("wide", **{"layers = [": layers})
    assert "names models/blocks.py, which is not there" in clone.gitdata("check", "wide", code=2).err
    (clone.path / "models" / "blocks.py").write_text(BLOCKS)
    clone.commit("wide")
    clone.git("push", "origin", "HEAD")
    assert "this machine does not allow" in clone.gitdata("check", "wide").out
    assert "this machine does not allow" in clone.gitdata("train", "wide", code=2).err
    clone.git("config", "gitdata.allowPython", "perhaps")
    assert "neither true nor false" in clone.gitdata("train", "wide", code=2).err
    clone.git("config", "gitdata.allowPython", "true")
    assert clone.gitdata("train", "wide", "--json").records[-1]["verdict"] == "accepted"

    changed = BLOCKS.replace("jax.nn.gelu", "jax.nn.relu")
    (clone.path / "models" / "blocks.py").write_text(changed)
    clone.commit("another activation")
    assert "start from scratch" in clone.gitdata("pending", "wide").out
    before = clone.gitdata("evaluate", "wide@1", "--json").records[0]["metrics"]
    clone.git("revert", "--no-edit", "HEAD")
    assert clone.gitdata("evaluate", "wide@1", "--json").records[0]["metrics"] == before
    assert "nothing to do" in clone.gitdata("pending", "wide").out
    clone.git("config", "--unset", "gitdata.allowPython")
    assert "this machine does not allow" in clone.gitdata("evaluate", "wide", code=2).err
