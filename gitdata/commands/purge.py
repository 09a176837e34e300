"""Purge: deletes the bytes of a retracted extension wherever they can be reached, for good.

First the proof: it is live on no branch, here or on the git remote. Then its blobs go, less those that another live
extension has too: checked-out files, remote, cache, and the packs that hold what was read out of them, in this order.
Last the retraction says so, so that what it says is true: a run that was killed before is finished by a repeat.
Pointers stay in git's history.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gitdata import durable
from gitdata.commands.lineage import saw
from gitdata.commands.packs import forget
from gitdata.commands.reach import blobs_needed, purged_at, reach
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.retract import retraction_place
from gitdata.commands.transfer import open_remote
from gitdata.data.pointer import SPLITS, Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo, blob_of, directory_blob
from gitdata.snapshot import DATASETS, Retraction, encode_retraction, read_retraction
from gitdata.storage.cache import Blob


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be deleted of an extension, and what stays since a live extension has it too."""

    extension: Extension
    doomed: tuple[Blob, ...]
    kept: tuple[tuple[Blob, Extension], ...]


def purge(repo: Repo, reference: str, message: str | None, *, dry_run: bool = False, say: Say = silent) -> Record:
    """Delete the bytes of an extension and record it. Raises Mendable while any branch needs it."""
    repo.require_work_tree("purge")
    repo.require_initialised()
    extension, retraction = _retracted(repo, reference)
    found = reach(repo, "now")
    if branches := found.branches_of(extension.id):
        raise Mendable(
            f"{reference} is live on {', '.join(branches)}; nothing was deleted.",
            "Merge the retraction there, and push it; then purge.",
        )
    plan = _plan(repo, extension, found.needed)
    remote = open_remote(repo, "data") if repo.git_remote is not None else None
    path = repo.writable(retraction_place(repo, extension))
    if not dry_run:
        _delete_checked_out(repo, extension)
        if remote is not None:
            say(f"Deleting {len(plan.doomed)} blobs from {remote.url}.")
            remote.remove(plan.doomed)
        _delete_cached(repo, plan.doomed)
        forget(repo, plan.doomed)
        _note(repo, path, retraction, message)
    places = ["the cache of this clone", *([remote.url] if remote else [])]
    return _record(repo, plan, path, places, dry_run=dry_run, committed=message is not None and not dry_run)


def drop_purged(repo: Repo) -> int:
    """Delete from this repository's cache what was purged elsewhere; how many extensions that were."""
    found = reach(repo, "remembered")
    ids = purged_at(repo, [*repo.git.branches().values(), *repo.git.work_tree_commits()])
    gone = [found.extensions[id] for id in sorted(ids & found.extensions.keys()) if not found.branches_of(id)]
    dropped = 0
    for extension in gone:
        doomed = _plan(repo, extension, found.needed).doomed
        held = [blob for blob in doomed if repo.cache.path(blob).exists()]
        _delete_cached(repo, held)
        forget(repo, doomed)
        dropped += bool(held)
    return dropped


# --- deciding ------------------------------------------------------------------------------------------------


def _retracted(repo: Repo, reference: str) -> tuple[Extension, Retraction]:
    """The extension that a reference names and its retraction. Raises Mendable where it is not retracted."""
    dataset, _, selector = reference.partition("@")
    if not selector:
        raise Mendable(f"'{reference}' names no extension.", f"Name one, as in `{dataset}@1.1.0`.")
    _, (extension, *others) = repo.work_tree_snapshot().extensions(reference)
    if others:
        raise Mendable(f"'{reference}' names several extensions.", "Name one by its id.")
    place = retraction_place(repo, extension)
    path = place.relative_to(repo.top).as_posix()
    retraction = read_retraction(path, place.read_bytes()) if place.is_file() else None
    if retraction is None:
        raise Mendable(
            f"{reference} is not retracted; only what is declared bad can be purged.",
            f'First `gitdata retract {reference} --reason "…"`, commit it and push it.',
        )
    return extension, retraction


def _plan(repo: Repo, extension: Extension, needed: Sequence[Extension]) -> Plan:
    """Which blobs go. Where a long listing is nowhere any more, what it named is not known any more either."""
    own = [directory_blob(extension), *(blob_of(a) for a in extension.sidecars)]
    with suppress(DataUnavailable):  # purged before
        own += list(blobs_needed(repo, [extension]))
    elsewhere = {blob.md5: (blob, other) for blob, other in blobs_needed(repo, needed).items()}
    unique = list(dict.fromkeys(own))
    kept = tuple((blob, elsewhere[blob.md5][1]) for blob in unique if blob.md5 in elsewhere)
    return Plan(extension, tuple(blob for blob in unique if blob.md5 not in elsewhere), kept)


# --- acting --------------------------------------------------------------------------------------------------


def _delete_checked_out(repo: Repo, extension: Extension) -> None:
    """The extension's folder in the work tree: gitdata alone writes there, and git ignores it."""
    folder = repo.writable(repo.top / DATASETS / extension.dataset / extension.stem)
    if folder.is_dir():
        shutil.rmtree(folder)


def _delete_cached(repo: Repo, blobs: Iterable[Blob]) -> None:
    for blob in blobs:
        repo.cache.remove(blob)


def _note(repo: Repo, path: Path, retraction: Retraction, message: str | None) -> None:
    """Let the retraction say that the bytes are gone."""
    content = encode_retraction(replace(retraction, purged=True))
    if path.read_bytes() != content:
        durable.write(path, content)
    repo.git.stage(path)
    if message is not None and repo.git.try_text("diff", "--quiet", "HEAD", "--", str(path)) is None:
        repo.git.commit(message, path)


def _record(repo: Repo, plan: Plan, path: Path, places: list[str], *, dry_run: bool, committed: bool) -> Record:
    extension = plan.extension
    return Record(
        "purge",
        extension.id,
        {
            "blobs": len(plan.doomed),
            "bytes": sum(blob.size or 0 for blob in plan.doomed),
            "committed": committed,
            "dataset": extension.dataset,
            "dry_run": dry_run,
            "kept": [{"md5": blob.md5, "needed_by": f"{e.dataset}@{e.version}"} for blob, e in plan.kept],
            "path": path.relative_to(repo.top).as_posix(),
            "places": places,
            "rows": {split: extension.rows_of(split) for split in SPLITS},
            "seen_by": saw(repo.ledgers(repo.ledger_commit()), extension.id),
            "version": extension.version,
        },
    )
