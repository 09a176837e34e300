"""Conditions: what a version must reach whatever the champion does, as a model file says it.

r2 >= 0.9
mae of W_max <= 0.02
mae <= 0.1 where dir = x
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXAMPLES = '"r2 >= 0.9", "mae of W_max <= 0.02", "mae <= 0.1 where dir = x"'

_FORM = re.compile(
    r"\s*(?P<metric>\w+)(?:\s+of\s+(?P<output>.+?))?"
    r"\s*(?P<sign><=|>=)\s*(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"(?:\s+where\s+(?P<slice>.+?))?\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A metric, over all outputs or of one, on all test rows or on a slice of them, and its bound."""

    text: str
    metric: str
    output: str | None
    slice: str | None
    at_most: bool
    limit: float

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """What was measured of it; None where nothing was."""
        found = metrics.get("slices", {}).get(self.slice, {}) if self.slice else metrics
        by_metric = found.get("outputs", {}).get(self.output, {}) if self.output else found.get("overall", {})
        value: float | None = by_metric.get(self.metric)
        return value

    def is_met(self, value: float | None) -> bool | None:
        """Whether a value fulfils it; None where there is none."""
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


def read(text: str) -> Condition:
    """The condition that a text says. Raises ValueError naming the form."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text:.60}' is no condition; wanted are ones as {EXAMPLES}")
    part = found["slice"]
    return Condition(
        text=" ".join(text.split()),
        metric=found["metric"],
        output=found["output"],
        slice=re.sub(r"^(\S.*?) >= ", r"\1 ≥ ", part) if part else None,
        at_most=found["sign"] == "<=",
        limit=float(found["limit"]),
    )
