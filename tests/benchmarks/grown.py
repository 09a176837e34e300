"""A file that grows, side by side in one run: `python tests/benchmarks/grown.py [--megabytes N] [--versions N]`.

An HDF5 file with rows of 1 kB grows in equal steps. Each version goes to `gitdata extend --grown`, `dvc add` and
`git lfs` in turn, and is pushed: seconds and memory of taking it in, bytes stored in the clone and on the remote.
`dvc` and `git-lfs` are those on the PATH; one that is missing is left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from storage import FIELDS, GITDATA, measure, repository

ROWS = 1000  # a megabyte


def grow(path: Path, megabytes: int, seed: int) -> None:
    """Append rows, as a simulation that goes on does."""
    import h5py
    import numpy as np

    generator = np.random.default_rng(seed)
    with h5py.File(path, "a") as file:
        if "x" not in file:
            file.create_dataset("x", (0, FIELDS), "f4", maxshape=(None, FIELDS), chunks=(256, FIELDS))
            file.create_dataset("y", (0,), "f4", maxshape=(None,), chunks=(16384,))
        x, y = file["x"], file["y"]
        for _ in range(megabytes):
            start = len(y)
            x.resize(start + ROWS, axis=0)
            y.resize(start + ROWS, axis=0)
            x[start:] = generator.standard_normal((ROWS, FIELDS), dtype="f4")
            y[start:] = generator.standard_normal(ROWS, dtype="f4")


@dataclass
class Subject:
    """A tool with its clone and its remote, and what each version cost it."""

    name: str
    clone: Path
    remote: Path
    stored: tuple[Path, ...]
    pushed: tuple[Path, ...]
    times: list[tuple[float, float]] = field(default_factory=list)

    def take(self, file: Path, version: int) -> None:
        if self.name == "gitdata":
            command = ["add", "big", str(file)] if version == 0 else ["extend", "big", "--grown", str(file)]
            self.times.append(measure([*GITDATA, *command], self.clone))
        else:
            shutil.copyfile(file, self.clone / f"new-{file.name}")
            (self.clone / f"new-{file.name}").replace(self.clone / file.name)
            os.sync()
            command = ["dvc", "add", "--quiet"] if self.name == "dvc add" else ["git", "add"]
            self.times.append(measure([*command, file.name], self.clone))
        measure(["git", "add", "--all"], self.clone)
        measure(["git", "commit", "--quiet", "-m", f"version {version}"], self.clone)
        if self.name == "dvc add":
            measure(["dvc", "push", "--quiet"], self.clone)
        measure(["git", "push", "--quiet", "origin", "HEAD:main"], self.clone)


def subject(name: str, root: Path) -> Subject:
    clone, remote = repository(root / name.replace(" ", "-")), root / f"{name.replace(' ', '-')}.git"
    measure(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(remote)], root)
    measure(["git", "remote", "add", "origin", str(remote)], clone)
    if name == "gitdata":
        measure([*GITDATA, "init"], clone)
        return Subject(name, clone, remote, (clone / ".dvc" / "cache",), (remote / "gitdata" / "remote",))
    if name == "dvc add":
        measure(["dvc", "init", "--quiet"], clone)
        measure(["dvc", "remote", "add", "--quiet", "-d", "store", str(root / "store")], clone)
        return Subject(name, clone, remote, (clone / ".dvc" / "cache",), (root / "store",))
    measure(["git", "lfs", "install", "--local"], clone)
    measure(["git", "lfs", "track", "*.h5"], clone)
    return Subject(name, clone, remote, (clone / ".git" / "lfs",), (remote / "lfs",))


def size(folders: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500, help="of the last version")
    parser.add_argument("--versions", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, file = Path(folder), Path(folder) / "big.h5"
        others = [name for name, program in (("dvc add", "dvc"), ("git lfs", "git-lfs")) if shutil.which(program)]
        subjects = [subject(name, root) for name in ("gitdata", *others)]
        for version in range(options.versions):
            grow(file, options.megabytes // options.versions, version)
            for each in subjects:
                each.take(file, version)
        last = file.stat().st_size
        print(
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
            f"{options.versions} versions up to {last / 1e6:.0f} MB, rows of 1 kB.\n"
        )
        print("| | stored / last version | pushed / last version | last version in | median of versions | memory |")
        print("|---|---|---|---|---|---|")
        for each in subjects:
            seconds, memory = [s for s, _ in each.times], max(m for _, m in each.times)
            print(
                f"| {each.name} | {size(each.stored) / last:.3f} × | {size(each.pushed) / last:.3f} × "
                f"| {seconds[-1]:.2f} s | {statistics.median(seconds):.2f} s | {memory:.0f} MB |"
            )
        own = [s for s, _ in subjects[0].times]
        for each in subjects[1:]:
            ratios = [mine / theirs for mine, (theirs, _) in zip(own[1:], each.times[1:], strict=True)]
            print(
                f"\n`gitdata extend --grown` / `{each.name}`: last version {ratios[-1]:.2f}, "
                f"median {statistics.median(ratios):.2f}, all versions {sum(own) / sum(s for s, _ in each.times):.2f}"
            )
        subprocess.run(["git", "-C", str(subjects[0].clone), "fsck", "--no-progress"], check=True, capture_output=True)


if __name__ == "__main__":
    main()
