"""Tables and sentences: records as people read them on a terminal.

Status and other fast commands print plain lines; tables go through rich, which is loaded only then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gitdata.commands.reasons import deciding, detectable
from gitdata.commands.records import Record
from gitdata.data.choice import OVERALL


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table as wide as its content; columns in `right` are aligned there. Wide ones are never cut in a pipe."""
    rows = list(rows)
    if not rows:
        print("none")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1), collapse_padding=True
    )
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)


def printable(text: str) -> str:
    """`text` without characters that a terminal would obey: names, reasons and logs may hold any."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str) -> str:
    """What people wrote as a reason, of however many lines, as one."""
    return " ".join(text.split())


def status_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata status` for people."""
    if not records:
        return ["No dataset yet. Make one: gitdata add DATASET FILE"]
    writers: dict[str, Callable[[Record], list[str]]] = {
        "dataset": _dataset,
        "dataset removed": _removed,
        "model": _model,
        "server": _server,
    }
    return [line for record in records for line in writers[record.kind](record)]


def _server(record: Record) -> list[str]:
    return [
        f"server repository {record.id}",
        f"  branches: {', '.join(record['branches'])}",
        f"  store: {record['store']}",
    ]


def _removed(record: Record) -> list[str]:
    state = "removed, to be committed" if record["staged"] else "removed, not staged"
    back = f"git restore --staged --worktree --source=HEAD datasets/{record.id}"
    return [f"{record.id}: {state}: {plural(record['pointers'], 'file')} ({back} brings it back)"]


def _dataset(record: Record) -> list[str]:
    heads = ", ".join(record["heads"])
    rows = rows_text(record["rows"], at_most=record["rows_at_most"])
    lines = [f"{record.id}: {plural(record['extensions'], 'extension')}, {rows}; heads: {heads}"]
    if len(record["heads"]) > 1:
        lines.append(f"  {len(record['heads'])} heads: the next extension joins them")
    lines += [f"  to be committed: {path}" for path in record["staged"]]
    lines += [f"  not staged: {path} (git add {path})" for path in record["unstaged"]]
    lines += [
        f"  {plural(count, 'blob')} of {stem} not in the cache (gitdata fetch)"
        for stem, count in record["missing"].items()
    ]
    lines += [
        f"  version {label} stands for {', '.join(ids)} (gitdata renumber {record.id})"
        for label, ids in record["double_versions"].items()
    ]
    if record["retracted"]:
        lines.append(f"  retracted: {', '.join(record['retracted'])}")
    lines += [
        f"  lost: the pointer of {id} is gone, though others extend or replace it; it counts as retracted "
        f"(git log --all -- 'datasets/{record.id}/*-{id}.dvc')"
        for id in record["lost"]
    ]
    return lines


def _model(record: Record) -> list[str]:
    if "error" in record.fields:
        return [f"model {record.id}: {record['error']}"]
    champion = f"champion {record['champion']}" if record["champion"] else "no champion"
    lines = [f"model {record.id}: {champion}, {pending_text(record)}"]
    lines += [f"  {line}" for line in suspect_lines(record["suspects"])]
    if not record["ledger_known"]:
        lines.append("  the ledger was never fetched here (gitdata fetch)")
    return lines


def pending_text(record: Record) -> str:
    """What is pending for a model, in one clause."""
    parts = []
    if record["unseen"]:
        parts.append(f"unseen: {some(record['unseen'])}")
    if record["tainted"]:
        parts.append(f"tainted by {some(record['tainted'])}")
    if record["action"] == "nothing":
        parts.append(f"nothing to do ({record['reason']})")
    else:
        parts.append(f"to do: {record['action']} ({record['reason']})")
    parts += [f"nothing of the champion is restored: {'; '.join(record['changed'])}"] if record["changed"] else []
    return "; ".join(parts)


def suspect_lines(names: Sequence[str]) -> list[str]:
    """What was found to spoil a candidate, and what to do about it."""
    return [f"{name} spoils the rest: gitdata retract {name} --reason …" for name in names]


