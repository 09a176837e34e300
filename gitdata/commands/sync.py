"""Push, fetch, pull and checkout: blobs to and from the remote, and files into the work tree.

Pushing is what the pre-push hook does for the refs that git is about to send: every blob that these refs name
and the git remote does not have yet is uploaded and seen on the remote, or the push is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from gitdata import pointers
from gitdata.commands.advice import advice
from gitdata.commands.check import misfits
from gitdata.commands.reach import purged_at
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.transfer import blobs_of, check_directory, fetch_extensions, open_remote
from gitdata.data import pointer, pointerfile
from gitdata.data.checked import PointerError
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Purpose, Repo, blob_of
from gitdata.snapshot import DATASETS, MODELS, Snapshot, read_pointer, refuse_links
from gitdata.storage.cache import Blob

_MODEL_POINTER = re.compile(r"models/[^/]+/(?P<stem>[^/]+)\.dvc")


def push(repo: Repo, references: Sequence[str], say: Say = silent) -> list[Record]:
    """Upload the blobs of closures (default: every dataset at HEAD) and see them on the remote."""
    repo.require_initialised()
    snapshot = repo.snapshot()
    extensions = _closures(repo, snapshot, references)
    blobs = _blobs(repo, extensions, say)
    sent, url = _upload(repo, "data", blobs, None, say)
    return [Record("push", url, {"blobs": len(blobs), "bytes": sent, "extensions": len(extensions)})]


def push_refs(repo: Repo, git_remote: str, url: str, lines: Iterable[str], say: Say = silent) -> list[Record]:
    """Upload what the refs of a `git push` name and the git remote lacks; `lines` are those of pre-push.

    Raises DataUnavailable naming the blobs that are neither here nor on the remote: the push is then refused.
    """
    updates = [fields for line in lines if len(fields := line.split()) == 4]
    commits = [local for _, local, _, _ in updates if local.strip("0")]
    if not commits:
        return []
    named_here = git_remote in repo.git.remotes() and repo.git.remote_url(git_remote) == url
    target = git_remote if named_here else url  # a push URL of its own leads to a store of its own
    tips = _pointers_at(repo, commits)
    held = [remote for _, _, _, remote in updates if remote.strip("0") and repo.git.resolve(remote)]
    added = pointers_of_history(repo, commits, held)
    sound = {name: path for name, (path, content) in added.items() if _is_sound(path, content)}
    purged = purged_at(repo, commits)  # nothing is to hold these
    for extension in _extensions(repo, sound):
        if extension.id not in purged:
            _check_listed(repo, extension, target)
    named = tips | sound
    extensions = [extension for extension in _extensions(repo, named) if extension.id not in purged]
    contents = repo.git.objects(name for name, path in named.items() if path.startswith(f"{MODELS}/"))
    packages = [blob for name, content in contents.items() for blob in package_blobs(named[name], content)]
    records = []
    if extensions:
        blobs = _blobs(repo, extensions, say)
        sent, store = _upload(repo, "data", blobs, target, say)
        records.append(Record("push", store, {"blobs": len(blobs), "bytes": sent, "extensions": len(extensions)}))
    if packages:
        sent, store = _upload(repo, "models", packages, target, say)
        records.append(Record("push", store, {"blobs": len(packages), "bytes": sent, "extensions": 0}))
    snapshots = [repo.snapshot(commit) for commit in commits]
    for line in dict.fromkeys(line for found in snapshots for line in (*advice(found), *misfits(repo, found))):
        say(line)
    return records


def fetch(repo: Repo, references: Sequence[str], splits: Sequence[str], say: Say = silent) -> list[Record]:
    """Bring blobs of closures into the cache, and the ledger up to date."""
    repo.require_initialised()
    repo.fetch_ledger()
    extensions = _closures(repo, _snapshot(repo), references)
    bytes_fetched = fetch_extensions(repo, extensions, splits or pointer.SPLITS, say)
    return [Record("fetch", "cache", {"bytes": bytes_fetched, "extensions": len(extensions)})]


def pull(repo: Repo, references: Sequence[str], splits: Sequence[str], say: Say = silent) -> list[Record]:
    """Fetch, then check out."""
    repo.require_work_tree("pull")
    fetched = fetch(repo, references, splits, say)
    names = references or sorted(_snapshot(repo).chains)
    return [*fetched, *(record for name in names for record in checkout(repo, name, splits, say))]


def checkout(repo: Repo, reference: str, splits: Sequence[str], say: Say = silent) -> list[Record]:
    """Put the files of a closure beside their pointers. A file that is there and differs is never overwritten."""
    top = repo.require_work_tree("checkout")
    extensions = _closures(repo, _snapshot(repo), [reference])
    wanted = set(splits or pointer.SPLITS)
    fetch_extensions(repo, extensions, wanted, say)
    records = []
    for extension in extensions:
        check_directory(repo, extension)
        folder = top / DATASETS / extension.dataset / extension.stem
        targets = [(folder / f.place, blob_of(f)) for f in repo.files_of(extension) if f.split in wanted]
        if wanted == set(pointer.SPLITS):
            targets += [(folder / a.path, blob_of(a)) for a in extension.sidecars]
        for target, _ in targets:
            repo.writable(target)
        delivered = sum(_deliver(repo, blob, target) for target, blob in targets)
        place = folder.relative_to(top).as_posix()
        records.append(
            Record("checkout", extension.id, {"files": delivered, "folder": place, "version": extension.version})
        )
    return records


# --- choosing ------------------------------------------------------------------------------------------------


def _snapshot(repo: Repo) -> Snapshot:
    return repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()


def _closures(repo: Repo, snapshot: Snapshot, references: Sequence[str]) -> tuple[Extension, ...]:
    """The live extensions of what is named, ancestors first; without names, of all datasets.

    What is named itself is taken also if it is retracted: somebody wants to look at it.
    """
    found: dict[str, Extension] = {}
    for reference in references or sorted(snapshot.chains):
        chain, selected = snapshot.extensions(reference)
        own = frozenset(extension.id for extension in selected)
        wanted = repo.live(chain, own) | (own if "@" in reference else frozenset())
        found |= {extension.id: extension for extension in chain.ordered(wanted)}
    return tuple(found.values())


def _pointers_at(repo: Repo, commits: Sequence[str]) -> dict[str, str]:
    """Object name and path of every pointer at some commits. Raises DataUnavailable where one is a link."""
    entries = [entry for commit in commits for entry in repo.git.tree(commit, DATASETS, MODELS)]
    refuse_links([entry.path for entry in entries if entry.mode == "120000"])
    return {e.object: e.path for e in entries if e.is_plain_file and e.path.endswith(".dvc")}


def pointers_of_history(repo: Repo, commits: Sequence[str], held: Sequence[str] = ()) -> dict[str, tuple[str, bytes]]:
    """By object name, path and content of every pointer that the history of commits, not that of `held`, brought."""
    found = repo.git.history("--diff-filter=AM", *commits, "--not", *held, "--", DATASETS, MODELS)
    wanted = {name: path for path, name in found if path.endswith(".dvc")}
    contents = repo.git.objects(wanted)
    return {name: (path, contents[name]) for name, path in wanted.items()}


def _extensions(repo: Repo, objects: Mapping[str, str]) -> list[Extension]:
    """The extensions of pointers, given by object name and path. Raises DataUnavailable where one is damaged."""
    found: list[Extension] = []
    waiting = dict(objects)
    while waiting:  # a path may have had several contents: each time around one of each
        names = {path: name for name, path in waiting.items()}

        def contents(paths: Iterable[str], names: Mapping[str, str] = names) -> dict[str, bytes]:
            return repo.git.contents({path: names[path] for path in paths})

        found += pointers.read(repo.state, partial(dict, names), contents).values()
        waiting = {name: path for name, path in waiting.items() if names[path] != name}
    return found


def _is_sound(path: str, content: bytes) -> bool:
    """Whether a pointer of history can be read; one that was damaged and mended since names nothing."""
    try:
        return read_pointer(path, content) is not None or bool(package_blobs(path, content))
    except DataUnavailable:
        return False


def package_blobs(path: str, content: bytes) -> list[Blob]:
    """The blobs of the package that a model pointer names; none for another file."""
    match = _MODEL_POINTER.fullmatch(path)
    if match is None:
        return []
    try:
        version, _ = pointerfile.decode_model(content, match["stem"])
    except PointerError as error:
        raise DataUnavailable(f"The pointer {path} is damaged: {error}.", "Restore it from git.") from error
    return [*(blob_of(file) for file in version.files), Blob(f"{version.directory.md5}.dir", None)]


# --- acting --------------------------------------------------------------------------------------------------


def _blobs(repo: Repo, extensions: Sequence[Extension], say: Say) -> list[Blob]:
    """All blobs of extensions; where a long listing is not here, it is fetched first."""
    for extension in extensions:
        if extension.files is None and not repo.cache.holds(repo.sidecar(extension, "listing.json")):
            fetch_extensions(repo, [extension], (), say)
    return list(dict.fromkeys(blob for extension in extensions for blob in blobs_of(repo, extension)))


def _check_listed(repo: Repo, extension: Extension, target: str) -> None:
    """Raises DataUnavailable where DVC would deliver other files than the pointer lists: after `dvc add` of a part."""
    if absent := repo.missing_from_cache(extension, ()):
        remote = open_remote(repo, "data", target)
        lost = remote.missing(absent)
        remote.download(repo.cache, [blob for blob in absent if blob not in lost])
        if lost:
            return  # that it is nowhere refuses the push anyway
    check_directory(repo, extension)


def _upload(repo: Repo, purpose: Purpose, blobs: list[Blob], target: str | None, say: Say) -> tuple[int, str]:
    """(bytes sent, URL). What the remote lacks and the cache does not hold is named, before anything is sent."""
    remote = open_remote(repo, purpose, target)
    absent = remote.missing(blobs)
    lost = [blob for blob in absent if not repo.cache.holds(blob)]
    if lost:
        raise DataUnavailable(
            f"{len(lost)} blobs are neither in the cache of this clone nor on {remote.url}: "
            f"{', '.join(blob.md5 for blob in lost[:3])}{' …' if len(lost) > 3 else ''}.",
            "Push from the clone that made them, or fetch them from another remote first; nothing was sent.",
        )
    if absent:
        say(f"Uploading {len(absent)} blobs to {remote.url}.")
    return remote.upload(repo.cache, absent), remote.url


def _deliver(repo: Repo, blob: Blob, target: Path) -> bool:
    """Put a blob in its place; True if it was not there yet. Raises Mendable where other content is in the way."""
    from gitdata.storage.cache import hash_file

    if target.is_symlink() or target.exists():
        if not target.is_symlink() and target.is_file() and hash_file(target).sha256 == blob.sha256:
            return False
        if target.is_symlink():
            raise Mendable(f"'{target}' is a symbolic link; gitdata delivers files.", "Remove it.")
        raise Mendable(
            f"'{target}' was changed since it was checked out.",
            "Move it away; if it holds new rows, add them with `gitdata extend --dedupe`.",
        )
    repo.cache.deliver(blob, target)
    return True
