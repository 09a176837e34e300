"""Train: the one rule carried out — restore, train what is unseen, gate, record on the ledger.

The same unit serves people, hooks and clusters; a second run does nothing. Training happens once: where the
ledger or the data moved on meanwhile, the gate runs again on what is there then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.card import model_card
from gitdata.commands.judge import Judge, Judgement, rounded_all
from gitdata.commands.publish import Change, champion_file, publish, verdict_file, version_files
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import RowSource, select
from gitdata.commands.situation import (
    Declared,
    declared,
    default_revision,
    describe,
    live_of,
    situation_of,
)
from gitdata.commands.transfer import open_remote
from gitdata.data import choice
from gitdata.data.chain import Chain
from gitdata.data.choice import Decision, Situation
from gitdata.data.ledger import Entry, Verdict
from gitdata.data.pointer import Attachment, Directory, ModelVersion, package_digest
from gitdata.errors import Mendable
from gitdata.repo import Repo, Snapshot
from gitdata.storage.cache import Blob, directory_object

if TYPE_CHECKING:
    from gitdata.data.formats import Columns
    from gitdata.training.declaration import Declaration
    from gitdata.training.methods import Outcome, TrainingData
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class Options:
    """`revision`: what to train on (default: HEAD, in a bare repository the deployment branch).

    `data`: another dataset or version than the declared one; the result is an experiment.
    """

    revision: str | None = None
    data: str | None = None
    methods: tuple[str, ...] | None = None
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One training of one model: everything that does not change while it runs."""

    repo: Repo
    model: str
    snapshot: Snapshot
    wanted: Declared
    declaration: Declaration
    chain: Chain
    source: RowSource
    say: Say
    experiment: bool
    force: bool

    def situation(self, snapshot: Snapshot, ledger_commit: str | None, *, may_move: bool) -> Situation:
        ledger = self.repo.ledger(self.model, ledger_commit)
        return situation_of(self.repo, snapshot, self.wanted, ledger, may_move_champion=may_move)


def train(repo: Repo, model: str, options: Options, say: Say = silent) -> Record:
    """Do what the rule says for a model; the record says what came of it. Raises GateRefused via the caller only."""
    task, tip = _prepare(repo, model, options, say)
    may_move = tip == task.snapshot.commit and not task.experiment
    situation = task.situation(task.snapshot, repo.fetch_ledger(), may_move=may_move)
    decision = choice.decide(situation, force=options.force)
    say(describe(decision, task.chain, situation.ledger))
    if decision.action == "nothing" or options.dry_run:
        return _record(task, decision, None, None)
    _prepare_training(repo)
    judge = Judge(task.source, task.declaration, task.chain, {})
    if decision.candidate is not None:
        return _gate_again(task, situation, decision, judge)
    outcome = _climb(task, situation, decision, judge, options.methods)
    version = _store(task, situation, decision, outcome)
    return _publish_version(task, decision, judge, version, outcome)


# --- preparing -----------------------------------------------------------------------------------------------


def _prepare(repo: Repo, model: str, options: Options, say: Say) -> tuple[Task, str | None]:
    """What is to be trained, and the tip of its deployment branch as the git remote has it."""
    repo.require_initialised()
    snapshot = repo.snapshot(options.revision or default_revision(repo, model))
    text = snapshot.declaration(model)
    from gitdata.training.declaration import parse

    declaration = parse(text, model)
    wanted = declared(repo, model, text)
    if options.data is not None:
        dataset, _, version = options.data.partition("@")
        wanted = replace(wanted, dataset=dataset, version=version or None)
    chain, _ = live_of(repo, snapshot, wanted)
    source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
    experiment = options.data is not None
    task = Task(repo, model, snapshot, wanted, declaration, chain, source, say, experiment, options.force)
    return task, _deployment_tip(repo, wanted.branch)


def _deployment_tip(repo: Repo, branch: str) -> str | None:
    """The tip of the deployment branch, asked of the git remote now. Raises Mendable if it exists nowhere."""
    if repo.git_remote is None:
        tip = repo.deployment_tip(branch)
    else:
        tip = repo.git.remote_ref(repo.git_remote, f"refs/heads/{branch}")
    if tip is None and repo.git.resolve(f"refs/heads/{branch}") is None:
        raise Mendable(
            f"The deployment branch '{branch}' exists nowhere.",
            "Push it, or name another in the [deployment] of the model file.",
        )
    return tip


def _prepare_training(repo: Repo) -> None:
    from gitdata.training.environment import prepare

    prepare(compile_cache())


