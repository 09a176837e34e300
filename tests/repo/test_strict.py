"""A strict server: what is sound passes, what is not is refused with a word for it, and leaves everything as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from branches import branch, chain_of, grow, merge, start, switch
from world import Clone, Server, World, fingerprint

from gitdata.automation import hooks
from gitdata.commands import renumber, retract
from gitdata.data import pointerfile
from gitdata.data.ledger import Verdict, encode_verdict
from gitdata.data.pointer import Attachment, Directory, Extension, ModelVersion, package_digest
from gitdata.storage.cache import Cache

SILENT = {"GITDATA_SKIP_TRAIN": "1"}


def strict(world: World) -> World:
    """The world with a strict server, and a base and an extension on it."""
    hooks.install(world.server.repo, server=True, strict=True)
    start(world)
    grow(world, "one", 4, 6)
    world.clone.git("push", "--quiet", "origin", "main", env=SILENT)
    return world


@pytest.fixture(scope="module")
def first_strict(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    return strict(first_world.copy(tmp_path_factory.mktemp("strict")))


@pytest.fixture
def grown(first_strict: World, tmp_path: Path) -> World:
    """A strict server that a test may change."""
    return first_strict.copy(tmp_path)


@pytest.fixture
def kept(first_strict: World) -> Iterator[World]:
    """A strict server that no push of a test gets through to; its clone is made as it was afterwards."""
    before = fingerprint(first_strict.server.path)
    yield first_strict
    assert fingerprint(first_strict.server.path) == before
    first_strict.clone.git("switch", "--quiet", "--force", "main")
    first_strict.clone.git("reset", "--quiet", "--hard", "origin/main")


def send(clone: Clone, *refs: str) -> str:
    """Push past the clone's own hook; what the pusher is told."""
    return clone.git("push", "--no-verify", "origin", *(refs or ("HEAD:main",)), env=SILENT)


def refused(clone: Clone, *refs: str) -> str:
    """Push, and be refused with a message; what it says."""
    said = clone.git("push", "--no-verify", "origin", *(refs or ("HEAD:main",)), env=SILENT, ok=False)
    assert "pre-receive hook declined" in said
    assert "remote: gitdata: " in said
    assert not any(word in said for word in ("Traceback", "this is a bug"))
    return said


def pointer_of(clone: Clone, extension: Extension) -> Path:
    return clone.path / "datasets" / "lattice" / f"{extension.stem}.dvc"


def heads(clone: Clone) -> Extension:
    chain = chain_of(clone)
    return chain.extensions[chain.heads[0]]


def rewrite(clone: Clone, before: Extension, after: Extension) -> None:
    pointer_of(clone, before).unlink()
    pointer_of(clone, after).write_bytes(pointerfile.encode(after))


# --- what passes ---------------------------------------------------------------------------------------------


def test_a_good_day_passes(grown: World) -> None:
    """Extend, branch, merge, settle labels, change labels, retract and undo, take back a head, tags, deletions."""
    clone = grown.clone
    branch(clone, "side")
    grow(grown, "left", 6, 8)
    clone.git("push", "--quiet", "origin", "side", env=SILENT)  # uploads by the clone's own hook
    switch(clone, "main")
    grow(grown, "right", 8, 10)
    clone.git("push", "--quiet", "origin", "main", env=SILENT)
    merge(clone, "side")
    assert "renumber" in refused(clone)  # two extensions 1.2.0
    send(clone, "HEAD:refs/heads/elsewhere")  # where nothing is deployed from
    renumber.renumber(clone.repo, "lattice", "labels")
    send(clone)
    last = heads(clone)
    rewrite(clone, last, replace(last, version="7.0.0", inputs=("t1",), outputs=("P_peak",)))
    clone.commit("labels only")
    send(clone)
    retract.retract(clone.repo, [f"lattice@{last.short}"], "bad", "bad")
    send(clone)
    clone.git("revert", "--no-edit", "HEAD")
    send(clone)
    pointer_of(clone, heads(clone)).unlink()
    clone.commit("a head is taken back")
    clone.git("tag", "-a", "-m", "v1", "v1")
    send(clone, "HEAD:main", "v1", ":side", ":elsewhere")
    assert clone.git("ls-remote", "--heads", "--tags", "origin").count("\n") == 2


