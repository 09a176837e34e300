"""Models: the versions of a model with their verdicts, promotion by a person, and prediction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gitdata.commands.publish import Change, champion_file, publish, verdict_file
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import declared, live_of
from gitdata.commands.task import deployment_tip
from gitdata.commands.transfer import package_folder
from gitdata.data.ledger import Entry, Ledger, attempt_key
from gitdata.errors import GitdataError, Mendable, TryAgain
from gitdata.repo import Repo


def models(repo: Repo, model: str | None = None, say: Say = silent) -> list[Record]:
    """One record per version, oldest first."""
    ledgers = repo.ledgers(up_to_date_ledger(repo, say))
    if model is not None:
        ledgers = {model: _ledger(ledgers, model)}
    return [
        _record(ledger, entry) for _, ledger in sorted(ledgers.items()) for entry in reversed(ledger.youngest_first)
    ]


def up_to_date_ledger(repo: Repo, say: Say = silent) -> str | None:
    """The ledger's tip, fetched; where the git remote is away, what is here, and that is said."""
    try:
        return repo.fetch_ledger()
    except TryAgain as error:
        commit = repo.ledger_commit()
        if commit is None:
            raise
        say(f"{error.message} Using the ledger as it was fetched last.")
        return commit


def version(repo: Repo, reference: str, say: Say = silent) -> tuple[Ledger, Entry]:
    """The version that `MODEL@N` names (a number, or an id prefix), or the champion of `MODEL`."""
    model, _, selector = reference.partition("@")
    ledger = _ledger(repo.ledgers(up_to_date_ledger(repo, say)), model)
    if not selector:
        if ledger.champion is None:
            raise Mendable(
                f"The model '{model}' has no champion yet.",
                f"Name a version, as in `{model}@{ledger.youngest_first[0].number}`; see `gitdata models {model}`.",
            )
        return ledger, ledger.entries[ledger.champion]
    return ledger, _selected(ledger, selector)


def promote(repo: Repo, reference: str, message: str | None, say: Say = silent) -> Record:
    """Make a version the champion, on a person's word; the ledger records who and why."""
    model, _, selector = reference.partition("@")
    if not selector:
        raise Mendable(
            f"'{reference}' names no version.", f"Name one, as in `{model}@3`; see `gitdata models {model}`."
        )
    who = repo.git.config("user.name") or os.environ.get("USER") or "somebody"
    promoted: list[tuple[Ledger, Entry]] = []

    def propose(tip: str | None) -> Change | None:
        ledger = _ledger(repo.ledgers(tip), model)
        entry = _selected(ledger, selector)
        promoted[:] = [(ledger, entry)]
        if ledger.champion == entry.id:
            return None
        reason = message or f"promoted by {who}"
        keys = _key_after_going_back(repo, model, ledger, entry)
        verdict = replace(
            entry.verdict,
            outcome="accepted",
            reason=reason,
            who=who,
            promoted=True,
            attempts=tuple(dict.fromkeys((*entry.verdict.attempts, *keys))),
        )
        entry = replace(entry, verdict=verdict)
        promoted[:] = [(replace(ledger, entries={**ledger.entries, entry.id: entry}, champion=entry.id), entry)]
        subject = f"{model}: version {entry.number} promoted"
        return Change(verdict_file(entry) | champion_file(ledger, entry), f"{subject}\n\n{reason}\n")

    publish(repo, propose)
    ledger, entry = promoted[0]
    return _record(ledger, entry)


def predict(repo: Repo, reference: str, source: Path, target: Path, say: Say = silent) -> Record:
    """Write a model's predictions for the rows of a file, in order, one column per output, in original units."""
    from gitdata.commands.train import compile_cache
    from gitdata.data import formats
    from gitdata.training.environment import prepare

    ledger, entry = version(repo, reference, say)
    columns = formats.read(source)
    if (target.exists() and not target.is_file()) or not target.parent.is_dir():
        raise Mendable(f"'{target}' cannot be written.", "Name a plain file in a folder that exists.")
    prepare(compile_cache())
    from gitdata.training import package

    with package_folder(repo, entry, say) as folder:
        predicted = package.predict(package.read(folder), columns)
    formats.columns_to_csv(predicted, target.resolve())
    rows = len(next(iter(predicted.values())))
    fields = {
        "file": str(target),
        "model": ledger.model,
        "outputs": list(predicted),
        "rows": rows,
        "version": entry.stem,
    }
    return Record("prediction", entry.id, fields)


def _ledger(ledgers: dict[str, Ledger], model: str) -> Ledger:
    if model not in ledgers:
        known = ", ".join(sorted(ledgers)) or "none"
        raise Mendable(
            f"The ledger has no version of a model '{model}'; models: {known}.",
            f"Train it: `gitdata train {model}`.",
        )
    return ledgers[model]


def _selected(ledger: Ledger, selector: str) -> Entry:
    if selector.isascii() and selector.isdigit() and (entry := ledger.numbered(int(selector))):
        return entry
    found = [e for e in ledger.entries.values() if len(selector) >= 4 and e.id.startswith(selector)]
    if len(found) != 1:
        numbers = ", ".join(str(e.number) for e in reversed(ledger.youngest_first))
        raise Mendable(f"Model '{ledger.model}' has no version '{selector}'; versions: {numbers}.", "Name one of them.")
    return found[0]


def _key_after_going_back(repo: Repo, model: str, ledger: Ledger, entry: Entry) -> Sequence[str]:
    """The question that a person answers by going back to an older version: no wake-up may ask it again.

    It is about the data of the deployment branch as the git remote has it. Going forward leaves the way open.
    """
    if ledger.champion is None or entry.number > ledger.entries[ledger.champion].number:
        return ()
    try:
        wanted = declared(repo, model, repo.snapshot().declaration(model))
        tip = deployment_tip(repo, wanted.branch)
        snapshot = repo.snapshot(tip or "HEAD")
        wanted = declared(repo, model, snapshot.declaration(model))
        _, live = live_of(repo, snapshot, wanted)
    except GitdataError:
        return ()  # promotion needs neither the data here nor a valid declaration
    return [attempt_key(live, wanted.declaration, entry.id, True)]


def _record(ledger: Ledger, entry: Entry) -> Record:
    version, verdict = entry.version, entry.verdict
    return Record(
        "model version",
        entry.id,
        {
            "added": list(version.added),
            "champion": ledger.champion == entry.id,
            "commit": version.commit,
            "comparisons": [dict(comparison) for comparison in verdict.comparisons],
            "method": version.method,
            "metrics": dict(verdict.metrics),
            "model": ledger.model,
            "number": entry.number,
            "parent": version.parent,
            "promoted": verdict.promoted,
            "reason": verdict.reason,
            "rungs": version.training.get("rungs", []),
            "verdict": verdict.outcome,
            "who": verdict.who,
        },
    )
