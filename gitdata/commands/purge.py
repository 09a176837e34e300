"""Purge: deletes the bytes of a retracted extension wherever they can be reached, for good.

First the proof: it is live on no branch, here or on the git remote. Then its blobs go, less those that another live
extension has too: checked-out files in every work tree of this clone, remote, the packs that hold what was read out of
them, cache, in this order; at each place what names the others goes last, so that a repeat finishes a run that was
killed. Last the retraction says so, so that what it says is true. Pointers stay in git's history.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.commands.lineage import saw
from gitdata.commands.packs import forget
from gitdata.commands.reach import blobs_needed, purged_at, reach
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.retract import retraction_place
from gitdata.commands.transfer import open_remote
from gitdata.data.pointer import SIDECAR, SPLITS, Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo, blob_of, directory_blob
from gitdata.snapshot import DATASETS, Retraction, encode_retraction, read_retraction
from gitdata.storage.cache import Blob

if TYPE_CHECKING:
    from gitdata.storage.remote import Remote

_LISTING = f"{SIDECAR}/listing.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be deleted of an extension, and what stays since a live extension has it too.

    `content` goes before `names`, the listing and the directory object: by these the rest is found again. `complete`:
    whether it is known what a long listing named. `folders`: where its files are checked out.
    """

    extension: Extension
    content: tuple[Blob, ...]
    names: tuple[Blob, ...]
    kept: tuple[tuple[Blob, Extension], ...]
    complete: bool
    folders: tuple[Path, ...]

    @property
    def doomed(self) -> tuple[Blob, ...]:
        """All blobs that go, in this order."""
        return (*self.content, *self.names)

    @property
    def checked_out(self) -> int:
        """How many files are checked out."""
        return sum(path.is_file() for folder in self.folders for path in folder.rglob("*"))


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was purged elsewhere and went here: blobs of the cache with their size there, and checked-out files."""

    blobs: tuple[Blob, ...] = ()
    checked_out: int = 0


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
    if not plan.complete and not retraction.purged:
        say("Its listing is nowhere any more: what it named goes with `gitdata prune --remote` once two weeks old.")
    record = _record(repo, plan, path, remote, dry_run=dry_run, committed=message is not None and not dry_run)
    if not dry_run:
        _delete_checked_out(plan)
        if remote is not None:
            say(f"Deleting {len(plan.doomed)} blobs from {remote.url}.")
            remote.remove(plan.content)
            remote.remove(plan.names)
        _delete_cached(repo, plan)
        _note(repo, path, retraction, message)
    return record


def drop_purged(repo: Repo, *, dry_run: bool = False) -> Dropped:
    """Delete from this repository's cache and work trees what was purged elsewhere; or only say what that is."""
    found = reach(repo, "remembered")
    ids = purged_at(repo, [*repo.git.branches().values(), *repo.git.work_tree_commits()])
    gone = [found.extensions[id] for id in sorted(ids & found.extensions.keys()) if not found.branches_of(id)]
    sizes: dict[str, int] = {}
    checked_out = 0
    for plan in (_plan(repo, extension, found.needed) for extension in gone):
        sizes |= {blob.md5: size for blob in plan.doomed if (size := repo.cache.size(blob)) is not None}
        checked_out += plan.checked_out
        if not dry_run:
            _delete_checked_out(plan)
            _delete_cached(repo, plan)
    return Dropped(tuple(Blob(md5, size) for md5, size in sizes.items()), checked_out)


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
    names = {directory_blob(extension), *(blob_of(a) for a in extension.sidecars if a.path == _LISTING)}
    own, complete = [*(blob_of(a) for a in extension.sidecars), directory_blob(extension)], True
    try:
        own = list(blobs_needed(repo, [extension]))
    except DataUnavailable:
        complete = False
    elsewhere = {blob.md5: (blob, other) for blob, other in blobs_needed(repo, needed).items()}
    unique = list(dict.fromkeys(own))
    doomed = [blob for blob in unique if blob.md5 not in elsewhere]
    return Plan(
        extension=extension,
        content=tuple(blob for blob in doomed if blob not in names),
        names=tuple(blob for blob in doomed if blob in names),
        kept=tuple((blob, elsewhere[blob.md5][1]) for blob in unique if blob.md5 in elsewhere),
        complete=complete,
        folders=_checked_out(repo, extension),
    )


def _checked_out(repo: Repo, extension: Extension) -> tuple[Path, ...]:
    """The extension's folders in all work trees of this clone, under any label that it had: gitdata alone writes there.

    Raises Mendable where a symbolic link leads there.
    """
    places = [(top, top / DATASETS / extension.dataset) for top in repo.git.work_trees()]
    found = [(top, path) for top, place in places for path in sorted(place.glob(f"[0-9]*-{extension.short}"))]
    return tuple(Repo(top).writable(folder) for top, folder in found if folder.is_dir())


# --- acting --------------------------------------------------------------------------------------------------


def _delete_checked_out(plan: Plan) -> None:
    for folder in plan.folders:
        shutil.rmtree(folder)


def _delete_cached(repo: Repo, plan: Plan) -> None:
    """What was read out of the blobs goes before what names them: later nobody knows what to look for."""
    forget(repo, plan.doomed)
    for blob in plan.doomed:
        repo.cache.remove(blob)


def _note(repo: Repo, path: Path, retraction: Retraction, message: str | None) -> None:
    """Let the retraction say that the bytes are gone."""
    content = encode_retraction(replace(retraction, purged=True))
    if path.read_bytes() != content:
        durable.write(path, content)
    repo.git.stage(path)
    if message is not None and repo.git.try_text("diff", "--quiet", "HEAD", "--", str(path)) is None:
        repo.git.commit(message, path)


def _record(repo: Repo, plan: Plan, path: Path, remote: Remote | None, *, dry_run: bool, committed: bool) -> Record:
    extension = plan.extension
    return Record(
        "purge",
        extension.id,
        {
            "blobs": len(plan.doomed),
            "bytes": sum(blob.size or 0 for blob in plan.doomed),
            "checked_out": plan.checked_out,
            "committed": committed,
            "dataset": extension.dataset,
            "dry_run": dry_run,
            "kept": [{"md5": blob.md5, "needed_by": f"{e.dataset}@{e.version}"} for blob, e in plan.kept],
            "path": path.relative_to(repo.top).as_posix(),
            "places": ["the cache of this clone", *([remote.url] if remote else [])],
            "rows": {split: extension.rows_of(split) for split in SPLITS},
            "seen_by": saw(repo.ledgers(repo.ledger_commit()), extension.id),
            "version": extension.version,
        },
    )
