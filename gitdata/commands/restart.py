"""Restart: why a training begins anew, in words: what is declared otherwise, or that nothing is unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gitdata.data.choice import Decision, Situation, version_to_restore
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.check import Finding
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


def going_on(repo: Repo, model: str, declaration: Declaration) -> list[Finding]:
    """What stands in the way of going on from the champion: what is declared otherwise, and what it does not hold."""
    from gitdata.training.check.findings import warning
    from gitdata.training.retraining import WITH_RESERVOIR

    ledger = repo.ledger(model, repo.ledger_commit())
    champion = ledger.entries[ledger.champion] if ledger.champion else None
    if champion is None:
        return []
    name = f"{model}@{champion.number}"
    if found := changed(repo, champion, declaration):
        remedy = "Trained so, the model starts anew, on all rows: declare it as it was to go on from what was learned."
        return [warning("new-start", f"nothing of {name} is restored: {'; '.join(found)}", remedy)]
    remedy = f"Train once by another method, as in `gitdata train {model} --method rehearse`; its version will have it."
    methods = declaration.retraining.method
    replaying = (
        [method.name for method in methods if method.name in WITH_RESERVOIR] if declaration.retraining.reservoir else []
    )
    restarting = [method.name for method in methods if method.restart == "stable"]
    needed = (
        ("reservoir.json", "a reservoir", replaying),
        ("stable.safetensors", "weights from before its learning rate fell", restarting),
    )
    held = {file.path for file in champion.version.files}
    return [
        warning("not-held", f"{' and '.join(names)} need{'s' * (len(names) == 1)} {what}, and {name} has none", remedy)
        for file, what, names in needed
        if names and file not in held
    ]


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
        told = f"Nothing is unseen: version {known.number} has seen all live data"
        if for_unseen:
            model = situation.ledger.model
            raise Mendable(
                f"{told}, and {for_unseen} would go on with what is not.",
                f"Extend the dataset, or train anew on everything: `gitdata train {model} --force --method union`.",
            )
        yield f"{told}. The training is anew, on everything."
    elif for_unseen:
        yield f"There is no version that {for_unseen} could go on from: the training is anew, on everything."
    if found := why_anew(repo, decision, situation.ledger, lambda: declaration):
        yield f"Nothing of the champion is restored: {'; '.join(found)}."
