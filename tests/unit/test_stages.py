"""Stages of a study: which extensions of a chain are learned together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitdata.commands.study import _groups


@dataclass(frozen=True)
class Extension:
    number: int
    rows: int

    def rows_of(self, split: str) -> int:
        return self.rows if split == "train" else 0


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(2, 12))
def test_every_extension_is_in_a_stage_that_has_train_rows(rows: list[int], most: int) -> None:
    extensions: Any = [Extension(number, count) for number, count in enumerate(rows)]
    found = _groups(extensions, most)
    assert len(found) <= most
    assert all(any(own.rows_of("train") for own in group) for group in found)
    if any(rows):
        assert [own for group in found for own in group] == extensions, "in their order"
        assert sum(count > 0 for count in rows[: len(found[0])]) == 1, "the base is one extension with train rows"
    else:
        assert found == ()


@given(st.integers(1, 300), st.integers(2, 12))
def test_a_chain_that_grows_changes_its_last_stage_alone_until_stages_are_twice_as_long(count: int, most: int) -> None:
    extensions: Any = [Extension(number, 7) for number in range(count + 2)]
    before, after = _groups(extensions[:-1], most), _groups(extensions, most)
    if len(after[1]) == len(before[1]) or len(before) == 2:
        assert after[: len(before) - 1] == before[:-1]
    else:
        assert len(after[1]) == 2 * len(before[1])
