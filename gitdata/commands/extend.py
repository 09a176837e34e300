"""Add and extend: a new extension from files, as blobs in the cache and one staged pointer in git.

Everything a person may have got wrong is found before a byte that was written gets a name, so that a refusal leaves
the repository and the cache as they were. Then: blobs, pointer, index, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import durable
from gitdata.commands.asked import check_committed, check_generation, check_parents, check_request, require_extension
from gitdata.commands.check import misfits
from gitdata.commands.grown import Growth, base_source, grow, require_test_rows
from gitdata.commands.intake import Part, Request, schema_of_parts, split_by_fraction
from gitdata.commands.known import nothing_known, read_known
from gitdata.commands.leaks import leaks_of
from gitdata.commands.mixture import with_rows_or_opaque
from gitdata.commands.order import reordered
from gitdata.commands.overwrite import Overwritten, overwritten, without
from gitdata.commands.reading import read_checked
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.repeats import drop_or_count_known
from gitdata.commands.retract import declare_bad
from gitdata.commands.storing import Copy, Stored, copy_beside, materialise, store
from gitdata.commands.transfer import sidecar_schema
from gitdata.commands.withdrawn import read_withdrawn
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, next_version
from gitdata.data.pointer import Directory, Extension
from gitdata.data.schema import Schema
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, Snapshot

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True, slots=True)
class _Made:
    """An extension and its pointer; what its rows are beside those of the dataset. `path` None: nothing was to do.

    `reordered`: the files with columns in another order. `compared_by`: the fields that tell rows apart, none for all;
    `over_all`: how many extensions rows were compared with over all fields, for want of digests over these;
    `retracted`: its rows that stand in retracted extensions alone, of a grown file those that were left out.
    """

    extension: Extension
    path: Path | None
    known_rows: int = 0
    leaks: Mapping[str, int] = field(default_factory=dict)
    growth: Growth | None = None
    reordered: Sequence[str] = ()
    compared_by: Sequence[str] = ()
    over_all: int = 0
    retracted: Sequence[Mapping[str, Any]] = ()


def add(repo: Repo, request: Request, say: Say = silent) -> Record:
    """A base extension of a new dataset."""
    repo.require_work_tree("add")
    repo.require_initialised()
    if not pointer.NAME.fullmatch(request.dataset):
        raise Mendable(
            f"'{request.dataset}' is no name for a dataset.",
            "Use letters, digits, '.', '_' and '-', starting with a letter or a digit.",
        )
    snapshot = repo.work_tree_snapshot()
    if request.dataset in snapshot.chains:
        raise Mendable(
            f"The dataset '{request.dataset}' exists already.",
            f"Extend it: `gitdata extend {request.dataset} FILE`.",
        )
    return _create(repo, request, snapshot, Chain({}), (), say)


def extend(repo: Repo, request: Request, say: Say = silent) -> Record:
    """A new extension on the heads of a dataset, or on the parents named."""
    repo.require_work_tree("extend")
    repo.require_initialised()
    check_request(request)
    snapshot = repo.work_tree_snapshot()
    chain = snapshot.chain(request.dataset)
    if request.parents is None:
        parents = chain.heads
    else:
        named = [snapshot.extensions(f"{request.dataset}@{p}")[1][0].id for p in request.parents]
        parents = tuple(sorted(set(named)))
    repo.live(chain, parents)
    check_parents(request, chain, parents)
    return _create(repo, request, snapshot, chain, parents, say)


def _create(
    repo: Repo, request: Request, snapshot: Snapshot, chain: Chain, parents: tuple[str, ...], say: Say
) -> Record:
    if request.message is not None and not request.message.strip():
        raise Mendable("The commit message is empty.", "Give one with -m, or leave -m out.")
    old = overwritten(repo, request, chain, say)
    check_committed(repo, request, chain, {bad.id for bad in old.extensions})
    with ExitStack() as stack:
        copies = copy_beside(repo, request, stack)
        made = _make(repo, request, snapshot, chain, parents, old, copies, stack, say)
    lines = misfits(repo, snapshot, made.extension)
    return _record(repo, request, chain, made, old.beside(made.extension), lines)


def _make(
    repo: Repo, request: Request, snapshot: Snapshot, chain: Chain, parents: tuple[str, ...], old: Overwritten,
    copies: Mapping[Path, Future[Copy]], stack: ExitStack, say: Say,
) -> _Made:  # fmt: skip
    inputs, outputs = _roles(request, chain, parents)
    request = replace(request, inputs=inputs, outputs=outputs)
    schema = _parent_schema(repo, chain, parents)
    read = partial(read_checked, snapshot=snapshot, schema=schema)
    live = chain.ordered(without(chain, old).live_part(parents))
    required = request.dedupe or request.grown is not None
    known = read_known(repo, live, _telling(request, schema), required=required, say=say)
    withdrawn = read_withdrawn(repo, chain, known, {bad.id for bad in old.extensions}, say)
    growth, replaces, before = None, (), parents
    if request.grown is None:
        parts = read(request)
        retracted = withdrawn.told(withdrawn.owners(parts))
    else:
        left_out = None if request.again else withdrawn
        parts, growth = grow(repo, request, chain, known, left_out, [e.id for e in live], read, stack, say)
        retracted = list(growth.retracted)
        if not growth.replaces and not any(part.rows or part.is_opaque for part in parts):
            return _unchanged(repo, request, chain, parents, live, old, growth)
    parts = split_by_fraction(request, parts)
    if growth and growth.replaces:
        check_generation(request)
        require_test_rows(request, parts, known)
        parents, replaces, known = (), parents, nothing_known()
    overlap = drop_or_count_known(request, parts, known.telling)
    parts = with_rows_or_opaque(parts)
    if not parts:
        there = f"already in '{request.dataset}'" + ", or was retracted" * bool(retracted)
        raise Mendable(f"Every row is {there}: there is nothing to add.", "Nothing was changed.")
    leaks = leaks_of(request, chain, parts, known)
    draft = _draft(request, chain, parents, replaces, parts)
    stored = materialise(repo, parts, copies, stack)
    source = growth.source if growth else base_source(request, parents, parts, [file for file, _ in stored])
    if (same := _identical(request, chain, draft, stored)) is not None:
        lost = bool(repo.missing_from_cache(same))
        if lost:  # the files are at hand, so what this clone lost of them is put back
            store(repo, replace(same, schema=draft.schema, sidecars=()), parts, stored, source)
        return _Made(same, _finish_or_refuse(repo, request, same, old, was_lost=lost), leaks=leaks, growth=growth)
    say(f"Storing {len(stored)} file{'s' * (len(stored) != 1)}.")
    extension = store(repo, draft, parts, stored, source)
    path = _write_pointer(repo, extension, request.message, old)
    compared_by, moved = _telling(request, draft.schema), reordered(repo, chain, before, parts)
    return _Made(extension, path, overlap, leaks, growth, moved, compared_by, known.over_all, retracted)


def _finish_or_refuse(repo: Repo, request: Request, same: Extension, old: Overwritten, *, was_lost: bool) -> Path:
    """What a killed run had not staged, or not committed, is; else Mendable: there is nothing to add."""
    if _is_finished(repo, request, same):
        raise Mendable(
            f"These files are already in '{same.dataset}', as version {same.version} ({same.short}).",
            "What was missing of them in the cache is back." if was_lost else "Nothing was changed.",
        )
    return _write_pointer(repo, same, request.message, old)


def _is_finished(repo: Repo, request: Request, extension: Extension) -> bool:
    """Whether a pointer is staged and, if a message was given, committed."""
    path = f"{DATASETS}/{extension.dataset}/{extension.stem}.dvc"
    staged = repo.git.try_text("ls-files", "--error-unmatch", "--", path) is not None
    committed = repo.git.try_text("cat-file", "-e", f"HEAD:{path}") is not None
    return staged and (committed or request.message is None)


def _unchanged(
    repo: Repo, request: Request, chain: Chain, parents: Iterable[str], live: Iterable[Extension], old: Overwritten,
    growth: Growth,
) -> _Made:  # fmt: skip
    """A grown file without a new row: nothing is to do, but to finish what a killed run made of this file.

    Raises Mendable where something is asked for that only an extension can do.
    """
    heads = [chain.extensions[parent] for parent in parents]
    name = request.files[0].name
    for head in heads:
        is_of_file = any(file.path == name for file in repo.files_of(head))
        if is_of_file and not _is_finished(repo, request, head):
            path = _write_pointer(repo, head, request.message, old)
            return _Made(head, path, growth=growth, retracted=growth.retracted)
    require_extension(request, chain, live, old.extensions)
    return _Made(heads[0], None, growth=growth, retracted=growth.retracted)


def _record(
    repo: Repo, request: Request, chain: Chain, made: _Made, old: Overwritten, misfits: Sequence[str]
) -> Record:
    extension = made.extension
    if made.path is None:
        fields = {"dataset": extension.dataset, "rows": dict(extension.rows), "version": extension.version}
        grown = made.growth and made.growth.record()
        return Record("unchanged", extension.id, fields | {"grown": grown, "retracted": list(made.retracted)})
    return Record(
        "extension",
        extension.id,
        {
            "dataset": extension.dataset,
            "deduplicated": request.dedupe,
            "grown": made.growth and made.growth.record(),
            "known_rows": made.known_rows,
            "leaks": dict(made.leaks),
            "misfits": list(misfits),
            "overwrites": [bad.stem for bad in old.extensions],
            "parents": [chain.extensions[parent].stem for parent in extension.parents],
            "pointer": made.path.relative_to(repo.top).as_posix(),
            "reordered": list(made.reordered),
            "retracted": list(made.retracted),
            "replaces": [chain.extensions[id].stem for id in extension.replaces],
            "rows": dict(extension.rows),
            "seen_by": list(old.seen_by),
            "version": extension.version,
            "committed": request.message is not None,
            "compared_by": list(made.compared_by),
            "compared_over_all": made.over_all,
        },
    )


# --- deciding ------------------------------------------------------------------------------------------------


def _roles(request: Request, chain: Chain, parents: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs as asked for, else those of the parents."""
    inherited = [chain.extensions[parent] for parent in parents]
    inputs = request.inputs or next((e.inputs for e in inherited if e.inputs), ())
    outputs = request.outputs or next((e.outputs for e in inherited if e.outputs), ())
    return inputs, outputs


