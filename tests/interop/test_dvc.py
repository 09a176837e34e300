"""A real dvc, of other versions and in environments of their own, at work in repositories that gitdata made.

GITDATA_TEST_DVC names the executables, separated as in PATH. Every test ends with what gitdata needs: its own commands
work, and the remotes hold whatever the branches of the server name. What holds is written in docs/interoperability.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from world import Clone, Done, Place, Server, World, fingerprint, run

pytestmark = pytest.mark.slow

EXECUTABLES = [Path(part).absolute() for part in os.environ.get("GITDATA_TEST_DVC", "").split(os.pathsep) if part]
UNSET: Any = pytest.param(None, marks=pytest.mark.skip(reason="GITDATA_TEST_DVC names no dvc executable"))
LEDGER = "gitdata/models"
UNTRAINED = {"GITDATA_SKIP_TRAIN": "1"}


@dataclass(frozen=True)
class Dvc:
    """A dvc executable."""

    executable: Path

    def __call__(self, place: Place, *arguments: str | Path, ok: bool = True) -> Done:
        done = run(self.executable, *arguments, cwd=place.path)
        assert (done.code == 0) == ok, (arguments, done)
        return done

    def json(self, place: Place, *arguments: str) -> Any:
        return json.loads(self(place, *arguments, "--json").out)


@pytest.fixture(params=EXECUTABLES or [UNSET], ids=lambda path: path.parent.parent.name if path else "none")
def dvc(request: pytest.FixtureRequest) -> Dvc:
    return Dvc(request.param)


@pytest.fixture(scope="module")
def template(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A base and an extension on main, another extension on side, and two versions of a model in the ledger."""
    world = first_world.copy(tmp_path_factory.mktemp("template"))
    clone = world.clone
    clone.declare()
    fields = ["--inputs", "t1,t2,t3,scenario,dir", "--outputs", "W_max,P_peak"]
    clone.gitdata("add", "lattice", world.lattice("base", 0, 30), "--test", "0.15", "--validation", "0.15", *fields)
    clone.commit("a dataset and a model")
    clone.push()
    world.server.wait()
    clone.gitdata("extend", "lattice", world.lattice("ours", 30, 36), "--test", "0.15", "-m", "ours")
    clone.push()
    world.server.wait()
    assert [version["number"] for version in world.server.ledger()] == [1, 2]
    clone.git("checkout", "--quiet", "-b", "side", "main~1")
    clone.gitdata("extend", "lattice", world.lattice("theirs", 36, 42), "--test", "0.15", "-m", "theirs")
    clone.git("push", "--quiet", "origin", "side", env=UNTRAINED)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """The same server again, and a fresh clone of it that holds no blob yet."""
    world = World(tmp_path, Server(tmp_path / "server.git"), Clone(tmp_path / "clone"))
    shutil.copytree(template.server.path, world.server.path)
    world.another_clone("clone")
    return world


# --- what is named, and what is there ------------------------------------------------------------------------


def pointer_files(place: Place, ref: str) -> dict[str, Any]:
    """Every pointer at a ref by path, read as YAML (JSON is YAML), without gitdata."""
    paths = place.git("ls-tree", "-r", "--name-only", ref, "--", "datasets", "models").splitlines()
    return {path: YAML(typ="safe").load(place.git("show", f"{ref}:{path}")) for path in paths if path.endswith(".dvc")}


def needed(place: Place, ref: str) -> set[str]:
    """The names of all blobs that the pointers at a ref name."""
    found = set()
    for pointer in pointer_files(place, ref).values():
        record = pointer["meta"]["gitdata"]
        listed = record["package"]["files"] if "package" in record else record["listing"]["files"] + record["sidecars"]
        found |= {pointer["outs"][0]["md5"], *(file["md5"] for file in listed)}
    assert found
    return found


def held(folder: Path) -> set[str]:
    """The names of the blobs that a cache or a remote holds; each is hashed."""
    found = set()
    for path in (folder / "files" / "md5").rglob("*"):
        if path.is_file():
            found.add(path.parent.name + path.name)
            assert hashlib.md5(path.read_bytes()).hexdigest() == (path.parent.name + path.name).removesuffix(".dir")
    return found


