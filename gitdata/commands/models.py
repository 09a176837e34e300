"""Models: the versions of a model with their verdicts, and prediction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gitdata.commands.engine import prepare_training
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.transfer import package_files
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import GitdataError, Mendable, TryAgain
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, MODELS


def models(repo: Repo, model: str | None = None, say: Say = silent) -> list[Record]:
    """One record per version, oldest first."""
    commit = up_to_date_ledger(repo, say)
    ledgers = repo.ledgers(commit) if model is None else {model: ledger_named(repo, commit, model)}
    tainted_by = taints(repo)
    return [
        version_record(ledger, entry, tainted_by(ledger, entry))
        for _, ledger in sorted(ledgers.items())
        for entry in reversed(ledger.youngest_first)
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
    ledger = ledger_named(repo, up_to_date_ledger(repo, say), model)
    if not selector:
        if ledger.champion is None:
            raise Mendable(
                f"The model '{model}' has no champion yet.",
                f"Name a version, as in `{model}@{ledger.youngest_first[0].number}`; see `gitdata models {model}`.",
            )
        return ledger, ledger.entries[ledger.champion]
    return ledger, selected(ledger, selector)


def predict(repo: Repo, reference: str, source: Path, target: Path, say: Say = silent) -> Record:
    """Write a model's predictions for the rows of a file, in order, one column per output, in original units."""
    from gitdata.data import formats
    from gitdata.data.formats import csvfile

    ledger, entry = version(repo, reference, say)
    columns = formats.read(source)
    _require_target(repo, source, target)
    prepare_training(repo)
    from gitdata.training import package

    opened = package.decode(package_files(repo, entry, say))
    unknown = opened.preprocessing.unknown_categories(columns)
    outside = [found for found in opened.preprocessing.outside(columns) if not found.unknown]
    predicted = package.predict(opened, columns)
    csvfile.write(predicted, target.resolve())
    rows = len(next(iter(predicted.values())))
    fields = {
        "file": str(target),
        "model": ledger.model,
        "outputs": list(predicted),
        "outside": [found.to_json() for found in outside],
        "rows": rows,
        "tainted": taints(repo)(ledger, entry),
        "unknown": {field: [str(value) for value in values] for field, values in sorted(unknown.items())},
        "version": entry.stem,
    }
    return Record("prediction", entry.id, fields)


def _require_target(repo: Repo, source: Path, target: Path) -> None:
    """Raises Mendable where predictions may not be written: they never replace what is not theirs."""
    folder = target.resolve().parent
    if (target.exists() and not target.is_file()) or not folder.is_dir() or not target.name:
        raise Mendable(f"'{target}' cannot be written.", "Name a plain file in a folder that exists.")
    if target.exists() and target.samefile(source):
        raise Mendable(f"'{target}' holds the rows to predict for.", "Name another file with -o.")
    kept = [repo.git.common, *(repo.top / name for name in (DATASETS, MODELS, ".dvc"))]
    if any(place.resolve() in (folder, *folder.parents) for place in kept):
        raise Mendable(f"'{target}' lies where gitdata keeps its own files.", "Name a file elsewhere with -o.")


def taints(repo: Repo) -> Callable[[Ledger, Entry], list[str]]:
    """What tells the extensions that a version saw and that are not live at HEAD; none where nobody can tell."""
    try:
        chains = [(name, chain, repo.live(chain)) for name, chain in sorted(repo.snapshot().chains.items())]
    except GitdataError:
        chains = []

    def tainted_by(ledger: Ledger, entry: Entry) -> list[str]:
        seen = ledger.seen(entry.id)
        return [
            f"{name}@{chain.extensions[id].version}"
            for name, chain, live in chains
            for id in sorted(seen & chain.extensions.keys() - live)
        ]

    return tainted_by


def ledger_named(repo: Repo, commit: str | None, model: str) -> Ledger:
    """The ledger of a model at a commit of its branch. Raises Mendable naming those there are."""
    ledger = repo.ledger(model, commit)
    if not ledger.entries:
        known = ", ".join(repo.models_at(commit)) or "none"
        raise Mendable(
            f"The ledger has no version of a model '{model}'; models: {known}.",
            f"Train it: `gitdata train {model}`.",
        )
    return ledger


def selected(ledger: Ledger, selector: str) -> Entry:
    """The version that a number or an id prefix names. Raises Mendable naming those there are."""
    if selector.isascii() and selector.isdigit() and (entry := ledger.numbered(int(selector))):
        return entry
    found = [e for e in ledger.entries.values() if len(selector) >= 4 and e.id.startswith(selector)]
    if len(found) != 1:
        numbers = ", ".join(str(e.number) for e in reversed(ledger.youngest_first))
        raise Mendable(f"Model '{ledger.model}' has no version '{selector}'; versions: {numbers}.", "Name one of them.")
    return found[0]


def version_record(ledger: Ledger, entry: Entry, tainted: list[str]) -> Record:
    """A version with its verdict, and the extensions that taint it, as a record."""
    version, verdict = entry.version, entry.verdict
    return Record(
        "model version",
        entry.id,
        {
            "added": list(version.added),
            "champion": ledger.champion == entry.id,
            "conditions": [dict(condition) for condition in verdict.conditions],
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
            "suspects": [dict(suspect) for suspect in verdict.suspects],
            "tainted": tainted,
            "verdict": verdict.outcome,
            "who": verdict.who,
        },
    )
