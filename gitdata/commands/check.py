"""Check: a declared model against its data, before anything is computed.

What the schema alone tells costs nothing, and is also asked at `extend` and before a push; `check` itself, and a
training that starts anew, measure the rows too. Where a champion is to be trained on, what it has not seen is held
against what it was fitted to.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.engine import allows_python
from gitdata.commands.lenders import lenders
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.restart import going_on
from gitdata.commands.rowsource import AnyColumns, RowSource, schema_of
from gitdata.commands.situation import declared, default_revision, live_of
from gitdata.commands.task import Task, View
from gitdata.commands.transfer import package_files
from gitdata.commands.union import Part
from gitdata.data.chain import Chain
from gitdata.data.pointer import SPLITS, Extension
from gitdata.data.schema import Schema
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gitdata.training.architecture.plan import Plan
    from gitdata.training.borrowing import Lenders
    from gitdata.training.check import Examination, Facts, Finding
    from gitdata.training.declaration import Declaration
    from gitdata.training.preprocessing import Preprocessing

_FEW = 1000  # train rows that may all have the same inputs, or be held out by chance
_BLOCK = 2**18  # rows that are read at a time, if files are no larger


def check(repo: Repo, model: str, *, quick: bool = False, say: Say = silent) -> list[Record]:
    """What goes in and comes out of a model, its layers, and all findings: the first record, and one for each.

    `quick`: by the schema alone, without reading rows. What lies in the work tree counts, committed or not.
    """
    from gitdata.training.check import examine
    from gitdata.training.declaration import parse

    repo.require_initialised()
    snapshot = repo.snapshot(default_revision(repo, model)) if repo.is_bare else repo.work_tree_snapshot()
    text = snapshot.declaration(model)
    declaration = parse(text, model)
    wanted = declared(repo, model, text)
    chain, live = live_of(repo, snapshot, wanted)
    source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
    fields = fields_of(repo, chain, live)
    parts = {split: source.parts(chain, live, split) for split in SPLITS}
    rows = {split: sum(part.rows for part in found) for split, found in parts.items()}
    tests: dict[str, Facts] = {}
    if not quick:
        fields = _measured(source, parts["train"], fields, declaration)
        tests = _measured(source, parts["test"], fields, declaration) if rows["test"] else {}
    others = partial(repo.ledger, commit=repo.ledger_commit())
    borrowed = lenders(repo, declaration, snapshot, others, say)
    lent = {name: own.plan for name, own in borrowed.items()}
    found = examine(declaration, fields.values(), tests=tests, rows=rows, memory=memory(), lenders=lent)
    runs = _python(repo, model, declaration)
    measured = not quick and not found.errors
    if measured:
        runs += [*_held_out(source, parts), *_far(borrowed, source, parts["train"])]
    runs += going_on(repo, model, declaration)
    news = _news(repo, model, declaration, chain, source, live, say) if measured else []
    findings = sorted([*found.findings, *runs, *news], key=lambda finding: finding.level)
    return _records(model, declaration, chain, live, rows, found, findings, quick=quick)


def fields_of(repo: Repo, chain: Chain, live: Iterable[str]) -> dict[str, Facts]:
    """What the schema of the youngest live extension says. Raises Mendable where it names no field."""
    ordered = chain.ordered(live) or chain.ordered(chain.heads)
    return facts_of(schema_of(repo, ordered[-1]), ordered[-1].dataset)


def facts_of(schema: Schema, dataset: str) -> dict[str, Facts]:
    """Fields by name, as a check wants them."""
    from gitdata.training.check import Facts

    if not schema.fields:
        raise Mendable(
            f"'{dataset}' holds files of no format that gitdata reads: there is nothing to train on.",
            "Convert them, and add them as another dataset.",
        )
    return {field.name: Facts(field.name, field.dtype, field.shape, field.categories) for field in schema.fields}


def memory() -> int | None:
    """Bytes of memory of this machine; None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


# --- before a training -----------------------------------------------------------------------------------------


def require_fit(task: Task, view: View, lenders: Mapping[str, Plan]) -> None:
    """Raises Mendable where declaration and schema do not go together; costs nothing."""
    from gitdata.training.check import examine

    fields = fields_of(task.repo, view.chain, view.situation.live)
    _require(task, examine(task.declaration, fields.values(), memory=memory(), lenders=lenders))


