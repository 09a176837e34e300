"""Train: the one rule carried out — restore, train what is unseen, gate, record on the ledger.

The same unit serves people, hooks and clusters; a second run does nothing. Training happens once: where the
ledger or the data moved on meanwhile, the gate runs again on what is there then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata.commands.attach import attached
from gitdata.commands.check import require_fit, require_rows, say_far, say_outside
from gitdata.commands.engine import allows_python, compile_cache, prepare_training
from gitdata.commands.judge import Judge, rounded_all
from gitdata.commands.origin import Origins
from gitdata.commands.recording import Fresh, describe, record_fall_back, record_verdict, record_version
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.restart import said_of_start
from gitdata.commands.rowsource import HOLDOUT, AnyColumns, RowSource, select
from gitdata.commands.situation import declared, default_revision, sentence
from gitdata.commands.suspects import name_suspects
from gitdata.commands.task import Task, View
from gitdata.commands.transfer import open_remote
from gitdata.commands.trial import waiting_trial
from gitdata.commands.union import Part
from gitdata.commands.watching import Tell, forget, watch
from gitdata.data import choice
from gitdata.data.choice import Decision
from gitdata.data.pointer import Attachment, Directory, ModelVersion, package_digest
from gitdata.repo import Repo, blob_of
from gitdata.storage.cache import Blob, directory_object

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lenders
    from gitdata.training.declaration import Method
    from gitdata.training.methods import Outcome, TrainingData
    from gitdata.training.package import Package


@dataclass(frozen=True, slots=True)
class Options:
    """`revision`: what to train on (default: HEAD, in a bare repository the deployment branch).

    `data`: another dataset or version than the declared one; the result is an experiment. `attach`: the folder for a
    version that could not be published.
    """

    revision: str | None = None
    data: str | None = None
    methods: tuple[str, ...] | None = None
    force: bool = False
    dry_run: bool = False
    attach: Path | None = None


def train(repo: Repo, model: str, options: Options, say: Say = silent, tell: Tell | None = None) -> Record:
    """Do what the rule says for a model; the record says what came of it. `tell` is handed one for every epoch."""
    task = prepare(repo, model, options, say)
    ledger_commit = repo.fetch_ledger()
    view = task.view(ledger_commit)
    decision = choice.decide(view.situation, force=options.force, train=options.force and bool(options.methods))
    more = list(said_of_start(repo, view.situation, decision, task.declaration, options.methods or ()))
    for line in (sentence(decision, view.chain, view.situation.ledger), *more):
        say(line)
    if decision.action == "nothing" or options.dry_run:
        return describe(task, decision, None)
    if decision.action == "fall back":
        return record_fall_back(task, view, decision)
    lent = task.lenders(ledger_commit) if decision.candidate is None else {}
    if decision.candidate is None:
        require_fit(task, view, {name: own.plan for name, own in lent.items()})
    judge = Judge(task.source, task.declaration, {})
    if decision.candidate is not None:
        prepare_training(repo)
        return record_verdict(task, view, decision, judge)
    with waiting_trial(compile_cache(), python=allows_python(repo)) as trial:
        prepare_training(repo)
        judge.require(view)
        outcome = _climb(task, view, decision, judge, lent, options.methods, tell)
        version, files = _store(task, view, decision, outcome)
        fresh = Fresh(version, outcome.package, files, trial)
        with attached(options.attach, fresh, partial(record_version, task, view, decision, judge, fresh)):
            _upload(task, version)
            record = record_version(task, view, decision, judge, fresh)
    forget(repo, model)
    return name_suspects(task, judge, lent, record, partial(_rows_of, task, judge, str(record.fields.get("method"))))


# --- preparing -----------------------------------------------------------------------------------------------


def prepare(repo: Repo, model: str, options: Options, say: Say) -> Task:
    """What is to be trained. Raises Mendable where the commit does not declare it, or not well."""
    repo.require_initialised()
    snapshot = repo.snapshot(options.revision or default_revision(repo, model))
    text = snapshot.declaration(model)
    from gitdata.training.declaration import methods_named, parse

    declaration = parse(text, model)
    methods_named(options.methods or (), declaration.retraining)
    wanted = declared(repo, model, text)
    if options.data is not None:
        dataset, _, version = options.data.partition("@")
        wanted = replace(wanted, dataset=dataset, version=version or None)
    source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
    experiment = options.data is not None
    return Task(repo, model, snapshot, wanted, text, declaration, source, say, experiment, options.force)


# --- training ------------------------------------------------------------------------------------------------


def _climb(
    task: Task, view: View, decision: Decision, judge: Judge, lent: Lenders, methods: tuple[str, ...] | None,
    tell: Tell | None,
) -> Outcome:  # fmt: skip
    from gitdata.training.declaration import methods_named
    from gitdata.training.methods import climb

    ledger = view.situation.ledger
    wanted = methods_named(methods or (), task.declaration.retraining) or task.declaration.retraining.method
    restored = judge.package(ledger.entries[decision.restored]) if decision.restored else None
    champion = judge.package(ledger.entries[ledger.champion]) if ledger.champion and restored else None
    data = training_data(task, view, decision, wanted, restored)
    if restored is None:
        require_rows(task, view, data.whole(), {name: own.plan for name, own in lent.items()})
        say_far(task, lent, data.whole())
    else:
        say_outside(task, restored.preprocessing, data.unseen())
    looking_on = watch(task, decision, view.situation.live, tell)
    return climb(task.declaration, data, restored, champion, methods, task.say, looking_on, lent)


def _rows_of(task: Task, judge: Judge, method: str, view: View, decision: Decision) -> TrainingData:
    """The rows of a training by one method."""
    from gitdata.training.declaration import methods_named

    restored = judge.package(view.situation.ledger.entries[decision.restored]) if decision.restored else None
    return training_data(task, view, decision, methods_named([method], task.declaration.retraining), restored)


def training_data(
    task: Task, view: View, decision: Decision, methods: Sequence[Method], restored: Package | None,
    bounded: bool | None = None,
) -> TrainingData:  # fmt: skip
    """The rows, read when they are asked for and once.

    Where none of the methods reads what was seen, or `auto` would have to fetch it, nothing of it is opened: held-out
    rows are unseen ones too, beside those that travel in the package. `bounded`: whether it was so in another training.
    """
    from functools import cache

    from gitdata.training.methods import TrainingData
    from gitdata.training.retraining import WHOLE

    source, live = task.source, view.situation.live
    with_validation = source.parts(view.chain, live, "validation")
    parts = source.parts(view.chain, live, "train")
    kept_share = 1.0 if with_validation else 1.0 - HOLDOUT

    def of(ids: frozenset[str]) -> list[Part]:
        return [part for part in parts if part.extension.id in ids]

    def expected_rows(ids: frozenset[str]) -> int:
        return max(1, round(kept_share * sum(part.rows for part in of(ids))))

    seen = [part for part in parts if part.rows and part.extension.id not in decision.unseen]
    is_here = all(task.repo.cache.holds(blob_of(part.file)) for part in seen)
    without = () if restored is not None and restored.reservoir is not None and not is_here else ("auto",)
    if bounded is None:
        bounded = restored is not None and not {method.name for method in methods} & {*WHOLE, *without}
    sample = restored.reservoir if bounded and restored is not None else None
    travels = sample is not None and bool(sample.held.any())
    new_validation = [part for part in with_validation if part.extension.id in decision.unseen]
    held_out = new_validation if travels else with_validation
    origins = Origins()

    @cache
    def read(ids: frozenset[str]) -> tuple[AnyColumns, AnyColumns]:
        rows = source.rows(of(ids))
        if with_validation:
            return origins.note(rows, of(ids)), {}
        held_out = source.held_out(rows)
        return origins.note(select(rows, ~held_out), of(ids), ~held_out), select(rows, held_out)

    @cache
    def validation() -> AnyColumns:
        if with_validation:
            return source.rows(held_out) if held_out else {}
        return read(decision.unseen if bounded else view.situation.trainable)[1]

    @cache
    def unseen_validation() -> AnyColumns:
        if with_validation:
            return source.rows(new_validation) if new_validation else {}
        return read(decision.unseen)[1]

    return TrainingData(
        unseen=lambda: read(decision.unseen)[0],
        whole=lambda: read(view.situation.trainable)[0],
        validation=validation,
        unseen_rows=expected_rows(decision.unseen),
        whole_rows=expected_rows(view.situation.trainable),
        names=origins.names,
        digests=source.digests,
        unseen_validation=unseen_validation,
        is_bounded=bounded,
        is_here=is_here,
    )


def _store(task: Task, view: View, decision: Decision, outcome: Outcome) -> tuple[ModelVersion, dict[str, bytes]]:
    """Put the package into the cache; the version, and its files.

    A version that was made from scratch has no parent, whatever might have been restored.
    """
    from gitdata.training import package as packages
    from gitdata.training.blocks import Blocks
    from gitdata.training.environment import machine

    is_fresh = outcome.rung.method == "scratch"
    contents = packages.encode(outcome.package)
    blobs = {name: task.repo.cache.add_bytes(content) for name, content in sorted(contents.items())}
    files = tuple(Attachment(name, b.sha256 or "", b.size or 0, b.md5) for name, b in sorted(blobs.items()))
    blob, content = directory_object(blobs)
    task.repo.cache.add_bytes(content, directory=True)
    assert task.snapshot.commit is not None
    version = ModelVersion(
        model=task.model,
        parent=None if is_fresh else decision.restored,
        added=tuple(sorted(view.situation.trainable if is_fresh else decision.unseen)),
        restore=task.wanted.restore,
        declaration=task.wanted.declaration,
        package=package_digest(files),
        files=files,
        directory=Directory(blob.md5.removesuffix(".dir"), sum(f.size for f in files), len(files)),
        commit=task.snapshot.commit,
        method=outcome.rung.method,
        training=rounded_all({"rungs": [asdict(rung) for rung in outcome.rungs], **outcome.news.to_json()})
        | {"bounded": outcome.is_bounded, "machine": machine(), "streamed": isinstance(outcome.trained_on, Blocks)},
        metrics={},
    )
    return version, contents


def _upload(task: Task, version: ModelVersion) -> None:
    """To the models' remote, before any pointer names them; without a git remote the cache is all there is."""
    if task.repo.is_bare or task.repo.git_remote is not None:
        blobs = [*map(blob_of, version.files), Blob(f"{version.directory.md5}.dir", None)]
        open_remote(task.repo, "models").upload(task.repo.cache, blobs)
