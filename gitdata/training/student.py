"""Student's t distribution: its quantiles, since SciPy takes as long to import as a training to judge."""

from __future__ import annotations

import math
from statistics import NormalDist

MANY = 200  # degrees of freedom from which on the expansion is exact to ten digits


def quantile(freedom: int, share: float) -> float:
    """Below what value a share (0 < share < 1) of the distribution lies; `freedom`: degrees of freedom, from one on."""
    if share < 0.5:
        return -quantile(freedom, 1 - share)
    if freedom > MANY:
        return _expanded(freedom, NormalDist().inv_cdf(share))
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _within(freedom, middle) < 2 * share - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(freedom: int, angle: float) -> float:
    """The share between −t and t, t = √freedom × tan(angle) (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for place in range(1 + odd, freedom, 2):
        total += term
        term *= place / (place + 1) * math.cos(angle) ** 2
    found = math.sin(angle) * total
    return 2 / math.pi * (angle + found) if odd else found


def _expanded(freedom: int, x: float) -> float:
    """From the normal distribution's quantile (Abramowitz & Stegun 26.7.5)."""
    parts = (
        x,
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return math.fsum(part / math.pow(freedom, power) for power, part in enumerate(parts))
