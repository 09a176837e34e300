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
MOVED = ".legacy"
# For the top of a hook that serves several repositories: it does nothing in those that have no gitdata, and hands the
# refs that git wrote to its standard input on to what follows.
BY_HAND = """\
refs=$(cat)
own=$(git rev-parse --git-common-dir)/gitdata/hooks/{name}
if [ -x "$own" ]; then printf '%s\\n' "$refs" | "$own" "$@" || exit; fi
exec <<REFS
$refs
REFS"""
CLIENT_HOOKS = ("pre-push",)
TRAINING_HOOKS = ("post-merge", "post-rewrite", "post-checkout", "post-commit", "reference-transaction")
SERVER_HOOKS = ("post-receive",)
STRICT_HOOKS = ("pre-receive",)
HOOKS = (*CLIENT_HOOKS, *TRAINING_HOOKS, *SERVER_HOOKS, *STRICT_HOOKS)
TRAIN = "gitdata.train"
STRICT = "gitdata.strict"
UNWANTED = "gitdata.nohooks"  # after `uninstall` no command puts hooks back but `install` and `init`

Outcome = Literal["installed", "up to date", "by hand"]


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of one hook; `by hand`: its folder is shared, so the line to add is shown instead."""

    hook: str
    path: Path
    outcome: Outcome
    line: str = ""


def install(repo: Repo, *, server: bool = False, train: bool = False, strict: bool = False) -> list[Installed]:
    """Install the hooks of a clone, or with `server` those of a bare repository; repeating it changes nothing.

    `train`: this clone retrains after merges and pushes. `strict`: this server refuses pushes that are not sound. Both
    stay so until `uninstall`.
    """
    if strict and not server:
        raise Mendable(
            "It is a server that looks at what is pushed to it.",
            "Run `gitdata install --server --strict` in the bare repository.",
        )
    if train and repo.is_bare:
        raise Mendable(f"'{repo.top}' is bare: nobody merges here.", "Run `gitdata install --server`.")
    if train:
        repo.git.run("config", TRAIN, "true")
    if repo.git.config(UNWANTED) is not None:
        repo.git.run("config", "--unset-all", UNWANTED)
    vars(repo.git).pop("settings", None)  # read before
    if server and not repo.is_bare:
        raise Mendable(
            f"'{repo.top}' is not bare: nobody pushes to a work tree.",
            "Run `gitdata install --server` in the bare repository, or `gitdata install` here.",
        )
    if strict:
        repo.git.run("config", STRICT, "true")
        vars(repo.git).pop("settings", None)
    if repo.is_bare:
        repo.git.run("config", "receive.advertisePushOptions", "true")  # for `git push -o gitdata.skip`
        if repo.git.config("core.fsync") is None:
            repo.git.run("config", "core.fsync", "committed,reference")  # what was pushed survives a power cut
    return [_install(name, repo) for name in names(repo)]


def uninstall(repo: Repo) -> list[str]:
    """Take our hooks out and put back those that were kept; a sentence for each thing done."""
    done = []
    for folder in dict.fromkeys((_folder(repo), repo.state / "hooks")):
        for name in HOOKS:
            path = _place(folder, name)
            kept = path.with_name(path.name + KEPT)
            if not _is_ours(path):
                continue
            if kept.exists():
                durable.rename(kept, path)
                done.append(f"Put back the hook {path}, which was there before.")
            else:
                path.unlink()
                done.append(f"Removed the hook {path}.")
    if done:
        repo.git.run("config", UNWANTED, "true")
    if repo.git.config(TRAIN) is not None:
        repo.git.run("config", "--unset-all", TRAIN)
        done.append("This clone does not retrain any more.")
    if repo.git.config(STRICT) is not None:
        repo.git.run("config", "--unset-all", STRICT)
        done.append("What is pushed here is not looked at any more.")
    shared = repo.git.hooks_folder()
    if not _is_own(repo, shared):
        done += [
            f"Remove the lines that call gitdata/hooks/{name} from {shared / name} by hand."
            for name in HOOKS
            if _calls_ours(shared / name, name)
        ]
    return done


def recorded_python(repo: Repo, name: str) -> Path | None:
    """The Python that an installed hook starts."""
    path = _place(_folder(repo), name)
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        if line.startswith("python="):
            return Path(shlex.split(line.removeprefix("python="))[0])
    return None


def names(repo: Repo) -> tuple[str, ...]:
    """The hooks that belong into this repository."""
    if repo.is_bare:
        return SERVER_HOOKS + (STRICT_HOOKS if repo.git.config(STRICT) == "true" else ())
    return CLIENT_HOOKS + (TRAINING_HOOKS if repo.git.config(TRAIN) == "true" else ())


def missing(repo: Repo) -> bool:
    """Whether a hook of this clone is not installed, or not called from where core.hooksPath leads."""
    if repo.git.config(UNWANTED) == "true":
        return False
    folder = _folder(repo)
    return any(not _is_ours(_place(folder, name)) or needs_a_hand(repo, name) for name in names(repo))


def shim(name: str) -> bytes:
    """The text of a hook, with this Python's path in it."""
    template = (_templates() / (name if name in CLIENT_HOOKS + STRICT_HOOKS else "wake")).read_text()
    return template.replace("@python@", shlex.quote(sys.executable)).encode()


def _install(name: str, repo: Repo) -> Installed:
    path, content = _place(_folder(repo), name), shim(name)
    changed = not path.is_file() or path.read_bytes() != content
    if changed:
        _keep(path)
        durable.write(path, content, mode=0o777)
    if needs_a_hand(repo, name):
        return Installed(name, repo.git.hooks_folder() / name, "by hand", BY_HAND.format(name=name))
    return Installed(name, path, "installed" if changed else "up to date")


def _keep(path: Path) -> None:
    """Put somebody else's hook beside ours. Raises Mendable where one is kept there already."""
    if not path.exists() or _is_ours(path):
        return
    kept = path.with_name(path.name + KEPT)
    if kept.exists():
        raise Mendable(
            f"Both {path} and {kept} are hooks of others; gitdata keeps one.",
            f"Merge them into {path}, remove the other.",
        )
    durable.rename(path, kept)


def needs_a_hand(repo: Repo, name: str) -> bool:
    """Whether core.hooksPath leads out of this repository, to a hook that does not call ours yet."""
    folder = repo.git.hooks_folder()
    if _is_own(repo, folder):
        return False
    return not _calls_ours(folder / name, name)


def _calls_ours(path: Path, name: str) -> bool:
    return path.is_file() and f"gitdata/hooks/{name}" in path.read_text(errors="replace")


def _folder(repo: Repo) -> Path:
    """Git's folder of hooks; where core.hooksPath leads out of this repository, our own, to be called from there."""
    folder = repo.git.hooks_folder()
    return folder if _is_own(repo, folder) else repo.state / "hooks"


def _place(folder: Path, name: str) -> Path:
    """Where our hook lies: under its name, or where pre-commit put it, which then calls it."""
    moved = folder / f"{name}{MOVED}"
    return moved if _is_ours(moved) and not _is_ours(folder / name) else folder / name


def _is_own(repo: Repo, folder: Path) -> bool:
    return repo.git.common.resolve() in folder.parents


def _is_ours(path: Path) -> bool:
    return path.is_file() and MARKER in path.read_text(errors="replace")[:200]


def _templates() -> Path:
    """The folder of the shims: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "hooks"
    return inside if inside.is_dir() else package.parent / "hooks"
