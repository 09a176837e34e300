"""What a strict server takes to look at a push: `python tests/benchmarks/strict.py [--held N] [--rounds N]`.

The hook pre-receive itself is timed, from its start to its return, as git would start it: what is pushed is in a folder
of objects of its own, and no ref moves. Prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import thousands
from turns import load, paired

from gitdata.automation import hooks
from gitdata.data.pointer import version_key
from gitdata.repo import Repo

MANY = 1_000  # pointers of a large push


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(clone: Path, message: str, paths: Sequence[Path] = ()) -> str:
    for start in range(0, len(paths), 500):
        git(clone, "add", "--force", "--", *map(str, paths[start : start + 500]))
    git(clone, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", message)
    return git(clone, "rev-parse", "HEAD")


def prepare(root: Path, held: int) -> tuple[Path, Path, dict[str, tuple[str, str]]]:
    """A strict server that holds `held` extensions, a clone, and what is pushed: commits before and after, by name."""
    repo = thousands.make(root, held + 1 + MANY, model=False)
    clone, server = repo.top, root / "server.git"
    shutil.copytree(clone / ".dvc" / "cache" / "files", server / "gitdata" / "remote" / "files")
    pointers = sorted((clone / "datasets").glob("*/*.dvc"), key=lambda p: version_key(p.stem.rpartition("-")[0]))
    git(clone, "rm", "--quiet", "-r", "--cached", "datasets")
    git(clone, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--amend", "--allow-empty", "-m", "none")
    before = commit(clone, "held", pointers[:held])
    git(clone, "push", "--quiet", "--no-verify", str(server), f"{before}:refs/heads/main")
    hooks.install(Repo(server), server=True, strict=True)
    git(clone, "gc", "--quiet")
    words = commit(clone, "words")
    one = commit(clone, "one", pointers[held : held + 1])
    many = commit(clone, "many", pointers[held + 1 :])
    git(clone, "rm", "--quiet", "--cached", str(pointers[0]))
    interior = commit(clone, "interior")
    updates = {"nothing of ours": words, "one extension": one, f"{MANY:,} extensions": many, "a deletion": interior}
    return server, clone, {name: (before, after) for name, after in updates.items()}


def hook(server: Path, clone: Path, update: tuple[str, str]) -> Callable[[], int]:
    """Look at a push of a commit to `main`; the hook's exit status."""
    where = {"GIT_DIR": ".", "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(clone / ".git" / "objects")}
    line = f"{update[0]} {update[1]} refs/heads/main\n"

    def look() -> int:
        command = [str(server / "hooks" / "pre-receive")]
        done = subprocess.run(
            command, cwd=server, input=line, text=True, capture_output=True, env=os.environ | where, check=False
        )
        return done.returncode

    return look


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--held", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        server, clone, updates = prepare(Path(folder), options.held)
        looks = {name: hook(server, clone, update) for name, update in updates.items()}
        for name, look in looks.items():
            assert look() == int(name == "a deletion"), name
        python = [sys.executable, "-P", "-m", "gitdata", "--version"]
        start = lambda: subprocess.run(python, check=True, capture_output=True)  # noqa: E731 - one of the measures
        took = paired(start, *looks.values(), rounds=options.rounds)
        print(
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {options.held:,} extensions held, medians of "
            f"{options.rounds} rounds taken in turn; {load()}; {time.perf_counter() - began:.0f} s in all.\n"
        )
        print("| the hook, for a push of | by the clock | of processors | over `gitdata --version` |")
        print("|---|---|---|---|")
        for name, own in zip(looks, took[1:], strict=True):
            ratio = f"{own.wall / took[0].wall:.2f}"
            print(f"| {name} | {own.wall * 1e3:.0f} ms | {own.processor * 1e3:.0f} ms | {ratio} |")
        print(f"\n`gitdata --version`, the cost of starting: {took[0].wall * 1e3:.0f} ms.")


if __name__ == "__main__":
    main()
