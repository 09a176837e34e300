"""The gate's statistics: per-row losses, and a paired comparison of two versions on the same rows.

Losses are in transformed units under the declared transform, standardised by the rows that are judged: the same
yardstick for every version, whatever its own frozen statistics are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gitdata.training import metrics, student
from gitdata.training.declaration import Declaration
from gitdata.training.package import Package

Columns = Mapping[str, NDArray[Any]]
Verdict = Literal["accepted", "refused", "undecided"]

_BLOCK = 4_000_000  # draws of the bootstrap held at a time
_POWER = 0.8416  # the 80 % quantile of the normal distribution
_ONE_SIDED = 1.6449  # its 95 % quantile


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate against baseline: mean losses, their ratio with a one-sided bound each way, and the verdict.

    `detectable`: the relative difference that these rows show with a power of 80 %.
    """

    rows: int
    candidate_mean: float
    baseline_mean: float
    ratio: float
    lower: float
    upper: float
    detectable: float
    verdict: Verdict


def comparable(package: Package, declaration: Declaration, columns: Columns) -> bool:
    """Whether a package answers the declared question: the same outputs, from fields that the rows have."""
    outputs = {field.name: field.kind != "numbers" for field in package.preprocessing.outputs}
    wanted = {name: declaration.kind_of(name) != "numbers" for name in declaration.data.outputs}
    return outputs == wanted and all(field.name in columns for field in package.preprocessing.inputs)


def row_losses(package: Package, columns: Columns, declaration: Declaration) -> NDArray[np.float64]:
    """The loss of each row, shape (rows,): the mean over outputs of |e| or e²; of classes 0 or 1, or −log p."""
    losses = []
    for name, answer in metrics.answers(package, columns, declaration).items():
        metric = declaration.metric_of(name)
        if isinstance(answer, metrics.ClassAnswer):
            losses.append(metrics.class_losses(answer, metric)[:, None])
        else:
            losses.append(np.abs(answer.errors) if metric == "mae" else answer.errors**2)
    return np.asarray(np.concatenate(losses, axis=1).mean(axis=1))


def mean_loss(
    losses: NDArray[np.float64], declaration: Declaration, stand_for: NDArray[np.float64] | None = None
) -> float:
    """The metric over rows: the mean of their losses, of rmse its root; `stand_for`: how many rows each stands for."""
    mean = float(np.average(losses, weights=stand_for))
    return float(np.sqrt(mean)) if declaration.metric == "rmse" else mean


def judge(candidate: NDArray[np.float64], baseline: NDArray[np.float64], declaration: Declaration) -> Comparison:
    """`compare` at the declared tolerance; of rmse, whose rows carry squared errors, in its own unit."""
    tolerance = declaration.deployment.tolerance
    if declaration.metric != "rmse":
        return compare(candidate, baseline, tolerance)
    squared = compare(candidate, baseline, (1 + tolerance) ** 2 - 1)
    root = {
        name: float(np.sqrt(getattr(squared, name)))
        for name in ("candidate_mean", "baseline_mean", "ratio", "lower", "upper")
    }
    return replace(squared, **root, detectable=squared.detectable / 2)  # type: ignore[arg-type]


def compare(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    tolerance: float,
    *,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Comparison:
    """A paired test of non-inferiority on per-row losses.

    With d = candidate − (1 + tolerance) × baseline, the candidate is accepted if the upper bound of mean d is ≤ 0,
    refused if the lower one is > 0, else undecided. Bounds are the wider of Student's and of the studentised bootstrap
    (Efron & Tibshirani 1993, ch. 12): the first holds its level for few rows with heavy tails, the second for skewed
    differences. `lower` and `upper` are percentile bounds of the ratio itself.
    """
    margin = candidate - (1 + tolerance) * baseline
    low, high, error = _bounds(margin, seed, resamples, confidence)
    lower, upper = _ratio_bounds(candidate, baseline, seed, resamples, confidence)
    own, other = float(candidate.mean()), float(baseline.mean())
    verdict: Verdict = "accepted" if high <= 0 else "refused" if low > 0 else "undecided"

    scale = other if other > 0 else np.inf
    return Comparison(
        rows=len(margin),
        candidate_mean=own,
        baseline_mean=other,
        ratio=float(_ratio(np.array(own), np.array(other))),
        lower=lower,
        upper=upper,
        detectable=(_ONE_SIDED + _POWER) * float(error) / scale,
        verdict=verdict,
    )


def _bounds(values: NDArray[np.float64], seed: int, resamples: int, confidence: float) -> tuple[float, float, float]:
    """One-sided lower and upper bounds of the mean of `values`, and its standard error.

    A single row bounds nothing; rows that all agree leave no doubt.
    """
    rows, mean = len(values), float(values.mean())
    if rows < 2:
        return -np.inf, np.inf, np.inf
    error = float(values.std(ddof=1)) / np.sqrt(rows)
    if error <= 1e-12 * max(abs(mean), 1e-300):
        return mean, mean, 0.0
    generator = np.random.default_rng(seed)
    pivots = np.concatenate([_pivots(values, mean, count, generator) for count in _blocks(resamples, rows)])
    low, high = np.quantile(pivots, [1 - confidence, confidence])
    bound = student.quantile(rows - 1, confidence)
    return mean - max(float(high), bound) * error, mean + max(-float(low), bound) * error, error


def _ratio(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """own ÷ other; 1 where both are zero, else infinite where the other is."""
    with np.errstate(over="ignore"):
        return np.asarray(np.divide(own, other, out=np.where(own > 0, np.inf, 1.0), where=other > 0))


def _ratio_bounds(
    candidate: NDArray[np.float64], baseline: NDArray[np.float64], seed: int, resamples: int, confidence: float
) -> tuple[float, float]:
    """Percentile bounds of mean candidate ÷ mean baseline over paired resamples."""
    generator, rows, ratios = np.random.default_rng(seed), len(candidate), []
    for count in _blocks(resamples, rows):
        drawn = generator.integers(0, rows, (count, rows))
        ratios.append(_ratio(candidate[drawn].mean(axis=1), baseline[drawn].mean(axis=1)))
    low, high = np.quantile(np.concatenate(ratios), [1 - confidence, confidence], method="nearest")
    return float(low), float(high)


def _pivots(
    values: NDArray[np.float64], mean: float, count: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """(mean* − mean) ÷ standard error* of `count` resamples; one without spread says nothing and counts as far out."""
    rows = len(values)
    drawn = values[generator.integers(0, rows, (count, rows))]
    difference = drawn.mean(axis=1) - mean
    error = drawn.std(axis=1, ddof=1) / np.sqrt(rows)
    return np.asarray(np.divide(difference, error, out=np.sign(difference) * 1e3, where=error > 0))


def _blocks(resamples: int, rows: int) -> list[int]:
    size = max(1, _BLOCK // rows)
    return [min(size, resamples - first) for first in range(0, resamples, size)]
