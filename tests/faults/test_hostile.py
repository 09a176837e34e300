"""More of what somebody hostile can commit, push or put on a store; see test_security.py for who is who."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, Done, World, fingerprint, run

from gitdata.data import pointerfile
from gitdata.data.pointer import Attachment, Directory, Extension, File, listing_digest, row_counts
from gitdata.data.schema import Field, Schema
from gitdata.storage.cache import Blob, directory_object

pytestmark = pytest.mark.slow

Call = Callable[..., Done]
Write = Callable[[str, "str | bytes"], Path]
GOOD = "a,b,y\n" + "".join(f"{n},{n % 7},{n % 3}\n" for n in range(40))
MODEL = '[data]\ndataset = "d"\noutputs = ["y"]\n[network]\nlayers = [{ dense = 4 }, { dense = "outputs" }]\n'
DATA = b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (n, n % 7, n % 3) for n in range(8))


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("attacked"))
    clone = world.clone
    (clone.path / "models").mkdir()
    (clone.path / "models" / "m.toml").write_text(MODEL + "[training]\nepochs = 2\n")
    base = world.root / "incoming" / "base.csv"
    base.parent.mkdir()
    base.write_text(GOOD)
    clone.gitdata("add", "d", base, "--outputs", "y", "--test", "0.2", "-m", "base")
    clone.commit("model")
    clone.git("push", "--quiet", "origin", "HEAD:main", env={"GITDATA_SKIP_TRAIN": "1"})
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> World:
    return first.copy(tmp_path)


@pytest.fixture
def clone(first_world: World, tmp_path: Path) -> Clone:
    """A clone without data."""
    return first_world.copy(tmp_path).clone


@pytest.fixture
def attacker(world: World) -> Clone:
    """A clone with a small dataset and a model, all pushed; whoever owns it turns hostile then."""
    return world.clone


def push(attacker: Clone, branch: str = "main", *, ignored: str | None = None) -> None:
    """Commit and push, past the attacker's own hooks; `ignored`: what git would leave out."""
    attacker.git("add", "--all")
    if ignored is not None:
        attacker.git("add", "--force", ignored)
    attacker.git("commit", "--quiet", "-m", "hostile")
    attacker.git("push", "--quiet", "--no-verify", "origin", f"HEAD:{branch}", env={"GITDATA_SKIP_TRAIN": "1"})


def forge(clone: Clone, attachments: dict[str, bytes], *, files: tuple[File, ...] = (), inline: bool = True) -> None:
    """Write a pointer of the dataset `e` whose ids are right, as somebody who knows the format can."""
    cache, places = clone.repo.cache, {}
    data = cache.add_bytes(DATA)
    files = files or (File("train", "x.csv", str(data.sha256), len(DATA), 8, data.md5),)
    places = {file.place: Blob(file.md5, file.size, file.sha256) for file in files}
    kept = []
    for path, content in {"sidecar/rows.u64": b"\0" * 64, **attachments}.items():
        places[path] = blob = cache.add_bytes(content)
        kept.append(Attachment(path, str(blob.sha256), len(content), blob.md5))
    blob, content = directory_object(places)
    cache.add_bytes(content, directory=True)
    extension = Extension(
        "e", "1.0.0", (), "add", (), listing_digest(files), row_counts(files), files,
        Schema(tuple(Field(name, "float64") for name in "aby")), tuple(sorted(kept)),
        Directory(blob.md5.removesuffix(".dir"), 1, len(places)), (), ("y",),
    )  # fmt: skip
    if "sidecar/listing.json" in attachments:
        extension = replace(extension, files=None)
    if "sidecar/schema.json" in attachments:
        extension = replace(extension, schema=None)
    path = clone.path / "datasets" / "e" / f"{extension.stem}.dvc"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pointerfile.encode(extension))


def send(attacker: Clone) -> None:
    """Put the blobs of what was forged on the store, as anybody who may push can."""
    store = attacker.repo.blob_remote("data").url
    shutil.copytree(attacker.path / ".dvc" / "cache" / "files", Path(store) / "files", dirs_exist_ok=True)


