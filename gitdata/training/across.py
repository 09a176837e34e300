"""Across seeds: what the paths of a study came to on average, and how sure that is. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gitdata.training.measures import forgetting
from gitdata.training.study import Point

CONFIDENCE = 0.95

Path = Sequence[Point]  # of one seed: a point for each stage


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


@dataclass(frozen=True, slots=True)
class AtStage:
    """A way at a stage. `ratio`: loss ÷ the mean that union training comes to; `ratio_before`: on earlier test rows.

    `steps`, `union_steps`, `rows_read`, `seconds`: what it took, and union training would have. `taken`: how often
    which method's version was taken.
    """

    loss: Interval | None
    ratio: Interval | None
    ratio_before: Interval | None
    steps: float
    union_steps: float
    rows_read: float
    seconds: float
    taken: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Across:
    """A way at each stage, and over all after the first: steps ÷ those of union training every time, seconds likewise.

    `forgetting`: as in `measures`.
    """

    stages: tuple[AtStage, ...]
    steps_ratio: float | None
    time_ratio: float | None
    forgetting: float | None


def across(paths: Sequence[Path], unions: Sequence[Path]) -> Across:
    """What the paths of a way, at least one and all of them whole, come to beside those of union training."""
    stages = tuple(
        _at_stage([path[place] for path in paths], [path[place] for path in unions]) for place in range(len(paths[0]))
    )
    later = stages[1:]
    seconds = [sum(point.seconds for point in path[1:]) for path in unions]
    return Across(
        stages,
        steps_ratio=_divided(sum(one.steps for one in later), sum(one.union_steps for one in later)),
        time_ratio=_divided(sum(one.seconds for one in later), float(np.mean(seconds)) if seconds else None),
        forgetting=_mean([_forgetting(path) for path in paths]),
    )


def _at_stage(own: Sequence[Point], union: Sequence[Point]) -> AtStage:
    reference, before = _mean([point.loss for point in union]), _mean([point.before for point in union])
    return AtStage(
        loss=Interval.of([point.loss for point in own]),
        ratio=Interval.of([_divided(point.loss, reference) for point in own]),
        ratio_before=Interval.of([_divided(point.before, before) for point in own]),
        steps=float(np.mean([point.steps for point in own])),
        union_steps=float(np.mean([point.union_steps for point in own])),
        rows_read=float(np.mean([point.rows_read for point in own])),
        seconds=float(np.mean([point.seconds for point in own])),
        taken=dict(Counter(point.taken for point in own)),
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
