"""Row check: whether the row sidecars of extensions say what their rows are, by reading the rows.

Union, `--dedupe`, grown files and `diff` go by the sidecars, which a pointer names and no id depends on: whoever wrote
the pointer may have let them say anything. Only rows whose blobs are in the cache are read. What is wrong is computed
anew where asked: id and rows stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gitdata.commands.finding import Finding
from gitdata.commands.known import ROW_FACTS, Facts
from gitdata.commands.pieces import pieces_of
from gitdata.commands.rowsource import schema_of
from gitdata.commands.storing import attach, name_directory
from gitdata.commands.union import Part
from gitdata.data.pointer import ROLE_INDEX, ROW_INDEX, SIDECAR, Extension
from gitdata.errors import DataUnavailable, GitdataError
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]


def readable(repo: Repo, extensions: Iterable[Extension]) -> list[Extension]:
    """Those with a row index whose blobs are all in the cache."""
    indexed = [extension for extension in extensions if _names(extension, ROW_INDEX)]
    return [extension for extension in indexed if not _lacks(repo, extension)]


def check_rows(repo: Repo, extensions: Iterable[Extension], *, repair: bool) -> Iterator[Finding]:
    """What is wrong with the row sidecars of extensions that are `readable`."""
    for extension in extensions:
        name = f"{extension.dataset}@{extension.version}"
        try:
            wrong = wrong_sidecars(repo, extension)
        except GitdataError as error:
            yield Finding("rows", name, f"{name}: {error.message}", error.next_step)
            continue
        if wrong:
            if repair:
                _write(repo, extension, wrong)
            yield Finding(
                "rows",
                name,
                f"The sidecars {', '.join(sorted(wrong))} of {name} ({extension.short}) do not say what its rows are, "
                "so rows may be missing from the union, or be taken for known.",
                "`gitdata verify --rows --repair` in a clone computes them anew; then commit the pointer. "
                f"Whom you do not trust: `gitdata retract {extension.dataset}@{extension.short}`.",
                repair,
            )


def wrong_sidecars(repo: Repo, extension: Extension) -> dict[str, bytes]:
    """By name, what each row sidecar that says something else must say. Raises DataUnavailable, Mendable."""
    from gitdata.data import rows

    said = _facts(repo, extension)
    known = schema_of(repo, extension).names
    roles = said.roles if said and {*said.roles} <= {*known} else ()
    if not roles and _names(extension, ROLE_INDEX):
        roles = rows.telling_fields(extension.inputs, extension.outputs, known)
    found = list(_digests(repo, extension, roles))
    must = {ROW_INDEX: b"".join(rows.index(full[:, 0]) for full, _ in found)}
    if _names(extension, ROLE_INDEX):
        must[ROLE_INDEX] = b"".join(rows.index(telling) for _, telling in found)
    wrong = {name: content for name, content in must.items() if _content(repo, extension, name) != content}
    if _names(extension, ROW_FACTS):
        places = {file.place for file in repo.files_of(extension) if file.split != "train"}
        apart = tuple(place for place in said.apart if place in places) if said else ()
        facts = Facts(tuple(rows.content(full) for full, _ in found), apart, said.source if said else None, roles)
        wrong |= {ROW_FACTS: facts.encode()} if facts != said else {}
    return wrong


def _digests(repo: Repo, extension: Extension, roles: tuple[str, ...]) -> Iterator[tuple[Digests, Digests]]:
    """Of each file, in order: the digests of its rows over all fields, shape (rows, 2), and 64 bits over `roles`."""
    import numpy as np

    from gitdata.data import rows

    files = repo.files_of(extension)
    with_rows = [Part(extension, file, None) for file in files if file.rows]
    pieces = iter(pieces_of(repo, with_rows))
    for file in files:
        full, telling = [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint64)]
        for block in next(pieces).blocks() if file.rows else ():
            full.append(rows.digests(block))
            telling.append(rows.digests(block, roles)[:, 0] if roles else full[-1][:, 0])
        if sum(map(len, full)) != file.rows:
            raise DataUnavailable(
                f"{file.place} has {sum(map(len, full))} rows, and the pointer names {file.rows}.",
                f"Somebody wrote the pointer by hand; `gitdata retract {extension.dataset}@{extension.short}`.",
            )
        yield np.concatenate(full), np.concatenate(telling)


def _write(repo: Repo, extension: Extension, contents: Mapping[str, bytes]) -> None:
    """Put sidecars into the cache, and let the pointer name them."""
    made = {f"{SIDECAR}/{name}": attach(repo, name, content) for name, content in contents.items()}
    sidecars = tuple(sorted(made.get(old.path, old) for old in extension.sidecars))
    name_directory(repo, replace(extension, sidecars=sidecars))


def _names(extension: Extension, name: str) -> bool:
    """Whether the pointer names a sidecar."""
    return any(attachment.path == f"{SIDECAR}/{name}" for attachment in extension.sidecars)


def _lacks(repo: Repo, extension: Extension) -> bool:
    try:
        return bool(repo.missing_from_cache(extension))
    except DataUnavailable:
        return True  # its listing is corrupt, which is a finding of the cache


def _content(repo: Repo, extension: Extension, name: str) -> bytes:
    return repo.cache.read(repo.sidecar(extension, name))


def _facts(repo: Repo, extension: Extension) -> Facts | None:
    """What `rows.json` says; None where there is none, or it is malformed."""
    try:
        return Facts.decode(_content(repo, extension, ROW_FACTS))
    except DataUnavailable:
        return None
