"""A plain model of a dataset that grows in git: sets, tuples and the definitions of docs/format.md, nothing of gitdata.

A *state* is what a commit holds: stems of pointers and ids of retractions. What was *made* is what a command was asked
for. What is live, the order, the union and the next label are worked out the slow way, path by path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Row = tuple[int, int]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Rows of one file. Test rows are always a file of their own, which no grown file holds."""

    split: str
    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Made:
    """An extension as it was made."""

    id: str
    parents: tuple[str, ...]
    parts: tuple[Part, ...]
    policy: str = "add"
    replaces: tuple[str, ...] = ()

    def rows(self, split: str) -> list[Row]:
        return [row for part in self.parts if part.split == split for row in part.rows]

    @property
    def trains(self) -> bool:
        return bool(self.rows("train"))


@dataclass(frozen=True)
class State:
    """What a commit holds: the stems `VERSION-ID8` of its pointers, and the ids that are declared bad."""

    pointers: frozenset[str] = frozenset()
    retracted: frozenset[str] = frozenset()

    def merged(self, base: State, other: State) -> State:
        """As git merges files that never change: what either side added or removed since the base."""
        return State(
            _merged(base.pointers, self.pointers, other.pointers),
            _merged(base.retracted, self.retracted, other.retracted),
        )

    def removed(self, later: State) -> bool:
        """Whether something of this state is gone later."""
        return not (self.pointers <= later.pointers and self.retracted <= later.retracted)

    @property
    def labels(self) -> dict[str, str]:
        """By id8 the label; where one extension has two pointers, the last in the order of paths."""
        return {stem[-8:]: stem[:-9] for stem in sorted(self.pointers)}