def visit(world: World, call: Call, *codes: int) -> Clone:
    """Somebody clones; what lies outside the new clone stays as it is."""
    home = world.root / "home"
    home.mkdir(exist_ok=True)
    (home / ".bashrc").write_text("# mine\n")
    before = fingerprint(home)
    done = call(world.root, "clone", str(world.server.path), "victim")
    assert done.code in codes, done
    assert "Traceback" not in done.err
    assert fingerprint(home) == before
    return Clone(world.root / "victim")


# --- names and links -----------------------------------------------------------------------------------------


def test_a_name_of_a_file_becomes_no_argument_of_git(attacker: Clone, world: World, call: Call) -> None:
    """A pointer whose parent is looked for in history; what is found there bears the name of an option."""
    (path,) = (attacker.path / "datasets" / "d").glob("*.dvc")
    extension = pointerfile.decode(path.read_bytes())
    child = replace(extension, parents=("0123abcd" + "0" * 56,), version="1.1.0")
    folder = path.parent
    (folder / f"{child.stem}.dvc").write_bytes(pointerfile.encode(child))
    (folder / "\x01--output=p-0123abcd.dvc").write_text("x")
    (folder / "z-0123abcd.dvc").write_text("x")
    (attacker.path / "p-0123abcd.dvc:datasets").mkdir()
    (attacker.path / "p-0123abcd.dvc:datasets" / "d").mkdir()
    (attacker.path / "p-0123abcd.dvc:datasets" / "d" / "z-0123abcd.dvc").symlink_to("../../../home/.bashrc")
    push(attacker)
    victim = visit(world, call, 4)
    for command in (("status",), ("log", "d"), ("fetch",), ("verify",)):
        assert call(victim.path, *command).code in (1, 4)
    assert (world.root / "home" / ".bashrc").read_text() == "# mine\n"


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".dvcignore", ".dvc/config", ".dvc/.gitignore"])
def test_links_in_place_of_settings_are_not_written_through(
    attacker: Clone, world: World, call: Call, name: str
) -> None:
    (attacker.path / name).unlink()
    (attacker.path / name).symlink_to(os.path.relpath(world.root / "home" / ".bashrc", (attacker.path / name).parent))
    push(attacker)
    visit(world, call, 2)


def test_a_link_in_place_of_dvcs_folder_is_not_written_through(attacker: Clone, world: World, call: Call) -> None:
    shutil.rmtree(attacker.path / ".dvc")
    (attacker.path / ".dvc").symlink_to("../home")
    attacker.git("rm", "-r", "--quiet", "--cached", ".dvc")
    push(attacker)
    visit(world, call, 2)


@pytest.mark.parametrize("how", ["folder", "object"])
def test_what_is_committed_below_the_cache_is_refused(attacker: Clone, world: World, call: Call, how: str) -> None:
    shutil.rmtree(attacker.path / ".dvc" / "cache")
    if how == "folder":
        (attacker.path / ".dvc" / "cache").mkdir()
        (attacker.path / ".dvc" / "cache" / "files").symlink_to("../../../home")
    else:
        (attacker.path / ".dvc" / "cache" / "files" / "md5" / "00").mkdir(parents=True)
        (attacker.path / ".dvc" / "cache" / "files" / "md5" / "00" / ("0" * 30)).symlink_to("/dev/zero")
    push(attacker, ignored=".dvc/cache")
    visit(world, call, 2)


def test_retractions_are_written_through_no_link(attacker: Clone, world: World, call: Call) -> None:
    outside = world.root / "outside"
    outside.mkdir()
    (pointer,) = (attacker.path / "datasets" / "d").glob("*.dvc")
    id = pointerfile.decode(pointer.read_bytes()).id
    (outside / f"{id}.json").write_text("precious")
    (attacker.path / "datasets" / "d" / "retracted").symlink_to("../../../outside")
    push(attacker)
    victim = visit(world, call, 0)
    assert call(victim.path, "retract", "d@1.0.0", "--reason", "x").code == 2
    assert call(victim.path, "retract", "d@1.0.0", "--undo").code == 2
    assert (outside / f"{id}.json").read_text() == "precious"


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".git.", ".g\u200cit"])
def test_no_folder_of_git_is_delivered(attacker: Clone, world: World, call: Call, name: str) -> None:
    forge(attacker, {f"sidecar/{name}/config": b"[core]\n\tfsmonitor = touch canary\n"})
    send(attacker)
    push(attacker)
    victim = visit(world, call, 4)
    assert not [path for path in (victim.path / "datasets").rglob("*") if path.is_dir() and "it" in path.name[-4:]]


