"""Storing and verifying, side by side in one run: `python tests/benchmarks/storage.py [--megabytes N] [--rounds N]`.

`gitdata extend` of a large HDF5 file (rows of 1 kB) beside `dvc add` and `git lfs` of the same file, with and without
flushing to the disk, and its memory; `gitdata verify --deep` beside `sha256sum`; what the hooks of a clone that
retrains add to a commit and a checkout. `dvc`, `git-lfs` and `sha256sum` are those on the PATH; one that is missing is
left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

GITDATA = [sys.executable, "-P", "-m", "gitdata"]
WITHOUT_FLUSH = (
    "from gitdata import durable; durable.Disk.sync_file = lambda self, file: file.flush(); "
    "durable.Disk.sync_folder = lambda self, folder: None; from gitdata.cli import main; import sys; main(sys.argv[1:])"
)
FIELDS = 249  # of float32, and one output: a row has 1 kB


def measure(command: list[str], cwd: Path) -> tuple[float, float]:
    """(seconds, MB of memory at most) of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} failed: {said}")
    return seconds, usage.ru_maxrss / 1024


def write(path: Path, megabytes: int) -> None:
    import h5py
    import numpy as np

    generator, block = np.random.default_rng(0), 10_000
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (megabytes * 1000, FIELDS), "f4")
        y = file.create_dataset("y", (megabytes * 1000,), "f4")
        for start in range(0, megabytes * 1000, block):
            stop = min(start + block, megabytes * 1000)
            x[start:stop] = generator.standard_normal((stop - start, FIELDS), dtype="f4")
            y[start:stop] = generator.standard_normal(stop - start, dtype="f4")


def repository(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for command in (["init", "--quiet"], ["config", "user.name", "b"], ["config", "user.email", "b@example.invalid"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def extend(root: Path, file: Path, program: list[str]) -> tuple[float, float]:
    clone = repository(root / "gitdata")
    measure([*GITDATA, "init"], clone)
    return measure([*program, "add", "big", str(file)], clone)


def dvc_add(root: Path, file: Path) -> tuple[float, float]:
    clone = repository(root / "dvc")
    measure(["dvc", "init", "--quiet"], clone)
    shutil.copyfile(file, clone / file.name)
    os.sync()
    return measure(["dvc", "add", "--quiet", file.name], clone)


def lfs_add(root: Path, file: Path) -> tuple[float, float]:
    clone = repository(root / "lfs")
    measure(["git", "lfs", "install", "--local"], clone)
    measure(["git", "lfs", "track", "*.h5"], clone)
    shutil.copyfile(file, clone / file.name)
    os.sync()
    return measure(["git", "add", file.name], clone)


def verify(root: Path, file: Path) -> tuple[float, float]:
    return measure([*GITDATA, "verify", "--deep"], root / "gitdata")


def sha256sum(root: Path, file: Path) -> tuple[float, float]:
    return measure(["sha256sum", str(file)], root)


def hooks(root: Path, rounds: int) -> list[str]:
    """A commit and a checkout, in a clone that retrains and in one without hooks."""
    rows = []
    places = {}
    for name in ("plain", "train"):
        clone = places[name] = repository(root / name)
        measure(["git", "commit", "--quiet", "--allow-empty", "-m", "one"], clone)
        measure(["git", "branch", "side"], clone)
        if name == "train":
            measure([*GITDATA, "init"], clone)
            measure([*GITDATA, "install", "--train"], clone)
        else:
            shutil.rmtree(clone / ".git" / "hooks", ignore_errors=True)
    for title, command in (
        ("a commit", ["git", "commit", "--quiet", "--allow-empty", "-m", "more"]),
        ("a checkout of a file", ["git", "checkout", "--quiet", "HEAD", "--", "."]),
    ):
        times: dict[str, list[float]] = {"plain": [], "train": []}
        for _ in range(rounds):
            for name, clone in places.items():
                if title != "a commit" and not (clone / "file").exists():
                    (clone / "file").write_text("x")
                    measure(["git", "add", "file"], clone)
                    measure(["git", "commit", "--quiet", "-m", "file"], clone)
                times[name].append(measure(command, clone)[0])
        plain, train = (1000 * statistics.median(times[name]) for name in ("plain", "train"))
        difference = f"+{train - plain:.0f} ms"
        rows.append(
            f"| {title}, in a clone that retrains / without hooks | {train:.0f} ms | {plain:.0f} ms | {difference} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "big.h5"
        write(file, options.megabytes)
        flushing, plain = GITDATA, [sys.executable, "-P", "-c", WITHOUT_FLUSH]
        subjects: dict[str, Callable[[], tuple[float, float]]] = {
            "gitdata": lambda: extend(root, file, flushing),
            "gitdata, not flushed": lambda: extend(root, file, plain),
        }
        if shutil.which("dvc"):
            subjects["dvc add"] = lambda: dvc_add(root, file)
        if shutil.which("git-lfs"):
            subjects["git lfs"] = lambda: lfs_add(root, file)
        subjects["verify --deep"] = lambda: verify(root, file)
        subjects["sha256sum"] = lambda: sha256sum(root, file)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        for _ in range(options.rounds):
            for name, subject in subjects.items():
                found[name].append(subject())
        seconds = {name: statistics.median(s for s, _ in pairs) for name, pairs in found.items()}
        memory = {name: max(m for _, m in pairs) for name, pairs in found.items()}
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
              f"a file of {options.megabytes} MB, medians of {options.rounds} rounds.\n")  # fmt: skip
        print("| measure | gitdata | beside it | ratio |\n|---|---|---|---|")
        for other in ("dvc add", "git lfs"):
            for own in ("gitdata", "gitdata, not flushed"):
                if other in seconds:
                    ratio = seconds[own] / seconds[other]
                    title = "`gitdata extend`" + (", not flushed" if "not" in own else "")
                    print(f"| {title} / `{other}` | {seconds[own]:.2f} s | {seconds[other]:.2f} s | {ratio:.2f} |")
        ratio = seconds["sha256sum"] / seconds["verify --deep"]
        print(f"| rate of `gitdata verify --deep` / `sha256sum` | {seconds['verify --deep']:.2f} s "
              f"| {seconds['sha256sum']:.2f} s | {ratio:.2f} |")  # fmt: skip
        others = ", ".join(f"{name} {memory[name]:.0f} MB" for name in ("dvc add", "git lfs") if name in memory)
        print(f"| memory of `gitdata extend` | {memory['gitdata']:.0f} MB | {others} | |")
        print("\n".join(hooks(root, 5 * options.rounds)))


if __name__ == "__main__":
    main()
