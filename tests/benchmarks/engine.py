"""The engine's figures, side by side in one run: `python tests/benchmarks/engine.py [--rounds N] [--gigabytes G]`.

- *steps*: the paper's case (400 rows, 9 inputs, 226 neurons, 200 epochs) by the loop, and by a `lax.scan` in plain JAX
  written for this one network; where torch is installed (`pip install torch==2.13.0`), by a plain PyTorch loop as well.
- *process*: `gitdata train` on a 400-row extension with a warm cache, and a bare import of JAX and Flax NNX with one
  operation.
- *programs*: how many are compiled for a hundred extensions of a hundred sizes.
- *streaming*: a chain of HDF5 extensions in memory and streamed: rows a second, and the most memory that was taken.

Ratios count, since machines differ; prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

GITDATA = [sys.executable, "-P", "-m", "gitdata"]
ROWS, INPUTS, OUTPUTS, EPOCHS, BATCH = 400, 9, 2, 200, 32
WIDTHS = (96, 64, 64)  # with the outputs 226 neurons
BARE = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import jax, flax.nnx
(jax.numpy.ones(3) + 1).block_until_ready()
"""
MODEL = """[data]
dataset = "d"
outputs = ["y"]
[network]
layers = [{ dense = 128 }, "relu", { dense = "outputs" }]
[training]
epochs = EPOCHS
batch_size = 256
"""


def paired(first: Callable[[], object], *others: Callable[[], object], rounds: int) -> list[float]:
    """Medians of the seconds of measures taken in turn, after one of each that does not count."""
    measures = (first, *others)
    found: list[list[float]] = [[] for _ in measures]
    for turn in range(rounds + 1):
        for place, measure in enumerate(measures):
            started = time.perf_counter()
            measure()
            if turn:
                found[place].append(time.perf_counter() - started)
    return [statistics.median(own) for own in found]


def the_papers_rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return x, np.stack([np.sin(x).sum(axis=1), (x**2).mean(axis=1)], axis=1).astype(np.float32)


def batches() -> tuple[np.ndarray, np.ndarray]:
    """Row numbers and masks of all steps, as the loop draws them."""
    steps, generator = -(-ROWS // BATCH), np.random.default_rng(0)
    order = np.zeros((EPOCHS, steps * BATCH), np.int32)
    for epoch in range(EPOCHS):
        order[epoch, :ROWS] = generator.permutation(ROWS)
    masks = np.broadcast_to(np.arange(steps * BATCH) < ROWS, order.shape).astype(np.float32)
    return order.reshape(-1, BATCH), masks.reshape(-1, BATCH)


def by_hand(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """The whole training in one jitted scan, written for this network."""
    import jax
    import jax.numpy as jnp
    import optax

    sizes = (INPUTS, *WIDTHS, OUTPUTS)
    steps = EPOCHS * -(-ROWS // BATCH)
    adam = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def loss(params, x, y, mask):
        for place, (w, b) in enumerate(params):
            x = x @ w + b
            x = jax.nn.relu(x) if place < len(WIDTHS) else x
        return jnp.sum(mask * jnp.mean(jnp.abs(x - y), axis=-1)) / jnp.sum(mask)

    @jax.jit
    def run(params, moments, x, y, rows, masks):
        def step(carry, batch):
            (params, moments), (rows, mask) = carry, batch
            value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows], mask)
            updates, moments = adam.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), moments), value

        return jax.lax.scan(step, (params, moments), (rows, masks))

    def train():
        generator = np.random.default_rng(0)
        params = [
            (jnp.asarray(generator.normal(0, a**-0.5, (a, b)), jnp.float32), jnp.zeros(b)) for a, b in pairwise(sizes)
        ]
        (params, _), losses = run(params, adam.init(params), x, y, *batches())
        return np.asarray(losses), jax.block_until_ready(params)

    return train


