"""Union: what the rows of several extensions are together, as a multiset.

The *multiplicity* of a row in a union is the largest that any chain (a path along ancestry) brings: rows of an
extension and of its ancestors add up, rows that parallel extensions share collapse. With m_e(r) copies of r in e,

    W_e(r) = m_e(r) + max over ancestors f of W_f(r),    multiplicity(r) = max over e of W_e(r).

Walking in order, e keeps its first max(0, W_e(r) − K(r)) copies of r, K(r) being the copies kept before. Only where
extensions have no path between them can a row collapse: in a linear chain nothing is looked at.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whether extensions are parallel is asked far more often than they are
    import numpy as np
    from numpy.typing import NDArray

    Masks = dict[str, NDArray[np.bool_] | None]

Reach = tuple[int, int]  # (n, bits): the first n members, and those whose bit is set, counted from the n-th


def parallel(
    order: Sequence[str], parents: Mapping[str, Iterable[str]], members: Collection[str]
) -> list[tuple[str, ...]]:
    """The groups of members in which a row may have to collapse, each in order; the others keep everything.

    `order` is a closure, ancestors first; what of it is no member connects its children with its parents. The order
    is cut wherever every later member descends from every earlier one: across a cut, rows add up.
    """
    own = [id for id in order if id in members]
    ancestors = _ancestors(order, parents, own)
    return [tuple(own[start:stop]) for start, stop in _groups([ancestors[id][0] for id in own])]


def keep_masks(
    order: Sequence[str], parents: Mapping[str, Iterable[str]], digests: Mapping[str, NDArray[np.uint64]]
) -> Masks:
    """For each member, by its digests of shape (rows,), which rows the union takes from it; None where all of them.

    `order` and `parents` are as for `parallel`. Members that stand in no group may be left out.
    """
    own = [id for id in order if id in digests]
    ancestors = _ancestors(order, parents, own)
    masks: Masks = dict.fromkeys(own)
    for start, stop in _groups([ancestors[id][0] for id in own]):
        group = own[start:stop]
        local = [_local(ancestors[id], start) for id in group]
        masks |= zip(group, _collapse([digests[id] for id in group], local), strict=True)
    return masks


# --- ancestry ------------------------------------------------------------------------------------------------


def _ancestors(order: Sequence[str], parents: Mapping[str, Iterable[str]], members: Sequence[str]) -> dict[str, Reach]:
    """The members that each extension descends from."""
    position = {id: number for number, id in enumerate(members)}
    reached: dict[str, Reach] = {}
    ancestors: dict[str, Reach] = {}
    for id in order:
        count, bits = 0, 0
        for parent in parents[id]:
            other, more = reached.get(parent, (0, 0))
            if other > count:
                count, bits, other, more = other, more, count, bits
            bits |= more >> (count - other)
        ancestors[id] = reached[id] = _shortened(count, bits)
        if id in position:
            count, bits = reached[id]
            reached[id] = _shortened(count, bits | 1 << (position[id] - count))
    return ancestors


def _shortened(count: int, bits: int) -> Reach:
    """The same members; those at the beginning without a gap are counted, so that a linear chain needs no bits."""
    if bits & 1:
        ones = (~bits & (bits + 1)).bit_length() - 1
        return count + ones, bits >> ones
    return count, bits


def _local(reach: Reach, start: int) -> int:
    """The members from `start` on, as bits counted from there."""
    count, bits = reach
    return bits << (count - start) | (1 << (count - start)) - 1


def _groups(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(start, stop) of two or more members between cuts; each descends from the first `counts` members."""
    cuts, lowest = [len(counts)], len(counts)
    for position in range(len(counts) - 1, -1, -1):
        lowest = min(lowest, counts[position])
        if lowest == position:
            cuts.append(position)
    cuts.reverse()
    return [(start, stop) for start, stop in pairwise(cuts) if stop - start > 1]


# --- rows ----------------------------------------------------------------------------------------------------


def _collapse(digests: Sequence[NDArray[np.uint64]], ancestors: Sequence[int]) -> list[NDArray[np.bool_] | None]:
    """The masks of one group. A *pair* is a digest and an extension that has it, with so many copies."""
    import numpy as np

    lengths = [len(own) for own in digests]
    owners = np.repeat(np.arange(len(digests)), lengths)
    values = np.concatenate(digests)
    by_value = np.argsort(values, kind="stable")  # so owners, and rows within them, stay in order
    values, owners = values[by_value], owners[by_value]
    new_value = np.r_[True, values[1:] != values[:-1]][: len(values)]
    new_pair = new_value | np.r_[True, owners[1:] != owners[:-1]][: len(values)]
    starts = np.flatnonzero(new_pair)
    copies = np.diff(np.r_[starts, len(values)])
    kept = _kept_copies(np.flatnonzero(new_value[starts]), owners[starts], copies, ancestors)
    rank = np.arange(len(values)) - np.repeat(starts, copies)
    keep = np.empty(len(values), bool)
    keep[by_value] = rank < np.repeat(kept, copies)
    return [None if mask.all() else mask for mask in np.split(keep, np.cumsum(lengths)[:-1])]


def _kept_copies(
    firsts: NDArray[np.int64], owners: NDArray[np.int64], copies: NDArray[np.int64], ancestors: Sequence[int]
) -> NDArray[np.int64]:
    """How many copies each pair keeps; `firsts` is where the pairs of each digest begin.

    Digests that the same extensions hold equally often are decided together.
    """
    import numpy as np

    kept = copies.copy()
    counts = np.diff(np.r_[firsts, len(owners)])
    for count in np.unique(counts[counts > 1]):
        pairs = firsts[counts == count][:, None] + np.arange(count)
        patterns, which = np.unique(np.hstack([owners[pairs], copies[pairs]]), axis=0, return_inverse=True)
        decided = np.array([_kept(row[:count], row[count:], ancestors) for row in patterns.tolist()])
        kept[pairs] = decided[which.reshape(-1)]
    return kept


def _kept(owners: Sequence[int], copies: Sequence[int], ancestors: Sequence[int]) -> list[int]:
    """max(0, W − K) of each extension that has a digest, in order."""
    holders: dict[int, int] = {}  # W → the extensions that have it, as bits
    weights: list[int] = []  # those W, ascending
    kept, total = [], 0
    for owner, own in zip(owners, copies, strict=True):
        weight = own + next((w for w in reversed(weights) if holders[w] & ancestors[owner]), 0)
        if weight not in holders:
            insort(weights, weight)
        holders[weight] = holders.get(weight, 0) | 1 << owner
        kept.append(max(0, weight - total))
        total = max(total, weight)
    return kept
