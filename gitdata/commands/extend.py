"""Add and extend: a new extension from files, as blobs in the cache and one staged pointer in git.

Everything a person may have got wrong is found before the first byte is written, so that a refusal leaves the
repository and the cache as they were. Then: blobs, pointer, index, in this order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import count
from gitdata.commands.transfer import sidecar_bytes, sidecar_json
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, next_version
from gitdata.data.pointer import Attachment, Directory, Extension, File, Policy
from gitdata.data.schema import Schema
from gitdata.errors import DataUnavailable, Mendable, TryAgain
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, Snapshot
from gitdata.storage.cache import Blob, directory_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns

ROW_INDEX = "rows.u64"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for. `test` and `validation` hold a file or a fraction of the rows, as text.

    `parents` None: the heads. `inputs` and `outputs` name fields; without them an extension has its parents'.
    """

    dataset: str
    files: Sequence[Path]
    test: str | None = None
    validation: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    version: str | None = None
    message: str | None = None
    parents: tuple[str, ...] | None = None
    test_policy: Policy = "add"
    dedupe: bool = False


@dataclass(slots=True)
class Part:
    """Rows of one source file for one split; `keep` None: the whole file, byte for byte."""

    source: Path
    split: str
    columns: Columns
    keep: np.ndarray[Any, Any] | None = None
    found: tuple[int, int] = field(default=(0, 0))

    @property
    def rows(self) -> int:
        return count(self.kept)

    @property
    def kept(self) -> Columns:
        if self.keep is None:
            return self.columns
        return {name: column[self.keep] for name, column in self.columns.items()}


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
    inputs, outputs = _roles(request, chain, parents)
    parts = _read_parts(request, _parent_schema(repo, chain, parents), inputs, outputs)
    _check_roles(parts, inputs, outputs)
    _check_targets(parts, {*outputs, *_declared_outputs(repo, snapshot, request.dataset)})
    overlap = _drop_or_count_known(request, parts, _known_rows(repo, request, chain, parents, say))
    parts = [part for part in parts if part.rows]
    if not parts:
        raise Mendable(f"Every row is already in '{request.dataset}': there is nothing to add.", "Nothing was changed.")
    trains = any(part.split == "train" for part in parts)
    version = _version(request, chain, parents, trains=trains)
    with tempfile.TemporaryDirectory(prefix="gitdata-") as scratch:
        sources = _materialise(parts, Path(scratch))
        _refuse_identical(request, chain, parents, sources)
        say(f"Storing {len(sources)} files.")
        draft = Extension(
            dataset=request.dataset,
            version=version,
            parents=parents,
            test_policy=request.test_policy,
            replaces=(),
            listing="",
            rows=(),
            files=(),
            schema=_schema(parts),
            sidecars=(),
            directory=Directory("0" * 32, 0, 0),
            inputs=inputs,
            outputs=outputs,
        )
        extension = _store(repo, draft, parts, sources)
    path = _write_pointer(repo, extension, request.message)
    return Record(
        "extension",
        extension.id,
        {
            "dataset": extension.dataset,
            "known_rows": overlap,
            "parents": [chain.extensions[parent].stem for parent in parents],
            "pointer": path.relative_to(repo.top).as_posix(),
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
        return Schema.from_json(sidecar_json(repo, extension, "schema.json"))
    return None


def _read_parts(
    request: Request, schema: Schema | None, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> list[Part]:
    parts = [_read(path, "train", schema) for path in request.files]
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is None:
            parts.append(_read(Path(wanted), split, schema or (_schema(parts) if parts else None)))
    if not parts:
        raise Mendable(
            "There is no file to take rows from.",
            f"Name one: `gitdata extend {request.dataset} FILE`, or a test part alone with `--test FILE`.",
        )
    for other in parts[1:]:
        _refuse_differences(parts[0], other)
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is not None:
            parts = [piece for part in parts for piece in _split(part, split, fraction, inputs, outputs)]
    _refuse_same_names(parts)
    return parts


def _read(path: Path, split: str, schema: Schema | None) -> Part:
    from gitdata.data import formats

    before = _stamp(path)
    return Part(path, split, formats.read(path, schema), found=before)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


def _fraction(split: str, wanted: str) -> float | None:
    """The fraction that `--test`/`--validation` names, None where it names a file. Raises Mendable."""
    try:
        fraction = float(wanted)
    except ValueError:
        return None
    if Path(wanted).exists():
        return None
    if not 0 < fraction < 1:
        raise Mendable(f"--{split} {wanted} is no fraction.", "Give a number between 0 and 1, or a file.")
    return fraction


def _split(part: Part, split: str, fraction: float, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Part]:
    """`part` and what the fraction takes out of it: by hash of the inputs, so equal inputs stay together."""
    if part.split != "train":
        return [part]
    from gitdata.data import rows

    fields = inputs or tuple(name for name in part.columns if name not in outputs)
    _check_fields(part, fields)
    taken = rows.fraction_mask(part.columns, fields, fraction, split)
    kept = ~taken if part.keep is None else part.keep & ~taken
    pieces = [Part(part.source, "train", part.columns, kept, part.found)]
    pieces.append(Part(part.source, split, part.columns, taken if part.keep is None else part.keep & taken, part.found))
    return [piece for piece in pieces if piece.rows]


def _schema(parts: Sequence[Part]) -> Schema:
    from gitdata.data import formats

    return formats.schema_of(parts[0].columns)


def _refuse_differences(first: Part, other: Part) -> None:
    from gitdata.data import formats
    from gitdata.data.schema import differences

    found = differences(formats.schema_of(first.columns), formats.schema_of(other.columns))
    if found:
        raise Mendable(f"'{other.source}' and '{first.source}' differ: {'; '.join(found)}.", "Nothing was changed.")


def _refuse_same_names(parts: Sequence[Part]) -> None:
    names = [(part.split, part.source.name) for part in parts]
    for split, name in names:
        if names.count((split, name)) > 1:
            raise Mendable(f"Two files of the {split} split are called '{name}'.", "Rename one of them.")
        if not pointer.is_safe_path(name):
            raise Mendable(f"'{name}' is no name for a file in a dataset.", "Rename it.")


def _check_fields(part: Part, names: Iterable[str]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name not in part.columns:
            near = get_close_matches(name, part.columns, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Its fields are {', '.join(part.columns)}."
            raise Mendable(f"'{part.source}' has no field '{name}'.", hint)


def _check_roles(parts: Sequence[Part], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    _check_fields(parts[0], (*inputs, *outputs))
    if both := sorted(set(inputs) & set(outputs)):
        raise Mendable(f"'{both[0]}' is named as input and as output.", "Name it once.")


def _declared_outputs(repo: Repo, snapshot: Snapshot, dataset: str) -> tuple[str, ...]:
    """What the models of the work tree learn to predict from a dataset; a broken declaration names nothing."""
    outputs: list[str] = []
    for text in snapshot.declarations.values():
        if dataset in text:
            from gitdata.training.declaration import parse

            try:
                declaration = parse(text, "model")
            except Mendable:
                continue
            if declaration.data.dataset == dataset:
                outputs.extend(declaration.data.outputs)
    return tuple(dict.fromkeys(outputs))


def _check_targets(parts: Sequence[Part], outputs: Iterable[str]) -> None:
    """A target that is not finite would poison training: refused before it is in anybody's data."""
    import numpy as np

    for part in parts:
        for name in outputs:
            column = part.columns.get(name)
            if column is None or column.dtype.kind != "f":
                continue
            bad = np.asarray(~np.isfinite(column.reshape(len(column), -1)).all(axis=1))
            if bad.any():
                raise Mendable(
                    f"The output '{name}' is not a finite number in {int(bad.sum())} of {len(bad)} rows of "
                    f"'{part.source}'; the first is row {int(bad.argmax()) + 1}.",
                    "Correct or remove these rows.",
                )


def _known_rows(repo: Repo, request: Request, chain: Chain, parents: Iterable[str], say: Say) -> NDArray[np.uint64]:
    """The row indexes of the closure, fetched if need be; only `dedupe` cannot do without them."""
    import numpy as np

    from gitdata.data import rows

    known = [np.empty(0, np.uint64)]
    for extension in chain.ordered(chain.closure(parents)):
        try:
            known.append(rows.read_index(sidecar_bytes(repo, extension, ROW_INDEX)))
        except (DataUnavailable, TryAgain) as error:
            if request.dedupe:
                raise
            say(f"Rows were not compared with those of {extension.stem}: {error.message}")
    return np.unique(np.concatenate(known))


def _drop_or_count_known(request: Request, parts: list[Part], seen: NDArray[np.uint64]) -> int:
    """How many rows stand in the closure already or repeat here; with `dedupe` they are left out."""
    import numpy as np

    from gitdata.data import rows

    doubles = 0
    for part in parts:
        own = rows.digests(part.kept)[:, 0]
        first = np.zeros(len(own), bool)
        first[np.unique(own, return_index=True)[1]] = True
        fresh = first & ~np.isin(own, seen)
        doubles += int((~fresh).sum())
        seen = np.union1d(seen, own)
        if request.dedupe and not fresh.all():
            keep = np.ones(count(part.columns), bool) if part.keep is None else part.keep.copy()
            keep[np.flatnonzero(keep)[~fresh]] = False
            part.keep = keep
    return doubles


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


def _refuse_identical(
    request: Request, chain: Chain, parents: Iterable[str], sources: Sequence[tuple[File, Path]]
) -> None:
    listing = pointer.listing_digest(file for file, _ in sources)
    own = pointer.extension_id(request.dataset, parents, request.test_policy, (), listing)
    for id in sorted(chain.closure(parents) | ({own} & chain.extensions.keys())):
        extension = chain.extensions[id]
        if extension.listing == listing and id not in chain.retracted | chain.lost:
            raise Mendable(
                f"These files are already in '{request.dataset}', as version {extension.version} ({extension.short}).",
                "Nothing was changed.",
            )


# --- acting --------------------------------------------------------------------------------------------------


def _materialise(parts: Sequence[Part], scratch: Path) -> list[tuple[File, Path]]:
    """The data files as they will be stored, hashed, with where their bytes are; chosen rows in new files."""
    from gitdata.data import formats
    from gitdata.storage.cache import hash_file

    files = []
    for part in parts:
        path = part.source
        if part.keep is not None:
            path = scratch / part.split / part.source.name
            path.parent.mkdir(exist_ok=True)
            formats.subset(part.source, part.keep, path)
        blob = hash_file(path)
        if _stamp(part.source) != part.found:
            raise Mendable(f"'{part.source}' changed while it was read.", "Try again when nobody writes to it.")
        assert blob.sha256 is not None
        assert blob.size is not None
        files.append((File(part.split, part.source.name, blob.sha256, blob.size, part.rows, blob.md5), path))
    return files


def _store(repo: Repo, draft: Extension, parts: Sequence[Part], sources: Sequence[tuple[File, Path]]) -> Extension:
    """Put the files and their sidecars into the cache; the extension that names them."""
    for file, path in sources:
        if repo.cache.add_file(path).sha256 != file.sha256:
            raise Mendable(f"'{path}' changed while it was read.", "Try again when nobody writes to it.")
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

    by_place = {f"{part.split}/{part.source.name}": part for part in parts}
    return b"".join(rows.index(by_place[file.place].kept) for file in files)


def _sidecar(repo: Repo, name: str, content: bytes) -> Attachment:
    blob = repo.cache.add_bytes(content)
    assert blob.sha256 is not None
    assert blob.size is not None
    return Attachment(f"{pointer.SIDECAR}/{name}", blob.sha256, blob.size, blob.md5)


def _write_pointer(repo: Repo, extension: Extension, message: str | None) -> Path:
    path = repo.top / DATASETS / extension.dataset / f"{extension.stem}.dvc"
    durable.write(path, pointerfile.encode(extension))
    try:
        repo.git.stage(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if message is not None:
        repo.git.commit(message, path)
    return path
