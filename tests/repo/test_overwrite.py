"""`extend --version V --overwrite`: the old extension is retracted, the new one has its label."""

from __future__ import annotations

import pytest
from branches import chain_of, grow, live, start
from world import World

from gitdata.commands import extend as command
from gitdata.commands.intake import Request


def test_the_label_moves_and_one_commit_says_so(world: World) -> None:
    clone = world.clone
    start(world)
    old = grow(world, "wrong", 4, 6)
    done = clone.gitdata(
        "extend", "lattice", world.lattice("right", 4, 7), "--version", "1.1.0", "--overwrite", "-m", "Runs again"
    )
    assert f"retracted: {old.stem}; no model version saw it" in done.out
    (new,) = chain_of(clone).matching("1.1.0")
    assert new.id != old.id
    assert chain_of(clone).double_versions == {}
    assert live(clone) == {chain_of(clone).matching("1.0.0")[0].stem, new.stem}
    message = clone.git("log", "-1", "--format=%B")
    assert message.startswith("Runs again")
    assert f"Overwrites lattice@1.1.0 ({old.short}). No model version saw it." in message
    changed = clone.git("show", "--name-only", "--format=").splitlines()
    assert changed == [f"datasets/lattice/{new.stem}.dvc", f"datasets/lattice/retracted/{old.id}.json"]
    assert "is in use" in clone.gitdata(
        "extend", "lattice", world.lattice("x", 9, 10), "--version", "1.1.0", code=2
    ).err  # fmt: skip


def test_rows_of_what_is_overwritten_are_no_doubles(world: World) -> None:
    """With --dedupe nothing may be left out that stands only in what is being retracted."""
    start(world)
    grow(world, "wrong", 4, 6)
    request = Request("lattice", [world.lattice("right", 4, 7)], version="1.1.0", overwrite=True, dedupe=True)
    record = command.extend(world.clone.repo, request)
    assert (record["rows"], record["known_rows"]) == ({"train": 48}, 0)


def test_what_cannot_be_overwritten_is_said(world: World) -> None:
    clone = world.clone
    start(world)
    grow(world, "wrong", 4, 6)
    path = world.lattice("right", 4, 7)
    before = clone.git("status", "--porcelain")
    none = clone.gitdata("extend", "lattice", path, "--version", "7.0.0", "--overwrite", code=2)
    assert "has no version 7.0.0" in none.err
    assert "--overwrite needs" in clone.gitdata("extend", "lattice", path, "--overwrite", code=2).err
    same = world.lattice("wrong", 4, 6)
    assert "already in" in clone.gitdata("extend", "lattice", same, "--version", "1.1.0", "--overwrite", code=2).err
    assert clone.git("status", "--porcelain") == before


@pytest.mark.parametrize("last", ["retraction", "pointer"])
def test_a_repeat_finishes_what_a_killed_run_began(world: World, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = world.clone
    start(world)
    old = grow(world, "wrong", 4, 6)
    request = Request(
        "lattice", [world.lattice("right", 4, 7)], version="1.1.0", overwrite=True, message="Runs again"
    )  # fmt: skip

    def die(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        where = (command, "_write_pointer") if last == "retraction" else (type(clone.repo.git), "commit")
        patch.setattr(*where, die)
        with pytest.raises(KeyboardInterrupt):
            command.extend(clone.repo, request)
    record = command.extend(clone.repo, request)
    assert clone.git("status", "--porcelain") == ""
    assert chain_of(clone).matching("1.1.0")[0].id == record.id
    assert chain_of(clone).retracted == {old.id}
    assert record["overwrites"] == [old.stem]
    assert f"Overwrites lattice@1.1.0 ({old.short})" in clone.git("log", "-1", "--format=%B")


@pytest.mark.slow
def test_every_version_of_every_model_that_saw_the_old_one_is_named(world: World) -> None:
    clone = world.clone
    for name in ("lattice", "other"):
        clone.declare(name)
    clone.gitdata("add", "lattice", world.lattice("base", 0, 6), "--test", "0.2", "-m", "base")
    clone.commit("models")
    clone.push()
    world.server.wait()
    clone.gitdata(
        "extend", "lattice", world.lattice("right", 0, 5), "--version", "1.0.0", "--overwrite", "-m", "Again"
    )  # fmt: skip
    assert "Seen by lattice@1, other@1." in clone.git("log", "-1", "--format=%B")
