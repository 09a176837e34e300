"""Situation: what the rule of what to do looks at, gathered from a commit, the ledger and the git remote.

`status` and `pending` need only digests of a declaration, and checking one takes longer than all else they do;
so the digests are kept per text in this clone's state, where anybody may delete them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.canonical import digest, readable_json
from gitdata.commands.records import Record
from gitdata.commands.restart import why_anew
from gitdata.data.chain import Chain
from gitdata.data.choice import Decision, Situation, decide, suspects_of, tainted_of, unseen_of
from gitdata.data.ledger import Ledger
from gitdata.errors import GitdataError, Mendable, as_gitdata_error
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

if TYPE_CHECKING:
    from gitdata.training.declaration import Declaration

Ledgers = Callable[[str], Ledger]  # by model


@dataclass(frozen=True, slots=True)
class Declared:
    """What is needed of a declaration to say what is pending. `borrows`: versions that its network has layers of."""

    dataset: str
    version: str | None
    branch: str
    restore: str
    declaration: str
    borrows: tuple[str, ...] = ()


def declared(repo: Repo, model: str, text: str) -> Declared:
    """The digests of a declaration. Raises Mendable where it is not valid."""
    from gitdata import __version__

    key = f"{__version__}\n{model}\n{text}".encode(errors="surrogateescape")
    name = hashlib.sha256(key).hexdigest()
    kept = repo.state / "declarations" / f"{name}.json"
    try:
        found = json.loads(kept.read_bytes())
        return Declared(**found | {"borrows": tuple(found.get("borrows", ()))})
    except (OSError, ValueError, TypeError):
        pass
    from gitdata.training.declaration import parse

    declaration = parse(text, model)
    found = Declared(
        dataset=declaration.data.dataset,
        version=declaration.data.version,
        branch=declaration.deployment.branch,
        restore=declaration.restore_digest,
        declaration=declaration.digest,
        borrows=declaration.network.borrows,
    )
    durable.write(kept, readable_json(asdict(found)))
    return found


def live_of(repo: Repo, snapshot: Snapshot, wanted: Declared) -> tuple[Chain, frozenset[str]]:
    """The chain that a model learns from and what of it is live; a pinned version means its closure."""
    if wanted.version is None:
        chain = snapshot.chain(wanted.dataset)
        return chain, repo.live(chain)
    chain, pinned = snapshot.extensions(f"{wanted.dataset}@{wanted.version}")
    return chain, repo.live(chain, [extension.id for extension in pinned])


def situation_of(
    repo: Repo, snapshot: Snapshot, wanted: Declared, ledger: Ledger, others: Ledgers, *, may_move_champion: bool
) -> Situation:
    """What the rule looks at; `others`: the ledgers of models that are borrowed of."""
    chain, live = live_of(repo, snapshot, wanted)
    return Situation(
        ledger=ledger,
        live=live,
        train_rows={id: chain.extensions[id].rows_of("train") for id in live},
        tested=tested_digest(chain, live),
        restore=wanted.restore,
        declaration=wanted.declaration,
        may_move_champion=may_move_champion,
        borrowed=_seen_by_lenders(wanted, others) & live_anywhere(repo, snapshot) if wanted.borrows else frozenset(),
    )


def live_anywhere(repo: Repo, snapshot: Snapshot) -> frozenset[str]:
    """What is live of any dataset."""
    return frozenset().union(*(repo.live(chain) for chain in snapshot.chains.values()))


def _seen_by_lenders(wanted: Declared, others: Ledgers) -> frozenset[str]:
    """What the versions that a network borrows of have seen; of one that does not exist nothing."""
    named = (reference.split("@") for reference in wanted.borrows)
    found = [(ledger, ledger.numbered(int(number))) for model, number in named if (ledger := others(model))]
    return frozenset().union(*(ledger.seen(entry.id) for ledger, entry in found if entry))


def tested_digest(chain: Chain, live: frozenset[str]) -> str | None:
    """The digest of today's test rows: of the extensions that bring them; None where there are none."""
    ids = [extension.id for extension in chain.contributing(live, "test")]
    return digest(ids) if ids else None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model and the commit that it is trained at; `problem`: why that cannot be told."""

    model: str
    commit: str
    problem: GitdataError | None = None


def deployments(repo: Repo) -> list[Deployment]:
    """Every model that a branch declares as deployed from that very branch; what is damaged stands for itself."""
    return [found for branch, commit in sorted(tips(repo).items()) for found in _deployed_from(repo, branch, commit)]


def tips(repo: Repo) -> dict[str, str]:
    """The branches that a runner looks at, with the commit that it would train at.

    In a clone that is what the git remote has, unless the local branch holds something that the remote lacks.
    """
    local = {branch: commit for branch, commit in repo.git.branches().items() if not branch.startswith("gitdata/")}
    if repo.git_remote is None:
        return local
    return {branch: _not_behind(repo, branch, commit) for branch, commit in local.items()}


def _not_behind(repo: Repo, branch: str, commit: str) -> str:
    remote = repo.deployment_tip(branch)
    if remote is None or remote == commit or not repo.git.is_ancestor(commit, remote):
        return commit
    return remote


def _deployed_from(repo: Repo, branch: str, commit: str) -> list[Deployment]:
    try:
        declarations = repo.declarations(commit)
    except Exception as error:  # whatever somebody pushed: no other branch is to wait for it
        return [Deployment(branch, commit, as_gitdata_error(error))]
    found: dict[str, tuple[str, ...]] = {}
    broken = []
    for model, text in sorted(declarations.items()):
        try:
            wanted = declared(repo, model, text)
            if wanted.branch == branch:
                found[model] = wanted.borrows
        except Exception as error:  # whatever somebody pushed: no other model is to wait for it
            broken.append(Deployment(model, commit, as_gitdata_error(error)))
    # A broken file does not say where it is deployed from; on a branch that deploys nothing it is work in progress.
    ordered = [Deployment(model, commit) for model in lenders_first(found)]
    return ordered + (broken if found or branch in ("main", repo.git.branch()) else [])


def lenders_first(borrows: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Models by name, each after those whose versions it borrows of; where some borrow of each other, by name alone."""
    lenders = {model: {reference.partition("@")[0] for reference in own} for model, own in sorted(borrows.items())}
    waiting = {model: sorted(own & borrows.keys() - {model}) for model, own in lenders.items()}
    try:
        return list(TopologicalSorter(waiting).static_order())
    except CycleError:
        return sorted(borrows)


