"""Drift: statistics are those of NumPy, tests hold their level, and what is far away is seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gitdata.data.drift import FEW, Categories, Numbers, categories, compare, numbers

floats = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)
words = st.lists(st.sampled_from(["steel", "foam", "", "α", "wood"]), min_size=1, max_size=40)


def text(values: list[str]) -> np.ndarray:
    return np.array(values, object)


@given(floats, st.integers(0, 3))
def test_numbers_are_summed_up_without_what_is_not_finite(values: list[float], bad: int) -> None:
    found = numbers(np.array([*values, *[np.nan, np.inf, -np.inf][:bad]]))
    assert (found.count, found.not_finite, found.distinct) == (len(values), bad, len(set(values)))
    assert found.minimum == min(values)
    assert found.maximum == max(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.std == pytest.approx(np.std(values))


@given(words)
def test_categories_are_counted_the_most_frequent_first(values: list[str]) -> None:
    found = categories(text(values))
    assert found.counts == {word: values.count(word) for word in set(values)}
    assert list(found.counts.values()) == sorted(found.counts.values(), reverse=True)
    assert found.distinct == len(set(values))


@given(floats, floats)
def test_outside_is_the_share_beyond_the_old_bounds(old: list[float], new: list[float]) -> None:
    drift = compare({"x": np.array(old)}, {"x": np.array(new)})
    expected = np.mean([not min(old) <= value <= max(old) for value in new])
    assert drift.outside == drift.fields[0].outside == pytest.approx(expected)


@given(floats, floats)
def test_the_statistic_is_the_distance_of_the_distribution_functions(old: list[float], new: list[float]) -> None:
    (field,) = compare({"x": np.array(old)}, {"x": np.array(new)}).fields
    if min(len(old), len(new)) < FEW:
        assert field.p is field.statistic is None
        return
    steps = np.unique([*old, *new])
    share = [[np.mean(np.array(side) <= step) for step in steps] for side in (old, new)]
    assert field.statistic == pytest.approx(np.max(np.abs(np.subtract(*share))))
    assert field.p is not None
    assert 0 <= field.p <= 1
    assert field.adjusted == pytest.approx(field.p)  # one field alone


@given(words, words)
def test_new_categories_are_named_and_count_as_outside(old: list[str], new: list[str]) -> None:
    (field,) = compare({"x": text(old)}, {"x": text(new)}).fields
    assert set(field.new_categories) == set(new) - set(old)
    assert field.outside == pytest.approx(np.mean([word not in old for word in new]))
    assert field.statistic is None or 0 <= field.statistic <= 1 + 1e-9


@given(st.data())
def test_the_same_rows_do_not_drift(data: st.DataObject) -> None:
    values = np.array(data.draw(floats))
    names = text(data.draw(st.lists(st.sampled_from("abc"), min_size=len(values), max_size=len(values))))
    drift = compare({"x": values, "w": names}, {"x": values, "w": names})
    assert drift.outside == 0
    assert not any(field.drifted for field in drift.fields)
    assert all(field.statistic is None or field.statistic == pytest.approx(0, abs=1e-9) for field in drift.fields)


def test_chi_square_is_that_of_the_table() -> None:
    old, new = ["a"] * 60 + ["b"] * 40, ["a"] * 20 + ["b"] * 80
    (field,) = compare({"x": text(old)}, {"x": text(new)}).fields
    expected = stats.chi2_contingency([[60, 40], [20, 80]], correction=False)
    assert field.p == pytest.approx(expected.pvalue)
    assert field.statistic == pytest.approx(np.sqrt(expected.statistic / 200))
    assert field.drifted


def test_a_text_that_is_different_in_every_row_is_no_drift() -> None:
    names = [f"run {number}" for number in range(60)]
    (field,) = compare({"x": text(names[:30])}, {"x": text(names[30:])}).fields
    assert (field.p, field.drifted, field.outside) == (1.0, False, 1.0)


def test_of_many_fields_without_drift_few_are_reported() -> None:
    generator = np.random.default_rng(0)
    old, new = ({f"f{n}": generator.normal(size=300) for n in range(200)} for _ in range(2))
    fields = compare(old, new).fields
    assert sum(field.p is not None and field.p < 0.05 for field in fields) > 2
    assert sum(field.drifted for field in fields) == 0


def test_truth_values_and_arrays_in_a_row() -> None:
    generator = np.random.default_rng(0)
    old = {"ok": np.array([True] * 50), "image": generator.normal(size=(50, 4, 4))}
    new = {"ok": np.array([True] * 25 + [False] * 25), "image": old["image"] + 5}
    image, ok = compare(old, new).fields
    assert isinstance(ok.new, Categories)
    assert (ok.new_categories, ok.outside, ok.drifted) == (("False",), 0.5, True)
    assert isinstance(image.new, Numbers)
    assert (image.new.count, image.drifted, image.statistic) == (800, True, 1.0)


def test_a_side_without_numbers_is_not_tested() -> None:
    (field,) = compare({"x": np.array([np.nan, np.nan])}, {"x": np.array([1.0])}).fields
    assert (field.statistic, field.p, field.adjusted, field.drifted) == (None, None, None, False)
    assert field.outside == 1.0
    assert compare({"x": np.array([1.0])}, {"y": np.array([1.0])}).fields == ()
