"""Measures taken in turn: machines differ and are noisy, so what is compared is measured side by side, in one run."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """Medians of what a measure took: seconds by the clock, and of processors, with those of children."""

    wall: float
    processor: float

    def over(self, times: int) -> Taken:
        """What it takes once, where a measure does it `times` times."""
        return Taken(self.wall / times, self.processor / times)


def paired(*measures: Callable[[], object], rounds: int) -> list[Taken]:
    """What each measure takes, one after the other, `rounds` times, after one of each that does not count."""
    found: list[list[tuple[float, float]]] = [[] for _ in measures]
    for turn in range(rounds + 1):
        for own, measure in zip(found, measures, strict=True):
            wall, processor = time.perf_counter(), _processor()
            measure()
            if turn:
                own.append((time.perf_counter() - wall, _processor() - processor))
    return [Taken(*map(statistics.median, zip(*own, strict=True))) for own in found]


def _processor() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def row(name: str, ours: Taken, beside: Taken, target: str) -> str:
    """A line of the table in docs/benchmarks.md."""
    return (
        f"| {name} | {ours.wall:.3f} s ({ours.processor:.2f}) | {beside.wall:.3f} s ({beside.processor:.2f}) "
        f"| {ours.wall / beside.wall:.2f} ({target}) |"
    )


def load() -> str:
    """How busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f}"
