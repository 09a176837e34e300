"""What somebody hostile can commit, push or put on a store: refused, nothing executed, written outside or leaked.

The attacker may push to the repository and write to the blob store; the victim runs gitdata in a clone, or the server
that retrains. A canary is a file that only executed code would make.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, Done, World, fingerprint

from gitdata.commands.publish import Change, publish
from gitdata.data import pointerfile
from gitdata.storage.cache import Blob, directory_object

pytestmark = pytest.mark.slow  # many processes: the default suite stays short

Call = Callable[..., Done]
Write = Callable[[str, "str | bytes"], Path]
GOOD = "a,b,y\n" + "".join(f"{n},{n % 7},{n % 3}\n" for n in range(40))
SECRET = "the secret of this machine"
MODEL = """
[data]
dataset = "d"
outputs = ["y"]
[network]
layers = [{ dense = 4 }, "relu", { dense = "outputs" }]
[training]
epochs = 2
"""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("victim"))
    clone = world.clone
    (clone.path / "models").mkdir()
    (clone.path / "models" / "m.toml").write_text(MODEL)
    (world.root / "base.csv").write_text(GOOD)
    clone.gitdata("add", "d", world.root / "base.csv", "--outputs", "y", "--test", "0.2", "-m", "base")
    clone.commit("model")
    clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    (world.root / "secret").write_text(SECRET)
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> World:
    return first.copy(tmp_path)


@pytest.fixture
def victim(world: World) -> Clone:
    """A clone with a small dataset and a model; beside it lies a secret."""
    return world.clone


def harmless(victim: Clone, call: Call, *commands: tuple[str, ...], codes: tuple[int, ...] = (2, 4, 5)) -> None:
    """Commands are refused with a documented code, and what lies outside the clone and its store stays as it is."""
    world = victim.path.parent
    outside = [path for path in world.iterdir() if path.name not in (victim.path.name, "server.git")]
    before = fingerprint(*outside), sorted(path.name for path in world.iterdir())
    for command in commands:
        done = call(victim.path, *command)
        assert done.code in codes, (command, done)
        assert "Traceback" not in done.err
        assert "this is a bug" not in done.err
        assert SECRET not in done.out + done.err
        assert not any(sign in done.out + done.err for sign in ("\x1b]", "\x1b[2J", "\x07"))
    assert (fingerprint(*outside), sorted(path.name for path in world.iterdir())) == before
    assert not (world / "canary").exists()


# --- configuration that was committed ------------------------------------------------------------------------


def remote(url: str, *options: str, name: str = "r") -> str:
    """A committed configuration with one remote."""
    lines = [f"url = {url}", *options]
    return f"[core]\n    remote = {name}\n['remote \"{name}\"']\n" + "".join(f"    {line}\n" for line in lines)


NOWHERE = "127.0.0.1:1/x"
CONFIGS = {
    "a command for a token": remote(f"https://{NOWHERE}", "bearer_token_command = touch {canary}"),
    "a command for webdav": remote(f"webdav://{NOWHERE}", "bearer_token_command = touch {canary}"),
    "a key of somebody": remote(f"ssh://{NOWHERE}", "ask_password = true", "keyfile = {secret}"),
    "a helper of git": remote("ext::sh -c touch% {canary}"),
    "an odd kind": remote("file://{secret}"),
    "an option as a name": remote(f"https://{NOWHERE}", name="--upload-pack=touch {canary}"),
    "credentials of somebody": remote("s3://bucket/x", f"endpointurl = http://{NOWHERE}", "credentialpath = {secret}"),
    "a local one": remote("local://{secret}"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # aiohttp's session, left open by DVC
@pytest.mark.parametrize("how", CONFIGS)
def test_committed_configuration_runs_nothing_and_opens_nothing(
    victim: Clone, canary: Path, call: Call, how: str
) -> None:
    text = CONFIGS[how].format(canary=canary, secret=victim.path.parent / "secret")
    (victim.path / ".dvc" / "config.local").unlink()
    shutil.rmtree(victim.path / ".dvc" / "cache")
    (victim.path / ".dvc" / "config").write_text(text)
    victim.commit("hostile configuration")
    harmless(victim, call, ("fetch",), ("pull",), ("push",), ("verify", "--remote"), codes=(1, 2, 4, 5))


def test_a_committed_cache_folder_is_not_used(victim: Clone, call: Call) -> None:
    elsewhere = victim.path.parent / "elsewhere"
    elsewhere.mkdir()
    with (victim.path / ".dvc" / "config").open("a") as config:
        config.write(f"[cache]\n    dir = {elsewhere}\n    type = symlink\n")
    victim.commit("a cache elsewhere")
    assert call(victim.path, "checkout", "d").code == 0
    assert list(elsewhere.iterdir()) == []
    assert not any(path.is_symlink() for path in (victim.path / "datasets").rglob("*"))


@pytest.mark.parametrize("how", ["plain", "linked", "folder linked"])
def test_what_belongs_to_this_machine_is_not_taken_from_a_commit(
    victim: Clone, canary: Path, call: Call, how: str
) -> None:
    """`.dvc/config.local` is trusted, since it is this machine's own; a commit may smuggle one in."""
    text = remote(f"webdav://{NOWHERE}", f"bearer_token_command = touch {canary}")
    shutil.rmtree(victim.path / ".dvc" / "cache")
    local = victim.path / ".dvc" / "config.local"
    if how == "plain":
        local.write_text(text)
    elif how == "linked":
        (victim.path / "notes").write_text(text)
        local.unlink()
        local.symlink_to("../notes")
    else:
        (victim.path / ".dvc").rename(victim.path / "other")
        (victim.path / "other" / "config.local").write_text(text)
        (victim.path / ".dvc").symlink_to("other")
        victim.git("rm", "-r", "--quiet", "--cached", ".dvc")
    victim.git("add", "--all", "--force", ".")
    victim.git("commit", "--quiet", "-m", "smuggled")
    harmless(victim, call, ("fetch",), ("push",), ("verify", "--remote"))


