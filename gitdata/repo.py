"""Repo: opens a repository and holds its rooms.

It joins what git holds (pointers, declarations, the ledger) with where blobs lie (the cache of this clone, the
DVC remote that belongs to a git remote), and hands both to the commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, MissingParents, missing_parents
from gitdata.data.ledger import Entry, Ledger, LedgerError, decode_verdict
from gitdata.data.pointer import Attachment, Extension, File
from gitdata.data.pointerfile import PointerError
from gitdata.errors import DataUnavailable, Mendable, TryAgain
from gitdata.storage import config
from gitdata.storage.cache import Blob, Cache
from gitdata.storage.git import Git

DATASETS = "datasets"
MODELS = "models"
LEDGER_BRANCH = "gitdata/models"
LEDGER_REF = f"refs/heads/{LEDGER_BRANCH}"
DATA_REMOTE = "gitdata"
MODELS_REMOTE = "gitdata-models"

Purpose = Literal["data", "models"]

_POINTER_PATH = re.compile(r"datasets/(?P<dataset>[^/]+)/(?P<stem>[^/]+)\.dvc")
_RETRACTION_PATH = re.compile(r"datasets/(?P<dataset>[^/]+)/retracted/(?P<id>[0-9a-f]{64})\.json")
_DECLARATION_PATH = re.compile(r"models/(?P<model>[^/]+)\.toml")
_SCP_URL = re.compile(r"(?P<host>[^/:]+):(?P<path>.*)")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a commit, or the work tree, holds: the chain of every dataset and the text of every declaration."""

    commit: str | None
    chains: Mapping[str, Chain]
    declarations: Mapping[str, str]
    paths: Mapping[str, str] = field(default_factory=dict)

    def chain(self, dataset: str) -> Chain:
        """The chain of a dataset. Raises Mendable naming those that exist."""
        if dataset in self.chains:
            return self.chains[dataset]
        known = ", ".join(sorted(self.chains)) or "none"
        raise Mendable(
            f"There is no dataset '{dataset}' {self.where}; datasets: {known}.",
            f"Make it with `gitdata add {dataset} FILE`." if pointer.NAME.fullmatch(dataset) else "",
        )

    def extensions(self, reference: str) -> tuple[Chain, tuple[Extension, ...]]:
        """What `DATASET` (its heads) or `DATASET@X` (a version or an id prefix) names, with the chain."""
        dataset, _, selector = reference.partition("@")
        chain = self.chain(dataset)
        if not selector:
            return chain, tuple(chain.extensions[head] for head in chain.heads)
        found = chain.matching(selector)
        if not found:
            versions = sorted({e.version for e in chain.extensions.values()}, key=pointer.version_key)
            raise Mendable(
                f"Dataset '{dataset}' has no version '{selector}'; versions: {', '.join(versions)}.",
                f"See `gitdata log {dataset}`.",
            )
        if len(found) > 1:
            ids = ", ".join(e.short for e in found)
            raise Mendable(f"'{reference}' names several extensions: {ids}.", "Name one by its id.")
        return chain, found

    def declaration(self, model: str) -> str:
        """The text of `models/<model>.toml`. Raises Mendable naming those that exist."""
        if model in self.declarations:
            return self.declarations[model]
        known = ", ".join(sorted(self.declarations)) or "none"
        raise Mendable(
            f"There is no model '{model}' {self.where}; declared models: {known}.",
            f"Declare it in models/{model}.toml and commit it.",
        )

    @property
    def where(self) -> str:
        return f"at commit {self.commit[:8]}" if self.commit else "in the work tree"