def test_a_sidecar_lies_in_its_folder(attacker: Clone, world: World, call: Call) -> None:
    forge(attacker, {".gitmodules": b"x"})
    send(attacker)
    push(attacker)
    visit(world, call, 4)


# --- credentials ---------------------------------------------------------------------------------------------


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what it is told of whoever asks."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_error(404)

        do_GET = do_HEAD

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # aiohttp's session, left open by DVC
def test_credentials_of_this_machine_go_where_this_machine_says(attacker: Clone, world: World, call: Call) -> None:
    victim = world.another_clone("victim")
    with listener() as (url, heard):
        local = victim.path / ".dvc" / "config.local"
        local.write_text("['remote \"team\"']\n    auth = basic\n    user = alice\n    password = s3cret\n")
        (attacker.path / ".dvc" / "config").write_text(
            f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}/evil\n"
        )
        push(attacker)
        victim.git("pull", "--quiet")
        shutil.rmtree(victim.path / ".dvc" / "cache", ignore_errors=True)
        done = call(victim.path, "fetch")
        assert (done.code, heard) == (2, []), done
        assert f"dvc remote modify --local team url {url}/evil" in done.err
        with local.open("a") as file:  # whoever means it says so
            file.write(f"    url = {url}/evil\n")
        done = run(sys.executable, "-P", "-m", "gitdata", "fetch", cwd=victim.path)
        assert f"Basic {base64.b64encode(b'alice:s3cret').decode()}" in heard, done


# --- a server that goes on -----------------------------------------------------------------------------------

WEDGES: dict[str, Callable[[Clone], str]] = {
    "a number out of range": lambda c: _model(c, "x", MODEL + "[deployment]\ntolerance = 1" + "0" * 400),
    "digits": lambda c: _model(c, "x", MODEL + "[deployment]\ntolerance = " + "1" * 5000),
    "dotted": lambda c: _model(c, "x", ".".join("a" * 3000) + " = 1\n"),
    "a model whose name is no text": lambda c: _model(c, "x\udcff", MODEL),
    "a model whose name ends a line": lambda c: _model(c, "x\n", MODEL),
    "an odd character in YAML": lambda c: _pointer(c, 'outs: []\nmeta: "\\Uffffffff"\n'),
    "sexagesimal": lambda c: _pointer(c, "%YAML 1.1\n---\nouts: []\nmeta: " + "9:" * 2000 + "9.9\n"),
    "merged keys": lambda c: _pointer(
        c,
        "outs: []\na0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9))
        + "meta: 1\n",
    ),
    "a giant": lambda c: _giant(c),
}


def _model(clone: Clone, name: str, text: str) -> str:
    (clone.path / "models" / f"{name}.toml").write_text(text)
    return "feature"


def _pointer(clone: Clone, text: str) -> str:
    (clone.path / "datasets" / "d" / "9.9.9-00000000.dvc").write_text(text)
    (clone.path / "models" / "x.toml").write_text(MODEL + '[deployment]\nbranch = "feature"\n')
    return "feature"


def _giant(clone: Clone) -> str:
    for name in ("datasets/d/zeros.bin", "models/zeros.bin", "datasets/d/9.9.9-00000000.dvc"):
        with (clone.path / name).open("wb") as file:
            file.truncate(40_000_000)
    return "feature"


