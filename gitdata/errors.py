"""Every error a person can meet.

Classes are cut by what a handler would do, not by where the error arose; each carries the exit code that
`docs/errors.md` documents. A message names the thing, says what is wrong, and says what to do next.
Only `gitdata.cli` and `gitdata.automation.hooks` turn an error into an exit code.
"""

from __future__ import annotations

OK = 0
FINDINGS = 1
INTERRUPTED = 130


class GitdataError(Exception):
    """The root of the hierarchy: `message` says what is wrong, `next_step` how to go on."""

    exit_code = 3

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n{self.next_step}" if self.next_step else self.message


class Mendable(GitdataError):
    """A mistake in usage or input: a person mends it and calls again."""

    exit_code = 2


class DataUnavailable(GitdataError):
    """Data that a command needs is missing or corrupt: another copy is needed."""

    exit_code = 4


class TryAgain(GitdataError):
    """A remote is away or a result could not be published: the same call may succeed later."""

    exit_code = 5


class Interrupted(KeyboardInterrupt):
    """A person interrupted what can be gone on with; the text says where it stood."""


class GateRefused(GitdataError):
    """The gate refused a new model version; the champion stays."""

    exit_code = 6


def as_gitdata_error(error: Exception) -> GitdataError:
    """An error as one of ours: what is none is a bug, told as such."""
    if isinstance(error, GitdataError):
        return error
    return GitdataError(f"This is a bug in gitdata: {type(error).__name__}: {error}", "Please report it.")
