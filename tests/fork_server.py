"""The program behind `loaded.py`: it loads gitdata, and forks for every command that somebody asks for (`ask.py`)."""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
from contextlib import suppress

# What gitdata imports at the moment it needs it.
LATE = (
    "csv", "difflib", "getpass", "filelock", "platformdirs", "concurrent.futures.thread", "dvc.fs", "fsspec.asyn",
    "pyarrow.compute", "pyarrow.csv", "pyarrow.json", "pyarrow.parquet", "PIL.Image", "rich.console", "rich.table",
    "ruamel.yaml",
)  # fmt: skip
# Variables that nobody reads while loading, or that loading JAX sets; where another differs, Python is started. The
# runner's LC_ALL=C is UTF-8 to Python, as no locale is.
HARMLESS = ("GIT_", "GITDATA_", "SSH_", "PYTEST_")
HARMLESS_TOO = {
    "HOME",
    "LC_ALL",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHLVL",
    "_",
    "TPU_SKIP_MDS_QUERY",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
}
MOST = 1 << 20  # bytes of a request


def serve(listener: socket.socket, initial: dict[str, str]) -> None:
    """Fork for every command, until standard input ends; what returns is the process that is to run the command."""
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return attend(connection, initial)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def attend(connection: socket.socket, initial: dict[str, str]) -> None:
    """Fork the command and tell how it ended; kill it if whoever asked is gone. Returns in the command."""
    request, streams, _, _ = socket.recv_fds(connection, MOST, 3)
    arguments, folder, environment, umask = marshal.loads(request)
    if not _starts_alike(initial, environment):
        os._exit(0)
    process = os.fork()
    if process == 0:
        connection.close()
        return become(arguments, folder, environment, umask, streams)
    os.setpgid(process, process)
    for stream in streams:
        os.close(stream)
    with suppress(ConnectionError):
        connection.send(str(process).encode())
    ended = os.pidfd_open(process)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with suppress(ConnectionError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def become(arguments: list[str], folder: str, environment: dict[str, str], umask: int, streams: list[int]) -> None:
    """Take on what a process is started with."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


def _starts_alike(initial: dict[str, str], environment: dict[str, str]) -> bool:
    different = {name for name, _ in initial.items() ^ environment.items()}
    return all(name.startswith(HARMLESS) or name in HARMLESS_TOO for name in different)


def load() -> None:
    """Import everything; afterwards no collection of garbage touches, and so copies, what the forked ones share."""
    import gitdata
    from gitdata.training.environment import prepare

    prepare(None)
    for module in pkgutil.walk_packages(gitdata.__path__, "gitdata."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    from jax._src import xla_bridge

    assert not xla_bridge.backends_are_initialized(), "JAX has threads, so it must not be forked any more"
    gc.collect()
    gc.freeze()


def run_and_exit() -> None:
    """Run the command and end without taking the modules apart, as what `multiprocessing` forks does."""
    from gitdata.__main__ import main

    try:
        main()
    except SystemExit as end:
        code = end.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    sys.executable = sys.argv[2]
    initial = dict(os.environ)
    load()
    serve(listener, initial)
    run_and_exit()
