"""Judge: tests a candidate against the baseline and the anchor on today's test rows.

The *anchor* is the eligible version that is best on today's test rows: it bounds the drift that many small
steps within the tolerance would add up to. Rows that either side of a comparison was trained on are left out. On the
rows of what the champion had seen, and on slices, only what is surely worse counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitdata.commands import reasons
from gitdata.commands.comparing import Found, compared, shares_of
from gitdata.commands.rowsource import AnyColumns, RowSource, count, select
from gitdata.commands.task import View
from gitdata.commands.transfer import package_files
from gitdata.data import choice
from gitdata.data.choice import OVERALL, Situation
from gitdata.data.ledger import Entry, Outcome
from gitdata.errors import Mendable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Declaration
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate said: the verdict, whether the candidate becomes champion, and on what it rests.

    `test_rows`: how many it was judged on; `left_out`: how many it was not, since it was trained on them.
    """

    outcome: Outcome
    promoted: bool
    reason: str
    metrics: Mapping[str, Any]
    comparisons: tuple[Mapping[str, Any], ...]
    conditions: tuple[Mapping[str, Any], ...]
    test_rows: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _TestRows:
    """Test rows, their digests, and the extension that each is of, shape (rows,)."""

    columns: AnyColumns
    digests: NDArray[np.uint64]
    extensions: NDArray[np.object_]

    def unknown_to(self, *packages: Package) -> NDArray[np.bool_]:
        """Which of them none of some versions was trained on."""
        import numpy as np

        known = [np.isin(self.digests, package.trained_rows) for package in packages]
        return np.asarray(~np.logical_or.reduce(known))

    def by_extension(self, package: Package, declaration: Declaration) -> dict[str, Any]:
        """How well a version answers the rows that each extension brought, and that it was not trained on."""
        from gitdata.training import metrics
        from gitdata.training.by_extension import by_extension

        unknown = self.unknown_to(package)
        if not unknown.any():
            return {}
        rows = select(self.columns, unknown)
        answers = metrics.answers(package, rows, declaration)
        return {"extensions": by_extension(answers, rows, self.extensions[unknown], declaration)}


