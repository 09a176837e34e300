"""Chains: closures are parent-complete, merging is a union, order is the same everywhere."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chain_of, chains, extension, generations

from gitdata.data.chain import Chain, MissingParents, missing_parents, next_version


@given(chains())
def test_a_closure_is_parent_complete(chain: Chain) -> None:
    for id in chain.extensions:
        closure = chain.closure([id])
        assert id in closure
        assert all(set(chain.extensions[member].parents) <= closure for member in closure)


@given(chains())
def test_live_is_what_heads_reach_less_what_is_retracted(chain: Chain) -> None:
    assert chain.live == chain.closure(chain.heads) - chain.retracted
    assert chain.closure(chain.heads) == chain.extensions.keys()


@given(chains(), st.randoms(use_true_random=False))
def test_the_order_depends_on_ids_alone(chain: Chain, shuffler: random.Random) -> None:
    ids = list(chain.extensions)
    shuffler.shuffle(ids)
    shuffled = Chain({id: chain.extensions[id] for id in ids}, chain.retracted)
    order = [e.id for e in shuffled.ordered(ids)]
    assert order == [e.id for e in chain.ordered(chain.extensions)]
    place = {id: position for position, id in enumerate(order)}
    assert all(place[p] < place[id] for id in order for p in chain.extensions[id].parents)


@given(chains(), st.data())
def test_merging_is_commutative_and_idempotent(chain: Chain, data: st.DataObject) -> None:
    """A git merge unites pointer files and retraction files; heads and live follow from the union alone."""
    ids = sorted(chain.extensions)
    ours = chain.closure(data.draw(st.sets(st.sampled_from(ids), min_size=1)))
    theirs = chain.closure(data.draw(st.sets(st.sampled_from(ids), min_size=1)))

    def branch(*parts: frozenset[str]) -> Chain:
        union = {id: chain.extensions[id] for part in parts for id in sorted(part)}
        return Chain(union, chain.retracted & union.keys())

    one, other = branch(ours, theirs), branch(theirs, ours)
    assert (one.heads, one.live) == (other.heads, other.live)
    assert branch(ours, ours).live == branch(ours).live
    assert one.live == (branch(ours).closure(ours) | branch(theirs).closure(theirs)) - chain.retracted


@given(chains(), st.data())
def test_a_missing_parent_is_named(chain: Chain, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(chain.extensions)))
    rest = Chain({id: e for id, e in chain.extensions.items() if id != gone}, chain.retracted - {gone})
    if gone in missing_parents(rest.extensions):
        with pytest.raises(MissingParents) as error:
            rest.closure(rest.heads)
        assert error.value.ids == (gone,)
    else:
        assert rest.closure(rest.heads) == rest.extensions.keys()


@given(chains())
def test_test_rows_come_from_live_extensions_that_have_them(chain: Chain) -> None:
    contributing = chain.contributing(chain.live, "test")
    assert {e.id for e in contributing} <= chain.live
    assert all(e.rows_of("test") and e.test_policy != "drop" for e in contributing)


def test_two_branches_extend_the_same_parent_and_the_next_joins_them() -> None:
    base = extension("base")
    left, right = extension("left", base), extension("right", base)
    merged = chain_of(base, left, right)
    assert set(merged.heads) == {left.id, right.id}
    joined = chain_of(base, left, right, extension("joined", left, right))
    assert len(joined.heads) == 1
    assert len(joined.live) == 4


def test_a_lost_interior_pointer_keeps_the_chain_connected_and_is_not_live() -> None:
    base = extension("base")
    middle = extension("middle", base)
    tip = extension("tip", middle)
    assert chain_of(base, middle, tip, lost=(middle,)).live == {base.id, tip.id}


def test_a_new_base_generation_replaces_the_old_one_with_all_its_ancestors() -> None:
    base = extension("base")
    old = extension("old", base)
    new = extension("new", replaces=(old.id,))
    more = extension("more", new)
    assert chain_of(base, old, new, more).live == {new.id, more.id}
    assert chain_of(base, old, new, more).heads == (more.id,)


def test_what_was_made_in_parallel_on_a_replaced_extension_stays_live_as_a_second_head() -> None:
    base = extension("base")
    late = extension("late", base)
    new = extension("new", replaces=(base.id,))
    assert chain_of(base, late, new).live == {late.id, new.id}
    assert set(chain_of(base, late, new).heads) == {late.id, new.id}


@given(generations())
def test_replaced_is_the_closure_of_all_that_is_replaced(chain: Chain) -> None:
    named = {old for extension in chain.extensions.values() for old in extension.replaces}
    assert chain.replaced == chain.closure(named)
    assert chain.live == chain.closure(chain.heads) - chain.replaced - chain.retracted
    assert not chain.live & chain.replaced
    extended = {parent for extension in chain.extensions.values() for parent in extension.parents}
    assert set(chain.heads) == chain.extensions.keys() - extended - chain.replaced


@given(generations())
def test_what_is_neither_replaced_nor_retracted_is_live(chain: Chain) -> None:
    assert chain.live == chain.extensions.keys() - chain.replaced - chain.retracted


@given(generations(), st.data())
def test_replacing_more_heads_keeps_of_the_old_ones_only_what_is_parallel(chain: Chain, data: st.DataObject) -> None:
    heads = data.draw(st.sets(st.sampled_from(chain.heads or tuple(chain.extensions)), min_size=1))
    new = extension("generation", replaces=tuple(sorted(heads)))
    after = Chain({**chain.extensions, new.id: new}, chain.retracted)
    assert after.live == (chain.live - chain.closure(heads)) | {new.id}


def test_test_policies() -> None:
    base = extension("base", test=5)
    add = extension("add", base, test=3)
    replaced = extension("replaced", add, test=2, policy="replace")
    dropped = extension("dropped", replaced, policy="drop")

    def tested(*chain: object) -> set[str]:
        made = chain_of(*chain)  # type: ignore[arg-type]
        return {e.id for e in made.contributing(made.live, "test")}

    assert tested(base, add) == {base.id, add.id}
    assert tested(base, add, replaced) == {replaced.id}
    assert tested(base, add, replaced, dropped) == set()


def test_versions_rise_as_the_rule_says() -> None:
    base = extension("base", version="1.0.0")
    chain = chain_of(base)
    assert next_version(chain_of(), [], trains=True) == "1.0.0"
    assert next_version(chain, [], trains=True) == "2.0.0"
    assert next_version(chain, [base.id], trains=True) == "1.1.0"
    assert next_version(chain, [base.id], trains=False) == "1.0.1"
    taken = chain_of(base, extension("a", base, version="1.1.0"))
    assert next_version(taken, [base.id], trains=True) == "1.2.0"


def test_double_versions_are_found() -> None:
    base = extension("base")
    left, right = (extension(name, base, version="1.1.0") for name in ("left", "right"))
    assert chain_of(base, left, right).double_versions == {"1.1.0": tuple(sorted((left.id, right.id)))}


def test_a_reference_is_a_version_or_an_id_prefix() -> None:
    base = extension("base", version="1.0.0")
    chain = chain_of(base)
    assert chain.matching("1.0.0") == chain.matching(base.id[:8]) == chain.matching(base.id) == (base,)
    assert chain.matching(base.id[:3]) == ()


def test_a_long_chain_is_no_deep_recursion() -> None:
    links = [extension("base")]
    for number in range(3000):
        links.append(extension(f"e{number}", links[-1]))
    assert len(chain_of(*links).ordered(chain_of(*links).live)) == 3001