def some(names: Sequence[str], most: int = 12) -> str:
    """Names in a row; of very many the last ones, which are the newest, and how many others there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{len(names) - most:,} others, {', '.join(names[-most:])}"


def model_rows(records: Sequence[Record]) -> list[list[str]]:
    return [
        [
            f"{record['model']}@{record['number']}" + (" ★" if record["champion"] else ""),
            record.id[:8],
            record["verdict"] + (" (tainted)" if record["tainted"] else ""),
            record["method"],
            str(len(record["added"])),
            number(main_metric(record["metrics"])),
            _why(record),
        ]
        for record in records
    ]


def _why(record: Record) -> str:
    """The comparison that decided, in a few words; the ledger's model card has the whole sentence."""
    missed = any(condition["met"] is False for condition in record["conditions"])
    suspects = "".join(f"; without {suspect['name']} within the tolerance" for suspect in record["suspects"])
    if record["who"] != "gitdata" or missed or not record["comparisons"]:
        return one_line(record["reason"]) + suspects
    worst = deciding(record["comparisons"], record["verdict"])
    where = "" if worst["against"] in OVERALL else f" on {worst['against']}"
    bounds = f"{worst['lower']:.2f}–{worst['upper']:.2f}, detectable {detectable(worst)}"
    return f"{worst['ratio']:.3f} × {worst['version'].partition('-')[0]}{where} ({bounds}){suspects}"


def training_lines(record: Record) -> list[str]:
    """What `train` says when it ends; the last line is what job lists show."""
    if "version" not in record.fields:
        done = "" if record["action"] == "nothing" else "would "
        verb = "nothing to do" if record["action"] == "nothing" else f"{done}{record['action']}"
        return [f"{record['model']}: {verb} ({record['reason']})"]
    if record["action"] == "fall back":
        return [f"{record['model']} {record['version']} is the champion again: {one_line(record['reason'])}"]
    tried = ", ".join(f"{rung['method']} in {plural(rung['steps'], 'step')}" for rung in record["rungs"])
    united = {rung["union_steps"] for rung in record["rungs"] if rung["method"] != "union"}
    beside = "".join(f"; union would take {steps}" for steps in united) if record["method"] != "union" else ""
    lines = [f"{record['model']} {record['version']}: {record['method']} ({tried}{beside})"]
    became = "; it is the champion" if record["champion"] else ""
    lines += suspect_lines([suspect["name"] for suspect in record["suspects"]])
    return [*lines, f"{record['model']} {record['version']} {record['verdict']}: {one_line(record['reason'])}{became}"]


def listing_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata ls` for people."""
    lines = []
    for record in records:
        if record.kind == "dataset listed":
            held = f"{record['cached']} of {plural(record['extensions'], 'extension')} cached"
            rows = rows_text(record["rows"], at_most=record["rows_at_most"])
            lines.append(
                f"{record.id}@{', '.join(record['heads'])}  {rows}, {size_text(record['bytes'])}; "
                f"{held}, {record['checked_out']} checked out"
            )
        else:
            champion = f"champion {record['champion']}" if record["champion"] else "no champion"
            declared = "" if record["declared"] else "; not declared here"
            lines.append(f"model {record.id}  {plural(record['versions'], 'version')}, {champion}{declared}")
    return lines or ["No dataset yet. Make one: gitdata add DATASET FILE"]


def prune_lines(records: Sequence[Record]) -> list[str]:
    """What `prune` says: a line for each place."""
    return [
        f"{record.id}: {plural(record['blobs'], 'blob')} {'would go' if record['dry_run'] else 'deleted'}, "
        f"{size_text(record['bytes'])}; {record['kept']} kept"
        + f"; {plural(record['checked_out'], 'checked-out file')} of what was purged"
        * bool(record["checked_out"])
        for record in records
    ]


def verify_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata verify` for people: a line per finding, and what was looked at."""
    lines = []
    for record in records[:-1]:
        lines.append(f"{'repaired' if record['repaired'] else 'finding'}  {record['part']}: {record['problem']}")
        if not record["repaired"] and record["next_step"]:
            lines.append(f"          {record['next_step']}")
    seen = records[-1]
    how = "read and hashed" if seen["deep"] else "looked at by size"
    where = " here and on the remote" if seen["remote"] else ""
    looked = (
        f"{plural(seen['extensions'], 'extension')}, {plural(seen['blobs'], 'blob')} "
        f"({size_text(seen['bytes'])}) {how}{where}"
    )
    looked += f", rows of {plural(seen['rows_read'], 'extension')} read" * bool(seen["rows_read"])
    found = f"{plural(seen['findings'], 'finding')}, {seen['repaired']} repaired" if seen["findings"] else "no findings"
    return [*lines, f"{looked}: {found}"]


def check_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata doctor` for people."""
    lines = []
    for record in records:
        lines.append(f"{record['state']:<8}  {record.id}: {record['message']}")
        if record["state"] == "finding" and record["next_step"]:
            lines.append(f"          {record['next_step']}" + (" (--fix does it)" if record["fixable"] else ""))
    return lines


