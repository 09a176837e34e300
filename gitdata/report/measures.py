"""Measures of a lineage as people read them: the matrix, and one line for each number."""

from __future__ import annotations

from typing import Any

from gitdata.commands.records import Record
from gitdata.report.tables import number

NAMES = {
    "backward_transfer": "backward transfer (> 0: later training made it better at what it had learned)",
    "forgetting": "forgetting (> 0: it was better at what it had learned)",
    "forward_transfer": "forward transfer (> 0: it knew something of what was to come)",
    "union_gap": "union gap (validation loss ÷ that of union training − 1)",
    "sample_touch_ratio": "sample-touch ratio (÷ union training every time)",
    "time_ratio": "time ratio (÷ union training every time)",
    "prequential_error": "prequential error (new train rows, before it was trained on them)",
}


def matrix_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the matrix R: a row for each extension's test rows, a column for each version."""
    headings = ["loss on the test rows of", *(f"{record['model']}@{number}" for number in record["versions"])]
    columns = list(zip(*record["matrix"], strict=True))
    return headings, [[name, *map(number, losses)] for name, losses in zip(record["extensions"], columns, strict=True)]


def measure_lines(record: Record) -> list[str]:
    """The measures that are known."""
    lines = [f"{text}: {number(record[name])}" for name, text in NAMES.items() if record[name] is not None]
    return lines or ["Nothing is known yet: measures need two versions in a row, and test rows."]


def compared_lines(own: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The measures of two lineages side by side, as far as one is known."""
    known = [name for name in NAMES if own[name] is not None or other[name] is not None]
    return [f"  {name.replace('_', ' ')}: {number(own[name])} against {number(other[name])}" for name in known]
