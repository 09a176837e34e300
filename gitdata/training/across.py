"""Across seeds: what the paths of a study came to on average, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gitdata.training.measures import forgetting
from gitdata.training.study import Point

CONFIDENCE = 0.95

Path = Sequence[Point]  # of one seed: a point for each stage
Gap = Callable[[Sequence[float | None], Sequence[float | None]], "Interval | None"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and where it lies at 95 % by Student's t; of a single value nothing is known of that."""

    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Interval | None:
        """Of the values that are known; None where none is."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        mean, count = float(np.mean(known)), len(known)
        if count < 2:
            return cls(mean)
        half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * np.std(known, ddof=1) / count**0.5)
        return cls(mean, mean - half, mean + half)


def ratio(own: Sequence[float | None], union: Sequence[float | None]) -> Interval | None:
    """Losses ÷ those of union training, pair by pair: the geometric mean."""
    pairs = [(one, other) for one, other in zip(own, union, strict=True) if one and other]
    found = Interval.of([math.log(one / other) for one, other in pairs])
    if found is None or found.low is None or found.high is None:
        return found and Interval(math.exp(found.mean))
    return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def points(own: Sequence[float | None], union: Sequence[float | None]) -> Interval | None:
    """By how many points of accuracy it is above union training, pair by pair; losses are shares of wrong rows."""
    known = [(one, other) for one, other in zip(own, union, strict=True) if one is not None and other is not None]
    return Interval.of([100 * (other - one) for one, other in known])


@dataclass(frozen=True, slots=True)
class AtStage:
    """A way at a stage. `gap`: to union training from the same seed; `gap_before`: on test rows of earlier stages.

    `steps`, `union_steps`, `rows_read`, `seconds`: what it took, and union training would have; the first run of a
    program includes that it is compiled. `taken`: how often which method's version was taken.
    """

    loss: Interval | None
    gap: Interval | None
    gap_before: Interval | None
    steps: float
    union_steps: float
    rows_read: float
    seconds: float
    taken: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Across:
    """A way at each stage, and over all after the first: steps ÷ those of union training every time, seconds likewise.

    `gap_in`: ratio or points. `forgetting`: as in `measures`.
    """

    stages: tuple[AtStage, ...]
    gap_in: str
    steps_ratio: float | None
    time_ratio: float | None
    forgetting: float | None


def across(paths: Mapping[int, Path], unions: Mapping[int, Path], *, by_points: bool = False) -> Across:
    """What the paths of a way by seed, all of them whole, come to beside those of union training; of none nothing."""
    stages = tuple(
        _at_stage(
            {seed: path[place] for seed, path in paths.items()},
            {seed: path[place] for seed, path in unions.items()},
            points if by_points else ratio,
        )
        for place in range(max(map(len, paths.values()), default=0))
    )
    later = stages[1:]
    seconds = [sum(point.seconds for point in path[1:]) for path in unions.values()]
    return Across(
        stages,
        "points" if by_points else "ratio",
        steps_ratio=_divided(sum(one.steps for one in later), sum(one.union_steps for one in later)),
        time_ratio=_divided(sum(one.seconds for one in later), float(np.mean(seconds)) if seconds else None),
        forgetting=_mean([_forgetting(path) for path in paths.values()]),
    )


def _at_stage(own: Mapping[int, Point], union: Mapping[int, Point], gap: Gap) -> AtStage:
    pairs = [(point, union[seed]) for seed, point in own.items() if seed in union]
    return AtStage(
        loss=Interval.of([point.loss for point in own.values()]),
        gap=gap([point.loss for point, _ in pairs], [point.loss for _, point in pairs]),
        gap_before=gap([point.before for point, _ in pairs], [point.before for _, point in pairs]),
        steps=float(np.mean([point.steps for point in own.values()])),
        union_steps=float(np.mean([point.union_steps for point in own.values()])),
        rows_read=float(np.mean([point.rows_read for point in own.values()])),
        seconds=float(np.mean([point.seconds for point in own.values()])),
        taken=dict(Counter(point.taken for point in own.values())),
    )


def _forgetting(path: Path) -> float | None:
    """Of a path; the test rows of stage j are first learned at stage j."""
    size = len(path)
    matrix = [[*point.losses, *[None] * (size - len(point.losses))] for point in path]
    return forgetting(matrix, list(range(size)))


def _divided(own: float | None, other: float | None) -> float | None:
    return own / other if own is not None and other else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = Interval.of(values)
    return found.mean if found else None
