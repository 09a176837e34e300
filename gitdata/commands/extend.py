"""Add and extend: a new extension from files, as blobs in the cache and one staged pointer in git.

Everything a person may have got wrong is found before a byte that was written gets a name, so that a refusal leaves
the repository and the cache as they were. Then: blobs, pointer, index, in this order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.intake import (
    Part,
    Request,
    check_finite,
    check_roles,
    drop_or_count_known,
    read_parts,
    schema_of_parts,
    stamp,
)
from gitdata.commands.mixture import with_rows_or_opaque
from gitdata.commands.order import reordered
from gitdata.commands.packs import ROW_INDEX, row_indexes
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.transfer import sidecar_schema
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, next_version
from gitdata.data.pointer import Attachment, Directory, Extension, File
from gitdata.data.schema import Schema
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, Snapshot
from gitdata.storage.cache import Blob, directory_object, hash_file

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray


STAGED_FILES = 64  # copies that are held open at once
Copy = tuple[Blob, Callable[[], None]]  # what a file holds, and what gives its copy a place in the cache
Source = tuple[File, Callable[[], None]]


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
    snapshot = repo.work_tree_snapshot()
    chain = snapshot.chain(request.dataset)
    if request.parents is None:
        parents = chain.heads
    else:
        named = [snapshot.extensions(f"{request.dataset}@{p}")[1][0].id for p in request.parents]
        parents = tuple(sorted(set(named)))
    repo.live(chain, parents)
    return _create(repo, request, snapshot, chain, parents, say)


def _create(
    repo: Repo, request: Request, snapshot: Snapshot, chain: Chain, parents: tuple[str, ...], say: Say
) -> Record:
    if request.message is not None and not request.message.strip():
        raise Mendable("The commit message is empty.", "Give one with -m, or leave -m out.")
    with ExitStack() as stack:
        copies = _copy_beside(repo, request, stack)
        made = _make(repo, request, snapshot, chain, parents, copies, stack, say)
    return _record(repo, request, chain, made)


@dataclass(frozen=True, slots=True)
class _Made:
    """An extension, its pointer, how many of its rows were known, and the files with columns in another order."""

    extension: Extension
    path: Path
    known_rows: int = 0
    reordered: Sequence[str] = ()


def _make(
    repo: Repo, request: Request, snapshot: Snapshot, chain: Chain, parents: tuple[str, ...],
    copies: Mapping[Path, Future[Copy]], stack: ExitStack, say: Say,
) -> _Made:  # fmt: skip
    inputs, outputs = _roles(request, chain, parents)
    parts = read_parts(request, _parent_schema(repo, chain, parents), inputs, outputs)
    check_roles(parts, inputs, outputs)
    roles = _declared_roles(snapshot, request.dataset, schema_of_parts(parts).names)
    check_finite(parts, roles | dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"))
    overlap = drop_or_count_known(request, parts, _known_rows(repo, request, chain, parents, say))
    parts = with_rows_or_opaque(parts)
    if not parts:
        raise Mendable(f"Every row is already in '{request.dataset}': there is nothing to add.", "Nothing was changed.")
    trains = any(part.split == "train" for part in parts)
    version = _version(request, chain, parents, trains=trains)
    sources = _materialise(repo, parts, copies, stack)
    if (same := _identical(request, chain, parents, sources)) is not None:
        lost = bool(repo.missing_from_cache(same))
        if lost:  # the files are at hand, so what this clone lost of them is put back
            _store(repo, replace(same, schema=schema_of_parts(parts), sidecars=()), parts, sources)
        return _Made(same, _finish_or_refuse(repo, request, same, was_lost=lost))
    say(f"Storing {len(sources)} file{'s' * (len(sources) != 1)}.")
    draft = Extension(
        dataset=request.dataset,
        version=version,
        parents=parents,
        test_policy=request.test_policy,
        replaces=(),
        listing="",
        rows=(),
        files=(),
        schema=schema_of_parts(parts),
        sidecars=(),
        directory=Directory("0" * 32, 0, 0),
        inputs=inputs,
        outputs=outputs,
    )
    extension = _store(repo, draft, parts, sources)
    path = _write_pointer(repo, extension, request.message)
    return _Made(extension, path, overlap, reordered(repo, chain, parents, parts))


def _copy_beside(repo: Repo, request: Request, stack: ExitStack) -> dict[Path, Future[Copy]]:
    """Begin to copy, without giving it a place, what will be stored whole, while its rows are being read."""
    from concurrent.futures import ThreadPoolExecutor

    parts = [part for part in (request.test, request.validation) if part is not None]
    if request.dedupe or not all(Path(part).is_file() for part in parts):
        return {}  # only chosen rows will be stored
    copied = stack.enter_context(ExitStack())
    beside = stack.enter_context(ThreadPoolExecutor(1))
    paths = [path for path in (*request.files, *map(Path, parts)) if path.is_file()]
    if len(paths) > STAGED_FILES:
        return {}
    return {path: beside.submit(copied.enter_context, repo.cache.adding(path)) for path in paths}


def _finish_or_refuse(repo: Repo, request: Request, same: Extension, *, was_lost: bool) -> Path:
    """What a killed run had not staged, or not committed, is; else Mendable: there is nothing to add."""
    path = f"{DATASETS}/{same.dataset}/{same.stem}.dvc"
    staged = repo.git.try_text("ls-files", "--error-unmatch", "--", path) is not None
    committed = repo.git.try_text("cat-file", "-e", f"HEAD:{path}") is not None
    if staged and (committed or request.message is None):
        raise Mendable(
            f"These files are already in '{same.dataset}', as version {same.version} ({same.short}).",
            "What was missing of them in the cache is back." if was_lost else "Nothing was changed.",
        )
    return _write_pointer(repo, same, request.message)


def _record(repo: Repo, request: Request, chain: Chain, made: _Made) -> Record:
    extension = made.extension
    return Record(
        "extension",
        extension.id,
        {
            "dataset": extension.dataset,
            "known_rows": made.known_rows,
            "parents": [chain.extensions[parent].stem for parent in extension.parents],
            "pointer": made.path.relative_to(repo.top).as_posix(),
            "reordered": list(made.reordered),
            "rows": dict(extension.rows),
            "version": extension.version,
            "committed": request.message is not None,
        },
    )


# --- deciding ------------------------------------------------------------------------------------------------


def _roles(request: Request, chain: Chain, parents: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs as asked for, else those of the parents."""
    inherited = [chain.extensions[parent] for parent in parents]
    inputs = request.inputs or next((e.inputs for e in inherited if e.inputs), ())
    outputs = request.outputs or next((e.outputs for e in inherited if e.outputs), ())
    return inputs, outputs