def test_what_is_none_of_ours_starts_no_python(grown: World) -> None:
    hook = grown.server.path / "hooks" / "pre-receive"
    hook.write_text(hook.read_text().replace("python=", "python=/nowhere #"))
    clone = grown.clone
    (clone.path / "README").write_text("words")
    clone.commit("words")
    send(clone, "HEAD:main", "HEAD:refs/heads/new", "HEAD:refs/tags/t")
    send(clone, ":new")
    (clone.path / "models").mkdir()
    (clone.path / "models" / "x.md").write_text("words")
    clone.commit("ours")
    assert "install --server --strict" in clone.git("push", "origin", "HEAD:main", ok=False)


def test_an_old_flaw_holds_nobody_up(first_world: World, tmp_path: Path) -> None:
    world = first_world.copy(tmp_path)
    clone = world.clone
    base = start(world)
    lost = grow(world, "one", 4, 6)
    grow(world, "two", 6, 8)
    pointer_of(clone, base).write_bytes(pointer_of(clone, base).read_bytes() + b"\n")
    pointer_of(clone, lost).unlink()
    clone.commit("flaws")
    clone.git("push", "--quiet", "origin", "main", env=SILENT)
    hooks.install(world.server.repo, server=True, strict=True)
    grow(world, "three", 8, 10)
    clone.git("push", "--quiet", "origin", "main", "main:refs/heads/other", env=SILENT)
    pointer_of(clone, base).write_bytes(pointerfile.encode(base))
    clone.commit("mended")
    send(clone)


def test_a_merge_brings_nothing_that_the_server_has(grown: World) -> None:
    clone = grown.clone
    branch(clone, "side")
    (clone.path / "notes").write_text("x")
    clone.commit("notes")
    switch(clone, "main")
    grow(grown, "right", 8, 10)
    clone.git("push", "--quiet", "origin", "main", env=SILENT)
    switch(clone, "side")
    merge(clone, "main")
    shutil.rmtree(grown.server.store)  # were it looked at, its blobs would be missed
    send(clone, "side")


# --- what is refused -----------------------------------------------------------------------------------------


def _garbage(clone: Clone, head: Extension) -> None:
    pointer_of(clone, head).write_bytes(b"\xff\xfe{")


def _huge(clone: Clone, head: Extension) -> None:
    pointer_of(clone, head).write_bytes(b" " * (5 * 1024 * 1024))


def _huge_table(clone: Clone, head: Extension) -> None:
    (clone.path / "datasets" / "lattice" / "table.json").write_bytes(b" " * (5 * 1024 * 1024))


def _deep(clone: Clone, head: Extension) -> None:
    pointer_of(clone, head).write_bytes(b'{\n  "meta": ' + b"[" * 60_000)


def _yaml(clone: Clone, head: Extension) -> None:
    from ruamel.yaml import YAML

    with pointer_of(clone, head).open("r+") as file:
        document = YAML(typ="safe").load(file)
        file.seek(0)
        file.truncate()
        YAML().dump(document, file)


def _wrong_id(clone: Clone, head: Extension) -> None:
    text = pointer_of(clone, head).read_text()
    pointer_of(clone, head).write_text(
        text.replace(f'"id": "{head.id}', f'"id": "{head.id[:-1]}{"01"[head.id[-1] == "0"]}')
    )


def _other_name(clone: Clone, head: Extension) -> None:
    clone.git("mv", str(pointer_of(clone, head)), "datasets/lattice/9.9.9-aaaaaaaa.dvc")


def _odd_name(clone: Clone, head: Extension) -> None:
    (clone.path / "datasets" / "lattice" / "--upload-pack=x\n\x1b[2J.dvc").write_text("{}")


def _link(clone: Clone, head: Extension) -> None:
    pointer_of(clone, head).unlink()
    pointer_of(clone, head).symlink_to("/etc/passwd")