@dataclass(slots=True)
class Judge:
    """Holds the test rows and the packages, so that judging again after a lost race costs nothing twice."""

    source: RowSource
    declaration: Declaration
    packages: dict[str, Package]
    rows: dict[frozenset[str], _TestRows] = field(default_factory=dict)

    def package(self, entry: Entry) -> Package:
        """The package of a version, read once."""
        if entry.id not in self.packages:
            from gitdata.training import package

            self.packages[entry.id] = package.decode(package_files(self.source.repo, entry, self.source.say))
        return self.packages[entry.id]

    def judge(self, view: View, id: str, candidate: Package) -> Judgement:
        """The gate: `candidate` (version `id`) against the baseline and the anchor, the worse verdict counts."""
        from gitdata.training.metrics import measure

        situation, deployment = view.situation, self.declaration.deployment
        rows = self._test_rows(view)
        unknown = self.judged_rows(view, candidate)
        rivals = self._rivals(situation, id, rows) if unknown else {}
        comparisons = [c for role, rival in rivals.items() for c in self._compare(view, role, rival, candidate)]
        overall = {c["against"]: c for c in comparisons if c["against"] in OVERALL}
        can_judge = bool(unknown) and ("champion" not in rivals or bool(comparisons))
        metrics = measure(candidate, unknown, self.declaration) if unknown else {}
        _require_numbers(metrics)
        metrics |= self._test_rows(view).by_extension(candidate, self.declaration)
        conditions = self._conditions(metrics) if can_judge else ()
        superiority = deployment.mode == "superiority"
        outcome, promoted = choice.settle(
            {against: c["verdict"] for against, c in overall.items()},
            parts=[c["verdict"] for c in comparisons if c["against"] not in OVERALL],
            conditions=[condition["met"] for condition in conditions],
            may_move_champion=situation.may_move_champion,
            has_test_rows=can_judge,
            within_tolerance=all(c["ratio"] <= 1 + deployment.tolerance for c in overall.values()),
            undecided="hold" if superiority else deployment.undecided,
            confirm=deployment.policy == "confirm",
        )
        used, left_out = count(unknown), count(rows.columns) - count(unknown)
        if can_judge or outcome == "experiment":
            reason = reasons.reason(outcome, promoted, comparisons, conditions, rows=used, superiority=superiority)
        else:
            reason = reasons.without_rows(count(rows.columns))
        if not comparisons and can_judge and _is_poor(metrics, self.declaration):
            reason += "; worse than answering with the mean of the targets"
        if left_out and can_judge:
            reason += f"; {left_out} test {'row' if left_out == 1 else 'rows'} that it was trained on left out"
        return Judgement(outcome, promoted, reason, metrics, tuple(comparisons), conditions, used, left_out)

    def judged_rows(self, view: View, candidate: Package) -> AnyColumns:
        """The test rows that the metrics of a candidate are taken on: those it was not trained on."""
        rows = self._test_rows(view)
        unknown = rows.unknown_to(candidate)
        return select(rows.columns, unknown) if unknown.any() else {}

    def require(self, view: View) -> None:
        """Fetch what the gate will need, so that nothing is computed or stored for a gate that cannot be held."""
        self._test_rows(view)
        if (baseline := choice.baseline_of(view.situation)) is not None:
            self.package(view.situation.ledger.entries[baseline])

    def _test_rows(self, view: View) -> _TestRows:
        import numpy as np

        live = view.situation.live
        if live not in self.rows:
            parts = self.source.parts(view.chain, live, "test")
            columns = self.source.rows(parts)
            extensions = np.array([part.extension.id for part in parts], object)
            of_row = np.repeat(extensions, [part.rows for part in parts])
            self.rows[live] = _TestRows(columns, self.source.digests(columns), of_row)
        return self.rows[live]

    def _rivals(self, situation: Situation, id: str, rows: _TestRows) -> dict[str, Entry]:
        """Whom the candidate is compared with, by role; nobody with itself, nor with what answers another question."""
        from gitdata.training import gate

        baseline = choice.baseline_of(situation)
        if baseline is None or baseline == id:
            return {}
        champion = situation.ledger.entries[baseline]
        if not gate.comparable(self.package(champion), self.declaration, rows.columns):
            return {}
        anchor = self._anchor(situation, id, rows)
        return {"champion": champion} | ({"anchor": anchor} if anchor and anchor.id != baseline else {})

    def _anchor(self, situation: Situation, id: str, rows: _TestRows) -> Entry | None:
        """The eligible version that is best on today's test rows."""
        from gitdata.training import gate

        losses: list[tuple[float, int, Entry]] = []
        for entry in choice.eligible(situation):
            package = self.package(entry)
            if entry.id == id or not gate.comparable(package, self.declaration, rows.columns):
                continue
            unknown = rows.unknown_to(package)
            if unknown.any():
                loss = gate.row_losses(package, select(rows.columns, unknown), self.declaration).mean()
                losses.append((float(loss), -entry.number, entry))
        return min(losses, key=lambda item: item[:2])[2] if losses else None

    def _compare(self, view: View, role: str, entry: Entry, candidate: Package) -> list[dict[str, Any]]:
        """The comparisons on the rows that neither side was trained on, as JSON; with the champion on parts too."""
        import numpy as np

        rows, rival = self._test_rows(view), self.package(entry)
        mask = rows.unknown_to(candidate, rival)
        if not mask.any():
            return []
        common = select(rows.columns, mask)
        seen = np.isin(rows.extensions[mask], list(view.situation.ledger.seen(entry.id)))
        shares = shares_of(self.declaration, common, seen) if role == "champion" else []
        found = compared(role, (candidate, rival), common, self.declaration, shares)
        by_extension = rows.by_extension(rival, self.declaration)
        return [_described(one, entry, by_extension if one.against == role else {}) for one in found]

    def _conditions(self, metrics: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Each declared condition with what was measured, and whether that fulfils it."""
        return tuple(
            {"condition": condition.text, "met": condition.is_met(value), "value": rounded_all(value)}
            for condition in self.declaration.deployment.required
            for value in (condition.value(metrics),)
        )


def _described(found: Found, entry: Entry, by_extension: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison with a version, as JSON."""
    result = found.result
    return {
        "against": found.against,
        "baseline_loss": rounded(result.baseline_mean),
        "baseline_metrics": rounded_all({**found.baseline_metrics, **by_extension}),
        "confidence": rounded(result.confidence),
        "detectable": rounded(result.detectable),
        "loss": rounded(result.candidate_mean),
        "lower": rounded(result.lower),
        "ratio": rounded(result.ratio),
        "rows": result.rows,
        "tolerance": rounded(result.tolerance),
        "upper": rounded(result.upper),
        "verdict": result.verdict,
        "version": entry.stem,
    }


def rounded(value: float) -> float:
    """Six significant digits: what people read in git; JSON has no infinity, so it is cut to a large number."""
    return float(f"{min(max(value, -1e30), 1e30):.6g}")


def rounded_all(value: Any) -> Any:
    """`value` with every number in it rounded."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, list | tuple):
        return [rounded_all(inner) for inner in value]
    if isinstance(value, Mapping):
        return {key: rounded_all(inner) for key, inner in value.items()}
    return value


def _require_numbers(value: Any) -> None:
    """Raises Mendable where a metric is none: a network that answers with no number is not to be used."""
    for inner in value.values() if isinstance(value, Mapping) else ():
        _require_numbers(inner)
    if isinstance(value, float) and math.isnan(value):
        raise Mendable(
            "The new version answers test rows with what is no number; nothing was recorded.",
            "Lower learning_rate in [training.optimizer], or look at these rows.",
        )


def _is_poor(metrics: Mapping[str, Any], declaration: Declaration) -> bool:
    """Whether errors, in standard deviations of the test rows, are larger than those of the mean are, or can be."""
    return declaration.kinds == {"numbers"} and metrics["overall"].get(declaration.metric, 0.0) > 1.0