class Repo:
    """A repository that gitdata works in; `path` is any folder inside it. Raises Mendable where there is none."""

    def __init__(self, path: Path | str = ".") -> None:
        self.git = Git.discover(Path(path))

    @property
    def top(self) -> Path:
        return self.git.top

    @property
    def is_bare(self) -> bool:
        return self.git.work_tree is None

    @property
    def state(self) -> Path:
        """What belongs to this clone only: jobs, locks, stamps."""
        return self.git.common / "gitdata"

    @cached_property
    def cache(self) -> Cache:
        return Cache(self.state / "cache" if self.git.work_tree is None else self.git.work_tree / ".dvc" / "cache")

    def require_work_tree(self, command: str) -> Path:
        """The work tree. Raises Mendable in a bare repository."""
        if self.git.work_tree is None:
            raise Mendable(f"`gitdata {command}` needs a work tree; '{self.top}' is bare.", "Run it in a clone.")
        return self.git.work_tree

    def require_initialised(self) -> None:
        """Raises Mendable unless `gitdata init` was run here."""
        if not self.is_bare and not (self.top / ".dvc" / "config").is_file():
            raise Mendable(f"'{self.top}' is not a gitdata repository yet.", "Run `gitdata init`.")

    # --- what git holds --------------------------------------------------------------------------------------

    def work_tree_snapshot(self) -> Snapshot:
        """The pointers and declarations that lie in the work tree, committed or not."""
        top = self.require_work_tree("status")
        files: dict[str, bytes] = {}
        for folder, names in _scan(top / DATASETS, top):
            files |= {f"{folder}/{n}": (top / folder / n).read_bytes() for n in names if n.endswith((".dvc", ".json"))}
        for folder, names in _scan(top / MODELS, top):
            files |= {f"{folder}/{n}": (top / folder / n).read_bytes() for n in names if n.endswith(".toml")}
        return self._snapshot(None, files)

    def snapshot(self, revision: str = "HEAD") -> Snapshot:
        """The pointers and declarations of a commit. Raises Mendable where there is no such commit."""
        commit = self.git.resolve(revision)
        if commit is None:
            if revision == "HEAD":
                raise Mendable("There is no commit yet.", "Commit first: `git commit`.")
            raise Mendable(f"There is no commit '{revision}'.", "See `git branch --all`.")
        links = [e.path for e in self.git.tree(commit, DATASETS, MODELS) if e.mode == "120000"]
        _refuse_links(links)
        return self._snapshot(commit, self.git.files(commit, DATASETS, MODELS))

    def declarations(self, commit: str) -> dict[str, str]:
        """The text of every declared model at a commit."""
        files = self.git.files(commit, MODELS).items()
        return {
            match["model"]: _text(content) for path, content in files if (match := _DECLARATION_PATH.fullmatch(path))
        }

    def _snapshot(self, commit: str | None, files: Mapping[str, bytes]) -> Snapshot:
        extensions: dict[str, dict[str, Extension]] = {}
        retracted: dict[str, set[str]] = {}
        declarations: dict[str, str] = {}
        paths: dict[str, str] = {}
        for path, content in sorted(files.items()):
            if match := _POINTER_PATH.fullmatch(path):
                if extension := read_pointer(path, content):
                    extensions.setdefault(match["dataset"], {})[extension.id] = extension
                    paths[extension.id] = path
            elif match := _RETRACTION_PATH.fullmatch(path):
                retracted.setdefault(match["dataset"], set()).add(match["id"])
            elif match := _DECLARATION_PATH.fullmatch(path):
                declarations[match["model"]] = _text(content)
        chains = {
            dataset: self._chain(dataset, known, frozenset(retracted.get(dataset, ())))
            for dataset, known in extensions.items()
        }
        return Snapshot(commit, chains, declarations, paths)

    def _chain(self, dataset: str, known: dict[str, Extension], retracted: frozenset[str]) -> Chain:
        """The chain of a dataset; parents whose pointer was deleted are looked for in history."""
        lost: set[str] = set()
        while missing := missing_parents(known):
            found = 0
            for id in missing:
                for path, content in self.git.deleted_files(
                    f"{DATASETS}/{dataset}/*-{id[: pointer.SHORT]}.dvc"
                ).items():
                    extension = read_pointer(path, content)
                    if extension and extension.id == id:
                        known[id] = extension
                        lost.add(id)
                        found += 1
            if not found:
                break
        return Chain(known, retracted, frozenset(lost))

    def live(self, chain: Chain, ids: Iterable[str] | None = None) -> frozenset[str]:
        """What is live of a chain, or of the closure of `ids`. Raises DataUnavailable naming a missing parent."""
        try:
            return chain.live if ids is None else chain.live_part(ids)
        except MissingParents as error:
            raise DataUnavailable(
                f"Extension {error.ids[0][: pointer.SHORT]} is named as a parent, but its pointer is neither here nor "
                "in history.",
                "Fetch the branch that holds it (`git fetch --all`; in a shallow clone `git fetch --unshallow`).",
            ) from error

    # --- the ledger ------------------------------------------------------------------------------------------

    @cached_property
    def git_remote(self) -> str | None:
        """The git remote that results go to: setting, upstream, `origin`, or the only one. None in a bare one."""
        if self.is_bare:
            return None
        remotes = self.git.remotes()
        chosen = os.environ.get("GITDATA_REMOTE") or self.git.config("gitdata.remote")
        if chosen:
            if chosen not in remotes:
                raise Mendable(f"There is no git remote '{chosen}'.", "See `git remote -v` and `gitdata.remote`.")
            return chosen
        branch = self.git.branch()
        upstream = self.git.config(f"branch.{branch}.remote") if branch else None
        for name in (upstream, "origin"):
            if name in remotes:
                return name
        return min(remotes) if len(remotes) == 1 else None

    @property
    def ledger_ref(self) -> str:
        """The ref that the ledger is read from: what the git remote has, or here where there is none."""
        if self.git_remote is None:
            return LEDGER_REF
        return f"refs/remotes/{self.git_remote}/{LEDGER_BRANCH}"

    def fetch_ledger(self) -> str | None:
        """Bring the ledger's ref up to date. Raises TryAgain where the git remote is away."""
        if self.git_remote is None:
            return self.git.resolve(LEDGER_REF)
        return self.git.fetch_ref(self.git_remote, LEDGER_REF, self.ledger_ref)

    def ledger_commit(self) -> str | None:
        return self.git.resolve(self.ledger_ref)

    def ledgers(self, commit: str | None) -> dict[str, Ledger]:
        """The ledger of every model at a commit of the ledger branch. Raises DataUnavailable if it is damaged."""
        if commit is None:
            return {}
        files: dict[str, dict[str, bytes]] = {}
        for path, content in self.git.files(commit, MODELS).items():
            _, _, rest = path.partition("/")
            model, _, name = rest.partition("/")
            if name:
                files.setdefault(model, {})[name] = content
        return {model: _ledger(model, own) for model, own in sorted(files.items())}

    def ledger(self, model: str, commit: str | None) -> Ledger:
        return self.ledgers(commit).get(model, Ledger(model))

    def deployment_tip(self, branch: str) -> str | None:
        """The tip of a branch as the git remote has it; without a git remote, the local one."""
        if self.git_remote is None:
            return self.git.resolve(f"refs/heads/{branch}")
        return self.git.resolve(f"refs/remotes/{self.git_remote}/{branch}")

    # --- where blobs lie -------------------------------------------------------------------------------------

    def blob_remote(self, purpose: Purpose, git_remote: str | None = None) -> config.RemoteConfig:
        """The DVC remote that belongs to a git remote (a name or a URL; default: `self.git_remote`).

        Raises Mendable where none is configured and none can be derived.
        """
        effective = config.effective(self._committed_config(), self._machine_config())
        name = effective.default_remote
        if name and name != DATA_REMOTE:
            data = effective.remote(name)
            self._refuse_own_folder(data, git_remote or self.git_remote)
        else:
            data = config.RemoteConfig(DATA_REMOTE, self.derived_url(git_remote), {})
        if purpose == "data":
            return data
        if MODELS_REMOTE in effective.names and name != DATA_REMOTE:
            return effective.remote(MODELS_REMOTE)
        return config.RemoteConfig(MODELS_REMOTE, f"{data.url.rstrip('/')}/{MODELS_REMOTE}", data.options)

    def derived_url(self, git_remote: str | None = None) -> str:
        """`<bare repository>/gitdata/remote` of a git remote: if you can push, you can store."""
        if self.is_bare:
            return str(self.state / "remote")
        name = git_remote or self.git_remote
        if name is None:
            raise Mendable(
                "There is no git remote, so there is no place for blobs beside this clone.",
                "Add one (`git remote add origin URL`), or name a store: `dvc remote add -d NAME URL`.",
            )
        url = self.git.remote_url(name) if name in self.git.remotes() else name
        if folder := _local_folder(url, self.top):
            return str(_git_folder_of(folder, name) / "gitdata" / "remote")
        if remote := _over_ssh(url):
            return remote
        raise Mendable(
            f"The git remote '{name}' ({url}) has no place for blobs that gitdata could derive.",
            "Name one: `dvc remote add -d NAME URL`, then commit .dvc/config.",
        )

    def _refuse_own_folder(self, remote: config.RemoteConfig, git_remote: str | None) -> None:
        """A folder inside one's own clone never satisfies a push to somewhere else."""
        folder = _local_folder(remote.url, self.top / ".dvc")
        if git_remote and folder and (folder == self.top or self.top in folder.parents):
            raise Mendable(
                f"The DVC remote '{remote.name}' is '{folder}', inside this clone: nobody else could read it.",
                "Name a store that others reach: `dvc remote add -d NAME URL`.",
            )

    def _committed_config(self) -> str | None:
        """The committed `.dvc/config`; a bare repository, a server or runner, takes nothing from a commit."""
        path = self.top / ".dvc" / "config"
        return path.read_text() if not self.is_bare and path.is_file() else None

    def _machine_config(self) -> list[str]:
        own = self.state / "config" if self.is_bare else self.top / ".dvc" / "config.local"
        return [path.read_text() for path in (*config.machine_files(), own) if path.is_file()]

    # --- what an extension consists of -----------------------------------------------------------------------

    def files_of(self, extension: Extension) -> tuple[File, ...]:
        """The listing of an extension, from the pointer or, for a long one, from its sidecar in the cache."""
        if extension.files is not None:
            return extension.files
        files = pointerfile.files_from_json(_json(self.cache.read(self.sidecar(extension, "listing.json"))))
        if pointer.listing_digest(files) != extension.listing:
            raise DataUnavailable(
                f"The listing of {extension.dataset}@{extension.version} is not the one its pointer names.",
                f"Fetch it again: `gitdata fetch {extension.dataset}@{extension.short}`.",
            )
        return files

    def sidecar(self, extension: Extension, name: str) -> Blob:
        path = f"{pointer.SIDECAR}/{name}"
        return next(blob_of(a) for a in extension.sidecars if a.path == path)

    def missing_from_cache(self, extension: Extension, splits: Iterable[str] = pointer.SPLITS) -> list[Blob]:
        """Blobs of an extension that the cache lacks, by stat; a long listing that is not here counts as one."""
        wanted = [directory_blob(extension), *(blob_of(a) for a in extension.sidecars)]
        absent = [blob for blob in wanted if not self.cache.holds(blob)]
        if extension.files is None and absent:
            return absent
        files = (file for file in self.files_of(extension) if file.split in set(splits))
        return absent + [blob for file in files if not self.cache.holds(blob := blob_of(file))]


