"""Differences: what `gitdata diff` found, as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gitdata.commands.records import Record
from gitdata.report.tables import number, plural, print_table, printable, rows_text

SHOWN = 3
_LONGEST = 24  # characters of a category that are shown


def print_difference(records: Sequence[Record]) -> None:
    for line in difference_lines(records):
        print(printable(line))
    if fields := [record for record in records if record.kind == "field drift"]:
        print()
        headings = ("field", "before", "new", "distance", "p (all fields)", "outside", "")
        print_table(headings, [_row(record) for record in fields], right=(3, 4, 5))


def difference_lines(records: Sequence[Record]) -> list[str]:
    """Extensions, rows and fields, then what the statistics say in a sentence."""
    about, *rest = records
    lines = [
        f"{about[side]}: {rows_text(about[f'rows_of_{side}'])}" + _extensions(about[f"extensions_of_{side}"])
        for side in ("first", "second")
    ]
    lines.append(
        f"{plural(about['rows_in_both'], 'row')} in both, {about['only_in_first']} only in {about['first']}, "
        f"{about['only_in_second']} only in {about['second']}"
    )
    lines += [f"fields: {sentence}" for sentence in about["fields"]] or ["fields: the same"]
    fields = [record for record in rest if record.kind == "field drift"]
    for domain in (record for record in rest if record.kind == "domain"):
        drifted = sum(field["drifted"] for field in fields)
        lines.append(
            f"new rows: {drifted} of {plural(len(fields), 'field')} drifted; {domain['outside_numbers']:.1%} have a "
            f"number outside the range that was there, {domain['outside']:.1%} are new in some field"
        )
    return lines


def _extensions(stems: Sequence[str]) -> str:
    if not stems:
        return ""
    more = f" and {len(stems) - SHOWN} more" if len(stems) > SHOWN else ""
    return f"; alone: {', '.join(stems[:SHOWN])}{more}"


def _row(record: Record) -> list[str]:
    adjusted = record["adjusted_p"]
    return [
        record.id,
        _summary(record["old"]),
        _summary(record["new"]),
        number(record["statistic"]),
        "–" if adjusted is None else "< 0.0001" if adjusted < 1e-4 else f"{adjusted:.4f}",
        f"{record['outside']:.1%}",
        "; ".join(filter(None, ["drifted" if record["drifted"] else "", _new(record["new_categories"])])),
    ]


def _summary(side: Mapping[str, Any]) -> str:
    if "categories" in side:
        return plural(side["distinct"], "value")
    if not side["count"]:
        return "no numbers"
    return f"{number(side['mean'])} ± {number(side['std'])} [{number(side['minimum'])}, {number(side['maximum'])}]"


def _new(categories: Sequence[str]) -> str:
    more = ", …" if len(categories) > SHOWN else ""
    shown = (name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in categories[:SHOWN])
    return f"new: {', '.join(shown)}{more}" if categories else ""