@pytest.mark.parametrize("how", WEDGES)
def test_no_push_to_a_branch_stops_the_others(attacker: Clone, world: World, how: str) -> None:
    branch = WEDGES[how](attacker)
    push(attacker, branch)
    server = world.server
    server.spool.add([f"refs/heads/{branch}"])
    server.gitdata("run", "--once")
    assert {job.state for job in server.spool.jobs()} <= {"done", "failed"}
    assert [(v["model"], v["champion"]) for v in server.ledger()] == [("m", True)]
    assert (server.path / "gitdata" / "settled").is_file()
    server.gitdata("jobs")
    server.gitdata("doctor", code=1 if server.spool.jobs()[-1].state == "failed" else 0)


def test_a_branch_whose_name_is_no_text_is_worked_on(attacker: Clone, world: World) -> None:
    name = b"refs/heads/f\xff"
    command = ["git", "update-ref", name, attacker.git("rev-parse", "HEAD")]
    subprocess.run(command, cwd=world.server.path, check=True)
    world.server.spool.add(["refs/heads/main"])
    world.server.gitdata("run", "--once")
    world.server.wait()
    assert len((world.server.path / "gitdata" / "settled").read_bytes().splitlines()) == 2


# --- stores and sidecars -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pipe", "zeros", "sparse", "folder"])
def test_a_store_neither_hangs_nor_fills_a_reader(attacker: Clone, world: World, call: Call, how: str) -> None:
    victim = world.another_clone("victim")
    for path in [path for path in (world.server.store / "files" / "md5").rglob("*") if path.is_file()]:
        path.unlink()
        if how == "pipe":
            os.mkfifo(path)
        elif how == "zeros":
            path.symlink_to("/dev/zero")
        elif how == "sparse":
            with path.open("wb") as file:
                file.truncate(100_000_000_000)
        else:
            path.mkdir()
    for command, code in ((("fetch",), 4), (("verify", "--remote", "--deep"), 1)):
        done = run(sys.executable, "-P", "-m", "gitdata", *command, cwd=victim.path)
        assert (done.code, "Traceback" in done.err) == (code, False), done
    held = [path for path in (victim.path / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    assert held == []


def test_an_endless_answer_of_a_store_ends(attacker: Clone, world: World, call: Call) -> None:
    class Endless(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            try:
                while True:
                    self.wfile.write(b"\0" * 65536)
            except OSError:
                pass

        def log_message(self, *arguments: object) -> None:
            pass

    victim = world.another_clone("victim")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        (victim.path / ".dvc" / "config.local").write_text(
            f"[core]\n    remote = endless\n['remote \"endless\"']\n    url = {url}\n"
        )
        done = run(sys.executable, "-P", "-m", "gitdata", "fetch", cwd=victim.path)
        assert done.code in (4, 5), done
        server.shutdown()
    assert not list((victim.path / ".dvc" / "cache").rglob(".gitdata-tmp-*"))


@pytest.mark.parametrize("name", ["listing.json", "schema.json"])
@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 100_000, b"\xff"])
def test_a_malformed_sidecar_is_named(attacker: Clone, world: World, call: Call, name: str, content: bytes) -> None:
    forge(attacker, {f"sidecar/{name}": content})
    (attacker.path / "models" / "m.toml").write_text(MODEL.replace('"d"', '"e"'))
    send(attacker)
    push(attacker)
    for command in (("status",), ("ls",), ("show", "e"), ("push",), ("checkout", "e"), ("train", "m"), ("verify",)):
        done = call(attacker.path, *command)
        assert done.code in (0, 1, 2, 4), (command, done)
        assert "this is a bug" not in done.err


def test_verdicts_are_checked_inside(attacker: Clone, world: World, call: Call) -> None:
    world.server.gitdata("train", "m")
    attacker.git("fetch", "--quiet")
    attacker.git("checkout", "--quiet", "-b", "ledger", "origin/gitdata/models")
    (verdict,) = (attacker.path / "models" / "m").glob("*.verdict")
    good = json.loads(verdict.read_text())
    for change in ({"comparisons": [{"against": "champion"}]}, {"metrics": {"overall": "x"}}, {"metrics": {"a": []}}):
        verdict.write_text(json.dumps(good | change))
        attacker.git("commit", "--quiet", "--all", "-m", "forged")
        attacker.git("push", "--quiet", "--no-verify", "origin", "HEAD:gitdata/models")
        done = call(attacker.path, "models")
        assert (done.code, "is damaged" in done.err) == (4, True), done


def test_damage_in_history_that_was_mended_holds_nobody_up(attacker: Clone, world: World, call: Call) -> None:
    """An interior pointer was deleted; whoever looks for it in history also meets junk of its name."""
    attacker.gitdata("extend", "d", world.root / "incoming" / "more.csv", code=2)
    more = world.root / "incoming" / "more.csv"
    more.write_text("a,b,y\n100,1,2\n101,2,1\n")
    attacker.gitdata("extend", "d", more, "-m", "more")
    base = next(p for p in (attacker.path / "datasets" / "d").glob("1.0.0-*.dvc"))
    attacker.git("rm", "--quiet", str(base))
    junk = base.with_name(f"9.9.9-{base.stem[-8:]}.dvc")
    junk.write_text("{}")
    push(attacker)
    junk.unlink()
    push(attacker)
    done = call(attacker.path, "status")
    assert (done.code, "lost" in done.out) == (0, True), done


def test_records_reach_a_terminal_without_what_it_would_obey(attacker: Clone, call: Call) -> None:
    attacker.git("commit", "--quiet", "--allow-empty", "-m", "x")
    attacker.git("config", "user.name", "a\u009b31m\u202eb\x7f")
    attacker.gitdata("retract", "d@1.0.0", "--reason", "bad \u009b2J \u202e", "-m", "bad")
    done = call(attacker.path, "retract", "d@1.0.0", "--undo", "--json")
    assert not any(sign in done.out for sign in "\u009b\u202e\x7f")
    assert done.records[0]["reason"] == "bad \u009b2J \u202e"


# --- HDF5 ----------------------------------------------------------------------------------------------------


def _table(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file["a"], file["y"] = np.arange(8.0), np.arange(8.0)
    return file


def _low_level(path: Path, name: bytes, kind: object, shape: tuple[int, ...]) -> None:
    with _table(path) as file:
        h5py.h5d.create(file.id, name, kind, h5py.h5s.create_simple(shape))


def _rows_without_values(path: Path) -> None:
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"y", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((2**40, 0)))


def _rows_never_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("y", (2**34,), "i1", chunks=(2**24,), compression="gzip")


def _one_text_for_many(path: Path) -> None:
    rows = 30_000
    with h5py.File(path, "w") as file:
        file["y"] = np.arange(float(rows))
        texts = file.create_dataset("t", (rows,), h5py.string_dtype())
        texts[0] = "x" * 10_000_000
        place = texts.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * rows] = content[place : place + 16] * rows
    path.write_bytes(content)


def _unknown_link(path: Path) -> None:
    with _table(path) as file:
        file["e"] = h5py.ExternalLink("/nowhere/a/file", "place")
    content = bytearray(path.read_bytes())
    content[content.rfind(64, 0, content.find(b"/nowhere/a/file"))] = 65
    path.write_bytes(content)


HDF5: dict[str, Callable[[Path], None]] = {
    "a type of time": lambda path: _low_level(path, b"t", h5py.h5t.UNIX_D32LE, (8,)),
    "a name that is no text": lambda path: _low_level(path, b"n\xff", h5py.h5t.IEEE_F64LE, (8,)),
    "rows without values": _rows_without_values,
    "rows never written": _rows_never_written,
    "one text for many rows": _one_text_for_many,
    "a link of an unknown kind": _unknown_link,
}


@pytest.mark.parametrize("how", HDF5)
def test_hdf5_that_is_small_and_asks_for_everything(clone: Clone, tmp_path: Path, call: Call, how: str) -> None:
    path = tmp_path / "hostile.h5"
    HDF5[how](path)
    done = call(clone.path, "add", "d", str(path))
    assert (done.code, "Traceback" in done.err, "this is a bug" in done.err) == (2, False, False), done
    assert not (clone.path / "datasets").exists()
