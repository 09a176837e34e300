"""Snapshot: what a commit, or the work tree, says of datasets and models, read from files already in hand.

Damage is an error that names the file and the next step; symbolic links are refused, not followed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitdata.canonical import readable_json
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, missing_parents, missing_replaced
from gitdata.data.checked import PointerError
from gitdata.data.ledger import Entry, Ledger, LedgerError, decode_verdict
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.training.variants import joined

DATASETS = "datasets"
MODELS = "models"
RETRACTED = "retracted"
LEDGER_BRANCH = "gitdata/models"

_POINTER_PATH = re.compile(r"datasets/(?P<dataset>.+)/(?P<stem>[^/]+)\.dvc")
_EXTENSION_PATH = re.compile(rf"datasets/.+/(?:{pointer.STEM.pattern})\.dvc")
_RETRACTION_PATH = re.compile(r"datasets/(?P<dataset>[^/]+)/retracted/(?P<id>[0-9a-f]{64})\.json")
_DECLARATION_PATH = re.compile(r"models/(?P<model>[^/]+)\.toml")
_SOURCE_PATH = re.compile(r"models/(?P<file>[^/]+\.py)")


@dataclass(frozen=True, slots=True)
class Retraction:
    """An extension declared bad, and why; `purged`: its bytes were deleted."""

    dataset: str
    id: str
    reason: str
    purged: bool = False


Search = Callable[[str], Mapping[str, bytes]]  # files of history that match a pathspec


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a commit, or the work tree, holds: the chain of every dataset and the text of every declaration."""

    commit: str | None
    chains: Mapping[str, Chain]
    declarations: Mapping[str, str]
    paths: Mapping[str, str] = field(default_factory=dict)

    def chain(self, dataset: str) -> Chain:
        """The chain of a dataset. Raises Mendable naming those that exist."""
        if dataset in self.chains:
            return self.chains[dataset]
        known = ", ".join(sorted(self.chains)) or "none"
        raise Mendable(
            f"There is no dataset '{dataset}' {self.where}; datasets: {known}.",
            f"Make it with `gitdata add {dataset} FILE`. If it was removed, "
            f"`git log --diff-filter=D -- {DATASETS}/{dataset}` names the commit, and `git revert` brings it back."
            if pointer.NAME.fullmatch(dataset)
            else "",
        )

    def extensions(self, reference: str) -> tuple[Chain, tuple[Extension, ...]]:
        """What `DATASET` (its heads) or `DATASET@X` (a version or an id prefix) names, with the chain."""
        dataset, _, selector = reference.partition("@")
        chain = self.chain(dataset)
        if not selector:
            return chain, tuple(chain.extensions[head] for head in chain.heads)
        found = chain.matching(selector)
        if not found:
            versions = sorted({e.version for e in chain.extensions.values()}, key=pointer.version_key)
            raise Mendable(
                f"Dataset '{dataset}' has no version '{selector}'; versions: {', '.join(versions)}.",
                f"See `gitdata log {dataset}`.",
            )
        if len(found) > 1:
            ids = ", ".join(e.short for e in found)
            raise Mendable(f"'{reference}' names several extensions: {ids}.", "Name one by its id.")
        return chain, found

    def declaration(self, model: str) -> str:
        """The text of `models/<model>.toml`. Raises Mendable naming those that exist."""
        if model in self.declarations:
            return self.declarations[model]
        known = ", ".join(sorted(self.declarations)) or "none"
        raise Mendable(
            f"There is no model '{model}' {self.where}; declared models: {known}.",
            f"Declare it in models/{model}.toml and commit it.",
        )

    @property
    def where(self) -> str:
        return f"at commit {self.commit[:8]}" if self.commit else "in the work tree"