def by_the_loop(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    from gitdata.training import loop
    from gitdata.training.architecture import notation
    from gitdata.training.architecture.plan import Input, Output, Plan
    from gitdata.training.settings import Optimizer, Schedule

    layers: list[object] = []
    for width in WIDTHS:
        layers += [{"dense": width}, "relu"]
    layers.append({"dense": "outputs"})
    plan = Plan((Input("x", (INPUTS,)),), (Output("y", OUTPUTS),), notation.read(layers, {}))
    adam = Optimizer(learning_rate=3e-3)
    run = loop.Run(plan, "mae", adam, Schedule(name="cosine"), BATCH, EPOCHS * -(-ROWS // BATCH), 0)
    state = loop.start(plan, adam, 0)
    return lambda: np.asarray(loop.train(run, state, x, y).weights)


def by_torch(x: np.ndarray, y: np.ndarray) -> Callable[[], object] | None:
    try:
        import torch
    except ImportError:
        return None
    sizes = (INPUTS, *WIDTHS, OUTPUTS)

    def train():
        layers = [m for a, b in pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
        model, inputs, targets = torch.nn.Sequential(*layers[:-1]), torch.from_numpy(x), torch.from_numpy(y)
        adam = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(EPOCHS):
            for rows in torch.randperm(ROWS).split(BATCH):
                adam.zero_grad()
                torch.nn.functional.l1_loss(model(inputs[rows]), targets[rows]).backward()
                adam.step()
        return model

    return train


def programs() -> int:
    """Programs that a hundred extensions of a hundred sizes need."""
    from gitdata.training import loop
    from gitdata.training.architecture import notation
    from gitdata.training.architecture.plan import Input, Output, Plan
    from gitdata.training.settings import Optimizer, Schedule

    x, y = the_papers_rows()
    plan = Plan(
        (Input("x", (INPUTS,)),), (Output("y", OUTPUTS),), notation.read([{"dense": 5}, {"dense": "outputs"}], {})
    )
    state, adam = loop.start(plan, Optimizer(), 0), Optimizer()
    for rows in range(1, 101):
        loop.train(loop.Run(plan, "mae", adam, Schedule(), BATCH, rows, 0), state, x[:rows], y[:rows])
    return int(loop.compiled_chunk(plan, "mae", adam)._cache_size())


def call(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def repository(folder: Path) -> Path:
    folder.mkdir()
    call("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    for key, value in (("user.name", "b"), ("user.email", "b@example.invalid")):
        call("git", "config", key, value, cwd=folder)
    call(*GITDATA, "init", cwd=folder)
    (folder / "models").mkdir()
    return folder


def forget(repo: Path, ledger: str | None) -> None:
    """Let the ledger be what it was, or nothing."""
    change = ["refs/heads/gitdata/models", ledger] if ledger else ["-d", "refs/heads/gitdata/models"]
    call("git", "update-ref", *change, cwd=repo)
    (repo / ".git" / "gitdata" / "ledgers" / "own").unlink(missing_ok=True)


def process(root: Path, rounds: int) -> list[float]:
    """Seconds of `gitdata train` on an extension of 400 rows, and of the bare import."""
    from gitdata.automation.demo import DECLARATION, SOURCE

    repo = repository(root / "process")
    header, *lines = SOURCE.read_text().splitlines()
    for name, rows in (("base", lines[:600]), ("more", lines[600:1000])):
        (root / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    (repo / "models" / "lattice.toml").write_text(DECLARATION)
    call(*GITDATA, "add", "lattice", str(root / "base.csv"), "--test", "0.2", "-m", "base", cwd=repo)
    call("git", "add", "--all", cwd=repo)
    call("git", "commit", "--quiet", "-m", "model", cwd=repo)
    call(*GITDATA, "train", "lattice", cwd=repo)
    call(*GITDATA, "extend", "lattice", str(root / "more.csv"), "-m", "more", cwd=repo)
    kept = call("git", "rev-parse", "gitdata/models", cwd=repo).strip()

    def train() -> None:
        forget(repo, kept)
        call(*GITDATA, "train", "lattice", cwd=repo)

    return paired(train, lambda: call(sys.executable, "-c", BARE, cwd=repo), rounds=rounds)


MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)
epochs = [r for r in map(json.loads, done.stdout.splitlines()) if r["kind"] == "epoch"]
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"peak": peak, "rows_per_second": epochs[-1]["rows_per_second"]}))
"""


def streaming(root: Path, gigabytes: float, features: int = 256) -> tuple[dict[str, float], dict[str, float]]:
    """Rows a second and peak memory of a training in memory, and of one that streams."""
    import h5py

    repo, generator = repository(root / "streaming"), np.random.default_rng(0)
    rows = int(gigabytes * 2**30 / 4 / (4 * features))
    for number in range(4):
        with h5py.File(root / f"{number}.h5", "w") as file:
            x = generator.normal(size=(rows, features)).astype(np.float32)
            file["x"], file["y"] = x, x[:, :8].sum(axis=1)
        verb, more = ("add", ["--validation", "0.001"]) if not number else ("extend", [])
        call(*GITDATA, verb, "d", str(root / f"{number}.h5"), *more, "-m", "rows", cwd=repo)
        (root / f"{number}.h5").unlink()
    (repo / "models" / "m.toml").write_text(MODEL.replace("EPOCHS", "2"))
    call("git", "add", "--all", cwd=repo)
    call("git", "commit", "--quiet", "-m", "model", cwd=repo)
    found = []
    for limit in ("64g", "64m"):
        call("git", "config", "gitdata.trainMemory", limit, cwd=repo)
        command = [sys.executable, "-c", MEASURED, *GITDATA, "train", "m", "--json"]
        found.append(json.loads(call(*command, cwd=repo)))
        forget(repo, None)
    return found[0], found[1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--gigabytes", type=float, default=2.0)
    chosen = options.parse_args()
    from gitdata.commands.engine import prepare_training

    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}.\n")
    print("| measure | gitdata | beside it | ratio (target) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        took, bare = process(Path(folder), chosen.rounds)
        print(f"| `gitdata train`, 400 rows / bare import | {took:.2f} s | {bare:.2f} s | {took / bare:.2f} (≤ 2.5) |")
        held, streamed = streaming(Path(folder), chosen.gigabytes)
        ratio = streamed["rows_per_second"] / held["rows_per_second"]
        print(
            f"| {chosen.gigabytes:g} GB, rows a second, streamed / in memory | {streamed['rows_per_second']:,.0f} "
            f"| {held['rows_per_second']:,.0f} | {ratio:.2f} (≥ 0.8) |"
        )
        print(f"| the same, peak memory | {streamed['peak'] / 1e9:.2f} GB | {held['peak'] / 1e9:.2f} GB | – |")
    prepare_training()
    x, y = the_papers_rows()
    torch = by_torch(x, y)
    ours, scan, *plain = paired(by_the_loop(x, y), by_hand(x, y), *([torch] if torch else []), rounds=chosen.rounds)
    print(
        f"| steps of the paper's case / hand-written scan | {ours:.3f} s | {scan:.3f} s | {ours / scan:.2f} (≤ 1.1) |"
    )
    for seconds in plain:
        print(f"| the same / plain PyTorch loop | {ours:.3f} s | {seconds:.3f} s | {ours / seconds:.3f} (≤ 0.167) |")
    print(f"| programs for 100 extensions of 100 sizes | {programs()} | – | (≤ 2) |")


if __name__ == "__main__":
    main()
