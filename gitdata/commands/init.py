"""Init: makes a git repository a gitdata one, and a fresh clone of such a one ready for work."""

from __future__ import annotations

from pathlib import Path

from gitdata import durable
from gitdata.errors import Mendable
from gitdata.repo import DATA_REMOTE, MODELS_REMOTE, Repo
from gitdata.storage import config

IGNORED_EXTENSIONS = "/datasets/*/[0-9]*-????????/"
IGNORED_PACKAGES = "/models/*/[0-9]*-????????/"  # what a real dvc delivers on the ledger branch
IGNORED_TEMPORARY = f"{durable.TEMPORARY_PREFIX}*"
ATTRIBUTES = "datasets/**/*.dvc text eol=lf linguist-generated"
DVC_CONFIG = "[core]\n    analytics = false\n"
DVC_IGNORED = "/config.local\n/tmp\n/cache\n"
DVCIGNORE = "# Patterns of files dvc should ignore: https://dvc.org/doc/user-guide/dvcignore\n"
FILES = {".dvc/config": DVC_CONFIG, ".dvc/.gitignore": DVC_IGNORED, ".dvcignore": DVCIGNORE}
LINES = (
    *((".gitignore", line) for line in (IGNORED_EXTENSIONS, IGNORED_PACKAGES, IGNORED_TEMPORARY)),
    (".gitattributes", ATTRIBUTES),
)


def init(repo: Repo) -> list[str]:
    """Write what is missing, stage it, and derive the remote; a sentence for each thing done.

    Files that exist are kept; lines are added to .gitignore and .gitattributes. Nothing is committed.
    """
    top = repo.require_work_tree("init")
    done = []
    for name in dict.fromkeys([*FILES, *(name for name, _ in LINES), ".dvc/config.local"]):
        repo.writable(top / name)
    for name, content in FILES.items():
        _write_new(top / name, content)
    for name, line in LINES:
        _add_line(top / name, line)
    staged = [top / name for name in FILES if _in_index(repo, name) is None]
    staged += [top / name for name, line in LINES if line not in (_in_index(repo, name) or "").splitlines()]
    if staged:
        repo.git.stage(*staged)
        done.append(
            f"Staged {', '.join(path.relative_to(top).as_posix() for path in dict.fromkeys(staged))}: commit them."
        )
    if sentence := derive_remote(repo):
        done.append(sentence)
    return done


def is_initialised(repo: Repo) -> bool:
    """Whether `init` would find nothing to write into the work tree."""
    files = all((repo.top / name).is_file() for name in FILES)
    return files and all(_has_line(repo.top / name, line) for name, line in LINES)


def derive_remote(repo: Repo) -> str | None:
    """Name the store that belongs to the git remote in `.dvc/config.local`, for DVC's own commands too.

    A remote that somebody configured is left alone; without a git remote there is nothing to derive.
    """
    repo.dvc_config()  # what is malformed is an error; that nothing can be derived is not
    try:
        text = remote_to_derive(repo)
    except Mendable as error:
        return f"{error.message} {error.next_step}"
    if text is None:
        return None
    durable.write(_local_config(repo), text.encode(), mode=0o600)
    return f"Blobs go to {repo.blob_remote('data').url} (the store of the git remote '{repo.git_remote}')."


def remote_to_derive(repo: Repo) -> str | None:
    """What `.dvc/config.local` is to say; None where it says so, or where nothing can be derived."""
    if repo.git_remote is None:
        return None
    path = _local_config(repo)
    before = path.read_text(errors="replace") if path.is_file() else ""
    text = before
    if repo.blob_remote("data").name != DATA_REMOTE:
        text = config.without_default(text, DATA_REMOTE)  # somebody named another since
    for remote, default in ((repo.blob_remote("data"), True), (repo.blob_remote("models"), False)):
        if remote.name in (DATA_REMOTE, MODELS_REMOTE):
            text = config.set_remote(text, remote.name, remote.url, default=default)
    return None if text == before else text


def _local_config(repo: Repo) -> Path:
    return repo.top / ".dvc" / "config.local"


def _in_index(repo: Repo, name: str) -> str | None:
    """What git is about to commit of a file; a file that was written and not staged, by an init that died, is not."""
    return repo.git.try_text("show", f":{name}")


def _write_new(path: Path, content: str) -> None:
    if not path.exists():
        durable.write(path, content.encode())


def _add_line(path: Path, line: str) -> None:
    """Append a line unless it is there; whatever else the file holds stays, byte for byte."""
    if _has_line(path, line):
        return
    content = path.read_bytes() if path.is_file() else b""
    separator = b"\n" if content and not content.endswith(b"\n") else b""
    durable.write(path, content + separator + line.encode() + b"\n")


def _has_line(path: Path, line: str) -> bool:
    return path.is_file() and line.encode() in path.read_bytes().splitlines()
