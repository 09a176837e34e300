"""The gate's error rates: `python tests/benchmarks/gate.py [--trials N]`.

Candidates whose true loss is exactly at the margin must seldom pass; equally good ones should often. Both modes, for
several shapes of paired losses and numbers of test rows; prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from gitdata.training import gate

TOLERANCE = 0.02
BETTER = 0.95  # the true ratio at which the power of superiority is taken
ROWS = (50, 200, 1000)

Losses = np.ndarray
Shape = Callable[[np.random.Generator, int], tuple[Losses, Losses]]


def paired(generator: np.random.Generator, rows: int, noise: float = 20.0) -> tuple[Losses, Losses]:
    shared = generator.gamma(2.0, 1.0, rows)
    own, other = generator.gamma(noise, 1 / noise, (2, rows))
    return shared * own, shared * other


def close(generator: np.random.Generator, rows: int) -> tuple[Losses, Losses]:
    return paired(generator, rows, noise=400.0)


def unrelated(generator: np.random.Generator, rows: int) -> tuple[Losses, Losses]:
    one, other = np.abs(generator.standard_t(3, (2, rows)))
    return one, other


def lognormal(generator: np.random.Generator, rows: int) -> tuple[Losses, Losses]:
    shared, own, other = np.exp(generator.normal(size=(3, rows)) * np.array([[1.0], [0.3], [0.3]]))
    return shared * own, shared * other


def skewed(generator: np.random.Generator, rows: int) -> tuple[Losses, Losses]:
    """The candidate fails on one row in twenty, four times as badly; the means are equal."""
    shared = generator.gamma(2.0, 1.0, rows)
    fails = generator.random(rows) < 0.05
    return shared * np.where(fails, 4.0, 1.0) / 1.15, shared * generator.gamma(20.0, 1 / 20, rows)


SHAPES: dict[str, Shape] = {
    "paired, 22 % apart": paired,
    "paired, 5 % apart": close,
    "unrelated, abs. t3": unrelated,
    "lognormal, 30 % apart": lognormal,
    "fails on 5 % of rows": skewed,
}


def share(shape: Shape, rows: int, ratio: float, trials: int, *, superiority: bool = False) -> float:
    """How often a candidate of a true ratio of losses is accepted: promoted under `undecided = "hold"`."""
    generator, accepted = np.random.default_rng(rows), 0
    for trial in range(trials):
        candidate, baseline = shape(generator, rows)
        found = gate.compare(
            ratio * candidate, baseline, 0.0 if superiority else TOLERANCE, superiority=superiority, seed=trial,
            resamples=400,
        )  # fmt: skip
        accepted += found.verdict == "accepted"
    return accepted / trials


def lines(trials: int) -> Iterator[str]:
    """Superiority where there is no difference is the same test as non-inferiority at the margin."""
    yield "| losses | test rows | at the margin | no difference | superiority, 5 % better |"
    yield "|---|---|---|---|---|"
    for name, shape in SHAPES.items():
        for rows in ROWS:
            found = [
                share(shape, rows, 1 + TOLERANCE, trials),
                share(shape, rows, 1.0, trials),
                share(shape, rows, BETTER, trials, superiority=True),
            ]
            yield f"| {name} | {rows} | " + " | ".join(f"{100 * value:.1f} %" for value in found) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    for line in lines(parser.parse_args().trials):
        print(line, flush=True)


if __name__ == "__main__":
    main()
