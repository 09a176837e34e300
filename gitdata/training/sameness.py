"""Sameness: how far the package of a training that was repeated is from the one that was recorded.

Equal trainings on the same programs and processor are equal bytes. On others a sum may be taken in another order; what
that comes to after many steps is bounded by `BOUND`, beyond which something else was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gitdata.training import package as packages
from gitdata.training.package import Columns, Package

BOUND = 0.01  # between answers: of the spread of a target, or as a logit; and between losses, as a share
PROGRAMS = "made_by"  # what a manifest says of what computed it

Outcome = Literal["equal", "close", "different"]


@dataclass(frozen=True, slots=True)
class Sameness:
    """What two packages that should be the same differ in.

    `parts`: the files of the package that are not the same bytes. `weights` and `answers`: the largest differences
    between weights, and between what the networks put out for some rows (standardised values, or logits); None where
    the networks are not alike, or there are no rows. `losses`: recorded, and of the repetition, on these rows.
    """

    parts: tuple[str, ...]
    weights: float | None
    answers: float | None
    losses: tuple[float, float] | None
    has_same_rows: bool
    only_programs: bool

    @property
    def outcome(self) -> Outcome:
        """`equal`: every byte, but for which programs made it. `close`: of the same rows, and within `BOUND`."""
        if not self.parts or self.only_programs:
            return "equal"
        if self.weights is None or not self.has_same_rows:
            return "different"
        far = self.weights if self.answers is None else self.answers
        return "close" if far <= BOUND and (self.loss_difference or 0.0) <= BOUND else "different"

    @property
    def loss_difference(self) -> float | None:
        """Between the losses, as a share of the recorded one."""
        if self.losses is None:
            return None
        recorded, again = self.losses
        return abs(again - recorded) / abs(recorded) if recorded else (0.0 if again == recorded else np.inf)


def compared(recorded: Package, again: Package, rows: Columns | None, losses: tuple[float, float] | None) -> Sameness:
    """Two packages side by side; `rows`: what the answers are compared on, `losses`: of both on them."""
    parts = different_parts(packages.encode(recorded), packages.encode(again))
    alike = _shapes(recorded.weights) == _shapes(again.weights)
    return Sameness(
        parts=parts,
        weights=largest(recorded.weights, again.weights) if alike else None,
        answers=_answers(recorded, again, rows) if alike and rows is not None else None,
        losses=losses,
        has_same_rows=np.array_equal(recorded.trained_rows, again.trained_rows),
        only_programs=parts == ("manifest.json",) and _but_programs(recorded) == _but_programs(again),
    )


def different_parts(recorded: Mapping[str, bytes], again: Mapping[str, bytes]) -> tuple[str, ...]:
    """The names of files that are not the same bytes on both sides, or are on one alone."""
    return tuple(name for name in sorted({*recorded, *again}) if recorded.get(name) != again.get(name))


def largest(recorded: Mapping[str, NDArray[Any]], again: Mapping[str, NDArray[Any]]) -> float:
    """The largest difference between arrays of the same names and shapes; infinite where one is no number."""
    return max((_largest(recorded[name], again[name]) for name in recorded), default=0.0)


def _largest(one: NDArray[Any], other: NDArray[Any]) -> float:
    if not one.size:
        return 0.0
    difference = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    return np.inf if np.isnan(difference) else difference


def _answers(recorded: Package, again: Package, rows: Columns) -> float | None:
    """Between what two networks put out; None where they do not put out as much."""
    one, other = packages.raw_outputs(recorded, rows), packages.raw_outputs(again, rows)
    return _largest(one, other) if one.shape == other.shape else None


def _shapes(weights: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in weights.items()}


def _but_programs(package: Package) -> dict[str, Any]:
    return {"position": package.position, **{k: v for k, v in package.manifest.items() if k != PROGRAMS}}


def differing(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """What of an environment is not as it was: by name what was recorded, and what is so now."""
    pairs = {name: (recorded.get(name), now.get(name)) for name in sorted({*recorded, *now})}
    return {name: (_text(one), _text(other)) for name, (one, other) in pairs.items() if one != other}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