def cached(clone: Clone) -> set[str]:
    return held(clone.path / ".dvc" / "cache")


def lost(server: Server) -> dict[str, set[str]]:
    """The blobs that branches of the server name and its remotes do not hold; branches that lack none are left out."""
    branches = server.git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    assert {"main", "side", LEDGER} <= {*branches}
    data, packages = held(server.store), held(server.store / "gitdata-models")
    lacking = {branch: needed(server, branch) - (packages if branch == LEDGER else data) for branch in branches}
    return {branch: blobs for branch, blobs in lacking.items() if blobs}


def stem(clone: Clone, version: str) -> str:
    (path,) = (clone.path / "datasets" / "lattice").glob(f"{version}-*.dvc")
    return f"datasets/lattice/{path.stem}"


def listed(place: Place, path: str, ref: str = "HEAD") -> dict[str, str]:
    """The files of an extension or a package with their sha256, as its pointer at a ref lists them."""
    record = pointer_files(place, ref)[f"{path}.dvc"]["meta"]["gitdata"]
    if "package" in record:
        return {file["path"]: file["sha256"] for file in record["package"]["files"]}
    files = {f"{file['split']}/{file['path']}": file["sha256"] for file in record["listing"]["files"]}
    return files | {sidecar["path"]: sidecar["sha256"] for sidecar in record["sidecars"]}


def lies_in(folder: Path) -> dict[str, str]:
    """The files that lie in a folder, with their sha256."""
    return {Path(path).relative_to(folder).as_posix(): digest for path, digest in fingerprint(folder).items()}


def assert_gitdata_goes_on(world: World) -> None:
    """Status, checkout, extend and push of the clone work, and the remotes hold all that any branch names."""
    clone = world.clone
    status = clone.gitdata("status", "--json").records
    assert [record["id"] for record in status if record["kind"] == "dataset"] == ["lattice"]
    assert not any("error" in record for record in status)
    clone.gitdata("checkout", "lattice")
    for path in pointer_files(clone, "HEAD"):
        folder = path.removesuffix(".dvc")
        assert lies_in(clone.path / folder) == listed(clone, folder)
    clone.gitdata("extend", "lattice", world.lattice("after", 60, 62), "-m", "after")
    branch = clone.git("branch", "--show-current")
    clone.git("push", "--quiet", "origin", f"HEAD:{branch}", env=UNTRAINED)
    assert world.server.git("rev-parse", branch) == clone.git("rev-parse", "HEAD")
    assert lost(world.server) == {}


# --- transfer ------------------------------------------------------------------------------------------------


def test_dvc_fetches_and_pulls_what_gitdata_pushed_and_finds_it_clean(dvc: Dvc, world: World) -> None:
    clone = world.clone
    before = dvc.json(clone, "data", "status")
    assert {*before["not_in_cache"]} == {stem(clone, "1.0.0") + "/", stem(clone, "1.1.0") + "/"}
    assert dvc.json(clone, "status").keys() == {stem(clone, "1.0.0") + ".dvc", stem(clone, "1.1.0") + ".dvc"}
    dvc(clone, "fetch")
    assert cached(clone) == needed(clone, "HEAD")
    dvc(clone, "pull")
    for version in ("1.0.0", "1.1.0"):
        assert lies_in(clone.path / stem(clone, version)) == listed(clone, stem(clone, version))
    assert dvc.json(clone, "status") == {}
    assert dvc.json(clone, "data", "status") == {}
    assert clone.git("status", "--porcelain") == ""
    assert_gitdata_goes_on(world)


def test_dvc_pushes_what_gitdata_extended_and_git_push_has_nothing_left_to_send(dvc: Dvc, world: World) -> None:
    clone = world.clone
    clone.gitdata("extend", "lattice", world.lattice("mine", 42, 46), "-m", "mine")
    before = held(world.server.store)
    new = needed(clone, "HEAD") - needed(clone, "HEAD~1")
    assert "new" in dvc.json(clone, "status", "--cloud").values()
    dvc(clone, "push")
    assert held(world.server.store) - before == new
    assert {*dvc.json(clone, "status", "--cloud").values()} == {"deleted"}  # on the remote, and not in the cache
    written = fingerprint(world.server.store)
    clone.git("push", "--quiet", "origin", "HEAD:main", env=UNTRAINED)
    assert fingerprint(world.server.store) == written
    assert_gitdata_goes_on(world)


