"""A virtual union of many extensions: `python tests/benchmarks/union.py [--extensions N] [--megabytes N] [--rounds N]`.

How long it takes to verify the sources, to look at what is in them, and to write the view, each by itself; how fast it
is read from the page cache beside one contiguous file with the same rows; what Python's batches take beside slices of
an array in memory; and the memory of a plain copy.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from gitdata.api import Repo
from gitdata.commands import extend, view
from gitdata.commands.init import init
from gitdata.commands.intake import Request
from gitdata.commands.pieces import pieces_of
from gitdata.commands.union import union_parts
from gitdata.data.formats import hdf5view

FIELDS = 249  # of float32, and one output: a row has 1 kB


MEASURE = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def milliseconds(action: Callable[[], object]) -> tuple[float, float]:
    """By the clock on the wall, and of the processor alone: what other work on the machine does not change."""
    started, began = time.perf_counter(), time.process_time()
    action()
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - began)


def grown(root: Path, extensions: int, rows: int) -> Repo:
    """A repository with a dataset of so many extensions, of so many rows each."""
    clone = root / "clone"
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    repo, generator = Repo(clone), np.random.default_rng(0)
    init(repo)
    for number in range(extensions):
        path = root / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["x"] = generator.standard_normal((rows, FIELDS), dtype="f4")
            file["y"] = generator.standard_normal(rows, dtype="f4")
        make = extend.add if number == 0 else extend.extend
        make(repo, Request("big", [path], inputs=("x",), outputs=("y",)))
        path.unlink()
    return Repo(clone)


def read(file: h5py.File) -> None:
    with file:
        datasets = [file["x"], file["y"]]  # held: HDF5 closes the sources of a virtual data set with it
        for dataset in datasets:
            dataset[...]


def memory_of_a_copy(repo: Repo, target: Path) -> float:
    """MB of memory at most that `gitdata checkout --union --copy` takes.

    It is started by a process that is small: what Linux counts for a child begins with what its parent held.
    """
    command = [sys.executable, "-P", "-m", "gitdata", "checkout", "big", "--union", str(target), "--copy"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], cwd=repo.top, check=True, capture_output=True, text=True
    )
    return float(done.stdout.splitlines()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extensions", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        repo = grown(root, options.extensions, options.megabytes * 1000 // options.extensions)
        chain = repo.work_tree_snapshot().chain("big")
        parts = union_parts(repo, chain, chain.live, "train")
        virtual, plain = root / "virtual.h5", root / "plain.h5"
        view.union(repo, "big", plain, ["train"], copy=True)
        found: dict[str, list[tuple[float, float]]] = {}

        def note(name: str, action: Callable[[], object]) -> None:
            found.setdefault(name, []).append(milliseconds(action))

        pieces = pieces_of(repo, parts)
        names = {piece.path: os.path.relpath(piece.path, root) for piece in pieces}
        for _ in range(options.rounds):
            virtual.unlink(missing_ok=True)
            note("whole", lambda: view.union(repo, "big", virtual, ["train"]))
            note("verify", lambda: pieces_of(repo, parts))
            note("look inside", lambda: hdf5view.obstacle(pieces))
            mark = hdf5view.mark_of(virtual)
            assert mark is not None
            note("write", lambda mark=mark: hdf5view.write(root / "again.h5", {"": pieces}, names, mark))
            note("open_union", lambda: hdf5view.open_union(virtual).close())
        read(h5py.File(plain, "r"))  # the first to ask for so much memory waits for the kernel to find it
        for _ in range(options.rounds):
            note("read virtual", lambda: read(hdf5view.open_union(virtual)))
            note("read plain", lambda: read(h5py.File(plain, "r")))
        split = Repo(repo.top).dataset("big")["train"]
        note("first batch", lambda: next(split.batches(256)))
        array = h5py.File(plain)["x"][...]
        for _ in range(options.rounds):
            note("batches", lambda: [batch["x"].sum() for batch in split.batches(256, fields=["x"])])
            note("slices", lambda: [array[at : at + 256].sum() for at in range(0, len(array), 256)])
        wall, processor = (
            {name: statistics.median(pair[which] for pair in pairs) for name, pairs in found.items()}
            for which in (0, 1)
        )
        machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
        size = f"{options.extensions} extensions, {options.megabytes} MB"
        print(f"Python {platform.python_version()}, {machine}, {size}, medians of {options.rounds} rounds.\n")
        print("| measure | ms | ms of the processor |\n|---|---|---|")
        for name in found:
            print(f"| {name} | {wall[name]:.1f} | {processor[name]:.1f} |")
        print()
        for title, own, other in (
            ("speed of reading a view / one contiguous file", "read plain", "read virtual"),
            ("time of batches / slices of an array in memory", "batches", "slices"),
        ):
            print(f"{title}: {wall[own] / wall[other]:.2f}, of the processor {processor[own] / processor[other]:.2f}")
        print(f"memory of a plain copy: {memory_of_a_copy(repo, root / 'copy.h5'):.0f} MB")


if __name__ == "__main__":
    main()
