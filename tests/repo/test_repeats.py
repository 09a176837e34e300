"""Repeats and leaks over declared inputs and outputs: what numbers a run, or times it, makes no other row of it."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import Clone, World

from gitdata.commands import extend
from gitdata.commands.intake import Request
from gitdata.commands.known import ROW_FACTS, Facts
from gitdata.commands.records import Record
from gitdata.data.pointer import ROLE_INDEX, Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo, blob_of

Write = Callable[[str, "str | bytes"], Path]
Row = tuple[int, ...]
NAMES = ("a", "n", "y")
ROLES = ("--inputs", "Thickness,Velocity", "--outputs", "Peak_Impact_Force_KN,Energy_Absorbed_KJ")


def take(clone: Clone, path: Path, dataset: str = "d", say: Callable[[str], None] = print, **more: object) -> Record:
    """`gitdata add` where the dataset is not there yet, else `gitdata extend`, in this process."""
    command = extend.extend if (clone.path / "datasets" / dataset).exists() else extend.add
    return command(Repo(clone.path), Request(dataset, [path], **more), say)  # type: ignore[arg-type]


def extension_of(clone: Clone, record: Record) -> Extension:
    return clone.repo.work_tree_snapshot().chains[record["dataset"]].extensions[record.id]


def sidecar(clone: Clone, record: Record, name: str) -> bytes:
    return clone.repo.cache.read(clone.repo.sidecar(extension_of(clone, record), name))


def table(rows: Iterable[Row]) -> str:
    return "\n".join([",".join(NAMES), *(",".join(map(str, row)) for row in rows)]) + "\n"


# --- a plain model -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Rows of (a, n, y) that come in at once; without `fields` the roles are those of the batch before."""

    rows: Sequence[Row]
    fields: tuple[str, str] | None


batches = st.builds(
    Batch,
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=8),
    fields=st.sampled_from([None, None, ("a", "y"), ("n", "y"), ("a,n", "y")]),
)
counter = itertools.count()


def fresh_rows(batch: Sequence[Row], fields: Sequence[str], known: Iterable[tuple[Sequence[str], Row]]) -> list[Row]:
    """The rows that neither repeat nor are known; a known row that was told by other fields is told by all here."""

    def told(row: Row, by: Sequence[str]) -> tuple[int, ...]:
        return tuple(row[NAMES.index(name)] for name in by)

    seen = {told(row, fields) for by, row in known if by == fields}
    whole = {row for by, row in known if by != fields}
    kept = []
    for row in batch:
        if told(row, fields) not in seen and row not in whole:
            kept.append(row)
        seen.add(told(row, fields))
    return kept


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(batches, min_size=2, max_size=4))
def test_dedupe_is_that_of_a_plain_model(clone: Clone, write: Write, drawn: Sequence[Batch]) -> None:
    dataset = f"d{next(counter)}"
    known: list[tuple[Sequence[str], Row]] = []
    made: list[Sequence[str]] = []  # what the rows of each extension are told by
    roles: tuple[str, str] | None = None
    for batch in drawn:
        told_by = batch.fields or roles
        fields = sorted(",".join(told_by).split(",")) if told_by else list(NAMES)
        expected = fresh_rows(batch.rows, fields, known)
        declared = {"inputs": tuple(batch.fields[0].split(",")), "outputs": ("y",)} if batch.fields else {}
        path = write("x.csv", table(batch.rows))
        if not expected:
            with pytest.raises(Mendable, match="Every row is already in"):
                take(clone, path, dataset, dedupe=True, **declared)
            continue
        record = take(clone, path, dataset, dedupe=True, **declared)
        assert record["known_rows"] == len(batch.rows) - len(expected)
        assert stored_rows(clone, record) == expected
        others = [by for by in made if by != fields and fields != list(NAMES)]
        assert record["compared_over_all"] == len(others)
        made.append(fields)
        known += [(fields, row) for row in expected]
        roles = told_by


def stored_rows(clone: Clone, record: Record) -> list[Row]:
    (file,) = clone.repo.files_of(extension_of(clone, record))
    lines = csv.reader(io.StringIO(clone.repo.cache.read(blob_of(file)).decode()))
    return [tuple(map(int, row)) for row in list(lines)[1:]]


# --- what travels --------------------------------------------------------------------------------------------


