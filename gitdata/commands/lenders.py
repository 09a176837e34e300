"""Lenders: the versions that a network borrows layers of, found in the ledger and read from their packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gitdata.commands.records import Say
from gitdata.commands.situation import Ledgers, labels_of_any, live_anywhere
from gitdata.commands.transfer import package_files
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lender
    from gitdata.training.declaration import Declaration


def lenders(
    repo: Repo, declaration: Declaration, snapshot: Snapshot, ledgers: Ledgers, say: Say
) -> Mapping[str, Lender]:
    """What a model borrows of, by name.

    Raises Mendable where a version does not exist, has seen what is not live, or codes inputs otherwise than declared.
    """
    if not declaration.network.borrows:
        return {}
    from gitdata.training.borrowing import lender, require_alike

    live, found = live_anywhere(repo, snapshot), {}
    for reference in declaration.network.borrows:
        ledger, entry = _version(declaration.name, reference, ledgers)
        if lost := ledger.seen(entry.id) - live:
            raise Mendable(
                f"models/{declaration.name}.toml borrows of {reference}, which has seen what is not live "
                f"{snapshot.where}: {', '.join(labels_of_any(snapshot.chains, lost))}.",
                "Borrow of a version that has not: `gitdata models`.",
            )
        found[reference] = lender(package_files(repo, entry, say))
    require_alike(declaration, found)
    return found


def _version(model: str, reference: str, ledgers: Ledgers) -> tuple[Ledger, Entry]:
    name, _, number = reference.partition("@")
    ledger = ledgers(name)
    entry = ledger.numbered(int(number))
    if entry is None:
        known = ", ".join(f"{name}@{one.number}" for one in reversed(ledger.youngest_first)) or "none"
        raise Mendable(
            f"models/{model}.toml borrows of {reference}, which does not exist; versions: {known}.",
            f"Train it first, `gitdata train {name}`, or name another."
            if name != model
            else "Borrow of another model.",
        )
    return ledger, entry
