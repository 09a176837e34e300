"""Purge and prune on real repositories: what goes, what stays, and what is refused."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from disk_faults import Crash, dying
from world import Clone, Place, World, fingerprint

from gitdata.commands import extend, packs
from gitdata.commands.intake import Request
from gitdata.commands.prune import GRACE
from gitdata.commands.purge import purge
from gitdata.commands.rowsource import RowSource
from gitdata.commands.transfer import blobs_of
from gitdata.commands.union import row_indexes
from gitdata.data import pointerfile


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("retracted"))
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("a", 0, 2), "-m", "a")
    clone.gitdata("extend", "lattice", world.lattice("b", 2, 3), "-m", "b")
    clone.gitdata("extend", "lattice", world.lattice("c", 3, 4), "-m", "c")
    clone.commit("settings")
    clone.push("origin", "HEAD:main")
    clone.gitdata("retract", "lattice@1.1.0", "--reason", "wrong material", "-m", "bad")
    clone.push("origin", "HEAD:main")
    world.server.wait()
    return world


@pytest.fixture
def retracted(first: World, tmp_path: Path) -> World:
    """A base and two extensions, all pushed; the second, 1.1.0, is retracted, and that is pushed too."""
    return first.copy(tmp_path)


def objects(folder: Path) -> set[str]:
    """The names of the objects of a cache or store."""
    return {path.parent.name + path.name for path in (folder / "files" / "md5").glob("*/*")}


def blobs(place: Place, version: str) -> set[str]:
    """The names of the data files and sidecars of an extension."""
    (extension,) = place.repo.work_tree_snapshot().extensions(f"lattice@{version}")[1]
    assert extension.files is not None
    return {f.md5 for f in extension.files} | {a.md5 for a in extension.sidecars} | {f"{extension.directory.md5}.dir"}


def cache_of(clone: Clone) -> Path:
    return clone.path / ".dvc" / "cache"


def test_a_purge_deletes_the_bytes_everywhere_and_the_rest_stays_sound(retracted: World) -> None:
    clone, store = retracted.clone, retracted.server.store
    doomed, kept = blobs(clone, "1.1.0"), blobs(clone, "1.0.0") | blobs(clone, "1.2.0")
    assert not doomed & kept
    assert doomed <= objects(store)
    dry = clone.gitdata("purge", "lattice@1.1.0", "--dry-run", "--json").records[0]
    assert (dry["blobs"], dry["dry_run"]) == (len(doomed), True)
    assert doomed <= objects(store)
    assert doomed <= objects(cache_of(clone))
    done = clone.gitdata("purge", "lattice@1.1.0", "-m", "purge it")
    assert "is purged" in done.out
    for folder in (store, cache_of(clone)):
        assert not doomed & objects(folder)
        assert kept <= objects(folder)
    clone.push("origin", "HEAD:main")  # nothing asks for what is gone
    assert clone.gitdata("verify", "--remote", "--deep").code == 0
    assert retracted.server.gitdata("verify", "--remote", "--deep").code == 0
    again = clone.gitdata("purge", "lattice@1.1.0", "-m", "again")
    assert "is purged" in again.out
    refused = clone.gitdata("retract", "lattice@1.1.0", "--undo", code=2)
    assert "was purged" in refused.err
    clone.gitdata("retract", "lattice@1.1.0", "--reason", "still bad")
    clone.gitdata("retract", "lattice@1.1.0", "--undo", code=2)  # a new reason brings no rows back


def test_copies_elsewhere_go_when_they_are_pruned_and_are_never_sent_again(retracted: World) -> None:
    clone, colleague = retracted.clone, retracted.another_clone()
    colleague.gitdata("pull")
    colleague.gitdata("fetch")
    doomed = blobs(clone, "1.1.0")
    for name in doomed:  # a colleague who had fetched it before it was retracted
        copy = cache_of(colleague) / "files" / "md5" / name[:2] / name[2:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((retracted.server.store / "files" / "md5" / name[:2] / name[2:]).read_bytes())
    clone.gitdata("purge", "lattice@1.1.0", "-m", "purge")
    clone.push("origin", "HEAD:main")
    colleague.git("pull", "--quiet")
    colleague.gitdata("extend", "lattice", retracted.lattice("d", 4, 5), "-m", "d")
    colleague.push("origin", "HEAD:main")
    colleague.gitdata("push")
    colleague.gitdata("verify", "--remote", "--repair")
    assert not doomed & objects(retracted.server.store)
    colleague.gitdata("prune")
    assert not doomed & objects(cache_of(colleague))


def test_a_purge_that_dies_at_any_step_is_finished_by_a_repeat(
    retracted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a sidecar lists the files, so that nothing but itself knows what it named."""
    monkeypatch.setattr(pointerfile, "INLINE_FILES", 0)
    monkeypatch.setattr(packs, "MANY", 1)
    clone, store = retracted.clone, retracted.server.store
    files = [retracted.lattice(f"f{run}", run, run + 1) for run in (10, 11)]
    extend.extend(clone.repo, Request("lattice", files, message="many"))
    (extension,) = clone.repo.work_tree_snapshot().extensions("lattice@1.3.0")[1]
    assert extension.files is None
    doomed = {blob.md5 for blob in blobs_of(clone.repo, extension)}
    clone.gitdata("checkout", "lattice")
    clone.push()
    clone.gitdata("retract", "lattice@1.3.0", "--reason", "wrong", "-m", "bad")
    clone.push()
    places = (store, cache_of(clone), clone.path / "datasets", clone.repo.state)
    read_all(clone)
    for number, place in enumerate(places):
        shutil.copytree(place, retracted.root / "kept" / str(number), symlinks=True)
    with dying(None) as disk:
        purge(clone.repo, "lattice@1.3.0", None)
    for at in range(1, len(disk.steps) + 1):
        for number, place in enumerate(places):
            shutil.rmtree(place)
            shutil.copytree(retracted.root / "kept" / str(number), place, symlinks=True)
        assert doomed <= objects(store)
        with dying(at), pytest.raises(Crash):
            purge(clone.repo, "lattice@1.3.0", None)
        purge(clone.repo, "lattice@1.3.0", None)
        for folder in (store, cache_of(clone)):
            assert not doomed & objects(folder), (at, disk.steps[at - 1])
        assert not packs.packs_of(clone.repo).folder.exists(), (at, disk.steps[at - 1])
        assert not list((clone.path / "datasets" / "lattice").glob("1.3.0-*/*"))


