"""A person's word and what follows from it, and what is no longer live: no model is frozen, none stays tainted."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import Clone, World


@pytest.fixture(scope="module")
def trained(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("trained"))
    (world.server.path / "hooks" / "post-receive").unlink()
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    world.clone.gitdata("train", "lattice")
    return world


@pytest.fixture
def world(trained: World, tmp_path: Path) -> World:
    """A clone without a server's hook; trainings are asked for by hand. Version 1 is the champion."""
    return trained.copy(tmp_path)


def grow(world: World, first: int) -> None:
    world.clone.gitdata("extend", "lattice", world.lattice(str(first), first, first + 4), "--test", "0.2", "-m", "more")
    world.clone.push()


def verdicts(clone: Clone) -> dict[int, tuple[str, bool]]:
    return {v["number"]: (v["verdict"], v["champion"]) for v in clone.gitdata("models", "--json").records}


def confirming(world: World) -> None:
    world.clone.declare("lattice", "", **{'policy = "automatic"': 'policy = "confirm"'})
    world.clone.commit("a person confirms")
    world.clone.push()


def test_after_a_rollback_nothing_is_restored_from_what_descends_from_it(world: World) -> None:
    clone = world.clone
    confirming(world)
    for first in (20, 24):
        grow(world, first)
        clone.gitdata("train", "lattice")
        if first == 20:
            clone.gitdata("promote", "lattice@2")
    clone.gitdata("rollback", "lattice", "-m", "2 is bad")
    assert verdicts(clone) == {1: ("accepted", True), 2: ("rolled back", False), 3: ("waiting", False)}
    grow(world, 28)
    record = clone.gitdata("train", "lattice", "--json").records[-1]
    assert record["verdict"] in ("waiting", "refused", "undecided")  # judged at the tip, not an experiment
    (latest,) = [v for v in clone.gitdata("models", "--json").records if v["number"] == 4]
    (first,) = [v for v in clone.gitdata("models", "--json").records if v["number"] == 1]
    assert latest["parent"] == first["id"]


def test_a_person_who_promotes_a_descendant_owns_the_line_again(world: World) -> None:
    clone = world.clone
    confirming(world)
    grow(world, 20)
    clone.gitdata("train", "lattice")
    clone.gitdata("promote", "lattice@2")
    grow(world, 24)
    clone.gitdata("train", "lattice")
    clone.gitdata("rollback", "lattice")
    clone.gitdata("promote", "lattice@3", "-m", "this one is fine")
    grow(world, 28)
    assert clone.gitdata("train", "lattice", "--json").records[-1]["verdict"] != "experiment"
    versions = {v["number"]: v for v in clone.gitdata("models", "--json").records}
    assert versions[4]["parent"] == versions[3]["id"]


def test_an_experiment_that_makes_a_known_version_again_leaves_its_verdict(world: World) -> None:
    clone = world.clone
    grow(world, 20)
    clone.gitdata("train", "lattice")
    before = {v["number"]: v for v in clone.gitdata("models", "--json").records}
    clone.gitdata("train", "lattice", "--at", "HEAD~1", "--force")
    clone.gitdata("train", "lattice", "--data", "lattice@1.0.0", "--force")
    after = {v["number"]: v for v in clone.gitdata("models", "--json").records}
    assert {number: after[number] for number in before} == before


def test_a_tainted_champion_falls_back_where_the_question_was_answered_before(world: World) -> None:
    """The data after the retraction were there before, and a version that nobody promoted was the answer then."""
    clone = world.clone
    confirming(world)
    grow(world, 20)
    clone.gitdata("train", "lattice")
    grow(world, 24)
    clone.gitdata("train", "lattice")
    clone.gitdata("promote", "lattice@3")
    clone.gitdata("retract", "lattice@1.2.0", "--reason", "wrong material", "-m", "bad")
    clone.push()
    assert "tainted by 1.2.0" in clone.gitdata("pending", "--exit-code", code=1).out
    told = clone.gitdata("predict", "lattice", world.lattice("ask", 30, 31), "-o", world.root / "out.csv").err
    assert "saw what was retracted: lattice@1.2.0" in told
    dry = clone.gitdata("train", "lattice", "--dry-run").out
    assert "would fall back" in dry
    assert "is the champion again" in clone.gitdata("train", "lattice").out
    assert verdicts(clone) == {1: ("accepted", True), 2: ("waiting", False), 3: ("accepted", False)}
    assert "nothing to do" in clone.gitdata("train", "lattice").out
    assert "saw what was retracted" in clone.gitdata("promote", "lattice@3", "-m", "all the same").err