def _submodule(clone: Clone, head: Extension) -> None:
    name = pointer_of(clone, head).relative_to(clone.path).as_posix()
    clone.git("rm", "--quiet", "--cached", name)
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{clone.git('rev-parse', 'HEAD')},{name}")


def _content(clone: Clone, head: Extension) -> None:
    rewrite(clone, head, replace(head, directory=replace(head.directory, md5="0" * 32)))


def _relabelled_content(clone: Clone, head: Extension) -> None:
    rewrite(clone, head, replace(head, version="8.0.0", sidecars=(Attachment("sidecar/x", "a" * 64, 1, "b" * 32),)))


def _second_place(clone: Clone, head: Extension) -> None:
    other = replace(head, version="8.0.0", schema=None)
    pointer_of(clone, other).write_bytes(pointerfile.encode(other))


def _unknown_parent(clone: Clone, head: Extension) -> None:
    child = replace(head, parents=("a" * 64,), version="8.0.0")
    pointer_of(clone, child).write_bytes(pointerfile.encode(child))


def _interior(clone: Clone, head: Extension) -> None:
    pointer_of(clone, chain_of(clone).extensions[head.parents[0]]).unlink()


def _blobs(clone: Clone, head: Extension) -> None:
    child = replace(head, parents=(head.id,), version="8.0.0", directory=Directory("1" * 32, 1, 1))
    pointer_of(clone, child).write_bytes(pointerfile.encode(child))


def _retraction(clone: Clone, head: Extension) -> None:
    path = clone.path / "datasets" / "lattice" / "retracted" / f"{head.id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"format": 1}')


FLAWS: tuple[tuple[Callable[[Clone, Extension], None], tuple[str, ...]], ...] = (
    (_garbage, ("encoding", "gitdata verify --repair")),
    (_huge, ("5,242,880 bytes",)),
    (_huge_table, ("5,242,880 bytes", "Take it out")),
    (_deep, ("encoding",)),
    (_yaml, ("encoding", "gitdata verify --repair")),
    (_wrong_id, ("its content gives",)),
    (_other_name, ("its file name is",)),
    (_odd_name, ("not that of a pointer", "\N{REPLACEMENT CHARACTER}")),
    (_link, ("symbolic link",)),
    (_submodule, ("submodule",)),
    (_content, ("immutable", "'directory'", "git checkout")),
    (_relabelled_content, ("immutable", "'sidecars'")),
    (_second_place, ("immutable", "'schema'")),
    (_unknown_parent, ("aaaaaaaa", "no pointer")),
    (_interior, ("was deleted", "git checkout", "gitdata retract")),
    (_blobs, ("1 blob of lattice@8.0.0", "gitdata push lattice@8.0.0")),
    (_retraction, ("retraction", "damaged")),
)


def test_each_flaw_is_refused_and_told(kept: World) -> None:
    """One push with a branch for each flaw: all are told, each by its ref."""
    clone, head = kept.clone, heads(kept.clone)
    refs = []
    for change, _ in FLAWS:
        change(clone, head)
        if change is not _submodule:
            clone.git("add", "--all", "--force", "datasets")
        clone.git("commit", "--quiet", "-m", "flaw")
        refs.append(f"{clone.git('rev-parse', 'HEAD')}:refs/heads/{change.__name__}")
        clone.git("reset", "--quiet", "--hard", "origin/main")
    said = refused(clone, *refs)
    assert "\x1b[2J" not in said
    for change, words in FLAWS:
        about = said.partition(f"refs/heads/{change.__name__}: datasets/lattice")[2].partition("remote: gitdata: ")[0]
        for word in words:
            assert word in about, (change, said)


def test_a_double_is_refused_where_models_are_deployed_from(kept: World) -> None:
    clone, head = kept.clone, heads(kept.clone)
    rewrite(clone, head, replace(head, version="1.0.0"))
    clone.commit("double")
    said = refused(clone)
    assert "1.0.0 would stand for" in said
    assert "gitdata renumber lattice" in said


