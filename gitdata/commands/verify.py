"""Verify: looks for damage in what gitdata keeps, and mends what another copy allows.

In order: pointers and retractions, the chain, the ledger, the cache, and if asked for the remote. A *finding* is one
thing that is wrong. Corrupt objects are set aside, never used and never deleted; whatever is put in their place was
hashed before. With `deep` content is read and hashed, without it presence and size are looked at; with `rows` rows are
read, and compared with what the row sidecars say of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from gitdata import durable
from gitdata.commands.finding import Finding
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowcheck import check_rows, readable
from gitdata.commands.storing import name_directory
from gitdata.commands.transfer import check_directory, fetch_blobs, open_remote
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import missing_parents
from gitdata.data.ledger import Ledger
from gitdata.data.pointer import Extension
from gitdata.errors import DataUnavailable, GitdataError
from gitdata.repo import Purpose, Repo, blob_of, directory_blob
from gitdata.snapshot import (
    DATASETS,
    MODELS,
    ledger_of,
    match_retraction,
    purged_of,
    read_pointer,
    read_retraction,
    snapshot_of,
)
from gitdata.storage.cache import Blob


@dataclass(frozen=True, slots=True)
class Options:
    """`remote`: look there too; `deep`: read and hash content; `repair`: mend what another copy allows.

    `rows`: read rows, and compare them with what the row sidecars say.
    """

    remote: bool = False
    deep: bool = False
    repair: bool = False
    rows: bool = False


@dataclass(slots=True)
class _Held:
    """What is to be there: the blobs of extensions and of packages, each with where people know it from.

    What was `retracted` or `replaced` may be absent from the cache; of what was `purged` nothing is to be anywhere.
    """

    extensions: dict[str, Extension] = field(default_factory=dict)
    retracted: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    purged: frozenset[str] = frozenset()
    packages: dict[Blob, str] = field(default_factory=dict)

    @property
    def kept(self) -> list[Extension]:
        """The extensions whose blobs are to be there."""
        return [extension for id, extension in self.extensions.items() if id not in self.purged]

    @property
    def live(self) -> list[Extension]:
        """The extensions whose blobs a clone is to have."""
        gone = self.retracted | self.replaced
        return [extension for extension in self.kept if extension.id not in gone]


def verify(repo: Repo, options: Options, say: Say = silent) -> list[Record]:
    """One record per finding, and last one that counts what was looked at."""
    repo.require_initialised()
    files = _files(repo)
    retracted = (match_retraction(path) for path, _ in files)
    held = _Held(retracted=frozenset(id for id in retracted if id), purged=purged_of(files))
    findings = [
        *_links(repo),
        *_pointers(repo, files, held, options),
        *_retractions(files),
        *_chains(repo, held.extensions),
        *_ledger(repo, held),
    ]
    held.replaced = _replaced(repo, held.extensions)
    data = _blobs(repo, held.kept)
    findings += _cache(repo, data, held, options, say)
    read = readable(repo, held.live) if options.rows else []
    findings += check_rows(repo, read, repair=options.repair and not repo.is_bare)
    if options.remote:
        findings += _remote(repo, "data", _pushed(repo, data, held), options, say)
        findings += _remote(repo, "models", held.packages, options, say)
    counts = {
        "blobs": len(data | held.packages),
        "bytes": sum(blob.size or 0 for blob in data | held.packages),
        "deep": options.deep,
        "extensions": len(held.extensions),
        "findings": len(findings),
        "remote": options.remote,
        "repaired": sum(finding.repaired for finding in findings),
        "rows_read": len(read),
    }
    return [*(finding.record() for finding in findings), Record("verified", str(repo.top), counts)]


# --- what git holds ------------------------------------------------------------------------------------------


def _files(repo: Repo) -> list[tuple[str, bytes]]:
    """Pointers and retractions: of the work tree, or on a server of every branch; one path may hold several things."""
    if not repo.is_bare:
        return sorted(repo.work_tree_files().items())
    return sorted({pair for commit in _commits(repo) for pair in repo.git.files(commit, DATASETS).items()})


def _commits(repo: Repo) -> list[str]:
    """The branches that people work on."""
    return [commit for branch, commit in repo.git.branches().items() if not branch.startswith("gitdata/")]


def _links(repo: Repo) -> Iterator[Finding]:
    """Symbolic links among the pointers of a server's branches; in a work tree nothing is read beside one."""
    entries = [entry for commit in _commits(repo) for entry in repo.git.tree(commit, DATASETS)] if repo.is_bare else []
    for path in sorted({entry.path for entry in entries if entry.mode == "120000"}):
        yield Finding(
            "pointer", path, f"{path} is a symbolic link; gitdata follows none.", "Replace it by a plain file."
        )


