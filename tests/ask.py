"""Ask a Python that has loaded gitdata (`loaded.py`) to run a command: a stand-in for `python` that starts none.

As a program, `ask.py SOCKET PYTHON ARGUMENT…`, it stands where hooks and runners have the path of Python. The command
has its folder, environment, umask and streams, and it ends as the command does; signals are passed on, and if it is
killed, so is the command. What is no command of gitdata, and what the loaded Python does not take, the real one gets.
"""

from __future__ import annotations

import marshal  # loads nothing, where json loads half of Python
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

GITDATA = ["-P", "-m", "gitdata"]
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def ask(
    address: str,
    arguments: Sequence[str],
    folder: str,
    environment: dict[str, str],
    streams: Sequence[int],
    begun: Callable[[int], None] = lambda process: None,
) -> int | None:
    """The exit code of a command, as `subprocess` has it; None where the loaded Python is away or does not take it."""
    umask = os.umask(0)
    os.umask(umask)
    request = marshal.dumps([list(arguments), folder, environment, umask])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as loaded:
        try:
            loaded.connect(address)
            socket.send_fds(loaded, [request], streams)
            process = loaded.recv(32)
        except OSError:
            return None
        if not process:
            return None
        begun(int(process))
        return int(loaded.recv(32))


def _pass_signals_on(process: int) -> None:
    def send(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, number)

    for number in PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, send)


def main() -> None:
    address, python, *arguments = sys.argv[1:]
    code = None
    if arguments[:3] == GITDATA:
        folder = os.getcwd()  # noqa: PTH109  # pathlib loads as much
        code = ask(address, arguments[3:], folder, dict(os.environ), (0, 1, 2), _pass_signals_on)
    if code is None:
        os.execv(python, [python, *arguments])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