def lineage_lines(records: Sequence[Record]) -> list[str]:
    """A version, then its ancestors."""
    lines = []
    for record in records:
        star = " ★" if record["champion"] else ""
        parent = "from scratch" if record["parent"] is None else f"from version {record['parent']}"
        lines.append(
            f"{record['model']}@{record['number']}{star} ({record.id[:8]}) {record['verdict']}: {record['method']} "
            f"{parent}, at commit {record['commit'][:8]}"
        )
        lines += [f"  saw {label}{_brought(record, label)}" for label in record["added"]]
        programs = {name: (record["environment"] or {}).get(name) for name in ("gitdata", "jax", "numpy")}
        if named := [f"{name} {number}" for name, number in programs.items() if number is not None]:
            lines.append(f"  computed by {', '.join(named)}")
    return lines


def _brought(record: Record, label: str) -> str:
    """The rows of an extension that a version saw."""
    rows = [one["rows"] for one in record["extensions"] if f"{one['dataset']}@{one['label']}" == label]
    return f": {rows_text(rows[0])}" if rows else ""


def saw_lines(records: Sequence[Record], model: str, extension: str) -> list[str]:
    """Which versions an extension shaped."""
    if not records:
        return [f"No version of {model.partition('@')[0]} saw {extension}."]
    return [
        f"{record['model']}@{record['number']}{' ★' if record['champion'] else ''} {record['verdict']}: "
        + ("trained on it" if record["added"] else "descends from one that was")
        for record in records
    ]


def evaluation_lines(record: Record) -> list[str]:
    """`gitdata evaluate` for people."""
    lines = [f"{record['model']}@{record['number']} on {_test_rows(record)}"]
    return lines + [f"  {name}: {number(value)}" for name, value in _metrics_shown(record["metrics"])]


def comparison_lines(record: Record) -> list[str]:
    """`gitdata compare` for people."""
    lines = [
        f"{record['version']} against {record['other']} on {_test_rows(record)}",
        f"  {record['metric']}: {number(record['loss'])} against {number(record['loss_of_other'])}, "
        f"{record['ratio']:.3f} × (90 % interval {record['lower']:.3f}–{record['upper']:.3f}): {record['verdict']}",
    ]
    others = dict(_metrics_shown(record["metrics_of_other"]))
    own = _metrics_shown(record["metrics"])
    lines += [f"  {name}: {number(value)} against {number(others.get(name))}" for name, value in own]
    return lines + [
        f"  test rows of {part['extension']} ({part['rows']}): {number(part['loss'])} against "
        f"{number(part['loss_of_other'])}"
        for part in record["by_extension"]
    ]


def _test_rows(record: Record) -> str:
    left_out = f", {record['left_out']} that were trained on left out" if record["left_out"] else ""
    return f"{plural(record['rows'], 'test row')} of {', '.join(record['extensions'])}{left_out}"


def flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Nested mappings as pairs of a name and a value: `outputs W_max mae`."""
    if isinstance(value, Mapping):
        return [pair for key, inner in sorted(value.items()) for pair in flat(f"{prefix} {key}".strip(), inner)]
    return [(prefix, value)]


def _metrics_shown(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Metrics by name; of a slice those over all outputs: the others are for `--json`."""
    slices = {label: {"rows": found["rows"], **found["overall"]} for label, found in metrics.get("slices", {}).items()}
    plain = {key: value for key, value in metrics.items() if key not in ("slices", "extensions")}
    return flat("", plain) + flat("", slices)


def main_metric(metrics: Mapping[str, Any]) -> float | None:
    """The first metric over all outputs."""
    overall = metrics.get("overall", metrics)
    values = [value for _, value in sorted(overall.items()) if isinstance(value, float)]
    return values[0] if values else None


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def rows_text(rows: Mapping[str, int], *, at_most: bool = False) -> str:
    """`144 train, 16 test rows`; `at_most`: these may be fewer."""
    parts = [f"{rows[split]} {split}" for split in ("train", "validation", "test") if rows.get(split)]
    return f"{'up to ' * at_most}{', '.join(parts) or 'no'} {'row' if sum(rows.values()) == 1 else 'rows'}"


def split_counts(rows: Mapping[str, int]) -> str:
    """`144+0+16`: train, validation and test rows."""
    return "+".join(str(rows.get(split, 0)) for split in ("train", "validation", "test"))


def size_text(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
