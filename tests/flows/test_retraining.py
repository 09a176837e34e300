"""Retraining as people meet it: nothing declared, old blobs gone, a chain cut loose, and what the ledger says of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from world import World

from gitdata.commands.restart import UNKNOWN, changed
from gitdata.training.declaration import parse

LADDER = 'method = ["finetune", "rehearse", "union"]\n'


def start(world: World) -> None:
    world.clone.declare(**{LADDER: ""})
    world.clone.gitdata(
        "add", "lattice", world.lattice("base", 0, 30), "--test", "0.15", "--validation", "0.15", "--inputs",
        "t1,t2,t3,scenario,dir", "--outputs", "W_max,P_peak",
    )  # fmt: skip
    world.clone.commit("a dataset and a model")
    world.clone.push()
    world.server.wait()


def extend(world: World, first: int, last: int) -> str:
    done = world.clone.gitdata(
        "extend", "lattice", world.lattice(f"runs{first}", first, last), "--test", "0.15", "--validation", "0.15", "-m",
        "more", "--json",
    )  # fmt: skip
    return str(done.records[0]["id"])


def blobs(world: World, id: str) -> list[str]:
    repo = world.clone.repo
    return [file.md5 for file in repo.files_of(repo.work_tree_snapshot().chain("lattice").extensions[id])]


def test_auto_does_without_old_blobs_by_what_travels_in_the_package(world: World) -> None:
    """Proof by removal: they are gone everywhere, test rows aside, which the gate asks."""
    start(world)
    repo = world.clone.repo
    base = repo.work_tree_snapshot().chain("lattice").heads[0]
    files = repo.files_of(repo.work_tree_snapshot().chain("lattice").extensions[base])
    gone = [file.md5 for file in files if file.split != "test"]
    id = extend(world, 30, 40)
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    for md5 in gone:
        for root in (world.server.store, world.server.path / "gitdata" / "cache"):
            (root / "files" / "md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)
    done = world.server.gitdata("train", "lattice", "--json").records[-1]
    assert done["unseen"] == [id]
    rung = done["rungs"][0]
    assert rung["method"] == "distil"
    assert done["method"] in ("distil", "keep"), "rehearse reads what is gone"
    assert rung["steps"] <= 0.36 * rung["union_steps"], "the unseen share, and a tenth"
    again = world.server.gitdata("train", "lattice", "--json").records[-1]
    assert again["action"] == "nothing"


@pytest.mark.slow
def test_a_version_from_scratch_has_no_parent_and_a_ledger_tells_how_new_rows_looked(world: World) -> None:
    start(world)
    extend(world, 30, 36)
    world.clone.push()
    world.server.wait()
    first, second = world.server.ledger()
    assert [rung["method"] for rung in second["rungs"]] == ["rehearse"]
    measured = world.clone.gitdata("measures", "lattice", "--json").records[-1]
    assert measured["prequential_error"] > 0
    assert measured["sample_touch_ratio"] < 1
    fresh = world.clone.gitdata("train", "lattice", "--method", "scratch", "--force", "--json").records[-1]
    assert fresh["method"] == "scratch"
    lineage = world.clone.gitdata("lineage", "lattice@3", "--json").records
    assert [version["number"] for version in lineage] == [3]
    assert len(lineage[0]["added"]) == len({*first["added"], *second["added"]}) == 2


def test_a_champion_of_another_architecture_is_told_apart_in_words(world: World) -> None:
    start(world)
    clone = world.clone
    clone.declare(**{LADDER: "", "{ dense = 96 }": "{ dense = 32 }"})
    clause = "layer 1: dense 96 in version 1, dense 32 declared"
    clone.commit("a smaller network")
    pending = clone.gitdata("pending", "lattice", "--json").records[0]
    assert (pending["action"], pending["changed"]) == ("train", [clause])
    assert clause in clone.gitdata("pending", "lattice").out
    assert clause in clone.gitdata("status").out
    (finding,) = [
        record for record in clone.gitdata("check", "lattice", "--json").records if record.get("rule") == "new-start"
    ]
    assert finding["text"] == f"nothing of lattice@1 is restored: {clause}"
    done = clone.gitdata("train", "lattice", "--dry-run", env={"GITDATA_PROGRESS": "1"})
    assert f"Nothing of the champion is restored: {clause}." in done.err
    entry = clone.repo.ledger("lattice", clone.repo.ledger_commit()).numbered(1)
    assert entry is not None
    elsewhere = replace(entry, version=replace(entry.version, commit="0" * 40))
    now = parse(clone.repo.snapshot().declaration("lattice"), "lattice")
    assert changed(clone.repo, entry, now) == (clause,)
    assert changed(clone.repo, elsewhere, now) == (UNKNOWN,), "a commit that is not here says nothing"


def constant(world: World, first: int, last: int) -> Path:
    """Runs whose outputs are all the same."""
    path = world.lattice("constant", first, last)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(",".join([*line.split(",")[:-2], "2e-4", "4e-4"]) for line in lines)]) + "\n")
    return path


def test_an_extension_with_one_answer_is_pointed_at_and_what_a_package_does_not_hold_is_named(world: World) -> None:
    clone = world.clone
    clone.declare(**{LADDER: 'method = "distil"\nreservoir = 0\n'})
    clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.15", "-m", "base")
    clone.commit("a dataset and a model")
    clone.push()
    world.server.wait()
    clone.gitdata("extend", "lattice", constant(world, 20, 22), "-m", "constant")
    clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    before = clone.git("ls-remote", "origin")
    done = clone.gitdata("train", "lattice", code=2, env={"GITDATA_PROGRESS": "1"})
    assert re.search(r"Warning: 'W_max' is 0.0002 in all \d\d new rows", done.err)
    assert "distil needs the reservoir of the restored version, which has none." in done.err
    assert "Declare more than reservoir = 0 in [retraining], then train once" in done.err
    assert clone.git("ls-remote", "origin") == before
    clone.declare(**{LADDER: 'method = ["distil", { name = "rehearse", restart = "stable" }]\n'})
    found = {record.get("text"): record for record in clone.gitdata("check", "lattice", "--json").records}
    rules = [record.get("rule") for record in found.values()]
    assert rules.count("alike") == rules.count("not-held") == 2
    assert "distil needs a reservoir, and lattice@1 has none" in found
    assert "rehearse needs weights from before its learning rate fell, and lattice@1 has none" in found
    clone.commit("a reservoir")
    done = clone.gitdata("train", "lattice", "--method", "distil", "--at", "HEAD", code=2)
    assert "Train once by another method, as in `gitdata train lattice --method rehearse`" in done.err
    assert clone.git("ls-remote", "origin") == before


def test_a_method_that_goes_on_is_refused_where_nothing_is_unseen(world: World) -> None:
    start(world)
    server = world.server
    before = server.ledger()
    for methods in (("distil",), ("finetune", "keep")):
        options = [word for method in methods for word in ("--method", method)]
        done = server.gitdata("train", "lattice", "--force", *options, code=2)
        assert "Nothing is unseen: version 1 has seen all live data" in done.err
        assert f"{' and '.join(methods)} would go on with what is not" in done.err
        assert "`gitdata train lattice --force --method union`" in done.err
    assert server.ledger() == before
    spoken = {"GITDATA_PROGRESS": "1"}
    again = server.gitdata("train", "lattice", "--force", "--dry-run", env=spoken)
    assert "The training is anew, on everything" in again.err
    assert (
        "Nothing is unseen"
        in server.gitdata("train", "lattice", "--force", "--method", "auto", "--dry-run", env=spoken).err
    )
    assert "would go on" not in server.gitdata("train", "lattice", "--method", "distil", "--dry-run", env=spoken).err
