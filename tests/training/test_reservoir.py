"""The reservoir: a uniform sample that depends neither on order nor on repeats, and joins with others; mixtures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import rows
from gitdata.errors import DataUnavailable
from gitdata.training import reservoir
from gitdata.training.mixture import Beside, Drawn, Mixed
from gitdata.training.preprocessing import Categorical, Numeric, Preprocessing
from gitdata.training.shuffle import Held
from gitdata.training.virtual import Virtual, rectangles

Columns = dict[str, np.ndarray]
NAMES = ("x", "word", "y")


def columns(numbers: range | list[int]) -> Columns:
    values = np.array(list(numbers), float)
    words = np.array([f"w{int(number) % 7}" for number in values], object)
    return {"x": np.stack([values, values**2], axis=1), "word": words, "y": -values}


def digests(own: Columns) -> np.ndarray:
    return rows.digests(own, NAMES)[:, 0]


def drawn(
    *parts: tuple[Columns, bool], share: float = 0.1, old: reservoir.Reservoir | None = None
) -> reservoir.Reservoir:
    return reservoir.drawn(NAMES, parts, digests, share, old)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60), st.randoms())
def test_it_depends_neither_on_the_order_of_rows_nor_on_how_often_they_occur(
    numbers: list[int], random: object
) -> None:
    shuffled = [*numbers, *numbers[: len(numbers) // 2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = drawn((columns(numbers), False), share=0.5), drawn((columns(shuffled), False), share=0.5)
    assert (one.digests == other.digests).all()
    assert (one.columns["y"] == other.columns["y"]).all()
    assert len(one.digests) == len(set(numbers)) // 2 == one.seen // 2


def test_it_is_a_uniform_sample() -> None:
    found = drawn((columns(range(20_000)), False))
    assert len(found.digests) == 2_000
    quarters = np.histogram(found.columns["y"], 4)[0]
    assert (np.abs(quarters - 500) < 5 * np.sqrt(500)).all()


def test_samples_that_are_joined_are_a_sample_of_all() -> None:
    """Up to rows at the edge: a share of what was seen is not quite a fixed bound of digests."""
    first = drawn((columns(range(4_000)), False))
    new = columns(range(4_000, 10_000))
    joined = drawn((new, False), old=first)
    at_once = drawn((columns(range(10_000)), False))
    assert joined.seen == at_once.seen == 10_000
    assert 900 < len(joined.digests) <= len(at_once.digests) == 1_000
    assert np.isin(joined.digests, at_once.digests).all()
    more = drawn((columns(range(10_000, 12_000)), False), share=0.5, old=joined)
    assert more.digests[-1] <= joined.digests[-1], "a larger share does not bring back what was left out"
    again = drawn((columns(range(4_000)), False), old=first)
    assert (again.digests == first.digests).all(), "rows that occur again change nothing"
    assert again.seen == first.seen == 4_000


@given(st.integers(200, 3_000), st.integers(1, 3_000), st.floats(0, 1), st.integers(0, 2**20))
def test_rows_that_occur_again_are_counted_once(old: int, new: int, again: float, start: int) -> None:
    """As far as a sample tells, within a bound of Hoeffding's (1 in 30 million exceeds it); a whole one exactly."""
    repeated = min(old, round(again * new))
    first = drawn((columns(range(start, start + old)), False), share=0.2)
    rows = range(start + old - repeated, start + old - repeated + new)
    found = drawn((columns(rows), False), share=0.2, old=first)
    told = max(1, int((digests(columns(rows)) <= first.largest).sum()))
    assert abs(found.seen - (old + new - repeated)) <= 3 * new / np.sqrt(told)
    assert old <= found.seen <= old + new
    assert len(found.digests) <= found.seen
    whole = drawn((columns(range(start, start + old)), False), share=1.0)
    assert drawn((columns(rows), False), share=1.0, old=whole).seen == old + new - repeated


def test_held_out_rows_stay_held_out() -> None:
    found = drawn((columns(range(800)), False), (columns(range(800, 1000)), True))
    assert len(found.digests) == 100
    assert set(found.held_out["y"]) <= {-float(number) for number in range(800, 1000)}
    assert set(found.trained["y"]) <= {-float(number) for number in range(800)}
    assert 5 < found.held.sum() < 40


def test_it_survives_its_files() -> None:
    found = drawn((columns(range(300)), False)).answered(np.arange(60, dtype=np.float32).reshape(30, 2))
    files = reservoir.encode(found)
    assert files == reservoir.encode(found)
    again = reservoir.decode(files)
    assert again is not None
    assert list(again.columns) == list(NAMES)
    assert all((again.columns[name] == found.columns[name]).all() for name in NAMES)
    assert (again.answers == found.answers).all()
    assert again.seen == 300
    assert reservoir.decode({}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"seen": "many"}, {"names": ["x", "other"]}, {"texts": {"word": {"shape": [1], "values": ["a"]}}},
        {"texts": {"word": {"shape": [10**9], "values": []}}}, {"texts": []}, {"names": 3},
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_one_is_refused(change: dict[str, object]) -> None:
    files = reservoir.encode(drawn((columns(range(300)), False)))
    document = json.loads(files["reservoir.json"]) | change
    with pytest.raises(DataUnavailable, match="reservoir"):
        reservoir.decode({**files, "reservoir.json": json.dumps(document).encode()})
    with pytest.raises(DataUnavailable, match="reservoir"):
        reservoir.decode({"reservoir.json": files["reservoir.json"]})


