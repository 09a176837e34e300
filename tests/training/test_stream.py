"""Rows in blocks: read in an order that the seed decides, fitted in one pass, trained on as rows in memory are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gitdata.training import feed, gate, loop, package, preprocessing, shuffle, statistics
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.blocks import Blocks, Strand, blocks_of, rows_of
from gitdata.training.declaration import Declaration, Optimizer, Schedule
from gitdata.training.methods import TrainingData, climb
from gitdata.training.shuffle import Held, Streamed

Columns = dict[str, np.ndarray]
SIZES = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=7)


def strand(columns: Columns, start: int, sizes: Sequence[int]) -> Strand:
    def read() -> Iterator[Columns]:
        first = start
        for size in sizes:
            yield {name: column[first : first + size] for name, column in columns.items()}
            first += size

    return Strand(tuple(sizes), read)


def in_blocks(columns: Columns, *sizes: Sequence[int]) -> Blocks:
    """Columns in strands of blocks of these sizes."""
    starts = np.cumsum([0, *map(sum, sizes)]).tolist()
    assert starts[-1] == rows_of(columns)
    return Blocks(tuple(columns), tuple(strand(columns, at, own) for at, own in zip(starts, sizes, strict=False)))


def numbered(sizes: Sequence[Sequence[int]]) -> Streamed:
    """Rows whose only input and only output are their own numbers."""
    rows = np.arange(sum(map(sum, sizes)), dtype=np.float64)
    field = preprocessing.Numeric("n", "none", (), (0.0,), (1.0,))
    return Streamed(in_blocks({"n": rows}, *sizes), preprocessing.Preprocessing((field,), (field,)), window_bytes=8 * 7)


def taken(rows: shuffle.Rows, order: feed.Order, first: int, last: int, cut: int = 0) -> list[list[int]]:
    """The rows that each step takes: by their numbers, which must be what is told of a step as well."""
    found = []
    for chunk in feed.chunks(rows, order, first, last, cut=cut):
        for step in range(chunk.count):
            batch = chunk.inputs[step, chunk.masks[step] > 0, 0].astype(int).tolist()
            assert batch == chunk.rows_of_step(step).tolist()
            assert (chunk.inputs[step] == chunk.targets[step]).all()
            found.append(batch)
    return found


# --- the order -----------------------------------------------------------------------------------------------


@given(SIZES, st.integers(1, 9), st.integers(0, 99), st.integers(1, 3))
def test_an_epoch_sees_every_row_once_and_the_seed_decides_when(
    sizes: list[list[int]], batch: int, seed: int, multiple: int
) -> None:
    rows, order = numbered(sizes), feed.Order(batch, seed, 0, multiple)
    steps = order.steps_of_epoch(rows.count)
    found = taken(rows, order, 0, 3 * steps)
    for epoch in range(3):
        own = found[epoch * steps : (epoch + 1) * steps]
        assert sorted(row for batch_ in own for row in batch_) == list(range(rows.count))
        assert all(len(rows_of_step) == batch for rows_of_step in own[:-1])
    assert found == taken(numbered(sizes), order, 0, 3 * steps)


@given(SIZES, st.integers(1, 9), st.data())
def test_going_on_at_any_step_takes_what_would_have_been_taken(
    sizes: list[list[int]], batch: int, data: st.DataObject
) -> None:
    rows, order = numbered(sizes), feed.Order(batch, 5, 17)
    whole = taken(rows, order, 0, 3 * order.steps_of_epoch(rows.count))
    first = data.draw(st.integers(0, len(whole)))
    assert taken(rows, order, first, len(whole), 3) == whole[first:]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 99))
def test_blocks_of_a_strand_come_in_order_and_few_strands_are_open(lengths: list[int], seed: int) -> None:
    order = shuffle.block_order(lengths, np.random.default_rng(seed))
    assert sorted(order) == [(strand, block) for strand, length in enumerate(lengths) for block in range(length)]
    opened: dict[int, int] = {}
    for strand_, block in order:
        assert opened.get(strand_, 0) == block
        opened[strand_] = block + 1
        begun = [s for s, done in opened.items() if done < lengths[s]]
        assert len(begun) <= shuffle.OPEN


def test_what_is_streamed_is_shuffled_across_files() -> None:
    """Forty files of eight blocks: neighbours in an epoch are of different files, and epochs differ."""
    rows = numbered([[3] * 8] * 40)
    first, second = ([b[0] for b in taken(rows, feed.Order(1, 0, 0), e * 960, (e + 1) * 960)] for e in (0, 1))
    assert first != second
    assert abs(np.corrcoef(first, np.arange(960))[0, 1]) < 0.4
    assert np.mean(np.array(first[:-1]) // 24 != np.array(first[1:]) // 24) > 0.3


def test_chunks_take_a_bounded_part_of_memory() -> None:
    assert feed.steps_at_once(36, 32) == 128
    assert feed.steps_at_once(600_000, 32) == 2
    assert feed.steps_at_once(10**9, 1) == 1


def test_the_rows_of_a_batch_in_memory_follow_from_the_rows_that_there_are() -> None:
    """As declared, up to a size that costs nothing; else a power of two, which serves many sizes of data."""
    assert {feed.Order(32, 0, 0).held(rows) for rows in (1, 31, 32, 10**6)} == {32}
    assert {feed.Order(1000, 0, 0).held(rows) for rows in (1, 100, 128)} == {feed.FEW}
    assert [feed.Order(1000, 0, 0).held(rows) for rows in (129, 500, 513, 10**6)] == [256, 512, 1000, 1000]
    assert feed.Order(10**6, 0, 0).held(351) == 512


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(100, 10**6), st.integers(1, 3))
def test_a_batch_that_is_larger_than_the_data_takes_all_of_it(sizes: list[int], batch: int, multiple: int) -> None:
    rows, order = numbered([sizes]), feed.Order(batch, 3, 0, multiple)
    steps = order.steps_of_epoch(rows.count)
    found = taken(rows, order, 0, 2 * steps)
    for epoch in (found[:steps], found[steps:]):
        assert sorted(row for own in epoch for row in own) == list(range(rows.count))
    first = next(iter(feed.chunks(rows, order, 0, 1)))
    assert first.inputs.shape[1] == -(-order.held(rows.count) // multiple) * multiple
    assert first.inputs.shape[1] <= max(feed.FEW, 2 * rows.count) + multiple


# --- statistics ----------------------------------------------------------------------------------------------


def columns_of(count: int, seed: int) -> Columns:
    generator = np.random.default_rng(seed)
    return {
        "t1": generator.normal(1e6, 1e-3, count), "t2": generator.lognormal(0, 9, (count, 2)),
        "t3": np.full(count, 3.0), "scenario": generator.choice(np.array(["a", "bb", "c"], object), count),
        "dir": generator.integers(0, 4, count), "W_max": generator.lognormal(0, 2, count),
        "P_peak": generator.lognormal(0, 5, count).astype(np.float32),
    }  # fmt: skip


@given(SIZES, st.integers(0, 9))
def test_statistics_of_blocks_are_those_of_the_whole(sizes: list[list[int]], seed: int) -> None:
    declaration = lattice_declaration()
    columns = columns_of(sum(map(sum, sizes)), seed)
    whole = preprocessing.fit(declaration, columns)
    found = statistics.fit(declaration, in_blocks(columns, *sizes))
    for ours, theirs in zip([*found.inputs, *found.outputs], [*whole.inputs, *whole.outputs], strict=True):
        if isinstance(theirs, preprocessing.Numeric):
            assert isinstance(ours, preprocessing.Numeric)
            np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12, atol=1e-12 * max(theirs.scale))
            np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-6)
            assert (ours.name, ours.shape, ours.transform) == (theirs.name, theirs.shape, theirs.transform)
        else:
            assert ours == theirs


SCALED = """
[data]
dataset = "d"
inputs = ["curve", "words", "pixels", "odd", "raw"]
outputs = ["share", "kind"]
scaling = { curve = "channels", pixels = "image", odd = "robust", raw = "none", share = "minmax" }
encoding = { words = "codes" }
[network]
layers = [{ dense = "outputs" }]
[training]
loss = { share = "mae", kind = "binary_cross_entropy" }
"""


@given(SIZES, st.integers(0, 9))
def test_every_scaling_and_encoding_of_blocks_is_that_of_the_whole(sizes: list[list[int]], seed: int) -> None:
    from gitdata.training.declaration import parse

    count, generator = sum(map(sum, sizes)), np.random.default_rng(seed)
    kinds = np.sort(generator.choice(np.array(["no", "yes"], object), count))  # a block may have one of them alone
    kinds[[0, -1]] = ["no", "yes"]
    columns = {
        "curve": generator.normal([5.0, -1.0], [1.0, 9.0], (count, 4, 2)), "raw": generator.normal(size=count),
        "words": generator.integers(0, 50, (count, 3)),
        "pixels": generator.integers(0, 256, (count, 2, 2)).astype("u1"),
        "odd": generator.lognormal(0, 3, count), "share": generator.random(count), "kind": kinds,
    }  # fmt: skip
    assume(count > 1)
    declaration = parse(SCALED, "m")
    whole = preprocessing.fit(declaration, columns)
    found = statistics.fit(declaration, in_blocks(columns, *sizes))
    for ours, theirs in zip([*found.inputs, *found.outputs], [*whole.inputs, *whole.outputs], strict=True):
        if isinstance(theirs, preprocessing.Numeric):
            assert isinstance(ours, preprocessing.Numeric)
            np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-9)
            assert ours.seen == theirs.seen
        else:
            assert ours == theirs


def lattice_declaration() -> Declaration:
    from gitdata.automation.demo import DECLARATION
    from gitdata.training.declaration import parse

    return parse(DECLARATION.replace("epochs = 200", "epochs = 12"), "lattice")


# --- training ------------------------------------------------------------------------------------------------


def test_blocks_are_selected_read_and_predicted_as_columns_are(lattice: Columns) -> None:
    rows = {name: column[:200] for name, column in lattice.items()}
    blocks = in_blocks(rows, [30, 50], [20], [100])
    mask = np.random.default_rng(0).random(200) < 0.4
    mask[80:100] = False
    chosen = blocks.select(mask)
    assert rows_of(chosen) == mask.sum()
    assert [len(s.sizes) for s in chosen.strands] == [2, 1]
    for name, column in rows.items():
        assert (chosen[name] == column[mask]).all()
        assert (np.concatenate([b[name] for b in blocks_of(chosen)]) == column[mask]).all()
    assert "t1" in chosen
    with pytest.raises(KeyError):
        chosen["nothing"]


def test_training_on_blocks_ends_where_training_in_memory_does(lattice: Columns) -> None:
    """Other shuffles, so other weights; the same statistics, and a model that is as good."""
    declaration = lattice_declaration()
    rows, validation = ({n: c[a:b] for n, c in lattice.items()} for a, b in ((0, 1400), (1400, 1712)))
    blocks = in_blocks(rows, [100] * 4, [200] * 3, *[[50]] * 8)
    held_out = in_blocks(validation, [100, 100], [112])

    def trained(rows: shuffle.Columns, validation: shuffle.Columns) -> package.Package:
        data = TrainingData(lambda: rows, lambda: rows, lambda: validation, 1400, 1400)
        return climb(declaration, data, None, None).package

    packages = [trained(rows, validation), trained(blocks, held_out)]
    np.testing.assert_allclose(
        packages[1].preprocessing.inputs[0].mean, packages[0].preprocessing.inputs[0].mean, rtol=1e-12
    )
    losses = [gate.row_losses(p, validation, declaration).mean() for p in packages]
    assert losses[1] < 1.15 * losses[0]
    again = trained(blocks, held_out)
    assert all((again.weights[name] == packages[1].weights[name]).all() for name in again.weights)
    assert (package.raw_outputs(packages[1], held_out) == package.raw_outputs(packages[1], validation)).all()
    np.testing.assert_allclose(
        gate.row_losses(packages[1], held_out, declaration), gate.row_losses(packages[1], validation, declaration)
    )


def test_one_block_in_memory_and_one_that_is_read_give_the_same_weights(lattice: Columns) -> None:
    rows = {name: column[:96] for name, column in lattice.items()}
    codes = preprocessing.fit(lattice_declaration(), rows)
    plan = Plan(
        tuple(Input(f.name, (f.width,)) for f in codes.inputs),
        tuple(Output(f.name, f.width) for f in codes.outputs),
        notation.read([{"dense": 8}, "tanh", {"dense": "outputs"}], {}),
    )
    run = loop.Run(plan, "mse", Optimizer(), Schedule(), 10, 150, 3)
    held = Held(codes.encode_inputs(rows), codes.encode_outputs(rows))
    weights = [
        np.asarray(loop.train_rows(run, loop.start(plan, Optimizer(), 3), r).weights)
        for r in (held, Streamed(in_blocks(rows, [96]), codes))
    ]
    assert not np.array_equal(weights[0], np.asarray(loop.start(plan, Optimizer(), 3).weights))
    np.testing.assert_allclose(weights[0], weights[1], atol=0.2)


def test_an_error_while_reading_ends_the_run_and_leaves_no_thread(
    lattice: Columns, declare: Callable[..., Declaration]
) -> None:
    import threading

    def broken() -> Iterator[Columns]:
        yield {name: column[:50] for name, column in lattice.items()}
        raise OSError("the disk is gone")

    columns = {name: column[:50] for name, column in lattice.items()}
    codes = preprocessing.fit(declare(), columns)
    with pytest.raises(OSError, match="the disk is gone"):
        list(
            feed.chunks(
                Streamed(Blocks(tuple(lattice), (Strand((50, 50), broken),)), codes), feed.Order(8, 0, 0), 0, 99
            )
        )
    assert not [thread for thread in threading.enumerate() if "prefetch" in thread.name]