def test_dvc_brings_the_packages_of_the_ledger_branch(dvc: Dvc, world: World) -> None:
    clone = world.clone
    clone.git("checkout", "--quiet", LEDGER)
    dvc(clone, "pull")
    for path in pointer_files(clone, LEDGER):
        folder = path.removesuffix(".dvc")
        assert lies_in(clone.path / folder) == listed(clone, folder, LEDGER)
    assert dvc.json(clone, "status") == {}
    clone.git("checkout", "--quiet", "main")
    assert len(clone.gitdata("models", "--json").records) == 2
    assert_gitdata_goes_on(world)


# --- from elsewhere ------------------------------------------------------------------------------------------


def test_get_and_list_reach_extensions_and_packages_from_elsewhere(dvc: Dvc, world: World) -> None:
    clone, server, elsewhere = world.clone, world.server, Place(world.root / "elsewhere")
    elsewhere.path.mkdir()
    base = stem(clone, "1.0.0")
    dvc(elsewhere, "get", clone.path, base, "-o", "from_clone", "--rev", "origin/side")
    assert lies_in(elsewhere.path / "from_clone") == listed(clone, base)
    store = ("--remote", "gitdata", "--remote-config", f"url={server.store}")
    dvc(elsewhere, "get", server.path, base, "-o", "from_server", *store)
    assert lies_in(elsewhere.path / "from_server") == listed(clone, base)
    package = max(pointer_files(server, LEDGER)).removesuffix(".dvc")
    store = ("--remote", "gitdata-models", "--remote-config", f"url={server.store / 'gitdata-models'}")
    dvc(elsewhere, "get", server.path, package, "--rev", LEDGER, "-o", "package", *store)
    assert lies_in(elsewhere.path / "package") == listed(server, package, LEDGER)
    extensions = sorted(f"{p}/{f}" for p in (base, stem(clone, "1.1.0")) for f in listed(clone, p))
    for where in ((clone.path,), (server.path, "--remote", "gitdata", "--remote-config", f"url={server.store}")):
        assert sorted(dvc(elsewhere, "list", *where, "--recursive", "--dvc-only").out.split()) == extensions
    assert_gitdata_goes_on(world)


def test_get_from_a_bare_server_needs_to_be_told_the_store(dvc: Dvc, world: World) -> None:
    """No commit names the derived store, and DVC reads nothing else of a repository that it clones."""
    elsewhere = Place(world.root / "elsewhere")
    elsewhere.path.mkdir()
    dvc(elsewhere, "get", world.server.path, stem(world.clone, "1.0.0"), "-o", "base", ok=False)
    assert lies_in(elsewhere.path) == {}


def test_an_import_brings_the_files_and_stays_outside_of_the_datasets(dvc: Dvc, world: World, tmp_path: Path) -> None:
    base = stem(world.clone, "1.0.0")
    (tmp_path / "importing").mkdir()
    other = World.make(tmp_path / "importing")
    store = ("--remote", "gitdata", "--remote-config", f"url={world.server.store}")
    dvc(other.clone, "import", world.server.path, base, "-o", "imported", *store)
    assert lies_in(other.clone.path / "imported") == listed(world.clone, base)
    assert "meta" not in YAML(typ="safe").load(other.clone.path / "imported.dvc")
    other.clone.gitdata("add", "mine", other.clone.path / "imported" / "train" / "base.csv", "-m", "made of it")
    other.clone.commit("an import")
    other.clone.push()
    assert [r["id"] for r in other.clone.gitdata("status", "--json").records] == ["mine"]
    assert needed(other.server, "main~1") <= held(other.server.store)
    assert_gitdata_goes_on(world)


def test_an_import_in_the_place_of_an_extension_is_refused(dvc: Dvc, world: World, tmp_path: Path) -> None:
    base = stem(world.clone, "1.0.0")
    (tmp_path / "importing").mkdir()
    other = World.make(tmp_path / "importing")
    (other.clone.path / base).parent.mkdir(parents=True)
    dvc(other.clone, "import", world.clone.path, base, "-o", base)
    assert f"{base}.dvc" in other.clone.gitdata("status", code=4).err
    other.clone.commit("an import where an extension belongs")
    assert f"{base}.dvc" in other.clone.push(ok=False)
    assert other.server.git("for-each-ref") == ""
    (other.clone.path / f"{base}.dvc").unlink()
    other.clone.gitdata("status")


