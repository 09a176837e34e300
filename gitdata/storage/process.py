"""Git as a process: its environment, and how it fails. Git's variables, which hooks inherit, are scrubbed for all."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gitdata.errors import GitdataError, Mendable

# `git rev-parse --local-env-vars`, and the quarantine of pre-receive, which that list lacks.
LOCAL_ENVIRONMENT = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)

# Another git is at work on the index or on HEAD; git has changed nothing then, so that it may be asked again.
_LOCKED = re.compile(r"index\.lock': File exists|cannot lock ref 'HEAD'")
PATIENCE = 5.0  # seconds in which others may finish
_LOOK_EVERY = 0.05  # seconds


class GitFailed(GitdataError):
    """A git command failed; `stderr` is what it said: mostly what a person can mend in the repository."""

    exit_code = 2

    def __init__(self, arguments: Sequence[str], status: int, stderr: str, stdout: str = "") -> None:
        super().__init__(
            f"`git {' '.join(without_settings(arguments)[:2])}` failed ({status}): {stderr.strip()}",
            "Mend that in git, then try again.",
        )
        self.status = status
        self.stderr = stderr
        self.stdout = stdout


class TooMuch(Exception):
    """An answer of git is longer than anybody needs who means well."""


def scrubbed_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without git's local variables: the folder alone decides the repository."""
    environment = {key: value for key, value in os.environ.items() if key not in LOCAL_ENVIRONMENT}
    return environment | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | dict(extra or {})


def run_git(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """The standard output of a git command in a folder.

    Raises GitFailed, and Mendable where there is no git, or another one holds the index and goes on to.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return _run_once(arguments, folder, stdin, environment)
        except GitFailed as error:
            if not _LOCKED.search(error.stderr):
                raise
            if time.monotonic() >= until:
                raise Mendable(
                    f"Another git is at work in this repository: {error.stderr.strip().splitlines()[0]}",
                    "Run the same command again; if no git is at work there, remove that lock file before.",
                ) from error
        time.sleep(_LOOK_EVERY)


def _run_once(
    arguments: Sequence[str], folder: Path, stdin: bytes | None, environment: Mapping[str, str] | None
) -> bytes:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=scrubbed_environment(environment),
            check=False,
        )
    except FileNotFoundError as error:
        raise Mendable("git was not found.", "Install git 2.34 or newer and put it on the PATH.") from error
    if done.returncode != 0:
        said = (
            done.stderr.decode(errors="replace").replace("\r\n", "\n"),
            done.stdout.decode(errors="surrogateescape"),
        )
        raise GitFailed(arguments, done.returncode, *said)
    return done.stdout


def read_git(arguments: Sequence[str], folder: Path, most: int, environment: Mapping[str, str]) -> bytes:
    """As `run_git`, for an answer whose length others decide on: git is stopped where it has more than `most` bytes.

    Raises TooMuch then, and GitFailed.
    """
    with subprocess.Popen(
        ["git", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=scrubbed_environment(environment),
    ) as git:
        assert git.stdout is not None
        answer = git.stdout.read(most + 1)
        if len(answer) > most:
            git.kill()
            raise TooMuch(f"`git {arguments[0]}` has more than {most:,} bytes to say.")
    if git.returncode != 0:
        raise GitFailed(arguments, git.returncode, "")
    return answer


def without_settings(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments without the settings that we put before them."""
    while arguments[:1] == ("-c",):
        arguments = arguments[2:]
    return arguments
