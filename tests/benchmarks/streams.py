"""Streaming beside training in memory: `python tests/benchmarks/streams.py [--gigabytes G] [--held G]`.

A chain of four HDF5 extensions with rows of 1 kB, a network of 128 neurons, batches of 256. Rows a second and the most
memory that a whole `gitdata train` took; `--held`: how much of it is trained in memory, at most. Where torch and grain
are installed (`pip install torch==2.13.0 grain`) their loaders read the same files, shuffled, row by row and without
training: what is compared is reading alone on their side, reading and training on ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from chains import BARE, GITDATA, call, forget, repository
from turns import load

FEATURES, BATCH, FILES = 256, 256, 4
MODEL = """[data]
dataset = "d"
outputs = ["y"]
[network]
layers = [{ dense = 128 }, "relu", { dense = "outputs" }]
[training]
epochs = EPOCHS
batch_size = 256
"""
MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)
lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
rates = [r["rows_per_second"] for r in lines if r["kind"] == "epoch"]
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"peak": peak, "rows_per_second": rates[-1:]}))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The most memory of a process and its children, bytes, and rows a second of the last epoch."""

    peak: float
    rows_per_second: float


def measured(repo: Path, *command: str) -> Measured:
    found = json.loads(call(sys.executable, "-c", MEASURED, *command, cwd=repo))
    return Measured(found["peak"], *(found["rows_per_second"] or [0.0]))


def chain(folder: Path, gigabytes: float, epochs: int) -> Path:
    import h5py

    repo, generator = repository(folder), np.random.default_rng(0)
    rows = int(gigabytes * 2**30 / FILES / (4 * FEATURES))
    for number in range(FILES):
        path = folder.parent / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (rows, FEATURES), np.float32)
            file.create_dataset("y", (rows,), np.float32)
            for first in range(0, rows, 2**18):
                x = generator.standard_normal((min(2**18, rows - first), FEATURES), np.float32)
                file["x"][first : first + len(x)], file["y"][first : first + len(x)] = x, x[:, :8].sum(axis=1)
        verb, more = ("add", ["--validation", "0.001"]) if not number else ("extend", [])
        call(*GITDATA, verb, "d", str(path), *more, "-m", "rows", cwd=repo)
        path.unlink()
    (repo / "models" / "m.toml").write_text(MODEL.replace("EPOCHS", str(epochs)))
    call("git", "add", "--all", cwd=repo)
    call("git", "commit", "--quiet", "-m", "model", cwd=repo)
    return repo


def trained(repo: Path, limit: str) -> Measured:
    """A training with so much memory for rows."""
    forget(repo, None)
    call("git", "config", "gitdata.trainMemory", limit, cwd=repo)
    return measured(repo, *GITDATA, "train", "m", "--json")


class Rows:
    """Rows of some HDF5 files by number, each read when it is asked for; files are opened in the process that reads."""

    def __init__(self, paths: list[Path]) -> None:
        import h5py

        self.paths, self.opened = paths, None
        counts = [len(h5py.File(path, "r")["y"]) for path in paths]
        self.firsts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        import h5py

        if self.opened is None:
            self.opened = [(file["x"], file["y"]) for file in (h5py.File(path, "r") for path in self.paths)]
        place = int(np.searchsorted(self.firsts, number, side="right")) - 1
        x, y = self.opened[place]
        return x[number - self.firsts[place]], y[number - self.firsts[place]]


def rate(batches: Iterable[Any], most: int = 150) -> float:
    """Rows a second of the batches after the first ten."""
    coming = iter(batches)
    for _ in islice(coming, 10):
        pass
    started = time.perf_counter()
    count = sum(1 for _ in islice(coming, most))
    return count * BATCH / (time.perf_counter() - started)


def others(repo: Path) -> dict[str, float]:
    """Rows a second of the loaders that are installed."""
    import h5py

    blobs = (path for path in (repo / ".dvc" / "cache").rglob("*") if path.is_file())
    rows, found = Rows([path for path in blobs if h5py.is_hdf5(path)]), {}
    try:
        import torch

        workers = {"num_workers": os.cpu_count(), "multiprocessing_context": "spawn"}
        found["PyTorch DataLoader"] = rate(torch.utils.data.DataLoader(rows, BATCH, shuffle=True, **workers))
    except ImportError:
        pass
    try:
        import grain

        read = grain.ReadOptions(num_threads=os.cpu_count())
        found["grain"] = rate(grain.MapDataset.source(rows).shuffle(seed=0).batch(BATCH).to_iter_dataset(read))
    except ImportError:
        pass
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=2.0)
    options.add_argument("--held", type=float, default=2.0)
    options.add_argument("--epochs", type=int, default=2)
    chosen = options.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {load()}.\n")
    print("| measure | gitdata | beside it | ratio (target) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        whole = chain(Path(folder) / "whole", chosen.gigabytes, chosen.epochs)
        fits = chosen.held >= chosen.gigabytes
        small = whole if fits else chain(Path(folder) / "small", chosen.held, chosen.epochs)
        streamed, held = trained(whole, "64m"), trained(small, "64g")
        bare = measured(whole, sys.executable, "-c", BARE)
        print(
            f"| {chosen.gigabytes:g} GB, rows a second, streamed / {chosen.held:g} GB in memory "
            f"| {streamed.rows_per_second:,.0f} | {held.rows_per_second:,.0f} "
            f"| {streamed.rows_per_second / held.rows_per_second:.2f} (≥ 0.8) |"
        )
        print(
            f"| the same, peak memory above a bare import of {bare.peak / 1e9:.2f} GB "
            f"| {(streamed.peak - bare.peak) / 1e9:.2f} GB | {(held.peak - bare.peak) / 1e9:.2f} GB | (≤ 1.5 GB) |"
        )
        for name, found in others(whole).items():
            ratio = streamed.rows_per_second / found
            rates = f"{streamed.rows_per_second:,.0f} | {found:,.0f} | {ratio:.1f}"
            print(f"| the same / {name} on the same files, which does not train | {rates} |")
    print(f"\nAfterwards: {load()}.")


if __name__ == "__main__":
    main()
