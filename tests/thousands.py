"""Thousands: a repository with very many tiny extensions, made quickly, and as `gitdata extend` would have made it.

Every extension has ten train rows in a CSV file, its row sidecars, its directory object and its pointer, byte for byte
as `gitdata extend` writes them (`tests/repo/test_many.py` compares them); only nothing is flushed, and all pointers are
committed at once.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gitdata.automation import hooks
from gitdata.commands.init import init
from gitdata.commands.known import ROW_FACTS, Facts, Source, live_digest
from gitdata.data import formats, pointer, pointerfile, rows
from gitdata.data.pointer import Attachment, Directory, Extension, File
from gitdata.repo import Repo
from gitdata.storage.cache import BLOB_MODE, Blob, directory_object

DATASET = "many"
ROWS = 10
SIDES = 50  # extensions between two forks, where there are forks
MODEL = """\
[data]
dataset = "many"
inputs = ["x"]
outputs = ["y"]

[network]
layers = [{ dense = 4 }, "relu", { dense = "outputs" }]

[training]
epochs = 1
"""


def table(number: int) -> str:
    """The CSV file of an extension: ten rows that no other has."""
    values = np.random.default_rng(number).standard_normal(ROWS).round(6)
    lines = [f"{ROWS * number + row}.5,{value}" for row, value in enumerate(values.tolist())]
    return "\n".join(["x,y", *lines]) + "\n"


def make(
    root: Path,
    count: int,
    *,
    branches: bool = False,
    model: bool = True,
    remote: bool = True,
    name: str = "clone",
    first: int = 0,
) -> Repo:
    """A clone `name` in `root` with `count` extensions, committed, and their blobs in its cache.

    `branches`: every so often the chain forks, and the next extension joins the two sides. `remote`: with a bare
    repository `server.git` beside it as `origin`, to which nothing was pushed. `first`: the number of the first table.
    """
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    clone, server = root / name, root / "server.git"
    _git(root, "init", "--quiet", "--initial-branch=main", str(clone))
    if remote:
        _git(root, "init", "--quiet", "--bare", "--initial-branch=main", str(server))
        _git(clone, "remote", "add", "origin", str(server))
    repo = Repo(clone)
    init(repo)
    hooks.install(repo)
    folder = clone / "datasets" / DATASET
    folder.mkdir(parents=True)
    for extension in _extensions(repo, first, count, branches=branches):
        (folder / f"{extension.stem}.dvc").write_bytes(pointerfile.encode(extension))
    if model:
        (clone / "models").mkdir()
        (clone / "models" / "m.toml").write_text(MODEL)
    _git(clone, "add", "--all")
    _git(clone, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", f"{count} extensions")
    return repo


def _extensions(repo: Repo, first: int, count: int, *, branches: bool) -> Iterator[Extension]:
    heads: tuple[str, ...] = ()
    for number in range(count):
        extension = _extension(repo, number, first + number, heads)
        yield extension
        if branches and number % SIDES == SIDES - 2:
            other = _extension(repo, count + number, first + count + number, heads)
            yield other
            heads = (extension.id, other.id)
        else:
            heads = (extension.id,)


def _extension(repo: Repo, place: int, number: int, parents: tuple[str, ...]) -> Extension:
    name, content = f"e{number:05}.csv", table(number)
    columns = {"x": np.empty(ROWS), "y": np.empty(ROWS)}
    for row, line in enumerate(content.splitlines()[1:]):
        columns["x"][row], columns["y"][row] = map(float, line.split(","))
    data = _put(repo, content.encode())
    digests = rows.digests(columns)
    size = data.size or 0
    source = None if parents else Source(data.sha256 or "", size, ROWS, live_digest(()))
    sidecars = {
        f"{pointer.SIDECAR}/{ROW_FACTS}": _put(repo, Facts((rows.content(digests),), source=source).encode()),
        f"{pointer.SIDECAR}/{pointer.ROW_INDEX}": _put(repo, rows.index(digests[:, 0])),
    }
    file = File("train", name, data.sha256 or "", size, ROWS, data.md5)
    directory, listed = directory_object({file.place: data, **sidecars})
    _place(repo, directory, listed)
    total = size + sum(blob.size or 0 for blob in sidecars.values())
    return Extension(
        dataset=DATASET,
        version=f"1.{place}.0",
        parents=tuple(sorted(parents)),
        test_policy="add",
        replaces=(),
        listing=pointer.listing_digest([file]),
        rows=pointer.row_counts([file]),
        files=(file,),
        schema=formats.schema_of(columns),
        sidecars=tuple(Attachment(path, b.sha256 or "", b.size or 0, b.md5) for path, b in sidecars.items()),
        directory=Directory(directory.md5.removesuffix(".dir"), total, 3),
        inputs=("x",),
        outputs=("y",),
    )


def _put(repo: Repo, content: bytes) -> Blob:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    blob = Blob(md5, len(content), hashlib.sha256(content).hexdigest())
    _place(repo, blob, content)
    return blob


def _place(repo: Repo, blob: Blob, content: bytes) -> None:
    path = repo.cache.path(blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(BLOB_MODE)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
