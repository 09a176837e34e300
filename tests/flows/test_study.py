"""gitdata study as people meet it: results that are kept and gone on with, a table, a plot, and an untouched ledger."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from world import World

from gitdata.commands.rowsource import RowSource
from gitdata.commands.studied import ChainRows, rows_of_chain
from gitdata.commands.study import _groups

TWO = ("study", "lattice", "--methods", "finetune,rehearse", "--seeds", "2")
SAID = {"GITDATA_PROGRESS": "1"}
FIELDS = ("--inputs", "t1,t2,t3,scenario,dir", "--outputs", "W_max,P_peak")


@pytest.fixture
def grown(world: World) -> World:
    """A base and an extension, with rows to test on and to validate with."""
    world.clone.declare()
    world.clone.gitdata(
        "add", "lattice", world.lattice("base", 0, 30), "--test", "0.15", "--validation", "0.15", *FIELDS
    )  # fmt: skip
    world.clone.commit("a dataset and a model")
    extend(world, 30, 40)
    return world


def extend(world: World, first: int, last: int) -> None:
    world.clone.gitdata(
        "extend", "lattice", world.lattice(f"runs{first}", first, last), "--test", "0.15", "--validation", "0.15", "-m",
        "more",
    )  # fmt: skip


def computed(said: str) -> list[str]:
    """The stages that were computed, as in `rehearse 2`."""
    lines = [line for line in said.splitlines() if ", stage " in line]
    return [f"{line.split(',')[0]} {line.split(' stage ')[1][0]}" for line in lines]


def test_a_study_is_computed_once_and_goes_on_where_the_chain_grew(grown: World) -> None:
    clone = grown.clone
    first = clone.gitdata(*TWO, "--json", env=SAID)
    assert computed(first.err) == ["finetune 1", "finetune 2", "rehearse 2", "union 2"], "the base is everybody's"
    by_method = {record["method"]: record for record in first.records}
    assert list(by_method) == ["finetune", "rehearse", "union"]
    for record in by_method.values():
        assert (record["kind"], record["seeds"], record["stopped"]) == ("study", 2, [])
        assert [stage["gap"] is not None for stage in record["stages"]] == [True, True]
        assert (record["gap_in"], record["has_test_rows"]) == ("ratio", True)
    assert by_method["union"]["stages"][-1]["gap"]["mean"] == pytest.approx(1)
    assert by_method["union"]["steps_ratio"] == 1
    assert 0 < by_method["finetune"]["steps_ratio"] < by_method["rehearse"]["steps_ratio"] < 0.5

    again = clone.gitdata(*TWO, "--json", env=SAID)
    assert computed(again.err) == []
    assert again.records == first.records

    extend(grown, 40, 44)
    more = clone.gitdata(*TWO, "--json", env=SAID)
    assert computed(more.err) == ["finetune 3", "rehearse 3", "union 3"]
    assert [record["stages"][:2] for record in more.records] == [record["stages"] for record in first.records]
    assert clone.git("for-each-ref", "refs/heads/gitdata", "refs/remotes/origin/gitdata") == "", "nothing is recorded"


@pytest.mark.slow
def test_what_is_kept_may_be_damaged_or_deleted(grown: World) -> None:
    clone = grown.clone
    first = clone.gitdata(*TWO, "--json").records
    kept = clone.repo.state / "study" / "lattice"
    for path in kept.glob("*.json"):
        path.write_text(path.read_text()[:40])
    for path in kept.glob("*.package"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = clone.gitdata(*TWO, "--json").records
    assert [_without_seconds(record) for record in again] == [_without_seconds(record) for record in first]


def _without_seconds(record: dict) -> dict:  # type: ignore[type-arg]
    stages = [{key: value for key, value in stage.items() if key != "seconds"} for stage in record["stages"]]
    return {**record, "stages": stages, "time_ratio": None}


@pytest.mark.slow
def test_a_package_that_is_gone_is_made_again_from_where_one_is(grown: World) -> None:
    clone = grown.clone
    clone.gitdata(*TWO)
    extend(grown, 40, 44)
    for path in (clone.repo.state / "study" / "lattice").glob("*.package"):
        path.unlink()
    done = clone.gitdata(*TWO, env=SAID)
    assert computed(done.err) == [
        "finetune 1", "finetune 2", "finetune 3", "rehearse 2", "rehearse 3", "union 3",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_table_a_sentence_and_a_plot(grown: World, tmp_path: Path) -> None:
    done = grown.clone.gitdata(*TWO, "--plot", tmp_path / "study.svg")
    headings, _, *rows = done.out.splitlines()
    assert headings.split()[:2] == ["method", "mae"]
    assert [row.split()[0] for row in rows[:3]] == ["finetune", "rehearse", "union"], "the cheapest first"
    assert (
        "lattice@1.0.0 and 1 extension after it, up to lattice@1.1.0; mae on the test rows of all of them" in done.out
    )
    assert "of union training" in done.out
    drawn = ElementTree.parse(tmp_path / "study.svg").getroot()
    assert drawn.tag.endswith("svg")
    content = (tmp_path / "study.svg").read_bytes()
    grown.clone.gitdata(*TWO, "--plot", tmp_path / "study.svg")
    assert (tmp_path / "study.svg").read_bytes() == content, "equal studies are equal files"


@pytest.mark.slow
def test_without_test_rows_a_tenth_of_the_train_rows_serves(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 30), *FIELDS)
    world.clone.commit("a dataset and a model")
    world.clone.gitdata("extend", "lattice", world.lattice("more", 30, 40), "-m", "more")
    done = world.clone.gitdata("study", "lattice", "--methods", "rehearse", "--seeds", "1", "--json").records
    assert [record["stages"][-1]["loss"]["mean"] > 0 for record in done] == [True, True]


@pytest.mark.slow
def test_rows_that_memory_does_not_hold_are_streamed(grown: World) -> None:
    held = grown.clone.gitdata(*TWO, "--json").records
    grown.clone.git("config", "gitdata.trainMemory", "1k")
    for path in (grown.clone.repo.state / "study" / "lattice").iterdir():
        path.unlink()
    streamed = grown.clone.gitdata(*TWO, "--json").records
    for one, other in zip(held, streamed, strict=True):
        assert [stage["steps"] for stage in one["stages"]] == [stage["steps"] for stage in other["stages"]]
        losses = [[stage["loss"]["mean"] for stage in record["stages"]] for record in (one, other)]
        assert losses[0] == pytest.approx(losses[1], rel=0.3)


@pytest.mark.slow
def test_a_method_that_cannot_be_is_told_and_the_others_are_compared(grown: World) -> None:
    grown.clone.declare(**{"[retraining]\n": "[retraining]\nreservoir = 0\n"})
    grown.clone.commit("no sample travels")
    done = grown.clone.gitdata("study", "lattice", "--methods", "distil,finetune", "--seeds", "1")
    assert "distil: distil needs the reservoir of the restored version, which has none." in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:4]] == ["finetune", "union"]


MISTAKES = {
    ("lattice", "--seeds", "0"): "--seeds 0 is no number of seeds",
    ("lattice", "--stages", "1"): "--stages 1 is too few",
    ("lattice", "--methods", "finetun"): "There is no method 'finetun'; is 'finetune' meant?",
    ("lattice", "--plot", "study.gif"): "There are no plots of the kind '.gif'",
    ("lattice", "--plot", "nowhere/study.svg"): "There is no folder 'nowhere' for the plot",
    ("lattice",): "lattice has one extension with train rows: nothing to go on with",
    ("steel",): "steel",
}


def test_mistakes(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 10), *FIELDS)
    world.clone.commit("a dataset and a model")
    for arguments, message in MISTAKES.items():
        done = world.clone.gitdata("study", *arguments, code=2)
        assert message in done.err
    assert not (world.clone.repo.state / "study").exists()


@pytest.mark.slow
def test_many_extensions_are_joined_to_stages(grown: World) -> None:
    for first in (40, 42, 44, 46):
        extend(grown, first, first + 2)
    done = grown.clone.gitdata(
        "study", "lattice", "--methods", "finetune", "--seeds", "1", "--stages", "3", "--json"
    ).records[-1]
    assert done["extensions"] == [
        ["lattice@1.0.0"],
        ["lattice@1.1.0", "lattice@1.2.0", "lattice@1.3.0", "lattice@1.4.0"],
        ["lattice@1.5.0"],
    ]


def rows(world: World) -> ChainRows:
    """What a study of the chain as it is reads."""
    repo = world.clone.repo
    chain = repo.snapshot().chain("lattice")
    groups = _groups(chain.ordered(repo.live(chain)), 10)
    source = RowSource(repo, ("t1", "t2", "t3", "scenario", "dir"), ("W_max", "P_peak"))
    return rows_of_chain(source, chain, [[one.id for one in group] for group in groups])


def test_a_file_that_was_split_is_read_split_by_split(grown: World) -> None:
    """Its parts have one path."""
    repo = grown.clone.repo
    chain = repo.snapshot().chain("lattice")
    for stage, extension in zip(rows(grown).stages, chain.ordered(chain.extensions), strict=True):
        counts = [extension.rows_of(split) for split in ("train", "validation")]
        assert [len(stage.train["t1"]), len(stage.own_validation["t1"])] == counts
    last = rows(grown).stages[-1]
    assert len(last.test["t1"]) == len(last.origin) == sum(e.rows_of("test") for e in chain.extensions.values())
    assert len(set(last.test["W_max"]) & set(rows(grown).train["W_max"])) < 0.1 * len(last.test["W_max"])


def test_test_rows_that_are_trained_on_are_left_out_and_extensions_without_train_rows_count(world: World) -> None:
    world.clone.declare()
    both = world.lattice("base", 0, 10)
    world.clone.gitdata("add", "lattice", both, "--test", both, *FIELDS)
    world.clone.commit("all rows are test rows, too")
    world.clone.gitdata("extend", "lattice", world.lattice("more", 10, 14), "-m", "more")
    world.clone.gitdata("extend", "lattice", "--test", world.lattice("fair", 20, 24), "-m", "fair test rows")
    found = rows(world)
    assert len(found.stages) == 2
    assert found.left_out == len(found.stages[0].train["t1"])
    held_out = 160 - found.left_out  # a tenth validates, there being no such split
    assert [len(stage.test["t1"]) for stage in found.stages] == [held_out, held_out + 64]
    said = world.clone.gitdata("study", "lattice", "--methods", "keep", "--seeds", "1", env=SAID)
    assert f"{found.left_out} test rows that are among the train rows are left out." in said.err


def test_what_check_would_refuse_is_not_studied(grown: World) -> None:
    mistakes = {
        "nope": {'"t1"': '"nope"'},
        "Training diverged": {'"adam", learning_rate = 3e-3': '"sgd", learning_rate = 100.0'},
    }
    for message, words in mistakes.items():
        grown.clone.declare(**words)
        grown.clone.commit("a mistake")
        done = grown.clone.gitdata("study", "lattice", "--methods", "keep", "--seeds", "2", code=2)
        assert message in done.err
        assert done.out == ""