def _telling(request: Request, schema: Schema | None) -> tuple[str, ...]:
    """The fields that tell rows apart for duplicates and leaks, none for all."""
    from gitdata.data import rows

    return rows.telling_fields(request.inputs, request.outputs, schema.names) if schema else ()


def _parent_schema(repo: Repo, chain: Chain, parents: Iterable[str]) -> Schema | None:
    """The schema that the parents share; a wide one lies in their sidecar."""
    for parent in parents:
        extension = chain.extensions[parent]
        if extension.schema is not None:
            return extension.schema
        return sidecar_schema(repo, extension)
    return None


def _draft(
    request: Request, chain: Chain, parents: tuple[str, ...], replaces: tuple[str, ...], parts: Sequence[Part]
) -> Extension:
    """The extension to be made, but for its files."""
    return Extension(
        dataset=request.dataset,
        version=_version(request, chain, parents, trains=any(part.split == "train" for part in parts)),
        parents=parents,
        test_policy=request.test_policy,
        replaces=replaces,
        listing="",
        rows=(),
        files=(),
        schema=schema_of_parts(parts),
        sidecars=(),
        directory=Directory("0" * 32, 0, 0),
        inputs=request.inputs,
        outputs=request.outputs,
    )


def _version(request: Request, chain: Chain, parents: Iterable[str], *, trains: bool) -> str:
    if request.version is None:
        return next_version(chain, parents, trains=trains)
    if not pointer.VERSION.fullmatch(request.version):
        raise Mendable(f"'{request.version}' is no version.", "Give three numbers, as in 1.2.0.")
    carriers = [e for e in chain.extensions.values() if e.version == request.version]
    if carriers and not request.overwrite:
        raise Mendable(
            f"Version {request.version} of '{request.dataset}' is in use by {carriers[0].short}.",
            f"Leave --version out: {next_version(chain, parents, trains=trains)} is free. "
            "With --overwrite the other one is retracted.",
        )
    return request.version


