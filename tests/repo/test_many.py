"""Very many small extensions: what is kept in this clone is never a second truth, and nothing opens as many files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import thousands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import Clone, World, run

from gitdata import pointers
from gitdata.commands import packs
from gitdata.commands.rowsource import RowSource
from gitdata.data import pointerfile
from gitdata.errors import DataUnavailable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

COUNT = 120


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with forks and joins, and a branch `half` that lacks some of it; tests change copies of it."""
    clone = Clone(thousands.make(tmp_path_factory.mktemp("many"), COUNT, branches=True).top)
    clone.git("checkout", "--quiet", "-b", "half")
    clone.git("rm", "--quiet", *(f"datasets/{thousands.DATASET}/1.{number}.0-*" for number in range(80, COUNT, 2)))
    clone.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "half")
    clone.git("checkout", "--quiet", "main")
    return clone.path


@pytest.fixture
def many(original: Path, tmp_path: Path) -> Clone:
    clone = Clone(shutil.copytree(original.parent, tmp_path / "copy", symlinks=True) / "clone")
    clone.git("status")  # to git a copied file is one that may have changed
    return clone


def kept(clone: Path) -> Path:
    return clone / ".git" / "gitdata" / pointers.KEPT


def read(clone: Path, at: str | None = None) -> Snapshot | str:
    """What the work tree, or a commit, says; or why it cannot be told."""
    try:
        return Repo(clone).snapshot(at) if at else Repo(clone).work_tree_snapshot()
    except DataUnavailable as error:
        return str(error)


def test_the_generator_makes_what_extend_makes(world: World) -> None:
    for number in range(3):
        file = world.root / f"e{number:05}.csv"
        file.write_text(thousands.table(number))
        roles = ["--inputs", "x", "--outputs", "y"] if number == 0 else []
        world.clone.gitdata("add" if number == 0 else "extend", thousands.DATASET, file, *roles, "-m", "more")
    made = thousands.make(world.root, 3, model=False, name="made").top
    for folder in (f"datasets/{thousands.DATASET}", ".dvc/cache/files"):
        ours, theirs = contents(made / folder), contents(world.clone.path / folder)
        assert ours == theirs
        assert len(ours) == (3 if "datasets" in folder else 12)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- kept pointers -------------------------------------------------------------------------------------------

Edit = Callable[[Clone, str], None]


def _path(clone: Clone, name: str) -> Path:
    return clone.path / "datasets" / thousands.DATASET / name


def _rewrite(clone: Clone, name: str) -> None:
    """Other bytes that say the same."""
    path = _path(clone, name)
    if path.exists():
        path.write_text(json.dumps(json.loads(path.read_text())))


def _damage(clone: Clone, name: str) -> None:
    path = _path(clone, name)
    if path.exists():
        path.write_bytes(path.read_bytes().replace(b'"rows": 10', b'"rows": 11'))