# --- pipelines -----------------------------------------------------------------------------------------------


def write_stage(clone: Clone, extension: str) -> None:
    (clone.path / "dvc.yaml").write_text(
        f"stages:\n  gather:\n    cmd: cat {extension}/train/*.csv > gathered.csv\n    deps: [{extension}]\n"
        "    outs: [gathered.csv]\n"
    )


def test_repro_runs_a_stage_on_an_extension_and_leaves_its_pointer(dvc: Dvc, world: World) -> None:
    clone, base = world.clone, stem(world.clone, "1.0.0")
    clone.gitdata("checkout", "lattice")
    write_stage(clone, base)
    dvc(clone, "repro")
    content = (clone.path / "gathered.csv").read_bytes()
    assert content == (clone.path / base / "train" / "base.csv").read_bytes()
    lock = YAML(typ="safe").load(clone.path / "dvc.lock")["stages"]["gather"]
    assert lock["deps"][0]["md5"] == pointer_files(clone, "HEAD")[f"{base}.dvc"]["outs"][0]["md5"]
    assert clone.git("diff", "--name-only", "--", "datasets") == ""
    clone.commit("a stage")
    assert dvc.json(clone, "status") == {}
    shutil.rmtree(clone.path / base)
    (clone.path / "gathered.csv").unlink()
    dvc(clone, "repro", "--pull")
    assert lies_in(clone.path / base) == listed(clone, base)
    assert (clone.path / "gathered.csv").read_bytes() == content
    assert_gitdata_goes_on(world)


def test_repro_on_a_part_of_an_extension_rewrites_its_pointer_and_gitdata_notices(dvc: Dvc, world: World) -> None:
    """DVC takes what lies there, here the train split alone, for the new content of its output."""
    clone, base = world.clone, stem(world.clone, "1.0.0")
    clone.gitdata("checkout", "lattice", "--split", "train")
    write_stage(clone, base)
    dvc(clone, "repro")
    assert clone.git("diff", "--name-only", "--", "datasets") == f"{base}.dvc"
    (status,) = (r for r in clone.gitdata("status", "--json").records if r["kind"] == "dataset")
    assert status["unstaged"] == [f"{base}.dvc"]
    assert "1.0.0" in clone.gitdata("checkout", "lattice", code=4).err
    clone.git("checkout", "--", "datasets")
    assert_gitdata_goes_on(world)


def test_a_pointer_that_dvc_made_of_a_part_of_an_extension_is_not_pushed(dvc: Dvc, world: World) -> None:
    clone, base = world.clone, stem(world.clone, "1.0.0")
    clone.gitdata("checkout", "lattice", "--split", "train")
    dvc(clone, "add", base)
    assert clone.git("diff", "--name-only", "--", "datasets") == f"{base}.dvc"
    clone.commit("a pointer whose directory object names other files than its listing")
    said = clone.git("push", "--quiet", "origin", "HEAD:main", env=UNTRAINED, ok=False)
    assert "lattice@1.0.0" in said
    assert world.server.git("rev-parse", "main") == clone.git("rev-parse", "HEAD~1")


def test_dvc_add_on_an_extension_rewrites_its_pointer_as_yaml_which_gitdata_reads(dvc: Dvc, world: World) -> None:
    clone, base = world.clone, stem(world.clone, "1.0.0")
    path = clone.path / f"{base}.dvc"
    before = path.read_bytes()
    clone.gitdata("checkout", "lattice")
    dvc(clone, "add", base)
    with pytest.raises(json.JSONDecodeError):
        json.loads(path.read_text())
    assert YAML(typ="safe").load(path) == json.loads(before)
    assert clone.git("status", "--porcelain") == f"M {base}.dvc"
    clone.commit("a pointer as YAML")
    assert_gitdata_goes_on(world)
    other = world.another_clone()
    other.gitdata("pull")
    assert lies_in(other.path / base) == listed(other, base)
    clone.gitdata("verify", "--repair")
    assert path.read_bytes() == before


