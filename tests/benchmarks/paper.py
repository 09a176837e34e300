"""The paper's case, with gitdata's engine: `python tests/benchmarks/paper.py [--repeats N]`.

400 rows, 9 inputs, 226 neurons (96, 64, 64, 2). A: the base is trained, then base and extension anew. B: the base is
trained, then the extension alone (`finetune`), or rows drawn from both, in as many steps (`rehearse`). Every repeat
draws rows and seed anew; A and B share the base, are timed in turn, and are tested on the same rows, so that they are
compared in pairs. Intervals are Student's, of 95 %.

- *lattice*: five of the eight load scenarios make 10 rows of a run, and 9 inputs: three strut parameters, the scenario
  one-hot, and the direction as ±1; 40 runs of 107 are drawn, the others are for testing. Outputs: the logarithms.
- *surrogate*: 9 normal inputs, the sum of their sines and the mean of their squares; 1000 rows for testing.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from turns import load

LATTICE = Path(__file__).parents[2] / "gitdata" / "automation" / "lattice" / "lattice_summary.csv"
SCENARIOS = ("volumetric", "uniaxial", "biaxial", "planar", "shear")
ROWS, INPUTS, BATCH = 400, 9, 32
DECLARATION = """
[data]
dataset = "d"
inputs = ["x"]
outputs = ["y"]
[network]
layers = [{{ dense = 96 }}, "relu", {{ dense = 64 }}, "relu", {{ dense = 64 }}, "relu", {{ dense = "outputs" }}]
[training]
epochs = 200
batch_size = 32
loss = "mae"
seed = {seed}
optimizer = {{ name = "adam", learning_rate = 3e-3 }}
schedule = {{ name = "cosine" }}
"""
Columns = Mapping[str, np.ndarray]
Drawn = tuple[Columns, Columns]  # rows to train on, in the order in which they came, and rows to test on


def lattice() -> Callable[[np.random.Generator], Drawn]:
    with LATTICE.open() as file:
        found = [row for row in csv.DictReader(file) if row["scenario"] in SCENARIOS]
    parts = [[float(row[name]) for name in ("t1", "t2", "t3")] for row in found]
    scenarios = [[float(row["scenario"] == name) for name in SCENARIOS] for row in found]
    directions = [[1.0 if row["dir"] == "tension" else -1.0] for row in found]
    x = np.concatenate([parts, scenarios, directions], axis=1)
    y = np.log10([[float(row[name]) for name in ("W_max", "P_peak")] for row in found])
    columns = {"x": x, "y": (y - y.mean(axis=0)) / y.std(axis=0)}
    names, runs = np.unique([row["run"] for row in found], return_inverse=True)

    def draw(generator: np.random.Generator) -> Drawn:
        order = generator.permutation(len(names))
        own, other = (np.flatnonzero(np.isin(runs, chosen)) for chosen in (order[:40], order[40:]))
        own = own[np.argsort(order.argsort()[runs[own]], kind="stable")]  # run by run, as drawn
        return select(columns, own), select(columns, other)

    return draw


def surrogate() -> Callable[[np.random.Generator], Drawn]:
    def rows(generator: np.random.Generator, count: int) -> Columns:
        x = generator.normal(size=(count, INPUTS))
        y = np.stack([np.sin(x).sum(axis=1), (x**2).mean(axis=1)], axis=1)
        return {"x": x, "y": y / [1.97, 0.471]}  # their standard deviations

    return lambda generator: (rows(generator, ROWS), rows(generator, 1000))


def select(columns: Columns, rows: Any) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def repeat(draw: Callable[[np.random.Generator], Drawn], share: float, seed: int) -> dict[str, tuple[float, float]]:
    """Seconds and the mean absolute error of each training: base, union, finetune, rehearse."""
    from gitdata.training.declaration import parse
    from gitdata.training.methods import TrainingData, climb
    from gitdata.training.package import Package, predict

    whole, test = draw(np.random.default_rng(seed))
    declaration, cut = parse(DECLARATION.format(seed=seed), "m"), round(share * ROWS)
    base, extension = select(whole, slice(cut)), select(whole, slice(cut, None))

    def trained(unseen: Columns, everything: Columns, method: str, restored: Package | None) -> tuple[Package, float]:
        rows = (len(unseen["y"]), len(everything["y"]))
        data = TrainingData(lambda: unseen, lambda: everything, lambda: {}, *rows)
        started = time.perf_counter()
        package = climb(declaration, data, restored, None, (method,)).package
        return package, time.perf_counter() - started

    first, seconds = trained(base, base, "union", None)
    found = {"base": (first, seconds)}
    methods = ["union", "finetune", "rehearse"]
    for place in range(3):  # who begins changes from repeat to repeat
        method = methods[(seed + place) % 3]
        found[method] = trained(extension, whole, method, first)
    return {
        name: (seconds, float(np.abs(predict(package, test)["y"] - test["y"]).mean()))
        for name, (package, seconds) in found.items()
    }


def interval(values: np.ndarray) -> str:
    """Mean and 95 % interval."""
    from gitdata.training import student

    reach = student.quantile(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.4f} [{values.mean() - reach:.4f}, {values.mean() + reach:.4f}]"


def ideal(share: float) -> float:
    """Steps of B ÷ steps of A, batches that are not full being steps as well."""
    steps = [math.ceil(share_ * ROWS / BATCH) for share_ in (share, 1 - share, 1.0)]
    return (steps[0] + steps[1]) / (steps[0] + steps[2])


def report(name: str, share: float, repeats: list[dict[str, tuple[float, float]]]) -> None:
    def of(method: str, place: int) -> np.ndarray:
        return np.array([each[method][place] for each in repeats])

    a = of("base", 0) + of("union", 0)
    for method in ("finetune", "rehearse"):
        b = of("base", 0) + of(method, 0)
        errors = of(method, 1)
        print(
            f"| {name}, {share:.0%} / {1 - share:.0%} | base, then {method} "
            f"| {np.median(b / a):.3f} ({b.sum() / a.sum():.3f}; {ideal(share):.3f}) | {of('union', 1).mean():.4f} "
            f"| {errors.mean():.4f} | {interval(errors - of('union', 1))} |",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=100)
    chosen = options.parse_args(arguments)

    from gitdata.commands.engine import compile_cache
    from gitdata.training.environment import prepare

    prepare(compile_cache())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {load()}, {chosen.repeats} repeats.\n")
    print("| rows | B | time B / A (of all together; steps) | MAE of A | MAE of B | B − A |\n|---|---|---|---|---|---|")
    for name, draw in (("lattice", lattice()), ("surrogate", surrogate())):
        for share in (0.9, 0.6):
            repeat(draw, share, 0)  # loads the programs
            report(name, share, [repeat(draw, share, seed) for seed in range(chosen.repeats)])
    print(f"\nAfterwards: {load()}.")


if __name__ == "__main__":
    main()