def test_a_committed_link_in_place_of_the_cache_is_not_written_through(victim: Clone, call: Call, write: Write) -> None:
    elsewhere = victim.path.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(victim.path / ".dvc" / "cache")
    (victim.path / ".dvc" / "cache").symlink_to(elsewhere)
    more = write("more.csv", "a,b,y\n99,1,1\n")
    victim.git("add", "--force", ".dvc/cache")
    victim.git("commit", "--quiet", "-m", "a link")
    harmless(victim, call, ("fetch",), ("extend", "d", str(more)), ("checkout", "d"))


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["--force", "-x", "--at=HEAD", "a\nb", "\x1b]0;x\x07", "..", "$(touch canary)"])
def test_a_model_whose_name_is_an_option_or_worse(victim: Clone, world: World, call: Call, name: str) -> None:
    (victim.path / "models" / f"{name}.toml").write_text(MODEL)
    victim.commit("a name")
    harmless(victim, call, ("status",), ("pending",), ("ls",), ("train", "--", name), codes=(0, 2))
    victim.push()
    assert world.server.gitdata("run", "--once").code == 0
    wait_idle(world)
    results = [result for job in world.server.spool.jobs() for result in job.record["results"]]
    assert {r["exit_code"] for r in results if r["model"] == "m"} == {0}
    assert {r["exit_code"] for r in results if r["model"] == name} <= {2}
    assert not list(victim.path.parent.rglob("canary"))


def wait_idle(world: World) -> None:
    from world import PATIENCE

    from gitdata.automation.watch import wait_until_idle

    assert wait_until_idle(world.server.spool, PATIENCE)


@pytest.mark.parametrize(
    "branch", ["x$(touch${IFS}canary)", "x`touch${IFS}canary`", "x;touch${IFS}canary", "x'\"&touch${IFS}canary"]
)
def test_a_branch_whose_name_is_a_command(victim: Clone, world: World, branch: str) -> None:
    victim.gitdata("install", "--train")
    victim.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
    victim.git("checkout", "--quiet", "-b", branch)
    victim.git("commit", "--quiet", "--allow-empty", "-m", "x")
    victim.push("origin", f"HEAD:refs/heads/{branch}")
    wait_idle(world)
    assert not list(world.root.rglob("canary"))


def test_push_options_are_not_evaluated(victim: Clone, world: World) -> None:
    victim.git("commit", "--quiet", "--allow-empty", "-m", "x")
    victim.push("-o", "$(touch canary)", "-o", "`touch canary`", "-o", "gitdata.skip", "origin", "HEAD:main")
    assert world.server.spool.jobs() == []
    assert not list(world.root.rglob("canary"))