def require_rows(task: Task, view: View, columns: Mapping[str, NDArray[Any]], lenders: Mapping[str, Plan]) -> None:
    """The same, with what these rows hold, in memory or in blocks; warnings are said."""
    from gitdata.training.blocks import blocks_of
    from gitdata.training.check import examine, measure

    fields = fields_of(task.repo, view.chain, view.situation.live)
    fields = measure(fields, task.declaration.data, blocks_of(columns))
    found = examine(task.declaration, fields.values(), memory=memory(), lenders=lenders)
    _require(task, found)
    for finding in found.warnings:
        task.say(f"Warning: {finding.text}. {finding.remedy}")


def say_outside(task: Task, preprocessing: Preprocessing, columns: Mapping[str, NDArray[Any]]) -> None:
    """Say what is odd in rows for a version that is to learn them; of rows in blocks the first are looked at."""
    from gitdata.training.blocks import blocks_of, rows_of

    first = [next(blocks_of(columns))] if rows_of(columns) else []
    sentences = [found.sentence for block in first for found in preprocessing.outside(block)]
    for text in (*sentences, *(found.sentence for found in preprocessing.alike(first))):
        task.say(f"Warning: {text}.")


def say_far(task: Task, lenders: Lenders, columns: Mapping[str, NDArray[Any]]) -> None:
    """Say what rows hold that is far from what borrowed layers were fitted to; of rows in blocks the first are seen."""
    from gitdata.training.blocks import blocks_of, rows_of
    from gitdata.training.borrowing import far

    for name, found in far(lenders, next(blocks_of(columns))) if rows_of(columns) else ():
        task.say(f"Warning: of {name}, whose layers are borrowed: {found.sentence}.")


def _require(task: Task, found: Examination) -> None:
    if found.errors:
        raise Mendable(
            "\n".join(f"models/{task.model}.toml: {finding.text}." for finding in found.errors),
            f"{found.errors[0].remedy} See `gitdata check {task.model}`.",
        )


# --- beside other commands ---------------------------------------------------------------------------------------


def misfits(repo: Repo, snapshot: Snapshot, extension: Extension | None = None) -> list[str]:
    """A sentence for each declared model that does not go with the schema of its data, or with that of an extension.

    Nobody is stopped, nothing is fetched, and what was found is kept by the text of model file and schema.
    """
    lines = []
    for model, text in sorted(snapshot.declarations.items()):
        try:
            wanted = declared(repo, model, text)
            if extension is None:
                schema = _schema_at_hand(snapshot, wanted.dataset)
            else:
                schema = schema_of(repo, extension) if extension.dataset == wanted.dataset else None
            lines += _kept_errors(repo, model, text, schema) if schema is not None and schema.fields else []
        except GitdataError as error:
            lines += [] if extension is not None else error.message.splitlines()
    return [f"{line} (gitdata check {line.split('.toml')[0].removeprefix('models/')})" for line in lines]


def _schema_at_hand(snapshot: Snapshot, dataset: str) -> Schema | None:
    """The schema of the youngest head, where its pointer holds it."""
    chain = snapshot.chains.get(dataset)
    heads = chain.ordered(chain.heads) if chain is not None else ()
    return heads[-1].schema if heads else None


def _kept_errors(repo: Repo, model: str, text: str, schema: Schema) -> list[str]:
    from gitdata import __version__

    key = "\n".join((__version__, model, text, json.dumps(schema.to_json(), sort_keys=True)))
    name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
    kept = repo.state / "checks" / f"{name}.json"
    try:
        return [str(line) for line in json.loads(kept.read_bytes())]
    except (OSError, ValueError, TypeError):
        pass
    from gitdata.training.check import examine
    from gitdata.training.declaration import parse

    found = examine(parse(text, model), facts_of(schema, model).values())
    lines = [f"models/{model}.toml: {finding.text}." for finding in found.errors]
    durable.write(kept, readable_json(lines))
    return lines


# --- measuring ---------------------------------------------------------------------------------------------------


def _measured(
    source: RowSource, parts: list[Part], fields: Mapping[str, Facts], declaration: Declaration
) -> dict[str, Facts]:
    from gitdata.training.check import measure

    return measure(fields, declaration.data, _blocks(source, parts))


def _blocks(source: RowSource, parts: list[Part]) -> Iterator[AnyColumns]:
    """The rows of some parts, a few files at a time."""
    from gitdata.training.blocks import blocks_of

    block: list[Part] = []
    for part in parts:
        block.append(part)
        if sum(found.rows for found in block) >= _BLOCK:
            yield from blocks_of(source.rows(block))
            block = []
    if block:
        yield from blocks_of(source.rows(block))