def test_all_refs_are_looked_at_and_all_is_refused(kept: World) -> None:
    """One of three refs is not sound; a tag and a new branch are looked at too, and who is not fast-forward."""
    clone = kept.clone
    clone.git("commit", "--quiet", "--allow-empty", "-m", "fine")
    fine = clone.git("rev-parse", "HEAD")
    _interior(clone, heads(clone))
    clone.commit("flaw")
    clone.git("tag", "--force", "-a", "-m", "t", "t")
    assert "refs/tags/t: datasets/lattice" in refused(clone, f"{fine}:main", f"{fine}:refs/heads/x", "t")
    assert "refs/heads/y: datasets/lattice" in refused(clone, "HEAD:refs/heads/y")
    assert "moves 201 refs" in refused(clone, *(f"HEAD:refs/heads/many/{n}" for n in range(201)))
    clone.git("commit", "--quiet", "--amend", "-m", "not even a fast-forward")
    assert "refs/heads/main: datasets/lattice" in refused(clone, "+HEAD:main")


def test_no_ref_changes_what_others_read(kept: World) -> None:
    """Replacing objects, and a branch in the place of the ledger."""
    clone = kept.clone
    one, other = (clone.git("rev-parse", f"HEAD:{name}") for name in (".dvc/config", ".dvc/.gitignore"))
    assert "unseen" in refused(clone, f"{one}:refs/replace/{other}")
    assert "ledger" in refused(clone, "HEAD:refs/heads/gitdata")


def test_a_tree_that_holds_itself_many_times_ends(kept: World) -> None:
    clone = kept.clone
    git = clone.repo.git
    name = git.write_blob(b"x" * 100)
    tree = git.run("mktree", stdin="".join(f"100644 blob {name}\t{n:0100}.dvc\n" for n in range(50)).encode()).decode()
    for _ in range(6):
        lines = "".join(f"040000 tree {tree.strip()}\t{n:060}\n" for n in range(50))
        tree = git.run("mktree", stdin=lines.encode()).decode()
    top = git.run("mktree", stdin=f"040000 tree {tree.strip()}\tdatasets\n".encode()).decode().strip()
    commit = git.run("commit-tree", top, "-m", "bomb", environment=git.identity()).decode().strip()
    assert "too large" in refused(clone, f"{commit}:refs/heads/bomb")


# --- the ledger ----------------------------------------------------------------------------------------------


def _version(number: int, method: str = "union") -> dict[str, bytes | None]:
    """The files of a version of `m` that the ledger lacks, with a package of one part."""
    files = (Attachment("weights", f"{number}" * 64, 5, f"{number}" * 32),)
    made = ModelVersion(
        "m",
        None,
        (),
        "a" * 64,
        "b" * 64,
        package_digest(files),
        files,
        Directory("c" * 32, 5, 1),
        "d" * 40,
        method,
        {},
        {},
    )
    stem = f"models/m/{number}-{made.short}"
    verdict = encode_verdict(Verdict("accepted", "", "me"))
    return {
        f"{stem}.dvc": pointerfile.encode_model(made, number),
        f"{stem}.verdict": verdict,
        "models/m/champion": f"{number}-{made.short}\n".encode(),
    }


def _store(server: Server, *digits: str) -> None:
    store = Cache(server.store / "gitdata-models" / "files" / "md5")
    for digit in digits:
        for name in (digit * 32, "c" * 32 + ".dir"):
            path = store.root / name[:2] / name[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"12345")


