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


# What runs and who asked for it, by a descriptor that can be read from once it has ended.
Running = dict[int, tuple[int, socket.socket]]


def serve(listener: socket.socket, initial: dict[str, str]) -> None:
    """Fork for every command until standard input ends; what returns is a process that is to run one."""
    running: Running = {}
    while True:
        ready, _, _ = select.select([0, listener, *running, *(asker for _, asker in running.values())], [], [])
        if 0 in ready:
            os._exit(0)
        for ended, (process, asker) in [*running.items()]:
            if ended in ready:
                tell(asker, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
                asker.close()
                os.close(ended)
                del running[ended]
            elif asker in ready:  # whoever asked is gone
                os.killpg(process, signal.SIGKILL)
        if listener in ready and begin(listener, running, initial):
            return


def begin(listener: socket.socket, running: Running, initial: dict[str, str]) -> bool:
    """Fork a command, if it would not differ from one that starts Python; whether this is its process."""
    asker, _ = listener.accept()
    request, streams, _, _ = socket.recv_fds(asker, MOST, 3)
    arguments, folder, environment, umask = marshal.loads(request) if request else ([], "", {}, 0)
    if starts_alike(initial, environment):
        process = os.fork()
        if process == 0:
            for connection in (listener, asker, *(other for _, other in running.values())):
                connection.close()
            become(arguments, folder, environment, umask, streams)
            return True
        os.setpgid(process, process)
        tell(asker, process)
        running[os.pidfd_open(process)] = process, asker
    else:
        asker.close()
    for stream in streams:
        os.close(stream)
    return False


def tell(asker: socket.socket, number: int) -> None:
    with suppress(ConnectionError):
        asker.send(str(number).encode())


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


def starts_alike(initial: dict[str, str], environment: dict[str, str]) -> bool:
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
