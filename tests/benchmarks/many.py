"""Very many tiny extensions: `python tests/benchmarks/many.py [--extensions N] [--rounds N] [--dvc-extensions N]`.

Repositories with N, N/2 and N/4 extensions of ten rows, side by side in one run: `gitdata status`, `pending`, `log`
(the closure) as whole processes, with what this clone keeps and without; reading the union, the next `extend`, and a
push of it to a remote that has all the others; `dvc status` beside `gitdata status` where DVC gets done with it.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import thousands

GITDATA = [sys.executable, "-P", "-m", "gitdata"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
IDENTITY = {
    f"GIT_{role}_{field}": "b@example.invalid" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
}
UNION = (
    "from gitdata.repo import Repo; from gitdata.commands.rowsource import RowSource; r = Repo(); "
    f"c = r.snapshot().chain('{thousands.DATASET}'); s = RowSource(r, ('x',), ('y',)); "
    "s.rows(s.parts(c, c.live, 'train'))"
)
READING = {
    "status": [*GITDATA, "status"],
    "pending": [*GITDATA, "pending"],
    "log --json (closure)": [*GITDATA, "log", thousands.DATASET, "--json"],
    "reading the union": [sys.executable, "-P", "-c", UNION],
}


def seconds(command: list[str], clone: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=clone, check=True, env=ENVIRONMENT | IDENTITY, capture_output=True)
    return time.perf_counter() - started


def without_what_is_kept(command: list[str], clone: Path) -> float:
    (clone / ".git" / "gitdata" / "pointers").unlink(missing_ok=True)
    shutil.rmtree(clone / ".git" / "gitdata" / "packs", ignore_errors=True)
    return seconds(command, clone)


def made(root: Path, count: int) -> Path:
    """A clone with `count` extensions, and a remote that has them all."""
    clone = thousands.make(root, count).top
    store = root / "server.git" / "gitdata" / "remote"
    shutil.copytree(clone / ".dvc" / "cache" / "files", store / "files", copy_function=os.link)
    subprocess.run(["git", "push", "--quiet", "--no-verify", "origin", "main"], cwd=clone, check=True)
    return clone


def extending_and_pushing(clone: Path, rounds: int, first: int) -> tuple[float, float]:
    """Medians of one more extension, committed, and of its push."""
    found = []
    for number in range(first, first + rounds + 1):
        file = clone.parent / f"e{number:05}.csv"
        file.write_text(thousands.table(number))
        extended = seconds([*GITDATA, "extend", thousands.DATASET, str(file), "-m", "more"], clone)
        found.append((extended, seconds(["git", "push", "--quiet", "origin", "main"], clone)))
    return statistics.median(a for a, _ in found[1:]), statistics.median(b for _, b in found[1:])


def medians(take: Callable[[], float], rounds: int) -> float:
    take()
    return statistics.median(take() for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extensions", type=int, default=10_000)
    parser.add_argument("--dvc-extensions", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(IDENTITY)
    counts = [options.extensions // 4, options.extensions // 2, options.extensions]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clones = {count: made(root / f"{count}", count) for count in counts}
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
              f"medians of {options.rounds} rounds; load at the beginning {os.getloadavg()[0]:.1f}.\n")  # fmt: skip
        print("| whole process | kept | " + " | ".join(f"{count:,}" for count in counts) + " |")
        print("|---|---|" + "---|" * len(counts))
        for name, command in READING.items():
            for kept, take in (("yes", seconds), ("no", without_what_is_kept)):
                took = [medians(lambda c=c, t=take, o=command: t(o, c), options.rounds) for c in clones.values()]
                print(f"| {name} | {kept} | " + " | ".join(f"{value:.2f} s" for value in took) + " |", flush=True)
        took_both = [extending_and_pushing(clone, options.rounds, 90_000) for clone in clones.values()]
        print("| the next `extend -m` | yes | " + " | ".join(f"{a:.2f} s" for a, _ in took_both) + " |")
        print("| `git push` of it | yes | " + " | ".join(f"{b:.2f} s" for _, b in took_both) + " |")
        small = made(root / "small", options.dvc_extensions)
        ours = medians(lambda: seconds([*GITDATA, "status"], small), options.rounds)
        empty = medians(lambda: seconds([*GITDATA, "--version"], small), options.rounds)
        print(f"\n`gitdata --version`, the cost of starting: {empty:.2f} s.")
        if shutil.which("dvc"):
            theirs = seconds(["dvc", "status"], small)
            count = f"{options.dvc_extensions:,}"
            print(f"With {count} extensions: `gitdata status` {ours:.2f} s, `dvc status` {theirs:.1f} s.")


if __name__ == "__main__":
    main()
