"""The loop, as people go through it: extend, push, retrain on what is unseen, a champion in git."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from world import World, fingerprint, run


def start(world: World, *, validation: bool = True, **declaration: str) -> None:
    """A base of 30 runs and a model, pushed, trained on."""
    parts = ["--validation", "0.15"] if validation else []
    world.clone.declare(**declaration)
    world.clone.gitdata(
        "add", "lattice", world.lattice("base", 0, 30), "--test", "0.15", *parts, "--inputs", "t1,t2,t3,scenario,dir",
        "--outputs", "W_max,P_peak",
    )  # fmt: skip
    world.clone.commit("a dataset and a model")
    world.clone.push()
    world.server.wait()


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("started"))
    start(world)
    return world


@pytest.fixture
def started(first: World, tmp_path: Path) -> World:
    """A base of 30 runs and a model, pushed, trained on."""
    return first.copy(tmp_path)


def extend(world: World, name: str, first: int, last: int, *more: str) -> str:
    done = world.clone.gitdata(
        "extend", "lattice", world.lattice(name, first, last), "--test", "0.15", "--validation", "0.15", "-m", name,
        "--json", *more,
    )  # fmt: skip
    return str(done.records[0]["id"])


def test_pushes_retrain_each_extension_once_and_never_reject_a_person(started: World) -> None:
    ids = []
    for number in range(2):
        ids.append(extend(started, f"e{number}", 30 + 8 * number, 38 + 8 * number))
        started.clone.push()  # a fast-forward although the server recorded a model meanwhile
        started.server.wait()
    (started.clone.path / "notes.txt").write_text("nothing that a model learns from")
    started.clone.commit()
    started.clone.push()
    started.server.wait()
    versions = started.server.ledger()
    assert [v["number"] for v in versions] == [1, 2, 3]
    added = [id for v in versions for id in v["added"]]
    assert added[1:] == ids or versions[1]["verdict"] == "refused"
    champion = next(v for v in versions if v["champion"])
    assert champion["added"]
    pending = started.clone.gitdata("pending", "--exit-code", "--json").records[0]
    assert (pending["unseen"] == []) == versions[2]["champion"]
    assert pending["action"] == "nothing"


def test_the_packages_weights_really_change_and_predict_in_order(started: World) -> None:
    from gitdata.commands.models import version
    from gitdata.commands.transfer import package_files
    from gitdata.training import package

    extend(started, "e", 30, 40)
    started.clone.push()
    started.server.wait()
    repo = started.clone.repo
    weights = []
    for number in (1, 2):
        files = package_files(repo, version(repo, f"lattice@{number}")[1])
        weights.append(package.decode(files).weights)
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])
    new = started.lattice("new", 90, 92)
    started.clone.gitdata("predict", "lattice@2", new, "-o", "predicted.csv")
    lines = (started.clone.path / "predicted.csv").read_text().splitlines()
    assert lines[0] == "W_max,P_peak"
    assert len(lines) == 1 + 32
    backwards = started.root / "backwards.csv"
    header, *rows = new.read_text().splitlines()
    backwards.write_text("\n".join([header, *reversed(rows)]) + "\n")
    started.clone.gitdata("predict", "lattice@2", backwards, "-o", "backwards.csv")
    assert (started.clone.path / "backwards.csv").read_text().splitlines()[:0:-1] == lines[1:]


def train_blobs(world: World, id: str) -> list[str]:
    chain = world.clone.repo.work_tree_snapshot().chain("lattice")
    return [f.md5 for f in world.clone.repo.files_of(chain.extensions[id]) if f.split == "train"]


def test_finetune_reads_no_train_blob_of_a_seen_extension(world: World) -> None:
    """Proof by removal: the blobs are gone everywhere, and fine-tuning does not miss them; rehearsal does."""
    start(world, **{'["finetune", "rehearse", "union"]': '"finetune"'})
    base = world.clone.repo.work_tree_snapshot().chain("lattice").heads[0]
    id = extend(world, "e", 30, 40)
    for md5 in train_blobs(world, base):
        for root in (world.server.store, world.server.path / "gitdata" / "cache"):
            (root / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1", "GITDATA_SKIP_PUSH": "1"})
    world.clone.gitdata("push", f"lattice@{id[:8]}", code=0)
    for md5 in train_blobs(world, base):
        (world.server.store / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    refused = world.server.gitdata("train", "lattice", "--method", "rehearse", code=4)
    assert train_blobs(world, base)[0] in refused.err
    done = world.server.gitdata("train", "lattice", "--json")
    assert done.records[-1]["method"] == "finetune"
    assert done.records[-1]["unseen"] == [id]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_trace_of_opened_files_shows_that_finetune_is_strict(world: World) -> None:
    start(world, **{'["finetune", "rehearse", "union"]': '"finetune"'})
    base = world.clone.repo.work_tree_snapshot().chain("lattice").heads[0]
    id = extend(world, "e", 30, 40)
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    import sys

    trace = world.root / "trace"
    command = ["strace", "-f", "-e", "trace=openat,open", "-o", trace, sys.executable, "-P", "-m", "gitdata"]
    done = run(*command, "train", "lattice", cwd=world.server.path)
    assert done.code in (0, 6), done
    opened = trace.read_text()
    places = {md5: f"{md5[:2]}/{md5[2:]}" for md5 in train_blobs(world, base) + train_blobs(world, id)}
    assert not any(places[md5] in opened for md5 in train_blobs(world, base))
    assert all(places[md5] in opened for md5 in train_blobs(world, id))


def test_a_blob_that_is_nowhere_refuses_the_push(started: World) -> None:
    id = extend(started, "e", 30, 36)
    before = started.server.git("rev-parse", "main")
    cache = started.clone.repo.cache
    md5 = train_blobs(started, id)[0]
    (cache.root / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    store = fingerprint(started.server.store)
    said = started.clone.push(ok=False)
    assert f"blobs of lattice@1.1.0 ({id[:8]})" in said
    assert started.server.git("rev-parse", "main") == before
    assert fingerprint(started.server.store) == store


def test_all_refs_of_a_push_are_looked_at(started: World) -> None:
    started.clone.git("checkout", "--quiet", "-b", "one")
    first = extend(started, "one", 30, 34)
    started.clone.git("checkout", "--quiet", "-b", "two", "main")
    second = extend(started, "two", 34, 38)
    started.clone.git("tag", "marked", "two")
    started.clone.push("origin", "one", "two", "marked")
    held = {path.parent.name + path.name for path in (started.server.store / "files" / "md5").rglob("*")}
    assert {*train_blobs(started, second)} <= held
    started.clone.git("checkout", "--quiet", "one")
    assert {*train_blobs(started, first)} <= held


def test_branches_that_extend_in_parallel_merge_without_conflict_and_train_once(started: World) -> None:
    started.clone.git("checkout", "--quiet", "-b", "side")
    ours = extend(started, "side", 30, 34)
    started.clone.git("checkout", "--quiet", "main")
    theirs = extend(started, "main", 34, 38)
    started.clone.git("merge", "--quiet", "--no-edit", "side")
    status = started.clone.gitdata("status", "--json").records[0]
    assert len(status["heads"]) == 2
    assert len(status["double_versions"]) == 1
    started.clone.push()
    started.server.wait()
    newest = started.server.ledger()[-1]
    assert sorted(newest["added"]) == sorted([ours, theirs])
    joined = extend(started, "joined", 38, 40)
    chain = started.clone.repo.work_tree_snapshot().chain("lattice")
    assert chain.heads == (joined,)
    assert set(chain.extensions[joined].parents) == {ours, theirs}


def test_training_away_from_the_deployment_branch_is_an_experiment_and_its_merge_is_gated_as_it_is(
    started: World,
) -> None:
    champion = started.server.ledger()[0]
    started.clone.git("checkout", "--quiet", "-b", "side")
    extend(started, "side", 30, 38)
    started.clone.push("origin", "side")
    started.server.wait()
    done = started.server.gitdata("train", "lattice", "--at", "side", "--json").records[-1]
    assert (done["verdict"], done["champion"]) == ("experiment", False)
    assert started.server.ledger()[0]["id"] == champion["id"]
    started.clone.git("checkout", "--quiet", "main")
    started.clone.git("merge", "--quiet", "side")
    started.clone.push()
    started.server.wait()
    versions = started.server.ledger()
    assert len(versions) == 2
    assert versions[1]["id"] == done["id"]
    assert versions[1]["verdict"] != "experiment"


def test_test_rows_alone_measure_and_do_not_train(started: World) -> None:
    before = started.server.ledger()
    started.clone.gitdata("extend", "lattice", "--test", started.lattice("tests", 30, 34), "-m", "more tests")
    started.clone.push()
    started.server.wait()
    after = started.server.ledger()
    assert [v["id"] for v in after] == [v["id"] for v in before]
    assert after[0]["metrics"] != before[0]["metrics"]
    assert started.clone.repo.work_tree_snapshot().chain("lattice").extensions
    assert started.server.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"


def test_without_test_rows_a_version_waits_and_is_gated_when_they_come(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "-m", "no tests yet")
    world.clone.commit("model")
    world.clone.push()
    world.server.wait()
    (waiting,) = world.server.ledger()
    assert (waiting["verdict"], waiting["champion"]) == ("waiting", False)
    asked = world.clone.gitdata("predict", "lattice", world.lattice("new", 90, 91), "-o", "p.csv", code=2)
    assert "no champion" in asked.err
    world.clone.gitdata("extend", "lattice", "--test", world.lattice("tests", 30, 36), "-m", "tests")
    world.clone.push()
    world.server.wait()
    (version,) = world.server.ledger()
    assert (version["id"], version["verdict"], version["champion"]) == (waiting["id"], "accepted", True)


def test_a_revert_of_the_last_extension_goes_back_to_the_clean_version(started: World) -> None:
    extend(started, "e", 30, 40)
    started.clone.push()
    started.server.wait()
    versions = started.server.ledger()
    started.clone.git("revert", "--no-edit", "HEAD")
    started.clone.push()
    started.server.wait()
    after = started.server.ledger()
    assert [v["champion"] for v in after] == [True, False]
    assert len(after) == len(versions)


def test_a_person_goes_back_and_no_wake_up_undoes_it(started: World) -> None:
    extend(started, "e", 30, 40)
    started.clone.push()
    started.server.wait()
    started.clone.gitdata("promote", "lattice@2")
    started.clone.gitdata("promote", "lattice@1", "-m", "version 2 misbehaves")
    assert [v["champion"] for v in started.server.ledger()] == [True, False]
    assert started.server.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"
    assert [v["champion"] for v in started.server.ledger()] == [True, False]


def test_a_confirming_policy_leaves_the_champion_to_a_person(world: World) -> None:
    start(world, **{'policy = "automatic"': 'policy = "confirm"'})
    (version,) = world.server.ledger()
    assert (version["verdict"], version["champion"]) == ("waiting", False)
    world.clone.gitdata("promote", "lattice@1", "-m", "looks good")
    (version,) = world.server.ledger()
    assert (version["verdict"], version["champion"], version["reason"]) == ("accepted", True, "looks good")


def test_without_a_server_training_is_local(world: World) -> None:
    world.clone.git("remote", "remove", "origin")
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2")
    world.clone.commit()
    assert world.clone.gitdata("train", "lattice", "--json").records[-1]["champion"]
    assert world.clone.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"
    assert world.clone.git("rev-parse", "--verify", "refs/heads/gitdata/models")
    extend(world, "e", 20, 24)
    dry = world.clone.gitdata("train", "lattice", "--dry-run", "--json").records[-1]
    assert (dry["action"], len(world.clone.gitdata("models", "--json").records)) == ("train", 1)


def test_a_training_clone_publishes_to_the_server(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2")
    world.clone.commit()
    world.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    assert world.clone.gitdata("train", "lattice", "--json").records[-1]["champion"]
    assert world.server.ledger()[0]["champion"]
    assert world.clone.git("for-each-ref", "refs/heads/gitdata") == ""
    extend(world, "unpushed", 20, 26)
    assert world.clone.gitdata("train", "lattice", "--json").records[-1]["verdict"] == "experiment"


def test_pushes_during_a_training_are_not_missed(world: World) -> None:
    """Three pushes in a row, while the runner of the first is at work: all are seen, each once."""
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.15", "-m", "base")
    world.clone.commit("model")
    world.clone.push()
    ids = []
    for number in range(3):
        ids.append(extend(world, f"e{number}", 30 + 4 * number, 34 + 4 * number))
        world.clone.push()
    world.server.wait()
    added = [id for v in world.server.ledger() for id in v["added"]]
    assert len(added) == len(set(added)) == 4 or world.server.ledger()[-1]["verdict"] == "refused"
    assert set(ids) <= set(added)
    assert world.server.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"


def test_a_person_who_rejected_a_version_is_not_overruled(started: World) -> None:
    """New test rows would make the same version anew, byte for byte: the rejection stands."""
    import json

    extend(started, "e", 30, 40)
    started.clone.push()
    started.server.wait()
    started.clone.git("fetch", "--quiet", "origin")
    started.clone.git("checkout", "--quiet", "-b", "mine", "origin/gitdata/models")
    folder = started.clone.path / "models" / "lattice"
    (path,) = folder.glob("2-*.verdict")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": "rejected", "who": "alice"}))
    (folder / "champion").write_text(next(folder.glob("1-*.dvc")).stem + "\n")
    started.clone.commit("reject version 2")
    started.clone.git("push", "--quiet", "origin", "HEAD:gitdata/models")
    started.clone.git("checkout", "--quiet", "main")
    started.clone.gitdata("extend", "lattice", "--test", started.lattice("tests", 40, 43), "-m", "tests")
    started.clone.push()
    started.server.wait()
    versions = {v["number"]: v for v in started.server.ledger()}
    assert (versions[2]["verdict"], versions[2]["who"], versions[2]["champion"]) == ("rejected", "alice", False)
    assert started.server.gitdata("train", "lattice", "--json").records[-1]["action"] == "nothing"


def test_training_at_an_older_commit_is_an_experiment(started: World) -> None:
    extend(started, "e", 30, 40)
    started.clone.declare(**{"tolerance = 0.02": "tolerance = 5"})
    started.clone.commit("another tolerance")
    started.clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    done = started.server.gitdata("train", "lattice", "--at", "main~1", "--json").records[-1]
    assert (done["verdict"], done["champion"]) == ("experiment", False)
