"""The world that flows are told in: a server, clones, and rows of real lattice simulations."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loaded

from gitdata.automation import hooks
from gitdata.automation.demo import DECLARATION, SOURCE
from gitdata.automation.jobs import Job, Spool
from gitdata.automation.watch import wait_until_idle
from gitdata.commands.init import init as initialise
from gitdata.repo import Repo

PATIENCE = 240.0


@dataclass(frozen=True)
class Done:
    """A finished command: exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*command: str | Path, cwd: Path, stdin: str | None = None, env: dict[str, str] | None = None) -> Done:
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return Done(finished.returncode, finished.stdout, finished.stderr)


def run_gitdata(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """A command of gitdata, as a process of its own; Python is only started for it where that makes a difference."""
    words = [str(argument) for argument in arguments]
    ended = loaded.python.run(words, cwd, {**os.environ, **(env or {})}) if loaded.python else None
    return Done(*ended) if ended else run(sys.executable, "-P", "-m", "gitdata", *words, cwd=cwd, env=env)


@dataclass(frozen=True)
class Place:
    """A folder in which commands are run."""

    path: Path

    def git(self, *arguments: str | Path, env: dict[str, str] | None = None, ok: bool = True) -> str:
        done = run("git", *arguments, cwd=self.path, env=env)
        assert (done.code == 0) == ok, (arguments, done)
        return (done.out + done.err).strip()

    def gitdata(self, *arguments: str | Path, env: dict[str, str] | None = None, code: int = 0) -> Done:
        done = run_gitdata(*arguments, cwd=self.path, env=env)
        assert done.code == code, (arguments, done)
        assert "Traceback" not in done.err, done.err
        return done

    @property
    def repo(self) -> Repo:
        return Repo(self.path)


class Clone(Place):
    """A work tree."""

    def commit(self, message: str = "change", *paths: str) -> str:
        self.git("add", "--all", *paths)
        self.git("commit", "--quiet", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *arguments: str, ok: bool = True) -> str:
        return self.git("push", *(arguments or ("origin", "HEAD:main")), ok=ok)

    def declare(self, name: str = "lattice", text: str = "", **replacements: str) -> None:
        """Write a model file; `replacements` change words of the demo's declaration, short epochs by default."""
        content = text or DECLARATION.replace("epochs = 200", "epochs = 20")
        for old, new in replacements.items():
            assert old in content, old
            content = content.replace(old, new)
        path = self.path / "models" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


class Server(Place):
    """A bare repository whose hook retrains."""

    @property
    def spool(self) -> Spool:
        return Spool(self.path / "gitdata")

    def wait(self) -> Job:
        """Wait for the runner; the last job. All must have succeeded."""
        assert wait_until_idle(self.spool, PATIENCE), "the runner did not end"
        for job in self.spool.jobs():
            assert job.state == "done", (job, (self.spool.logs / f"{job.id}.log").read_text())
        return job

    def ledger(self) -> list[dict[str, Any]]:
        return self.gitdata("models", "--json").records

    @property
    def store(self) -> Path:
        return self.path / "gitdata" / "remote"


@dataclass(frozen=True)
class World:
    root: Path
    server: Server
    clone: Clone

    @classmethod
    def make(cls, root: Path, *, init: bool = True) -> World:
        server, clone = Server(root / "server.git"), Clone(root / "clone")
        run("git", "init", "--quiet", "--bare", "--initial-branch=main", server.path, cwd=root)
        run("git", "init", "--quiet", "--initial-branch=main", clone.path, cwd=root)
        clone.git("remote", "add", "origin", str(server.path))
        if init:
            hooks.install(server.repo, server=True)
            initialise(clone.repo)
            hooks.install(clone.repo)
        return cls(root, server, clone)

    def copy(self, root: Path) -> World:
        """The same world at another place: where it names its own place, it names the other."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        for pattern in ("*/.git/config", "*/.dvc/config.local"):
            for path in root.glob(pattern):
                path.write_text(path.read_text().replace(str(self.root), str(root)))
        return World(root, Server(root / self.server.path.name), Clone(root / self.clone.path.name))

    def another_clone(self, name: str = "another") -> Clone:
        other = Clone(self.root / name)
        run("git", "clone", "--quiet", self.server.path, other.path, cwd=self.root)
        other.gitdata("init")
        return other

    def lattice(self, name: str, first: int, last: int) -> Path:
        """A CSV file with the lattice runs `first` up to but not including `last`, in time order."""
        header, *lines = SOURCE.read_text().splitlines()
        path = self.root / "incoming" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([header, *lines[16 * first : 16 * last]]) + "\n")
        return path


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds that another process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"


def fingerprint(*folders: Path, digest: str = "sha256") -> dict[str, str]:
    """Every file below some folders with the digest of its content: what must not have changed."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                found[str(path)] = hashlib.new(digest, path.read_bytes()).hexdigest()
    return found
