"""What `checkout --union` says."""

from __future__ import annotations

from pathlib import Path

from gitdata.commands.records import Record
from gitdata.report.tables import plural, rows_text


def union_lines(record: Record) -> list[str]:
    """Where the view lies, what it shows, and whether the rows lie in it."""
    name, files = Path(record.id).name, plural(record["files"], "file")
    if record["virtual"]:
        kind = f"virtual, over {files} in the cache" + ("" if record["built"] else "; it was so already")
    elif record["reason"]:
        kind = f"copied from {files}, since {record['reason']}"
    else:
        kind = f"copied from {files}"
    return [f"{name}: {rows_text(record['rows'])}; {kind}"]
