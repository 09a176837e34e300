"""Checkpoints: what an interrupted run goes on from, one file for each, written between two chunks.

A file holds weights and optimiser state, the steps done, from which the position of the shuffle follows, and what
whoever steers the run remembers. It serves the run with the very same key only: the question that is being answered,
the data, the declaration, and the programs that compute. A file that is damaged, or another run's, is no checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gitdata import durable

_DIGEST = 65  # bytes: sha256 of what follows, in hex, and a newline


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a run stands: steps done, arrays by name, the seconds that it took, and what is remembered besides."""

    steps: int
    arrays: dict[str, NDArray[np.generic]]
    seconds: float
    known: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Checkpoint:
    """The checkpoint of one run: `key` says which; `every`: seconds between two writes, at least.

    `before`: the seconds that the run took up to what was read.
    """

    path: Path
    key: str
    every: float
    say: Callable[[str], None]
    before: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _said: bool = False

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._since >= self.every

    def write(self, saved: Saved) -> bool:
        """Keep this in place of what was kept before, whole or not at all; whether that was possible.

        A training does not end because of a full disk: what it comes to may be smaller, or have room by then.
        """
        about = {"key": self.key, "known": saved.known, "seconds": saved.seconds, "steps": saved.steps}
        body = json.dumps(about).encode() + b"\n" + save({k: np.asarray(v, order="C") for k, v in saved.arrays.items()})
        digest = hashlib.sha256(body).hexdigest()
        try:
            durable.write(self.path, f"{digest}\n".encode() + body, 0o600)
        except OSError as error:
            self._say_once(f"The checkpoint could not be written ({error.strerror}); training goes on without.")
            return False
        finally:
            self._since = time.monotonic()
        return True

    def _say_once(self, text: str) -> None:
        if not self._said:
            self.say(text)
            self._said = True

    def read(self) -> Saved | None:
        """What was kept of this run; None where there is nothing, or nothing that can be trusted."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        saved = _decoded(content, self.key)
        if saved is None:
            self.say(f"The checkpoint {self.path.name} is damaged, or another run's: starting anew.")
        else:
            self.before = saved.seconds
        return saved

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            durable.remove(self.path)


def _decoded(content: bytes, key: str) -> Saved | None:
    digest, body = content[: _DIGEST - 1], content[_DIGEST:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    head, _, tensors = body.partition(b"\n")
    try:
        about = json.loads(head)
        if about["key"] != key:
            return None
        return Saved(int(about["steps"]), dict(load(tensors)), float(about["seconds"]), dict(about["known"]))
    except (ValueError, KeyError, TypeError, SafetensorError):
        return None