def default_revision(repo: Repo, model: str) -> str:
    """Where a model is trained if nobody says: HEAD, or in a bare repository the branch that deploys it."""
    if not repo.is_bare:
        return "HEAD"
    for found in deployments(repo):
        if found.model == model:
            return found.commit
    raise Mendable(
        f"No branch of this repository declares the model '{model}' as deployed from it.",
        "Push the branch that its [deployment] names, or name a revision with --at.",
    )


def pending(repo: Repo, models: list[str], snapshot: Snapshot, ledger_commit: str | None) -> list[Record]:
    """One record per model: what of live its champion has not seen, what taints it, and what would be done."""
    ledgers = repo.ledgers(ledger_commit)
    return [_pending(repo, model, snapshot, lambda name: ledgers.get(name, Ledger(name))) for model in models]


def _pending(repo: Repo, model: str, snapshot: Snapshot, others: Ledgers) -> Record:
    ledger, wanted = others(model), declared(repo, model, snapshot.declaration(model))
    tip = repo.deployment_tip(wanted.branch)
    may_move = tip is not None and (snapshot.commit is None or snapshot.commit == tip)
    situation = situation_of(repo, snapshot, wanted, ledger, others, may_move_champion=may_move)
    decision = decide(situation)
    chain = snapshot.chain(wanted.dataset)
    champion = ledger.entries[ledger.champion] if ledger.champion else None
    return Record(
        "pending",
        model,
        {
            "action": decision.action,
            "champion": champion.stem if champion else None,
            "changed": list(why_anew(repo, decision, ledger, partial(_read, model, snapshot))),
            "dataset": wanted.dataset,
            "reason": decision.reason,
            "suspects": [str(suspect["name"]) for suspect in suspects_of(situation)],
            "tainted": labels(chain, tainted_of(situation)),
            "unseen": labels(chain, unseen_of(situation)),
        },
    )


def _read(model: str, snapshot: Snapshot) -> Declaration:
    from gitdata.training.declaration import parse

    return parse(snapshot.declaration(model), model)


def labels(chain: Chain, ids: frozenset[str]) -> list[str]:
    """`version-id8` of extensions, in order; the id alone of one that the chain does not know."""
    known = [id for id in ids if id in chain.extensions]
    labels = [extension.stem for extension in chain.ordered(known)]
    return labels + sorted(id[:8] for id in ids if id not in chain.extensions)


def labels_of_any(chains: Mapping[str, Chain], ids: Iterable[str]) -> list[str]:
    """`dataset@version-id8` of extensions; the id alone of one whose pointer is not here."""
    found, rest = [], set(ids)
    for dataset, chain in sorted(chains.items()):
        own = frozenset(rest & chain.extensions.keys())
        rest -= own
        found += [f"{dataset}@{label}" for label in labels(chain, own)]
    return found + sorted(id[:8] for id in rest)


def sentence(decision: Decision, chain: Chain, ledger: Ledger) -> str:
    """One sentence on what is about to be done and why."""
    if decision.action == "nothing":
        return f"Nothing to do: {decision.reason}."
    if decision.action == "measure":
        return "The champion is measured again: only test rows changed."
    if decision.action == "fall back":
        assert decision.candidate is not None
        return f"Version {ledger.entries[decision.candidate].number} takes the champion's place: {decision.reason}."
    if decision.action == "gate":
        assert decision.candidate is not None
        return f"Version {ledger.entries[decision.candidate].number} is tested as it is: {decision.reason}."
    unseen = ", ".join(labels(chain, decision.unseen & chain.extensions.keys()))
    if decision.restored is None:
        return f"Training from scratch on {unseen}."
    return f"Restoring version {ledger.entries[decision.restored].number}; training on what it has not seen: {unseen}."