def test_checked_out_files_go_too_in_every_work_tree(retracted: World) -> None:
    clone, colleague = retracted.clone, retracted.another_clone()
    for place in (clone, colleague):
        place.git("branch", "--quiet", "before", "HEAD~1")
        place.git("worktree", "add", "--quiet", retracted.root / f"{place.path.name} linked", "before")
        linked = Clone(retracted.root / f"{place.path.name} linked")
        linked.gitdata("checkout", "lattice")
        linked.git("checkout", "--quiet", "--detach", "main")
        place.git("branch", "--quiet", "-D", "before")
    of_clone, of_colleague = (
        list((retracted.root / f"{place.path.name} linked" / "datasets").rglob("*.csv")) for place in (clone, colleague)
    )
    assert len(of_clone) == len(of_colleague) == 3
    assert clone.gitdata("purge", "lattice@1.1.0", "--dry-run", "--json").records[0]["checked_out"] == 3
    assert all(path.exists() for path in of_clone)
    assert "3 checked-out files" in clone.gitdata("purge", "lattice@1.1.0", "-m", "purge").out
    assert [path.exists() for path in sorted(of_clone)] == [True, False, True]
    clone.push()
    colleague.git("pull", "--quiet")
    before = fingerprint(cache_of(colleague), colleague.path / "datasets")
    held = blobs(colleague, "1.1.0") & objects(cache_of(colleague))
    assert held
    dry = colleague.gitdata("prune", "--dry-run", "--json").records[0]
    assert fingerprint(cache_of(colleague), colleague.path / "datasets") == before
    done = colleague.gitdata("prune", "--json").records[0]
    assert (dry["blobs"], dry["bytes"], dry["checked_out"]) == (done["blobs"], done["bytes"], done["checked_out"])
    assert (done["blobs"], done["checked_out"]) == (len(held), 3)
    assert [path.exists() for path in sorted(of_colleague)] == [True, False, True]
    assert not held & objects(cache_of(colleague))


