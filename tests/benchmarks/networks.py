"""An epoch of gitdata beside the same network in a plain Flax loop: `python tests/benchmarks/networks.py [--rounds N]`.

mnist10k with a small convolutional network and gas_drift with a dense one, both as classification, batches of the same
size, in turn. The plain loop is that of Flax's documentation: an `nnx.jit` step for every batch, its rows gathered by
NumPy.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from turns import load, paired, row

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EPOCHS, RATE = 1, 1e-3


@dataclass(frozen=True, slots=True)
class Case:
    """Rows (rows, *shape), one-hot classes, the batch size, and the network: widths of 3 × 3 convolutions, each with
    a pooling of 2 × 2, then of dense layers."""

    name: str
    x: np.ndarray
    y: np.ndarray
    batch_size: int
    convolutions: tuple[int, ...]
    dense: tuple[int, ...]

    @property
    def steps(self) -> int:
        return -(-len(self.x) // self.batch_size)


def mnist() -> Case:
    with np.load(DATA / "mnist10k" / "mnist10k.npz") as file:
        pictures = file["x"].reshape(-1, 28, 28, 1) / np.float32(255)
        digits = np.eye(10, dtype=np.float32)[file["y"]]
    return Case("mnist10k, 2 convolutions", pictures, digits, 128, (16, 32), (64,))


def gas_drift() -> Case:
    parts = [np.load(path) for path in sorted((DATA / "gas_drift").glob("batch*.npz"))]
    x = np.concatenate([part["x"] for part in parts])
    _, gases = np.unique(np.concatenate([part["gas"] for part in parts]), return_inverse=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    return Case("gas_drift, 3 dense layers", x, np.eye(gases.max() + 1, dtype=np.float32)[gases], 64, (), (128, 64))


def by_gitdata(case: Case) -> Callable[[], object]:
    from gitdata.training import loop
    from gitdata.training.architecture import notation
    from gitdata.training.architecture.plan import Input, Output, Plan
    from gitdata.training.losses import Term
    from gitdata.training.settings import Optimizer, Schedule

    layers: list[object] = []
    for width in case.convolutions:
        layers += [{"conv": width}, "relu", {"max_pool": 2}]
    layers += ["flatten"] if case.convolutions else []
    for width in case.dense:
        layers += [{"dense": width}, "relu"]
    layers.append({"dense": "outputs"})
    classes = case.y.shape[1]
    plan = Plan((Input("x", case.x.shape[1:]),), (Output("y", classes),), notation.read(layers, {}))
    adam, terms = Optimizer(learning_rate=RATE), (Term("cross_entropy", classes),)
    run = loop.Run(plan, terms, adam, Schedule(), case.batch_size, EPOCHS * case.steps, 0)
    state, x = loop.start(plan, adam, 0), case.x.reshape(len(case.x), -1)
    return lambda: np.asarray(loop.train(run, state, x, case.y).weights)


def by_flax(case: Case) -> Callable[[], object]:
    import jax
    import optax
    from flax import nnx

    class Plain(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            channels = (case.x.shape[-1], *case.convolutions)
            self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise(channels)])
            side = [size // 2 ** len(case.convolutions) for size in case.x.shape[1:-1]]
            widths = (int(np.prod(side)) * channels[-1], *case.dense, case.y.shape[1])
            self.dense = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths)])

        def __call__(self, x: jax.Array) -> jax.Array:
            for convolution in self.convolutions:
                x = nnx.max_pool(nnx.relu(convolution(x)), (2, 2), (2, 2))
            x = x.reshape(len(x), -1)
            for layer in self.dense[:-1]:
                x = nnx.relu(layer(x))
            return self.dense[-1](x)

    @nnx.jit
    def step(model: Plain, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
        def loss(model: Plain) -> jax.Array:
            return optax.softmax_cross_entropy(model(x), y).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    model = Plain(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    def train() -> list[float]:
        generator, losses = np.random.default_rng(0), []
        for _ in range(EPOCHS):
            order = generator.permutation(len(case.x))
            for first in range(0, len(order), case.batch_size):
                rows = order[first : first + case.batch_size]
                losses.append(step(model, optimizer, case.x[rows], case.y[rows]))
        return [float(loss) for loss in losses]

    return train


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args(arguments)

    from gitdata.commands.engine import compile_cache
    from gitdata.training.environment import prepare

    prepare(compile_cache())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {load()}; seconds (of processors).\n")
    print("| an epoch | gitdata | plain Flax loop | ratio (target) |\n|---|---|---|---|")
    cases: list[Any] = [mnist(), gas_drift()]
    for case in cases:
        ours, plain = paired(by_gitdata(case), by_flax(case), rounds=chosen.rounds)
        print(row(case.name, ours.over(EPOCHS), plain.over(EPOCHS), "≤ 1.05"))
    print(f"\nAfterwards: {load()}.")


if __name__ == "__main__":
    main()