# --- dvc gc: the cache of a clone ----------------------------------------------------------------------------


def test_gc_of_the_workspace_leaves_the_cache_with_what_the_work_tree_names(dvc: Dvc, world: World) -> None:
    clone = world.clone
    dvc(clone, "fetch", "-A")
    everything = needed(clone, "main") | needed(clone, "origin/side") | needed(clone, f"origin/{LEDGER}")
    assert cached(clone) == everything
    store = fingerprint(world.server.store)
    dvc(clone, "gc", "-w", "-f")
    assert cached(clone) == needed(clone, "main")
    assert fingerprint(world.server.store) == store
    clone.git("checkout", "--quiet", "side")
    assert_gitdata_goes_on(world)
    clone.gitdata("predict", "lattice", world.lattice("designs", 90, 91), "-o", "predicted.csv")


def test_gc_of_all_branches_and_tags_keeps_what_local_branches_and_tags_name(dvc: Dvc, world: World) -> None:
    clone = world.clone
    clone.git("tag", "first", "origin/side")
    clone.git("checkout", "--quiet", "-b", "mine")
    clone.gitdata("extend", "lattice", world.lattice("mine", 42, 46), "-m", "mine")  # on no remote yet
    dvc(clone, "fetch", "-A")
    clone.git("checkout", "--quiet", "main")
    store = fingerprint(world.server.store)
    dvc(clone, "gc", "-a", "-T", "-f")
    assert cached(clone) == needed(clone, "main") | needed(clone, "first") | needed(clone, "mine")
    assert fingerprint(world.server.store) == store
    clone.git("checkout", "--quiet", "mine")
    assert_gitdata_goes_on(world)


def test_gc_of_the_workspace_takes_unpushed_blobs_of_other_branches_and_the_push_is_refused(
    dvc: Dvc, world: World
) -> None:
    clone = world.clone
    clone.git("checkout", "--quiet", "-b", "mine")
    clone.gitdata("extend", "lattice", world.lattice("mine", 42, 46), "-m", "mine")
    unpushed = needed(clone, "mine") - needed(clone, "main")
    assert unpushed <= cached(clone)
    clone.git("checkout", "--quiet", "main")
    dvc(clone, "gc", "-w", "-f")
    assert not unpushed & cached(clone)
    store = fingerprint(world.server.store)
    said = clone.push("origin", "mine", ok=False)
    assert "blobs of lattice@" in said
    assert "mine" not in world.server.git("for-each-ref")
    assert fingerprint(world.server.store) == store
    assert_gitdata_goes_on(world)


# --- dvc gc -c: the remote, which everybody shares -----------------------------------------------------------


def as_cloned(world: World) -> None:
    assert world.clone.git("branch", "--format=%(refname:short)") == "main"


def with_side(world: World) -> None:
    world.clone.git("branch", "--quiet", "side", "origin/side")


def with_an_old_ledger(world: World) -> None:
    with_side(world)
    world.clone.git("branch", "--quiet", LEDGER, f"origin/{LEDGER}~1")


def on_the_ledger(world: World) -> None:
    world.clone.git("checkout", "--quiet", LEDGER)


def of_one_branch(world: World) -> None:
    shutil.rmtree(world.clone.path)
    run("git", "clone", "--quiet", "--single-branch", world.server.path, world.clone.path, cwd=world.root)
    world.clone.gitdata("init")


def before_others_pushed(world: World) -> None:
    """Since this clone was made, somebody pushed an extension, and the server retrained."""
    other = world.another_clone()
    other.gitdata("extend", "lattice", world.lattice("others", 46, 50), "-m", "others")
    other.push()
    world.server.wait()
    assert len(world.server.ledger()) == 3


def plant(store: Path) -> str:
    """A blob that no pointer names: what a `dvc gc -c` is for."""
    content = b"nobody names this"
    name = hashlib.md5(content).hexdigest()
    path = store / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert name in held(store)
    return name


