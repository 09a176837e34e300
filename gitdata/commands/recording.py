"""Recording: a candidate is judged on the ledger and the data as they are at that moment, and both go into one commit.

Whoever loses the race for the ledger judges again; training is not repeated. A version that is on the ledger already is
immutable: only its verdict changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitdata.commands.card import model_card
from gitdata.commands.judge import Judge, Judgement, rounded_all
from gitdata.commands.publish import Change, Publisher, champion_file, publish, verdict_file, version_files
from gitdata.commands.records import Record
from gitdata.commands.task import Task, View
from gitdata.data import choice
from gitdata.data.choice import Decision
from gitdata.data.ledger import Entry, Ledger, Verdict
from gitdata.data.pointer import ModelVersion

if TYPE_CHECKING:
    from gitdata.commands.trial import Trial
    from gitdata.training.package import Package

Candidate = Callable[[Ledger], tuple[Entry | None, ModelVersion]]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A version that was just trained: its package, the files that it was stored as, and who is to try them."""

    version: ModelVersion
    package: Package
    files: Mapping[str, bytes]
    trial: Trial


def record_version(
    task: Task, began: View, decision: Decision, judge: Judge, fresh: Fresh, publisher: Publisher = publish
) -> Record:
    """Judge a version that was just trained, and record it with its verdict, if it is found to be what was judged."""
    version = fresh.version

    def candidate(ledger: Ledger) -> tuple[Entry | None, ModelVersion]:
        return ledger.entries.get(version.id), version

    return _record(task, began, decision, judge, candidate, fresh, publisher)


def record_verdict(task: Task, began: View, decision: Decision, judge: Judge) -> Record:
    """Judge an existing version as it is: it covers what is live, or only the test rows changed."""
    id = decision.candidate
    assert id is not None
    return _record(task, began, decision, judge, lambda ledger: (ledger.entries[id], ledger.entries[id].version), None)


def describe(task: Task, decision: Decision, recorded: tuple[Entry, Judgement] | None) -> Record:
    """What came of a decision, as a record."""
    fields: dict[str, Any] = {
        "action": decision.action,
        "attempt": decision.attempt,
        "model": task.model,
        "reason": decision.reason,
        "unseen": sorted(decision.unseen),
    }
    if recorded is None:
        return Record("training", task.model, fields)
    entry, judgement = recorded
    fields |= {
        "champion": judgement.promoted,
        "comparisons": [dict(comparison) for comparison in judgement.comparisons],
        "conditions": [dict(condition) for condition in judgement.conditions],
        "left_out": judgement.left_out,
        "method": entry.version.method,
        "metrics": rounded_all(judgement.metrics),
        "reason": judgement.reason,
        "suspects": [],
        "rungs": entry.version.training.get("rungs", []),
        "test_rows": judgement.test_rows,
        "verdict": judgement.outcome,
        "version": entry.stem,
    }
    return Record("training", entry.id, fields)


def record_fall_back(task: Task, began: View, decision: Decision) -> Record:
    """Let the youngest eligible version take the place of a tainted champion, on the ledger as it is then."""
    done: list[Decision] = []
    entries: list[Entry] = []

    def propose(tip: str | None) -> Change | None:
        done.clear()
        view = task.view_now(tip, began_at_tip=began.situation.may_move_champion)
        now = choice.decide(view.situation)
        if now.action != "fall back" or now.candidate is None or not view.situation.may_move_champion:
            return None
        ledger = view.situation.ledger
        entry, tainted = ledger.entries[now.candidate], ledger.entries[str(ledger.champion)]
        done.append(now)
        entries[:] = [entry]
        message = (
            f"{ledger.model}: version {entry.number} is the champion again\n\n"
            f"Version {tainted.number} saw what is no longer live.\n"
        )
        return Change(champion_file(ledger, entry), message)

    publish(task.repo, propose)
    if done:
        fallen = describe(task, done[0], None)
        return replace(fallen, fields={**fallen.fields, "version": entries[0].stem, "champion": True})
    return describe(task, replace(decision, action="nothing", reason="somebody was faster"), None)