def _merged(base: frozenset[str], one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    return (one & other) | ((one ^ other) - base)


@dataclass(frozen=True)
class View:
    """What a state means, given all extensions ever made and the labels that the history of a clone has by id."""

    state: State
    made: Mapping[str, Made]
    history: Mapping[str, Collection[str]]

    @cached_property
    def present(self) -> dict[str, str]:
        """The label of every extension that has a pointer."""
        short = {id[:8]: id for id in self.made}
        return {short[id8]: label for id8, label in self.state.labels.items()}

    @cached_property
    def lost(self) -> frozenset[str]:
        """Ancestors, and what was replaced, whose pointer only history has."""
        return frozenset(id for id in self._named if id not in self.present and id in self.history)

    @cached_property
    def missing(self) -> frozenset[str]:
        """Parents that are neither here nor in history."""
        return frozenset(p for id in self.known for p in self.made[id].parents if p not in self.known)

    @cached_property
    def _named(self) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(self.present)
        while waiting:
            made = self.made[waiting.pop()]
            new = {*made.parents, *made.replaces} - found
            found |= new
            waiting += [id for id in new if id in self.history]
        return frozenset(found)

    @property
    def known(self) -> frozenset[str]:
        return frozenset(self.present) | self.lost

    @cached_property
    def labels(self) -> dict[str, str]:
        return {id: max(self.history[id], key=numbers) for id in self.lost} | self.present

    @property
    def ambiguous(self) -> bool:
        """Whether history has several labels of something that is lost: no rule says which one it had last."""
        return any(len(self.history[id]) > 1 for id in self.lost)

    def stem(self, id: str) -> str:
        return f"{self.labels[id]}-{id[:8]}"

    def ancestors(self, ids: Iterable[str]) -> frozenset[str]:
        """`ids` and whatever they extend."""
        found: set[str] = set()
        waiting = list(ids)
        while waiting:
            id = waiting.pop()
            if id not in found:
                found.add(id)
                waiting += self.made[id].parents if id in self.known else ()
        return frozenset(found)

    @cached_property
    def replaced(self) -> frozenset[str]:
        return self.ancestors(old for id in self.known for old in self.made[id].replaces)

    @cached_property
    def heads(self) -> tuple[str, ...]:
        extended = {parent for id in self.known for parent in self.made[id].parents}
        return tuple(sorted(self.known - extended - self.replaced - self.lost))

    @cached_property
    def live(self) -> frozenset[str]:
        return self.live_part(self.heads)

    def live_part(self, ids: Iterable[str]) -> frozenset[str]:
        return self.ancestors(ids) - self.state.retracted - self.replaced - self.lost

    def ordered(self, ids: Collection[str]) -> list[str]:
        """Ancestors first; of what could come next in their closure, the lowest id."""
        left, done = set(self.ancestors(ids)), []
        while left:
            id = min(id for id in left if not left & set(self.made[id].parents))
            left.remove(id)
            done.append(id)
        return [id for id in done if id in ids]

    def members(self, live: Collection[str], split: str) -> list[str]:
        """What has rows of a split that count: policies take test rows of ancestors away."""
        hidden: set[str] = set()
        for id in live if split == "test" else ():
            made = self.made[id]
            hidden |= self.ancestors(made.parents) if made.policy != "add" else set()
            hidden |= {id} if made.policy == "drop" else set()
        return [id for id in self.ordered(live) if self.made[id].rows(split) and id not in hidden]

    def union(self, split: str, live: Collection[str] | None = None) -> list[Row]:
        """The rows in their order: e keeps its first max(0, W_e(r) − K(r)) rows r."""
        weight: dict[str, Counter[Row]] = {}
        kept: Counter[Row] = Counter()
        rows: list[Row] = []
        for id in self.members(self.live if live is None else live, split):
            before: Counter[Row] = Counter()
            for ancestor in self.ancestors([id]) & weight.keys():
                before |= weight[ancestor]
            own = self.made[id].rows(split)
            weight[id] = before + Counter(own)
            room = weight[id] - kept
            for row in own:
                if room[row] > 0:
                    room[row] -= 1
                    kept[row] += 1
                    rows.append(row)
        return rows

    def known_rows(self, live: Iterable[str]) -> set[Row]:
        """Whatever rows these extensions hold, of any split."""
        return {row for id in live for part in self.made[id].parts for row in part.rows}

    @property
    def withdrawn(self) -> set[Row]:
        """Train rows that were retracted and stand in nothing else."""
        gone = self.state.retracted & self.known
        both = gone, self.known - gone - self.lost
        rows = [{row for id in ids for row in self.made[id].rows("train")} for ids in both]
        return rows[0] - rows[1]

    @cached_property
    def doubles(self) -> dict[str, tuple[str, ...]]:
        """Labels that stand for several extensions: the live ones that carry it, or all where none is."""
        found = {}
        out = self.state.retracted | self.replaced
        for label in set(self.present.values()):
            carriers = sorted(id for id, own in self.present.items() if own == label)
            ids = tuple(id for id in carriers if id not in out) or tuple(carriers)
            if len(ids) > 1:
                found[label] = ids
        return found

    def next_label(self, parents: Sequence[str], *, trains: bool) -> str:
        """The minor of the highest parent is raised, for test rows alone the patch; a base raises the major."""
        taken = {numbers(label) for label in self.labels.values()}
        if not parents:
            return f"{max((major for major, *_ in taken), default=0) + 1}.0.0"
        major, minor, patch = max(numbers(self.labels[parent]) for parent in parents)
        step = (0, 1, 0) if trains else (0, 0, 1)
        label = (major, minor + step[1], 0 if trains else patch + step[2])
        while label in taken:
            label = (major, label[1] + step[1], label[2] + step[2])
        return ".".join(map(str, label))


def numbers(label: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, label.split("."))
    return major, minor, patch


def grown(known: Sequence[Row], file: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows of a grown file that are none of the known ones, in its order; how many known ones it lacks."""
    left = Counter(known)
    new = []
    for row in file:
        if left[row] > 0:
            left[row] -= 1
        else:
            new.append(row)
    return new, left.total()


def fresh(files: Sequence[Sequence[Row]], known: Collection[Row]) -> list[list[Row]]:
    """What --dedupe leaves of some files: rows that are not known, and did not come before."""
    seen = set(known)
    return [[row for row in file if not (row in seen or seen.add(row))] for file in files]  # type: ignore[func-returns-value]
