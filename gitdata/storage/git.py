"""Git: what gitdata asks of git and does with it; the only user of `process`, which runs it.

Hot reads are one subprocess each (`ls-tree`, `cat-file --batch`); writes to the ledger are plumbing on objects and one
compare-and-swap of a ref, so that no work tree or index is touched. GitPython makes repositories.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitdata.errors import DataUnavailable, Mendable, TryAgain
from gitdata.storage.process import GitFailed, run_git, scrubbed_environment

# The ledger is to survive a power cut: git flushes neither loose objects nor refs unless it is told to.
_DURABLE = ("-c", "core.fsync=all")
READ = (".dvc", ".json", ".toml", ".verdict")
_PYTHON = re.compile(r"models/[^/]+\.py")  # beside the model files that name it
LARGEST = 4 * 1024 * 1024  # bytes
_PATIENT = ("-c", "core.filesRefLockTimeout=5000")  # milliseconds
FALLBACK_IDENTITY = {"NAME": "gitdata", "EMAIL": "gitdata@localhost"}


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file of a commit: octal mode, object name and path from the root."""

    mode: str
    object: str
    path: str

    @property
    def is_plain_file(self) -> bool:
        return self.mode in ("100644", "100755")


class Git:
    """A git repository: its work tree (None if bare), its own git folder and the one that worktrees share."""

    def __init__(self, folder: Path, common: Path, work_tree: Path | None) -> None:
        self.folder = folder
        self.common = common
        self.work_tree = work_tree

    @classmethod
    def discover(cls, start: Path) -> Git:
        """The repository that `start` lies in. Raises Mendable where there is none."""
        if not start.is_dir():
            raise Mendable(f"'{start}' is not a folder.", "Name a folder inside a git repository.")
        questions = ["--is-bare-repository", "--absolute-git-dir", "--git-common-dir", "--show-toplevel"]
        try:
            answer = run_git(["rev-parse", *questions], start).decode(errors="surrogateescape")
            _, folder, common, top = answer.removesuffix("\n").split("\n", 3)
            return cls(Path(folder), (start / common).resolve(), Path(top))
        except GitFailed as error:
            if error.stdout.startswith("true\n"):  # a bare repository answers all but the last question
                _, folder, common = error.stdout.splitlines()[:3]
                return cls(Path(folder), (start / common).resolve(), None)
            if "dubious ownership" in error.stderr:
                raise Mendable(f"Git does not trust '{start}': another user owns it.", error.stderr.strip()) from error
            if "work tree" in error.stderr:
                raise Mendable(f"'{start}' lies inside a git folder.", "Go to the work tree.") from error
            raise Mendable(
                f"'{start}' is not in a git repository.", "Make one with `git init`, then `gitdata init`."
            ) from error

    @classmethod
    def create(cls, folder: Path, *, bare: bool) -> Git:
        """A new repository with the branch `main`, whatever this machine's defaults are."""
        import git

        folder.mkdir(parents=True, exist_ok=True)
        git.Repo.init(folder, bare=bare, initial_branch="main").close()
        return cls.discover(folder)

    @classmethod
    def clone(cls, url: str, folder: Path | None) -> Git:
        """Clone a repository as git does, its questions and progress on the terminal. Raises TryAgain."""
        folder = folder or Path(re.split(r"[/:]", url.rstrip("/").removesuffix("/.git"))[-1].removesuffix(".git"))
        command = ["git", "clone", "--", url, str(folder)]
        status = subprocess.run(command, env=scrubbed_environment(), stdout=sys.stderr, check=False).returncode
        if status != 0:
            raise TryAgain(f"`git clone` failed ({status}).", "Mend what git says above, then try again.")
        return cls.discover(folder)

    @property
    def top(self) -> Path:
        """Where git commands run: the work tree, or the folder of a bare repository."""
        return self.work_tree or self.folder

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """The standard output of a git command. Raises GitFailed."""
        return run_git(arguments, self.top, stdin, environment)

    def text(self, *arguments: str) -> str:
        """The standard output of a git command as text, without the final newline."""
        return self.run(*arguments).decode(errors="surrogateescape").removesuffix("\n")

    def try_text(self, *arguments: str) -> str | None:
        """As `text`, or None where the command fails."""
        try:
            return self.text(*arguments)
        except GitFailed:
            return None

    # --- reading ---------------------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """The full name of the commit that `revision` means, or None."""
        return self.try_text("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def tree(self, revision: str, *paths: str) -> list[TreeEntry]:
        """All files below `paths` at a revision; none where a path does not exist there."""
        listing = self.run("ls-tree", "-r", "-z", "--full-tree", revision, "--", *paths)
        return [tree_entry(line) for line in listing.split(b"\0") if line]

    def objects(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of many objects, in one process. Raises DataUnavailable where one is too large to be ours."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        self._refuse_giants(wanted)
        output = self.run("cat-file", "--batch", stdin="".join(f"{name}\n" for name in wanted).encode())
        contents: dict[str, bytes] = {}
        position = 0
        for name in wanted:
            end = output.index(b"\n", position)
            fields = output[position:end].split(b" ")
            if len(fields) != 3:
                raise GitFailed(["cat-file"], 1, f"object {name} is missing")
            size = int(fields[2])
            contents[name] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return contents

    def files(self, revision: str, *paths: str) -> dict[str, bytes]:
        """Path and content of what gitdata reads below `paths` at a revision; links and submodules are left out."""
        entries = [entry for entry in self.tree(revision, *paths) if entry.is_plain_file and is_read(entry.path)]
        return self.contents({entry.path: entry.object for entry in entries})

    def contents(self, names: Mapping[str, str]) -> dict[str, bytes]:
        """Path and content of files, given by path and object name. Raises as `objects` does."""
        contents = self.objects(names.values())
        return {path: contents[name] for path, name in names.items()}

    def _refuse_giants(self, names: Sequence[str]) -> None:
        """Nothing that gitdata reads from git is large; a few compressed bytes may claim to be gigabytes."""
        asked = "".join(f"{name}\n" for name in names).encode()
        sizes = self.run("cat-file", "--batch-check=%(objectsize) %(objectname)", stdin=asked).decode().splitlines()
        for line in sizes:
            size, _, name = line.partition(" ")
            if size.isdigit() and int(size) > LARGEST:
                raise DataUnavailable(
                    f"Git's object {name[:12]} has {int(size):,} bytes; nothing that gitdata reads is that large.",
                    "`git rev-list --all --objects` tells its path; remove that file.",
                )

    @cached_property
    def settings(self) -> dict[str, str]:
        """Git's configuration as it holds here, in one process; of a key that stands twice the last value."""
        entries = self.run("config", "--list", "-z").decode(errors="surrogateescape").split("\0")
        pairs = (entry.partition("\n") for entry in entries if entry)
        return {key: value if newline else "true" for key, newline, value in pairs}

    def config(self, key: str) -> str | None:
        """A setting; section and name in lower case, as git lists them."""
        return self.settings.get(key)

    def branch(self) -> str | None:
        """The checked-out branch, also when unborn; None for a detached HEAD."""
        return self.try_text("symbolic-ref", "--quiet", "--short", "HEAD")

    def branches(self) -> dict[str, str]:
        """Local branches and their commits."""
        listing = self.text("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
        pairs = (line.split(" ", 1) for line in listing.splitlines())
        return {name.removeprefix("refs/heads/"): commit for commit, name in pairs}

    def commits_of_refs(self) -> list[str]:
        """The commits that refs of any kind lead to: branches, tags, stashes."""
        listing = self.text("for-each-ref", "--format=%(objecttype) %(*objecttype) %(objectname)")
        kinds = (line.rpartition(" ") for line in listing.splitlines())
        return [name for kind, _, name in kinds if "commit" in kind.split()]

    def remembered(self, remote: str) -> dict[str, str]:
        """The branches of a remote and their commits as this clone remembers them."""
        prefix = f"refs/remotes/{remote}/"
        listing = self.text("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        pairs = (line.split(" ", 1) for line in listing.splitlines())
        return {name.removeprefix(prefix): commit for commit, name in pairs if not name.endswith("/HEAD")}

    def work_tree_commits(self) -> list[str]:
        """The commits that the work trees of this repository have checked out."""
        listing = (self.try_text("worktree", "list", "--porcelain") or "").splitlines()
        commits = (line.removeprefix("HEAD ") for line in listing if line.startswith("HEAD "))
        return [commit for commit in commits if commit.strip("0")]

    def work_trees(self) -> list[Path]:
        """The folders of the work trees of this repository that are there."""
        listing = (self.try_text("worktree", "list", "--porcelain") or "").split("\n\n")
        entries = [entry.strip("\n").split("\n") for entry in listing if entry.strip("\n")]
        paths = [Path(lines[0].removeprefix("worktree ")) for lines in entries if "bare" not in lines]
        return [path for path in paths if path.is_dir()]

    def is_ancestor(self, older: str, younger: str) -> bool:
        """Whether `younger` has `older` in its history; of a commit that is not here nobody knows, so no."""
        return self.try_text("merge-base", "--is-ancestor", older, younger) is not None

    def tips_of(self, *patterns: str) -> list[str]:
        """The commits of all refs that match, in order of their names."""
        return self.text("for-each-ref", "--format=%(objectname)", *patterns).split()

    def remotes(self) -> frozenset[str]:
        """The names of the git remotes."""
        keys = (key for key in self.settings if key.startswith("remote.") and key.endswith(".url"))
        return frozenset(key.removeprefix("remote.").removesuffix(".url") for key in keys)

    def remote_url(self, name: str) -> str:
        """The URL of a remote, with `url.*.insteadOf` applied."""
        return self.text("remote", "get-url", "--", name)

    def hooks_folder(self) -> Path:
        """Where git looks for hooks, with core.hooksPath and worktrees respected."""
        return (self.top / self.text("rev-parse", "--git-path", "hooks")).resolve()

    def introduced(self, folder: str, revision: str = "HEAD") -> dict[str, dict[str, str]]:
        """Files below `folder` with the commit of a revision's history that added them first."""
        if self.resolve(revision) is None:
            return {}
        which = ("-m", "--full-history", "--no-renames", "--diff-filter=A", "--name-only")  # a merge may bring its own
        log = self.text("log", *which, "--format=%x01%H%x02%cI%x02%an%x02%s", revision, "--", folder)
        found: dict[str, dict[str, str]] = {}
        for entry in re.split(r"\x01(?=[0-9a-f]{40,64}\x02)", log)[1:]:  # names and subjects may hold anything
            head, *paths = entry.split("\n")
            about = dict(zip(("commit", "time", "author", "subject"), head.split("\x02", 3), strict=True))
            found |= dict.fromkeys((path for path in paths if path), about)
        return found

    def files_of_history(self, pattern: str) -> dict[str, bytes]:
        """Plain files matching a pathspec that any commit of any branch added, with their content there."""
        found = dict(reversed(self.history("--all", "--diff-filter=A", "--", pattern)))
        contents = self.objects(found.values())
        return {path: contents[name] for path, name in found.items()}

    def history(self, *arguments: str) -> list[tuple[str, str]]:
        """(path, object) of the plain files that `git log` shows as added or changed, newest first.

        Names of files may hold anything, so they are taken from the raw format alone and are never part of a command.
        """
        which = ("--raw", "--no-abbrev", "--no-renames", "-m", "-z", "--format=", "--full-history")
        tokens = iter(self.run("log", *which, *arguments).split(b"\0"))
        found = []
        for token in tokens:
            description = token.strip(b"\n").decode(errors="replace")
            if description.startswith(":"):
                path = next(tokens).decode(errors="surrogateescape")
                _, mode, _, name, _ = description.split(" ")
                if TreeEntry(mode, name, path).is_plain_file:
                    found.append((path, name))
        return found

    # --- writing ---------------------------------------------------------------------------------------------

    def stage(self, *paths: Path) -> None:
        """`git add` of files, whatever .gitignore says. Raises Mendable where git does not let us."""
        try:
            self.run("add", "--force", "--", *(str(path) for path in paths))
        except GitFailed as error:
            raise Mendable(
                f"Git could not stage {paths[0].name}: {error.stderr.strip()}", "Mend that, then try again."
            ) from error

    def commit(self, message: str, *paths: Path) -> str:
        """Commit `paths`, and only these, as a person's commit: with hooks, signing and their identity."""
        try:
            self.run("commit", "--quiet", "-m", message, "--", *(str(path) for path in paths))
        except GitFailed as error:
            if "tell me who you are" in error.stderr or "identity" in error.stderr:
                raise Mendable(
                    "Git does not know who you are, so nothing was committed; the pointer is staged.",
                    'Set `git config user.name "…"` and `git config user.email "…"`, then `git commit`.',
                ) from error
            raise Mendable(
                f"Git could not commit; the pointer is staged.\n{error.stderr.strip()}",
                "Then run `git commit`.",
            ) from error
        return self.text("rev-parse", "HEAD")

    def write_blob(self, content: bytes) -> str:
        return self.run(*_DURABLE, "hash-object", "-w", "--stdin", stdin=content).decode().strip()

    def commit_files(self, parent: str | None, changes: Mapping[str, bytes | None], message: str) -> str:
        """A new commit object: the tree of `parent` with files written (bytes) or removed (None).

        No ref moves. Author and committer are git's own, or `gitdata` where no identity is configured.
        """
        index = self.folder / f"gitdata-index-{os.getpid()}"
        environment = {"GIT_INDEX_FILE": str(index)}
        try:
            if parent:
                self.run("read-tree", parent, environment=environment)
            lines = []
            for path, content in changes.items():
                if content is None:
                    if parent:
                        lines.append(f"0 {'0' * len(parent)}\t{path}")
                else:
                    lines.append(f"100644 {self.write_blob(content)}\t{path}")
            self.run("update-index", "--index-info", stdin="\n".join(lines).encode(), environment=environment)
            tree = self.run(*_DURABLE, "write-tree", environment=environment).decode().strip()
        finally:
            index.unlink(missing_ok=True)
        parents = ["-p", parent] if parent else []
        sign = ["-S"] if self.config("commit.gpgsign") == "true" else []
        arguments = ["commit-tree", *sign, *parents, "-m", message, tree]
        return self.run(*_DURABLE, *arguments, environment=self.identity()).decode().strip()

    def identity(self) -> dict[str, str]:
        """Variables that name author and committer where nothing configures them: servers often have no one."""
        names = {}
        for role in ("AUTHOR", "COMMITTER"):
            if self.try_text("var", f"GIT_{role}_IDENT") is None or self.config("user.email") is None:
                for field, value in FALLBACK_IDENTITY.items():
                    variable = f"GIT_{role}_{field}"
                    names[variable] = os.environ.get(variable, value)
        return names

    def swap_ref(self, ref: str, new: str, old: str | None) -> bool:
        """Move `ref` from `old` (None: it does not exist) to `new`; False if somebody was faster."""
        try:
            self.run(*_DURABLE, *_PATIENT, "update-ref", "-m", "gitdata", ref, new, old or "0" * len(new))
        except GitFailed as error:
            if "exists; cannot create" in error.stderr:
                raise Mendable(
                    f"Git cannot make {ref}: a branch has the name of a part of it.",
                    "Rename that branch: `git branch -m gitdata ANOTHER-NAME`.",
                ) from error
            if "File exists" in error.stderr:  # git has waited for whoever holds the lock
                raise TryAgain(
                    f"Git cannot lock {ref}: {error.stderr.strip().splitlines()[0]}",
                    "If no git is at work there, remove that lock file; then run the same command again.",
                ) from error
            if "but expected" in error.stderr or "already exists" in error.stderr:
                return False
            raise
        return True

    def push_commit(self, remote: str, commit: str, ref: str, old: str | None) -> bool:
        """Push a commit object as `ref` of a remote, by compare-and-swap; False if somebody was faster.

        Raises TryAgain where the remote is away or does not let us.
        """
        lease = f"--force-with-lease={ref}:{old or ''}"
        try:
            self.run("push", "--quiet", "--no-verify", lease, "--", remote, f"{commit}:{ref}")
        except GitFailed as error:
            if any(
                sign in error.stderr for sign in ("stale info", "fetch first", "non-fast-forward", "cannot lock ref")
            ):
                return False
            raise TryAgain(
                f"The ledger could not be pushed to '{remote}': {error.stderr.strip()}",
                "Nothing was published; run the same command again when the remote is back.",
            ) from error
        return True

    def remote_ref(self, remote: str, ref: str) -> str | None:
        """What `ref` is on a remote right now, or None. Raises TryAgain where the remote is away."""
        try:
            answer = self.text("ls-remote", "--", remote, ref)
        except GitFailed as error:
            raise TryAgain(
                f"The git remote '{remote}' does not answer: {error.stderr.strip()}",
                "Check `git remote -v` and the connection, then run the same command again.",
            ) from error
        lines = (line.split("\t") for line in answer.splitlines())
        return next((commit for commit, name in lines if name == ref), None)

    def remote_branches(self, remote: str) -> dict[str, str]:
        """The branches of a remote right now and their commits, which are fetched unless they are here.

        No ref of this clone moves. Raises TryAgain where the remote is away.
        """
        try:
            lines = [line.split("\t") for line in self.text("ls-remote", "--heads", "--", remote).splitlines()]
            found = {name.removeprefix("refs/heads/"): commit for commit, name in lines}
            if unknown := [f"refs/heads/{name}" for name, commit in found.items() if self.resolve(commit) is None]:
                self.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "--", remote, *unknown)
        except GitFailed as error:
            raise TryAgain(
                f"The git remote '{remote}' does not answer: {error.stderr.strip()}",
                "Check `git remote -v` and the connection, then run the same command again.",
            ) from error
        return found

    def remote_commit(self, remote: str, ref: str) -> str | None:
        """The commit that `ref` of a remote is now, fetched; None where there is no such ref. No ref of ours moves."""
        commit = self.remote_ref(remote, ref)
        if commit is not None and self.resolve(commit) is None:
            try:
                self.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "--", remote, ref)
            except GitFailed as error:
                raise TryAgain(f"{ref} could not be fetched: {error.stderr.strip()}", "Try again.") from error
        return commit


def is_read(path: str) -> bool:
    """Whether a file below datasets/ or models/ is of a kind that gitdata reads."""
    return path.endswith(READ) or path.endswith("/champion") or _PYTHON.fullmatch(path) is not None


def tree_entry(line: bytes) -> TreeEntry:
    description, path = line.split(b"\t", 1)
    mode, _, name = description.decode().split(" ")
    return TreeEntry(mode, name, path.decode(errors="surrogateescape"))
