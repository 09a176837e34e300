"""Commands that are forked from a loaded Python behave as those that start one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import loaded
import pytest
from world import World, run

COMMAND = ["-P", "-m", "gitdata"]


@pytest.fixture
def python(world: World) -> Path:
    """What stands in for Python."""
    if loaded.python is None:
        pytest.skip("every command starts a Python of its own")
    return loaded.python.stand_in


@pytest.mark.parametrize("words", [["--version"], ["status"], ["init", "--help"], ["no such command"], ["logs", "x"]])
def test_they_end_and_say_the_same(world: World, python: Path, words: list[str]) -> None:
    started, forked = (run(program, *COMMAND, *words, cwd=world.clone.path) for program in (sys.executable, python))
    assert forked == started
    assert loaded.python is not None
    assert loaded.python.run(words, world.clone.path, dict(os.environ)) == (started.code, started.out, started.err)


def test_what_is_no_command_or_differs_in_what_python_reads_at_its_start_starts_one(world: World, python: Path) -> None:
    assert run(python, "-P", "-c", "print(6 * 7)", cwd=world.root).out == "42\n"
    assert loaded.python is not None
    assert loaded.python.run(["status"], world.root, {**os.environ, "PYTHONIOENCODING": "ascii"}) is None
    assert run(python, *COMMAND, "--version", cwd=world.root, env={"PYTHONIOENCODING": "ascii"}).code == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_they_end_by_the_same_signals(world: World, python: Path, how: signal.Signals) -> None:
    """While they follow the log of a job that nobody works on."""
    spool = world.server.spool
    id = spool.add(["refs/heads/main"])
    spool.log_path(id).write_text("begun\n")
    ends = []
    for program in (sys.executable, python):
        command = [program, *COMMAND, "logs", id, "--follow"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=world.server.path, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(how)
            ends.append((*process.communicate(), process.returncode))
    assert ends[0] == ends[1]