def _identical(request: Request, chain: Chain, draft: Extension, stored: Sequence[Stored]) -> Extension | None:
    """The extension of the closure, or the one that would be made, that holds these very files.

    Of a grown file rows may come that stood in it before: then only the very extension counts.
    """
    listing = pointer.listing_digest(file for file, _ in stored)
    own = replace(draft, listing=listing).id
    closure = chain.closure(draft.parents) if request.grown is None else frozenset()
    for id in sorted(closure | ({own} & chain.extensions.keys())):
        extension = chain.extensions[id]
        if extension.listing == listing and (id == own or id not in chain.retracted | chain.lost):
            return extension
    return None


# --- acting --------------------------------------------------------------------------------------------------


def _write_pointer(repo: Repo, extension: Extension, message: str | None, old: Overwritten) -> Path:
    """Retract what is overwritten, write and stage the pointer; with a message commit all of it."""
    old = old.beside(extension)
    path = repo.writable(repo.top / DATASETS / extension.dataset / f"{extension.stem}.dvc")
    retractions = declare_bad(repo, old.extensions, f"overwritten by {extension.stem}") if old.extensions else []
    durable.write(path, pointerfile.encode(extension))
    try:
        repo.git.stage(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if message is not None:
        repo.git.commit(old.message(message), path, *retractions)
    return path