@pytest.mark.parametrize("url", ["ext::sh -c touch% canary", "--upload-pack=touch canary", "-u=touch canary"])
def test_cloning_from_what_is_no_url(tmp_path: Path, url: str, call: Call) -> None:
    done = call(tmp_path, "clone", "--", url, "here")
    assert done.code == 5, done
    assert [path.name for path in tmp_path.iterdir()] in ([], ["here"])


def test_references_that_look_like_options(victim: Clone, call: Call) -> None:
    for command in ("log", "show", "checkout", "train", "evaluate", "lineage", "fetch", "rollback"):
        harmless(victim, call, (command, "--", "--output=canary"), (command, "--", "-x@--y"), codes=(2,))
    harmless(victim, call, ("train", "m", "--at", "--output=canary"), ("checkout", "d@../../x"), codes=(2,))


# --- pointers ------------------------------------------------------------------------------------------------


def edited(victim: Clone, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    (path,) = (victim.path / "datasets" / "d").glob("*.dvc")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def retold(victim: Clone, path: str) -> None:
    """A pointer whose id is right, and whose file leads elsewhere: made by somebody who knows the format."""
    (pointer,) = (victim.path / "datasets" / "d").glob("*.dvc")
    text = pointer.read_text().replace('"base.csv"', json.dumps(path))
    pointer.write_text(text)


@pytest.mark.parametrize(
    "path", ["../../../../canary", "/canary", "a/../../../../canary", "a\\..\\canary", "C:canary", "\x1b]0;x\x07"]
)
def test_a_listing_that_leads_out(victim: Clone, call: Call, path: str) -> None:
    retold(victim, path)
    victim.commit("a path")
    harmless(
        victim, call, ("status",), ("checkout", "d"), ("fetch",), ("push",), ("train", "m"), ("verify",), codes=(1, 4)
    )


POINTERS = {
    "code in YAML": "meta: !!python/object/apply:os.system ['touch canary']\nouts: []\n",
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
    ) + "meta: *m\nouts: []\n",
    "depth": "[" * 100_000,
    "deep YAML": "- " * 50_000 + "x",
    "size": " " * (5 * 1024 * 1024),
    "numbers": '{"meta": ' + "9" * 10_000 + ', "outs": []}',
    "escape codes": '{"meta": {"gitdata": {"\\u001b]0;x\\u0007": 1}}, "outs": [{}]}',
}  # fmt: skip


@pytest.mark.parametrize("how", POINTERS)
def test_a_pointer_that_is_a_bomb(victim: Clone, call: Call, how: str) -> None:
    (pointer,) = (victim.path / "datasets" / "d").glob("*.dvc")
    pointer.write_text(POINTERS[how])
    victim.commit("a bomb")
    harmless(victim, call, ("status",), ("log", "d"), ("fetch",), ("push",), ("train", "m"), ("verify",), codes=(1, 4))


def test_pointers_with_hostile_numbers_and_places(victim: Clone, call: Call) -> None:
    for change in (
        lambda d: d["outs"][0].update(path="../.."),
        lambda d: d["outs"][0].update(md5="../../../canary.dir"),
        lambda d: d["outs"][0].update(size=-1),
        lambda d: d["outs"][0].update(nfiles=2**80),
        lambda d: d["outs"][0].update(remote="r"),
        lambda d: d["outs"].append(d["outs"][0]),
        lambda d: d["meta"]["gitdata"]["listing"]["files"][0].update(rows=True),
        lambda d: d["meta"]["gitdata"]["sidecars"][0].update(path="../x"),
        lambda d: d.update(deps=[{"path": "/etc/passwd"}]),
        lambda d: d.update(cmd="touch canary"),
    ):
        edited(victim, change)
        harmless(victim, call, ("status",), ("checkout", "d"), ("verify",), codes=(1, 4))
        victim.git("checkout", "--quiet", "--", "datasets")


@pytest.mark.parametrize("name", ["datasets/d/1.0.0-00000000.dvc", "datasets", "models/m.toml", "datasets/d/retracted"])
def test_links_in_the_work_tree(victim: Clone, call: Call, name: str) -> None:
    place = victim.path / name
    if place.exists():
        shutil.move(place, victim.path / "moved")
    place.symlink_to(victim.path.parent / "secret")
    victim.git("add", "--all")
    victim.git("commit", "--quiet", "-m", "a link")
    commands = [("status",), ("train", "m"), ("push",), ("fetch",), ("ls",)]
    harmless(victim, call, *commands, codes=(0, 2, 4) if name.endswith("retracted") else (2, 4))


