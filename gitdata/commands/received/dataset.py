"""The datasets of a pushed commit: which pointers are read to judge it. The rules themselves are in `rules`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from gitdata.commands.finding import Finding
from gitdata.commands.received import rules
from gitdata.commands.received.commit import PushedCommit
from gitdata.commands.received.stores import Stores
from gitdata.data.chain import Chain
from gitdata.data.pointer import NAME, SHORT, Extension, split_stem
from gitdata.errors import DataUnavailable
from gitdata.snapshot import DATASETS, MODELS, declarations_of, match_retraction, read_pointer, snapshot_of
from gitdata.storage.git import TreeEntry
from gitdata.storage.quarantine import Difference

READ_AT_ONCE = 2_000  # pointers
_ID = re.compile(rb"[0-9a-f]{64}")
_IN_DATASET = re.compile(rf"{DATASETS}/(?P<dataset>{NAME.pattern})/")


class Datasets(PushedCommit):
    """A branch or tag with datasets."""

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        extensions: dict[str, Extension] = {}
        own: dict[str, dict[str, Extension]] = {}
        for path, content in self.read(e for path, e in sorted(self.brought.items()) if rules.is_read(path)).items():
            found = rules.read_strictly(path, content)
            if isinstance(found, Finding):
                yield found
            elif found is not None:
                extensions[path] = own.setdefault(found.dataset, {})[path] = found
        touched = sorted({name for found in self.by_dataset for name in found})
        datasets = [_Dataset(self, name, own.get(name, {})) for name in touched]
        contents = self.git.objects(entry.object for dataset in datasets for entry in self.small(dataset.beside))
        for dataset in datasets:
            yield from dataset.findings(contents)
        yield from Stores(self.repo, self.git, self.commit).lacking(extensions)

    @cached_property
    def by_dataset(self) -> list[dict[str, list[Difference]]]:
        """By base and dataset, what the base does not hold alike."""
        return [_by_dataset(found) for found in self.differences]

    @cached_property
    def pointers(self) -> dict[str, dict[str, TreeEntry]]:
        """By dataset and path, the pointers of the datasets that are touched."""
        touched = sorted({name for found in self.by_dataset for name in found})
        found: dict[str, dict[str, TreeEntry]] = {}
        for entry in self.git.beside(self.commit, [f"{DATASETS}/{name}" for name in touched]):
            if entry.is_plain_file and _short(entry.path):
                found.setdefault(entry.path.split("/")[1], {})[entry.path] = entry
        return found

    @cached_property
    def declarations(self) -> dict[str, str]:
        return declarations_of(self.git.files(self.commit, MODELS))


class _Dataset:
    """A dataset that a push touches: the pointers that it `brought`, by path, and those that it found or took away.

    Names of pointers carry the first digits of ids, their *short*, so that few pointers are read.
    """

    def __init__(self, view: Datasets, name: str, brought: Mapping[str, Extension]) -> None:
        self.view, self.name, self.brought = view, name, brought
        self.pointers = view.pointers.get(name, {})
        self.differences = [found.get(name, []) for found in view.by_dataset]
        self.changes = [[d for d in found if _short(d.path)] for found in self.differences]

        self.after = _by_short(self.pointers)
        taken = {e.path + e.object: e for found in self.changes for d in found if (e := d.before) and e.is_plain_file}
        shorts = {id[:SHORT] for e in brought.values() for id in (e.id, *e.parents, *e.replaces)}
        named = [e for short in sorted(shorts) for e in self.after.get(short, ()) if e.path not in view.brought]
        self.beside = [*taken.values(), *named]  # what is to be read of what was there before

    def findings(self, contents: Mapping[str, bytes]) -> Iterator[Finding]:
        """`contents` of what is `beside`, by name of object."""
        earlier = _extensions(self.beside, contents)
        yield from self._one_by_one(earlier)
        gone = {e.id: entry.path for entry, e in earlier if e and _short(entry.path) not in self.after}
        if gone:
            yield from self._orphans(gone)
        if self.view.ref.startswith("refs/heads/"):
            yield from self._doubles()

    def _one_by_one(self, earlier: Sequence[tuple[TreeEntry, Extension | None]]) -> Iterator[Finding]:
        """What is wrong with single pointers, beside what was there before."""
        here = [extension for entry, extension in earlier if self.pointers.get(entry.path) == entry]
        known = {extension.id for extension in (*self.brought.values(), *here) if extension}
        # What cannot be read is an old flaw, or a new one that is told: here its name must do.
        unread = {_short(e.path) for e, extension in earlier if extension is None and self.pointers.get(e.path) == e}
        unread |= {_short(path) for path in self.pointers if path in self.view.brought and path not in self.brought}
        places: dict[str, list[Extension]] = {}
        for entry, extension in earlier:
            if extension is not None:
                places.setdefault(entry.path, []).append(extension)
                places.setdefault(extension.id, []).append(extension)
        for path, extension in self.brought.items():
            same = [*places.get(extension.id, ()), *places.get(path, ())]
            unknown = [
                id for id in (*extension.parents, *extension.replaces) if id not in known and id[:SHORT] not in unread
            ]
            findings = (rules.altered(path, extension, same, self._base(path)), rules.unknown(path, extension, unknown))
            yield from (finding for finding in findings if finding is not None)

    def _orphans(self, gone: Mapping[str, str]) -> Iterator[Finding]:
        """Pointers that were deleted though others, which some base holds, name them."""
        kept = [entry for path, entry in sorted(self.pointers.items()) if path not in self.view.brought]
        for start in range(0, len(kept), READ_AT_ONCE):
            part = kept[start : start + READ_AT_ONCE]
            contents = self.view.read(part)
            naming = [e for e in part if gone.keys() & {m.decode() for m in _ID.findall(contents.get(e.path, b""))}]
            for entry, child in self._read(naming):
                for id in (*child.parents, *child.replaces) if child else ():
                    if child and id in gone and not self._was_orphan(entry.path, gone[id]):
                        yield rules.orphan(child, gone[id], self._base(gone[id]))

    def _was_orphan(self, child: str, gone: str) -> bool:
        """Whether some base held the child without the pointer that is gone."""
        return any(child not in added and _short(gone) not in taken for added, taken in self._sides)

    @cached_property
    def _sides(self) -> list[tuple[frozenset[str], frozenset[str | None]]]:
        """For each base, the pointers that it lacks, by path, and those that it holds besides, by their shorts."""
        return [
            (frozenset(d.path for d in found if not d.before), frozenset(_short(d.path) for d in found if d.before))
            for found in self.changes
        ]

    def _base(self, path: str) -> str:
        """The first digits of the name of a base that held a file otherwise, or of the first one."""
        return str(self._holders.get(path, self.view.bases[0]))[:12]

    @cached_property
    def _holders(self) -> dict[str, str | None]:
        pairs = [*zip(self.view.bases, self.changes, strict=True)]
        return {d.path: base for base, found in reversed(pairs) for d in found if d.before}

    def _doubles(self) -> Iterator[Finding]:
        own = self.changes[: self.view.own]
        before = [self._before(found) for found in own]
        undone = any(d.after is None and match_retraction(d.path) for found in self.differences for d in found)
        labels = [_labels(pointers) for pointers in before]
        if not rules.suspicious(labels, _labels(self.pointers), anyway=undone):
            return
        from gitdata.commands.renumber import deployed_from  # seldom needed

        branches = deployed_from(self.view.repo, self.view.declarations, self.name)
        if self.view.ref.removeprefix("refs/heads/") not in branches:
            return
        chains = [self._chain(base, pointers) for base, pointers in zip(self.view.bases, before, strict=False)]
        yield from rules.new_doubles(self.name, chains, self._chain(self.view.commit, self.pointers))

    def _before(self, found: Sequence[Difference]) -> dict[str, TreeEntry]:
        """The pointers of a base, from what it does not hold alike."""
        changed = {d.path for d in found}
        same = {path: entry for path, entry in self.pointers.items() if path not in changed}
        return same | {d.path: d.before for d in found if d.before and d.before.is_plain_file}

    def _chain(self, commit: str | None, pointers: Mapping[str, TreeEntry]) -> Chain:
        there = {path: e for (entry, e) in self._read(pointers.values()) if e and (path := entry.path)}
        retracted = self.view.git.beside(commit, [f"{DATASETS}/{self.name}/retracted"]) if commit else []
        files = {entry.path: b"" for entry in retracted if entry.is_plain_file}
        return snapshot_of(commit, there, files, lambda _: {}).chains.get(self.name, Chain({}))

    def _read(self, entries: Iterable[TreeEntry]) -> list[tuple[TreeEntry, Extension | None]]:
        small = self.view.small(entries)
        return _extensions(small, self.view.git.objects(entry.object for entry in small))


def _extensions(
    entries: Iterable[TreeEntry], contents: Mapping[str, bytes]
) -> list[tuple[TreeEntry, Extension | None]]:
    """The extensions of pointers; None for one that cannot be read, which is an old flaw."""
    return [(entry, _extension(entry.path, contents.get(entry.object))) for entry in entries]


def _extension(path: str, content: bytes | None) -> Extension | None:
    with suppress(DataUnavailable, RecursionError):
        return read_pointer(path, content) if content is not None else None
    return None


def _short(path: str) -> str | None:
    """The first digits of the id that the name of a pointer carries; None for another file."""
    found = split_stem(path.rpartition("/")[2].removesuffix(".dvc")) if path.endswith(".dvc") else None
    return found[1] if found else None


def _by_dataset(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    found: dict[str, list[Difference]] = {}
    for difference in differences:
        if match := _IN_DATASET.match(difference.path):
            found.setdefault(match["dataset"], []).append(difference)
    return found


def _by_short(pointers: Mapping[str, TreeEntry]) -> dict[str, list[TreeEntry]]:
    found: dict[str, list[TreeEntry]] = {}
    for path, entry in pointers.items():
        found.setdefault(str(_short(path)), []).append(entry)
    return found


def _labels(pointers: Iterable[str]) -> dict[str, frozenset[str]]:
    """By label, the shorts that stand in names of pointers."""
    found: dict[str, set[str]] = {}
    for path in pointers:
        label, _, short = path.rpartition("/")[2].removesuffix(".dvc").rpartition("-")
        found.setdefault(label, set()).add(short)
    return {label: frozenset(shorts) for label, shorts in found.items()}
