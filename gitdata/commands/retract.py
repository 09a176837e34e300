"""Retract: declares extensions bad, or takes that back. They stay in the DAG and in history, and leave `live`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gitdata import durable
from gitdata.commands.lineage import saw
from gitdata.commands.records import Record, Say, silent
from gitdata.data.pointer import Extension
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, RETRACTED, Retraction, encode_retraction, read_retraction


def retract(repo: Repo, references: Sequence[str], reason: str, message: str | None, say: Say = silent) -> list[Record]:
    """Write and stage the retractions of extensions; the records name the versions that saw them."""
    named = [_named(repo, "retract", reference) for reference in references]
    if not reason.strip():
        raise Mendable("A retraction needs a reason.", "Give one: `--reason TEXT`.")
    paths = declare_bad(repo, [extension for extension, _ in named], reason)
    changed = repo.git.try_text("diff", "--quiet", "HEAD", "--", *map(str, paths)) is None
    if message is not None and changed:
        repo.git.commit(message, *paths)
    committed = message is not None
    return [_record(repo, e, path, reason.strip(), retracted=True, committed=committed) for e, path in named]


def declare_bad(repo: Repo, extensions: Sequence[Extension], reason: str) -> list[Path]:
    """Write and stage retractions; their files."""
    paths = [repo.writable(retraction_place(repo, extension)) for extension in extensions]
    with ExitStack() as unless_staged:
        for extension, path in zip(extensions, paths, strict=True):
            if not path.is_file():
                unless_staged.callback(path.unlink, missing_ok=True)
            known = _read(repo, path)
            content = encode_retraction(
                Retraction(extension.dataset, extension.id, reason.strip(), known is not None and known.purged)
            )
            if not path.is_file() or path.read_bytes() != content:
                durable.write(path, content)
        repo.git.stage(*paths)
        unless_staged.pop_all()
    return paths


def undo(repo: Repo, references: Sequence[str], message: str | None, say: Say = silent) -> list[Record]:
    """Take retractions back: the extensions are live again."""
    named = [(reference, *_named(repo, "retract --undo", reference)) for reference in references]
    reasons = []
    for reference, extension, path in named:
        if not path.is_file():
            raise Mendable(f"{reference} is not retracted.", f"See `gitdata log {extension.dataset}`.")
        known = _read(repo, path)
        if known is not None and known.purged:
            raise Mendable(f"{reference} was purged: its rows are gone.", "Extend the dataset with these rows again.")
        reasons.append(known.reason if known else "")
    paths = [path for *_, path in named]
    repo.git.run("rm", "--quiet", "--force", "--ignore-unmatch", "--", *map(str, paths))
    for path in paths:
        path.unlink(missing_ok=True)  # git leaves what it does not track
    if message is not None:
        repo.git.commit(message, *paths)
    return [
        _record(repo, extension, path, reason, retracted=False, committed=message is not None)
        for (_, extension, path), reason in zip(named, reasons, strict=True)
    ]


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
    return named[0], repo.writable(retraction_place(repo, named[0]))


def retraction_place(repo: Repo, extension: Extension) -> Path:
    """The file whose existence declares an extension bad."""
    return repo.top / DATASETS / extension.dataset / RETRACTED / f"{extension.id}.json"


def retraction_of(repo: Repo, extension: Extension) -> Retraction | None:
    """What the retraction of an extension says in the work tree; None where there is none, or it is damaged."""
    return _read(repo, retraction_place(repo, extension))


def _read(repo: Repo, path: Path) -> Retraction | None:
    """The retraction in a file; None where there is none, or it is damaged."""
    try:
        return read_retraction(path.relative_to(repo.top).as_posix(), path.read_bytes())
    except (GitdataError, FileNotFoundError):
        return None


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
