"""The union of extensions is a multiset: what parallel ones share collapses, the rest adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import chains
from strategies import extension as made

from gitdata.commands.status import may_share
from gitdata.data import pointer
from gitdata.data.chain import Chain
from gitdata.data.union import keep_masks, parallel

Rows = Mapping[str, Sequence[int]]


def arrays(rows: Rows) -> dict[str, np.ndarray]:
    return {id: np.array(values, np.uint64) for id, values in rows.items()}


def masks_of(chain: Chain, rows: Rows) -> dict[str, np.ndarray | None]:
    order = [e.id for e in chain.ordered(chain.extensions)]
    return keep_masks(order, {id: chain.extensions[id].parents for id in order}, arrays(rows))


def kept_rows(chain: Chain, rows: Rows) -> list[int]:
    """The union in order."""
    masks = masks_of(chain, rows)
    found = []
    for extension in chain.ordered(rows):
        mask = masks[extension.id]
        keep = [True] * len(rows[extension.id]) if mask is None else mask.tolist()
        found += [value for value, kept in zip(rows[extension.id], keep, strict=True) if kept]
    return found


def paths(chain: Chain, members: Rows) -> list[list[str]]:
    """Every chain of members: all paths from an extension to a root, what is no member left out."""

    def up(id: str) -> list[list[str]]:
        own = [id] if id in members else []
        parents = chain.extensions[id].parents
        return [own + path for parent in parents for path in up(parent)] if parents else [own]

    return [path for id in chain.extensions for path in up(id)]


def model(chain: Chain, rows: Rows) -> Counter[int]:
    """The multiset as it is defined, by looking at every path."""
    union: Counter[int] = Counter()
    for path in paths(chain, rows):
        union |= sum((Counter(rows[id]) for id in path), Counter())
    return union


@st.composite
def chains_with_rows(draw: st.DrawFn) -> tuple[Chain, Rows]:
    chain = draw(chains())
    members = draw(st.sets(st.sampled_from(sorted(chain.extensions)), min_size=1))
    return chain, {id: draw(st.lists(st.integers(0, 4), max_size=6)) for id in sorted(members)}


@given(chains_with_rows())
def test_the_union_is_the_multiset_of_the_definition(case: tuple[Chain, Rows]) -> None:
    chain, rows = case
    assert Counter(kept_rows(chain, rows)) == model(chain, rows)


@given(chains_with_rows())
def test_the_first_copies_stay_and_what_is_in_no_group_keeps_everything(case: tuple[Chain, Rows]) -> None:
    chain, rows = case
    order = [e.id for e in chain.ordered(chain.extensions)]
    parents = {id: chain.extensions[id].parents for id in order}
    looked_at = {id for group in parallel(order, parents, rows.keys()) for id in group}
    masks = masks_of(chain, rows)
    for id, mask in masks.items():
        assert mask is None or (id in looked_at and not mask.all())
        for value in set(rows[id]) if mask is not None else ():
            copies = mask[np.array(rows[id]) == value].tolist()
            assert copies == sorted(copies, reverse=True)
    only_groups = {id: rows[id] for id in looked_at}
    assert {id: None if m is None else m.tolist() for id, m in masks_of(chain, only_groups).items()} == {
        id: None if masks[id] is None else masks[id].tolist() for id in looked_at
    }


@given(chains_with_rows(), st.data())
def test_a_larger_closure_only_adds(case: tuple[Chain, Rows], data: st.DataObject) -> None:
    chain, rows = case
    part = chain.closure(data.draw(st.sets(st.sampled_from(sorted(chain.extensions)), min_size=1)))
    smaller = {id: values for id, values in rows.items() if id in part}
    assert model(chain, smaller) <= model(chain, rows)
    assert Counter(kept_rows(chain, smaller)) == model(chain, smaller)


def test_rows_of_ancestors_add_up_and_those_of_parallel_extensions_collapse() -> None:
    base = made("base")
    left, right = made("left", base), made("right", base)
    joined = made("joined", left, right)
    chain = Chain({e.id: e for e in (base, left, right, joined)})
    rows = {base.id: [1, 1], left.id: [1, 2], right.id: [1, 1, 2, 3], joined.id: [1, 2]}
    assert Counter(kept_rows(chain, rows)) == {1: 5, 2: 2, 3: 1}
    first, second = chain.ordered([left.id, right.id])
    assert masks_of(chain, rows)[first.id] is None
    assert masks_of(chain, rows)[second.id] is not None
    order = [e.id for e in chain.ordered(chain.extensions)]
    assert parallel(order, {id: chain.extensions[id].parents for id in order}, order) == [(first.id, second.id)]


def test_a_path_through_what_is_retracted_is_still_a_path() -> None:
    base = made("base")
    middle = made("middle", base)
    tip = made("tip", middle)
    chain = Chain({e.id: e for e in (base, middle, tip)})
    assert kept_rows(chain, {base.id: [7], tip.id: [7]}) == [7, 7]


@given(chains())
def test_where_nothing_is_parallel_what_extensions_hold_is_the_union(chain: Chain) -> None:
    live, order = chain.live, [e.id for e in chain.ordered(chain.extensions)]
    parents = {id: chain.extensions[id].parents for id in order}
    members = [{e.id for e in chain.contributing(live, split)} for split in pointer.SPLITS]
    assert may_share(chain, live) == any(parallel(order, parents, own) for own in members)


def linear(count: int) -> tuple[list[str], dict[str, list[str]]]:
    order = [f"{number:05}" for number in range(count)]
    return order, {id: order[max(0, n - 1) : n] for n, id in enumerate(order)}


def test_a_linear_chain_is_not_looked_at() -> None:
    order, parents = linear(10_000)
    assert parallel(order, parents, set(order)) == []
    assert keep_masks(order, parents, arrays({id: [1] for id in order})) == dict.fromkeys(order)


def test_of_a_long_chain_with_one_fork_only_the_fork_is_looked_at() -> None:
    order, parents = linear(5_000)
    parents["04000"] = ["03998"]  # beside 03999
    parents["04001"] = ["03999", "04000"]
    assert parallel(order, parents, set(order)) == [("03999", "04000")]


def test_ten_thousand_parallel_extensions_of_ten_rows_share_them_all() -> None:
    order, parents = linear(10_000)
    parents = {id: order[:1] if n else [] for n, id in enumerate(order)}
    masks = keep_masks(order, parents, arrays({id: range(10) for id in order}))
    assert masks[order[0]] is masks[order[1]] is None
    assert all(masks[id] is not None and not masks[id].any() for id in order[2:])


def test_ten_thousand_extensions_on_a_hundred_branches() -> None:
    generator = np.random.default_rng(0)
    order, parents = linear(10_000)
    parents = {id: [order[max(0, n - 100)]] if n else [] for n, id in enumerate(order)}
    rows = {id: generator.integers(0, 2_000, 10).tolist() for id in order}
    masks = keep_masks(order, parents, arrays(rows))
    weights: list[Counter[int]] = []
    for number, id in enumerate(order):  # each branch is a line of its own
        before = weights[number - 100] if number >= 100 else weights[0] if number else Counter[int]()
        weights.append(before + Counter(rows[id]))
    expected: Counter[int] = Counter()
    for weight in weights[-100:]:
        expected |= weight
    found: Counter[int] = Counter()
    for id, mask in masks.items():
        found.update(rows[id] if mask is None else np.array(rows[id])[mask].tolist())
    assert found == expected
