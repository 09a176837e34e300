"""Evaluate and compare: versions on test rows, those they were trained on left out. Nothing is recorded.

The yardstick is the gate's: losses under the declaration at HEAD, standardised by the rows that are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitdata.commands.engine import prepare_training
from gitdata.commands.judge import Judge, rounded, rounded_all
from gitdata.commands.lineage import chains_here
from gitdata.commands.measures import record_of
from gitdata.commands.models import version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import AnyColumns, RowSource, count, select
from gitdata.commands.situation import declared, default_revision, labels_of_any, live_of
from gitdata.data.chain import Chain
from gitdata.data.ledger import Entry, Ledger
from gitdata.data.pointer import Extension
from gitdata.errors import Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.declaration import Declaration
    from gitdata.training.package import Package


Table = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Examination:
    """Test rows, the extension that each is of (ids, shape (rows,)), and what they are judged by."""

    judge: Judge
    declaration: Declaration
    extensions: tuple[Extension, ...]
    rows: AnyColumns
    of_row: NDArray[np.object_]
    digests: NDArray[np.uint64]

    def unknown_to(self, *packages: Package) -> tuple[AnyColumns, NDArray[np.object_]]:
        """The rows that none of some versions was trained on, and their extensions. Raises Mendable: there is none."""
        import numpy as np

        known = [np.isin(self.digests, package.trained_rows) for package in packages]
        unknown = np.asarray(~np.logical_or.reduce(known))
        if not unknown.any():
            raise Mendable("Every test row is one that was trained on: there is nothing to judge by.", "Add test rows.")
        return select(self.rows, unknown), self.of_row[unknown]

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
    from gitdata.training import metrics
    from gitdata.training.by_extension import by_extension

    package = _comparable(test, ledger, entry)
    rows, of_row = test.unknown_to(package)
    answers = metrics.answers(package, rows, test.declaration)
    found = metrics.measured(answers, rows, test.declaration)
    found |= {"extensions": by_extension(answers, rows, of_row, test.declaration)}
    fields = {"metrics": rounded_all(found), "model": ledger.model, "number": entry.number, "version": entry.stem}
    return Record("evaluation", entry.id, {**fields, **test.fields(rows)})


def compare(repo: Repo, first: str, second: str, on: str | None, say: Say = silent) -> Record:
    """A paired comparison of two versions on the test rows that neither was trained on."""
    (ledger, own), (other_ledger, other) = version(repo, first, say), version(repo, second, say)
    test = _examination(repo, ledger.model, on, say)
    from gitdata.training import gate, metrics
    from gitdata.training.by_extension import by_extension

    sides = [_comparable(test, ledger, own), _comparable(test, other_ledger, other)]
    rows, of_row = test.unknown_to(*sides)
    answers = [metrics.answers(side, rows, test.declaration) for side in sides]
    losses, losses_of_other = (gate.losses_of(one, test.declaration) for one in answers)
    tables = [by_extension(one, rows, of_row, test.declaration) for one in answers]
    chains = chains_here(repo)
    result = gate.judge(losses, losses_of_other, test.declaration)
    numbers = ("candidate_mean", "baseline_mean", "ratio", "lower", "upper", "detectable")
    found = {name: rounded(getattr(result, name)) for name in numbers}
    return Record(
        "comparison",
        own.id,
        {
            "by_extension": _side_by_side(tables[0], tables[1], chains),
            "detectable": found["detectable"],
            "loss": found["candidate_mean"],
            "loss_of_other": found["baseline_mean"],
            "lower": found["lower"],
            "metric": test.declaration.metric,
            "measures": _numbers_of(record_of(ledger, own, chains)),
            "measures_of_other": _numbers_of(record_of(other_ledger, other, chains)),
            "metrics": rounded_all(metrics.measured(answers[0], rows, test.declaration)),
            "metrics_of_other": rounded_all(metrics.measured(answers[1], rows, test.declaration)),
            "other": f"{other_ledger.model}@{other.number}",
            "ratio": found["ratio"],
            "upper": found["upper"],
            "verdict": result.verdict,
            "version": f"{ledger.model}@{own.number}",
            **test.fields(rows),
        },
    )


def _side_by_side(own: Table, other: Table, chains: Mapping[str, Chain]) -> list[dict[str, Any]]:
    """What each side loses on the test rows that each extension brought."""
    return [
        {
            "constant": rounded(part["constant"]),
            "extension": labels_of_any(chains, [id])[0],
            "loss": rounded(part["loss"]),
            "loss_of_other": rounded(other[id]["loss"]),
            "rows": part["rows"],
        }
        for id, part in own.items()
    ]


def _numbers_of(record: Record) -> dict[str, float | None]:
    """The measures of a lineage that are one number each."""
    return {name: value for name, value in record.fields.items() if value is None or isinstance(value, float)}


def _examination(repo: Repo, model: str, on: str | None, say: Say) -> _Examination:
    """The test rows to judge by. Raises Mendable where there are none."""
    import numpy as np

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
    parts = source.parts(chain, live, "test")
    rows = source.rows(parts)
    of_row = np.repeat(np.array([part.extension.id for part in parts], object), [part.rows for part in parts])
    return _Examination(Judge(source, declaration, {}), declaration, extensions, rows, of_row, source.digests(rows))


def _comparable(test: _Examination, ledger: Ledger, entry: Entry) -> Package:
    from gitdata.training import gate

    package = test.judge.package(entry)
    if not gate.comparable(package, test.declaration, test.rows):
        raise Mendable(
            f"{ledger.model}@{entry.number} predicts other outputs, or from other inputs, than these test rows have.",
            "It was trained under another [data]; see `gitdata lineage`.",
        )
    return package
