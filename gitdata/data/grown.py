"""Grown files: which rows of a file a dataset holds, and how the others differ. Pure: digests in, a plan out.

*Known* rows are those that the dataset holds; *missing* is one of them that the file lacks, *new* a row of the file
that is no known one. Rows are a multiset: of equal ones as many are known, missing or new as the numbers say; a copy
that parallel extensions *share* stands in their union once. Missing rows make a *correction*: by a *key*, fields whose
values name a row, a missing row and a new one are one that changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
Keys = NDArray[np.integer[Any]]
MISSING = -1
SHARED = -2


def match(known: Keys, own: Keys) -> NDArray[np.int64]:
    """For each known row the row of the file that it is, or −1: of equal digests the first is the first, and so on.

    `known`: shape (known rows,); `own`: shape (rows of the file,).
    """
    by_known, by_own = np.argsort(known, kind="stable"), np.argsort(own, kind="stable")
    ordered, wanted = known[by_known], own[by_own]
    rank = np.arange(len(wanted)) - np.searchsorted(wanted, wanted)
    place = np.searchsorted(ordered, wanted) + rank
    hit = place < len(ordered)
    hit[hit] = ordered[place[hit]] == wanted[hit]
    places = np.full(len(known), MISSING, np.int64)
    places[by_known[place[hit]]] = by_own[hit]
    return places


def match_exactly(known: Digests, whole: NDArray[np.bool_], own: Digests) -> NDArray[np.int64]:
    """As `match`, by all 128 bits of the known rows of which `whole` says that they are there, then by 64 of the rest.

    `known`, `own`: shape (rows, 2).
    """
    _, labels = np.unique(np.concatenate([known[whole], own]), axis=0, return_inverse=True)
    labels = labels.ravel()
    count = int(whole.sum())
    places = np.full(len(known), MISSING, np.int64)
    places[whole] = match(labels[:count], labels[count:])
    left = np.flatnonzero(new_rows(places, len(own)))
    rest = match(known[~whole, 0], own[left, 0])
    places[~whole] = np.append(left, MISSING)[rest]
    return places


def match_union(known: Keys, kept: NDArray[np.bool_], own: Keys) -> NDArray[np.int64]:
    """As `match` for the known rows that the union keeps; of another one the place of an equal one that it keeps."""
    if kept.all():
        return match(known, own)
    places = np.full(len(known), MISSING, np.int64)
    places[kept] = match(known[kept], own)
    by_value = np.flatnonzero(kept)[np.argsort(known[kept], kind="stable")]
    places[~kept] = places[by_value[np.searchsorted(known[by_value], known[~kept])]]
    return places


def new_rows(places: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """Which of the rows of a file are no known row. Shape (rows,)."""
    new = np.ones(rows, bool)
    new[places[places >= 0]] = False
    return new


@dataclass(frozen=True, slots=True)
class Correction:
    """Missing rows beside new ones. `key`: the fields that pair them, none where no field names them.

    `pairs`: (index among the missing rows, index among the new rows) of each row that changed, ascending; `differs`:
    shape (pairs, fields), in which fields it did.
    """

    fields: tuple[str, ...]
    key: tuple[str, ...]
    pairs: NDArray[np.int64]
    differs: NDArray[np.bool_]
    missing: int
    new: int

    @property
    def changed(self) -> int:
        return len(self.pairs)

    @property
    def disappeared(self) -> int:
        return self.missing - self.changed

    @property
    def changes(self) -> dict[str, int]:
        """In how many rows each field changed, those first that did in most."""
        counts = zip(self.fields, self.differs.sum(axis=0).tolist(), strict=True)
        return dict(sorted(((name, n) for name, n in counts if n), key=lambda pair: -pair[1]))

    @property
    def gone(self) -> NDArray[np.int64]:
        """Indexes among the missing rows of those that disappeared."""
        return np.setdiff1d(np.arange(self.missing), self.pairs[:, 0])

    def examples(self, limit: int) -> NDArray[np.int64]:
        """Some of the pairs, ascending: of each kind of change the first, then whatever comes next."""
        if not self.changed:
            return np.empty(0, np.int64)
        _, first = np.unique(self.differs, axis=0, return_index=True)
        chosen = dict.fromkeys([*sorted(first.tolist()), *range(min(limit, self.changed))])
        return np.array(sorted(list(chosen)[:limit]), np.int64)


def correction(old: Digests, new: Digests, fields: Sequence[str], inputs: Sequence[str]) -> Correction:
    """What became of missing rows. `old`, `new`: shape (rows, fields), a digest of each value of missing and new rows.

    The key is the declared inputs if they name every row on both sides, else the field that does and pairs most.
    """
    best: tuple[str, ...] = ()
    pairs = np.empty((0, 2), np.int64)
    for key in _keys(fields, inputs):
        columns = [list(fields).index(name) for name in key]
        found = _pairs(old[:, columns], new[:, columns])
        if len(found) > len(pairs):
            best, pairs = key, found
            if key == tuple(inputs):
                break
    differs = old[pairs[:, 0]] != new[pairs[:, 1]]
    return Correction(tuple(fields), best, pairs, differs, len(old), len(new))


def _keys(fields: Sequence[str], inputs: Sequence[str]) -> Iterator[tuple[str, ...]]:
    if inputs and set(inputs) <= set(fields):
        yield tuple(inputs)
    yield from ((name,) for name in fields)


def _pairs(old: Digests, new: Digests) -> NDArray[np.int64]:
    """(old, new) indexes of rows with equal values, ascending; none where a value stands twice on one side."""
    both = np.concatenate([old, new])
    _, labels = np.unique(both, axis=0, return_inverse=True)
    before, after = labels.ravel()[: len(old)], labels.ravel()[len(old) :]
    if len(np.unique(before)) < len(before) or len(np.unique(after)) < len(after):
        return np.empty((0, 2), np.int64)
    _, first, second = np.intersect1d(before, after, assume_unique=True, return_indices=True)
    pairs = np.stack([first, second], axis=1).astype(np.int64)
    return pairs[np.argsort(pairs[:, 0])]
