"""Restart: why a training begins anew, in words: what is declared otherwise, or that nothing is unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gitdata.data.choice import Decision, Situation, version_to_restore
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import GitdataError, Mendable
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


def said_of_start(
    repo: Repo, situation: Situation, decision: Decision, declaration: Declaration, named: Sequence[str]
) -> Iterator[str]:
    """What to say of a training that begins anew; `named`: the methods that a person asked for.

    Raises Mendable where all of them go on with what is unseen, and nothing is: a training anew is not what was meant.
    """
    from gitdata.training.retraining import ANEW

    if decision.action != "train" or decision.restored is not None:
        return
    for_unseen = " and ".join(named) if named and not {*ANEW, "auto"} & {*named} else ""
    if known := version_to_restore(situation):
        told = f"Nothing is unseen: version {known.number} was trained on all live data"
        if for_unseen:
            model = situation.ledger.model
            raise Mendable(
                f"{told}, and {for_unseen} would go on with what is not.",
                f"Extend the dataset, or train anew on everything: `gitdata train {model} --force --method union`.",
            )
        yield f"{told}, so that the training is anew, on everything."
    elif for_unseen:
        yield f"There is no version that {for_unseen} could go on from: the training is anew, on everything."
    if found := why_anew(repo, decision, situation.ledger, lambda: declaration):
        yield f"Nothing of the champion is restored: {'; '.join(found)}."
