"""Interruption: whoever presses Ctrl-C during a chunk is heard when that is done; no step is half taken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Interruption:
    """Whether it was asked for."""

    asked: bool = False


@contextmanager
def heard() -> Iterator[Interruption]:
    """Within, signals that would interrupt are noted instead of raised; after the first one they are raised at once.

    Those are SIGINT, and SIGTERM where it does the same; in the main thread, where alone Python raises them.
    """
    interruption = Interruption()
    is_main = threading.current_thread() is threading.main_thread()
    raising = [number for number in SIGNALS if is_main and signal.getsignal(number) is signal.default_int_handler]

    def note(number: int, frame: Any) -> None:
        interruption.asked = True
        restore()

    def restore() -> None:
        for number in raising:
            signal.signal(number, signal.default_int_handler)

    for number in raising:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
