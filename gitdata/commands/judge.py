"""Judge: tests a candidate against the baseline and the anchor on today's test rows.

The *anchor* is the eligible version that is best on today's test rows: it bounds the drift that many small
steps within the tolerance would add up to. Rows that either side of a comparison was trained on are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitdata.commands.rowsource import RowSource, count, select
from gitdata.commands.transfer import package_folder
from gitdata.data import choice
from gitdata.data.chain import Chain
from gitdata.data.choice import Situation
from gitdata.data.ledger import Entry, Outcome

if TYPE_CHECKING:
    import numpy as np

    from gitdata.data.formats import Columns
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
    chain: Chain
    packages: dict[str, Package]

    def package(self, entry: Entry) -> Package:
        """The package of a version, read once."""
        if entry.id not in self.packages:
            from gitdata.training import package

            with package_folder(self.source.repo, entry, self.source.say) as folder:
                self.packages[entry.id] = package.read(folder)
        return self.packages[entry.id]

    def judge(self, situation: Situation, baseline: str | None, id: str, candidate: Package) -> Judgement:
        """The gate: `candidate` (version `id`) against the baseline and the anchor, the worse verdict counts."""
        from gitdata.training import gate

        rows = self._test_rows(situation)
        digests = self.source.digests(rows) if count(rows) else None
        unknown = rows if digests is None else select(rows, _not_in(digests, candidate))
        metrics = gate.metrics(candidate, unknown, self.declaration) if count(unknown) else {}
        rivals = self._rivals(situation, baseline, id, rows, digests)
        comparisons = [
            self._compare(role, entry, candidate, rows, digests) for role, entry in rivals.items() if count(unknown)
        ]
        outcome, promoted = choice.settle(
            {c["against"]: c["verdict"] for c in comparisons},
            may_move_champion=situation.may_move_champion,
            has_test_rows=count(unknown) > 0,
            within_tolerance=all(c["ratio"] <= 1 + self.declaration.deployment.tolerance for c in comparisons),
            undecided=self.declaration.deployment.undecided,
            confirm=self.declaration.deployment.policy == "confirm",
        )
        reason = _reason(outcome, promoted, comparisons, situation, count(unknown))
        return Judgement(outcome, promoted, reason, metrics, tuple(comparisons), count(unknown))

    def _test_rows(self, situation: Situation) -> Columns:
        extensions = self.chain.contributing(situation.live, "test")
        return self.source.rows(extensions, "test") if extensions else {}

    def _rivals(
        self,
        situation: Situation,
        baseline: str | None,
        id: str,
        rows: Columns,
        digests: np.ndarray[Any, Any] | None,
    ) -> dict[str, Entry]:
        """Whom the candidate is compared with, by role; nobody is compared with itself."""
        ledger = situation.ledger
        from gitdata.training import gate

        rivals = {}
        if baseline is not None and baseline != id:
            entry = ledger.entries[baseline]
            if not rows or gate.comparable(self.package(entry), self.declaration, rows):
                rivals["champion"] = entry
        if digests is not None and rivals:
            anchor = self._anchor(situation, id, rows, digests)
            if anchor and anchor.id != baseline:
                rivals["anchor"] = anchor
        return rivals

    def _anchor(self, situation: Situation, id: str, rows: Columns, digests: np.ndarray[Any, Any]) -> Entry | None:
        from gitdata.training import gate

        losses: list[tuple[float, int, Entry]] = []
        for entry in choice.eligible(situation):
            if entry.id != id and entry.version.restore == situation.restore:
                package = self.package(entry)
                unknown = select(rows, _not_in(digests, package))
                if count(unknown):
                    loss = float(gate.row_losses(package, unknown, self.declaration).mean())
                    losses.append((loss, -entry.number, entry))
        return min(losses, key=lambda item: item[:2])[2] if losses else None

    def _compare(
        self, role: str, entry: Entry, candidate: Package, rows: Columns, digests: np.ndarray[Any, Any] | None
    ) -> dict[str, Any]:
        from gitdata.training import gate

        assert digests is not None
        rival = self.package(entry)
        common = select(rows, _not_in(digests, candidate) & _not_in(digests, rival))
        result = gate.compare(
            gate.row_losses(candidate, common, self.declaration),
            gate.row_losses(rival, common, self.declaration),
            self.declaration.deployment.tolerance,
        )
        return {
            "against": role,
            "baseline_loss": rounded(result.baseline_mean),
            "baseline_metrics": rounded_all(gate.metrics(rival, common, self.declaration)),
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


def _not_in(digests: np.ndarray[Any, Any], package: Package) -> np.ndarray[Any, Any]:
    import numpy as np

    return ~np.isin(digests, package.trained_rows)


def _reason(
    outcome: Outcome, promoted: bool, comparisons: list[dict[str, Any]], situation: Situation, rows: int
) -> str:
    if outcome == "experiment":
        return "trained away from the tip of the deployment branch; it cannot become champion"
    if not rows:
        return "there are no test rows to judge it by"
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
