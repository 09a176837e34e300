"""Retract: declares an extension bad, or takes that back. It stays in the DAG and in history, and leaves `live`."""

from __future__ import annotations

from pathlib import Path

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.lineage import saw
from gitdata.commands.records import Record, Say, silent
from gitdata.data.pointer import FORMAT, Extension
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, RETRACTED, read_retraction


def retract(repo: Repo, reference: str, reason: str, message: str | None, say: Say = silent) -> Record:
    """Write and stage the retraction of an extension; the record names the versions that saw it."""
    extension, path = _named(repo, "retract", reference)
    if not reason.strip():
        raise Mendable("A retraction needs a reason.", "Give one: `--reason TEXT`.")
    declare_bad(repo, extension, reason)
    if message is not None and repo.git.try_text("diff", "--quiet", "HEAD", "--", str(path)) is None:
        repo.git.commit(message, path)
    return _record(repo, extension, path, reason.strip(), retracted=True, committed=message is not None)


def declare_bad(repo: Repo, extension: Extension, reason: str) -> Path:
    """Write and stage a retraction; its file."""
    path = retraction_place(repo, extension)
    content = readable_json({"format": FORMAT, "id": extension.id, "reason": reason.strip()})
    before = path.read_bytes() if path.is_file() else None
    if content != before:
        durable.write(path, content)
    try:
        repo.git.stage(path)
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        raise
    return path


def undo(repo: Repo, reference: str, message: str | None, say: Say = silent) -> Record:
    """Take a retraction back: the extension is live again."""
    extension, path = _named(repo, "retract --undo", reference)
    if not path.is_file():
        raise Mendable(f"{reference} is not retracted.", f"See `gitdata log {extension.dataset}`.")
    reason = _known(repo, path) or ""
    repo.git.run("rm", "--quiet", "--force", "--ignore-unmatch", "--", str(path))
    path.unlink(missing_ok=True)  # git leaves what it does not track
    if message is not None:
        repo.git.commit(message, path)
    return _record(repo, extension, path, reason, retracted=False, committed=message is not None)


def _named(repo: Repo, command: str, reference: str) -> tuple[Extension, Path]:
    repo.require_work_tree(command)
    repo.require_initialised()
    dataset, _, selector = reference.partition("@")
    snapshot = repo.work_tree_snapshot()
    chain = snapshot.chain(dataset)
    if not selector:
        versions = ", ".join(e.version for e in chain.ordered(repo.live(chain)))
        raise Mendable(f"'{reference}' names no extension; live ones: {versions}.", f"Name one: `{dataset}@VERSION`.")
    _, named = snapshot.extensions(reference)
    return named[0], retraction_place(repo, named[0])


def retraction_place(repo: Repo, extension: Extension) -> Path:
    """The file whose existence declares an extension bad."""
    return repo.top / DATASETS / extension.dataset / RETRACTED / f"{extension.id}.json"


def _known(repo: Repo, path: Path) -> str | None:
    """The reason of a retraction that is there; None where it is damaged."""
    try:
        found = read_retraction(path.relative_to(repo.top).as_posix(), path.read_bytes())
    except GitdataError:
        return None
    return found.reason if found else None


def _record(repo: Repo, extension: Extension, path: Path, reason: str, *, retracted: bool, committed: bool) -> Record:
    return Record(
        "retraction",
        extension.id,
        {
            "committed": committed,
            "dataset": extension.dataset,
            "path": path.relative_to(repo.top).as_posix(),
            "reason": reason,
            "retracted": retracted,
            "seen_by": saw(repo.ledgers(repo.ledger_commit()), extension.id),
            "version": extension.version,
        },
    )
