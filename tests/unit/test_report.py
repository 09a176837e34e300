"""What people read: the words beside the numbers fit what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from gitdata.commands.records import Record
from gitdata.errors import Mendable
from gitdata.report.differences import print_difference
from gitdata.report.extensions import extension_text, log_graph, purge_lines, retraction_lines

EXTENSION: dict[str, Any] = {
    "committed": True, "compared_by": [], "compared_over_all": 0, "dataset": "d", "deduplicated": False, "grown": None,
    "known_rows": 0, "leaks": {}, "misfits": [], "overwrites": [], "parents": [], "pointer": "p", "replaces": [],
    "reordered": [], "retracted": [], "rows": {"train": 3}, "seen_by": [], "version": "1.0.0",
}  # fmt: skip


def told(**changes: Any) -> list[str]:
    return extension_text(Record("extension", "a" * 64, EXTENSION | changes))


def test_rows_that_repeat_are_in_the_dataset_or_were_left_out() -> None:
    assert told(known_rows=2)[1] == "2 rows in the dataset before, or repeated here (--dedupe leaves such rows out)"
    assert told(known_rows=2, deduplicated=True)[1] == "2 rows left out: in the dataset before, or repeated here"
    assert len(told(deduplicated=True)) == 2
    by_roles = told(known_rows=1, deduplicated=True, compared_by=["a", "y"], compared_over_all=2)
    assert by_roles[1:3] == [
        "1 row left out: in the dataset before, or repeated here, by inputs and outputs",
        "compared over all fields with 2 extensions made with other inputs or outputs",
    ]


def test_examples_of_a_correction_stand_below_its_sum() -> None:
    correction = {"changed": 1, "disappeared": 0, "examples": ["a 1: b 2 → 3"], "fields": {"b": 1}, "key": ["a"],
                  "missing": 1, "new": 0}  # fmt: skip
    lines = told(grown={"by": "rows", "correction": correction, "known_rows": 2})
    assert lines[1:4] == [
        "2 rows of the file known, by their digests",
        "1 row changed (b in 1; rows are told by a), 0 rows disappeared, 0 new.",
        "  a 1: b 2 → 3",
    ]


def node(id: str, version: str, state: str, *parents: str) -> Record:
    fields = {"version": version, "state": state, "head": state == "live", "rows": {"train": 1}, "parents": parents,
              "commit": None}  # fmt: skip
    return Record("extension", id * 64, fields)


def test_what_was_replaced_is_drawn_below_what_took_its_place() -> None:
    old, new = node("e", "1.0.0", "replaced"), node("a", "2.0.0", "live")
    for records in ([old, new], [new, old]):
        assert [line.split()[1] for line in log_graph(records)] == ["2.0.0", "1.0.0"]


def test_a_retraction_that_is_undone_is_no_reason_to_live() -> None:
    fields = {"dataset": "d", "version": "1.0.0", "reason": "bad card", "seen_by": [], "committed": True, "path": "p"}
    text = retraction_lines(Record("retraction", "a" * 64, fields | {"retracted": False}))[0]
    assert text == "d@1.0.0 (aaaaaaaa) is live again; it was retracted for: bad card"


def test_what_a_purge_keeps_is_told_by_who_has_it() -> None:
    kept = [{"md5": 32 * n, "needed_by": f"{holder}@1.0.0"} for n, holder in zip("1234", "eeef", strict=True)]
    fields = {"dataset": "d", "version": "1.0.0", "dry_run": True, "blobs": 0, "bytes": 0, "checked_out": 0,
              "places": ["here"], "kept": kept, "seen_by": []}  # fmt: skip
    lines = purge_lines(Record("purge", "a" * 64, fields))
    assert lines[1:] == ["  kept: 3 blobs that e@1.0.0 has too", "  kept: 1 blob that f@1.0.0 has too"]


def test_a_long_category_does_not_widen_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    side = {"categories": ["x"], "distinct": 1}
    about = {"first": "d@1", "second": "d@2", "rows_of_first": {"train": 1}, "rows_of_second": {"train": 2},
             "extensions_of_first": [], "extensions_of_second": [], "rows_in_both": 1, "only_in_first": 0,
             "only_in_second": 1, "fields": []}  # fmt: skip
    drift = {"old": side, "new": side, "statistic": 0.1, "adjusted_p": 1.0, "outside": 0.5, "drifted": False,
             "new_categories": ["y" * 90, "z"]}  # fmt: skip
    print_difference([Record("difference", "d", about), Record("field drift", "text", drift)])
    assert f"new: {'y' * 23}…, z" in capsys.readouterr().out


def test_all_lines_of_an_error_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    from gitdata.cli import _explain

    assert _explain(Mendable("First.\n  A row.", "Do that.")) == 2
    assert capsys.readouterr().err == "gitdata: First.\n           A row.\n         Do that.\n"


def test_a_base_without_train_rows_is_said() -> None:
    assert any(line.startswith("No train rows") for line in told(rows={"test": 3}))
    assert not any(line.startswith("No train rows") for line in told(rows={"test": 3}, parents=["1.0.0-aaaaaaaa"]))
    assert not any(line.startswith("No train rows") for line in told())