def _parent_schema(repo: Repo, chain: Chain, parents: Iterable[str]) -> Schema | None:
    """The schema that the parents share; a wide one lies in their sidecar."""
    for parent in parents:
        extension = chain.extensions[parent]
        if extension.schema is not None:
            return extension.schema
        return sidecar_schema(repo, extension)
    return None


def _declared_roles(snapshot: Snapshot, dataset: str, fields: Iterable[str]) -> dict[str, str]:
    """Which fields the models of the work tree use, and as what; a broken declaration uses nothing."""
    roles: dict[str, str] = {}
    if not snapshot.declarations:
        return roles
    from gitdata.training.declaration import parse

    for text in snapshot.declarations.values():
        try:
            data = parse(text, "model").data
        except Mendable:
            continue
        if data.dataset == dataset:
            roles |= dict.fromkeys(fields if data.inputs is None else data.inputs, "input")
            roles |= dict.fromkeys(data.outputs, "output")
    return roles


def _known_rows(repo: Repo, request: Request, chain: Chain, parents: Iterable[str], say: Say) -> NDArray[np.uint64]:
    """The row indexes of the closure, fetched if need be; only `dedupe` cannot do without them."""
    import numpy as np

    def lost(extension: Extension, error: GitdataError) -> None:
        say(f"Rows were not compared with those of {extension.stem}: {error.message}")

    extensions = chain.ordered(chain.live_part(parents))
    known = row_indexes(repo, extensions, None if request.dedupe else lost)
    return np.unique(np.concatenate([np.empty(0, np.uint64), *known]))


def _version(request: Request, chain: Chain, parents: Iterable[str], *, trains: bool) -> str:
    if request.version is None:
        return next_version(chain, parents, trains=trains)
    if not pointer.VERSION.fullmatch(request.version):
        raise Mendable(f"'{request.version}' is no version.", "Give three numbers, as in 1.2.0.")
    if carriers := [e for e in chain.extensions.values() if e.version == request.version]:
        raise Mendable(
            f"Version {request.version} of '{request.dataset}' is in use by {carriers[0].short}.",
            f"Leave --version out: {next_version(chain, parents, trains=trains)} is free.",
        )
    return request.version


