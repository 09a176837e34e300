"""Commands in this process: bad input is many calls, and starting Python for each would take most of the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from world import Done

from gitdata import cli


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run a command line in a folder; its exit code and what it printed."""

    def run(folder: Path, *arguments: str | Path) -> Done:
        monkeypatch.chdir(folder)
        capfd.readouterr()
        code = cli._run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run
