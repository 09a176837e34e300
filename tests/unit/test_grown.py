"""Grown files, purely: known, missing and new rows are a multiset; corrections are paired by what names a row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import formats, grown, rows
from gitdata.data.formats import csvfile

keys = st.lists(st.integers(0, 6), max_size=12).map(lambda values: np.array(values, np.uint64))
wide = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=10).map(
    lambda values: np.array(values, np.uint64).reshape(-1, 2)
)
FIELDS = ["number", "mass", "note"]


def multiset(digests: np.ndarray) -> Counter[str]:
    return Counter(str(row) for row in digests.tolist())


@given(keys, keys)
def test_known_and_new_rows_are_the_file_and_known_and_missing_ones_the_dataset(
    known: np.ndarray, own: np.ndarray
) -> None:
    places = grown.match(known, own)
    found = places[places != grown.MISSING]
    assert len(set(found.tolist())) == len(found)
    assert (known[places != grown.MISSING] == own[found]).all()
    missing, new = known[places == grown.MISSING], own[grown.new_rows(places, len(own))]
    assert multiset(missing) == multiset(known) - multiset(own)
    assert multiset(new) == multiset(own) - multiset(known)


@given(keys, keys)
def test_equal_rows_are_paired_in_order(known: np.ndarray, own: np.ndarray) -> None:
    places = grown.match(known, own)
    for value in set(known.tolist()):
        found = [place for place in places[known == value].tolist() if place != grown.MISSING]
        assert found == sorted(found)
        assert found == np.flatnonzero(own == value)[: len(found)].tolist()


@given(keys, keys, st.data())
def test_copies_that_the_union_does_not_keep_are_neither_missing_nor_found_twice(
    known: np.ndarray, own: np.ndarray, data: st.DataObject
) -> None:
    first = np.array([value not in known[:at] for at, value in enumerate(known)], bool)
    kept = first | np.array(data.draw(st.lists(st.booleans(), min_size=len(known), max_size=len(known))), bool)
    places = grown.match_union(known, kept, own)
    assert (places[kept] == grown.match(known[kept], own)).all()
    for value, place in zip(known[~kept].tolist(), places[~kept].tolist(), strict=True):
        assert (place == grown.MISSING and value not in own) or own[place] == value


@given(wide, wide, st.data())
def test_all_bits_decide_where_they_are_known(known: np.ndarray, own: np.ndarray, data: st.DataObject) -> None:
    """First halves collide all the time here; a hit by them alone happens only where the others are not known."""
    whole = np.array(data.draw(st.lists(st.booleans(), min_size=len(known), max_size=len(known))), bool)
    places = grown.match_exactly(known, whole, own)
    found = places[places != grown.MISSING]
    assert len(set(found.tolist())) == len(found)
    assert (known[whole & (places != grown.MISSING)] == own[places[whole & (places != grown.MISSING)]]).all()
    assert (known[places != grown.MISSING, 0] == own[found, 0]).all()
    if whole.all():
        assert multiset(own[grown.new_rows(places, len(own))]) == multiset(own) - multiset(known)


def correction(old: list[list[int]], new: list[list[int]], inputs: tuple[str, ...] = ()) -> grown.Correction:
    def shaped(values: list[list[int]]) -> np.ndarray:
        return np.array(values, np.uint64).reshape(-1, len(FIELDS))

    return grown.correction(shaped(old), shaped(new), FIELDS, inputs)


def test_rows_are_paired_by_the_field_that_names_them() -> None:
    found = correction([[1, 10, 5], [2, 20, 5], [3, 30, 5]], [[3, 33, 5], [1, 11, 5], [4, 40, 5]])
    assert found.key == ("number",)
    assert found.pairs.tolist() == [[0, 1], [2, 0]]
    assert (found.changed, found.disappeared, found.new - found.changed) == (2, 1, 1)
    assert found.changes == {"mass": 2}
    assert found.gone.tolist() == [1]


def test_declared_inputs_come_first_and_a_field_where_they_name_no_row() -> None:
    old, new = [[1, 10, 5], [2, 20, 5]], [[9, 10, 5], [2, 20, 6]]
    assert correction(old, new).key == ("mass",)
    assert correction(old, new, ("number",)).key == ("number",)
    assert correction(old, new, ("note",)).key == ("mass",)


def test_where_no_field_names_a_row_nothing_is_paired() -> None:
    found = correction([[1, 1, 1], [1, 1, 2]], [[1, 1, 3]])
    assert (found.key, found.changed, found.disappeared) == ((), 0, 2)
    assert found.examples(3).tolist() == []


def test_examples_show_each_kind_of_change_first() -> None:
    old = [[n, 1, 1] for n in range(6)]
    new = [[n, 2 if n < 5 else 1, 1 if n < 5 else 2] for n in range(6)]
    assert correction(old, new).examples(3).tolist() == [0, 1, 5]


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), max_size=8), st.data())
def test_changed_and_disappeared_rows_are_the_missing_ones(old: list[list[int]], data: st.DataObject) -> None:
    new = data.draw(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), max_size=8))
    found = correction(old, new)
    assert found.changed + found.disappeared == len(old)
    assert found.changed <= len(new)
    assert len(found.examples(3)) == min(3, found.changed)
    assert (found.differs.sum(axis=0) == [found.changes.get(name, 0) for name in FIELDS]).all()


# --- bytes ---------------------------------------------------------------------------------------------------

cells = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=4) | st.sampled_from(['"', "a,b", "x\ny"])
ends = st.sampled_from(["\n", "\r\n"])


def record(cell: str, end: str) -> bytes:
    quoted = '"' + cell.replace('"', '""') + '"'
    return f"{quoted},1{end}".encode()


@given(st.lists(st.tuples(cells, ends), min_size=2, max_size=6), st.integers(1, 5), st.booleans())
def test_the_tail_is_what_choosing_the_new_rows_writes(
    tmp_path_factory: pytest.TempPathFactory, content: list[tuple[str, str]], cut: int, last_end: bool
) -> None:
    folder, cut = tmp_path_factory.getbasetemp(), min(cut, len(content) - 1)
    records = [record(*pair) for pair in content]
    if not last_end:
        records[-1] = records[-1].rstrip(b"\r\n")
    (folder / "whole.csv").write_bytes(b"t,n\n" + b"".join(records))
    keep = np.arange(len(records)) >= cut
    assert csvfile.tail(folder / "whole.csv", len(b"t,n\n" + b"".join(records[:cut])), folder / "tail.csv")
    formats.subset(folder / "whole.csv", keep, folder / "chosen.csv")
    assert (folder / "tail.csv").read_bytes() == (folder / "chosen.csv").read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"a,b\n1,2", b"3,4\n", None),  # the last number goes on
        (b"a,b\n1,2", b"\n3,4", b"a,b\n3,4\n"),
        (b"a,b\r\n1,2\r\n", b"3,4\r\n", b"a,b\r\n3,4\r\n"),
        (b"a,b\r\n1,2\r", b"\n3,4\r\n", b"a,b\r\n3,4\r\n"),  # cut within a line end
        (b"a,b\n1,2\n", b"\n\n", None),  # no row at all
        (b'\xef\xbb\xbf"a\nx",b\n1,2\n', b"3,4\n", b'\xef\xbb\xbf"a\nx",b\n3,4\n'),
    ],
)
def test_a_tail_begins_where_a_record_does(tmp_path: Path, before: bytes, after: bytes, expected: bytes | None) -> None:
    (tmp_path / "x.csv").write_bytes(before + after)
    assert csvfile.tail(tmp_path / "x.csv", len(before), tmp_path / "tail.csv") == (expected is not None)
    if expected is not None:
        assert (tmp_path / "tail.csv").read_bytes() == expected


def test_the_digest_of_a_files_rows_is_what_the_specification_says() -> None:
    """Fixed by hand: these bytes may not change."""
    import hashlib

    found = rows.digests({"a": np.array([1.5, 2.5])})
    assert rows.content(found) == hashlib.sha256(found.astype(">u8").tobytes()).hexdigest()
    assert rows.content(found) != rows.content(found[::-1])
