"""Repositories for benchmarks, and gitdata as a process in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GITDATA = [sys.executable, "-P", "-m", "gitdata"]
BARE = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import jax, flax.nnx
(jax.numpy.ones(3) + 1).block_until_ready()
"""


def call(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def repository(folder: Path) -> Path:
    folder.mkdir()
    call("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    for key, value in (("user.name", "b"), ("user.email", "b@example.invalid")):
        call("git", "config", key, value, cwd=folder)
    call(*GITDATA, "init", cwd=folder)
    (folder / "models").mkdir()
    return folder


def forget(repo: Path, ledger: str | None) -> None:
    """Let the ledger be what it was, or nothing."""
    change = ["refs/heads/gitdata/models", ledger] if ledger else ["-d", "refs/heads/gitdata/models"]
    call("git", "update-ref", *change, cwd=repo)
    (repo / ".git" / "gitdata" / "ledgers" / "own").unlink(missing_ok=True)
