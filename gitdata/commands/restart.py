"""Restart: why nothing is restored of a version, in words: what is declared otherwise now than when it was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gitdata.data.choice import Decision
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import GitdataError
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.declaration import Declaration

UNKNOWN = "[data] or [network] is declared otherwise"


def changed(repo: Repo, entry: Entry, declaration: Declaration) -> tuple[str, ...]:
    """A clause for each difference between a version's declaration and that of now.

    `UNKNOWN` alone where its commit is not in this clone, or what it declared can no longer be read.
    """
    from gitdata.training.changes import changes
    from gitdata.training.declaration import parse

    version = entry.version
    if version.restore == declaration.restore_digest:
        return ()
    try:
        text = repo.declarations(version.commit).get(version.model, "")
        before = parse(text, version.model)
    except GitdataError:
        return (UNKNOWN,)
    found = changes(before, declaration, f"version {entry.number}") if before.restore_digest == version.restore else ()
    return found or (UNKNOWN,)


def why_anew(repo: Repo, decision: Decision, ledger: Ledger, declaration: Callable[[], Declaration]) -> tuple[str, ...]:
    """What is declared otherwise than for the champion, where the decision is to start anew beside one.

    The declaration is only read then: that takes longer than all else.
    """
    if decision.action != "train" or decision.restored is not None or ledger.champion is None:
        return ()
    return changed(repo, ledger.entries[ledger.champion], declaration())
