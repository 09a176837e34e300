"""Extensions, told to people: what became of one, the DAG that they make, and all that is known of one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gitdata.commands.records import Record
from gitdata.report.graph import drawable, graph_lines
from gitdata.report.tables import one_line, plural, printable, rows_text, size_text, split_counts

SHOWN = 3  # retracted extensions that are named


def extension_text(record: Record) -> list[str]:
    """What `add` and `extend` say."""
    name = f"{record['dataset']}@{record['version']} ({record.id[:8]})"
    if record.kind == "unchanged":
        gone = _retracted(record)
        rest = f"{name} holds every {'other row' if gone else 'row'} of the file: nothing to do"
        return [*_grown(record["grown"], whole=True), *gone, rest]
    parents = f"extends {', '.join(record['parents'])}" if record["parents"] else "a base"
    parents += f" in place of {', '.join(record['replaces'])}" if record["replaces"] else ""
    done = "committed" if record["committed"] else "staged"
    lines = [f"{name}: {rows_text(record['rows'])}; {parents}", *_grown(record["grown"])]
    lines += _retracted(record)
    lines += _leaks(record["leaks"])
    lines += _repeated(record)
    if others := record["compared_over_all"]:
        lines.append(f"compared over all fields with {plural(others, 'extension')} made with other inputs or outputs")
    lines += [f"Does not fit: {line}" for line in record["misfits"]]
    lines += [f"The columns of '{name}' stand in another order; fields go by name." for name in record["reordered"]]
    if sum(record["rows"].values()) and not record["parents"] and not record["rows"].get("train"):
        lines.append("No train rows, so nothing to train on (a fraction keeps rows with equal inputs together).")
    if not sum(record["rows"].values()):
        lines.append("No format is known for its files: they are kept as they are, and nothing is trained on them.")
    if record["overwrites"]:
        seen = f"; seen by {', '.join(record['seen_by'])}" if record["seen_by"] else "; no model version saw it"
        lines.append(f"retracted: {', '.join(record['overwrites'])}{seen}")
    next_step = "git push" if record["committed"] else "git commit, then git push"
    lines.append(f"{done}: {record['pointer']}; next: {next_step}")
    return lines


def _grown(grown: Mapping[str, Any] | None, *, whole: bool = False) -> list[str]:
    """What a grown file came to; `whole`: it brings nothing."""
    if grown is None:
        return []
    from gitdata.commands.correction import correction_lines

    correction = correction_lines(grown["correction"]) if grown["correction"] else []
    by_bytes = "by its bytes" if whole else "by its first bytes"
    how = by_bytes if grown["by"] == "bytes" else "by their digests"
    examples = [f"  {example}" for example in correction[1:]]
    return [f"{plural(grown['known_rows'], 'row')} of the file known, {how}", *correction[:1], *examples]


def _retracted(record: Record) -> list[str]:
    """Rows that were retracted: left out of a grown file, else live again."""
    found = record["retracted"]
    if not found:
        return []
    rows, were = plural(sum(each["rows"] for each in found), "row"), ", ".join(map(_why, found[:SHOWN]))
    were += f" and {len(found) - SHOWN} more" * (len(found) > SHOWN)
    if record["grown"] is None:
        return [f"{rows} retracted before: {were}; here they are live again"]
    return [f"{rows} left out, retracted with {were}; --again takes them"]


def _why(retracted: Mapping[str, Any]) -> str:
    return f"{retracted['extension']} ({retracted['reason']})"


def _repeated(record: Record) -> list[str]:
    """Rows that are not new."""
    if not (count := record["known_rows"]):
        return []
    where = "in the dataset before, or repeated here" + ", by inputs and outputs" * bool(record["compared_by"])
    if record["deduplicated"]:
        return [f"{plural(count, 'row')} left out: {where}"]
    return [f"{plural(count, 'row')} {where} (--dedupe leaves such rows out)"]


def _leaks(leaks: Mapping[str, int]) -> list[str]:
    """Rows that are trained on and tested on."""
    found = [
        (leaks.get("test_rows_in_train", 0), "test row", "train rows"),
        (leaks.get("train_rows_in_test", 0), "train row", "test rows"),
    ]
    parts = [f"{plural(count, noun)} also among the {others}" for count, noun, others in found if count]
    return [f"{'; '.join(parts)}: no gate uses them"] if parts else []


def log_rows(records: Sequence[Record]) -> list[list[str]]:
    return [
        [
            record["version"],
            record.id[:8],
            ", ".join(parent.rpartition("-")[0] for parent in record["parents"]) or "base",
            split_counts(record["rows"]) + ("" if record["state"] == "live" else f" {record['state']}"),
            size_text(record["size"]),
            record["commit"]["time"][:16].replace("T", " ") if record["commit"] else "not committed",
            record["commit"]["author"] if record["commit"] else "",
        ]
        for record in records
    ]


def print_graph(records: Sequence[Record]) -> None:
    """The DAG of a dataset, in plain characters where the terminal has no others."""
    for line in drawable(log_graph(records), sys.stdout.encoding):
        print(printable(line))


def log_graph(records: Sequence[Record]) -> list[str]:
    """`gitdata log --graph`: children above their parents; ● is live, ○ a base, × retracted, replaced or lost."""
    newest_first = list(reversed(records))
    newest_first.sort(key=lambda record: record["state"] != "live")  # what others took the place of is drawn below
    by_stem = {f"{record['version']}-{record.id[:8]}": record.id for record in records}
    parents = {r.id: [by_stem[stem] for stem in r["parents"] if stem in by_stem] for r in newest_first}
    glyphs = {r.id: "×" if r["state"] != "live" else "●" if r["parents"] else "○" for r in records}
    return graph_lines(parents, glyphs, {r.id: _node_text(r) for r in records})


def _node_text(record: Record) -> str:
    marks = [record["state"]] if record["state"] != "live" else []
    marks += ["head"] if record["head"] else []
    about = record["commit"]
    parts = [
        f"{record['version']} ({record.id[:8]})",
        rows_text(record["rows"]),
        f"{about['time'][:10]} {about['author']}: {about['subject']}" if about else "not committed",
    ]
    return "  ".join(parts) + (f"  [{', '.join(marks)}]" if marks else "")


def show_lines(record: Record) -> list[str]:
    """`gitdata show` for people."""
    lines = [
        f"{record['dataset']}@{record['version']}  {record.id}",
        f"parents: {', '.join(record['parents']) or 'none (a base)'}",
        f"rows: {rows_text(record['rows'])}; {size_text(record['size'])}"
        + ("" if record["state"] == "live" else f"; {record['state']}")
        + (f"; {plural(record['missing'], 'blob')} not in the cache" if record["missing"] else ""),
    ]
    if record["commit"]:
        about = record["commit"]
        lines.append(f"commit: {about['commit'][:8]} by {about['author']}, {about['time']}: {about['subject']}")
    if (policy := record["split_policy"]["test"]) != "add":
        lines.append(f"test rows of its parents: {policy}")
    roles = {role: record.fields.get(role) for role in ("inputs", "outputs")}
    lines += [f"{role}: {', '.join(names)}" for role, names in roles.items() if names]
    if schema := record["fields"]:
        lines.append("fields: " + ", ".join(_field(field) for field in schema))
        lines += [line for field in schema for line in _about(field)]
    elif schema is not None:
        lines.append("fields: none (opaque files, kept as they are)")
    lines += [
        f"  {f['path']}  {plural(f['rows'], 'row')}  {size_text(f['size'])}  {f['sha256'][:8]}" for f in record["files"]
    ]
    return lines


def _field(field: Mapping[str, Any]) -> str:
    shape = f"[{'×'.join(str(n) for n in field['shape'])}]" if field["shape"] else ""
    unit = f", {field['unit']}" if "unit" in field else ""
    return f"{field['name']} ({field['dtype']}{shape}{unit})"


def _about(field: Mapping[str, Any]) -> list[str]:
    """What a format says of a field besides dtype, shape and unit."""
    lines = [f"  {field['name']}: {field['description']}"] if "description" in field else []
    labels = field.get("categories", [])
    more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
    return lines + [f"  {field['name']} is one of {', '.join(labels[:12])}{more}"] * bool(labels)


def retraction_lines(record: Record) -> list[str]:
    """What `retract` says."""
    what = f"{record['dataset']}@{record['version']} ({record.id[:8]})"
    done = "is retracted" if record["retracted"] else "is live again; it was retracted for"
    lines = [f"{what} {done}: {one_line(record['reason'])}"]
    if record["seen_by"]:
        lines.append(f"seen by {', '.join(record['seen_by'])}")
    next_step = "git push" if record["committed"] else "git commit, then git push"
    return [*lines, f"{'committed' if record['committed'] else 'staged'}: {record['path']}; next: {next_step}"]


def purge_lines(record: Record) -> list[str]:
    """What `purge` says."""
    what = f"{record['dataset']}@{record['version']} ({record.id[:8]})"
    done = "would be purged" if record["dry_run"] else "is purged"
    blobs = f"{plural(record['blobs'], 'blob')}, {size_text(record['bytes'])}"
    lines = [f"{what} {done}: {blobs} deleted from {' and '.join(record['places'])}"]
    if record["checked_out"]:
        lines.append(f"  and {plural(record['checked_out'], 'checked-out file')} from the work trees of this clone")
    shared = Counter(kept["needed_by"] for kept in record["kept"])
    lines += [f"  kept: {plural(count, 'blob')} that {holder} has too" for holder, count in sorted(shared.items())]
    if record["seen_by"]:
        kept = "weights, statistics, row digests, and a sample of rows"
        lines.append(f"  still carry traces of it: {', '.join(record['seen_by'])} ({kept})")
    if record["dry_run"]:
        return lines
    lines.append("  git's history keeps its pointer; other clones keep what they fetched until `gitdata prune` there")
    next_step = "git push" if record["committed"] else "git commit, then git push"
    return [*lines, f"{'committed' if record['committed'] else 'staged'}: {record['path']}; next: {next_step}"]


def renumbered_lines(records: Sequence[Record], dataset: str) -> list[str]:
    """What `renumber` says."""
    if not records:
        return [f"Every version of '{dataset}' stands for one extension."]
    lines = [f"{r['dataset']}@{', '.join(r['before'])} ({r.id[:8]}) is now {r['version']}" for r in records]
    committed = records[0]["committed"]
    return [*lines, f"{'committed' if committed else 'staged'}; next: {'git push' if committed else 'git commit'}"]
