"""Settle: a person's word on versions — promote, reject, roll back. The ledger records who and why.

No wake-up overrules it: the question that the data of the deployment branch pose to the new champion counts as asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from gitdata.commands.models import ledger_named, selected, taints, version_record
from gitdata.commands.publish import Change, champion_file, publish, verdict_file
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import declared, situation_of
from gitdata.commands.task import deployment_tip
from gitdata.data.choice import SETTLED_BY_A_PERSON
from gitdata.data.ledger import Entry, Ledger, Outcome
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo


@dataclass(frozen=True, slots=True)
class _Word:
    """What a person decided: the versions whose verdict changes, and the champion from now on."""

    about: Entry
    changed: tuple[Entry, ...]
    champion: str | None
    what: str


def promote(repo: Repo, reference: str, message: str | None, say: Say = silent) -> Record:
    """Make a version the champion."""
    model, selector = _version_named(reference)

    def decide(ledger: Ledger, who: str) -> _Word | None:
        entry = selected(ledger, selector)
        if ledger.champion == entry.id:
            return None
        verdict = _verdict(entry, "accepted", message or f"promoted by {who}", who, promoted=True)
        return _Word(verdict, (verdict,), entry.id, "promoted")

    return _settle(repo, model, decide, lambda ledger: selected(ledger, selector))


def reject(repo: Repo, reference: str, message: str | None, say: Say = silent) -> Record:
    """Settle that a version is not to be used: nothing is restored from it, no wake-up proposes it again."""
    model, selector = _version_named(reference)

    def decide(ledger: Ledger, who: str) -> _Word | None:
        entry = selected(ledger, selector)
        if ledger.champion == entry.id:
            raise Mendable(f"{reference} is the champion.", f"Go back to an earlier one: `gitdata rollback {model}`.")
        if entry.verdict.outcome == "rejected":
            return None
        verdict = _verdict(entry, "rejected", message or f"rejected by {who}", who)
        return _Word(verdict, (verdict,), ledger.champion, "rejected")

    return _settle(repo, model, decide, lambda ledger: selected(ledger, selector))


def rollback(repo: Repo, model: str, to: str | None, message: str | None, say: Say = silent) -> Record:
    """Go back to an earlier champion; it and all that came between are then settled as rolled back."""

    def decide(ledger: Ledger, who: str) -> _Word | None:
        if ledger.champion is None:
            raise Mendable(f"The model '{model}' has no champion.", f"See `gitdata models {model}`.")
        champion = ledger.entries[ledger.champion]
        target = _earlier_champion(ledger, champion) if to is None else selected(ledger, to)
        if target.number >= champion.number:
            raise Mendable(
                f"{model}@{target.number} is not older than the champion, {model}@{champion.number}.",
                f"To go forward: `gitdata promote {model}@{target.number}`.",
            )
        reason = message or f"rolled back to version {target.number} by {who}"
        undone = [
            _verdict(entry, "rolled back", reason, who)
            for entry in ledger.youngest_first
            if target.number < entry.number <= champion.number
            and entry.verdict.promoted
            and entry.verdict.outcome not in SETTLED_BY_A_PERSON
        ]
        back = _verdict(target, "accepted", reason, who, promoted=True)
        return _Word(back, (*undone, back), target.id, f"is the champion again, {champion.number} rolled back")

    return _settle(repo, model, decide, lambda ledger: ledger.entries[str(ledger.champion)])


def _earlier_champion(ledger: Ledger, champion: Entry) -> Entry:
    for entry in ledger.youngest_first:
        older = entry.number < champion.number
        if older and entry.verdict.promoted and entry.verdict.outcome not in SETTLED_BY_A_PERSON:
            return entry
    raise Mendable(
        f"'{ledger.model}' has no champion before {ledger.model}@{champion.number} to go back to.",
        f"Name a version with --to; see `gitdata models {ledger.model}`.",
    )


def _version_named(reference: str) -> tuple[str, str]:
    model, _, selector = reference.partition("@")
    if not selector:
        raise Mendable(
            f"'{reference}' names no version.", f"Name one, as in `{model}@3`; see `gitdata models {model}`."
        )
    return model, selector


def _verdict(entry: Entry, outcome: Outcome, reason: str, who: str, *, promoted: bool = False) -> Entry:
    promoted = promoted or entry.verdict.promoted
    return replace(entry, verdict=replace(entry.verdict, outcome=outcome, reason=reason, who=who, promoted=promoted))


def _settle(
    repo: Repo,
    model: str,
    decide: Callable[[Ledger, str], _Word | None],
    about: Callable[[Ledger], Entry],
) -> Record:
    """Publish a person's word; decided anew on the ledger as it is then, should somebody be faster."""
    who = repo.who
    settled: list[tuple[Ledger, Entry]] = []

    def propose(tip: str | None) -> Change | None:
        ledger = ledger_named(repo, tip, model)
        word = decide(ledger, who)
        if word is None:
            settled[:] = [(ledger, about(ledger))]
            return None
        after = replace(ledger, entries={**ledger.entries, **_by_id(word.changed)}, champion=word.champion)
        changed = _answer(repo, after, word, went_back=_is_older(ledger, word))
        settled[:] = [(after, changed[-1])]
        files = {path: content for entry in changed for path, content in verdict_file(entry).items()}
        if word.champion is not None and word.champion != ledger.champion:
            files |= champion_file(after, after.entries[word.champion])
        subject = f"{model}: version {word.about.number} {word.what}"
        return Change(files, f"{subject}\n\n{word.about.verdict.reason}\n")

    publish(repo, propose)
    ledger, entry = settled[0]
    return version_record(ledger, entry, taints(repo)(ledger, entry))


def _is_older(ledger: Ledger, word: _Word) -> bool:
    """Whether a person went back to an older version; going forward leaves the way open for what comes next."""
    if word.champion is None or ledger.champion is None:
        return False
    return ledger.entries[word.champion].number < ledger.entries[ledger.champion].number


def _answer(repo: Repo, after: Ledger, word: _Word, *, went_back: bool) -> tuple[Entry, ...]:
    """The changed versions; the last holds the key of the question that a wake-up would ask now, where there is one."""
    if not went_back:
        return word.changed
    *others, last = word.changed
    try:
        wanted = declared(repo, after.model, repo.snapshot().declaration(after.model))
        snapshot = repo.snapshot(deployment_tip(repo, wanted.branch) or "HEAD")
        wanted = declared(repo, after.model, snapshot.declaration(after.model))
        ledgers = partial(repo.ledger, commit=repo.ledger_commit())
        key = situation_of(repo, snapshot, wanted, after, ledgers, may_move_champion=True).attempt
    except GitdataError:
        return word.changed  # a person's word needs neither the data here nor a valid declaration
    attempts = tuple(dict.fromkeys((*last.verdict.attempts, key)))
    return (*others, replace(last, verdict=replace(last.verdict, attempts=attempts)))


def _by_id(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.id: entry for entry in entries}
