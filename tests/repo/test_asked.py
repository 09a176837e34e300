"""What is asked for is done, or refused with the reason: options of `extend` that do not go with what is there."""

from __future__ import annotations

import subprocess
import sys
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
from gitdata.storage import process

Write = Callable[[str, str], Path]
LINES = [f"{n},{n * n % 97}\n" for n in range(60)]


@pytest.fixture
def grown(write: Write) -> Callable[[int], Path]:
    """The file with so many rows."""
    return lambda rows: write(f"g{rows}.csv", "a,b\n" + "".join(LINES[:rows]))


@pytest.fixture
def there(clone: Clone, grown: Callable[[int], Path]) -> Clone:
    """Thirty rows and ten more, of which none is tested on."""
    extend.add(Repo(clone.path), Request("d", [grown(30)], message="base"))
    take(clone, grown(40))
    return clone


def take(clone: Clone, path: Path, **more: Any) -> Record:
    """`gitdata extend d --grown FILE -m more` in this process."""
    return extend.extend(Repo(clone.path), Request("d", [path], **{"grown": "refuse", "message": "more"} | more))


def test_a_grown_file_without_a_new_row_overwrites_nothing(there: Clone, grown: Callable[[int], Path]) -> None:
    with pytest.raises(Mendable, match=r"nothing can take the place of d@1\.1\.0"):
        take(there, grown(30), version="1.1.0", overwrite=True)
    assert len(there.repo.work_tree_snapshot().chain("d").live) == 2


def test_test_rows_are_not_dropped_without_a_new_row(there: Clone, grown: Callable[[int], Path], write: Write) -> None:
    assert take(there, grown(40), test_policy="drop").kind == "unchanged"  # there are none
    take(there, grown(40), test=str(write("held.csv", "a,b\n-1,1\n")))
    with pytest.raises(Mendable, match="no extension that could drop the test rows"):
        take(there, grown(40), test_policy="drop")
    take(there, grown(50), test_policy="drop")
    assert take(there, grown(50), test_policy="drop").kind == "unchanged"


def test_an_extension_is_not_committed_without_the_retraction_that_it_was_made_beside(
    there: Clone, grown: Callable[[int], Path]
) -> None:
    repo = Repo(there.path)
    retract.retract(repo, ["d@1.1.0"], "wrong sensor", None)
    with pytest.raises(Mendable, match=r"The retraction of d@1\.1\.0 .* is not committed"):
        take(there, grown(50))
    assert take(there, grown(50), message=None)["rows"] == {"train": 10}
    there.commit("all of it")
    retract.undo(repo, ["d@1.1.0"], None)
    with pytest.raises(Mendable, match=r"the retraction was undone of d@1\.1\.0"):
        take(there, grown(60))


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        ("a,b,c\n" + "".join(line.replace("\n", ",0\n") for line in LINES), "field 'c' is new"),
        ("a\n" + "".join(line.replace(",", "\n").split("\n")[0] + "\n" for line in LINES), "field 'b' is missing"),
        ("a,b\n" + "".join([*LINES[:3], "3,high\n", *LINES[4:]]), "field 'b' is text"),
    ],
)
def test_a_new_generation_has_fields_of_its_own(there: Clone, write: Write, text: str, difference: str) -> None:
    path = write("other.csv", text)
    for decision in ("refuse", "append-only-new"):
        with pytest.raises(Mendable, match=difference) as refused:
            take(there, path, grown=decision)
        assert "with --replace the whole file" in refused.value.next_step
    record = take(there, path, grown="replace")
    assert (record["version"], record["rows"], len(record["replaces"])) == ("2.0.0", {"train": 60}, 1)
    with path.open("a") as file:
        file.write(text.splitlines()[-1].replace("59", "60", 1) + "\n")
    assert take(there, path)["rows"] == {"train": 1}


def test_a_malformed_file_becomes_no_new_generation(there: Clone, write: Write) -> None:
    with pytest.raises(Mendable, match="not well-formed"):
        take(there, write("bad.csv", "a,b\n1,2\n3\n"), grown="replace")


def test_a_grown_file_does_not_extend_what_was_replaced(there: Clone, grown: Callable[[int], Path]) -> None:
    with pytest.raises(Mendable, match=r"Version 1\.9\.0 is no label of a new base"):
        take(there, grown(20), grown="replace", version="1.9.0")
    assert take(there, grown(20), grown="replace", version="7.0.0")["version"] == "7.0.0"
    with pytest.raises(Mendable, match=r"d@1\.0\.0 .* was replaced"):
        take(there, grown(40), parents=("1.0.0",))


def test_extensions_committed_at_the_same_time_wait_for_each_other(there: Clone, write: Write) -> None:
    command = [sys.executable, "-P", "-m", "gitdata", "extend", "d", "-m", "at once"]
    paths = [write(f"{n}.csv", f"a,b\n{n},-1\n") for n in range(100, 104)]
    running = [subprocess.Popen([*command, path], cwd=there.path, stdout=subprocess.DEVNULL) for path in paths]
    assert [each.wait() for each in running] == [0] * 4
    assert there.git("status", "--porcelain", "--", "datasets") == ""
    assert there.git("log", "--format=%s", "-4").splitlines() == ["at once"] * 4


def test_a_lock_that_stays_is_named_and_nothing_is_left(
    there: Clone, grown: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    lock = there.path / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(Mendable, match=r"Another git is at work .*index\.lock"):
        take(there, grown(50))
    lock.unlink()
    assert there.git("status", "--porcelain", "--", "datasets") == ""
    assert take(there, grown(50))["rows"] == {"train": 10}
