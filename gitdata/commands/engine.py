"""Engine: JAX as this process is to use it, and what of model files this machine's owner lets it run."""

from __future__ import annotations

import os
from pathlib import Path

from gitdata.errors import Mendable
from gitdata.repo import Repo

_SETTING = "gitdata.allowpython"  # as git lists it
_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "": False,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def prepare_training(repo: Repo) -> None:
    """Set JAX up; before anything imports it. Python beside model files may run where git's configuration says so."""
    from gitdata.training.environment import prepare

    prepare(compile_cache())
    if allows_python(repo):
        from gitdata.training.python import allow

        allow()


def allows_python(repo: Repo) -> bool:
    """Whether git's configuration, which nobody can push, lets Python of model files and packages run."""
    value = repo.git.config(_SETTING)
    if value is None:
        return False
    if value.strip().lower() not in _WORDS:
        raise Mendable(
            f"gitdata.allowPython is '{value}', which is neither true nor false.", "Set it to true or false."
        )
    return _WORDS[value.strip().lower()]


def compile_cache() -> Path | None:
    """Where compiled programs are kept for this user; `GITDATA_COMPILE_CACHE` moves it, empty turns it off."""
    chosen = os.environ.get("GITDATA_COMPILE_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "gitdata" / "compiled"
