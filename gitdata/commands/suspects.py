"""Suspects: after two refusals in a row, which pending extension spoils the rest.

A candidate is trained without each of them in turn, and held against the champion on validation rows that the one left
out did not bring. It is a *suspect* if the refused candidate is worse there than the tolerance allows, and the one
without it is not. The test rows are not asked again, and no version comes of it: it is one step of the attempt that was
refused, whose key is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitdata.commands.judge import Judge, rounded
from gitdata.commands.publish import Change, publish, verdict_file
from gitdata.commands.records import Record
from gitdata.commands.rowsource import AnyColumns, count
from gitdata.commands.task import Task, View
from gitdata.data import choice
from gitdata.data.chain import Chain
from gitdata.data.choice import Decision, LeaveOut
from gitdata.errors import GitdataError, Mendable

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lenders
    from gitdata.training.methods import TrainingData
    from gitdata.training.package import Package

Rows = Callable[[View, Decision], "TrainingData"]


@dataclass(frozen=True, slots=True)
class _Search:
    """The refused candidate and the baseline beside it, and what a training takes."""

    task: Task
    judge: Judge
    lent: Lenders
    rows_of: Rows
    chain: Chain
    method: str
    candidate: Package
    baseline: Package

    def loss(self, package: Package, rows: AnyColumns) -> float:
        from gitdata.training import gate

        return gate.mean_loss(gate.row_losses(package, rows, self.task.declaration), self.task.declaration)


def name_suspects(task: Task, judge: Judge, lent: Lenders, record: Record, rows_of: Rows) -> Record:
    """`record`, of an attempt that was refused, with the extensions that spoil it; they are recorded in its verdict.

    `rows_of`: the rows of a training. What goes wrong on the way is said: the verdict stands already.
    """
    if record.fields.get("verdict") != "refused":
        return record
    try:
        view = task.view(task.repo.fetch_ledger())
        outs = choice.leave_outs(view.situation, record.id)
        suspects = _suspects(task, judge, lent, view, outs, record, rows_of) if outs else []
        if suspects:
            _publish(task, record.id, suspects)
    except GitdataError as error:
        task.say(f"What spoils it could not be looked for: {error.message}")
        return record
    return replace(record, fields={**record.fields, "suspects": suspects})


def _suspects(
    task: Task, judge: Judge, lent: Lenders, view: View, outs: tuple[LeaveOut, ...], record: Record, rows_of: Rows
) -> list[dict[str, Any]]:
    from gitdata.training import gate

    ledger, baseline = view.situation.ledger, choice.baseline_of(view.situation)
    assert baseline is not None  # whom it was refused beside
    champion, candidate = judge.package(ledger.entries[baseline]), judge.package(ledger.entries[record.id])
    search = _Search(task, judge, lent, rows_of, view.chain, record["method"], candidate, champion)
    task.say(f"Refused again: which of {len(outs)} pending extensions spoils it? Training without each in turn.")
    found = []
    for out in outs:
        rows = rows_of(_view(search, out), _decision(out)).validation()
        if count(rows) and gate.comparable(champion, task.declaration, rows):
            found += _tried(search, out, rows, view)
    if not found:
        task.say("None of them alone: without it, the rest does no better on validation rows.")
    return found


def _tried(search: _Search, out: LeaveOut, rows: AnyColumns, view: View) -> list[dict[str, Any]]:
    """The extension that was left out, if that brings the candidate within the tolerance."""
    champion = search.loss(search.baseline, rows)
    allowed = (1 + search.task.declaration.deployment.tolerance) * champion
    with_it = search.loss(search.candidate, rows)
    if with_it <= allowed:
        return []  # what it does to the candidate does not show on rows that others brought
    try:
        package = _trained(search, out, view)
    except Mendable as error:
        search.task.say(f"without {_name(search.chain, out.extension)}: {error.message}")
        return []
    without = search.loss(package, rows)
    if without > allowed:
        return []
    return [
        {
            "extension": out.extension,
            "name": _name(search.chain, out.extension),
            "ratio": rounded(without / champion),
            "ratio_with": rounded(with_it / champion),
            "rows": count(rows),
        }
    ]


def _trained(search: _Search, out: LeaveOut, view: View) -> Package:
    """What the same method comes to without an extension; where nothing is left to train, what is restored."""
    from gitdata.training.methods import climb

    task, ledger = search.task, view.situation.ledger
    restored = search.judge.package(ledger.entries[out.restored]) if out.restored else None
    if restored is not None and not out.unseen:
        return restored
    name = _name(search.chain, out.extension)
    data = search.rows_of(_view(search, out), _decision(out))

    def say(message: str) -> None:
        task.say(f"without {name}: {message}")

    return climb(
        task.declaration,
        data,
        restored,
        search.baseline if restored else None,
        (search.method,),
        say,
        None,
        search.lent,
    ).package


def _view(search: _Search, out: LeaveOut) -> View:
    return View(out.situation, search.chain)


def _decision(out: LeaveOut) -> Decision:
    return Decision("train", "a step of an attempt", "", None, restored=out.restored, unseen=out.unseen)


def _name(chain: Chain, id: str) -> str:
    """`dataset@version`; the id in place of a label that several have."""
    extension = chain.extensions[id]
    label = extension.short if extension.version in chain.double_versions else extension.version
    return f"{extension.dataset}@{label}"


def _publish(task: Task, id: str, suspects: list[dict[str, Any]]) -> None:
    """Into the verdict of the version, unless a person settled it meanwhile."""

    def propose(tip: str | None) -> Change | None:
        entry = task.repo.ledger(task.model, tip).entries.get(id)
        if entry is None or entry.verdict.outcome != "refused":
            return None
        changed = replace(entry, verdict=replace(entry.verdict, suspects=tuple(suspects)))
        names = ", ".join(suspect["name"] for suspect in suspects)
        subject = f"{task.model}: version {entry.number} would be within the tolerance without {names}"
        return Change(verdict_file(changed), f"{subject}\n")

    publish(task.repo, propose)
