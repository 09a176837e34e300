"""Looking after a repository: verify finds and mends, doctor finds and mends, and what was installed goes again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from world import Clone, World, fingerprint, run

from gitdata import durable
from gitdata.automation import hooks


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("based"))
    world.clone.gitdata("add", "lattice", world.lattice("a", 0, 2), "--test", "0.2", "-m", "a")
    world.clone.gitdata("extend", "lattice", world.lattice("b", 2, 3), "-m", "b")
    world.clone.commit("settings")
    world.clone.push("origin", "HEAD:main")
    world.server.wait()
    world.clone.git("fetch", "--quiet")
    return world


@pytest.fixture
def based(first: World, tmp_path: Path) -> World:
    """Two extensions of real lattice runs, committed and pushed."""
    return first.copy(tmp_path)


def blobs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "files" / "md5").rglob("*") if path.is_file())


def data_blob(folder: Path) -> Path:
    """The largest object: a file with rows."""
    return max(blobs(folder), key=lambda path: path.stat().st_size)


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def findings(clone: Clone, *options: str, code: int) -> list[tuple[str, bool]]:
    records = clone.gitdata("verify", *options, "--json", code=code).records
    assert records[-1]["kind"] == "verified"
    assert records[-1]["findings"] == len(records) - 1
    return [(record["part"], record["repaired"]) for record in records[:-1]]


def test_what_is_sound_has_no_findings_and_is_left_as_it_is(based: World) -> None:
    clone = based.clone
    clone.gitdata("checkout", "lattice")
    before = fingerprint(clone.path / "datasets", clone.path / ".dvc", based.server.store)
    for options in ((), ("--deep",), ("--remote",), ("--remote", "--deep"), ("--remote", "--deep", "--repair")):
        assert findings(clone, *options, code=0) == []
    assert fingerprint(clone.path / "datasets", clone.path / ".dvc", based.server.store) == before
    assert based.server.gitdata("verify", "--remote", "--deep").out.endswith("no findings\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "truncated": lambda path: (path.chmod(0o644), path.write_bytes(path.read_bytes()[:-1])),
    "flipped": flip,
    "emptied": lambda path: (path.chmod(0o644), path.write_bytes(b"")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_in_the_cache_is_found_and_mended_from_the_remote(based: World, how: str) -> None:
    clone, cache = based.clone, based.clone.path / ".dvc" / "cache"
    before = fingerprint(cache / "files")
    DAMAGE[how](data_blob(cache))
    assert findings(clone, "--deep", code=1) == [("cache", False)]
    assert findings(clone, code=0 if how == "flipped" else 1) == ([] if how == "flipped" else [("cache", False)])
    assert findings(clone, "--deep", "--repair", code=0) == [("cache", True)]
    assert fingerprint(cache / "files") == before
    assert findings(clone, "--deep", code=0) == []
    assert len(list((cache / "corrupt").glob("*"))) == (how != "missing")


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_on_the_remote_is_found_and_mended_from_the_cache(based: World, how: str) -> None:
    clone, store = based.clone, based.server.store
    before = fingerprint(store / "files")
    DAMAGE[how](data_blob(store))
    expected = [] if how == "flipped" else [("remote", False)]
    assert findings(clone, "--remote", code=1 if expected else 0) == expected
    assert findings(clone, "--remote", "--deep", code=1) == [("remote", False)]
    assert findings(clone, "--remote", "--deep", "--repair", code=0) == [("remote", True)]
    assert fingerprint(store / "files") == before
    assert len(list((store / "corrupt").glob("*"))) == (how != "missing")


def test_a_checked_out_file_is_a_copy_too(based: World) -> None:
    clone, cache, store = based.clone, based.clone.path / ".dvc" / "cache", based.server.store
    clone.gitdata("checkout", "lattice")
    place = data_blob(cache).relative_to(cache)
    (cache / place).unlink()
    (store / place).unlink()
    assert findings(clone, "--remote", "--repair", code=0) == [("cache", True), ("remote", True)]
    assert (store / place).read_bytes() == (cache / place).read_bytes()


def test_what_no_copy_allows_stays_a_finding(based: World) -> None:
    clone, cache, store = based.clone, based.clone.path / ".dvc" / "cache", based.server.store
    place = data_blob(cache).relative_to(cache)
    flip(cache / place)
    flip(store / place)
    corrupt = (cache / place).read_bytes()
    assert findings(clone, "--remote", "--deep", "--repair", code=1) == [("cache", False), ("remote", False)]
    assert [path.read_bytes() for path in (cache / "corrupt").iterdir()] == [corrupt]
    assert (store / place).read_bytes() == corrupt  # nothing better is known, so it is left where it is


def test_packages_are_looked_at_and_sent_again(based: World) -> None:
    clone = based.clone
    clone.declare()
    clone.commit("model")
    clone.push("origin", "HEAD:main")
    based.server.wait()
    clone.gitdata("fetch")
    clone.gitdata("predict", "lattice@1", based.lattice("c", 3, 4), "-o", "predicted.csv")
    packages = based.server.store / "gitdata-models"
    before = fingerprint(packages / "files")
    flip(data_blob(packages))
    assert findings(clone, "--remote", code=0) == []
    assert findings(clone, "--remote", "--deep", code=1) == [("remote", False)]
    assert findings(clone, "--remote", "--deep", "--repair", code=0) == [("remote", True)]
    assert fingerprint(packages / "files") == before


def test_pointers_are_brought_back_to_their_one_encoding(based: World) -> None:
    clone = based.clone
    first, second = sorted((clone.path / "datasets" / "lattice").glob("*.dvc"))
    before = first.read_bytes(), second.read_bytes()
    first.write_text(json.dumps(json.loads(before[0])))
    second.write_bytes(before[1][:200])
    assert findings(clone, code=1) == [("pointer", False), ("pointer", False)]
    assert findings(clone, "--repair", code=0) == [("pointer", True), ("pointer", True)]
    assert (first.read_bytes(), second.read_bytes()) == before


def test_a_pointer_that_names_other_content_than_there_is(based: World) -> None:
    clone = based.clone
    pointer = next((clone.path / "datasets" / "lattice").glob("*.dvc"))
    document = json.loads(pointer.read_text())
    document["meta"]["gitdata"]["sidecars"][0]["sha256"] = "0" * 64
    pointer.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    cache = fingerprint(clone.path / ".dvc" / "cache")
    assert findings(clone, "--deep", code=1) == [("pointer", False)]
    assert findings(clone, "--deep", "--repair", code=1) == [("pointer", False)]
    assert fingerprint(clone.path / ".dvc" / "cache") == cache


def test_damaged_retractions_missing_parents_and_ledgers_are_named(based: World) -> None:
    clone = based.clone
    clone.gitdata("retract", "lattice@1.1.0", "--reason", "wrong material")
    (retraction,) = (clone.path / "datasets" / "lattice" / "retracted").iterdir()
    retraction.write_text("{}")
    assert findings(clone, code=1) == [("retraction", False)]
    shallow = Clone(based.root / "shallow")
    clone.git("rm", "--quiet", next((clone.path / "datasets" / "lattice").glob("1.0.0-*.dvc")))
    clone.git("commit", "--quiet", "-m", "the base is deleted")
    clone.push("--no-verify", "origin", "HEAD:refs/heads/other")
    source = f"file://{based.server.path}"
    run("git", "clone", "--quiet", "--depth", "1", "--branch", "other", source, shallow.path, cwd=based.root)
    shallow.gitdata("init")
    parts = [part for part, _ in findings(shallow, "--repair", code=1)]
    assert "chain" in parts
    ledger = clone.repo.git.commit_files(None, {"models/m/1-00000000.dvc": b"x"}, "damage")
    clone.git("push", "--quiet", "--no-verify", "origin", f"{ledger}:refs/heads/gitdata/models")
    clone.git("fetch", "--quiet")
    assert ("ledger", False) in findings(clone, code=1)


# --- doctor --------------------------------------------------------------------------------------------------


def checks(place: Clone, *options: str, code: int) -> dict[str, str]:
    return {record["id"]: record["state"] for record in place.gitdata("doctor", *options, "--json", code=code).records}


def test_a_healthy_repository_is_told_so(based: World) -> None:
    for place in (based.clone, based.server):
        assert set(checks(place, code=0).values()) <= {"ok", "note"}  # type: ignore[arg-type]


def test_what_is_wrong_around_the_data_is_found_and_mended(based: World) -> None:
    clone = based.clone
    hook = clone.path / ".git" / "hooks" / "pre-push"
    line = next(line for line in hook.read_text().splitlines() if line.startswith("python="))
    hook.write_text(hook.read_text().replace(line, "python=/gone/python"))
    (clone.path / ".gitattributes").unlink()
    (clone.path / ".dvc" / "config.local").unlink()
    leftover = clone.path / "datasets" / "lattice" / f"{durable.TEMPORARY_PREFIX}0"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    (clone.path / ".git" / "gitdata-index-999999999").write_bytes(b"")
    wrong = {"hook pre-push", "repository", "dvc remote", "leftovers"}
    assert {name for name, state in checks(clone, code=1).items() if state == "finding"} == wrong
    fixed = {name for name, state in checks(clone, "--fix", code=0).items() if state == "fixed"}
    assert fixed == wrong - {"dvc remote"}  # making the repository whole had derived the remote already
    assert set(checks(clone, code=0).values()) <= {"ok", "note"}
    assert not leftover.exists()


def test_a_file_that_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with durable.staging(tmp_path) as staged:
        os.utime(staged.path, (0, 0))
        assert durable.leftovers(tmp_path) == []
        abandoned = tmp_path / f"{durable.TEMPORARY_PREFIX}1"
        abandoned.write_bytes(b"")
        assert durable.leftovers(tmp_path) == []  # it may be about to be locked
        os.utime(abandoned, (0, 0))
        assert durable.remove_leftovers(tmp_path) == 1
        assert staged.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_only_a_person_can_mend_is_named(based: World) -> None:
    clone, server = based.clone, based.server
    clone.declare(**{'branch = "main"': 'branch = "nowhere"'})
    clone.commit("model")
    shutil.move(server.path, based.root / "away")
    found = checks(clone, code=1)
    assert {name for name, state in found.items() if state == "finding"} == {
        "store", "ledger", "model lattice"
    }  # fmt: skip
    shutil.move(based.root / "away", server.path)
    server.git("symbolic-ref", "HEAD", "refs/heads/unborn")
    server.spool.add(["refs/heads/main"])
    found = checks(server, code=1)  # type: ignore[arg-type]
    assert {name for name, state in found.items() if state == "finding"} == {"HEAD", "jobs"}
    server.gitdata("run", "--once")
    assert checks(server, "--fix", code=0)["HEAD"] == "fixed"  # type: ignore[arg-type]
    assert server.git("symbolic-ref", "HEAD") == "refs/heads/main"


# --- uninstall, clone, ls, completion ------------------------------------------------------------------------


def test_uninstalling_puts_back_what_was_there(tmp_path: Path) -> None:
    world = World.make(tmp_path, init=False)
    folder = world.clone.path / ".git" / "hooks"
    theirs = folder / "post-merge"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("#!/bin/sh\n# theirs\n")
    before = fingerprint(folder)
    world.clone.gitdata("init")
    world.clone.gitdata("install", "--train")
    assert (folder / f"post-merge{hooks.KEPT}").read_text() == "#!/bin/sh\n# theirs\n"
    assert "theirs" not in theirs.read_text()
    said = world.clone.gitdata("uninstall").out
    assert "Put back" in said
    assert fingerprint(folder) == before
    assert "gitdata.train" not in world.clone.git("config", "--list")
    assert "No hook" in world.clone.gitdata("uninstall").out


def test_a_clone_is_ready_for_work(based: World) -> None:
    done = run(sys.executable, "-P", "-m", "gitdata", "clone", based.server.path, "ready", cwd=based.root)
    assert done.code == 0, done
    ready = Clone(based.root / "ready")
    assert len(list((ready.path / "datasets").rglob("*.csv"))) == 3
    assert (ready.path / ".git" / "hooks" / "pre-push").is_file()
    assert ready.git("status", "--porcelain") == ""
    (dataset,) = ready.gitdata("ls", "--json").records
    assert (dataset["extensions"], dataset["cached"], dataset["checked_out"]) == (2, 2, 2)
    done = run(sys.executable, "-P", "-m", "gitdata", "clone", based.server.path, "ready", cwd=based.root)
    assert (done.code, "not empty" in done.err) == (2, True)
    done = run(sys.executable, "-P", "-m", "gitdata", "clone", based.root / "nowhere.git", cwd=based.root)
    assert done.code == 5
    assert not (based.root / "nowhere").exists()


def test_completion_completes(clone: Clone) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_GITDATA_COMPLETE" in clone.gitdata("completion", shell).out
    assert "no completion for 'tcsh'" in clone.gitdata("completion", "tcsh", code=2).err
    words = {"_GITDATA_COMPLETE": "complete_bash", "COMP_WORDS": "gitdata pu", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gitdata"],
        capture_output=True,
        text=True,
        env={**os.environ, **words},
        check=False,
    )
    assert done.stdout.split() == ["push", "pull", "purge"]


# --- what a real dvc, or a lost cache, leaves ----------------------------------------------------------------


def test_a_pointer_that_names_another_directory_is_not_pushed_and_is_mended(based: World) -> None:
    """As after `dvc add` of a part of an extension: also where the cache has lost the directory object since."""
    from gitdata.storage.cache import Blob, directory_object

    clone, cache = based.clone, based.clone.repo.cache
    pointer = max((clone.path / "datasets" / "lattice").glob("1.1.0-*.dvc"))
    before = pointer.read_text()
    blob, content = directory_object({"train/b.csv": Blob("0" * 32, 1)})
    cache.add_bytes(content, directory=True)
    based.server.repo.blob_remote("data")
    place = based.server.store / "files" / "md5" / blob.md5[:2] / blob.md5[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    document = json.loads(before)
    document["outs"][0]["md5"] = blob.md5
    pointer.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    clone.commit("another directory")
    for lost in (False, True):
        if lost:
            cache.path(blob).unlink()
        assert "does not name the files" in clone.push("origin", "HEAD:main", ok=False)
    assert ("pointer", False) in findings(clone, "--remote", code=1)
    assert ("pointer", True) in findings(clone, "--remote", "--repair", code=0)
    assert pointer.read_text() == before


def test_what_the_cache_lost_before_a_push_is_put_back_by_extending_again(based: World) -> None:
    clone, source = based.clone, based.lattice("c", 3, 4)
    clone.gitdata("extend", "lattice", source, "-m", "c")
    shutil.rmtree(clone.path / ".dvc" / "cache")
    assert "neither in the cache" in clone.push("origin", "HEAD:main", ok=False)
    assert "is back" in clone.gitdata("extend", "lattice", source, "-m", "c", code=2).err
    clone.push("origin", "HEAD:main")
    assert "Nothing was changed" in clone.gitdata("extend", "lattice", source, "-m", "c", code=2).err


def test_a_default_remote_that_is_committed_later_takes_over_from_the_derived_one(based: World) -> None:
    clone, store = based.clone, based.root / "store"
    store.mkdir()
    local = clone.path / ".dvc" / "config.local"
    assert "remote = gitdata" in local.read_text()
    with (clone.path / ".dvc" / "config").open("a") as config:
        config.write(f"    remote = shared\n['remote \"shared\"']\n    url = {store}\n")
    clone.commit("a store of our own")
    clone.gitdata("extend", "lattice", based.lattice("c", 3, 4), "-m", "c")
    clone.push("origin", "HEAD:main")
    assert len(list(store.rglob("*.dir"))) == 2 + 1
    clone.gitdata("init")
    assert "remote = gitdata\n" not in local.read_text()
