"""Withdrawn rows: what was retracted does not come back with the next version of a grown file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world import Clone

from gitdata.commands import extend, retract
from gitdata.commands.intake import Request
from gitdata.commands.records import Record
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.report.extensions import extension_text

Write = Callable[[str, str], Path]
LINES = [f"{n},{n * n % 97}\n" for n in range(60)]


@pytest.fixture
def grown(write: Write) -> Callable[[int], Path]:
    """The file with so many rows."""
    return lambda rows: write(f"g{rows}.csv", "a,b\n" + "".join(LINES[:rows]))


def take(clone: Clone, path: Path, **more: Any) -> Record:
    """`gitdata extend d --grown FILE`, or `gitdata add` of the first file, in this process."""
    command = extend.extend if (clone.path / "datasets" / "d").exists() else extend.add
    options = {"grown": "refuse" if command is extend.extend else None, "message": "more"} | more
    return command(Repo(clone.path), Request("d", [path], **options))


@pytest.fixture
def retracted(clone: Clone, grown: Callable[[int], Path]) -> Clone:
    """Thirty rows, and ten more that were retracted."""
    take(clone, grown(30))
    take(clone, grown(40))
    retract.retract(Repo(clone.path), ["d@1.1.0"], "wrong sensor", "bad")
    return clone


def test_a_grown_file_does_not_bring_back_what_was_retracted(
    retracted: Clone, grown: Callable[[int], Path], write: Write
) -> None:
    _, gone, rest = extension_text(take(retracted, grown(40)))
    assert gone.startswith("10 rows left out, retracted with 1.1.0-")
    assert gone.endswith(" (wrong sensor); --again takes them")
    assert rest.endswith("holds every other row of the file: nothing to do")
    for rows, new, way in ((50, 10, "bytes"), (55, 5, "rows")):  # with rows left out, no file is known by its bytes
        record = take(retracted, grown(rows))
        assert (record["rows"], record["grown"]["by"]) == ({"train": new}, way)
        assert [each["rows"] for each in record["retracted"]] == [10]
    corrected = write("c.csv", "a,b\n0,-1\n" + "".join(LINES[1:55]))
    with pytest.raises(Mendable, match="0 rows disappeared, 0 new"):
        take(retracted, corrected)
    record = take(retracted, corrected, grown="replace")
    assert (record["rows"], record["retracted"][0]["rows"]) == ({"train": 45}, 10)


def test_rows_are_taken_again_where_that_is_asked_for(retracted: Clone, grown: Callable[[int], Path]) -> None:
    with pytest.raises(Mendable, match="--again is about"):
        take(retracted, grown(40), grown=None, again=True)
    record = take(retracted, grown(50), again=True)
    assert (record["rows"], record["retracted"]) == ({"train": 20}, [])


def test_rows_whose_retraction_was_undone_are_known(retracted: Clone, grown: Callable[[int], Path]) -> None:
    retract.undo(Repo(retracted.path), ["d@1.1.0"], "good")
    record = take(retracted, grown(50))
    assert (record["rows"], record["retracted"]) == ({"train": 10}, [])


def test_a_file_that_brings_retracted_rows_back_is_said_to(retracted: Clone, write: Write) -> None:
    path = write("x.csv", "a,b\n" + "".join([LINES[0], *LINES[35:45]]))
    assert extension_text(take(retracted, path, grown=None))[1].startswith("5 rows retracted before: 1.1.0-")


def test_what_is_replaced_or_overwritten_is_not_retracted(clone: Clone, grown: Callable[[int], Path]) -> None:
    take(clone, grown(30))
    take(clone, grown(40))
    assert take(clone, grown(45), version="1.1.0", overwrite=True)["rows"] == {"train": 15}
    take(clone, grown(5), grown="replace")
    assert take(clone, grown(45))["rows"] == {"train": 40}


def test_a_test_file_beside_a_grown_file_is_stored_once(
    clone: Clone, grown: Callable[[int], Path], write: Write
) -> None:
    held = write("held.csv", "a,b\n-1,1\n-2,1\n-3,1\n")
    take(clone, grown(30))
    assert take(clone, grown(30), test=str(held))["rows"] == {"test": 3}
    for _ in range(2):
        assert take(clone, grown(30), test=str(held)).kind == "unchanged"
    write("held.csv", "a,b\n-1,1\n-2,1\n-3,1\n-3,1\n-4,1\n")
    assert take(clone, grown(40), test=str(held))["rows"] == {"test": 2, "train": 10}
    assert take(clone, grown(40), test=str(held), test_policy="replace")["rows"] == {"test": 5}


@pytest.mark.parametrize("grown_as", [None, "replace"])
def test_test_rows_that_nobody_would_see_are_refused(
    clone: Clone, grown: Callable[[int], Path], write: Write, grown_as: str | None
) -> None:
    held = write("held.csv", "a,b\n-1,1\n")
    take(clone, grown(30), test=str(held))
    for test in (str(held), "0.2"):
        with pytest.raises(Mendable, match="nobody would see"):
            take(clone, grown(10), grown=grown_as, test=test, test_policy="drop")
    assert take(clone, grown(10), grown=grown_as, test_policy="drop")["rows"] == {"train": 10}
