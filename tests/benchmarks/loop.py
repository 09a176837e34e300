"""The loop's figures, side by side in one run: `python tests/benchmarks/loop.py [--rounds N] [--dvc PATH]`.

It plays the demo, then measures on what it left: `gitdata status` beside `dvc status`, pushes with and without hooks,
the server's part of a push that triggers, and push to champion with where the time goes. Ratios count, since
machines differ; prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
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

from gitdata.automation.jobs import Spool
from gitdata.automation.watch import wait_until_idle

GITDATA = [sys.executable, "-P", "-m", "gitdata"]


def seconds(command: list[str], cwd: Path, stdin: str | None = None, **env: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, input=stdin, text=True, capture_output=True, check=True, env={**os.environ, **env})
    return time.perf_counter() - started


def paired(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Medians of two measures taken in turn, after one of each that does not count."""
    first(), second()
    pairs = [(first(), second()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def without_hooks(root: Path) -> Path:
    """A clone and a server of the same content, with no hook on either side."""
    server, clone = root / "plain.git", root / "plain"
    subprocess.run(["git", "clone", "--quiet", "--bare", root / "demo" / "server.git", server], check=True)
    subprocess.run(["git", "clone", "--quiet", server, clone], check=True)
    for key, value in (("user.name", "b"), ("user.email", "b@example.invalid")):
        subprocess.run(["git", "config", key, value], cwd=clone, check=True)
    for hooks in (server / "hooks", clone / ".git" / "hooks"):
        shutil.rmtree(hooks, ignore_errors=True)
    return clone


def push_of_nothing(clone: Path) -> float:
    return seconds(["git", "push", "--quiet", "origin", "main"], clone)


def push_without_data(clone: Path) -> float:
    subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", "notes"], cwd=clone, check=True)
    return seconds(["git", "push", "--quiet", "origin", "main"], clone)


def triggering_hook(server: Path) -> float:
    """The server's part of a push that triggers: post-receive itself, from its start to its return."""
    head = subprocess.run(
        ["git", "rev-parse", "main"], cwd=server, capture_output=True, text=True, check=True
    ).stdout.strip()
    (server / "gitdata" / "settled").unlink(missing_ok=True)
    took = seconds(
        [str(server / "hooks" / "post-receive")], server, f"{'0' * 40} {head} refs/heads/main\n", GIT_DIR="."
    )
    assert wait_until_idle(Spool(server / "gitdata"), 60)
    return took


STAGES = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
marks = {}
def timed(module, name, label):
    inner = getattr(module, name)
    def outer(*args, **kwargs):
        began = time.perf_counter()
        try:
            return inner(*args, **kwargs)
        finally:
            marks[label] = marks.get(label, 0.0) + time.perf_counter() - began
    setattr(module, name, outer)
from gitdata.commands import train as command
from gitdata.repo import Repo
timed(command, "_prepare", "reading git, checking the declaration")
timed(command, "prepare_training", "setting up JAX")
import jax, flax.nnx, optax
from gitdata.training import methods
marks["importing JAX, Flax, Optax"] = time.perf_counter() - start
timed(command, "_climb", "climbing the rungs")
timed(command, "_store", "storing and uploading the package")
timed(command, "record_version", "gate and publishing")
began = time.perf_counter()
command.train(Repo("."), "lattice", command.Options(force=True))
marks["in the process"] = time.perf_counter() - start
print(json.dumps(marks))
"""


def where_the_time_goes(server: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", STAGES], cwd=server, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--dvc", default=shutil.which("dvc"))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        played = subprocess.run(
            [*GITDATA, "demo", "demo", "--json"], cwd=root, capture_output=True, text=True, check=True
        )
        steps = [json.loads(line) for line in played.stdout.splitlines()][:-1]
        server, clone = root / "demo" / "server.git", root / "demo" / "clone"
        plain = without_hooks(root)
        status = paired(
            lambda: seconds([*GITDATA, "status"], clone), lambda: seconds([chosen.dvc, "status"], clone), chosen.rounds
        )
        nothing = paired(lambda: push_of_nothing(clone), lambda: push_of_nothing(plain), chosen.rounds)
        no_data = paired(lambda: push_without_data(clone), lambda: push_without_data(plain), chosen.rounds)
        hook = statistics.median(triggering_hook(server) for _ in range(chosen.rounds))
        stages = where_the_time_goes(server)
    champion = [step["seconds"] for step in steps[1:]]
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, ",
        end="",
    )
    print(f"medians of {chosen.rounds} rounds taken in turn.\n")
    print("| measure | gitdata | beside it | target |\n|---|---|---|---|")
    print(
        f"| `gitdata status` / `dvc status`, 6 extensions, 1 model | {status[0] * 1e3:.0f} ms "
        f"| {status[1] * 1e3:.0f} ms | ratio {status[0] / status[1]:.2f} (≤ 0.4) |"
    )
    for label, (own, other) in (("up-to-date push", nothing), ("push of a commit without data", no_data)):
        print(
            f"| {label}, with / without hooks | {own * 1e3:.0f} ms | {other * 1e3:.0f} ms "
            f"| {(own - other) * 1e3:+.0f} ms (≤ 30) |"
        )
    print(f"| server part of a triggering push (post-receive) | {hook * 1e3:.0f} ms | – | ≤ 150 ms |")
    print(
        f"| push to champion, lattice extension, median of {len(champion)} (slowest) "
        f"| {statistics.median(champion):.1f} s ({max(champion):.1f} s) | – | ≤ 8 s |"
    )
    print("\nWhere the time of a training process goes:\n\n| stage | seconds |\n|---|---|")
    print("\n".join(f"| {label} | {took:.2f} |" for label, took in stages.items()))


if __name__ == "__main__":
    main()
