"""Variants in a repository: what a change of the extended file means for the model that extends it."""

from __future__ import annotations

from pathlib import Path

from world import World

from gitdata.commands.situation import pending


def action(world: World, model: str = "quick") -> str:
    repo = world.clone.repo
    (record,) = pending(repo, [model], repo.snapshot(), repo.fetch_ledger())
    return str(record["action"])


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_changed_base_means_for_a_variant_what_its_own_change_would(world: World) -> None:
    clone = world.clone
    clone.git("remote", "remove", "origin")
    clone.declare()
    base = clone.path / "models" / "lattice.toml"
    (clone.path / "models" / "quick.toml").write_text('extends = "lattice.toml"\n[training]\nepochs = 2\n')
    clone.gitdata("add", "lattice", world.lattice("a", 0, 12), "--test", "0.2", "-m", "a")
    clone.commit("models")
    record = clone.gitdata("train", "quick", "--json").records[-1]
    assert record["verdict"] == "accepted"
    assert action(world) == "nothing"

    change(base, "tolerance = 0.02", "tolerance = 0.05")
    change(base, 'loss = "mae"', 'loss = { name = "huber", delta = 0.5 }')
    clone.commit("deployment and training of the base")
    assert action(world) == "nothing"
    change(base, "dense = 96", "dense = 48")
    assert action(world) == "nothing"  # not committed yet
    clone.commit("network of the base")
    assert action(world) == "train"
    base.unlink()
    clone.commit("no base")
    assert (
        "quick.toml: it extends lattice.toml, which is not in models/" in clone.gitdata("pending", "quick", code=2).err
    )