def _pointers(repo: Repo, files: Sequence[tuple[str, bytes]], held: _Held, options: Options) -> Iterator[Finding]:
    """Pointers that cannot be read, or are not in their one valid encoding."""
    for path, content in files:
        try:
            extension = read_pointer(path, content)
        except DataUnavailable as error:
            finding = Finding("pointer", path, error.message, error.next_step)
            good = _good_copy(repo, path) if options.repair and not repo.is_bare else None
            if good is not None:
                durable.write(repo.writable(repo.top / path), pointerfile.encode(good))
                held.extensions[good.id] = good
                finding = replace(finding, repaired=True)
            yield finding
            continue
        if extension is None:
            if path.startswith(f"{DATASETS}/") and path.endswith(".dvc"):
                yield Finding(
                    "pointer",
                    path,
                    "Its name is not that of a pointer, `VERSION-ID.dvc`, so it is not read.",
                    "Give it back the name that `path` in it says, or move it out of datasets/.",
                )
            continue
        held.extensions[extension.id] = extension
        if content != pointerfile.encode(extension):
            mend = options.repair and not repo.is_bare
            if mend:
                durable.write(repo.writable(repo.top / path), pointerfile.encode(extension))
            yield Finding(
                "pointer",
                path,
                "It is not in the one valid encoding; `dvc add` rewrites a pointer so.",
                "`gitdata verify --repair` in a clone rewrites it; then commit it.",
                mend,
            )


def _good_copy(repo: Repo, path: str) -> Extension | None:
    """The newest readable version of a pointer that git holds."""
    for commit in (repo.git.try_text("log", "--all", "--format=%H", "--", path) or "").split():
        try:
            return read_pointer(path, repo.git.run("show", f"{commit}:{path}"))
        except GitdataError:
            continue
    return None


def _retractions(files: Sequence[tuple[str, bytes]]) -> Iterator[Finding]:
    for path, content in files:
        try:
            read_retraction(path, content)
        except DataUnavailable as error:
            yield Finding("retraction", path, error.message, error.next_step)


def _chains(repo: Repo, extensions: Mapping[str, Extension]) -> Iterator[Finding]:
    """Parents whose pointer is only in history, or not even there."""
    for id in sorted(missing_parents(extensions)):
        child = next(e for e in extensions.values() if id in e.parents)
        found = repo.git.files_of_history(f"{DATASETS}/{child.dataset}/*-{id[: pointer.SHORT]}.dvc")
        for path in sorted(found):
            yield Finding(
                "chain",
                path,
                f"The pointer was deleted or renamed, though {child.dataset}@{child.version} extends it; it counts as "
                "retracted, and nobody can see why.",
                f"Bring it back (`git log --all -- {path}` shows where it was); if it is bad, `gitdata retract` it.",
            )
        if not found:
            yield Finding(
                "chain",
                f"{child.dataset}@{child.version}",
                f"Its parent {id[: pointer.SHORT]} has no pointer here or in history.",
                "Fetch the branch that holds it (in a shallow clone: `git fetch --unshallow`).",
            )


def _replaced(repo: Repo, extensions: Mapping[str, Extension]) -> frozenset[str]:
    """What is replaced, also by, or along with, an extension whose pointer is only in history."""
    paths = {f"{DATASETS}/{e.dataset}/{e.stem}.dvc": e for e in extensions.values()}
    chains = snapshot_of(None, paths, {}, repo.git.files_of_history).chains.values()
    return frozenset(id for chain in chains for id in chain.replaced)


def _ledger(repo: Repo, held: _Held) -> Iterator[Finding]:
    """Ledgers that cannot be read; the packages of those that can are to be on the models' remote."""
    commit = repo.ledger_commit()
    for model in repo.models_at(commit):
        files = repo.git.files(str(commit), f"{MODELS}/{model}")
        try:
            ledger = ledger_of(model, {path.rpartition("/")[2]: content for path, content in files.items()})
        except DataUnavailable as error:
            yield Finding("ledger", model, error.message, error.next_step)
            continue
        held.packages |= _packages(ledger)


def _packages(ledger: Ledger) -> dict[Blob, str]:
    found: dict[Blob, str] = {}
    for entry in ledger.entries.values():
        name = f"{ledger.model}@{entry.number}"
        found |= {blob_of(file): f"{name} {file.path}" for file in entry.version.files}
        found[directory_blob(entry)] = f"{name} (directory object)"
    return found


# --- blobs ---------------------------------------------------------------------------------------------------


def _blobs(repo: Repo, extensions: Iterable[Extension]) -> dict[Blob, str]:
    """The blobs of extensions by where people know them from; those of a long listing once its sidecar is here."""
    found: dict[Blob, str] = {}
    for extension in extensions:
        name = f"{extension.dataset}@{extension.version}"
        found |= {blob_of(a): f"{name} {a.path}" for a in extension.sidecars}
        found[directory_blob(extension)] = f"{name} (directory object)"
        try:
            found |= {blob_of(file): f"{name} {file.place}" for file in repo.files_of(extension)}
        except DataUnavailable:
            continue  # the sidecar itself is a finding
    return found


