"""The engine's figures, side by side in one run: `python tests/benchmarks/engine.py [--rounds N]`.

- *steps*: the paper's case (400 rows, 9 inputs, 226 neurons, 200 epochs) by the loop, and by a `lax.scan` in plain JAX
  written for this one network; where torch is installed (`pip install torch==2.13.0`), by a plain PyTorch loop as well.
- *process*: `gitdata train` on a 400-row extension with a warm cache, and a bare import of JAX and Flax NNX with one
  operation; where torch is installed, a PyTorch script that reads the same rows and takes as many steps.
- *programs*: how many are compiled for a hundred extensions of a hundred sizes.

Ratios count, since machines differ; prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from chains import BARE, GITDATA, call, forget, repository
from turns import Taken, load, paired, row

ROWS, INPUTS, OUTPUTS, EPOCHS, BATCH = 400, 9, 2, 200, 32
WIDTHS = (96, 64, 64)  # with the outputs 226 neurons
HAS_TORCH = importlib.util.find_spec("torch") is not None
# What a person would write for the extension: the file, the network, as many steps as `finetune` takes of them.
SCRIPT = """
import csv, sys, torch
torch.set_num_threads(1)
rows = list(csv.DictReader(open(sys.argv[1])))[:384]
names = ("scenario", "dir")
kinds = [sorted({row[name] for row in rows}) for name in names]
x = torch.tensor([
    [float(row[name]) for name in ("t1", "t2", "t3")]
    + [float(row[name] == kind) for name, own in zip(names, kinds) for kind in own]
    for row in rows
])
y = torch.tensor([[float(row["W_max"]), float(row["P_peak"])] for row in rows]).log10()
x, y = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
sizes = (x.shape[1], 96, 64, 64, 2)
layers = [m for a, b in zip(sizes, sizes[1:]) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
model = torch.nn.Sequential(*layers[:-1])
adam = torch.optim.Adam(model.parameters(), lr=3e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 2400)
for _ in range(200):
    for own in torch.randperm(len(x)).split(32):
        adam.zero_grad()
        torch.nn.functional.l1_loss(model(x[own]), y[own]).backward()
        adam.step()
        decay.step()
torch.save(model.state_dict(), sys.argv[2])
"""


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


def by_torch(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)  # the faster way with so small a network
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


def process(root: Path, rounds: int) -> list[Taken]:
    """`gitdata train` on an extension of 400 rows, the bare import, and the PyTorch script where it can run."""
    from gitdata.automation.demo import DECLARATION, SOURCE

    repo = repository(root / "process")
    header, *lines = SOURCE.read_text().splitlines()
    for name, rows in (("base", lines[:600]), ("more", lines[600:1000])):
        (root / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    declaration = DECLARATION.replace('method = ["finetune", "rehearse", "union"]', 'method = ["finetune"]')
    (repo / "models" / "lattice.toml").write_text(declaration)
    call(*GITDATA, "add", "lattice", str(root / "base.csv"), "--test", "0.2", "-m", "base", cwd=repo)
    call("git", "add", "--all", cwd=repo)
    call("git", "commit", "--quiet", "-m", "model", cwd=repo)
    call(*GITDATA, "train", "lattice", cwd=repo)
    call(*GITDATA, "extend", "lattice", str(root / "more.csv"), "-m", "more", cwd=repo)
    kept = call("git", "rev-parse", "gitdata/models", cwd=repo).strip()

    def train() -> None:
        forget(repo, kept)
        call(*GITDATA, "train", "lattice", cwd=repo)

    def script() -> None:
        call(sys.executable, "-c", SCRIPT, str(root / "more.csv"), str(root / "model.pt"), cwd=repo)

    beside: list[Callable[[], object]] = [lambda: call(sys.executable, "-c", BARE, cwd=repo)]
    return paired(train, *beside, *([script] if HAS_TORCH else []), rounds=rounds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()
    from gitdata.commands.engine import compile_cache
    from gitdata.training.environment import prepare

    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {load()}; seconds (of processors).\n")
    print("| measure | gitdata | beside it | ratio (target) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        took, bare, *script = process(Path(folder), chosen.rounds)
    print(row("`gitdata train`, 400 rows / bare import", took, bare, "≤ 2.5"))
    for plain in script:
        print(row("the same / a PyTorch script", took, plain, "≤ 1"))
    prepare(compile_cache())
    x, y = the_papers_rows()
    plain_loop = [by_torch(x, y)] if HAS_TORCH else []
    ours, scan, *plain = paired(by_the_loop(x, y), by_hand(x, y), *plain_loop, rounds=chosen.rounds)
    print(row("steps of the paper's case / hand-written scan", ours, scan, "≤ 1.1"))
    for each in plain:
        print(row("the same / a plain PyTorch loop", ours, each, "≤ 0.167"))
    print(f"| programs for 100 extensions of 100 sizes | {programs()} | – | (≤ 2) |\n\nAfterwards: {load()}.")


if __name__ == "__main__":
    main()
