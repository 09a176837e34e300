"""Evaluate and compare: versions on test rows, those they were trained on left out. Nothing is recorded.

The yardstick is the gate's: losses under the declaration at HEAD, standardised by the rows that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitdata.commands.engine import prepare_training
from gitdata.commands.judge import Judge, rounded, rounded_all
from gitdata.commands.models import version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import AnyColumns, RowSource, count, select
from gitdata.commands.situation import declared, default_revision, live_of
from gitdata.data.ledger import Entry, Ledger
from gitdata.data.pointer import Extension
from gitdata.errors import Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Declaration
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class _Examination:
    """Test rows, where they are from, and what they are judged by."""

    judge: Judge
    declaration: Declaration
    extensions: tuple[Extension, ...]
    rows: AnyColumns
    digests: NDArray[np.uint64]

    def unknown_to(self, *packages: Package) -> AnyColumns:
        """The rows that none of some versions was trained on. Raises Mendable where there is none."""
        import numpy as np

        known = [np.isin(self.digests, package.trained_rows) for package in packages]
        rows = select(self.rows, ~np.logical_or.reduce(known))
        if not count(rows):
            raise Mendable("Every test row is one that was trained on: there is nothing to judge by.", "Add test rows.")
        return rows

    def fields(self, used: AnyColumns) -> dict[str, object]:
        """Which rows were used, for a record."""
        return {
            "extensions": [extension.stem for extension in self.extensions],
            "left_out": count(self.rows) - count(used),
            "rows": count(used),
        }


def evaluate(repo: Repo, reference: str, on: str | None, say: Say = silent) -> Record:
    """The metrics of a version on today's test rows, or on those of `on` (`DATASET@X`) and its ancestors."""
    ledger, entry = version(repo, reference, say)
    test = _examination(repo, ledger.model, on, say)
    from gitdata.training.metrics import measure

    package = _comparable(test, ledger, entry)
    rows = test.unknown_to(package)
    metrics = rounded_all(measure(package, rows, test.declaration))
    fields = {"metrics": metrics, "model": ledger.model, "number": entry.number, "version": entry.stem}
    return Record("evaluation", entry.id, {**fields, **test.fields(rows)})


def compare(repo: Repo, first: str, second: str, on: str | None, say: Say = silent) -> Record:
    """A paired comparison of two versions on the test rows that neither was trained on."""
    (ledger, own), (other_ledger, other) = version(repo, first, say), version(repo, second, say)
    test = _examination(repo, ledger.model, on, say)
    from gitdata.training import gate
    from gitdata.training.metrics import measure

    sides = [_comparable(test, ledger, own), _comparable(test, other_ledger, other)]
    rows = test.unknown_to(*sides)
    losses, losses_of_other = (gate.row_losses(side, rows, test.declaration) for side in sides)
    result = gate.judge(losses, losses_of_other, test.declaration)
    numbers = ("candidate_mean", "baseline_mean", "ratio", "lower", "upper", "detectable")
    found = {name: rounded(getattr(result, name)) for name in numbers}
    return Record(
        "comparison",
        own.id,
        {
            "detectable": found["detectable"],
            "loss": found["candidate_mean"],
            "loss_of_other": found["baseline_mean"],
            "lower": found["lower"],
            "metric": test.declaration.metric,
            "metrics": rounded_all(measure(sides[0], rows, test.declaration)),
            "metrics_of_other": rounded_all(measure(sides[1], rows, test.declaration)),
            "other": f"{other_ledger.model}@{other.number}",
            "ratio": found["ratio"],
            "upper": found["upper"],
            "verdict": result.verdict,
            "version": f"{ledger.model}@{own.number}",
            **test.fields(rows),
        },
    )


def _examination(repo: Repo, model: str, on: str | None, say: Say) -> _Examination:
    """The test rows to judge by. Raises Mendable where there are none."""
    from gitdata.training.declaration import parse

    snapshot = repo.snapshot(default_revision(repo, model))
    text = snapshot.declaration(model)
    declaration = parse(text, model)
    if on is None:
        chain, live = live_of(repo, snapshot, declared(repo, model, text))
    else:
        chain, named = snapshot.extensions(on)
        live = repo.live(chain, [extension.id for extension in named])
    extensions = chain.contributing(live, "test")
    if not extensions:
        raise Mendable(
            f"There are no test rows in {on or declaration.data.dataset}.", "Add some: `gitdata extend … --test FILE`."
        )
    prepare_training(repo)
    source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
    rows = source.rows(source.parts(chain, live, "test"))
    return _Examination(Judge(source, declaration, {}), declaration, extensions, rows, source.digests(rows))


def _comparable(test: _Examination, ledger: Ledger, entry: Entry) -> Package:
    from gitdata.training import gate

    package = test.judge.package(entry)
    if not gate.comparable(package, test.declaration, test.rows):
        raise Mendable(
            f"{ledger.model}@{entry.number} predicts other outputs, or from other inputs, than these test rows have.",
            "It was trained under another [data]; see `gitdata lineage`.",
        )
    return package