def test_a_submodule_in_place_of_a_pointer_is_not_entered(victim: Clone, call: Call) -> None:
    head = victim.git("rev-parse", "HEAD")
    victim.git("update-index", "--add", "--cacheinfo", f"160000,{head},datasets/d/9.0.0-00000000.dvc")
    victim.git("commit", "--quiet", "-m", "a gitlink")
    harmless(victim, call, ("train", "m", "--dry-run"), ("log", "d"), codes=(0, 2, 4))


# --- blobs ---------------------------------------------------------------------------------------------------


def test_links_on_the_store_give_nothing_away(victim: Clone, world: World, call: Call) -> None:
    for path in [p for p in (world.server.store / "files").rglob("*") if p.is_file()]:
        path.unlink()
        path.symlink_to(world.root / "secret")
    shutil.rmtree(victim.path / ".dvc" / "cache")
    harmless(victim, call, ("fetch",), ("pull",), ("checkout", "d"), codes=(4,))
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in (victim.path / ".dvc").rglob("*") if p.is_file())


def test_a_directory_object_that_names_other_files(victim: Clone, world: World, call: Call) -> None:
    blob, content = directory_object({"../../../../canary": Blob("0" * 32, 1)})
    (extension,) = victim.repo.work_tree_snapshot().chain("d").extensions.values()
    victim.repo.cache.add_bytes(content, directory=True)
    edited(victim, lambda d: d["outs"][0].update(md5=blob.md5))
    victim.commit("another directory")
    harmless(victim, call, ("checkout", "d"), ("pull",), ("train", "m"), codes=(2, 4))
    assert extension.directory.md5 not in blob.md5