def _cache(repo: Repo, data: dict[Blob, str], held: _Held, options: Options, say: Say) -> Iterator[Finding]:
    """Objects of this clone that are missing, of the wrong size or, looked at in depth, of other content.

    A server works on its store, and nobody needs all packages: there only what is here is looked at.
    """
    durable.remove_leftovers(repo.cache.root)
    local = repo.git_remote is None and not repo.is_bare
    needed = _blobs(repo, held.live)
    wanted: dict[Blob, tuple[str, Purpose]] = {blob: (name, "data") for blob, name in data.items()}
    wanted |= {blob: (name, "models") for blob, name in held.packages.items()}
    for blob, (name, purpose) in wanted.items():
        present = repo.cache.path(blob).exists()
        if not present and (repo.is_bare or (not local if purpose == "models" else blob not in needed)):
            continue
        if repo.cache.holds(blob) and not (options.deep and not repo.cache.verify(blob)):
            continue
        if present and repo.cache.is_intact(blob):
            yield Finding(
                "pointer",
                name,
                f"It gives the blob {blob.md5} another sha256 or size than it has.",
                "Restore it from git.",
            )
            continue
        problem = f"{name}: the blob {blob.md5} is {'corrupt or unreadable' if present else 'missing'} in the cache."
        repaired = options.repair and _restore(repo, blob, purpose, name, held, say)
        yield Finding("cache", blob.md5, problem, "`gitdata verify --repair` looks for a good copy.", repaired)
    yield from _directories(repo, held.kept, options)


def _directories(repo: Repo, extensions: Iterable[Extension], options: Options) -> Iterator[Finding]:
    """Directory objects that name other files than the pointer lists: DVC would deliver those."""
    for extension in extensions:
        if (absent := repo.missing_from_cache(extension, ())) and options.remote:
            with suppress(GitdataError):  # what cannot be had is a finding of the remote
                fetch_blobs(repo, absent)
        if repo.missing_from_cache(extension, ()):
            continue
        try:
            check_directory(repo, extension)
        except DataUnavailable as error:
            repaired = options.repair and not repo.is_bare
            if repaired:
                name_directory(repo, extension)
            name = f"{extension.dataset}@{extension.version}"
            yield Finding("pointer", name, error.message, error.next_step, repaired)


def _restore(repo: Repo, blob: Blob, purpose: Purpose, name: str, held: _Held, say: Say) -> bool:
    """Put a good copy into the cache: the file in the work tree if it is one, else the remote's."""
    repo.cache.set_aside(blob)
    place = _work_tree_copy(repo, blob, held.extensions.values())
    if place is not None and repo.cache.add_file(place).sha256 == blob.sha256:
        return True
    try:
        open_remote(repo, purpose).download(repo.cache, [blob])
    except GitdataError as error:
        say(f"{name}: {error.message}")
        return False
    return True


def _work_tree_copy(repo: Repo, blob: Blob, extensions: Iterable[Extension]) -> Path | None:
    """A checked-out file that should hold the blob."""
    if repo.is_bare:
        return None
    for extension in extensions:
        for file in extension.files or ():
            place = repo.top / DATASETS / extension.dataset / extension.stem / file.place
            if blob_of(file) == blob and place.is_file() and not place.is_symlink():
                return place
    return None


def _pushed(repo: Repo, data: dict[Blob, str], held: _Held) -> dict[Blob, str]:
    """The blobs that the remote is to hold: those of pointers that its branches have, as far as is known here."""
    if repo.is_bare or repo.git_remote is None:
        return data
    refs = repo.git.text("for-each-ref", "--format=%(objectname)", f"refs/remotes/{repo.git_remote}/").split()
    paths = {entry.path for commit in set(refs) for entry in repo.git.tree(commit, DATASETS)}
    pushed = [e for e in held.kept if f"{DATASETS}/{e.dataset}/{e.stem}.dvc" in paths]
    return _blobs(repo, pushed)


def _remote(repo: Repo, purpose: Purpose, blobs: dict[Blob, str], options: Options, say: Say) -> Iterator[Finding]:
    """Objects that the remote lacks, or holds with another size or, looked at in depth, other content."""
    if not blobs or (purpose == "models" and not repo.is_bare and repo.git_remote is None):
        return
    remote = open_remote(repo, purpose)
    say(f"Looking at {len(blobs)} blobs on {remote.url}.")
    missing = remote.missing(blobs)
    corrupt = remote.corrupt(blob for blob in blobs if blob not in set(missing)) if options.deep else []
    for blob in [*missing, *corrupt]:
        repaired = False
        if options.repair and repo.cache.verify(blob):
            remote.set_aside(blob)
            remote.upload(repo.cache, [blob])
            repaired = True
        how = "missing, or has another size," if blob in missing else "corrupt or unreadable"
        yield Finding(
            "remote",
            blob.md5,
            f"{blobs[blob]}: the blob {blob.md5} is {how} on {remote.url}.",
            "A clone that holds a good copy mends it: `gitdata verify --remote --deep --repair`.",
            repaired,
        )