def test_predictions_replace_neither_their_input_nor_what_gitdata_keeps(world: World) -> None:
    clone, designs = world.clone, world.lattice("designs", 30, 31)
    before = designs.read_bytes()
    pointer = next((clone.path / "datasets" / "lattice").glob("*.dvc"))
    for target, says in ((designs, "holds the rows"), (pointer, "keeps its own"), (clone.path / ".git" / "x", "keeps")):
        kept = target.read_bytes() if target.exists() else None
        assert says in clone.gitdata("predict", "lattice", designs, "-o", target, code=2).err
        assert (target.read_bytes() if target.exists() else None) == kept
    assert designs.read_bytes() == before
    odd = world.root / "odd.csv"
    odd.write_text(designs.read_text().replace("tension", "torsion"))
    assert "torsion" in clone.gitdata("predict", "lattice", odd, "-o", world.root / "out.csv").err
    odd.write_text("\n".join([*designs.read_text().splitlines()[:3], ",0.1,0.1" + "," * 9]) + "\n")
    assert "Traceback" not in clone.gitdata("predict", "lattice", odd, "-o", world.root / "out2.csv", code=2).err


@pytest.mark.parametrize("how", ["deleted", "rewritten"])
def test_a_ledger_that_was_lost_is_neither_followed_nor_begun_anew(world: World, how: str) -> None:
    clone, other = world.clone, world.another_clone()
    grow(world, 20)
    clone.gitdata("train", "lattice")
    other.gitdata("fetch")
    known = clone.gitdata("models", "--json").out
    before = clone.git("rev-parse", "refs/remotes/origin/gitdata/models")
    if how == "deleted":
        clone.push("origin", ":gitdata/models")
    else:
        clone.git("push", "--quiet", "--force", "--no-verify", "origin", f"{before}~1:refs/heads/gitdata/models")
    other.git("fetch", "--quiet", "--prune")  # git itself follows, whatever comes
    for place in (clone, other):
        said = place.gitdata("models", code=4).err
        assert before[:12] in said
        assert "git push --force origin" in said
    grow(world, 24)
    clone.gitdata("train", "lattice", code=4)
    assert before[:12] in clone.gitdata("doctor", code=1).out
    clone.git("push", "--quiet", "--force", "--no-verify", "origin", f"{before}:refs/heads/gitdata/models")
    assert clone.gitdata("models", "--json").out == known
    assert other.gitdata("models", "--json").out == known


def test_a_server_whose_ledger_is_gone_says_so_and_starts_none(world: World) -> None:
    server = world.server
    server.gitdata("train", "lattice")
    lost = server.git("rev-parse", "gitdata/models")
    server.git("update-ref", "-d", "refs/heads/gitdata/models")
    grow(world, 20)
    assert lost[:12] in server.gitdata("train", "lattice", code=4).err
    assert lost[:12] in server.gitdata("doctor", code=1).out
    server.git("update-ref", "refs/heads/gitdata/models", lost)
    server.gitdata("train", "lattice")
    assert len(server.ledger()) == 2


def test_a_ledger_that_somebody_holds_the_lock_of_names_the_lock(world: World) -> None:
    server = world.server
    server.gitdata("train", "lattice")
    lock = server.path / "refs" / "heads" / "gitdata" / "models.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    said = server.gitdata("train", "lattice", "--force", code=5).err
    assert "models.lock" in said
    lock.unlink()
    server.gitdata("train", "lattice", "--force")


def test_damage_to_one_models_ledger_leaves_the_others_usable(world: World) -> None:
    clone = world.clone
    clone.declare("second")
    clone.commit("second")
    clone.push()
    clone.gitdata("train", "second")
    clone.git("fetch", "--quiet")
    clone.git("checkout", "--quiet", "-b", "damage", "origin/gitdata/models")
    (verdict,) = (clone.path / "models" / "lattice").glob("*.verdict")
    verdict.write_text("{")
    clone.git("commit", "--quiet", "--all", "-m", "damage")
    clone.git("push", "--quiet", "--no-verify", "origin", "HEAD:gitdata/models")
    clone.git("checkout", "--quiet", "main")
    assert "second@1" in clone.gitdata("models", "second").out
    said = clone.gitdata("models", "lattice", code=4).err
    assert verdict.name in said


def test_an_experiment_that_is_gated_again_is_said_to_stay_one(tmp_path: Path) -> None:
    """Nothing was pushed: only test rows changed, and the answer is the one that was recorded."""
    clone = (world := World.make(tmp_path)).clone
    clone.declare()
    clone.gitdata("add", "lattice", world.lattice("base", 0, 4), "-m", "base")
    clone.commit("model")
    assert "experiment" in clone.gitdata("train", "lattice").out
    clone.gitdata("extend", "lattice", "--test", world.lattice("test", 4, 6), "-m", "test rows alone")
    assert "nothing to do (version 1 stays experiment)" in clone.gitdata("train", "lattice").out
