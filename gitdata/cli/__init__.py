"""The command line: parse, call a command, print. Errors become exit codes here and nowhere else."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from gitdata import __version__
from gitdata.cli import data, models, runner, setup
from gitdata.cli.shared import app, command_line
from gitdata.errors import INTERRUPTED, GitdataError, Mendable
from gitdata.report.tables import printable

__all__ = ["app", "data", "main", "models", "runner", "setup"]

# click.ClickException; newer typer carries a click of its own, so the class is found through one that typer exports.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


@app.callback(invoke_without_command=True)
def _global(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show_version:
        print(f"gitdata {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of the documented codes."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  # it lasts as long as we do
    gc.set_threshold(1_000_000)  # thousands of extensions are no garbage, and looking through them takes long
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who stops us politely finds nothing half-done
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ★ shows a ?
    try:
        command = command_line(sys.argv[1:] if arguments is None else arguments)
        if "_GITDATA_COMPLETE" in os.environ:
            from typer.completion import completion_init  # type: ignore[attr-defined]

            completion_init()
        status = command.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="gitdata",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except GitdataError as error:
        return _explain(error)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return INTERRUPTED
    except USAGE_ERROR as error:
        error.show()
        return Mendable.exit_code
    except KeyboardInterrupt:
        print("gitdata: interrupted; nothing half-done is left", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _give_up_full_stdout()
        return _explain(_from_system(error))
    except Exception as error:  # the last line of defence: a bug of ours, told in a way that can be reported
        return _report_bug(error)


def _give_up_full_stdout() -> None:
    """Where standard output itself is on the full disk, Python would try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: GitdataError) -> int:
    first, *more = error.message.splitlines() or [""]
    print(printable(f"gitdata: {first}"), file=sys.stderr)
    for line in more:
        print(printable(f"         {line}"), file=sys.stderr)
    if error.next_step:
        print(printable(f"         {error.next_step}"), file=sys.stderr)
    return error.exit_code


def _from_system(error: OSError) -> GitdataError:
    """What the operating system refuses (permissions, a full disk) is for a person to mend."""
    where = f"'{error.filename}': " if error.filename else ""
    return Mendable(f"{where}{error.strerror or error}.", "Mend that, then run the same command again.")


def _report_bug(error: Exception) -> int:
    import platform
    import traceback

    what = printable(f"gitdata: this is a bug in gitdata {__version__}: {type(error).__name__}: {error}")
    print(what, file=sys.stderr)
    print("         Please report it with the following lines.", file=sys.stderr)
    print(
        f"         python {platform.python_version()} on {platform.platform()}; {' '.join(sys.argv[1:])}",
        file=sys.stderr,
    )
    for line in "".join(traceback.format_exception(error)).splitlines():
        print(printable(f"         {line}"), file=sys.stderr)
    return GitdataError.exit_code
