"""Prune: removes from a cache, or from the store that belongs to this repository alone, what nobody needs there.

From the cache goes what the remote was seen to hold and no branch or work tree of this clone has live; what no pointer
in history names, once it is older than two weeks, since a running command places blobs before their pointer; and what
was purged. From the remote goes only what no pointer in any branch's history names, as old.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitdata.commands.purge import Dropped, drop_purged
from gitdata.commands.reach import blobs_needed, purged_at, reach
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.sync import package_blobs, pointers_of_history
from gitdata.commands.transfer import open_remote
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import DATA_REMOTE, Purpose, Repo, blob_of, directory_blob
from gitdata.snapshot import read_pointer
from gitdata.storage.cache import Blob

if TYPE_CHECKING:
    from gitdata.storage.remote import Remote

GRACE = 14 * 24 * 3600.0  # seconds
PURPOSES: tuple[Purpose, ...] = ("data", "models")


@dataclass(slots=True)
class _Named:
    """The blobs that pointers of history name, by DVC's name; `unknown`: extensions whose listing is nowhere."""

    blobs: dict[Purpose, dict[str, Blob]] = field(default_factory=lambda: {"data": {}, "models": {}})
    unknown: list[Extension] = field(default_factory=list)

    def __contains__(self, md5: str) -> bool:
        return any(md5 in blobs for blobs in self.blobs.values())


def prune(repo: Repo, *, remote: bool, dry_run: bool, say: Say = silent) -> list[Record]:
    """One record for each place that was looked at: how many blobs went, and how many bytes."""
    repo.require_initialised()
    dropped = drop_purged(repo, dry_run=dry_run)
    records = [_prune_cache(repo, dropped, dry_run=dry_run, say=say)]
    if remote:
        records += _prune_remote(repo, dry_run=dry_run, say=say)
    return records


def _prune_cache(repo: Repo, dropped: Dropped, *, dry_run: bool, say: Say) -> Record:
    """`dropped` was purged, and goes with what nobody needs here, or went."""
    named = _named(repo, _tips_known(repo))
    counted = {blob.md5 for blob in dropped.blobs}
    kept = {blob.md5 for blob in blobs_needed(repo, reach(repo, "none").needed)} | _champions(repo)
    candidates = [(blob, age) for blob, age in repo.cache.objects() if blob.md5 not in kept | counted]
    gone = _orphans(candidates, named)
    for purpose in PURPOSES:
        wanted = [named.blobs[purpose][blob.md5] for blob, _ in candidates if blob.md5 in named.blobs[purpose]]
        if wanted and (repo.is_bare or repo.git_remote is not None):
            store = open_remote(repo, purpose)
            say(f"Looking at {len(wanted)} blobs on {store.url}.")
            absent = {blob.md5 for blob in store.missing(wanted)}
            gone += [blob for blob in wanted if blob.md5 not in absent]
    sizes = {blob.md5: blob.size or 0 for blob, _ in candidates}
    if not dry_run:
        for blob in gone:
            repo.cache.remove(blob)
    freed = [sizes[blob.md5] for blob in gone] + [blob.size or 0 for blob in dropped.blobs]
    return _record("cache", str(repo.cache.root), freed, len(kept), dropped.checked_out, dry_run=dry_run)


def _prune_remote(repo: Repo, *, dry_run: bool, say: Say) -> list[Record]:
    """Raises Mendable unless the store is this repository's alone and all of its history can be seen."""
    if repo.blob_remote("data").name != DATA_REMOTE:
        raise Mendable(
            f"The DVC remote '{repo.blob_remote('data').name}' may hold blobs of other repositories; none was deleted.",
            "`gitdata prune --remote` cleans the store beside a git server; clean others by their own means.",
        )
    if repo.git.text("rev-parse", "--is-shallow-repository") == "true":
        raise Mendable("This clone is shallow: it does not know all that history names.", "`git fetch --unshallow`.")
    tips = [*_tips_known(repo), *(repo.git.remote_branches(repo.git_remote).values() if repo.git_remote else [])]
    named = _named(repo, tips)
    records = []
    for purpose in PURPOSES:
        store: Remote = open_remote(repo, purpose)
        say(f"Looking at {store.url}.")
        objects = store.objects()
        gone = _orphans(objects, named)
        if not dry_run:
            store.remove(gone)
        records.append(
            _record("remote", store.url, [blob.size or 0 for blob in gone], len(objects) - len(gone), dry_run=dry_run)
        )
    return records


# --- what is needed ------------------------------------------------------------------------------------------


def _tips_known(repo: Repo) -> list[str]:
    """Every commit that a ref of this repository, a stash or a work tree leads to."""
    return list(dict.fromkeys([*repo.git.commits_of_refs(), *repo.git.work_tree_commits()]))


def _named(repo: Repo, commits: Iterable[str]) -> _Named:
    commits = list(dict.fromkeys(commits))
    named = _Named()
    purged = purged_at(repo, commits)
    for path, content in pointers_of_history(repo, commits).values() if commits else []:
        try:
            extension = read_pointer(path, content)
            packages = package_blobs(path, content)
        except DataUnavailable:
            continue  # one that was damaged and mended since names nothing
        named.blobs["models"] |= {blob.md5: blob for blob in packages}
        if extension is None or extension.id in purged:
            continue
        blobs = [directory_blob(extension), *(blob_of(a) for a in extension.sidecars)]
        try:
            blobs += blobs_needed(repo, [extension])
        except DataUnavailable:
            named.unknown.append(extension)
        named.blobs["data"] |= {blob.md5: blob for blob in blobs}
    if not repo.is_bare:
        extensions = [e for chain in repo.work_tree_snapshot().chains.values() for e in chain.extensions.values()]
        named.blobs["data"] |= {b.md5: b for b in blobs_needed(repo, (e for e in extensions if e.id not in purged))}
    return named


def _orphans(objects: Iterable[tuple[Blob, float]], named: _Named) -> list[Blob]:
    """What no pointer names, old enough that no running command is about to name it."""
    if named.unknown:
        return []
    before = time.time() - GRACE
    return [blob for blob, modified in objects if blob.md5 not in named and modified < before]


def _champions(repo: Repo) -> set[str]:
    """The names of the blobs of the packages in use."""
    found: set[str] = set()
    for ledger in repo.ledgers(repo.ledger_commit()).values():
        if ledger.champion is not None:
            entry = ledger.entries[ledger.champion]
            found |= {directory_blob(entry).md5, *(file.md5 for file in entry.version.files)}
    return found


def _record(place: str, where: str, sizes: list[int], kept: int, checked_out: int = 0, *, dry_run: bool) -> Record:
    """`checked_out`: how many files of what was purged went from work trees."""
    fields = {"blobs": len(sizes), "bytes": sum(sizes), "checked_out": checked_out, "dry_run": dry_run, "kept": kept}
    return Record("prune", where, fields | {"place": place})
