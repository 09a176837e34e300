"""Comparing: a candidate and a rival on the rows that neither was trained on, over all of them and over parts.

Parts are the rows of what the rival had seen (what a candidate does worse on there, it has forgotten), and the declared
slices. Who learns new classes takes some rows of old ones for these, as a training anew would, too. That is no
forgetting: on what the rival had seen a candidate is asked to choose among the classes that the rival knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitdata.commands.rowsource import AnyColumns
from gitdata.data.choice import SEEN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Declaration
    from gitdata.training.gate import Comparison
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the rows, as a mask of shape (rows,), and how much worse a candidate may be on it."""

    against: str
    rows: NDArray[np.bool_]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Found:
    """A comparison by what it is against, and the metrics of the rival on these rows."""

    against: str
    result: Comparison
    baseline_metrics: Mapping[str, Any]


def shares_of(declaration: Declaration, rows: AnyColumns, seen: NDArray[np.bool_]) -> list[Share]:
    """The parts that the declaration wants looked at; what is empty, or all there is, is none."""
    from gitdata.training import metrics

    deployment, shares = declaration.deployment, []
    if deployment.forgetting is not False:
        shares.append(Share(SEEN, seen, deployment.forgetting))
    if deployment.slice_tolerance is not False:
        slices = metrics.slices(declaration, rows)
        shares += [Share(f"slice {label}", own, deployment.slice_tolerance) for label, own in slices]
    return [share for share in shares if share.rows.any() and not share.rows.all()]


def compared(
    role: str, sides: tuple[Package, Package], rows: AnyColumns, declaration: Declaration, shares: Sequence[Share] = ()
) -> list[Found]:
    """Candidate and rival (`sides`) on all rows, in the declared mode; then on each share."""
    from gitdata.training import gate, metrics

    answers, answers_of_rival = (metrics.answers(side, rows, declaration) for side in sides)
    losses, losses_of_rival = (gate.losses_of(own, declaration) for own in (answers, answers_of_rival))
    overall = gate.judge(losses, losses_of_rival, declaration)
    among = gate.losses_of(metrics.among(answers, *sides), declaration)
    of_share = [among if share.against == SEEN else losses for share in shares]
    parts = [
        gate.Part(own[share.rows], losses_of_rival[share.rows], share.tolerance)
        for share, own in zip(shares, of_share, strict=True)
    ]
    results = gate.judge_parts(parts, declaration)
    found = [Found(role, overall, metrics.measured(answers_of_rival, rows, declaration))]
    for share, result in zip(shares, results, strict=True):
        own = metrics.report(metrics.of_part(answers_of_rival, share.rows), declaration)
        found.append(Found(share.against, result, own))
    return found
