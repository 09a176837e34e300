"""Ls: the datasets and the models of a repository, a line each."""

from __future__ import annotations

import os

from gitdata.commands.records import Record
from gitdata.commands.status import may_share, rows_in_force
from gitdata.commands.transfer import incomplete
from gitdata.data.chain import Chain
from gitdata.data.ledger import Ledger
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS


def ls(repo: Repo) -> list[Record]:
    """One record per dataset and one per model that is declared or on the ledger."""
    snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
    ledgers = repo.ledgers(repo.ledger_commit())
    models = sorted(snapshot.declarations.keys() | ledgers.keys())
    return [
        *(_dataset(repo, name, chain) for name, chain in sorted(snapshot.chains.items())),
        *(_model(name, ledgers.get(name, Ledger(name)), declared=name in snapshot.declarations) for name in models),
    ]


def _dataset(repo: Repo, name: str, chain: Chain) -> Record:
    live = repo.live(chain)
    extensions = chain.ordered(live)
    return Record(
        "dataset listed",
        name,
        {
            "bytes": sum(extension.directory.size for extension in extensions),
            "cached": len(extensions) - len(incomplete(repo, extensions)),
            "checked_out": 0 if repo.is_bare else len(_folders(repo, name) & {e.stem for e in extensions}),
            "extensions": len(extensions),
            "heads": [chain.extensions[head].version for head in chain.heads],
            "rows": rows_in_force(chain, live),
            "rows_at_most": may_share(chain, live),
        },
    )


def _folders(repo: Repo, name: str) -> set[str]:
    """The folders in that of a dataset; none where it is gone."""
    try:
        with os.scandir(repo.top / DATASETS / name) as entries:
            return {entry.name for entry in entries if entry.is_dir()}
    except FileNotFoundError:
        return set()


def _model(name: str, ledger: Ledger, *, declared: bool) -> Record:
    champion = ledger.entries[ledger.champion].stem if ledger.champion else None
    return Record("model listed", name, {"champion": champion, "declared": declared, "versions": len(ledger.entries)})
