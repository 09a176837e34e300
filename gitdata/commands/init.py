"""Init: makes a git repository a gitdata one, and a fresh clone of such a one ready for work."""

from __future__ import annotations

from pathlib import Path

from gitdata import durable
from gitdata.errors import Mendable
from gitdata.repo import DATA_REMOTE, MODELS_REMOTE, Repo
from gitdata.storage import config

IGNORED_EXTENSIONS = "/datasets/*/[0-9]*-????????/"
ATTRIBUTES = "datasets/**/*.dvc text eol=lf linguist-generated"
DVC_CONFIG = "[core]\n    analytics = false\n"
DVC_IGNORED = "/config.local\n/tmp\n/cache\n"
DVCIGNORE = "# Patterns of files dvc should ignore: https://dvc.org/doc/user-guide/dvcignore\n"


def init(repo: Repo) -> list[str]:
    """Write what is missing, stage it, and derive the remote; a sentence for each thing done.

    Files that exist are kept; lines are added to .gitignore and .gitattributes. Nothing is committed.
    """
    top = repo.require_work_tree("init")
    done = []
    staged = [
        path
        for path, content in (
            (top / ".dvc" / "config", DVC_CONFIG),
            (top / ".dvc" / ".gitignore", DVC_IGNORED),
            (top / ".dvcignore", DVCIGNORE),
        )
        if _write_new(path, content)
    ]
    staged += [
        path
        for path, line in ((top / ".gitignore", IGNORED_EXTENSIONS), (top / ".gitattributes", ATTRIBUTES))
        if _add_line(path, line)
    ]
    if staged:
        repo.git.stage(*staged)
        done.append(f"Staged {', '.join(path.relative_to(top).as_posix() for path in staged)}: commit them.")
    if sentence := derive_remote(repo):
        done.append(sentence)
    return done


def derive_remote(repo: Repo) -> str | None:
    """Name the store that belongs to the git remote in `.dvc/config.local`, for DVC's own commands too.

    A remote that somebody configured is left alone; without a git remote there is nothing to derive.
    """
    path = repo.top / ".dvc" / "config.local"
    text = path.read_text(errors="replace") if path.is_file() else ""
    if repo.git_remote is None:
        return None
    try:
        data, models = repo.blob_remote("data"), repo.blob_remote("models")
    except Mendable as error:
        return f"{error.message} {error.next_step}"
    for remote, default in ((data, True), (models, False)):
        if remote.name in (DATA_REMOTE, MODELS_REMOTE):
            text = config.set_remote(text, remote.name, remote.url, default=default)
    if path.is_file() and path.read_text() == text:
        return None
    durable.write(path, text.encode(), mode=0o600)
    return f"Blobs go to {data.url} (the store of the git remote '{repo.git_remote}')."


def _write_new(path: Path, content: str) -> bool:
    if path.exists():
        return False
    durable.write(path, content.encode())
    return True


def _add_line(path: Path, line: str) -> bool:
    """Append a line unless it is there; whatever else the file holds stays, byte for byte."""
    content = path.read_bytes() if path.is_file() else b""
    if line.encode() in content.splitlines():
        return False
    separator = b"\n" if content and not content.endswith(b"\n") else b""
    durable.write(path.resolve(), content + separator + line.encode() + b"\n")
    return True