# --- mixtures and virtual rows -------------------------------------------------------------------------------


def held(count: int, value: float) -> Held:
    return Held(np.full((count, 2), value, np.float32), np.full((count, 1), value, np.float32))


@given(st.integers(1, 70), st.integers(1, 9), st.floats(0, 5), st.floats(0, 5))
def test_a_mixture_holds_every_main_row_once_and_the_share_of_the_others(
    main: int, few: int, share: float, other: float
) -> None:
    inputs = np.arange(main, dtype=np.float32).repeat(2).reshape(main, 2)
    beside = (Beside(Drawn(held(few, -1)), share), Beside(Drawn(held(few, -2)), other))
    mixed = Mixed(Held(inputs, inputs[:, :1]), beside)
    (window,) = mixed.epoch(np.random.default_rng(0))
    rows = window.inputs[window.order, 0]
    assert len(rows) == mixed.count
    assert sorted(rows[rows >= 0]) == list(range(main))
    assert (rows == -1).sum() == round(main * share)
    assert (rows == -2).sum() == round(main * other)


def test_a_window_is_cut_so_that_not_all_is_drawn_at_once() -> None:
    inputs = np.arange(7, dtype=np.float32).repeat(2).reshape(7, 2)
    beside = (Beside(Drawn(held(3, -1)), 20.3),)
    mixed = Mixed(Held(inputs, inputs[:, :1]), beside, window_bytes=12 * 30)
    windows = list(mixed.epoch(np.random.default_rng(0)))
    assert max(len(window.order) for window in windows) <= 31
    rows = np.concatenate([window.inputs[window.order, 0] for window in windows])
    assert len(rows) == mixed.count
    assert sorted(rows[rows >= 0]) == list(range(7))


@pytest.mark.parametrize("output", [Numeric("y", "none", (), (0.0,), (1.0,)), Categorical("y", ("a", "b"))])
def test_virtual_rows_are_near_those_they_are_made_of_and_leave_categories_whole(
    output: Numeric | Categorical,
) -> None:
    codes = Preprocessing(
        (
            Numeric("x", "none", (2,), (0.0, 0.0), (1.0, 1.0)),
            Categorical("word", ("a", "b", "c")),
            Numeric("image", "none", (2, 2), (0.0,) * 4, (1.0,) * 4),
        ),
        (output,),
    )
    generator = np.random.default_rng(5)
    words = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 20)]
    inputs = np.concatenate([generator.normal(size=(20, 2)), words, generator.normal(size=(20, 4))], axis=1)
    rows = Held(inputs.astype(np.float32), np.zeros((20, 1), np.float32))
    found, _ = Virtual(rows, codes, noise=0.0).draw(generator, 3_000)
    assert set(map(tuple, found[:, 2:5])) == set(map(tuple, words)), "categories are taken, not mixed"
    low, high = inputs.min(axis=0) - 1e-6, inputs.max(axis=0) + 1e-6
    assert ((found >= low) & (found <= high)).all()
    places = [set(column) for column in rows.inputs[:, 5:].T]
    crossed = [
        row
        for row in found
        if row[0] in rows.inputs[:, 0] and tuple(row[:2]) not in set(map(tuple, rows.inputs[:, :2]))
    ]
    assert len(crossed) > 200
    assert all(number in place for row in crossed for number, place in zip(row[5:], places, strict=True))
    whole = {tuple(image) for image in rows.inputs[:, 5:]}
    left = np.mean([tuple(row[5:]) in whole for row in crossed])
    assert left == 1 if isinstance(output, Numeric) else 0.2 < left < 0.9, "images take a rectangle to tell classes"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_rectangle_is_one(height: int, width: int, channels: int, seed: int) -> None:
    found = rectangles(np.random.default_rng(seed), 20, (height, width, channels))
    for image in found.reshape(20, height, width, channels):
        assert (image == image[:, :, :1]).all(), "of all channels alike"
        rows, columns = image[..., 0].any(axis=1), image[..., 0].any(axis=0)
        assert (image[..., 0] == np.outer(rows, columns)).all()
        for side in (rows, columns):
            assert (np.diff(np.flatnonzero(side)) == 1).all(), "without a gap"


def test_what_is_drawn_beside_rows_that_are_read_ahead_is_the_same_each_time() -> None:
    """Streamed rows are permuted in a thread: its draws and ours must not share a generator."""
    from gitdata.training.blocks import Blocks, Strand
    from gitdata.training.shuffle import Streamed

    codes = Preprocessing(
        (Numeric("x", "none", (), (0.0,), (1.0,)),), (Numeric("y", "none", (), (0.0,), (1.0,)),)
    )  # fmt: skip
    values = np.arange(400, dtype=float)
    strands = tuple(
        Strand((40,), lambda first=first: iter([{"x": values[first : first + 40], "y": values[first : first + 40]}]))
        for first in range(0, 400, 40)
    )
    beside = (Beside(Drawn(held_of_one(9)), 0.7),)

    def rows() -> list[float]:
        main = Streamed(Blocks(("x", "y"), strands), codes, window_bytes=8 * 80)
        mixed = Mixed(main, beside)
        windows = mixed.epoch(np.random.default_rng(1))
        return [value for window in windows for value in window.inputs[window.order, 0].tolist()]

    first = rows()
    assert len(first) == 680
    assert all(rows() == first for _ in range(5))


def held_of_one(count: int) -> Held:
    values = -1 - np.arange(count, dtype=np.float32)[:, None]
    return Held(values, values)
