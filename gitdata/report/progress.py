"""Progress: a training that goes on, as a line in a terminal that is written anew, or as records.

With `--json` the records of epochs go to standard output, before the one of the training; where a log is written
(GITDATA_PROGRESS without a terminal) they are lines of it, which `gitdata logs` shows as people read them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gitdata.commands.records import SCHEMA, Record
from gitdata.report.tables import printable

AT_MOST_EVERY = 0.1  # seconds between two changes of a line
SHOWN = 20  # epochs of a run that `gitdata logs` shows, about
_CLEAR = "\r\x1b[K"


@contextmanager
def shown_epochs(*, as_json: bool) -> Iterator[Callable[[Record], None] | None]:
    """Who is to be told of epochs: None where nobody looks."""
    if as_json:
        yield lambda record: print(json.dumps(record.to_json(), sort_keys=True), flush=True)
    elif sys.stderr.isatty():
        line = _Line()
        try:
            yield line.show
        finally:
            line.clear()
    elif os.environ.get("GITDATA_PROGRESS", "") not in ("", "0"):
        yield lambda record: print(json.dumps(record.to_json(), sort_keys=True), file=sys.stderr, flush=True)
    else:
        yield None


class _Line:
    """One line of the terminal; it is gone when a run ends, so that what is said then has the line."""

    def __init__(self) -> None:
        self.next_change = 0.0
        self.is_there = False

    def show(self, record: Record) -> None:
        now = time.monotonic()
        if record["step"] == record["steps"]:
            self.clear()
        elif now >= self.next_change:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals do not know
            sys.stderr.write(_CLEAR + printable(epoch_text(record.fields))[: width - 1])
            sys.stderr.flush()
            self.next_change, self.is_there = now + AT_MOST_EVERY, True

    def clear(self) -> None:
        if self.is_there:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self.is_there = False


def epoch_text(record: Mapping[str, Any]) -> str:
    """An epoch as people read it."""
    parts = [f"{record['method']}: epoch {record['epoch']}/{record['epochs']}", f"loss {record['loss']:.4g}"]
    if record["validation"] is not None:
        parts.append(f"validation {record['metric']} {record['validation']:.4g}")
    parts += [f"rate {record['rate']:.2g}", f"{record['rows_per_second']:,.0f} rows/s"]
    return "  ".join([*parts, f"{_duration(record['remaining'])} left"])


def log_lines(text: str) -> Iterator[str]:
    """The lines of a job's log as people read them: of epochs, some."""
    for line in text.splitlines(keepends=True):
        record = epoch_record(line)
        if record is None:
            yield line
        elif _is_shown(record):
            yield epoch_text(record) + "\n"


def epoch_record(line: str) -> dict[str, Any] | None:
    """The record of an epoch that a line of a log is; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
        epoch_text(record)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if record.get("schema") == SCHEMA and record.get("kind") == "epoch" else None


def _is_shown(record: Mapping[str, Any]) -> bool:
    epoch, epochs = int(record["epoch"]), max(int(record["epochs"]), 1)
    return epoch in (1, epochs) or epoch * SHOWN // epochs > (epoch - 1) * SHOWN // epochs


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