def hdf5(path: Path, make: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file[name] = np.arange(8.0)
        make(file)
    return path


def beside(file: h5py.File, name: str) -> str:
    return str(Path(file.filename).parent / name)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource(beside(file, "outside.h5"), "x", (8,))
    file.create_virtual_dataset("y", layout)


HDF5 = {
    "an external link": lambda f: f.__setitem__("y", h5py.ExternalLink(beside(f, "outside.h5"), "x")),
    "a soft link": lambda f: f.__setitem__("y", h5py.SoftLink("/a")),
    "external storage": lambda f: f.create_dataset(
        "y", (8,), "u1", external=[(beside(f, "secret"), 0, 8)]
    ),
    "a virtual data set": virtual,
    "a huge one": lambda f: f.create_dataset("y", (8, 2**50), "f8", chunks=(1, 1024)),
    "a group that holds itself": lambda f: (f.__setitem__("y", np.arange(8.0)), f.__setitem__("loop", f["/"])),
    "references": lambda f: f.create_dataset("y", data=np.array([f["a"].ref] * 8, dtype=h5py.ref_dtype)),
    "an opaque type": lambda f: f.create_dataset("y", data=np.void(b"x" * 8)),
}  # fmt: skip


@pytest.mark.parametrize("how", HDF5)
def test_hdf5_that_leads_out_is_refused_at_intake_and_in_training(victim: Clone, call: Call, how: str) -> None:
    """Also where somebody else committed it: its pointer is sound, only its content is hostile."""
    world = victim.path.parent
    with h5py.File(world / "outside.h5", "w") as outside:
        outside["x"] = np.arange(8.0) + 4242
    hostile = hdf5(world / "hostile.h5", HDF5[how])
    harmless(victim, call, ("add", "e", str(hostile), "--outputs", "y"), codes=(2,))
    good = hdf5(world / "good.h5", lambda f: f.__setitem__("y", np.arange(8.0)))
    assert call(victim.path, "add", "e", good, "--outputs", "y", "-m", "e").code == 0
    chain = victim.repo.work_tree_snapshot().chain("e")
    (extension,) = chain.extensions.values()
    hash = victim.repo.cache.add_file(hostile)
    (pointer,) = (victim.path / "datasets" / "e").glob("*.dvc")
    assert extension.files
    from dataclasses import replace

    from gitdata.data.pointer import Directory, listing_digest

    files = (replace(extension.files[0], sha256=hash.sha256, size=hash.size, md5=hash.md5),)
    places = {files[0].place: hash} | {a.path: Blob(a.md5, a.size, a.sha256) for a in extension.sidecars}
    blob, content = directory_object(places)
    victim.repo.cache.add_bytes(content, directory=True)
    total = sum(b.size or 0 for b in places.values())
    directory = Directory(blob.md5.removesuffix(".dir"), total, len(places))
    evil = replace(extension, files=files, listing=listing_digest(files), directory=directory)
    pointer.unlink()
    (pointer.parent / f"{evil.stem}.dvc").write_bytes(pointerfile.encode(evil))
    (victim.path / "models" / "e.toml").write_text(MODEL.replace('"d"', '"e"'))
    victim.commit("hostile rows")
    victim.git("push", "--quiet", "--no-verify", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    harmless(victim, call, ("train", "e"), codes=(2, 4))
    assert "4242" not in call(victim.path, "models", "--json").out


def test_numbers_in_a_csv_file_are_only_numbers(victim: Clone, call: Call, write: Write) -> None:
    for name, text in {
        "nul.csv": "a,b,y\n1,2,\0\n",
        "wide.csv": ",".join(f"c{n}" for n in range(60_000)) + "\n",
        "quotes.csv": 'a,b,y\n"' + "x" * 100_000,
        "pickle.csv": "\x80\x04\x95cos\nsystem\n(S'touch canary'\ntR.",
    }.items():
        harmless(victim, call, ("extend", "d", str(write(name, text))), codes=(2,))


# --- models and the ledger -----------------------------------------------------------------------------------

MODELS = {
    "a huge layer": MODEL.replace("dense = 4", "dense = 4000000000"),
    "many layers": MODEL.replace('{ dense = 4 }, "relu"', ", ".join(["{ dense = 4 }"] * 5000)),
    "another dataset": MODEL.replace('"d"', '"../../../etc"'),
    "a branch that is an option": MODEL + '[deployment]\nbranch = "--upload-pack=touch canary"\n',
    "code": MODEL.replace('"relu"', '"__import__(\\"os\\").system(\\"touch canary\\")"'),
    "a path": MODEL.replace('"relu"', '{ python = "evil.py" }'),
    "depth": "[data]\nx = " + "[" * 5000 + "]" * 5000,
    "numbers": MODEL.replace("epochs = 2", "epochs = -1"),
    "infinity": MODEL.replace("epochs = 2", "epochs = 2\noptimizer = { name = 'adam', learning_rate = inf }"),
}  # fmt: skip


@pytest.mark.parametrize("how", MODELS)
def test_a_hostile_declaration_is_refused_before_anything_is_computed(victim: Clone, call: Call, how: str) -> None:
    (victim.path / "evil.py").write_text(f"open({str(victim.path.parent / 'canary')!r}, 'w')")
    (victim.path / "models" / "m.toml").write_text(MODELS[how])
    victim.commit("a declaration")
    victim.git("push", "--quiet", "--no-verify", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    harmless(victim, call, ("train", "m"), codes=(2,))
    harmless(victim, call, ("status",), ("ls",), codes=(0,))


def test_modules_in_the_work_tree_are_not_imported(victim: Clone, world: World, canary: Path) -> None:
    """Hooks and runner start Python in a folder that others fill."""
    for name in ("json", "numpy", "gitdata", "jax", "typer", "sitecustomize", "h5py"):
        (victim.path / f"{name}.py").write_text(f"open({str(canary)!r}, 'w')\n")
    victim.gitdata("install", "--train")
    victim.commit("modules")
    victim.push("origin", "HEAD:main")
    wait_idle(world)
    subprocess.run([sys.executable, "-P", "-m", "gitdata", "status"], cwd=victim.path, check=True, capture_output=True)
    assert not canary.exists()


LEDGERS: dict[str, Callable[[dict[str, bytes], str], dict[str, bytes | None]]] = {
    "no pointer": lambda files, stem: {f"models/m/{stem}.dvc": b"\x80\x04\x95cos\nsystem\n(S'touch canary'\ntR."},
    "no verdict": lambda files, stem: {f"models/m/{stem}.verdict": b"[" * 100_000},
    "a verdict that is lost": lambda files, stem: {f"models/m/{stem}.verdict": None},
    "another champion": lambda files, stem: {"models/m/champion": b"../../../../etc/passwd\n"},
    "an option as champion": lambda files, stem: {"models/m/champion": b"--output=canary\n"},
    "a package that leads out": lambda files, stem: {
        f"models/m/{stem}.dvc": files[f"models/m/{stem}.dvc"].replace(b'"manifest.json"', b'"../../../canary"')
    },
    "another model's": lambda files, stem: {f"models/n/{stem}.dvc": files[f"models/m/{stem}.dvc"]},
    "numbers": lambda files, stem: {
        f"models/m/{stem}.verdict": files[f"models/m/{stem}.verdict"].replace(b": true", b": 1e999")
    },
}  # fmt: skip


@pytest.mark.parametrize("how", LEDGERS)
def test_a_hostile_ledger_is_named_and_moves_nothing(victim: Clone, call: Call, how: str, write: Write) -> None:
    assert call(victim.path, "train", "m").code == 0
    repo = victim.repo
    tip = repo.fetch_ledger()
    assert tip
    files = repo.git.files(tip, "models")
    stem = next(path for path in files if path.endswith(".dvc")).rpartition("/")[2].removesuffix(".dvc")
    change = LEDGERS[how](files, stem)
    assert any(files.get(path) != content for path, content in change.items()), "nothing was changed"
    publish(repo, lambda _: Change(change, "hostile"))
    rows = write("rows.csv", "a,b\n1,2\n")
    of_model = [("predict", "m", str(rows), "-o", "p.csv"), ("lineage", "m"), ("promote", "m@1")]
    damaged = {"numbers": (0, 4), "another model's": (0,)}.get(
        how, (4,)
    )  # what is another's does not matter to this one
    harmless(victim, call, *of_model, codes=damaged)
    harmless(victim, call, ("models",), codes=(4,) if how != "numbers" else (0, 4))
    harmless(victim, call, ("verify",), codes=(1,) if how != "numbers" else (0, 1))


def test_reasons_and_names_reach_a_terminal_without_their_escape_codes(victim: Clone, call: Call, world: World) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    assert call(victim.path, "train", "m").code == 0
    harmless(victim, call, ("promote", "m@1", "-m", evil), codes=(0,))
    assert call(victim.path, "reject", "m@1", "-m", evil).code == 2
    victim.git("-c", f"user.name={evil}x", "commit", "--quiet", "--allow-empty", "-m", evil)
    assert call(victim.path, "retract", "d@1.0.0", "--reason", evil).code == 0
    commands = [("models",), ("log", "d"), ("show", "d"), ("status",), ("lineage", "m"), ("verify",), ("ls",)]
    commands += [("lineage", "m", "--openlineage"), ("reproduce", "m@1")]
    harmless(victim, call, *commands, codes=(0,))
    spool = world.server.spool
    id = spool.add([f"refs/heads/{evil}"])
    spool.log_path(id).write_text(f"{evil}\n")
    for command in (("jobs",), ("logs", id)):
        done = call(world.server.path, *command)
        assert done.code == 0
        assert "\x1b]" not in done.out, done
        assert "\x07" not in done.out


def test_a_package_of_another_size_than_declared_allocates_nothing(victim: Clone, call: Call) -> None:
    from dataclasses import replace

    from gitdata.errors import DataUnavailable
    from gitdata.training import package

    assert call(victim.path, "train", "m").code == 0
    from gitdata.commands.models import version
    from gitdata.commands.transfer import package_files

    files = package_files(victim.repo, version(victim.repo, "m")[1])
    for name, content in {
        "network.json": json.dumps({"input_width": 2, "layers": [2**40, 1]}).encode(),
        "weights.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "state.safetensors": (80).to_bytes(8, "little")
        + json.dumps({"x": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 4]}}).encode().ljust(80),
    }.items():
        with pytest.raises(DataUnavailable):
            package.decode(files | {name: content})
    assert replace(package.decode(files)).position > 0


def test_nobody_elses_files_are_read_as_incoming_rows(tmp_path: Path, victim: Clone, call: Call) -> None:
    """A file that is named is what a person named: but no device, no pipe, no folder."""
    import os

    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        harmless(victim, call, ("extend", "d", str(tmp_path / name)), codes=(2,))
