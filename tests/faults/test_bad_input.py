"""Every mistake a person can make: one clear message, the documented exit code, and everything as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, Done, World, fingerprint, run

from gitdata.storage import process

Call = Callable[..., Done]
Write = Callable[[str, "str | bytes"], Path]
GOOD = "a,b,y\n1,2,3\n4,5,6\n7,8,9\n2,2,2\n"


def refused(done: Done, code: int, *says: str) -> None:
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.startswith("gitdata: ")
    assert len(done.err.splitlines()) <= 12, done.err
    for word in says:
        assert word in done.err, (word, done.err)


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("based"))
    (world.root / "base.csv").write_text(GOOD)
    world.clone.gitdata("add", "d", world.root / "base.csv", "--outputs", "y", "-m", "base")
    world.clone.commit("settings")
    world.clone.push()
    world.server.wait()  # its runner writes beside the store that is to stay as it is
    return world


@pytest.fixture
def based(first: World, tmp_path: Path) -> Clone:
    """A clone with a small dataset `d` (fields a, b, y), committed and pushed, and no model."""
    return first.copy(tmp_path).clone


def everything(clone: Clone) -> tuple[object, ...]:
    store = clone.path.parent / "server.git"
    folders = [clone.path / name for name in ("datasets", "models", ".dvc")] + [store / "gitdata", store / "refs"]
    return fingerprint(*folders), clone.git("status", "--porcelain"), clone.git("for-each-ref")


@pytest.mark.parametrize(
    "arguments",
    [["init"], ["status"], ["add", "d", "x.csv"], ["log", "d"], ["train", "m"], ["push"], ["fetch"], ["models"],
     ["pending"], ["jobs"], ["run", "--once"], ["install"], ["checkout", "d"], ["predict", "m", "x", "-o", "y"]],
)  # fmt: skip
def test_not_a_git_repository(arguments: list[str], tmp_path: Path, call: Call) -> None:
    refused(call(tmp_path, *arguments), 2, "is not in a git repository", "git init")
    assert list(tmp_path.iterdir()) == []


def test_not_yet_a_gitdata_repository(tmp_path: Path, write: Write, call: Call) -> None:
    path = write("base.csv", GOOD)
    run("git", "init", "--quiet", tmp_path / "plain", cwd=tmp_path)
    for arguments in (["add", "d", path], ["extend", "d", path], ["status"]):
        refused(call(tmp_path / "plain", *arguments), 2, "gitdata init")
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == [".git"]


def test_no_commit_yet(clone: Clone, write: Write, call: Call) -> None:
    """`init`, `add` and `extend` work; `train` and `push` say so."""
    assert call(clone.path, "add", "d", write("base.csv", GOOD)).code == 0
    assert call(clone.path, "extend", "d", write("more.csv", "a,b,y\n9,9,9\n")).code == 0
    assert call(clone.path, "status").code == 0
    assert call(clone.path, "log", "d").code == 0
    before = everything(clone)
    for arguments in (["push"], ["train", "m"], ["pending"]):
        refused(call(clone.path, *arguments), 2, "no commit yet")
    assert everything(clone) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["extend", "nowhere", "GOOD"], "no dataset 'nowhere'"),
        (["log", "nowhere"], "no dataset 'nowhere'"),
        (["show", "d@9.9.9"], "no version '9.9.9'"),
        (["checkout", "d@ffff"], "no version 'ffff'"),
        (["extend", "d", "GOOD", "--parent", "3.0.0"], "no version '3.0.0'"),
        (["push", "nowhere"], "no dataset 'nowhere'"),
        (["train", "nobody"], "no model 'nobody'"),
        (["models", "nobody"], "no version of a model 'nobody'"),
        (["predict", "nobody", "GOOD", "-o", "p.csv"], "no version of a model 'nobody'"),
        (["promote", "nobody@1"], "no version of a model 'nobody'"),
        (["promote", "nobody"], "names no version"),
        (["logs", "nothing"], "names no job"),
        (["add", "d", "GOOD"], "exists already"),
        (["add", "-x", "GOOD"], "No such option"),
        (["add", "../x", "GOOD"], "no name for a dataset"),
        (["add", "", "GOOD"], "no name for a dataset"),
        (["add", "new", "missing.csv"], "no file 'missing.csv'"),
        (["add", "new", "."], "is not a file"),
        (["add", "new"], "no file to take rows from"),
        (["add", "new", "GOOD", "--test", "1.5"], "no fraction"),
        (["add", "new", "GOOD", "--outputs", "yy"], "Did you mean 'y'"),
        (["add", "new", "GOOD", "--inputs", "y", "--outputs", "y"], "as input and as output"),
        (["add", "new", "GOOD", "--version", "one"], "is no version"),
        (["extend", "d", "GOOD2", "--version", "1.0.0"], "in use by"),
        (["extend", "d", "GOOD2", "--test-policy", "sometimes"], "none of add, replace, drop"),
        (["extend", "d", "BASE"], "already in 'd', as version 1.0.0"),
        (["extend", "d", "GOOD", "--dedupe"], "nothing to add"),
        (["fetch", "--split", "tset"], "none of train, validation, test"),
        (["install", "--server"], "is not bare"),
    ],
)
def test_what_does_not_exist_or_is_in_use(
    based: Clone, write: Write, call: Call, arguments: list[str], says: str
) -> None:
    files = {
        "GOOD": write("again.csv", GOOD),
        "GOOD2": write("more.csv", "a,b,y\n9,9,9\n"),
        "BASE": write("base.csv", GOOD),
    }
    before = everything(based)
    done = call(based.path, *(files.get(a, a) for a in arguments))
    assert done.code == 2, done
    assert says in done.err
    assert "Traceback" not in done.err
    assert everything(based) == before


BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "unknown kind": ("x.xlsx", "a,b,y\n1,2,3\n", "of no format that gitdata reads, while 'd' holds rows"),
    "empty": ("x.csv", "", "is empty"),
    "header alone": ("x.csv", "a,b,y\n", "has no rows"),
    "ragged": ("x.csv", "a,b,y\n1,2,3\n1,2\n", "Row #3"),
    "truncated": ("x.csv", "a,b,y\n1,2,3\n4,5", "Row #3"),
    "cut in quotes": ("x.csv", 'a,b,y\n1,2,3\n4,5,"6\n', "inside a quoted text"),
    "two columns of one name": ("x.csv", "a,a,y\n1,2,3\n", "two columns named 'a'"),
    "nameless column": ("x.csv", "a,,y\n1,2,3\n", "does not name every column"),
    "not text": ("x.csv", b"a,b,y\n1,2,\xff\xfe\n", "not UTF-8"),
    "NUL": ("x.csv", b"a,b,y\n1,2,\0\n", "NUL"),
    "missing field": ("x.csv", "a,y\n1,2\n", "field 'b' is missing"),
    "misspelt field": ("x.csv", "a,bb,y\n1,2,3\n", "field 'b' is missing (is 'bb' meant?)"),
    "text for a number": ("x.csv", "a,b,y\n1,two,3\n", "field 'b' is text, not float64"),
    "NaN in the target": ("x.csv", "a,b,y\n1,2,\n4,5,6\n", "output 'y' is not a finite number in 1 of 2 rows"),
    "infinite target": ("x.csv", "a,b,y\n1,2,inf\n", "output 'y' is not a finite number"),
    "not HDF5": ("x.h5", "a,b,y\n1,2,3\n", "not an HDF5 file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file(based: Clone, write: Write, call: Call, name: str) -> None:
    file, content, says = BAD_FILES[name]
    before = everything(based)
    refused(call(based.path, "extend", "d", write(file, content)), 2, file, says)
    assert everything(based) == before


@pytest.mark.parametrize("name", ["empty", "header alone", "ragged", "not text", "not HDF5"])
def test_a_bad_file_starts_no_dataset(clone: Clone, write: Write, call: Call, name: str) -> None:
    file, content, says = BAD_FILES[name]
    before = everything(clone)
    refused(call(clone.path, "add", "d", write(file, content)), 2, file, says)
    refused(call(clone.path, "add", "d", "--test", write(file, content)), 2, file, says)
    assert everything(clone) == before


def hdf5(path: Path, **columns: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_bad_hdf5(clone: Clone, tmp_path: Path, call: Call) -> None:
    rows = np.arange(6.0)
    good = hdf5(tmp_path / "good.h5", x=rows.reshape(3, 2), y=rows[:3].astype(np.float32))
    assert call(clone.path, "add", "h", good, "--outputs", "y", "-m", "base").code == 0
    other = hdf5(tmp_path / "target.h5", z=rows)
    cases = {
        "lengths": (hdf5(tmp_path / "lengths.h5", x=rows.reshape(3, 2), y=rows[:2]), "differ in length"),
        "dtype": (hdf5(tmp_path / "dtype.h5", x=rows.reshape(3, 2), y=rows[:3]), "field 'y' is float64, not float32"),
        "shape": (
            hdf5(tmp_path / "shape.h5", x=rows.reshape(2, 3), y=rows[:2].astype(np.float32)),
            "of shape 3 per row",
        ),
        "empty": (hdf5(tmp_path / "empty.h5"), "holds no data set"),
        "scalar": (hdf5(tmp_path / "scalar.h5", x=1.0), "single value"),
        "complex": (hdf5(tmp_path / "complex.h5", x=rows.astype(complex)), "no number and no text"),
        "external link": (hdf5(tmp_path / "link.h5", x=h5py.ExternalLink(str(other), "z")), "is a link"),
        "soft link": (hdf5(tmp_path / "soft.h5", y=rows, x=h5py.SoftLink("/y")), "is a link"),
        "virtual": (tmp_path / "virtual.h5", "other files"),
        "external storage": (tmp_path / "storage.h5", "other files"),
        "truncated": (tmp_path / "truncated.h5", "damaged"),
    }
    with h5py.File(cases["virtual"][0], "w") as file:
        layout = h5py.VirtualLayout((6,), float)
        layout[:] = h5py.VirtualSource(str(other), "z", (6,))
        file.create_virtual_dataset("x", layout)
    with h5py.File(cases["external storage"][0], "w") as file:
        file.create_dataset("x", (6,), float, external=[(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)])
    cases["truncated"][0].write_bytes(good.read_bytes()[:-200])
    before = everything(clone)
    for path, says in cases.values():
        refused(call(clone.path, "extend", "h", path), 2, path.name, says)
    assert everything(clone) == before


POINTER_DAMAGE: dict[str, tuple[Callable[[dict], object], str]] = {  # type: ignore[type-arg]
    "unknown field": (lambda r: r.update(colour="red"), "unknown field 'colour'"),
    "edited": (lambda r: r.update(dataset="e"), "its id is"),
    "traversal": (lambda r: r["listing"]["files"][0].update(path="../../x"), "leaves its folder"),
    "absolute": (lambda r: r["listing"]["files"][0].update(path="/etc/passwd"), "leaves its folder"),
    "newer": (lambda r: r.update(format=99), "update it"),
}


@pytest.mark.parametrize("name", [*POINTER_DAMAGE, "truncated", "linked", "renamed", "empty"])
def test_a_damaged_pointer(based: Clone, write: Write, call: Call, name: str) -> None:
    (path,) = (based.path / "datasets" / "d").glob("*.dvc")
    if name in POINTER_DAMAGE:
        change, says = POINTER_DAMAGE[name]
        document = json.loads(path.read_text())
        change(document["meta"]["gitdata"])
        path.write_text(json.dumps(document))
    elif name == "linked":
        moved, says = based.path / "elsewhere", "symbolic link"
        path.rename(moved)
        path.symlink_to(moved)
    elif name == "renamed":
        path, says = path.rename(path.with_name("1.0.0-00000000.dvc")), "its file name is"
    else:
        path.write_text(path.read_text()[:100] if name == "truncated" else "")
        says = "neither JSON nor YAML" if name == "truncated" else "is damaged"
    more = write("more.csv", "a,b,y\n9,9,9\n")
    before = everything(based)
    for arguments in (["status"], ["log", "d"], ["extend", "d", more], ["checkout", "d"], ["fetch"]):
        refused(call(based.path, *arguments), 4, "datasets/d/", says)
    assert everything(based) == before
    based.git("add", "--all")
    based.git("commit", "--quiet", "-m", "damaged")
    head = based.path.parent / "server.git" / "refs" / "heads" / "main"
    pushed = head.read_text()
    for arguments in (["push"], ["pending"]):
        refused(call(based.path, *arguments), 4, "datasets/d/")
    assert "datasets/d/" in based.push(ok=False)
    assert head.read_text() == pushed
    based.git("revert", "--no-edit", "HEAD")  # mended: what lies between in history holds nobody up
    based.push()


def blob_paths(clone: Clone) -> tuple[Path, Path]:
    """The train file of the only extension: in the cache, and on the remote."""
    (extension,) = clone.repo.work_tree_snapshot().chain("d").extensions.values()
    md5 = next(f.md5 for f in extension.files or () if f.split == "train")
    place = Path("files") / "md5" / md5[:2] / md5[2:]
    return clone.path / ".dvc" / "cache" / place, clone.path.parent / "server.git" / "gitdata" / "remote" / place


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    match how:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(content[:-3])
        case "flipped":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "emptied":
            path.write_bytes(b"")
        case "swapped":
            path.write_bytes(b"x" * len(content))


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped", "emptied", "swapped"])
def test_a_blob_damaged_on_the_remote_is_never_delivered(world: World, based: Clone, call: Call, how: str) -> None:
    _, remote = blob_paths(based)
    damage(remote, how)
    other = world.another_clone()
    before = everything(other)
    for command in ("fetch", "pull"):
        refused(call(other.path, command, "d"), 4, remote.parent.name + remote.name)
    refused(call(other.path, "checkout", "d"), 4, remote.parent.name + remote.name)
    cached, _ = blob_paths(other)
    assert not cached.exists()
    assert not list((other.path / "datasets").rglob("*.csv"))
    assert [k for k in everything(other)[0] if "gitdata-tmp" in k] == []  # type: ignore[attr-defined]
    assert everything(other)[1:] == before[1:]


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "swapped"])
def test_a_blob_damaged_in_the_cache_is_set_aside_and_neither_delivered_nor_sent(
    based: Clone, call: Call, how: str
) -> None:
    cached, remote = blob_paths(based)
    damage(cached, how)
    content = cached.read_bytes()
    if how in ("flipped", "swapped"):
        refused(call(based.path, "checkout", "d"), 4, "corrupt", "set aside")
        assert not list((based.path / "datasets").rglob("*.csv"))
        aside = list((based.path / ".dvc").glob("cache/corrupt/*"))
        assert [p.read_bytes() for p in aside] == [content]
    assert call(based.path, "checkout", "d").code == 0  # the good copy came from the remote
    assert (next((based.path / "datasets").rglob("base.csv"))).read_text() == GOOD
    damage(cached, how)
    remote.unlink()
    refused(call(based.path, "push"), 4)
    assert not remote.exists()


def test_a_remote_that_is_away(world: World, based: Clone, write: Write, call: Call) -> None:
    assert call(based.path, "extend", "d", write("more.csv", "a,b,y\n9,9,9\n"), "-m", "more").code == 0
    world.server.path.rename(world.root / "away")
    before = fingerprint(based.path / "datasets", based.path / ".dvc")
    for arguments in (["push"], ["fetch"], ["models"]):
        refused(call(based.path, *arguments), 5, "again")
    assert fingerprint(based.path / "datasets", based.path / ".dvc") == before
    assert not world.server.path.exists()
    assert call(based.path, "status").code == 0
    shutil.move(world.root / "away", world.server.path)
    assert call(based.path, "push").code == 0


def test_a_forge_without_a_store_names_dvc_remote_add(based: Clone, call: Call) -> None:
    based.git("remote", "set-url", "origin", "https://forge.invalid/team/repo.git")
    refused(call(based.path, "push"), 2, "dvc remote add -d")


def test_a_store_inside_the_clone_satisfies_no_push(based: Clone, call: Call) -> None:
    (based.path / ".dvc" / "config.local").write_text(
        "[core]\n    remote = here\n['remote \"here\"']\n    url = ../store\n"
    )
    refused(call(based.path, "push"), 2, "inside this clone", "dvc remote add -d")
    assert not (based.path / "store").exists()


DATA = '[data]\ndataset = "d"\noutputs = ["y"]\n'
NETWORK = '[network]\nlayers = [{ dense = "outputs" }]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[data\n", "line 1"),
        ("", "'data' is missing"),
        (DATA + NETWORK + "[trainig]\n", "is 'training' meant?"),
        (DATA + "[network]\nlayers = [{ dense = 4 }]\n", 'dense = "outputs"'),
        (DATA + '[network]\nlayers = ["rleu", { dense = "outputs" }]\n', "is 'relu' meant?"),
        (DATA + '[network]\nlayers = [{ dense = 99999999 }, { dense = "outputs" }]\n', "65536"),
        (DATA.replace('"y"', '"z"') + NETWORK, "no field 'z'"),
        (DATA.replace('"d"', '"e"') + NETWORK, "no dataset 'e'"),
        (DATA + NETWORK + '[deployment]\nbranch = "release"\n', "'release' exists nowhere"),
        (DATA + NETWORK + "[training]\nepochs = 0\n", "training.epochs"),
        (DATA + NETWORK + '[training]\nloss = "maee"\n', "is 'mae' meant?"),
        (DATA + NETWORK + '[retraining]\nmethod = ["union", "none"]\n', "finetune"),
    ],
)
def test_a_bad_model_file(based: Clone, call: Call, text: str, says: str) -> None:
    based.declare("m", text or "\n")
    based.commit("model")
    based.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    before = everything(based)
    refused(call(based.path, "train", "m"), 2, says)
    assert everything(based) == before


def test_an_output_that_is_not_finite_in_data_that_came_otherwise(based: Clone, write: Write, call: Call) -> None:
    """A field that was no output when it was added: training names it and trains nothing."""
    assert call(based.path, "add", "n", write("n.csv", "a,y\n1,\n2,3\n4,5\n"), "-m", "n").code == 0
    text = '[data]\ndataset = "n"\noutputs = ["y"]\n[network]\nlayers = [{ dense = "outputs" }]\n'
    based.declare("m", text)
    based.commit("model")
    based.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    refused(call(based.path, "train", "m"), 2, "'y'", "not a finite number")
    refused(call(based.path, "extend", "n", write("m.csv", "a,y\n7,nan\n")), 2, "output 'y'")
    assert "gitdata/models" not in based.git("ls-remote", "origin")


def test_predicting_from_rows_that_do_not_fit(based: Clone, write: Write, call: Call) -> None:
    text = (
        '[data]\ndataset = "d"\noutputs = ["y"]\n[network]\nlayers = [{ dense = "outputs" }]\n[training]\nepochs = 1\n'
    )
    based.declare("m", text)
    assert call(based.path, "extend", "d", "--test", write("t.csv", "a,b,y\n3,3,3\n5,5,5\n"), "-m", "tests").code == 0
    based.commit("model")
    based.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    assert based.gitdata("train", "m").code == 0
    target = based.path / "p.csv"
    refused(call(based.path, "predict", "m", write("p1.csv", "a\n1\n"), "-o", target), 2, "no field 'b'")
    refused(call(based.path, "predict", "m", write("p2.csv", "a,b\n1,x\n"), "-o", target), 2, "'b' is text")
    refused(call(based.path, "predict", "m@7", write("p3.csv", "a,b\n1,2\n"), "-o", target), 2, "no version '7'")
    refused(
        call(based.path, "predict", "m", write("p4.csv", "a,b\n1,2\n"), "-o", target / "x" / "y"),
        2,
        "cannot be written",
    )
    assert not target.exists()


def test_a_number_that_is_missing_in_a_declared_input_is_refused(based: Clone, write: Write, call: Call) -> None:
    based.declare("m", DATA + NETWORK)
    before = everything(based)
    refused(call(based.path, "extend", "d", write("nan.csv", "a,b,y\n1,,3\n")), 2, "input 'b' is not a finite number")
    assert everything(based) == before


def test_a_locked_index_refuses_and_leaves_no_pointer(
    based: Clone, write: Write, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    lock = based.path / ".git" / "index.lock"
    lock.write_text("")
    done = call(based.path, "extend", "d", write("more.csv", "a,b,y\n9,9,9\n"))
    lock.unlink()
    refused(done, 2, "index.lock")
    assert len(list((based.path / "datasets" / "d").glob("*.dvc"))) == 1


@pytest.mark.parametrize("name", ["datasets", "datasets/d", "models"])
def test_a_linked_folder_is_refused(based: Clone, write: Write, call: Call, name: str) -> None:
    based.declare("m", DATA + NETWORK)
    moved = based.path.parent / "moved"
    (based.path / name).rename(moved)
    (based.path / name).symlink_to(moved)
    before = fingerprint(moved, based.path / ".dvc")
    for arguments in (
        ["status"],
        ["extend", "d", write("more.csv", "a,b,y\n9,9,9\n")],
        ["add", "n", write("n.csv", GOOD)],
    ):
        refused(call(based.path, *arguments), 4, "symbolic link")
    assert fingerprint(moved, based.path / ".dvc") == before


def test_a_pointer_without_its_row_index_is_named(based: Clone, write: Write, call: Call) -> None:
    (path,) = (based.path / "datasets" / "d").glob("*.dvc")
    document = json.loads(path.read_text())
    document["meta"]["gitdata"]["sidecars"] = []
    path.write_text(json.dumps(document))
    refused(
        call(based.path, "extend", "d", write("more.csv", "a,b,y\n9,9,9\n"), "--dedupe"), 4, "no sidecar 'rows.u64'"
    )


def test_configuration_that_is_malformed_stops_init(based: Clone, call: Call) -> None:
    (based.path / ".dvc" / "config").write_text("[core\n")
    refused(call(based.path, "init"), 2, ".dvc/config is malformed")


def test_configuration_that_is_no_text_is_named(based: Clone, call: Call) -> None:
    (based.path / ".dvc" / "config.local").write_bytes(b"\xff\xfe[core]")
    refused(call(based.path, "push"), 2, "malformed")


def test_damaged_hdf5_and_one_that_is_too_large(clone: Clone, tmp_path: Path, call: Call) -> None:
    good = hdf5(tmp_path / "good.h5", x=np.arange(100.0), y=np.arange(100.0))
    content = good.read_bytes()
    for place in range(8, len(content), 61):
        flipped = tmp_path / "flipped.h5"
        flipped.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        assert call(clone.path, "add", f"d{place}", flipped).code in (0, 2)
    bomb = tmp_path / "bomb.h5"
    with h5py.File(bomb, "w") as file:
        file.create_dataset("x", (10**13,), float, chunks=(10**5,), compression="gzip")
    refused(call(clone.path, "add", "bomb", bomb), 2, "more than this machine can hold")


def test_a_terminal_that_knows_no_star(world: World, based: Clone) -> None:
    based.declare("m", DATA + NETWORK + "[training]\nepochs = 1\n")
    based.commit("model")
    based.push()
    world.server.wait()
    based.gitdata("promote", "m@1")
    assert "m@1 ?" in based.gitdata("models", env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}).out


def test_a_ledger_that_lost_a_version_is_named(world: World, based: Clone, write: Write, call: Call) -> None:
    based.declare("m", DATA + NETWORK + "[training]\nepochs = 1\n")
    assert call(based.path, "extend", "d", "--test", write("t.csv", "a,b,y\n3,3,3\n5,5,5\n"), "-m", "tests").code == 0
    based.commit("model")
    based.push()
    world.server.wait()
    assert call(based.path, "extend", "d", write("more.csv", "a,b,y\n9,9,9\n8,8,8\n"), "-m", "more").code == 0
    based.push()
    world.server.wait()
    based.git("fetch", "--quiet", "origin")
    based.git("checkout", "--quiet", "-b", "mend", "origin/gitdata/models")
    for path in (based.path / "models" / "m").glob("1-*"):
        path.unlink()
    (based.path / "models" / "m" / "champion").unlink(missing_ok=True)
    based.commit("lose version 1")
    based.git("push", "--quiet", "origin", "HEAD:gitdata/models")
    based.git("checkout", "--quiet", "main")
    refused(call(based.path, "models"), 4, "ledger of model 'm' is damaged", "git log gitdata/models")
    refused(call(based.path, "train", "m"), 4, "is damaged")


def test_names_that_a_terminal_would_obey_are_shown_harmless(based: Clone, write: Write, call: Call) -> None:
    (based.path / "datasets" / "d" / "\x1b[31mred.dvc").write_text("x")
    shown = call(based.path, "status").out
    assert "\x1b" not in shown
    assert "red.dvc" in shown
    refused(call(based.path, "extend", "d", based.path / "\x1b[31m.csv"), 2, "no file")
    assert "\x1b" not in call(based.path, "log", "\x1b[31m").err


def test_predictions_replace_no_device(based: Clone, write: Write, call: Call) -> None:
    refused(call(based.path, "predict", "nobody", write("p.csv", GOOD), "-o", "/dev/null"), 2, "nobody")
    based.declare("m", DATA + NETWORK + "[training]\nepochs = 1\n")
    assert call(based.path, "extend", "d", "--test", write("t.csv", "a,b,y\n3,3,3\n5,5,5\n"), "-m", "tests").code == 0
    based.commit("model")
    based.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    based.gitdata("train", "m")
    refused(call(based.path, "predict", "m", write("p.csv", GOOD), "-o", "/dev/null"), 2, "cannot be written")
    assert not Path("/dev/null").is_file()
    refused(call(based.path, "train", "m", "--method", "magic"), 2, "no method 'magic'")


def test_a_hostile_link_leads_no_byte_out_of_the_work_tree(based: Clone, tmp_path: Path, call: Call) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (extension,) = based.repo.work_tree_snapshot().chain("d").extensions.values()
    (based.path / "datasets" / "d" / extension.stem).symlink_to(outside)
    refused(call(based.path, "checkout", "d"), 2, "writes through none")
    assert list(outside.iterdir()) == []


def test_an_edited_pointer_evicts_no_good_blob(based: Clone, call: Call) -> None:
    (path,) = (based.path / "datasets" / "d").glob("*.dvc")
    document = json.loads(path.read_text())
    document["meta"]["gitdata"]["sidecars"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    before = fingerprint(based.path / ".dvc")
    refused(call(based.path, "checkout", "d"), 4, "edited by hand")
    assert fingerprint(based.path / ".dvc") == before


def test_odd_requests(based: Clone, write: Write, call: Call, tmp_path: Path) -> None:
    odd = tmp_path / "\udcff.csv"
    odd.write_text(GOOD)
    before = everything(based)
    refused(call(based.path, "add", "n", odd), 2, "is not UTF-8")
    lone = ("add", "n", write("y.csv", "y\n1\n2\n"), "--outputs", "y", "--test", "0.5")
    refused(call(based.path, *lone), 2, "no field that is an input")
    refused(call(based.path, "extend", "d", write("m.csv", "a,b,y\n9,9,9\n"), "-m", " "), 2, "message is empty")
    assert everything(based) == before