def _identical(request: Request, chain: Chain, parents: Iterable[str], sources: Sequence[Source]) -> Extension | None:
    """The extension of the closure, or the one that would be made, that holds these very files."""
    listing = pointer.listing_digest(file for file, _ in sources)
    own = pointer.extension_id(request.dataset, parents, request.test_policy, (), listing)
    for id in sorted(chain.closure(parents) | ({own} & chain.extensions.keys())):
        extension = chain.extensions[id]
        if extension.listing == listing and (id == own or id not in chain.retracted | chain.lost):
            return extension
    return None


# --- acting --------------------------------------------------------------------------------------------------


def _materialise(
    repo: Repo, parts: Sequence[Part], copies: Mapping[Path, Future[Copy]], stack: ExitStack
) -> list[Source]:
    """The data files as they will be stored: copied and hashed, but without their place; chosen rows in new files."""
    from gitdata.data import formats

    stage = _staged if len(parts) <= STAGED_FILES else _hashed
    sources = []
    for part in parts:
        path = part.source
        if part.keep is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gitdata-"))
            path = Path(scratch) / part.source.name
            formats.subset(part.source, part.keep, path)
        blob, place = copies[path].result() if path in copies else stage(repo, path, stack)
        if stamp(part.source) != part.found:
            raise Mendable(f"'{part.source}' changed while it was read.", "Try again when nobody writes to it.")
        assert blob.sha256 is not None
        assert blob.size is not None
        sources.append((File(part.split, part.place, blob.sha256, blob.size, part.rows, blob.md5), place))
    return sources


def _staged(repo: Repo, path: Path, stack: ExitStack) -> Copy:
    """Copied and hashed in one pass; the copy is held open until it gets its place or the stack ends."""
    return stack.enter_context(repo.cache.adding(path))


def _hashed(repo: Repo, path: Path, stack: ExitStack) -> Copy:
    """Hashed now and copied when it gets its place: no process may hold thousands of files open."""
    blob = hash_file(path)

    def place() -> None:
        if repo.cache.add_file(path) != blob:
            raise Mendable(f"'{path}' changed while it was read.", "Try again when nobody writes to it.")

    return blob, place


def _store(repo: Repo, draft: Extension, parts: Sequence[Part], sources: Sequence[Source]) -> Extension:
    """Put the files and their sidecars into the cache; the extension that names them."""
    for _, place in sources:
        place()
    files = tuple(sorted(file for file, _ in sources))
    draft = replace(draft, files=files, listing=pointer.listing_digest(files), rows=pointer.row_counts(files))
    sidecars = [_sidecar(repo, ROW_INDEX, _index(parts, files))]
    slim = pointerfile.fit_inline(replace(draft, sidecars=tuple(sidecars)))
    if slim.schema is None:
        assert draft.schema is not None
        sidecars.append(_sidecar(repo, "schema.json", readable_json(draft.schema.to_json())))
    if slim.files is None:
        sidecars.append(_sidecar(repo, "listing.json", readable_json(pointerfile.files_to_json(files))))
    places = {file.place: Blob(file.md5, file.size, file.sha256) for file in files}
    places |= {a.path: Blob(a.md5, a.size, a.sha256) for a in sidecars}
    blob, content = directory_object(places)
    repo.cache.add_bytes(content, directory=True)
    total = sum(place.size or 0 for place in places.values())
    directory = Directory(blob.md5.removesuffix(".dir"), total, len(places))
    return replace(slim, sidecars=tuple(sorted(sidecars)), directory=directory)


def _index(parts: Sequence[Part], files: Sequence[File]) -> bytes:
    from gitdata.data import rows

    by_place = {f"{part.split}/{part.place}": part for part in parts}
    return b"".join(rows.index(by_place[file.place].digests) for file in files)


def _sidecar(repo: Repo, name: str, content: bytes) -> Attachment:
    blob = repo.cache.add_bytes(content)
    assert blob.sha256 is not None
    assert blob.size is not None
    return Attachment(f"{pointer.SIDECAR}/{name}", blob.sha256, blob.size, blob.md5)


def _write_pointer(repo: Repo, extension: Extension, message: str | None) -> Path:
    path = repo.writable(repo.top / DATASETS / extension.dataset / f"{extension.stem}.dvc")
    durable.write(path, pointerfile.encode(extension))
    try:
        repo.git.stage(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if message is not None:
        repo.git.commit(message, path)
    return path
