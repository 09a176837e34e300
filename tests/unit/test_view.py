"""Marks of union views, and masks as stretches of rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gitdata.data.view import Mark, Source, decode, runs

sources = st.builds(
    Source,
    name=st.text(max_size=20),
    sha256=st.just("0" * 64),
    size=st.integers(0, 2**60),
    mtime_ns=st.integers(0, 2**62),
    rows=st.integers(0, 2**40),
)
marks = st.builds(
    Mark,
    reference=st.text(max_size=20),
    heads=st.lists(st.just("a" * 64), max_size=2).map(tuple),
    commit=st.none() | st.just("b" * 40),
    splits=st.lists(st.sampled_from(["train", "test"]), max_size=2).map(tuple),
    flat=st.booleans(),
    virtual=st.booleans(),
    sources=st.lists(sources, max_size=3).map(tuple),
)


@given(marks)
@settings(max_examples=30)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    assert decode(mark.encode()) == mark


@given(st.text() | st.binary() | st.sampled_from(["[]", '{"format": 2}', '{"format": 1, "sources": [{}]}', "null"]))
def test_what_is_no_mark_is_none(text: str | bytes) -> None:
    assert decode(text) is None


@given(st.lists(st.booleans()))
def test_the_stretches_of_a_mask_are_its_rows_and_are_longest(mask: list[bool]) -> None:
    found = runs(np.array(mask, bool), len(mask))
    rows = [row for start, stop in found for row in range(start, stop)]
    assert rows == np.flatnonzero(mask).tolist()
    assert all(stop < start for (_, stop), (start, _) in pairwise(found))


def test_without_a_mask_all_rows_are_one_stretch() -> None:
    assert runs(None, 5) == ((0, 5),)
    assert runs(None, 0) == ()