def snapshot_of(
    commit: str | None, pointers: Mapping[str, Extension], files: Mapping[str, bytes], search: Search
) -> Snapshot:
    """What the extensions of pointers, and other files, say, both by path.

    `search` finds pointers that are only in history. Raises DataUnavailable.
    """
    extensions: dict[str, dict[str, Extension]] = {}
    retracted: dict[str, set[str]] = {}
    paths: dict[str, str] = {}
    for path, extension in sorted(pointers.items()):
        extensions.setdefault(extension.dataset, {})[extension.id] = extension
        paths[extension.id] = path
    for path in sorted(files):
        if match := _RETRACTION_PATH.fullmatch(path):
            retracted.setdefault(match["dataset"], set()).add(match["id"])
    chains = {
        dataset: _chain(dataset, known, frozenset(retracted.get(dataset, ())), search)
        for dataset, known in extensions.items()
    }
    return Snapshot(commit, chains, declarations_of(files), paths)


def _chain(dataset: str, known: dict[str, Extension], retracted: frozenset[str], search: Search) -> Chain:
    """The chain of a dataset; parents and replaced heads whose pointer was deleted are looked for in history."""
    lost: set[str] = set()
    while missing := missing_parents(known) | missing_replaced(known):
        found = 0
        for id in missing:
            for path, content in search(f"{DATASETS}/{dataset}/*-{id[: pointer.SHORT]}.dvc").items():
                extension = None
                with suppress(DataUnavailable):  # one that was damaged, and mended since
                    extension = read_pointer(path, content)
                if extension and extension.id == id:
                    known[id] = extension
                    lost.add(id)
                    found += 1
        if not found:
            break
    return Chain(known, retracted, frozenset(lost))


def declarations_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """The text of every declared model among files, with those that it extends."""
    own = {m["model"]: _text(content) for path, content in files.items() if (m := _DECLARATION_PATH.fullmatch(path))}
    sources = {m["file"]: _text(content) for path, content in files.items() if (m := _SOURCE_PATH.fullmatch(path))}
    return {model: joined(model, own, sources) for model in sorted(own)}


def is_pointer(path: str) -> bool:
    """Whether a path is one that only the pointer of an extension has."""
    return _EXTENSION_PATH.fullmatch(path) is not None


def belongs(extension: Extension, path: str) -> bool:
    """Whether `path` is that of an extension's pointer."""
    return path == f"{DATASETS}/{extension.dataset}/{extension.stem}.dvc"


def read_pointer(path: str, content: bytes) -> Extension | None:
    """The extension of a pointer; None where the file is none of ours. Raises DataUnavailable if it is damaged."""
    match = _POINTER_PATH.fullmatch(path)
    if match is None or pointer.split_stem(match["stem"]) is None:
        return None
    try:
        extension = pointerfile.decode(content, match["stem"])
    except PointerError as error:
        raise DataUnavailable(
            f"The pointer {path} is damaged: {error}.", f"Restore it from git: `git log -- {path}` shows its versions."
        ) from error
    if extension.dataset != match["dataset"]:
        raise DataUnavailable(
            f"The pointer {path} belongs to the dataset '{extension.dataset}': the name is part of every id, so a "
            "dataset cannot be renamed.",
            f"Go back: `git mv {DATASETS}/{match['dataset']} {DATASETS}/{extension.dataset}` (of a copy, remove it). "
            f"For another name start another dataset: `gitdata add NEW FILE`, from what `gitdata checkout` puts there.",
        )
    return extension


def read_retraction(path: str, content: bytes) -> Retraction | None:
    """The retraction in a file; None where the file is none. Raises DataUnavailable if it is damaged."""
    match = _RETRACTION_PATH.fullmatch(path)
    if match is None:
        return None
    try:
        record = json.loads(content)
        if not isinstance(record, dict) or record.keys() - {"purged"} != {"format", "id", "reason"}:
            raise ValueError
        if record["id"] != match["id"] or not isinstance(record.get("purged", False), bool):
            raise ValueError
        return Retraction(match["dataset"], match["id"], str(record["reason"]), record.get("purged", False))
    except (ValueError, RecursionError) as error:
        raise DataUnavailable(
            f"The retraction {path} is damaged; that it exists declares the extension bad all the same.",
            f"Write it anew: `gitdata retract {match['dataset']}@{match['id'][: pointer.SHORT]} --reason …`.",
        ) from error