def _record(
    task: Task, began: View, decision: Decision, judge: Judge, candidate: Candidate, fresh: Fresh | None,
    publisher: Publisher = publish,
) -> Record:  # fmt: skip
    began_at_tip = began.situation.may_move_champion
    recorded: list[tuple[Entry, Judgement]] = []
    kept: list[Entry] = []

    def propose(tip: str | None) -> Change | None:
        recorded.clear()
        kept.clear()
        view = task.view_now(tip, began_at_tip=began_at_tip)
        ledger = view.situation.ledger
        if decision.attempt in ledger.attempts and not task.force:
            return None  # somebody else asked and answered the same question meanwhile
        known, version = candidate(ledger)
        if known and known.verdict.outcome in choice.SETTLED_BY_A_PERSON:
            kept.append(known)
            return _keep_settled(known, decision)  # a person's word on this very version stands
        why = _why_experiment(task, view, version)
        if why:
            view = replace(view, situation=replace(view.situation, may_move_champion=False))
        if known and not view.situation.may_move_champion:
            kept.append(known)
            return _keep_settled(known, decision)  # an experiment that made a known version again changes nothing
        package = fresh.package if fresh else judge.package(ledger.entries[version.id])
        judgement = judge.judge(view, version.id, package)
        if fresh:
            rows = judge.judged_rows(view, package)
            fresh.trial.require(task.model, task.text, fresh.files, rows, judgement.metrics)
        if why:
            judgement = replace(judgement, reason=f"{why}; {judgement.reason}")
        if known and known.id == ledger.champion:
            judgement = _as_before(known.verdict, judgement, measured=decision.action == "measure")
        entry = _entry(view, decision, known, version, judgement)
        recorded.append((entry, judgement))
        files = verdict_file(entry) if known else version_files(entry, model_card(entry, view.situation, view.chain))
        return _change(view, entry, judgement, files)

    publisher(task.repo, propose)
    if not recorded:
        reasons = [f"version {entry.number} stays {entry.verdict.outcome}" for entry in kept]
        reason = "".join(reasons) or "somebody else recorded an answer meanwhile"
        decision = replace(decision, action="nothing", reason=reason)
    return describe(task, decision, recorded[0] if recorded else None)


def _as_before(verdict: Verdict, judgement: Judgement, *, measured: bool) -> Judgement:
    """Of the champion made once more, or measured anew: it is not held against itself, and stays what it was.

    Where it misses a condition now, that is said.
    """
    reason = verdict.reason
    if measured:
        missed = judgement.reason if judgement.outcome == "refused" else f"{judgement.test_rows} test rows"
        reason = f"measured anew: {missed}"
    return replace(judgement, outcome=verdict.outcome, promoted=True, reason=reason, comparisons=verdict.comparisons)


def _keep_settled(known: Entry, decision: Decision) -> Change | None:
    if decision.attempt in known.verdict.attempts:
        return None
    kept = replace(known.verdict, attempts=(*known.verdict.attempts, decision.attempt))
    subject = f"{known.version.model}: version {known.number} stays {kept.outcome}"
    return Change(verdict_file(replace(known, verdict=kept)), f"{subject}\n\n{kept.reason}\n")


def _why_experiment(task: Task, view: View, version: ModelVersion) -> str | None:
    """Why a candidate may not move the champion as things are now; None where it may."""
    situation = view.situation
    seen = situation.ledger.seen(version.parent) | set(version.added)
    if task.experiment:
        return "trained on other data than the declared ones"
    if not situation.may_move_champion:
        return "trained away from the tip of the deployment branch"
    if not choice.still_holds(situation, version.parent, seen):
        return "the data or the champion moved on while it was trained"
    if situation.attempt in situation.ledger.attempts and not task.force:
        return "the same question was answered while it was trained"  # by a person who promoted, say
    return None


def _entry(view: View, decision: Decision, known: Entry | None, version: ModelVersion, judgement: Judgement) -> Entry:
    """The version with its verdict; what is measured anew keeps the verdict that it had."""
    metrics = rounded_all(judgement.metrics)
    earlier = known.verdict if known else None
    attempts = tuple(dict.fromkeys((*(earlier.attempts if earlier else ()), decision.attempt)))
    if known and decision.action == "measure":
        kept = replace(
            known.verdict,
            tested=view.situation.tested,
            metrics=metrics,
            attempts=attempts,
            conditions=judgement.conditions,
        )
        return replace(known, verdict=kept)
    verdict = Verdict(
        outcome=judgement.outcome,
        reason=judgement.reason,
        who="gitdata",
        promoted=judgement.promoted or bool(earlier and earlier.promoted),
        tested=view.situation.tested,
        attempts=attempts,
        metrics=metrics,
        comparisons=judgement.comparisons,
        conditions=judgement.conditions,
    )
    if known:
        return Entry(known.number, known.version, verdict)
    return Entry(view.situation.ledger.next_number, replace(version, metrics=metrics), verdict)


def _change(view: View, entry: Entry, judgement: Judgement, files: dict[str, bytes | None]) -> Change:
    """The commit: the version's files, and the champion where it moves."""
    ledger = view.situation.ledger
    champion: Entry | None = entry if judgement.promoted else None
    if judgement.outcome == "refused" and choice.tainted_of(view.situation):
        champion = next(iter(choice.eligible(view.situation)), None)
    if champion is not None:
        files |= champion_file(ledger, champion)
    subject = f"{ledger.model}: version {entry.number} {judgement.outcome}"
    return Change(files, f"{subject}\n\n{judgement.reason}\n\nTrained at {entry.version.commit}.\n")