@pytest.fixture
def boxes(world: World, shared_data: Path) -> list[Path]:
    """The five batches of crashbox as they were published: runs are numbered, and the solver's time stands there."""
    header, *lines = (shared_data / "crashbox" / "crashbox.csv").read_text().splitlines()
    paths = [world.root / f"batch{number}.csv" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_text("\n".join([header, *lines[100 * number : 100 * (number + 1)]]) + "\n")
    return paths


def test_the_index_travels_and_what_it_tells_holds_in_another_clone(world: World, boxes: list[Path]) -> None:
    """Of the first two batches nothing but small files is fetched; a purge takes this index along."""
    clone, store = world.clone, world.server.store
    clone.gitdata("add", "boxes", boxes[0], *ROLES, "--dedupe", "-m", "first")
    second = clone.gitdata("extend", "boxes", boxes[1], "--dedupe", "-m", "second", "--json").records[0]
    clone.commit("settings")
    clone.push()
    other = world.another_clone()
    record = take(other, boxes[2], "boxes", dedupe=True)
    assert (record["rows"], record["known_rows"], record["compared_over_all"]) == ({"train": 62}, 38, 0)
    assert "no findings" in clone.gitdata("verify", "--remote", "--deep").out
    (extension,) = clone.repo.work_tree_snapshot().extensions(f"boxes@{second['version']}")[1]
    index = next(a for a in extension.sidecars if a.path.endswith(ROLE_INDEX))
    assert index.size == 8 * 82
    place = store / "files" / "md5" / index.md5[:2] / index.md5[2:]
    assert place.exists()
    clone.gitdata("retract", "boxes@1.1.0", "--reason", "wrong", "-m", "bad")
    clone.push()
    clone.gitdata("purge", "boxes@1.1.0", "-m", "purge it")
    assert not place.exists()
    assert not (clone.path / ".dvc" / "cache" / "files" / "md5" / index.md5[:2] / index.md5[2:]).exists()


def test_only_where_roles_leave_fields_out_there_is_an_index_over_them(clone: Clone, write: Write) -> None:
    path = write("x.csv", table([(1, 1, 1), (2, 2, 2)]))
    for dataset, declared in (
        ("all", {"inputs": ("a", "n"), "outputs": ("y",)}),
        ("outputs", {"outputs": ("y",)}),  # all others are inputs
        ("inputs", {"inputs": ("a",)}),  # nobody said what may be left out
        ("none", {}),
    ):
        record = take(clone, path, dataset, **declared)
        assert [a.path for a in extension_of(clone, record).sidecars] == ["sidecar/rows.json", "sidecar/rows.u64"]
        assert "roles" not in sidecar(clone, record, ROW_FACTS).decode()
    record = take(clone, path, "some", inputs=("y",), outputs=("a",))
    assert Facts.decode(sidecar(clone, record, ROW_FACTS)).roles == ("a", "y")
    assert len(sidecar(clone, record, ROLE_INDEX)) == 16


def test_rows_of_before_the_roles_were_declared_are_told_by_all_fields_and_that_is_said(
    clone: Clone, write: Write
) -> None:
    clone.gitdata("add", "d", write("x.csv", table([(1, 1, 1), (2, 2, 2)])))
    path = write("y.csv", table([(1, 1, 1), (2, 9, 2), (2, 8, 2)]))
    out = clone.gitdata("extend", "d", path, "--inputs", "a", "--outputs", "y").out
    assert "2 rows in the dataset before, or repeated here, by inputs and outputs" in out
    assert "compared over all fields with 1 extension made with other inputs or outputs" in out
    record = take(clone, write("z.csv", table([(1, 7, 1), (2, 7, 2), (3, 7, 3)])), dedupe=True)
    assert (record["rows"], record["compared_over_all"]) == ({"train": 1}, 1)


def test_an_index_that_is_lost_is_told_or_needed(clone: Clone, write: Write) -> None:
    record = take(clone, write("x.csv", table([(1, 1, 1)])), inputs=("a",), outputs=("y",))
    clone.repo.cache.path(clone.repo.sidecar(extension_of(clone, record), ROLE_INDEX)).unlink()
    path, said = write("y.csv", table([(1, 2, 1), (2, 2, 2)])), list[str]()
    with pytest.raises(DataUnavailable):
        take(clone, path, dedupe=True)
    assert take(clone, path, say=said.append)["known_rows"] == 0
    assert any("Rows were not compared with those of 1.0.0" in line for line in said)


def test_leaks_are_those_that_the_gate_leaves_out(world: World, boxes: list[Path]) -> None:
    """Of the second batch a fifth is held out at random; some of its simulations stood in the first before."""
    header, *lines = boxes[1].read_text().splitlines()
    held = world.root / "held.csv"
    held.write_text("\n".join([header, *lines[:20]]) + "\n")
    boxes[1].write_text("\n".join([header, *lines[20:]]) + "\n")
    inputs, outputs = (tuple(ROLES[at].split(",")) for at in (1, 3))
    take(world.clone, boxes[0], inputs=inputs, outputs=outputs)
    record = take(world.clone, boxes[1], test=str(held))

    def told(path: Path) -> list[tuple[str, ...]]:
        with path.open() as file:
            return [tuple(row[name] for name in (*inputs, *outputs)) for row in csv.DictReader(file)]

    train = {*told(boxes[0]), *told(boxes[1])}
    assert record["leaks"]["test_rows_in_train"] == sum(row in train for row in told(held)) > 0


def test_a_grown_file_goes_by_all_fields(clone: Clone, write: Write) -> None:
    """Rows that differ in no input or output are rows of the file all the same."""
    roles = {"inputs": ("a",), "outputs": ("y",)}
    take(clone, write("x.csv", table([(1, 1, 1)])), **roles)
    path = write("x.csv", table([(1, 0, 1), (1, 1, 1), (1, 2, 1)]))
    record = take(clone, path, grown="refuse")
    assert (record["rows"], record["known_rows"], record["grown"]["by"]) == ({"train": 2}, 2, "rows")
    request = Request("d", [path], grown="refuse")
    again = extend.extend(Repo(clone.path), replace(request, test=str(write("t.csv", table([(5, 5, 5)])))))
    assert (again["rows"], again["grown"]["by"]) == ({"test": 1}, "rows")