def _damage_unseen(clone: Clone, name: str) -> None:
    """A change of the same size at the same time, to a file that git was told not to look at."""
    path = _path(clone, name)
    if path.exists():
        clone.git("update-index", "--assume-unchanged", f"datasets/{thousands.DATASET}/{name}")
        before = path.stat()
        path.write_bytes(path.read_bytes().replace(b'"rows": 10', b'"rows": 12'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _relabel(clone: Clone, name: str) -> None:
    """The same extension under another label, as `renumber` will write it."""
    path = _path(clone, name)
    if path.exists():
        path.rename(path.with_name("7.7.7" + name[name.index("-") :]))


def _swap(clone: Clone, name: str) -> None:
    """The content of one pointer in the place of another, staged: git holds it unchanged."""
    path = _path(clone, name)
    other = next(p for p in sorted(path.parent.glob("*.dvc")) if p.name != name)
    path.write_bytes(other.read_bytes())
    clone.git("add", "--all", "datasets")


EDITS: dict[str, Edit] = {
    "nothing": lambda clone, name: None,
    "touch": lambda clone, name: os.utime(_path(clone, name)) if _path(clone, name).exists() else None,
    "rewrite": _rewrite,
    "damage": _damage,
    "damage unseen": _damage_unseen,
    "remove": lambda clone, name: _path(clone, name).unlink(missing_ok=True),
    "relabel": _relabel,
    "swap": _swap,
    "stage": lambda clone, name: clone.git("add", "--all", "datasets"),
    "restore": lambda clone, name: clone.git("restore", "--staged", "--worktree", "--source=HEAD", "datasets"),
    "switch": lambda clone, name: clone.git("checkout", "--quiet", "--force", "half"),
    "switch back": lambda clone, name: clone.git("checkout", "--quiet", "--force", "main"),
}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, COUNT - 1)), min_size=1, max_size=3))
def test_what_is_kept_says_what_the_files_say(
    original: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("edited") / "clone"
    clone = Clone(shutil.copytree(original, folder, symlinks=True, ignore=shutil.ignore_patterns("cache")))
    clone.git("status")
    names = sorted(path.name for path in _path(clone, "").glob("*.dvc"))
    read(clone.path)
    assert kept(clone.path).is_file()
    for edit, number in steps:
        EDITS[edit](clone, names[number])
        for at in (None, "HEAD"):
            known = read(clone.path, at)
            kept(clone.path).unlink(missing_ok=True)
            assert read(clone.path, at) == known
    shutil.rmtree(clone.path)


def test_a_torn_or_foreign_file_is_made_anew(many: Clone) -> None:
    expected, path = read(many.path), kept(many.path)
    whole = path.read_bytes()
    head, _, body = whole.partition(b"\n")
    other = thousands.make(many.path.parent / "other", COUNT, remote=False, first=1000).top
    read(other)
    damages = {
        "empty": b"",
        "torn": whole[: len(whole) // 2],
        "one byte": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "another gitdata's": head.replace(b"gitdata ", b"gitdata 9") + b"\n" + body,
        "no JSON": pointers._head(b"{").encode() + b"\n{",
        "other JSON": pointers._head(b"[1]").encode() + b"\n[1]",
        "of another repository": kept(other).read_bytes(),
        "pickled": b"cos\nsystem\n(S'touch hacked'\ntR.",
    }
    for name, content in damages.items():
        path.write_bytes(content)
        assert read(many.path) == expected, name
        assert read(many.path, "HEAD") == read(many.path, "main"), name
        assert path.read_bytes() != content, name
        assert read(many.path) == expected, name


def test_a_folder_that_cannot_be_written_to_is_no_error(many: Clone) -> None:
    state = many.path / ".git" / "gitdata"
    expected = read(many.path)
    shutil.rmtree(state)
    state.write_text("no folder")
    assert read(many.path) == expected


def test_processes_beside_each_other_agree(many: Clone) -> None:
    command = [sys.executable, "-P", "-m", "gitdata", "log", thousands.DATASET, "--json"]
    processes = [subprocess.Popen(command, cwd=many.path, stdout=subprocess.PIPE) for _ in range(3)]
    printed = {process.communicate()[0] for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert len(printed) == 1
    assert not list((many.path / ".git" / "gitdata").glob(".gitdata-tmp-*"))
    assert many.gitdata("log", thousands.DATASET, "--json").out.encode() in printed


def test_ids_and_pointers_of_what_is_recalled_are_the_same_bytes(many: Clone) -> None:
    read(many.path)
    chain = many.repo.work_tree_snapshot().chain(thousands.DATASET)
    for extension in chain.extensions.values():
        path = _path(many, f"{extension.stem}.dvc")
        assert pointerfile.encode(extension) == path.read_bytes()


# --- few files are opened ------------------------------------------------------------------------------------

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def opened(clone: Clone, *command: str | Path) -> list[str]:
    """The files that a command and its children opened, below the clone."""
    trace = clone.path.parent / "trace"
    done = run("strace", "-f", "-qq", "-e", "trace=openat,open", "-o", trace, *command, cwd=clone.path)
    assert done.code == 0, done
    found = re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)".* = \d+$', trace.read_text(), re.MULTILINE)
    return [path for path in found if not path.startswith(("/usr", "/opt", "/proc", "/etc", "/lib"))]


@needs_strace
@pytest.mark.parametrize("command", [["status"], ["pending"], ["log", thousands.DATASET], ["ls"]], ids=lambda c: c[0])
def test_commands_open_no_pointer_twice(many: Clone, command: list[str]) -> None:
    many.gitdata(*command)
    paths = opened(many, sys.executable, "-P", "-m", "gitdata", *command)
    assert not [path for path in paths if path.endswith(".dvc") and path != ".dvc"]
    assert not [path for path in paths if re.search(r"files/md5/../.", path)]


@needs_strace
def test_the_next_extension_opens_no_ancestor(many: Clone, tmp_path: Path) -> None:
    for number in (5000, 5001):
        (tmp_path / f"{number}.csv").write_text(thousands.table(number))
    many.gitdata("extend", thousands.DATASET, tmp_path / "5000.csv", "-m", "one more")
    command = [sys.executable, "-P", "-m", "gitdata", "extend", thousands.DATASET, tmp_path / "5001.csv"]
    paths = opened(many, *command)
    assert len([path for path in paths if path.endswith(".dvc") and path != ".dvc"]) < 5
    assert len([path for path in paths if re.search(r"files/md5/../.", path)]) < 12  # the last one's, and its own


@needs_strace
def test_the_union_opens_few_files(many: Clone) -> None:
    program = (
        "from gitdata.repo import Repo; from gitdata.commands.rowsource import RowSource; r = Repo(); "
        f"c = r.snapshot().chain('{thousands.DATASET}'); "
        "s = RowSource(r, ('x',), ('y',)); print(len(s.rows(s.parts(c, c.live, 'train'))['x']))"
    )
    rows = f"{len(list(_path(many, '').glob('*.dvc'))) * thousands.ROWS}\n"
    assert run(sys.executable, "-P", "-c", program, cwd=many.path).out == rows
    paths = opened(many, sys.executable, "-P", "-c", program)
    parallel = 2 * 2 * (COUNT // thousands.SIDES)  # of these the row index is read too
    assert len([path for path in paths if re.search(r"files/md5/../.", path)]) <= parallel


# --- packs ---------------------------------------------------------------------------------------------------


def union(clone: Clone) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    repo = clone.repo
    chain = repo.work_tree_snapshot().chain(thousands.DATASET)
    source = RowSource(repo, ("x",), ("y",))
    return dict(source.rows(source.parts(chain, chain.live, "train")))


def test_the_union_out_of_packs_is_the_union(many: Clone) -> None:
    first = union(many)
    written = sorted((many.path / ".git" / "gitdata" / "packs").glob("*.pack"))
    assert len(written) == 1
    again = union(many)
    assert list(again) == list(first) == ["x", "y"]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    written[0].write_bytes(written[0].read_bytes()[:-5])
    assert all(np.array_equal(first[name], column) for name, column in union(many).items())
    assert sorted((many.path / ".git" / "gitdata" / "packs").glob("*.pack")) == written


def test_a_corrupt_blob_never_comes_into_a_pack(many: Clone) -> None:
    chain = many.repo.work_tree_snapshot().chain(thousands.DATASET)
    extension = chain.ordered(chain.live)[COUNT // 2]
    assert extension.files is not None
    md5 = extension.files[0].md5
    blob = many.path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b".5,", b".6,"))
    with pytest.raises(DataUnavailable, match="corrupt"):
        union(many)
    assert not list((many.path / ".git" / "gitdata" / "packs").glob("*.pack"))


def test_what_does_not_fit_into_the_packs_is_not_written_time_and_again(
    many: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, folder = union(many), many.path / ".git" / "gitdata" / "packs"
    shutil.rmtree(folder)
    whole = sum(column.nbytes for column in expected.values())
    monkeypatch.setattr(packs, "MANY", 4)
    for name, limit in (("AT_ONCE", whole // 2), ("SMALL", 50)):
        monkeypatch.setattr(packs, name, limit)
        seen = []
        for _ in range(3):
            found = union(many)
            assert all(np.array_equal(found[name], column) for name, column in expected.items())
            seen.append({path.name: path.stat().st_ino for path in folder.glob("*.pack")})
        assert seen[0] == seen[1] == seen[2]
        assert bool(seen[0]) == (name == "AT_ONCE")
        heads = [json.loads(path.read_bytes().split(b"\n")[1]) for path in folder.glob("*.pack")]
        of_rows = [head for head in heads if head["layout"][0][0] == "x"]  # others are of row indexes
        assert sum(rows for head in of_rows for _, rows in head["rows"]) * 16 <= whole / 2
        shutil.rmtree(folder, ignore_errors=True)


def test_what_the_folder_of_a_file_says_of_its_rows_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MANY", 1)
    for kind in ("cold", "warm"):  # the same bytes, with another label
        folder = world.root / "kinds" / kind
        folder.mkdir(parents=True)
        (folder / "0.csv").write_text("x\n1\n2\n")
    (world.root / "alone.csv").write_text("label,x\nmild,3\n")
    world.clone.gitdata("add", "kinds", world.root / "kinds")
    world.clone.gitdata("extend", "kinds", world.root / "alone.csv")
    repo = world.clone.repo
    chain = repo.work_tree_snapshot().chain("kinds")
    for _ in range(2):
        source = RowSource(repo, (), ())
        rows = source.rows(source.parts(chain, chain.live, "train"))
        assert rows["label"].tolist() == ["cold", "cold", "warm", "warm", "mild"]
        assert rows["x"].tolist() == [1, 2, 1, 2, 3]
        assert len(list(packs.packs_of(repo).folder.iterdir())) == 1


# --- pushing -------------------------------------------------------------------------------------------------


def test_a_push_sees_every_blob_of_its_tip_and_brings_back_what_the_store_lost(many: Clone, tmp_path: Path) -> None:
    store = many.path.parent / "server.git" / "gitdata" / "remote"
    shutil.copytree(many.path / ".dvc" / "cache" / "files", store / "files")
    many.git("remote", "set-url", "origin", str(many.path.parent / "server.git"))
    many.git("push", "--quiet", "--no-verify", "origin", "main")
    lost = [path for path in sorted((store / "files").rglob("*")) if path.is_file()][3]
    lost.unlink()
    file = tmp_path / "next.csv"
    file.write_text(thousands.table(6000))
    many.gitdata("extend", thousands.DATASET, file, "-m", "next")
    many.git("push", "--quiet", "origin", "main")
    assert lost.is_file()
    assert contents(store / "files") == contents(many.path / ".dvc" / "cache" / "files")
