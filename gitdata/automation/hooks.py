"""Hooks: the shell shims that git runs, and how they come into a repository.

A shim is dumb: it filters in sh what needs no work and hands the rest to the Python that installed it. A hook
that was there before is kept beside it as `<hook>.before-gitdata` and runs first.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitdata import durable
from gitdata.errors import Mendable
from gitdata.repo import Repo

MARKER = "# gitdata-hook "
KEPT = ".before-gitdata"
CLIENT_HOOKS = ("pre-push",)
SERVER_HOOKS = ("post-receive",)

Outcome = Literal["installed", "up to date", "by hand"]


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of one hook; `by hand`: its folder is shared, so the line to add is shown instead."""

    hook: str
    path: Path
    outcome: Outcome
    line: str = ""


def install(repo: Repo, *, server: bool = False) -> list[Installed]:
    """Install the hooks of a clone, or with `server` those of a bare repository; repeating it changes nothing."""
    if server and not repo.is_bare:
        raise Mendable(
            f"'{repo.top}' is not bare: nobody pushes to a work tree.",
            "Run `gitdata install --server` in the bare repository, or `gitdata install` here.",
        )
    folder = repo.git.hooks_folder()
    names = SERVER_HOOKS if repo.is_bare else CLIENT_HOOKS
    return [_install(name, folder, shared=repo.git.common.resolve() not in folder.parents) for name in names]


def missing(repo: Repo) -> bool:
    """Whether a hook of this clone is not installed."""
    folder = repo.git.hooks_folder()
    return any(not _is_ours(folder / name) for name in (SERVER_HOOKS if repo.is_bare else CLIENT_HOOKS))


def shim(name: str) -> bytes:
    """The text of a hook, with this Python's path in it."""
    template = (_templates() / name).read_text()
    return template.replace("@python@", shlex.quote(sys.executable)).encode()


def _install(name: str, folder: Path, *, shared: bool) -> Installed:
    path, content = folder / name, shim(name)
    if shared:
        # core.hooksPath leads out of this repository: the folder serves others too, so it is not ours to write.
        source = _templates() / name
        return Installed(name, path, "by hand", f'sed "s|@python@|{sys.executable}|" {source} | sh -s -- "$@"')
    if path.is_file() and path.read_bytes() == content:
        return Installed(name, path, "up to date")
    if path.exists() and not _is_ours(path):
        durable.rename(path, path.with_name(name + KEPT))
    durable.write(path, content, mode=0o777)
    return Installed(name, path, "installed")


def _is_ours(path: Path) -> bool:
    return path.is_file() and MARKER in path.read_text(errors="replace")[:200]


def _templates() -> Path:
    """The folder of the shims: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "hooks"
    return inside if inside.is_dir() else package.parent / "hooks"