def read_pointer(path: str, content: bytes) -> Extension | None:
    """The extension of a pointer; None where the file is none of ours. Raises DataUnavailable if it is damaged."""
    match = _POINTER_PATH.fullmatch(path)
    if match is None or pointer.split_stem(match["stem"]) is None:
        return None
    try:
        extension = pointerfile.decode(content, match["stem"])
    except PointerError as error:
        raise DataUnavailable(
            f"The pointer {path} is damaged: {error}.", f"Restore it: `git checkout HEAD -- {path}`."
        ) from error
    if extension.dataset != match["dataset"]:
        raise DataUnavailable(
            f"The pointer {path} belongs to the dataset '{extension.dataset}'.", "Move it back to its folder."
        )
    return extension


def blob_of(file: File | Attachment) -> Blob:
    return Blob(file.md5, file.size, file.sha256)


def directory_blob(thing: Extension | Entry) -> Blob:
    """The directory object; its own size stands nowhere, its md5 does."""
    directory = thing.directory if isinstance(thing, Extension) else thing.version.directory
    return Blob(f"{directory.md5}.dir", None)


def _ledger(model: str, files: Mapping[str, bytes]) -> Ledger:
    try:
        entries: dict[str, Entry] = {}
        stems: dict[str, str] = {}
        for name, content in sorted(files.items()):
            if name.endswith(".dvc"):
                stem = name.removesuffix(".dvc")
                version, number = pointerfile.decode_model(content, stem)
                if f"{stem}.verdict" not in files:
                    raise LedgerError(f"version {stem} has no verdict")
                entries[version.id] = Entry(number, version, decode_verdict(files[f"{stem}.verdict"]))
                stems[stem] = version.id
        champion = files.get("champion", b"").decode(errors="replace").strip()
        if champion and champion not in stems:
            raise LedgerError(f"its champion '{champion}' is none of its versions")
        return Ledger(model, entries, stems.get(champion))
    except (PointerError, LedgerError) as error:
        raise DataUnavailable(
            f"The ledger of model '{model}' is damaged: {error}.",
            f"Look at `git log {LEDGER_BRANCH}` and restore an earlier commit of it.",
        ) from error


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _json(content: bytes) -> object:
    import json

    return json.loads(content)


