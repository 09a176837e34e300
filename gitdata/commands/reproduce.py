"""Reproduce: a recorded version trained once more, from what its pointer names, and held against its package.

The commit gives declaration and data, the pointer the parent, the package the method with its options. It is one step
of the one way of training; nothing of it is stored, and the ledger stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gitdata.commands.engine import prepare_training
from gitdata.commands.judge import Judge, rounded, rounded_all
from gitdata.commands.models import version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import AnyColumns, RowSource, count
from gitdata.commands.situation import declared, labels_of_any, situation_of
from gitdata.commands.task import Task, View
from gitdata.commands.train import training_data
from gitdata.commands.trial import first_difference
from gitdata.data.choice import Decision
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import DataUnavailable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lenders
    from gitdata.training.declaration import Method
    from gitdata.training.gate import Comparison
    from gitdata.training.methods import Outcome, TrainingData
    from gitdata.training.package import Package
    from gitdata.training.sameness import Sameness


@dataclass(frozen=True, slots=True)
class _Past:
    """A version, and how things were when it was trained: the task, what the rule looked at, what it decided."""

    ledger: Ledger
    entry: Entry
    task: Task
    view: View
    decision: Decision
    lent: Lenders

    @property
    def name(self) -> str:
        return f"{self.ledger.model}@{self.entry.number}"


def reproduce(repo: Repo, reference: str, say: Say = silent) -> Record:
    """Train a version again from what is recorded of it, and say how far the result is from its package.

    Raises DataUnavailable where the commit, an extension, rows, or a package that it takes are gone.
    """
    ledger, entry = version(repo, reference, say)
    past = _past(repo, ledger, entry, say)
    prepare_training(repo)
    judge = Judge(past.task.source, past.task.declaration, {})
    recorded = judge.package(entry)
    restored = judge.package(ledger.entries[entry.version.parent]) if entry.version.parent else None
    method = _method(past, recorded)
    data = _data(past, method, restored)
    outcome = _trained(past, method, data, restored)
    rows = judge.judged_rows(past.view, recorded)
    found, gated = _compared(past, recorded, outcome.package, rows or data.validation())
    return _record(past, recorded, outcome, found, gated, rows)


# --- how things were -----------------------------------------------------------------------------------------


def _past(repo: Repo, ledger: Ledger, entry: Entry, say: Say) -> _Past:
    """Raises DataUnavailable where the commit that a version was trained at, or what it declared, is gone."""
    from gitdata.training.declaration import parse

    repo.require_initialised()
    model, name = ledger.model, f"{ledger.model}@{entry.number}"
    snapshot = _snapshot(repo, entry, name)
    if model not in snapshot.declarations:
        raise DataUnavailable(
            f"Commit {entry.version.commit:.8}, that {name} was trained at, does not declare it.",
            "The pointer on the ledger names another commit than it should: look at `git log gitdata/models`.",
        )
    text = snapshot.declarations[model]
    declaration, wanted = parse(text, model), declared(repo, model, text)
    source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
    task = Task(repo, model, snapshot, wanted, text, declaration, source, say, experiment=True, force=True)
    commit = repo.ledger_commit()
    view = _view(task, ledger, entry, commit, name)
    added = frozenset(entry.version.added)
    decision = Decision("train", "what is recorded", "", None, restored=entry.version.parent, unseen=added)
    return _Past(ledger, entry, task, view, decision, task.lenders(commit))


def _snapshot(repo: Repo, entry: Entry, name: str) -> Snapshot:
    if repo.git.resolve(entry.version.commit) is None:
        raise DataUnavailable(
            f"The commit {entry.version.commit:.8}, that {name} was trained at, is not in this clone.",
            "Fetch the branch that holds it: `git fetch --all`; in a shallow clone `git fetch --unshallow`.",
        )
    return repo.snapshot(entry.version.commit)


def _view(task: Task, ledger: Ledger, entry: Entry, commit: str | None, name: str) -> View:
    """What was live then. Raises DataUnavailable where the commit lacks an extension that the version saw.

    A version that was trained on other data than the declared ones saw a closure of these.
    """
    seen = ledger.seen(entry.id)

    chains, others = task.snapshot.chains, partial(task.repo.ledger, commit=commit)
    for dataset, pinned in _readings(task, seen):
        wanted = replace(task.wanted, dataset=dataset, version=pinned)
        found = situation_of(task.repo, task.snapshot, wanted, ledger, others, may_move_champion=False)
        if found.trainable == seen:
            return View(found, chains[dataset])
    lost = labels_of_any(chains, seen)
    raise DataUnavailable(
        f"At commit {entry.version.commit:.8} what {name} saw is not what is live: {', '.join(lost)}.",
        "Its extensions were not committed there, or the pointer on the ledger names another commit than it should.",
    )


def _readings(task: Task, seen: frozenset[str]) -> Iterator[tuple[str, str | None]]:
    """The data that a version may have been trained on, as dataset and version: the declared, and those that it saw."""
    chains = task.snapshot.chains
    if task.wanted.dataset in chains:
        yield task.wanted.dataset, task.wanted.version
    for dataset, chain in sorted(chains.items()):
        own = seen & chain.extensions.keys()
        heads = own - {parent for id in own for parent in chain.extensions[id].parents}
        if own:
            yield dataset, None
        if len(heads) == 1:
            yield dataset, min(heads)


# --- training ------------------------------------------------------------------------------------------------


def _method(past: _Past, recorded: Package) -> Method:
    """The rung that was taken, with the options that its package tells. Raises DataUnavailable where these are none."""
    from pydantic import ValidationError

    from gitdata.training.contents import damaged
    from gitdata.training.declaration import Method

    try:
        options = dict(recorded.manifest.get("options", {}))
        return Method.model_validate({"name": recorded.manifest["method"], **options})
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise damaged("manifest.json", f"its method is none ({past.entry.version.method})") from error


def _data(past: _Past, method: Method, restored: Package | None) -> TrainingData:
    """The rows of that training; versions of before this was recorded read what was seen if their rungs do."""
    bounded = past.entry.version.training.get("bounded")
    ladder = past.task.declaration.retraining.method
    methods = ladder if {one.name for one in ladder} & {method.name, "auto"} else (method,)
    known = bounded if isinstance(bounded, bool) else None
    return training_data(past.task, past.view, past.decision, methods, restored, known)


def _trained(past: _Past, method: Method, data: TrainingData, restored: Package | None) -> Outcome:
    from gitdata.training.methods import climb

    task = past.task
    task.say(f"Training {past.name} again, by {method.name}, on {count(data.unseen())} rows that were unseen.")
    return climb(task.declaration, data, restored, restored, (method,), task.say, None, past.lent)


# --- comparing -----------------------------------------------------------------------------------------------


def _compared(past: _Past, recorded: Package, again: Package, rows: AnyColumns) -> tuple[Sameness, Comparison | None]:
    """How far two packages are from each other, and what the gate says of the one beside the other."""
    from gitdata.training import gate
    from gitdata.training.sameness import compared

    declaration, sides = past.task.declaration, (recorded, again)
    if not count(rows):
        return compared(recorded, again, None, None), None
    if not all(gate.comparable(side, declaration, rows) for side in sides):
        return compared(recorded, again, rows, None), None
    own, other = (gate.row_losses(side, rows, declaration) for side in sides)
    losses = gate.mean_loss(own, declaration), gate.mean_loss(other, declaration)
    return compared(recorded, again, rows, losses), gate.judge(other, own, declaration)


def _contradictions(past: _Past, recorded: Package, rows: AnyColumns) -> list[str]:
    """What the pointer says, and the commit or the package does not."""
    entry, wanted = past.entry.version, past.task.wanted
    at = f"at commit {entry.commit:.8}"
    found = []
    if entry.declaration != wanted.declaration or entry.restore != wanted.restore:
        found.append(f"another declaration is recorded ({entry.declaration[:8]}) than {at} ({wanted.declaration[:8]})")
    if entry.method != recorded.manifest.get("method"):
        found.append(f"the pointer says {entry.method}, the package was made by {recorded.manifest.get('method')}")
    if entry.metrics and count(rows):
        from gitdata.training.metrics import measure

        metrics = {name: value for name, value in entry.metrics.items() if name != "extensions"}
        measured = rounded_all(measure(recorded, rows, past.task.declaration))
        try:
            different = first_difference(metrics, measured, "recorded metrics", f"on the test rows {at}")
        except OverflowError:  # an integer of hundreds of digits
            different = "the recorded metrics are no numbers"
        found += [different] if different else []
    return found


def _environments(past: _Past, recorded: Package, outcome: Outcome) -> dict[str, Any]:
    """What computed it then, as far as that is recorded, what computes now, and the names of what differs."""
    from gitdata.training.blocks import Blocks
    from gitdata.training.environment import machine
    from gitdata.training.methods.running import made_by
    from gitdata.training.sameness import differing

    training, made = past.entry.version.training, recorded.manifest.get("made_by")
    then = {**_texts(made), **_texts(training.get("machine"))}
    now = {**made_by(), **machine()}
    if isinstance(streamed := training.get("streamed"), bool):
        then["rows"] = "streamed" if streamed else "in memory"
        now["rows"] = "streamed" if isinstance(outcome.trained_on, Blocks) else "in memory"
    known = {name: value for name, value in now.items() if name in then}
    return {"differs": sorted(differing(then, known)), "now": now, "recorded": then}


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(inner) for key, inner in value.items()} if isinstance(value, dict) else {}


def _record(
    past: _Past, recorded: Package, outcome: Outcome, found: Sameness, gated: Comparison | None, rows: AnyColumns
) -> Record:
    from gitdata.training.sameness import BOUND

    version, parent = past.entry.version, past.entry.version.parent
    contradictions = _contradictions(past, recorded, rows)
    fields = {
        "answers": _number(found.answers),
        "bound": BOUND,
        "commit": version.commit,
        "contradictions": contradictions,
        "environment": _environments(past, recorded, outcome),
        "extensions": labels_of_any(past.task.snapshot.chains, past.ledger.seen(past.entry.id)),
        "gate": gated and {name: rounded(getattr(gated, name)) for name in ("lower", "ratio", "upper")},
        "is_reproduced": found.outcome != "different" and not contradictions,
        "loss": _number(found.losses and found.losses[0]),
        "loss_again": _number(found.losses and found.losses[1]),
        "loss_difference": _number(found.loss_difference),
        "method": outcome.rung.method,
        "metric": past.task.declaration.metric,
        "model": past.ledger.model,
        "number": past.entry.number,
        "outcome": found.outcome,
        "parent": past.ledger.entries[parent].number if parent else None,
        "parts": list(found.parts),
        "rows": count(rows),
        "seconds": rounded(outcome.rung.seconds),
        "seconds_recorded": _seconds(version.training.get("rungs"), outcome.rung.method),
        "steps": outcome.rung.steps,
        "weights": _number(found.weights),
    }
    return Record("reproduction", past.entry.id, fields)


def _number(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _seconds(rungs: Any, method: str) -> float | None:
    """What the rung that was taken took, as far as the ledger says."""
    tried = [rung for rung in rungs if isinstance(rung, dict)] if isinstance(rungs, list) else []
    found = next((rung.get("seconds") for rung in reversed(tried) if rung.get("method") == method), None)
    return rounded(found) if isinstance(found, float) and found == found else None
