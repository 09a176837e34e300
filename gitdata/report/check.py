"""The report of a check: what goes in, the layers, what comes out, and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitdata.commands.records import Record
from gitdata.report.tables import plural, rows_text


def check_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata check` for people."""
    summary, findings = records[0], records[1:]
    extensions = plural(len(summary["extensions"]), "extension")
    lines = [f"models/{summary.id}.toml on {summary['dataset']}: {extensions}, {rows_text(summary['rows'])}", ""]
    lines += _aligned([("in", "per row", "as"), *_fields(summary["inputs"])], right=())
    if summary["layers"]:
        lines += ["", *_aligned([("layer", "makes", "weights"), *_layers(summary)], right=(2,))]
    if summary["guessed"]:
        lines.append(
            f"(how many categories {', '.join(summary['guessed'])} have is not known: they are counted as two)"
        )
    lines += ["", *_aligned([("out", "per row", "as"), *_fields(summary["outputs"])], right=()), ""]
    for record in findings:
        lines += [f"{record['level']}: {record['text']}", f"  → {record['remedy']}"]
    return [*lines, *([""] if findings else []), _verdict(summary)]


def outside_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a file holds that is far from what a model was fitted to, as `predict` says it."""
    lines = []
    for field in found:
        seen = f" ({field['seen'][0]:g} to {field['seen'][1]:g})" if field["seen"] else ""
        far = f", {field['distance']:.3g} {field['unit']}" if field["distance"] is not None else ""
        lines.append(
            f"'{field['field']}' lies far outside what was trained on{seen} in {plural(field['rows'], 'row')}; "
            f"the farthest is {field['value']:g}{far}."
        )
    return lines


def _verdict(summary: Record) -> str:
    by = "" if summary["measured"] else " by its schema"
    if not summary["errors"] and not summary["warnings"]:
        return f"{summary.id} fits its data{by}: nothing was found."
    counts = [plural(summary[f"{level}s"], level) for level in ("error", "warning") if summary[f"{level}s"]]
    verdict = "does not fit" if summary["errors"] else "fits"
    return f"{summary.id} {verdict} its data{by}: {', '.join(counts)}."


def _fields(fields: Sequence[Mapping[str, Any]], most: int = 20) -> Iterator[tuple[str, str, str]]:
    for field in fields[:most]:
        shape = "×".join(map(str, field["shape"]))
        yield field["name"], f"{shape} {field['dtype']}".lstrip(), field["coding"]
    if len(fields) > most:
        yield f"and {len(fields) - most} more", "", ""


def _layers(summary: Record) -> Iterator[tuple[str, str, str]]:
    for line in summary["layers"]:
        makes = "×".join(map(str, line["after"]))
        yield "  " * line["depth"] + line["name"], makes, f"{line['weights']:,}" if line["weights"] else ""
    yield "all", "", ("≥ " if summary["guessed"] else "") + f"{summary['weights']:,}"


def _aligned(rows: Sequence[tuple[str, ...]], right: Sequence[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
