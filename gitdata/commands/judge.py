"""Judge: tests a candidate against the baseline and the anchor on today's test rows.

The *anchor* is the eligible version that is best on today's test rows: it bounds the drift that many small
steps within the tolerance would add up to. Rows that either side of a comparison was trained on are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitdata.commands.rowsource import AnyColumns, RowSource, count, select
from gitdata.commands.task import View
from gitdata.commands.transfer import package_files
from gitdata.data import choice
from gitdata.data.choice import Situation
from gitdata.data.ledger import Entry, Outcome
from gitdata.errors import Mendable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Declaration
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate said: the verdict, whether the candidate becomes champion, and on what it rests."""

    outcome: Outcome
    promoted: bool
    reason: str
    metrics: Mapping[str, Any]
    comparisons: tuple[Mapping[str, Any], ...]
    test_rows: int


@dataclass(slots=True)
class Judge:
    """Holds the test rows and the packages, so that judging again after a lost race costs nothing twice."""

    source: RowSource
    declaration: Declaration
    packages: dict[str, Package]
    rows: dict[frozenset[str], AnyColumns] = field(default_factory=dict)

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
        digests = self.source.digests(rows)
        unknown = select(rows, _not_in(digests, candidate))
        rivals = self._rivals(situation, id, rows, digests) if count(unknown) else {}
        comparisons = [self._compare(role, rival, candidate, rows, digests) for role, rival in rivals.items()]
        comparisons = [comparison for comparison in comparisons if comparison["rows"]]
        can_judge = count(unknown) > 0 and ("champion" not in rivals or bool(comparisons))
        outcome, promoted = choice.settle(
            {c["against"]: c["verdict"] for c in comparisons},
            may_move_champion=situation.may_move_champion,
            has_test_rows=can_judge,
            within_tolerance=all(c["ratio"] <= 1 + deployment.tolerance for c in comparisons),
            undecided=deployment.undecided,
            confirm=deployment.policy == "confirm",
        )
        metrics = measure(candidate, unknown, self.declaration) if count(unknown) else {}
        _require_numbers(metrics)
        reason = _reason(outcome, promoted, comparisons, count(unknown) if can_judge else 0, count(rows))
        if not comparisons and can_judge and _is_poor(metrics, self.declaration):
            reason += "; worse than answering with the mean of the targets"
        return Judgement(outcome, promoted, reason, metrics, tuple(comparisons), count(unknown))

    def judged_rows(self, view: View, candidate: Package) -> AnyColumns:
        """The test rows that the metrics of a candidate are taken on: those it was not trained on."""
        rows = self._test_rows(view)
        unknown = select(rows, _not_in(self.source.digests(rows), candidate))
        return unknown if count(unknown) else {}

    def require(self, view: View) -> None:
        """Fetch what the gate will need, so that nothing is computed or stored for a gate that cannot be held."""
        self._test_rows(view)
        if (baseline := choice.baseline_of(view.situation)) is not None:
            self.package(view.situation.ledger.entries[baseline])

    def _test_rows(self, view: View) -> AnyColumns:
        live = view.situation.live
        if live not in self.rows:
            self.rows[live] = self.source.rows(self.source.parts(view.chain, live, "test"))
        return self.rows[live]

    def _rivals(self, situation: Situation, id: str, rows: AnyColumns, digests: NDArray[np.uint64]) -> dict[str, Entry]:
        """Whom the candidate is compared with, by role; nobody with itself, nor with what answers another question."""
        from gitdata.training import gate

        baseline = choice.baseline_of(situation)
        if baseline is None or baseline == id:
            return {}
        champion = situation.ledger.entries[baseline]
        if not gate.comparable(self.package(champion), self.declaration, rows):
            return {}
        anchor = self._anchor(situation, id, rows, digests)
        return {"champion": champion} | ({"anchor": anchor} if anchor and anchor.id != baseline else {})

    def _anchor(self, situation: Situation, id: str, rows: AnyColumns, digests: NDArray[np.uint64]) -> Entry | None:
        """The eligible version that is best on today's test rows."""
        from gitdata.training import gate

        losses: list[tuple[float, int, Entry]] = []
        for entry in choice.eligible(situation):
            if entry.id != id and gate.comparable(self.package(entry), self.declaration, rows):
                package = self.package(entry)
                unknown = select(rows, _not_in(digests, package))
                if count(unknown):
                    loss = float(gate.row_losses(package, unknown, self.declaration).mean())
                    losses.append((loss, -entry.number, entry))
        return min(losses, key=lambda item: item[:2])[2] if losses else None

    def _compare(
        self, role: str, entry: Entry, candidate: Package, rows: AnyColumns, digests: NDArray[np.uint64]
    ) -> dict[str, Any]:
        """The comparison on the rows that neither side was trained on, as JSON."""
        from gitdata.training import gate
        from gitdata.training.metrics import measure

        rival = self.package(entry)
        common = select(rows, _not_in(digests, candidate) & _not_in(digests, rival))
        if not count(common):
            return {"against": role, "rows": 0}
        own, other = (gate.row_losses(side, common, self.declaration) for side in (candidate, rival))
        result = gate.judge(own, other, self.declaration)
        return {
            "against": role,
            "baseline_loss": rounded(result.baseline_mean),
            "baseline_metrics": rounded_all(measure(rival, common, self.declaration)),
            "detectable": rounded(result.detectable),
            "loss": rounded(result.candidate_mean),
            "lower": rounded(result.lower),
            "ratio": rounded(result.ratio),
            "rows": result.rows,
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


def _not_in(digests: NDArray[np.uint64], package: Package) -> NDArray[np.bool_]:
    import numpy as np

    return ~np.isin(digests, package.trained_rows)


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


def _reason(outcome: Outcome, promoted: bool, comparisons: list[dict[str, Any]], rows: int, existing: int) -> str:
    if outcome == "experiment":
        return "it cannot become champion"
    if not rows:
        trained = f"all {existing} test rows were trained on, too" if existing else "there are no test rows"
        return f"{trained}: nothing to judge it by"
    if outcome == "waiting":
        return "it passed the gate; the model's policy wants a person to promote it"
    if not comparisons:
        return f"the first version; {rows} test rows"
    worst = max(comparisons, key=lambda c: (c["verdict"] == outcome, c["ratio"]))
    measure = (
        f"loss {worst['ratio']:.3f} × that of {worst['version']} on {worst['rows']} test rows "
        f"(90 % interval {worst['lower']:.3f}–{worst['upper']:.3f})"
    )
    ending = {
        "accepted": "not worse within the tolerance",
        "refused": "worse than the tolerance allows",
        "undecided": "too few rows to be sure" + ("" if promoted else "; the champion stays"),
    }
    return f"{measure}: {ending[outcome]}"
