"""Lineage: what a version saw and how it came about, and which versions saw an extension."""

from __future__ import annotations

from gitdata.commands.models import version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import labels_of_any
from gitdata.data.chain import Chain
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot


def lineage(repo: Repo, reference: str, say: Say = silent) -> list[Record]:
    """A version and its ancestors, youngest first, each with the extensions that it was the first to see."""
    ledger, entry = version_or_newest(repo, reference, say)
    chains = chains_here(repo)
    return [_record(ledger, ledger.entries[id], chains) for id in ledger.lineage(entry.id)]


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


def _record(ledger: Ledger, entry: Entry, chains: dict[str, Chain]) -> Record:
    version = entry.version
    parent = ledger.entries[version.parent].number if version.parent else None
    return Record(
        "lineage",
        entry.id,
        {
            "added": labels_of_any(chains, version.added),
            "champion": ledger.champion == entry.id,
            "commit": version.commit,
            "declaration": version.declaration,
            "method": version.method,
            "model": ledger.model,
            "number": entry.number,
            "package": version.package,
            "parent": parent,
            "seen": len(ledger.seen(entry.id)),
            "verdict": entry.verdict.outcome,
        },
    )
