"""Measures: how well a model went along as its data grew, and what that cost. Pure.

A *stage* is a version of a lineage, oldest first. R[i][j] is the loss of version i on the test rows that extension j
brought (by_extension.py), t(j) the version that was the first to be trained on j, T the last one. Where nothing was
measured an entry is None, and means are over what is there.

Losses are lower the better they are, scores higher; the measures of the literature are of scores. Here all are of
losses, in their unit, with the sign turned where that keeps what a sign says: of *transfer* more than 0 is good, of
*forgetting* more than 0 is bad.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Matrix = Sequence[Sequence[float | None]]
Learned = Sequence[int | None]  # t(j), None where no version of the lineage was trained on j


@dataclass(frozen=True, slots=True)
class Stage:
    """A version: the extensions it was the first to see, losses on their test rows by id, and what training it took.

    `constant`: the losses of a constant answer to the same rows. `rungs`: steps, union_steps, rows_read, seconds,
    validation_loss and method of every one that was tried, `method` the one taken. `prequential`: the loss of the
    version before on the rows that this one was then trained on, and their number. None, or nothing: nobody knows.
    """

    added: tuple[str, ...]
    losses: Mapping[str, float]
    constant: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    rungs: Sequence[Mapping[str, Any]] = ()
    prequential: Mapping[str, Any] | None = None
    union_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """What follows from the stages of a lineage; each as its function says."""

    extensions: tuple[str, ...]
    matrix: Matrix
    backward_transfer: float | None
    forgetting: float | None
    forward_transfer: float | None
    union_gap: float | None
    sample_touch_ratio: float | None
    time_ratio: float | None
    prequential_error: float | None


def measures(stages: Sequence[Stage]) -> Measures:
    """All of them; of no stage every one is None."""
    extensions = columns_of(stages)
    learned = [next((i for i, stage in enumerate(stages) if id in stage.added), None) for id in extensions]
    matrix = tuple(tuple(stage.losses.get(id) for id in extensions) for stage in stages)
    constant = [next((s.constant[id] for s in stages if id in s.constant), None) for id in extensions]
    return Measures(
        extensions=extensions,
        matrix=matrix,
        backward_transfer=backward_transfer(matrix, learned),
        forgetting=forgetting(matrix, learned),
        forward_transfer=forward_transfer(matrix, learned, constant),
        union_gap=union_gap(stages[-1]) if stages else None,
        sample_touch_ratio=sample_touch_ratio(stages),
        time_ratio=time_ratio(stages),
        prequential_error=prequential_error(stages),
    )


def columns_of(stages: Sequence[Stage]) -> tuple[str, ...]:
    """The extensions that any stage was measured on, in the order in which they were seen; then those that none saw."""
    measured = dict.fromkeys(id for stage in stages for id in stage.losses)
    seen = dict.fromkeys(id for stage in stages for id in stage.added if id in measured)
    return tuple(seen | measured)


def backward_transfer(matrix: Matrix, learned: Learned) -> float | None:
    """Lopez-Paz & Ranzato 2017, BWT: the mean over j with t(j) < T of R[t(j)][j] − R[T][j].

    More than 0: what came later made the model better at what it had learned before; less: worse.
    """
    last = len(matrix) - 1
    return _mean(_minus(matrix[t][j], matrix[last][j]) for j, t in _before(learned, last))


def forgetting(matrix: Matrix, learned: Learned) -> float | None:
    """Chaudhry et al. 2018: the mean over j with t(j) < T of R[T][j] − min of R[i][j] over t(j) ≤ i < T.

    More than 0: the model was better at these rows once than it is at the end.
    """
    last = len(matrix) - 1
    return _mean(
        _minus(matrix[last][j], _best(matrix[i][j] for i in range(t, last))) for j, t in _before(learned, last)
    )


def forward_transfer(matrix: Matrix, learned: Learned, constant: Sequence[float | None]) -> float | None:
    """After Lopez-Paz & Ranzato 2017, FWT: the mean over j with t(j) > 0 of b[j] − R[t(j) − 1][j].

    There b is what random weights answer with; here a constant, which is what nothing but the targets would tell. More
    than 0: the version before knew something of extension j though it had not seen it.
    """
    return _mean(_minus(constant[j], matrix[t - 1][j]) for j, t in _before(learned, len(matrix)) if t > 0)


def union_gap(stage: Stage) -> float | None:
    """The validation loss of the rung that was taken ÷ that of `union`, − 1, where union training was tried as well."""
    losses = {str(rung.get("method")): rung.get("validation_loss") for rung in stage.rungs}
    own, union = losses.get(stage.method), losses.get("union")
    return own / union - 1.0 if own is not None and union else None


def sample_touch_ratio(stages: Sequence[Stage]) -> float | None:
    """Σ steps of all rungs, those not taken included, ÷ Σ of what union training takes, over versions after the first.

    Batches are of one size, so that gradient steps stand for the rows that they touch, each as often as it is.
    """
    known = [stage.rungs for stage in stages[1:] if stage.rungs]
    steps = sum(rung["steps"] for rungs in known for rung in rungs)
    union = sum(max(rung["union_steps"] for rung in rungs) for rungs in known)
    return steps / union if union else None


def time_ratio(stages: Sequence[Stage]) -> float | None:
    """Σ seconds of all rungs ÷ Σ of what union training takes, over the versions after the first that know the latter.

    It is known where it was measured, or tried.
    """
    pairs = [(sum(rung["seconds"] for rung in stage.rungs), _union_seconds(stage)) for stage in stages[1:]]
    known = [(own, union) for own, union in pairs if union]
    return sum(own for own, _ in known) / sum(union for _, union in known) if known else None


def prequential_error(stages: Sequence[Stage]) -> float | None:
    """Gama, Sebastião & Rodrigues 2013: Σ n(i) L(i) ÷ Σ n(i): rows are predicted first, and then trained on.

    L(i) is the loss on the n(i) unseen train rows of stage i before it was trained on them; without a fading factor.
    """
    known = [stage.prequential for stage in stages if stage.prequential and stage.prequential["rows"]]
    rows = sum(found["rows"] for found in known)
    return sum(found["loss"] * found["rows"] for found in known) / rows if rows else None


def _union_seconds(stage: Stage) -> float | None:
    if stage.union_seconds is not None:
        return stage.union_seconds
    return next((float(rung["seconds"]) for rung in stage.rungs if rung.get("method") == "union"), None)


def _before(learned: Learned, version: int) -> list[tuple[int, int]]:
    """j and t(j) of what was learned before a version."""
    return [(j, t) for j, t in enumerate(learned) if t is not None and t < version]


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _of_known(reduce: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return reduce(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    return _of_known(lambda known: sum(known) / len(known), values)


def _best(values: Iterable[float | None]) -> float | None:
    return _of_known(min, values)