def _python(repo: Repo, model: str, declaration: Declaration) -> list[Finding]:
    """What the network runs that this machine does not allow."""
    from gitdata.training.architecture.layers import Python
    from gitdata.training.architecture.notation import every_layer
    from gitdata.training.check.findings import warning

    layers = [layer for layer in every_layer(declaration.network.layers) if isinstance(layer, Python)]
    if not layers or allows_python(repo):
        return []
    file = layers[0].python.partition(":")[0]
    text = f"the network runs Python, models/{file}, which this machine does not allow"
    remedy = "Read that file; if you trust it: `git config gitdata.allowPython true`."
    return [warning("python", text, remedy, layer=layers[0].name)]


def _far(borrowed: Lenders, source: RowSource, parts: list[Part]) -> list[Finding]:
    """What the rows hold that is far from what borrowed layers were fitted to."""
    if not borrowed:
        return []
    from gitdata.training.borrowing import far
    from gitdata.training.check.findings import warning

    remedy = "Look whether these rows are right; the borrowed layers have seen none like them."
    return [
        warning("outside-borrowed", f"of {name}: {found.sentence}", remedy, found.field)
        for columns in _blocks(source, parts)
        for name, found in far(borrowed, columns)
    ]


def _held_out(source: RowSource, parts: Mapping[str, list[Part]]) -> Iterator[Finding]:
    """Whether validation rows are taken from the train rows until none is left, which happens where there are few."""
    from gitdata.training.check.findings import error

    train = sum(part.rows for part in parts["train"])
    if parts["validation"] or not 0 < train <= _FEW or not source.held_out(source.rows(parts["train"])).all():
        return
    text = "without a validation split a tenth of the train rows is held out, by their inputs; here that is every row"
    yield error("held-out", text, "Add validation rows: `gitdata extend … --validation FILE`, or more train rows.")


def _news(
    repo: Repo, model: str, declaration: Declaration, chain: Chain, source: RowSource, live: frozenset[str], say: Say
) -> list[Finding]:
    """What is odd in the unseen rows, far from what the champion was fitted to or all alike; nothing without one."""
    from gitdata.training.check import Finding
    from gitdata.training.contents import preprocessing_of

    ledger = repo.ledger(model, repo.ledger_commit())
    champion = ledger.entries[ledger.champion] if ledger.champion else None
    if champion is None or champion.version.restore != declaration.restore_digest:
        return []
    parts = [part for part in source.parts(chain, live, "train") if part.extension.id not in ledger.seen(champion.id)]
    if not parts:
        return []
    try:
        fitted = preprocessing_of(package_files(repo, champion, say))
    except GitdataError as error:
        say(f"What {model}@{champion.number} was fitted to is not known: {error.message}")
        return []
    look = "Look whether these rows are right;"
    remedy = f"{look} {model}@{champion.number} is to be trained on them."
    far = [
        Finding("warning", "outside-seen", found.sentence, remedy, found.field)
        for columns in _blocks(source, parts)
        for found in fitted.outside(columns)
    ]
    remedy = f"{look} methods that read them alone, as finetune, unlearn the rest; rehearse and distil do not."
    same = fitted.alike(_blocks(source, parts))
    return far + [Finding("warning", "alike", found.sentence, remedy, found.field) for found in same]


# --- telling -----------------------------------------------------------------------------------------------------


def _records(
    model: str, declaration: Declaration, chain: Chain, live: frozenset[str], rows: Mapping[str, int],
    found: Examination, findings: list[Finding], *, quick: bool,
) -> list[Record]:  # fmt: skip
    fields: dict[str, Any] = {
        "dataset": declaration.data.dataset,
        "errors": sum(finding.level == "error" for finding in findings),
        "guessed": list(found.guessed),
        "extensions": [extension.stem for extension in chain.ordered(live)],
        "inputs": [asdict(coded) for coded in found.inputs],
        "layers": [asdict(line) for line in found.lines],
        "loss": declaration.training.model_dump(mode="json")["loss"],
        "measured": not quick,
        "outputs": [asdict(coded) for coded in found.outputs],
        "rows": dict(rows),
        "warnings": sum(finding.level == "warning" for finding in findings),
        "weights": found.weights,
    }
    return [
        Record("model check", model, fields),
        *(Record("model finding", model, finding.to_json()) for finding in findings),
    ]