def read_all(place: Place) -> None:
    """Read the rows and the row indexes of every extension, live or not."""
    chain = place.repo.work_tree_snapshot().chain("lattice")
    everything = chain.ordered(chain.extensions)
    source = RowSource(place.repo, (), ())
    source.rows(source.parts(chain, chain.extensions, "train"))
    row_indexes(place.repo, everything)


def test_what_was_read_out_of_purged_files_goes_too(retracted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MANY", 1)
    clone, colleague = retracted.clone, retracted.another_clone()
    for place in (clone, colleague):
        read_all(place)
        assert list(packs.packs_of(place.repo).folder.iterdir())
    colleague.gitdata("prune")  # its cache no longer holds what was retracted
    assert not blobs(clone, "1.1.0") & objects(cache_of(colleague))
    clone.gitdata("purge", "lattice@1.1.0", "--dry-run")
    assert packs.packs_of(clone.repo).folder.exists()
    clone.gitdata("purge", "lattice@1.1.0", "-m", "purge")
    assert not packs.packs_of(clone.repo).folder.exists()
    clone.push("origin", "HEAD:main")
    colleague.git("pull", "--quiet")
    colleague.gitdata("prune")
    assert not packs.packs_of(colleague.repo).folder.exists()
    chain = colleague.repo.work_tree_snapshot().chain("lattice")
    source = RowSource(colleague.repo, (), ())
    source.rows(source.parts(chain, chain.live, "train"))
    colleague.gitdata("prune")  # what holds nothing that was purged stays
    assert list(packs.packs_of(colleague.repo).folder.iterdir())


def test_a_clone_that_does_not_know_of_a_purge_is_told_where_to_look(retracted: World) -> None:
    other = retracted.another_clone()
    retracted.clone.gitdata("purge", "lattice@1.1.0", "-m", "purge it")
    other.gitdata("extend", "lattice", retracted.lattice("d", 4, 5), "-m", "d")
    refused = other.push("origin", "HEAD:side", ok=False)
    assert "blobs of lattice@1.1.0 (" in refused
    assert "if somebody purged them, `git pull` brings word of it" in refused
    retracted.clone.push()
    other.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    other.push("origin", "HEAD:side")


def test_a_file_that_a_live_extension_has_too_is_kept(world: World) -> None:
    clone, same = world.clone, world.lattice("same", 0, 2)
    clone.gitdata("add", "lattice", same, "-m", "a")
    clone.gitdata("add", "other", same, "-m", "the same rows")
    clone.commit("settings")
    clone.gitdata("retract", "lattice@1.0.0", "--reason", "bad", "-m", "bad")
    clone.push("origin", "HEAD:main")
    record = clone.gitdata("purge", "lattice@1.0.0", "-m", "purge", "--json").records[0]
    assert {kept["needed_by"] for kept in record["kept"]} == {"other@1.0.0"}
    assert record["blobs"] == 0
    assert clone.gitdata("verify", "--remote", "--deep").code == 0


@pytest.mark.parametrize("where", ["not retracted", "another branch here", "another branch there", "not pushed"])
def test_what_a_branch_still_needs_is_not_purged(retracted: World, where: str) -> None:
    clone = retracted.clone
    if where == "not retracted":
        target = "lattice@1.2.0"
    else:
        target = "lattice@1.1.0"
        if where == "another branch here":
            clone.git("branch", "side", "HEAD~1")
        if where == "another branch there":
            retracted.another_clone().git("push", "--quiet", "origin", "origin/main~1:refs/heads/side")
        if where == "not pushed":
            clone.gitdata("extend", "lattice", retracted.lattice("e", 5, 6), "-m", "e")
            clone.push("origin", "HEAD:main")
            target = "lattice@1.3.0"
            clone.gitdata("retract", target, "--reason", "bad", "-m", "bad")
    before = fingerprint(cache_of(clone), retracted.server.store)
    refused = clone.gitdata("purge", target, code=2)
    says = {"not retracted": "is not retracted", "another branch here": "live on side", "not pushed": "origin/main"}
    assert says.get(where, "live on origin/side") in refused.err
    assert fingerprint(cache_of(clone), retracted.server.store) == before


def test_a_purge_that_cannot_reach_the_remote_changes_nothing(retracted: World) -> None:
    clone, server = retracted.clone, retracted.server.path
    before = fingerprint(cache_of(clone))
    server.rename(server.with_name("away.git"))
    clone.gitdata("purge", "lattice@1.1.0", "-m", "purge", code=5)
    assert fingerprint(cache_of(clone)) == before
    server.with_name("away.git").rename(server)


def test_which_versions_saw_it_is_told(retracted: World) -> None:
    clone = retracted.clone
    clone.gitdata("retract", "lattice@1.1.0", "--undo", "-m", "back")
    clone.declare()
    clone.commit("model")
    clone.push("origin", "HEAD:main")
    retracted.server.wait()
    clone.gitdata("fetch")
    clone.gitdata("retract", "lattice@1.0.0", "lattice@1.1.0", "--reason", "both are bad", "-m", "bad")
    assert clone.git("log", "-1", "--format=%s") == "bad"
    clone.push("origin", "HEAD:main")
    retracted.server.wait()
    record = clone.gitdata("purge", "lattice@1.1.0", "-m", "purge", "--json").records[0]
    assert "lattice@1" in record["seen_by"]
    assert blobs(clone, "1.1.0") & objects(retracted.server.path / "gitdata" / "cache")
    clone.push("origin", "HEAD:main")  # it wakes the server, whose cache held a copy
    retracted.server.wait()
    assert not blobs(clone, "1.1.0") & objects(retracted.server.path / "gitdata" / "cache")


def test_prune_frees_what_the_remote_holds_and_nothing_else(retracted: World) -> None:
    clone = retracted.clone
    clone.gitdata("extend", "lattice", retracted.lattice("e", 5, 6), "-m", "not pushed")
    clone.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    clone.gitdata("extend", "lattice", retracted.lattice("f", 6, 7), "-m", "theirs")
    clone.push("origin", "side")
    ours, theirs = blobs(clone, "1.1.0"), blobs(clone, "1.3.0")
    clone.git("checkout", "--quiet", "main")
    clone.git("branch", "--quiet", "-D", "side")
    unpushed = blobs(clone, "1.3.0")
    dry = clone.gitdata("prune", "--dry-run", "--json").records[0]
    assert dry["blobs"] == len(ours | theirs)
    assert ours | theirs <= objects(cache_of(clone))
    clone.gitdata("prune")
    assert not (ours | theirs) & objects(cache_of(clone))
    assert unpushed | blobs(clone, "1.0.0") | blobs(clone, "1.2.0") <= objects(cache_of(clone))
    assert clone.gitdata("verify", "--remote", "--deep").code == 0
    clone.git("checkout", "--quiet", "-b", "side", "origin/side")
    clone.gitdata("pull")  # it comes back when it is needed
    assert theirs <= objects(cache_of(clone))


def test_orphans_go_once_they_are_old_from_cache_and_store(retracted: World) -> None:
    clone, store = retracted.clone, retracted.server.store
    for folder in (cache_of(clone), store):
        for name, age in (("old", GRACE + 60), ("new", 0.0)):
            path = folder / "files" / "md5" / "00" / f"{name:0>30}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"nobody names me")
            os.utime(path, (time.time() - age,) * 2)
    before = fingerprint(store)
    clone.gitdata("prune", "--remote")
    for folder in (cache_of(clone), store):
        assert {name for name in objects(folder) if name.startswith("00000")} == {f"00{'new':0>30}"}
    assert len(before) - len(fingerprint(store)) == 1


def test_a_store_that_others_may_use_and_a_shallow_clone_are_not_pruned(retracted: World, tmp_path: Path) -> None:
    shallow = Clone(tmp_path / "shallow")
    Place(tmp_path).git("clone", "--quiet", "--depth", "1", f"file://{retracted.server.path}", shallow.path)
    shallow.gitdata("init")
    assert "shallow" in shallow.gitdata("prune", "--remote", code=2).err
    clone = retracted.clone
    (tmp_path / "bucket").mkdir()
    (clone.path / ".dvc" / "config").write_text(
        f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {tmp_path / 'bucket'}\n"
    )
    assert "other repositories" in clone.gitdata("prune", "--remote", code=2).err