def unguarded(clone: Clone, *options: str) -> set[str]:
    """A pre-check: the branches of the git remote at whose tips a `dvc gc` with these options does not look.

    It errs on the safe side: what such a branch names, others may name too.
    """
    tips = dict(reversed(line.split()) for line in clone.git("ls-remote", "--heads", "origin").splitlines())
    if "-A" in options:
        seen = clone.git("rev-list", "--branches", "--tags", "--remotes").split()
    elif "-a" in options:
        seen = clone.git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags").split()
    else:
        seen = [clone.git("rev-parse", "HEAD")]
    return {ref.removeprefix("refs/heads/") for ref, commit in tips.items() if commit not in seen}


@pytest.mark.parametrize(
    ("prepare", "options", "harmed"),
    [
        (as_cloned, "-w", {"side"}),
        (as_cloned, "-a -T", {"side"}),
        (as_cloned, "-A", set()),
        (as_cloned, "-a -T -r gitdata-models", {LEDGER}),
        (with_side, "-a", set()),
        (with_an_old_ledger, "-a", {LEDGER}),
        (on_the_ledger, "-w", {"main", "side"}),
        (of_one_branch, "-A", {"side"}),
        (before_others_pushed, "-A", {"main", LEDGER}),
    ],
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else "-"),
)
def test_gc_of_the_cloud_harms_the_branches_that_it_does_not_look_at(
    dvc: Dvc, world: World, prepare: Callable[[World], None], options: str, harmed: set[str]
) -> None:
    prepare(world)
    assert lost(world.server) == {}
    store = world.server.store / "gitdata-models" if "gitdata-models" in options else world.server.store
    orphan = plant(store)
    foreseen = unguarded(world.clone, *options.split())
    dvc(world.clone, "gc", *options.split(), "-c", "-f")
    assert orphan not in held(store)
    assert lost(world.server).keys() == harmed
    assert harmed <= foreseen


def test_a_dry_gc_of_the_cloud_counts_what_it_would_take_and_whoever_holds_it_puts_it_back(
    dvc: Dvc, world: World
) -> None:
    clone, holder = world.clone, world.another_clone("holder")
    holder.git("checkout", "--quiet", "side")
    holder.gitdata("fetch")
    store = fingerprint(world.server.store)
    dry = dvc(clone, "gc", "-a", "-T", "-c", "-f", "--dry")
    assert fingerprint(world.server.store) == store
    dvc(clone, "gc", "-a", "-T", "-c", "-f")
    gone = lost(world.server)
    assert re.findall(r"Removed (\d+) objects from remote", dry.out + dry.err) == [str(len(gone["side"]))]
    assert gone.keys() == {"side"}
    clone.git("checkout", "--quiet", "side")
    assert any(blob in clone.gitdata("fetch", code=4).err for blob in gone["side"])
    holder.gitdata("push")
    assert_gitdata_goes_on(world)


def test_packages_that_gc_of_the_cloud_took_come_back_from_the_server_that_made_them(dvc: Dvc, world: World) -> None:
    clone = world.clone
    dvc(clone, "gc", "-w", "-c", "-r", "gitdata-models", "-f")
    assert lost(world.server) == {LEDGER: needed(world.server, LEDGER)}
    clone.gitdata("predict", "lattice", world.lattice("designs", 90, 91), "-o", "predicted.csv", code=4)
    world.server.gitdata("verify", "--remote", "--repair")
    clone.gitdata("predict", "lattice", world.lattice("designs", 90, 91), "-o", "predicted.csv")
    assert_gitdata_goes_on(world)


def test_blobs_that_gc_of_the_cloud_took_before_their_branch_was_pushed_are_sent_again_by_the_push(
    dvc: Dvc, world: World
) -> None:
    """Nobody else's pre-check can foresee it: no ref of the git remote names these blobs yet."""
    other = world.another_clone()
    other.gitdata("extend", "lattice", world.lattice("others", 46, 50), "-m", "others")
    new = needed(other, "HEAD") - needed(other, "HEAD~1")
    other.gitdata("push")
    assert new <= held(world.server.store)
    assert unguarded(world.clone, "-A") == set()
    dvc(world.clone, "gc", "-A", "-c", "-f")
    assert not new & held(world.server.store)
    other.git("push", "--quiet", "origin", "HEAD:main", env=UNTRAINED)
    assert lost(world.server) == {}
