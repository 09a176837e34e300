"""Chains: the DAG of a dataset's extensions, and what of it is live.

A *closure* is some extensions with all their ancestors. *Replaced* is the closure of whatever any extension names in
`replaces`. *Heads* are the extensions that nobody extends and that are not replaced; *live* is the closure of the heads
without what is retracted, replaced or lost. This module is pure and knows nothing of git: it is handed the pointers of
one commit.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gitdata.data.pointer import Extension, version_key

State = Literal["live", "retracted", "replaced", "lost"]


class MissingParents(LookupError):
    """A closure is not parent-complete; `ids` are the missing extensions."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = tuple(sorted(ids))
        super().__init__(", ".join(self.ids))


@dataclass(frozen=True, slots=True)
class Chain:
    """The extensions of one dataset by id, the ids declared bad, and those whose pointer is only in history.

    A *lost* extension is an ancestor whose pointer was deleted (a `git revert` of an interior pointer): it
    keeps the DAG connected and counts as retracted.
    """

    extensions: Mapping[str, Extension]
    retracted: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    replaced: frozenset[str] = field(init=False)
    heads: tuple[str, ...] = field(init=False)
    _is_incomplete: bool = field(init=False, repr=False, compare=False)  # some parent is not there
    _order: list[tuple[str, Extension]] = field(default_factory=list, init=False, repr=False, compare=False)  # of all

    def __post_init__(self) -> None:
        extended = {parent for extension in self.extensions.values() for parent in extension.parents}
        replaced = self._with_ancestors({old for extension in self.extensions.values() for old in extension.replaces})
        heads = self.extensions.keys() - extended - replaced - self.lost
        object.__setattr__(self, "replaced", replaced)
        object.__setattr__(self, "heads", tuple(sorted(heads)))
        object.__setattr__(self, "_is_incomplete", not extended <= self.extensions.keys())

    @property
    def live(self) -> frozenset[str]:
        """closure(heads) − retracted − replaced − lost. Raises MissingParents."""
        return self.live_part(self.heads)

    def live_part(self, ids: Iterable[str]) -> frozenset[str]:
        """What is live of the closure of `ids`. Raises MissingParents."""
        return self.closure(ids) - self.retracted - self.replaced - self.lost

    def closure(self, ids: Iterable[str]) -> frozenset[str]:
        """`ids` with all their ancestors. Raises MissingParents where one of them is unknown."""
        reached = self._with_ancestors(ids)
        if missing := reached - self.extensions.keys():
            raise MissingParents(missing)
        return reached

    def _with_ancestors(self, ids: Iterable[str]) -> frozenset[str]:
        """`ids` and every ancestor that is named; of one that is unknown, its own ancestors are unknown too."""
        reached: set[str] = set()
        waiting = list(ids)
        while waiting:
            current = waiting.pop()
            if current not in reached:
                reached.add(current)
                waiting.extend(self.extensions[current].parents if current in self.extensions else ())
        return frozenset(reached)

    def ordered(self, ids: Iterable[str]) -> tuple[Extension, ...]:
        """The extensions `ids`, ancestors first; among those that could come next, the lower id comes first.

        The order depends on ids alone, so that it is the same in every clone and survives renumbering.
        """
        chosen = frozenset(ids)
        if not self._order:
            self._order.extend((id, self.extensions[id]) for id in _topological(self.extensions))
        if self._is_incomplete or not chosen <= self.extensions.keys():
            self.closure(chosen)
        return tuple([extension for id, extension in self._order if id in chosen])

    def contributing(self, live: Iterable[str], split: str) -> tuple[Extension, ...]:
        """The extensions of `live` that have rows of `split`, in order.

        An extension whose test policy is `replace` or `drop` takes away the test rows of its ancestors; with
        `drop` it brings none itself.
        """
        order = self.ordered(live)
        with_rows = tuple([extension for extension in order if extension.rows_of(split)])
        deciding = [extension for extension in order if extension.test_policy != "add"] if split == "test" else []
        if not deciding:
            return with_rows
        hidden = self.closure(parent for extension in deciding for parent in extension.parents)
        hidden |= {extension.id for extension in deciding if extension.test_policy == "drop"}
        return tuple(extension for extension in with_rows if extension.id not in hidden)

    def matching(self, reference: str) -> tuple[Extension, ...]:
        """The extensions that a version label, or an id prefix of at least four digits, names."""
        if carriers := self.carriers.get(reference):
            return tuple(self.extensions[id] for id in carriers)
        return tuple(
            extension
            for id, extension in sorted(self.extensions.items())
            if extension.version == reference or (len(reference) >= 4 and id.startswith(reference))
        )

    @property
    def carriers(self) -> dict[str, tuple[str, ...]]:
        """The ids that each label stands for: of those that carry it, what is live, or else what is not lost."""
        found: dict[str, list[str]] = {}
        for id, extension in sorted(self.extensions.items()):
            if id not in self.lost:
                found.setdefault(extension.version, []).append(id)
        out = self.retracted | self.replaced
        return {label: tuple(id for id in ids if id not in out) or tuple(ids) for label, ids in found.items()}

    @property
    def double_versions(self) -> dict[str, tuple[str, ...]]:
        """Labels that stand for more than one extension, with the ids."""
        return {label: ids for label, ids in self.carriers.items() if len(ids) > 1}

    def state_of(self, id: str) -> State:
        """Why an extension is not live, or that it is, as far as its own word goes."""
        if id in self.retracted:
            return "retracted"
        if id in self.replaced:
            return "replaced"
        return "lost" if id in self.lost else "live"


def _topological(extensions: Mapping[str, Extension]) -> list[str]:
    """All ids, ancestors first; among those that could come next, the lower first.

    That holds for any part that is closed under parents too: what is outside of it comes in between, and that is all.
    """
    known = {id: [p for p in e.parents if p in extensions] for id, e in extensions.items()}
    waiting_for = {id: len(parents) for id, parents in known.items()}
    children: dict[str, list[str]] = {}
    for id, parents in known.items():
        for parent in parents:
            children.setdefault(parent, []).append(id)
    ready = [id for id, count in waiting_for.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        current = heapq.heappop(ready)
        order.append(current)
        for child in children.get(current, ()):
            waiting_for[child] -= 1
            if waiting_for[child] == 0:
                heapq.heappush(ready, child)
    return order


def missing_parents(extensions: Mapping[str, Extension]) -> frozenset[str]:
    """Parents that no extension of the collection is."""
    named = {parent for extension in extensions.values() for parent in extension.parents}
    return frozenset(named - extensions.keys())


def missing_replaced(extensions: Mapping[str, Extension]) -> frozenset[str]:
    """Replaced extensions that the collection lacks: without them nobody knows which ancestors went with them."""
    named = {old for extension in extensions.values() for old in extension.replaces}
    return frozenset(named - extensions.keys())


def next_version(chain: Chain, parents: Iterable[str], *, trains: bool) -> str:
    """The label of a new extension of `parents`: the minor is raised, for test or validation rows alone the patch.

    Labels are unique in a dataset, so a label in use is passed over. Without parents it is a base: 1.0.0, or
    the next major.
    """
    taken = {version_key(extension.version) for extension in chain.extensions.values()}
    highest = max((version_key(chain.extensions[parent].version) for parent in parents), default=None)
    if highest is None:
        return f"{max((major for major, *_ in taken), default=0) + 1}.0.0"
    major, minor, patch = highest
    label = (major, minor + 1, 0) if trains else (major, minor, patch + 1)
    while label in taken:
        label = (major, label[1] + 1, 0) if trains else (major, minor, label[2] + 1)
    return ".".join(str(part) for part in label)