def test_a_ledger_is_looked_at(grown: World) -> None:
    clone, git, ref = grown.clone, grown.clone.repo.git, "refs/heads/gitdata/models"
    first = git.commit_files(None, _version(1), "one")
    assert "2 blobs of m" in refused(clone, f"{first}:{ref}")
    _store(grown.server, "1", "2")
    send(clone, f"{first}:{ref}")
    second = git.commit_files(first, _version(2), "two")
    send(clone, f"{second}:{ref}")
    said = refused(clone, f"+{first}:{ref}")
    assert "no fast-forward" in said
    assert "git fetch origin gitdata/models" in said
    said = refused(clone, f":{ref}")
    assert "deleted" in said
    assert "update-ref" in said
    flaws: tuple[tuple[dict[str, bytes | None], str], ...] = (
        ({"models/m/champion": b"9-aaaaaaaa\n"}, "champion '9-aaaaaaaa'"),
        ({name: content for name, content in _version(1, "other").items() if name.endswith(".dvc")}, "changed"),
        ({name: None for name in _version(1) if name.endswith(".dvc")}, "deleted"),
        ({name: b"\xff" for name in _version(1) if name.endswith(".verdict")}, "damaged"),
        ({name: b" " * 5_000_000 for name in _version(1) if name.endswith(".verdict")}, "5,000,000 bytes"),
    )
    thirds = [git.commit_files(second, files, "flaw") for files, _ in flaws]
    said = refused(clone, *(f"{third}:refs/heads/gitdata/candidates/m/{n}" for n, third in enumerate(thirds)))
    for n, (_, word) in enumerate(flaws):
        assert word in said.partition(f"candidates/m/{n}: ")[2].partition("remote: gitdata: ")[0]
    assert "champion '9-aaaaaaaa'" in refused(clone, f"{thirds[0]}:{ref}")
    back = git.commit_files(second, {"models/m/champion": _version(1)["models/m/champion"]}, "back")
    send(clone, f"{back}:{ref}")


# --- coming and going ----------------------------------------------------------------------------------------


def test_a_hook_that_was_there_runs_first_and_may_refuse(grown: World) -> None:
    hook = grown.server.path / "hooks" / "pre-receive"
    grown.server.gitdata("uninstall")
    assert not hook.exists()
    assert grown.server.repo.git.config(hooks.STRICT) is None
    seen = grown.root / "seen"
    hook.write_text(f"#!/bin/sh\ncat >{seen}\n[ ! -e {grown.root}/no ] || {{ echo mine >&2; exit 1; }}\n")
    hook.chmod(0o755)
    grown.server.gitdata("install", "--server", "--strict")
    grown.server.gitdata("install", "--server")  # stays strict
    clone = grown.clone
    _interior(clone, heads(clone))
    clone.commit("flaw")
    refused(clone)
    assert "refs/heads/main" in seen.read_text()
    (grown.root / "no").touch()
    assert "mine" in clone.git("push", "--no-verify", "origin", "HEAD:main", ok=False)
    grown.server.gitdata("uninstall")
    (grown.root / "no").unlink()
    assert "gitdata" not in hook.read_text()
    send(clone)


def test_only_a_server_is_strict(grown: World) -> None:
    assert "--server --strict" in grown.clone.gitdata("install", "--strict", code=2).err
    grown.clone.gitdata("install", "--server", "--strict", code=2)
    assert grown.clone.repo.git.config(hooks.STRICT) is None


def test_blobs_of_another_store_are_not_asked_for(grown: World) -> None:
    """The server's own configuration names a store that is no folder, or a commit does and the server none."""
    clone = grown.clone
    _blobs(clone, heads(clone))
    clone.commit("elsewhere")
    refused(clone)
    own = grown.server.path / "gitdata" / "config"
    own.write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = s3://far/away\n")
    send(clone, "HEAD:refs/heads/one")
    own.write_text(f"[core]\n    remote = near\n['remote \"near\"']\n    url = {grown.root}/near\n")
    child = replace(heads(clone), parents=(heads(clone).id,), version="9.0.0")
    pointer_of(clone, child).write_bytes(pointerfile.encode(child))
    clone.commit("more")
    assert f"{grown.root}/near" in refused(clone)
    own.unlink()
    (clone.path / ".dvc" / "config").write_text(
        "[core]\n    remote = far\n['remote \"far\"']\n    url = s3://far/away\n"
    )
    clone.commit("store")
    send(clone)


def test_over_http_too(grown: World, http_server: str) -> None:
    clone = grown.clone
    clone.git("remote", "set-url", "origin", f"{http_server}/server.git")
    _interior(clone, heads(clone))
    clone.commit("flaw")
    assert "was deleted" in refused(clone)
