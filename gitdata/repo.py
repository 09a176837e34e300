"""Repo: opens a repository and holds its rooms.

It joins what git holds (pointers, declarations, the ledger) with where blobs lie (the cache of this clone, the
DVC remote that belongs to a git remote), and hands both to the commands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from gitdata import durable, pointers
from gitdata.data import pointer, pointerfile
from gitdata.data.chain import Chain, MissingParents
from gitdata.data.ledger import Entry, Ledger
from gitdata.data.pointer import Attachment, Extension, File
from gitdata.errors import DataUnavailable, Mendable
from gitdata.snapshot import (
    DATASETS,
    LEDGER_BRANCH,
    MODELS,
    Snapshot,
    declarations_of,
    is_pointer,
    ledger_of,
    refuse_links,
    snapshot_of,
    work_tree_paths,
)
from gitdata.storage import config, index
from gitdata.storage.cache import Blob, Cache
from gitdata.storage.git import Git, is_read
from gitdata.store import git_folder_of, local_folder, over_ssh

LEDGER_REF = f"refs/heads/{LEDGER_BRANCH}"
DATA_REMOTE = "gitdata"
MODELS_REMOTE = "gitdata-models"
OF_THIS_MACHINE = (".dvc/config.local", ".dvc/cache", ".dvc/tmp")

Purpose = Literal["data", "models"]


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
    def is_shared(self) -> bool:
        """Whether several users write to this repository (git's core.sharedRepository)."""
        return self.git.config("core.sharedrepository") not in (None, "false", "umask", "0")

    @property
    def state(self) -> Path:
        """What belongs to this clone only: jobs, locks, stamps."""
        return self.git.common / "gitdata"

    @cached_property
    def cache(self) -> Cache:
        """The blobs of this clone; linked worktrees share those of the main one, as they share its objects."""
        if self.git.work_tree is None:
            return Cache(self.state / "cache")
        linked = self.git.folder != self.git.common and self.git.common.name == ".git"
        self._refuse_committed()
        return Cache((self.git.common.parent if linked else self.git.work_tree) / ".dvc" / "cache")

    def _refuse_committed(self) -> None:
        """Raises Mendable where git tracks what is for this machine alone to say: a commit may not smuggle it in.

        A link, or a folder, that this machine's owner made there is fine.
        """
        if (self.top / ".dvc").is_symlink():
            raise Mendable("'.dvc' is a symbolic link; gitdata follows none.", "Replace it by the folder.")
        tracked = self.git.run("ls-files", "-z", "--", *OF_THIS_MACHINE).split(b"\0")[0]
        if tracked:
            name = tracked.decode(errors="replace")
            raise Mendable(
                f"'{name}' is committed, though only this machine may say what it says.",
                f"Look at it, then delete it here and in git: `git rm -r --force -- '{name}'`.",
            )

    @property
    def who(self) -> str:
        """Whoever runs this, as git knows them, or else the system."""
        import getpass

        return self.git.config("user.name") or getpass.getuser()

    def require_work_tree(self, command: str) -> Path:
        """The work tree. Raises Mendable in a bare repository."""
        if self.git.work_tree is None:
            raise Mendable(f"`gitdata {command}` needs a work tree; '{self.top}' is bare.", "Run it in a clone.")
        return self.git.work_tree

    def writable(self, path: Path) -> Path:
        """`path`, a place in the work tree. Raises Mendable where it, or a folder on the way, is a symbolic link.

        A commit may bring links, which would lead what is written to anywhere.
        """
        for part in (path, *path.parents):
            if part == self.top:
                return path
            if part.is_symlink():
                raise Mendable(f"'{part}' is a symbolic link; gitdata writes through none.", "Remove it.")
        raise Mendable(f"'{path}' lies outside of '{self.top}'.", "Name a place inside.")

    def require_initialised(self) -> None:
        """Raises Mendable unless `gitdata init` was run here."""
        if not self.is_bare and not (self.top / ".dvc" / "config").is_file():
            raise Mendable(f"'{self.top}' is not a gitdata repository yet.", "Run `gitdata init`.")

    # --- what git holds --------------------------------------------------------------------------------------

    def work_tree_snapshot(self) -> Snapshot:
        """What the pointers and declarations that lie in the work tree say, committed or not."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as beside:
            unchanged = beside.submit(index.unchanged, self.git, DATASETS)  # git looks at the files meanwhile
            paths = work_tree_paths(self.require_work_tree("status"))
            named = [path for path in paths if is_pointer(path)]
            extensions = pointers.read(
                self.state, lambda: {path: unchanged.result().get(path) for path in named}, self._work_tree_contents
            )
        others = self._work_tree_contents(sorted({*paths} - {*named}))
        return snapshot_of(None, extensions, others, self.git.files_of_history)

    def work_tree_files(self) -> dict[str, bytes]:
        """Pointers, retractions and declarations in the work tree by path. Raises DataUnavailable for a link."""
        return self._work_tree_contents(work_tree_paths(self.require_work_tree("status")))

    def _work_tree_contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        contents = {}
        for path in paths:
            with open(f"{self.top}/{path}", "rb") as file:  # noqa: PTH123 - half the time, for thousands of files
                contents[path] = file.read()
        return contents

    def snapshot(self, revision: str = "HEAD") -> Snapshot:
        """The pointers and declarations of a commit. Raises Mendable where there is no such commit."""
        commit = self.git.resolve(revision)
        if commit is None:
            if revision == "HEAD" and self.is_bare and self.git.branches():
                raise Mendable(
                    f"HEAD names the branch '{self.git.branch()}', which does not exist here.",
                    "`gitdata doctor --fix` mends it, or `git symbolic-ref HEAD refs/heads/BRANCH`.",
                )
            if revision == "HEAD":
                raise Mendable("There is no commit yet.", "Commit first: `git commit`.")
            raise Mendable(f"There is no commit '{revision}'.", "See `git branch --all`.")
        entries = self.git.tree(commit, DATASETS, MODELS)
        refuse_links([entry.path for entry in entries if entry.mode == "120000"])
        objects = {entry.path: entry.object for entry in entries if entry.is_plain_file and is_read(entry.path)}

        def contents(paths: Iterable[str]) -> dict[str, bytes]:
            return self.git.contents({path: objects[path] for path in paths})

        extensions = pointers.read(self.state, lambda: objects, contents)
        others = contents(path for path in objects if not is_pointer(path))
        return snapshot_of(commit, extensions, others, self.git.files_of_history)

    def declarations(self, commit: str) -> dict[str, str]:
        """The text of every declared model at a commit."""
        return declarations_of(self.git.files(commit, MODELS))

    def live(self, chain: Chain, ids: Iterable[str] | None = None) -> frozenset[str]:
        """What is live of a chain, or of the closure of `ids`. Raises DataUnavailable naming a missing parent."""
        try:
            return chain.live if ids is None else chain.live_part(ids)
        except MissingParents as error:
            children = (e for e in chain.extensions.values() if error.ids[0] in e.parents)
            child = min(children, key=lambda extension: extension.stem)
            raise DataUnavailable(
                f"{child.dataset}@{child.version} ({child.short}) names the parent {error.ids[0][: pointer.SHORT]}, "
                "whose pointer is neither here nor in history.",
                "Fetch the branch that holds it (`git fetch --all`; in a shallow clone `git fetch --unshallow`); "
                "if the parent was never committed, put its pointer back or remove the child's.",
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
        """Bring the ledger's ref up to date.

        Raises TryAgain where the git remote is away, DataUnavailable where it lost what was seen of the ledger.
        """
        found = self.ledger_now()
        if self.git_remote is not None and found is not None and found != self.ledger_commit():
            self.git.run("update-ref", "-m", "gitdata", self.ledger_ref, found)
        self.keep_ledger(found)
        return found

    def ledger_now(self) -> str | None:
        """The ledger's commit as it is, without moving a ref. Raises as `fetch_ledger` does."""
        if self.git_remote is None:
            found = self.git.resolve(LEDGER_REF)
        else:
            found = self.git.remote_commit(self.git_remote, LEDGER_REF)
        self._require_continuation(found)
        return found

    def keep_ledger(self, commit: str | None) -> None:
        """Remember the ledger as it was seen last: what comes next must continue it."""
        if self._ledger_seen != (commit or ""):
            durable.write(self._ledger_note, (commit or "").encode())

    def _require_continuation(self, found: str | None) -> None:
        """Raises DataUnavailable where the ledger was deleted or rewritten: what was here may be the last copy."""
        here = self.ledger_commit() if self._ledger_seen is None else self._ledger_seen
        if not here or here == found or (found is not None and self.git.is_ancestor(here, found)):
            return
        where = f"of the remote '{self.git_remote}'" if self.git_remote else "of this repository"
        if self.git_remote is None:
            back = f"git update-ref {LEDGER_REF} {here[:12]}"
        else:
            back = f"git push --force {self.git_remote} {here[:12]}:{LEDGER_REF}"
        raise DataUnavailable(
            f"The ledger {where} {'is gone' if found is None else 'was rewritten'}: it lacks {here[:12]}, which was "
            "seen here.",
            f"Restore it: `{back}`; or, if that was meant, forget it: `rm {self._ledger_note}`.",
        )

    @property
    def _ledger_note(self) -> Path:
        return self.state / "ledgers" / (self.git_remote or "own").replace("/", "%")

    @property
    def _ledger_seen(self) -> str | None:
        """The commit of the ledger that was seen last; empty: it was seen that there is none; None: nobody looked."""
        return self._ledger_note.read_text(errors="replace").strip() if self._ledger_note.is_file() else None

    @property
    def is_ledger_known(self) -> bool:
        """Whether the ledger was ever fetched, or the git remote was seen to have none."""
        return self.git_remote is None or self.ledger_commit() is not None or self._ledger_seen is not None

    def ledger_commit(self) -> str | None:
        return self.git.resolve(self.ledger_ref)

    def ledgers(self, commit: str | None) -> dict[str, Ledger]:
        """The ledger of every model at a commit of the ledger branch. Raises DataUnavailable if it is damaged."""
        return self._ledgers(commit, MODELS)

    def _ledgers(self, commit: str | None, folder: str) -> dict[str, Ledger]:
        if commit is None:
            return {}
        files: dict[str, dict[str, bytes]] = {}
        for path, content in self.git.files(commit, folder).items():
            _, _, rest = path.partition("/")
            model, _, name = rest.partition("/")
            if name:
                files.setdefault(model, {})[name] = content
        return {model: ledger_of(model, own) for model, own in sorted(files.items())}

    def ledger(self, model: str, commit: str | None) -> Ledger:
        """The ledger of one model; damage to another's does not matter here."""
        return self._ledgers(commit, f"{MODELS}/{model}").get(model, Ledger(model))

    def models_at(self, commit: str | None) -> list[str]:
        """The names of the models that the ledger has at a commit."""
        entries = self.git.tree(commit, MODELS) if commit else []
        return sorted({entry.path.split("/")[1] for entry in entries if entry.path.count("/") >= 2})

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
        effective = self.dvc_config()
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

    def dvc_config(self) -> config.Config:
        """DVC's configuration as it holds here. Raises Mendable where a part of it is malformed."""
        return config.effective(self._committed_config(), self._machine_config(), DATA_REMOTE)

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
        if folder := local_folder(url, self.top):
            return str(git_folder_of(folder, name) / "gitdata" / "remote")
        if remote := over_ssh(url):
            return remote
        raise Mendable(
            f"The git remote '{name}' ({url}) has no place for blobs that gitdata could derive.",
            "Name one: `dvc remote add -d NAME URL`, then commit .dvc/config. On a host of your own, "
            "where SSH leads to files, a git URL with the whole path will do: HOST:/PATH.",
        )

    def _refuse_own_folder(self, remote: config.RemoteConfig, git_remote: str | None) -> None:
        """A folder inside one's own clone never satisfies a push to somewhere else."""
        folder = local_folder(remote.url, self.top / ".dvc")
        if git_remote and folder and (folder == self.top or self.top in folder.parents):
            raise Mendable(
                f"The DVC remote '{remote.name}' is '{folder}', inside this clone: nobody else could read it.",
                "Name a store that others reach: `dvc remote add -d NAME URL`.",
            )

    def _committed_config(self) -> str | None:
        """The committed `.dvc/config`; a bare repository, a server or runner, takes nothing from a commit."""
        path = self.top / ".dvc" / "config"
        return path.read_text(errors="replace") if not self.is_bare and path.is_file() else None

    def _machine_config(self) -> list[str]:
        own = self.state / "config" if self.is_bare else self.top / ".dvc" / "config.local"
        if not self.is_bare and (own.exists() or own.is_symlink()):
            self._refuse_committed()
        return [path.read_text(errors="replace") for path in (*config.machine_files(), own) if path.is_file()]

    # --- what an extension consists of -----------------------------------------------------------------------

    def files_of(self, extension: Extension, cache: Cache | None = None) -> tuple[File, ...]:
        """The listing of an extension, from the pointer or, for a long one, from its sidecar in the cache."""
        if extension.files is not None:
            return extension.files
        try:
            content = (cache or self.cache).read(self.sidecar(extension, "listing.json"))
            files = pointerfile.files_from_json(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise malformed_sidecar(extension, "listing.json") from error
        if pointer.listing_digest(files) != extension.listing:
            raise malformed_sidecar(extension, "listing.json")
        return files

    def sidecar(self, extension: Extension, name: str) -> Blob:
        path = f"{pointer.SIDECAR}/{name}"
        for attachment in extension.sidecars:
            if attachment.path == path:
                return blob_of(attachment)
        raise DataUnavailable(
            f"The pointer of {extension.dataset}@{extension.version} ({extension.short}) names no sidecar '{name}'.",
            "It was edited by hand; restore it from git.",
        )

    def missing_from_cache(self, extension: Extension, splits: Iterable[str] = pointer.SPLITS) -> list[Blob]:
        """Blobs of an extension that the cache lacks, by stat; a long listing that is not here counts as one."""
        wanted = [directory_blob(extension), *(blob_of(a) for a in extension.sidecars)]
        absent = [blob for blob in wanted if not self.cache.holds(blob)]
        if extension.files is None and absent:
            return absent
        files = (file for file in self.files_of(extension) if file.split in set(splits))
        return absent + [blob for file in files if not self.cache.holds(blob := blob_of(file))]


def malformed_sidecar(extension: Extension, name: str) -> DataUnavailable:
    return DataUnavailable(
        f"The sidecar '{name}' of {extension.dataset}@{extension.version} ({extension.short}) is not what it must be.",
        f"It was not made by gitdata; `gitdata retract {extension.dataset}@{extension.short}` leaves it out.",
    )


def blob_of(file: File | Attachment) -> Blob:
    return Blob(file.md5, file.size, file.sha256)


def directory_blob(thing: Extension | Entry) -> Blob:
    """The directory object; its own size stands nowhere, its md5 does."""
    directory = thing.directory if isinstance(thing, Extension) else thing.version.directory
    return Blob(f"{directory.md5}.dir", None)
