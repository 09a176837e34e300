"""Lineage: what a version saw and how it came about, and which versions saw an extension.

All of it follows from git: the ledger, the commit that a version was trained at, the pointers of its extensions. What
computed it, and how fields were coded, its package tells.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from gitdata.commands.history import fields_of
from gitdata.commands.models import version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import labels, labels_of_any
from gitdata.commands.transfer import fetch_blobs
from gitdata.data.chain import Chain
from gitdata.data.ledger import Entry, Ledger
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, GitdataError, Mendable
from gitdata.repo import Repo, blob_of
from gitdata.snapshot import MODELS, Snapshot

MANIFEST, PREPROCESSING = "manifest.json", "preprocessing.json"


def lineage(repo: Repo, reference: str, say: Say = silent, *, fetch: bool = True) -> list[Record]:
    """A version and its ancestors, youngest first, each with the extensions that it was the first to see.

    What nobody has any more is None: the text of a declaration, what a package tells, an extension's rows. `fetch`:
    whether what packages tell is brought here.
    """
    ledger, entry = version_or_newest(repo, reference, say)
    entries = [ledger.entries[id] for id in ledger.lineage(entry.id)]
    if fetch:
        _fetch_documents(repo, entries, say)
    sources = _Sources(repo, ledger.model)
    return [_record(ledger, entry, sources) for entry in entries]


def versions_that_saw(repo: Repo, model: str, reference: str, say: Say = silent) -> list[Record]:
    """The versions of a model that an extension shaped, oldest first, `added` or inherited from a parent."""
    ledger, _ = version_or_newest(repo, model, say)
    _, named = _snapshot(repo).extensions(reference)
    if len(named) != 1:
        raise Mendable(f"'{reference}' names {len(named)} extensions.", "Name one, as in `lattice@1.2.0`.")
    return [
        Record(
            "saw",
            entry.id,
            {
                "added": named[0].id in entry.version.added,
                "champion": ledger.champion == entry.id,
                "extension": f"{named[0].dataset}@{named[0].version}",
                "model": ledger.model,
                "number": entry.number,
                "verdict": entry.verdict.outcome,
            },
        )
        for entry in reversed(ledger.youngest_first)
        if named[0].id in ledger.seen(entry.id)
    ]


def saw(ledgers: dict[str, Ledger], id: str) -> list[str]:
    """`model@number` of every version that an extension shaped."""
    return [
        f"{model}@{entry.number}"
        for model, ledger in sorted(ledgers.items())
        for entry in reversed(ledger.youngest_first)
        if id in ledger.seen(entry.id)
    ]


def version_or_newest(repo: Repo, reference: str, say: Say) -> tuple[Ledger, Entry]:
    """The version named, or the champion; while there is none, the newest."""
    try:
        return version(repo, reference, say)
    except Mendable:
        ledger = repo.ledgers(repo.ledger_commit()).get(reference)
        if ledger is None or ledger.champion is not None:
            raise
        return ledger, ledger.youngest_first[0]


def chains_here(repo: Repo) -> dict[str, Chain]:
    """The chains that labels of extensions are looked up in."""
    return dict(_snapshot(repo).chains)


def _snapshot(repo: Repo) -> Snapshot:
    return repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()


class _Sources:
    """Where the facts of a lineage are read from, each once."""

    def __init__(self, repo: Repo, model: str) -> None:
        self.repo, self.model, self.here = repo, model, chains_here(repo)
        self.at = cache(self._at)
        self.recorded = repo.git.introduced(f"{MODELS}/{model}", repo.ledger_ref)

    def extensions(self, entry: Entry) -> list[dict[str, Any]]:
        """Those that a version was the first to see, by dataset and in order; of a lost one the id alone."""
        added, found = set(entry.version.added), []
        for chains in (self.here, getattr(self.at(entry.version.commit), "chains", {})):
            for _, chain in sorted(chains.items()):
                own = chain.ordered(added & chain.extensions.keys())
                found += [_extension(self.repo, chain, extension) for extension in own]
                added -= {extension.id for extension in own}
        return found + [_lost(id) for id in sorted(added)]

    def declaration(self, entry: Entry) -> str | None:
        """The text of the model file at the commit that a version was trained at."""
        snapshot = self.at(entry.version.commit)
        return None if snapshot is None else snapshot.declarations.get(self.model)

    def _at(self, commit: str) -> Snapshot | None:
        try:
            return self.repo.snapshot(commit)
        except GitdataError:  # it is not in this clone, or damaged
            return None

    def document(self, entry: Entry, name: str) -> dict[str, Any] | None:
        """A small file of a package, if it is here and whole."""
        blobs = [blob_of(file) for file in entry.version.files if file.path == name]
        if not blobs or not self.repo.cache.holds(blobs[0]):
            return None
        try:
            found = json.loads(self.repo.cache.read(blobs[0]), parse_constant=_no_number)
        except (DataUnavailable, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _fetch_documents(repo: Repo, entries: Sequence[Entry], say: Say) -> None:
    """Bring what packages tell in plain words; where some of it cannot be had, that is said."""
    files = [file for entry in entries for file in entry.version.files if file.path in (MANIFEST, PREPROCESSING)]
    try:
        fetch_blobs(repo, [blob_of(file) for file in files], "models", say)
    except GitdataError as error:
        say(f"What the packages tell is not here in full. {error.message}")


def _extension(repo: Repo, chain: Chain, extension: Extension) -> dict[str, Any]:
    return {
        "dataset": extension.dataset,
        "fields": fields_of(repo, extension),
        "id": extension.id,
        "label": labels(chain, frozenset([extension.id]))[0],
        "listing": extension.listing,
        "parents": list(extension.parents),
        "rows": dict(extension.rows),
        "size": extension.directory.size,
    }


def _lost(id: str) -> dict[str, Any]:
    unknown = ("dataset", "fields", "label", "listing", "parents", "rows", "size")
    return {**dict.fromkeys(unknown), "id": id}


def _record(ledger: Ledger, entry: Entry, sources: _Sources) -> Record:
    version = entry.version
    parent = ledger.entries[version.parent].number if version.parent else None
    recorded = sources.recorded.get(f"{MODELS}/{ledger.model}/{entry.stem}.dvc")
    manifest = sources.document(entry, MANIFEST)
    return Record(
        "lineage",
        entry.id,
        {
            "added": labels_of_any(sources.here, version.added),
            "champion": ledger.champion == entry.id,
            "commit": version.commit,
            "declaration": version.declaration,
            "declaration_text": sources.declaration(entry),
            "environment": _environment(manifest, version.training.get("machine")),
            "extensions": sources.extensions(entry),
            "manifest": manifest,
            "method": version.method,
            "metrics": dict(entry.verdict.metrics),
            "model": ledger.model,
            "number": entry.number,
            "package": version.package,
            "parent": parent,
            "parent_id": version.parent,
            "preprocessing": sources.document(entry, PREPROCESSING),
            "recorded": recorded and {name: recorded[name] for name in ("author", "commit", "time")},
            "restore": version.restore,
            "seen": len(ledger.seen(entry.id)),
            "verdict": entry.verdict.outcome,
        },
    )


def _environment(manifest: dict[str, Any] | None, machine: Any) -> dict[str, str] | None:
    """The programs that computed a version, and what else the bits of a result depend on, as far as it is recorded."""
    made = manifest.get("made_by") if manifest else None
    known = [part for part in (made, machine) if isinstance(part, dict)]
    return {str(name): str(value) for part in known for name, value in part.items()} if known else None
