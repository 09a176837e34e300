"""Damage on a remote, in a folder and over SSH: exit 4 whatever the command, and nothing of it ever arrives."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from world import Clone, Done, Server, World, fingerprint

from gitdata.commands.init import derive_remote
from gitdata.commands.verify import Options, verify
from gitdata.data.pointer import Extension

Call = Callable[..., Done]
KINDS = ("file", "sidecar", "directory object")
DAMAGES = ("missing", "truncated", "flipped", "emptied", "swapped")
COMMANDS = (("fetch", "d"), ("pull", "d"), ("checkout", "d"), ("train", "m"))
MODEL = '[data]\ndataset = "d"\noutputs = ["y"]\n[network]\nlayers = [{ dense = "outputs" }]\n'


@pytest.fixture(scope="module")
def published(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A server that holds a dataset of two extensions, and a second clone that has fetched no blob; to be copied."""
    world = first_world.copy(tmp_path_factory.mktemp("published"))
    for name, command in (("base", ["add", "d", "--outputs", "y"]), ("more", ["extend", "d"])):
        path = world.root / f"{name}.csv"
        path.write_text("a,b,y\n" + "".join(f"{n},{len(path.name) + n % 3},{int(name == 'base')}\n" for n in range(9)))
        world.clone.gitdata(*command, path, "-m", name)
    world.clone.declare("m", MODEL)
    world.clone.commit("model")
    world.clone.push("-o", "gitdata.skip", "origin", "main")
    world.another_clone("second")
    return world


@pytest.fixture(params=["folder", pytest.param("SSH", marks=pytest.mark.slow)])
def copy(request: pytest.FixtureRequest, published: World, tmp_path: Path) -> World:
    """A copy of what was published, whose clones reach the server by path or over SSH."""
    root = tmp_path / "world"
    shutil.copytree(published.root, root, symlinks=True)
    host = ""
    if request.param == "SSH":
        request.getfixturevalue("ssh_server")
        host = "ssh://server"
    for name in ("clone", "second"):
        clone = Clone(root / name)
        clone.git("remote", "set-url", "origin", f"{host}{root / 'server.git'}")
        derive_remote(clone.repo)
    return World(root, Server(root / "server.git"), Clone(root / "clone"))


def objects(extension: Extension) -> dict[str, str]:
    """A blob of each kind, by name."""
    return {
        "file": next(f.md5 for f in extension.files or () if f.split == "train"),
        "sidecar": extension.sidecars[0].md5,
        "directory object": f"{extension.directory.md5}.dir",
    }


def place(root: Path, md5: str) -> Path:
    return root / "files" / "md5" / md5[:2] / md5[2:]


def names(root: Path) -> set[str]:
    return {path.parent.name + path.name for path in (root / "files").rglob("*") if path.is_file()}


def damage(path: Path, how: str, other: Path) -> None:
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
            path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_on_a_remote_is_never_delivered_and_its_siblings_are(
    copy: World, call: Call, kind: str, how: str
) -> None:
    second = Clone(copy.root / "second")
    cache = second.path / ".dvc" / "cache"
    base, more = (objects(e) for e in second.repo.work_tree_snapshot().chain("d").extensions.values())
    bad = base[kind]
    good = names(copy.server.store) - {bad}
    damage(place(copy.server.store, bad), how, place(copy.server.store, more[kind]))
    store = fingerprint(copy.server.path)

    for command in COMMANDS:
        shutil.rmtree(cache, ignore_errors=True)
        refused(call(second.path, *command), bad)
        arrived = names(cache)
        assert arrived <= good
        for md5 in arrived:
            assert hashlib.md5(place(cache, md5).read_bytes()).hexdigest() == md5.removesuffix(".dir")
        if kind == "file":  # all of the heads, and every file but this one
            assert arrived == good
        else:  # where a head is damaged nobody asks for the files
            assert arrived == {md5 for md5 in good if md5.endswith(".dir") or md5 in sidecars(second)}
        nothing_else_came(second)
    assert fingerprint(copy.server.path) == store


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_here_stays_and_a_repair_from_a_good_clone_makes_it_whole(copy: World, call: Call, how: str) -> None:
    second = Clone(copy.root / "second")
    cache = second.path / ".dvc" / "cache"
    base, more = (objects(e) for e in second.repo.work_tree_snapshot().chain("d").extensions.values())
    assert call(second.path, "fetch").code == 0
    for kind in KINDS:
        place(cache, base[kind]).unlink()
        damage(place(copy.server.store, base[kind]), how, place(copy.server.store, more[kind]))
    held = fingerprint(cache)
    for command in COMMANDS:
        refused(call(second.path, *command))
        assert fingerprint(cache) == held
        nothing_else_came(second)

    *findings, _ = verify(copy.clone.repo, Options(remote=True, deep=True, repair=True))
    assert {finding["repaired"] for finding in findings} == {True}
    assert len(findings) == 3
    assert call(second.path, "checkout", "d").code == 0
    for extension, name in ((base, "base.csv"), (more, "more.csv")):
        (file,) = (second.path / "datasets").rglob(name)
        assert hashlib.md5(file.read_bytes()).hexdigest() == extension["file"]


def refused(done: Done, says: str = "") -> None:
    assert done.code == 4, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert says in done.err


def sidecars(clone: Clone) -> set[str]:
    extensions = clone.repo.work_tree_snapshot().chain("d").extensions.values()
    return {sidecar.md5 for extension in extensions for sidecar in extension.sidecars}


def nothing_else_came(clone: Clone) -> None:
    """No file of an extension, no temporary file, no change that git sees, no model."""
    assert [p.name for p in (clone.path / "datasets").rglob("*") if p.is_file() and p.suffix != ".dvc"] == []
    assert [p for p in clone.path.rglob("*") if "tmp-" in p.name] == []
    assert clone.git("status", "--porcelain") == ""
    assert "gitdata/models" not in clone.git("for-each-ref")