def match_retraction(path: str) -> str | None:
    """The id of the extension that a retraction file declares bad; None for another file."""
    match = _RETRACTION_PATH.fullmatch(path)
    return match["id"] if match else None


def encode_retraction(retraction: Retraction) -> bytes:
    """The file that `read_retraction` reads."""
    record = {"format": pointer.FORMAT, "id": retraction.id, "reason": retraction.reason}
    return readable_json(record | ({"purged": True} if retraction.purged else {}))


def purged_of(files: Iterable[tuple[str, bytes]]) -> frozenset[str]:
    """The extensions whose bytes were deleted, as the retractions among files say; a damaged one says nothing."""
    found = set()
    for path, content in files:
        with suppress(DataUnavailable):
            retraction = read_retraction(path, content)
            if retraction is not None and retraction.purged:
                found.add(retraction.id)
    return frozenset(found)


def ledger_of(model: str, files: Mapping[str, bytes]) -> Ledger:
    try:
        entries: dict[str, Entry] = {}
        stems: dict[str, str] = {}
        for name, content in sorted(files.items()):
            if name.endswith(".dvc"):
                stem = name.removesuffix(".dvc")
                version, number = pointerfile.decode_model(content, stem)
                if version.model != model:
                    raise LedgerError(f"version {stem} belongs to the model '{version.model}'")
                if f"{stem}.verdict" not in files:
                    raise LedgerError(f"version {stem} has no verdict")
                try:
                    verdict = decode_verdict(files[f"{stem}.verdict"])
                except LedgerError as error:
                    raise LedgerError(f"{stem}.verdict: {error}") from error
                entries[version.id] = Entry(number, version, verdict)
                stems[stem] = version.id
        for entry in entries.values():
            if entry.version.parent is not None and entry.version.parent not in entries:
                raise LedgerError(f"version {entry.stem} names a parent that is not there")
        champion = files.get("champion", b"").decode(errors="replace").strip()
        if champion and champion not in stems:
            raise LedgerError(f"its champion '{champion}' is none of its versions")
        return Ledger(model, entries, stems.get(champion))
    except (PointerError, LedgerError) as error:
        raise DataUnavailable(
            f"The ledger of model '{model}' is damaged: {error}.",
            f"Look at `git log {LEDGER_BRANCH}` and restore an earlier commit of it.",
        ) from error


def work_tree_paths(top: Path) -> list[str]:
    """Pointers, retractions, declarations and Python beside them in a work tree. Raises DataUnavailable for a link."""
    paths: list[str] = []
    for room, suffixes in ((DATASETS, (".dvc", ".json")), (MODELS, (".toml", ".py"))):
        for folder, names in scan(top / room, top):
            paths += [f"{folder}/{name}" for name in names if name.endswith(suffixes)]
    return paths


def scan(folder: Path, top: Path) -> list[tuple[str, list[str]]]:
    """Folders below `folder`, relative to `top`, with the plain files in each; links are refused."""
    if folder.is_symlink():
        raise DataUnavailable(f"{folder.name}/ is a symbolic link; gitdata follows none.", "Replace it by a folder.")
    found: list[tuple[str, list[str]]] = []
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if not current.is_dir():
            continue
        names: list[str] = []
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if entry.name.endswith((".dvc", ".toml", ".json")) or current == top / DATASETS:
                        refuse_links([str(Path(entry.path).relative_to(top))])
                elif entry.is_dir():
                    if pointer.split_stem(entry.name) is None:
                        waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
        found.append((current.relative_to(top).as_posix(), names))
    return found


def matters_as_link(path: str) -> bool:
    """Whether gitdata would have to follow what is a link at `path`."""
    return path.endswith((".dvc", ".toml", ".json")) or path.count("/") <= 1


def refuse_links(paths: list[str]) -> None:
    for path in paths:
        if matters_as_link(path):
            raise DataUnavailable(f"{path} is a symbolic link; gitdata follows none.", "Replace it by a plain file.")


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