def compile_cache() -> Path | None:
    """Where compiled programs are kept for this user; `GITDATA_COMPILE_CACHE` moves it, empty turns it off."""
    chosen = os.environ.get("GITDATA_COMPILE_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "gitdata" / "compiled"


# --- training ------------------------------------------------------------------------------------------------


def _climb(
    task: Task, situation: Situation, decision: Decision, judge: Judge, methods: Sequence[str] | None
) -> Outcome:
    from gitdata.training.methods import climb

    ledger = situation.ledger
    restored = judge.package(ledger.entries[decision.restored]) if decision.restored else None
    champion = judge.package(ledger.entries[ledger.champion]) if ledger.champion and restored else None
    data = _training_data(task, situation, decision)
    outcome = climb(task.declaration, data, restored, champion, methods, task.say)
    return replace(outcome, package=_remember_rows(task, outcome, restored))


def _remember_rows(task: Task, outcome: Outcome, restored: Package | None) -> Package:
    """The package with the digests of all rows it was trained on: the gate leaves such rows out."""
    import numpy as np

    own = task.source.digests(outcome.trained_on)
    before = restored.trained_rows if restored is not None else np.empty(0, np.uint64)
    return replace(outcome.package, trained_rows=np.union1d(own, before))


def _training_data(task: Task, situation: Situation, decision: Decision) -> TrainingData:
    """The rows, read when they are asked for and once; `finetune` never asks for those of a seen extension."""
    from functools import cache

    from gitdata.training.methods import TrainingData

    source, chain = task.source, task.chain
    with_validation = chain.contributing(situation.live, "validation")
    trainable = chain.ordered(situation.trainable)
    unseen = tuple(e for e in trainable if e.id in decision.unseen)
    # Strict fine-tuning opens no train blob of a seen extension, so its held-out rows come from what is unseen.
    methods = task.declaration.retraining.method
    strict = set((methods,) if isinstance(methods, str) else methods) == {"finetune"}

    @cache
    def read(extensions: tuple[Any, ...]) -> tuple[Columns, Columns]:
        rows = source.rows(extensions, "train")
        if with_validation:
            return rows, {}
        held_out = source.held_out(rows)
        return select(rows, ~held_out), select(rows, held_out)

    @cache
    def validation() -> Columns:
        if with_validation:
            return source.rows(with_validation, "validation")
        return read(unseen if strict and decision.restored else trainable)[1]

    return TrainingData(
        unseen=lambda: read(unseen)[0],
        whole=lambda: read(trainable)[0],
        validation=validation,
        unseen_rows=sum(e.rows_of("train") for e in unseen),
        whole_rows=sum(e.rows_of("train") for e in trainable),
    )


def _store(task: Task, situation: Situation, decision: Decision, outcome: Outcome) -> ModelVersion:
    """Put the package into the cache and, where there is one, on the models' remote; the version that names it."""
    from gitdata.training import package as packages

    with tempfile.TemporaryDirectory(prefix="gitdata-") as folder:
        packages.write(outcome.package, Path(folder))
        blobs = {p.name: task.repo.cache.add_file(p) for p in sorted(Path(folder).iterdir())}
    files = tuple(Attachment(name, b.sha256 or "", b.size or 0, b.md5) for name, b in sorted(blobs.items()))
    blob, content = directory_object(blobs)
    task.repo.cache.add_bytes(content, directory=True)
    _upload(task, [*blobs.values(), blob])
    assert task.snapshot.commit is not None
    return ModelVersion(
        model=task.model,
        parent=decision.restored,
        added=tuple(sorted(decision.unseen)),
        restore=task.wanted.restore,
        declaration=task.wanted.declaration,
        package=package_digest(files),
        files=files,
        directory=Directory(blob.md5.removesuffix(".dir"), sum(f.size for f in files), len(files)),
        commit=task.snapshot.commit,
        method=outcome.rung.method,
        training=rounded_all({"rungs": [asdict(rung) for rung in outcome.rungs]}),
        metrics={},
    )


def _upload(task: Task, blobs: list[Blob]) -> None:
    """To the models' remote, before any pointer names them; without a git remote the cache is all there is."""
    if task.repo.is_bare or task.repo.git_remote is not None:
        open_remote(task.repo, "models").upload(task.repo.cache, blobs)


# --- recording -----------------------------------------------------------------------------------------------


def _publish_version(task: Task, decision: Decision, judge: Judge, version: ModelVersion, outcome: Outcome) -> Record:
    """Judge the new version on the ledger and the data as they are now, and record both in one commit."""
    recorded: list[tuple[Entry, Judgement]] = []

    def propose(tip: str | None) -> Change | None:
        situation = _situation_now(task, decision, tip)
        ledger = situation.ledger
        seen = ledger.seen(version.parent) | set(version.added)
        if decision.attempt in ledger.attempts and not task.force:
            return None  # somebody else asked and answered the same question meanwhile
        if not choice.still_holds(situation, version.parent, seen):
            situation = replace(situation, may_move_champion=False)
        judgement = judge.judge(situation, choice.baseline_of(situation), version.id, outcome.package)
        number = ledger.entries[version.id].number if version.id in ledger.entries else ledger.next_number
        measured = replace(version, metrics=rounded_all(judgement.metrics))
        entry = Entry(number, measured, _verdict(judgement, situation, decision))
        recorded[:] = [(entry, judgement)]
        return _change(
            task, situation, entry, judgement, version_files(entry, model_card(entry, situation, task.chain))
        )

    publish(task.repo, propose)
    return _record(task, decision, *(recorded[0] if recorded else (None, None)))


def _gate_again(task: Task, situation: Situation, decision: Decision, judge: Judge) -> Record:
    """Judge an existing version as it is: it covers what is live, or only the test rows changed."""
    assert decision.candidate is not None
    id = decision.candidate
    recorded: list[tuple[Entry, Judgement]] = []

    def propose(tip: str | None) -> Change | None:
        now = _situation_now(task, decision, tip)
        entry = now.ledger.entries[id]
        if not choice.still_holds(now, entry.version.parent, now.ledger.seen(id)):
            now = replace(now, may_move_champion=False)
        judgement = judge.judge(now, choice.baseline_of(now), id, judge.package(entry))
        if decision.action == "measure":
            verdict = replace(
                entry.verdict,
                tested=now.tested,
                metrics=rounded_all(judgement.metrics),
                attempts=(*entry.verdict.attempts, decision.attempt),
            )
            judgement = replace(judgement, outcome=verdict.outcome, promoted=False, reason="measured on new test rows")
        else:
            verdict = _verdict(judgement, now, decision, entry.verdict)
        entry = replace(entry, verdict=verdict)
        recorded[:] = [(entry, judgement)]
        return _change(task, now, entry, judgement, verdict_file(entry))

    publish(task.repo, propose)
    entry, judgement = recorded[0]
    return _record(task, decision, entry, judgement)


def _situation_now(task: Task, decision: Decision, tip: str | None) -> Situation:
    """The situation at this moment: the ledger's tip, and the deployment branch if we trained for it."""
    repo, snapshot = task.repo, task.snapshot
    branch_tip = _deployment_tip(repo, task.wanted.branch)
    may_move = task.snapshot.commit == branch_tip and not task.experiment
    if not may_move and not task.experiment and branch_tip and _is_ancestor(repo, snapshot.commit, branch_tip):
        snapshot, may_move = repo.snapshot(branch_tip), True
    return task.situation(snapshot, tip, may_move=may_move)


def _is_ancestor(repo: Repo, commit: str | None, tip: str) -> bool:
    """Whether the branch only moved on since; a tip that is not in this clone is not known to have."""
    return repo.git.try_text("merge-base", "--is-ancestor", str(commit), tip) is not None


def _verdict(judgement: Judgement, situation: Situation, decision: Decision, earlier: Verdict | None = None) -> Verdict:
    attempts = (*(earlier.attempts if earlier else ()), decision.attempt)
    return Verdict(
        outcome=judgement.outcome,
        reason=judgement.reason,
        who="gitdata",
        promoted=judgement.promoted or (earlier.promoted if earlier else False),
        tested=situation.tested,
        attempts=tuple(dict.fromkeys(attempts)),
        metrics=rounded_all(judgement.metrics),
        comparisons=judgement.comparisons,
    )


def _change(
    task: Task, situation: Situation, entry: Entry, judgement: Judgement, files: dict[str, bytes | None]
) -> Change:
    """The commit: the version's files, and the champion where it moves."""
    ledger = situation.ledger
    champion: Entry | None = entry if judgement.promoted else None
    if judgement.outcome == "refused" and choice.tainted_of(situation):
        champion = next(iter(choice.eligible(situation)), None)
    if champion is not None:
        files |= champion_file(ledger, champion)
    subject = f"{task.model}: version {entry.number} {judgement.outcome}"
    return Change(files, f"{subject}\n\n{judgement.reason}\n\nTrained at {entry.version.commit}.\n")


def _record(task: Task, decision: Decision, entry: Entry | None, judgement: Judgement | None) -> Record:
    fields: dict[str, Any] = {
        "action": decision.action,
        "attempt": decision.attempt,
        "model": task.model,
        "reason": judgement.reason if judgement else decision.reason,
        "unseen": sorted(decision.unseen),
    }
    if entry is not None and judgement is not None:
        fields |= {
            "champion": judgement.promoted,
            "comparisons": [dict(c) for c in judgement.comparisons],
            "metrics": rounded_all(judgement.metrics),
            "method": entry.version.method,
            "rungs": entry.version.training.get("rungs", []),
            "test_rows": judgement.test_rows,
            "verdict": judgement.outcome,
            "version": entry.stem,
        }
    return Record("training", entry.id if entry else task.model, fields)
