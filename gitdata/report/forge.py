"""The report of `gitdata ci init`: what was written, and what is left to do on the forge."""

from __future__ import annotations

from collections.abc import Sequence

from gitdata.commands.records import Record
from gitdata.report.tables import plural

_SAID = {
    "written": "Wrote {path} for {models}: commit it.",
    "up to date": "{path} is up to date.",
    "included": "{path} takes gitdata's part in.",
}


def forge_lines(records: Sequence[Record]) -> list[str]:
    """`gitdata ci init` for people."""
    lines = [
        _SAID[record["outcome"]].format(path=record.id, models=plural(len(record["models"]), "model"))
        for record in records
    ]
    return lines + list(records[0]["to_do"])
