"""Summaries and the drift test: what is added up stays small and near, false alarms are rare, and drift is found."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from gitdata.training.blocks import Blocks, Strand
from gitdata.training.shift import LEVEL, chi_square, drift, holm, kolmogorov_smirnov
from gitdata.training.sketch import KEPT, Census, Distribution, hashes_of, total
from gitdata.training.summary import ATOMS, MOST, Summary

numbers = arrays.arrays(
    np.float64,
    st.integers(1, 400),
    elements=st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf])),
)


def share_below(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return (values[None, :] <= at[:, None]).mean(axis=1)


# --- sketches ------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(numbers, min_size=1, max_size=6), st.sampled_from([64, 100]))
def test_a_distribution_stays_small_and_says_how_far_off_it_is(parts: list[np.ndarray], room: int) -> None:
    found = Distribution.of(parts[0], room)
    for part in parts[1:]:
        found += Distribution.of(part, room)
    everything = np.concatenate(parts)
    finite = everything[np.isfinite(everything)]
    assert (found.count, found.not_finite) == (len(finite), len(everything) - len(finite))
    assert len(found.values) <= room
    assert found.error <= (2 * len(parts) - 1) / (2 * room) + 1e-9
    if len(finite):
        assert (found.minimum, found.maximum) == (finite.min(), finite.max())
        assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-6)
        assert found.squares == pytest.approx(((finite - finite.mean()) ** 2).sum(), rel=1e-6, abs=1e-3)
        assert found.weights.sum() == pytest.approx(len(finite))
        off = np.abs(found.shares(finite) - share_below(finite, finite)).max()
        assert off <= found.error + 1e-9
    if len(np.unique(finite)) <= room:
        assert found.error == 0.0


def test_the_order_of_additions_hardly_matters() -> None:
    parts = [np.random.default_rng(seed).normal(seed % 3, 1, 500) for seed in range(11)]
    forth = total((Distribution.of(part, 512) for part in parts), lambda: Distribution.of(np.empty(0), 512))
    back = Distribution.of(parts[-1], 512)
    for part in parts[-2::-1]:
        back += Distribution.of(part, 512)
    at = np.linspace(-3, 6, 200)
    assert np.abs(forth.shares(at) - back.shares(at)).max() <= forth.error + back.error
    assert back.error < 0.012
    assert forth.mean == pytest.approx(back.mean)
    assert forth.squares == pytest.approx(back.squares)


@given(st.integers(1, 5000), st.integers(1, 9))
def test_a_census_counts_different_values_whoever_adds_them(different: int, parts: int) -> None:
    hashes = hashes_of(np.repeat(np.arange(different), 2))
    found = total((Census.of(part) for part in np.array_split(hashes, parts)), lambda: Census.of(hashes[:0]))
    assert found.hashes.tolist() == Census.of(hashes).hashes.tolist()
    assert len(found.hashes) <= KEPT
    assert found.different == pytest.approx(different, rel=0 if different < KEPT else 0.6)


def test_what_rows_hold_is_hashed_whatever_its_type() -> None:
    assert hashes_of(np.array([0.0, -0.0, 1.0]))[:2].tolist() == [hashes_of(np.array([0], np.int8))[0]] * 2
    assert len(np.unique(hashes_of(np.array([[1, 2], [2, 1], [1, 1], [2, 2]])))) == 4
    assert len(np.unique(hashes_of(np.array(["a", "b", "ab", ""], object)))) == 4


# --- summaries -----------------------------------------------------------------------------------------------


def some_columns(rows: int, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "x": generator.normal(size=rows),
        "word": generator.choice(["steel", "foam", "α"], rows).astype(object),
        "curve": generator.normal(size=(rows, 3)),
        "image": generator.integers(0, 255, (rows, 20, 20), np.uint8),
        "y": generator.integers(0, 4, rows),
    }


INPUTS = ("x", "word", "curve", "image")


def same(one: Summary, other: Summary) -> bool:
    (left, document), (right, its) = one.to_arrays(), other.to_arrays()
    return document == its and all(np.array_equal(left[name], right[name]) for name in left.keys() | right.keys())


def test_a_summary_is_what_its_arrays_give_back() -> None:
    summary = Summary.of(some_columns(300, 0), INPUTS, ("y",)) + Summary.of(some_columns(40, 1), INPUTS, ("y",))
    held, document = summary.to_arrays()
    again = Summary.from_arrays(held, json.loads(json.dumps(document)))
    assert same(again, summary)
    assert again.rows == 340
    assert [len(field.seen) for field in again.fields.values() if isinstance(field.seen, tuple)] == [1, 3, 1, 1]
    assert sum(array.nbytes for array in held.values()) <= 16 * ATOMS + 8 * KEPT * 6 + 10_000


def test_rows_in_blocks_give_what_rows_in_memory_give() -> None:
    columns = some_columns(300, 0)
    parts = [{name: column[at : at + 50] for name, column in columns.items()} for at in range(0, 300, 50)]
    blocks = Blocks(tuple(columns), (Strand((50,) * 6, lambda: iter(parts)),))
    found, whole = Summary.of(blocks, INPUTS, ("y",)), Summary.of(columns, INPUTS, ("y",))
    assert found.census.hashes.tolist() == whole.census.hashes.tolist()
    assert found.fields["word"].seen == whole.fields["word"].seen
    assert drift(whole, blocks).units_new == 300
    assert not drift(whole, blocks).drifted


def test_many_categories_are_counted_together() -> None:
    names = np.array([f"run {n:05}" for n in range(3 * MOST)], object)
    summary = Summary.of({"name": np.concatenate([names, names[:7]])}, ["name"])
    seen = summary.fields["name"].seen
    assert not isinstance(seen, tuple)
    assert len((summary + summary).fields["name"].seen.counts) == len(seen.counts) == MOST  # type: ignore[union-attr]
    assert list(seen.counts)[:7] == names[:7].tolist()
    assert sum(seen.counts.values()) + seen.others == 3 * MOST + 7


def test_nothing_is_added_by_no_rows() -> None:
    summary = Summary.of(some_columns(30, 0), INPUTS)
    nothing = Summary.of({}, INPUTS)
    assert same(nothing + summary, summary)
    assert same(summary + nothing, summary)
    assert drift(summary, {}).fields == drift(nothing, some_columns(9, 0)).fields == ()
    assert same(Summary.from_arrays(*nothing.to_arrays()), nothing)


def test_summaries_of_other_fields_are_not_added() -> None:
    one = Summary.of({"x": np.arange(5.0)}, ["x"])
    for column in (np.array(["a"] * 5), np.ones((5, 2))):
        with pytest.raises(ValueError, match="cannot be added"):
            one + Summary.of({"x": column}, ["x"])
    with pytest.raises(ValueError, match="different fields"):
        one + Summary.of({"y": np.arange(5.0)}, ["y"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.data())
def test_a_hostile_summary_raises_nothing_but_value_errors(data: st.DataObject) -> None:
    held, document = Summary.of(some_columns(20, 0), INPUTS, ("y",)).to_arrays()
    name = data.draw(st.sampled_from(sorted(held)))
    damage = data.draw(st.sampled_from(["cut", "type", "numbers", "absent", "document", "field"]))
    damaged: dict[str, Any] = dict(held)
    if damage == "cut":
        damaged[name] = held[name][: data.draw(st.integers(0, len(held[name]) - 1))]
    elif damage == "type":
        damaged[name] = held[name].astype(data.draw(st.sampled_from(["f4", "i1", "U5", "f8", "i8"])))
    elif damage == "numbers" and held[name].dtype.kind == "f":
        damaged[name] = held[name] * data.draw(st.sampled_from([math.nan, -1.0, 1e300, 0.5]))
    elif damage == "absent":
        del damaged[name]
    elif damage == "document":
        key = data.draw(st.sampled_from(sorted(document)))
        document = {**document, key: data.draw(json_values)}
    elif damage == "field":
        entry = document["fields"][data.draw(st.integers(0, 4))]
        entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(json_values)
    with contextlib.suppress(ValueError):
        found = Summary.from_arrays(damaged, document)
        if set(found.fields) == {*INPUTS, "y"}:
            drift(found, some_columns(10, 1))


def test_rows_of_no_category_are_no_summary() -> None:
    held, document = Summary.of(some_columns(20, 0), INPUTS, ("y",)).to_arrays()
    (entry,) = (entry for entry in document["fields"] if "counts" in entry)
    entry["counts"] = {}
    with pytest.raises(ValueError, match="its rows are of no category"):
        Summary.from_arrays(held, document)


# --- tests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("few", "many"), [(1, 40), (2, 9), (7, 7), (12, 60), (30, 200)])
def test_the_chance_of_a_distance_is_that_of_scipy(few: int, many: int) -> None:
    for distance in (0.1, 0.3, 0.5, 0.9, 1.0):
        distance = round(distance * math.lcm(few, many)) / math.lcm(few, many)
        expected = stats._stats_py._attempt_exact_2kssamp(few, many, math.gcd(few, many), distance, "two-sided")[2]
        assert kolmogorov_smirnov(distance, (few, many)) == pytest.approx(expected, abs=1e-9)


def test_the_chance_for_many_units_is_the_limit() -> None:
    for distance in (0.01, 0.05, 0.1):
        expected = stats.kstwo.sf(distance, 500 * 2000 // 2500)
        assert kolmogorov_smirnov(distance, (500, 2000)) == pytest.approx(expected, abs=0.02)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_closed_form(ps: list[float]) -> None:
    found = holm(ps)
    ordered = sorted(ps)
    for p, adjusted in zip(ps, found, strict=True):
        rank = ordered.index(p)
        assert adjusted == min(1.0, max((len(ps) - i) * ordered[i] for i in range(rank + 1)))


def test_chi_square_is_scipys_where_its_distribution_holds() -> None:
    seen, new = np.array([400, 300, 300]), np.array([50, 20, 30])
    statistic, p = chi_square(seen, new)
    expected = stats.chi2_contingency([seen, new], correction=False)
    assert statistic == pytest.approx(math.sqrt(expected.statistic / 1100))
    assert p == pytest.approx(expected.pvalue, abs=0.01)


def test_a_category_that_was_not_there_is_drift_even_of_few_rows() -> None:
    old = {"x": np.arange(400.0), "kind": np.array(["a", "b"] * 200, object)}
    new = {"x": np.arange(8.0) * 50, "kind": np.array(["c"] * 8, object)}
    shift = drift(Summary.of(old, ["x", "kind"]), new)
    assert shift.drifted
    assert [field.name for field in shift.fields if field.drifted] == ["kind"]
    assert shift.fields[1].new_categories == ("c",)
    assert shift.fields[1].outside == shift.outside == 1.0


def test_one_row_far_outside_is_drift_where_many_were_seen() -> None:
    summary = Summary.of({"x": np.linspace(0, 1, 1000)}, ["x"])
    assert drift(summary, {"x": np.array([7.0])}).drifted
    assert not drift(summary, {"x": np.array([0.3])}).drifted


def test_rows_that_repeat_an_input_are_one_unit() -> None:
    generator = np.random.default_rng(0)
    rows = {"x": generator.normal(size=60).repeat(20), "load": np.tile(np.arange(20.0), 60)}
    rows["y"] = rows["x"] * 2 + rows["load"]
    old, new = ({name: column[part] for name, column in rows.items()} for part in (slice(960), slice(960, None)))
    shift = drift(Summary.of(old, ["x", "load"], ["y"]), new)
    assert (shift.units_seen, shift.units_new) == (48, 12)


# --- real data -----------------------------------------------------------------------------------------------


def summed(data: datasets.Dataset, rows: np.ndarray, parts: int) -> Summary:
    found = Summary.of(data.select(rows[:0]), data.inputs, data.outputs)
    for part in np.array_split(rows, parts):
        found += Summary.of(data.select(part), data.inputs, data.outputs)
    return found


SMALL = ["lattice", "crashbox", "crash_tubes", "concrete", "energy", "airfoil"]


@pytest.mark.parametrize("share", [0.4, 0.1, 0.05])
@pytest.mark.parametrize("name", [*SMALL, "bike"])
def test_a_sorted_split_is_found(name: str, share: float, shared_data: Path) -> None:
    data = datasets.load(name, shared_data)
    base, extension = data.sorted(share)
    for parts in (1, 11):
        assert drift(summed(data, base, parts), data.select(extension)).drifted


def test_random_splits_raise_few_alarms(shared_data: Path) -> None:
    """No more than a family of tests at the level would with a chance of one in a thousand."""
    alarms = tests = 0
    for name in SMALL:
        data = datasets.load(name, shared_data)
        for seed in range(20):
            base, extension = data.at_random((0.4, 0.1, 0.05)[seed % 3], 1000 + seed)
            alarms += drift(summed(data, base, 1 + 10 * (seed % 2)), data.select(extension)).drifted
            tests += 1
    assert alarms <= stats.binom.ppf(0.999, tests, LEVEL)
