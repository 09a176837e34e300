"""A Python that has loaded gitdata and all it stands on, and forks for every command: loading is most of its time.

What is forked is a process of its own, as `python -P -m gitdata` is; only the loading is not done again, which few
tests are about: those start Python themselves. GITDATA_TEST_FRESH=1 lets all of them do so.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ask import ask

HERE = Path(__file__).parent

python: LoadedPython | None = None  # this session's, once the environment of the tests stands


class LoadedPython:
    """Loads gitdata when the first command is asked for; `stand_in` is what hooks start then in place of Python."""

    def __init__(self, folder: Path) -> None:
        self._environment = dict(os.environ)
        self._address = f"{folder}/loaded"
        self.stand_in = folder / "python"

    @cached_property
    def _process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-IS", HERE / "ask.py", self._address, sys.executable]
        self.stand_in.write_text(f'#!/bin/sh\nexec {shlex.join(str(part) for part in command)} "$@"\n')
        self.stand_in.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self._address)
            listener.listen(100)
            return subprocess.Popen(
                [sys.executable, "-P", HERE / "fork_server.py", str(listener.fileno()), self.stand_in],
                stdin=subprocess.PIPE, env=self._environment, pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip

    def run(self, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str] | None:
        """Exit code and output of a command of gitdata; None where it needs a Python of its own."""
        assert self._process.poll() is None
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, Path(os.devnull).open() as empty:
            streams = (empty.fileno(), out.fileno(), err.fileno())
            code = ask(self._address, arguments, str(folder), environment, streams)
            out.seek(0)
            err.seek(0)
            return None if code is None else (code, out.read(), err.read())

    def close(self) -> None:
        if "_process" in vars(self):
            self._process.communicate()  # it ends with its standard input
