"""Patience: how long a remote may keep us waiting.

A host that stopped, or a firewall that swallows, may never answer and never fail. What is asked of a remote therefore
runs beside us, and is given up once nothing has moved for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

STALLED = 60.0  # seconds in which nothing moved
_LOOK_EVERY = 1.0  # seconds

Result = TypeVar("Result")


def patiently(work: Callable[[], Result], moved: Callable[[], int] = lambda: 0) -> Result:
    """What `work` returns or raises; `moved` tells how much has moved so far.

    Raises TimeoutError once that is the same for `STALLED` seconds. Its thread is left behind then, since whoever waits
    for a dead host cannot be called back; being a daemon, it keeps no process alive.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # handed on, whatever it is
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    last, since = moved(), time.monotonic()
    while True:
        try:
            return outcome.result(min(_LOOK_EVERY, STALLED))
        except TimeoutError:
            if outcome.done():
                raise
        if (now := moved()) != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED:
            raise TimeoutError(f"nothing moved for {STALLED:.0f} seconds")
