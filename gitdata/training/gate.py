"""The gate's statistics: per-row losses, and a paired comparison of two versions on the same rows.

Losses are in transformed units under the declared transform, standardised by the rows that are judged: the same
yardstick for every version, whatever its own frozen statistics are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gitdata.training import metrics, student
from gitdata.training.declaration import Declaration
from gitdata.training.package import Package

Columns = Mapping[str, NDArray[Any]]
Verdict = Literal["accepted", "refused", "undecided"]

_BLOCK = 4_000_000  # draws of the bootstrap held at a time
_POWER = NormalDist().inv_cdf(0.8)
_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SKEW = 2.0  # few rows show about half of the skewness that they are drawn from: see docs/benchmarks.md


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate against baseline: mean losses, their ratio with a one-sided bound each way, and the verdict.

    `detectable`: the relative difference that these rows show with a power of 80 %. `confidence`: of each bound.
    """

    rows: int
    candidate_mean: float
    baseline_mean: float
    ratio: float
    lower: float
    upper: float
    detectable: float
    verdict: Verdict
    tolerance: float
    confidence: float = _CONFIDENCE


@dataclass(frozen=True, slots=True)
class Part:
    """Losses of candidate and baseline on a part of the rows, shape (rows,) each, and how much worse it may be."""

    candidate: NDArray[np.float64]
    baseline: NDArray[np.float64]
    tolerance: float


def comparable(package: Package, declaration: Declaration, columns: Columns) -> bool:
    """Whether a package answers the declared question: the same outputs, from fields that the rows have."""
    outputs = {field.name: field.kind != "numbers" for field in package.preprocessing.outputs}
    wanted = {name: declaration.kind_of(name) != "numbers" for name in declaration.data.outputs}
    return outputs == wanted and all(field.name in columns for field in package.preprocessing.inputs)


def row_losses(package: Package, columns: Columns, declaration: Declaration) -> NDArray[np.float64]:
    """The loss of each row, shape (rows,): the mean over outputs of |e| or e²; of classes 0 or 1, or −log p."""
    return losses_of(metrics.answers(package, columns, declaration), declaration)


def losses_of(answers: metrics.Answers, declaration: Declaration) -> NDArray[np.float64]:
    """`row_losses` of what a version made of rows."""
    losses = []
    for name, answer in answers.items():
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
    """`compare` in the declared mode and at the declared tolerance."""
    deployment = declaration.deployment
    superiority = deployment.mode == "superiority"
    tolerance = 0.0 if superiority else deployment.tolerance
    found = compare(candidate, baseline, _of_rows(tolerance, declaration), superiority=superiority)
    return _in_unit(found, tolerance, declaration)


def judge_parts(parts: Sequence[Part], declaration: Declaration) -> list[Comparison]:
    """`compare_parts`, each at the tolerance of its own."""
    of_rows = [replace(part, tolerance=_of_rows(part.tolerance, declaration)) for part in parts]
    found = compare_parts(of_rows)
    return [_in_unit(own, part.tolerance, declaration) for own, part in zip(found, parts, strict=True)]


def _of_rows(tolerance: float, declaration: Declaration) -> float:
    """A tolerance of the metric as one of the mean of row losses: of rmse these are squared errors."""
    return (1 + tolerance) ** 2 - 1 if declaration.metric == "rmse" else tolerance


def _in_unit(found: Comparison, tolerance: float, declaration: Declaration) -> Comparison:
    """A comparison of mean row losses as one of the metric."""
    if declaration.metric != "rmse":
        return found
    root = {
        name: float(np.sqrt(getattr(found, name)))
        for name in ("candidate_mean", "baseline_mean", "ratio", "lower", "upper")
    }
    return replace(found, **root, detectable=found.detectable / 2, tolerance=tolerance)  # type: ignore[arg-type]


def compare(
    candidate: NDArray[np.float64],
    baseline: NDArray[np.float64],
    tolerance: float,
    *,
    superiority: bool = False,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    confidence: float = _CONFIDENCE,
) -> Comparison:
    """A paired test of non-inferiority, or of `superiority`, on per-row losses.

    With d = candidate − (1 + tolerance) × baseline, the candidate is accepted if the upper bound of mean d is ≤ 0 (of
    superiority: < 0), refused if the lower one is > 0 (of superiority: ≥ 0), else undecided. Bounds are Student's, and
    where the studentised bootstrap (Efron & Tibshirani 1993, ch. 12) is wider, twice as much wider as it says: the
    first hold their level for few rows with heavy tails, the second for skewed differences, whose skewness few rows
    understate. `lower` and `upper` are percentile bounds of the ratio itself.
    """
    margin = candidate - (1 + tolerance) * baseline
    low, high, error = _bounds(margin, seed, resamples, confidence)
    lower, upper = _ratio_bounds(candidate, baseline, seed, resamples, confidence)
    own, other = float(candidate.mean()), float(baseline.mean())
    scale = other if other > 0 else np.inf
    return Comparison(
        rows=len(margin),
        candidate_mean=own,
        baseline_mean=other,
        ratio=float(_ratio(np.array(own), np.array(other))),
        lower=lower,
        upper=upper,
        detectable=(NormalDist().inv_cdf(confidence) + _POWER) * float(error) / scale,
        verdict=_better(low, high) if superiority else _not_worse(low, high),
        tolerance=tolerance,
        confidence=confidence,
    )


def _not_worse(low: float, high: float) -> Verdict:
    return "accepted" if high <= 0 else "refused" if low > 0 else "undecided"


def _better(low: float, high: float) -> Verdict:
    return "accepted" if high < 0 else "refused" if low >= 0 else "undecided"


def compare_parts(parts: Sequence[Part], *, seed: int = 0, confidence: float = _CONFIDENCE) -> list[Comparison]:
    """Several parts at once: the chance that any is refused wrongly is 1 − confidence (Holm 1979).

    Those that look worst come first: the k-th of m has bounds of confidence 1 − (1 − confidence) ÷ (m − k + 1), and
    once one is not refused, no later one is.
    """
    excesses = [_excess(part, seed, confidence) for part in parts]
    order = sorted(range(len(parts)), key=lambda place: -excesses[place])
    found: dict[int, Comparison] = {}
    still = True
    for left, place in zip(range(len(parts), 0, -1), order, strict=True):
        part = parts[place]
        resamples = _RESAMPLES * max(1, left // 5)  # the further out a bound, the more draws it takes
        own = 1 - (1 - confidence) / left
        result = compare(part.candidate, part.baseline, part.tolerance, seed=seed, resamples=resamples, confidence=own)
        if result.verdict == "refused" and not still:
            result = replace(result, verdict="undecided")
        still = still and result.verdict == "refused"
        found[place] = result
    return [found[place] for place in range(len(parts))]


def _excess(part: Part, seed: int, confidence: float) -> float:
    """By how many standard errors a part is surely worse than it may be: what an order is made by."""
    margin = part.candidate - (1 + part.tolerance) * part.baseline
    low, _, error = _bounds(margin, seed, _RESAMPLES, confidence)
    if error == 0:
        return math.copysign(math.inf, low) if low else 0.0
    return low / error if math.isfinite(error) else -math.inf


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
    student_s = student.quantile(rows - 1, confidence)
    below, above = (student_s + _SKEW * max(0.0, float(found) - student_s) for found in (high, -low))
    return mean - below * error, mean + above * error, error


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
