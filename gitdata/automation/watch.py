"""Watch: waiting for what a runner does, by looking at the spool; nobody is told of a job's end."""

from __future__ import annotations

import time
from collections.abc import Iterator

from gitdata.automation.jobs import Spool

INTERVAL = 0.05  # seconds between two looks


def follow_log(spool: Spool, id: str, *, follow: bool) -> Iterator[str]:
    """The text of a job's log as it grows, whole lines while it does; without `follow`, what there is now."""
    path, position = spool.logs / f"{id}.log", 0
    while True:
        ended = spool.job(id).state in ("done", "failed")
        if path.is_file():
            with path.open("rb") as file:
                file.seek(position)
                text = file.read()
            if not ended and follow:
                text = text[: text.rfind(b"\n") + 1]
            position += len(text)
            yield text.decode(errors="replace")
        if ended or not follow:
            return
        time.sleep(INTERVAL)


def wait_until_idle(spool: Spool, timeout: float) -> bool:
    """Whether all jobs have ended within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while spool.ids("pending") or spool.ids("running"):
        if time.monotonic() > deadline:
            return False
        time.sleep(INTERVAL)
    return True