def _scan(folder: Path, top: Path) -> list[tuple[str, list[str]]]:
    """Folders below `folder`, relative to `top`, with the plain files in each; links are refused."""
    found: list[tuple[str, list[str]]] = []
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if not current.is_dir():
            continue
        names: list[str] = []
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if entry.name.endswith((".dvc", ".toml", ".json")) or current == top / DATASETS:
                        _refuse_links([str(Path(entry.path).relative_to(top))])
                elif entry.is_dir():
                    if pointer.split_stem(entry.name) is None:
                        waiting.append(Path(entry.path))
                else:
                    names.append(entry.name)
        found.append((current.relative_to(top).as_posix(), names))
    return found


def _refuse_links(paths: list[str]) -> None:
    for path in paths:
        if path.endswith((".dvc", ".toml", ".json")) or path.count("/") <= 1:
            raise DataUnavailable(f"{path} is a symbolic link; gitdata follows none.", "Replace it by a plain file.")


def _local_folder(url: str, base: Path) -> Path | None:
    """The folder that a URL or path names, or None where it names another machine."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://")).resolve()
    if "://" in url or (_SCP_URL.fullmatch(url) and not (base / url).exists()):
        return None
    return (base / url).resolve()


def _git_folder_of(folder: Path, name: str) -> Path:
    for candidate in (folder / ".git", folder, folder.with_name(folder.name + ".git")):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            return candidate
    raise TryAgain(
        f"The git remote '{name}' is not reachable: '{folder}' is no git repository.",
        "Check `git remote -v`, or that the disk is mounted, then run the same command again.",
    )


def _over_ssh(url: str) -> str | None:
    if url.startswith("ssh://"):
        return f"{url.rstrip('/')}/gitdata/remote"
    match = _SCP_URL.fullmatch(url)
    if match and "://" not in url and match["path"].startswith("/"):
        return f"ssh://{match['host']}{match['path'].rstrip('/')}/gitdata/remote"
    return None
