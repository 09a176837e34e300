"""Doctor: looks at everything around the data — programs, settings, hooks, stores, jobs — and mends what it may.

A *check* has a state: `ok`, `finding` (wrong, with the next step), `fixed`, or `note` (worth knowing, nothing to mend).
Content is looked at by `verify`, not here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gitdata import durable
from gitdata.automation import hooks
from gitdata.automation.forge.setup import outdated, set_up
from gitdata.automation.jobs import Spool
from gitdata.automation.runner import is_at_work
from gitdata.commands.init import derive_remote, init, is_initialised, remote_to_derive
from gitdata.commands.records import Record
from gitdata.commands.situation import declared
from gitdata.commands.transfer import open_remote
from gitdata.errors import GitdataError
from gitdata.repo import Purpose, Repo
from gitdata.snapshot import DATASETS, MODELS
from gitdata.storage.cache import Blob

OLDEST_GIT = (2, 34)
BROKEN_JAX = "0.10.2"
RUNNER_LOG = "runner.log"
LITTLE_ROOM = 1_000_000_000  # bytes
INDEX_NAME = re.compile(r"gitdata-index-([0-9]+)")

State = Literal["ok", "finding", "fixed", "note"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing; `fix` mends it, where that can be done without asking."""

    name: str
    state: State
    message: str
    next_step: str = ""
    fix: Callable[[], object] | None = None


def doctor(repo: Repo, *, fix: bool) -> list[Record]:
    """One record per check; with `fix` what can be mended is, and says so."""
    return [_record(_fixed(check) if fix and check.fix else check) for check in _checks(repo)]


def _fixed(check: Check) -> Check:
    assert check.fix is not None
    try:
        check.fix()
    except (GitdataError, OSError) as error:
        return Check(check.name, "finding", f"{check.message} It could not be mended: {error}", check.next_step)
    return Check(check.name, "fixed", check.message)


def _record(check: Check) -> Record:
    message = check.message.splitlines()[0]  # git says more than a line of a list can hold
    fields = {"fixable": check.fix is not None, "message": message, "next_step": check.next_step}
    return Record("check", check.name, {"state": check.state, **fields})


def _checks(repo: Repo) -> Iterator[Check]:
    yield from _programs(repo)
    try:
        yield from _server(repo) if repo.is_bare else _clone(repo)
    except (GitdataError, OSError) as error:
        message, next_step = (error.message, error.next_step) if isinstance(error, GitdataError) else (str(error), "")
        yield Check("repository", "finding", message, next_step or "Mend that, then look again.")
    yield from _hooks(repo)
    yield from _jobs(repo)
    yield from _leftovers(repo)
    yield _room(repo)


# --- programs ------------------------------------------------------------------------------------------------


def _programs(repo: Repo) -> Iterator[Check]:
    from importlib.metadata import version

    text = repo.git.text("version")
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if numbers < OLDEST_GIT:
        yield Check("git", "finding", f"{text} is too old.", f"Install git {'.'.join(map(str, OLDEST_GIT))} or newer.")
    else:
        yield Check("git", "ok", text.removeprefix("git version "))
    jax = version("jax")
    if jax == BROKEN_JAX:
        yield Check("jax", "finding", f"jax {jax} miscompiles on CPU.", "Install another: `pip install 'jax!=0.10.2'`.")
    else:
        yield Check("jax", "ok", f"jax {jax}, dvc {version('dvc')}, Python {sys.version.split()[0]}")


# --- the repository ------------------------------------------------------------------------------------------


def _clone(repo: Repo) -> Iterator[Check]:
    if not is_initialised(repo):
        message = "DVC's folder, the ignore rule or the attributes of gitdata are missing."
        yield Check("repository", "finding", message, "Run `gitdata init`, then commit.", lambda: init(repo))
    else:
        yield Check("repository", "ok", str(repo.top))
    if repo.git_remote is None:
        yield Check("git remote", "note", "There is no git remote: models train here, the ledger is a local branch.")
    else:
        yield from _stores(repo)
        yield _ledger(repo)
    yield from _branches(repo)
    yield from _forges(repo)


def _stores(repo: Repo) -> Iterator[Check]:
    try:
        wanted = remote_to_derive(repo)
    except GitdataError as error:
        yield Check("store", "finding", error.message, error.next_step)
        return
    if wanted is not None:
        message = "DVC's own commands do not know the store of the git remote yet."
        yield Check("dvc remote", "finding", message, "Run `gitdata init`.", lambda: derive_remote(repo))
    purposes: tuple[Purpose, ...] = ("data", "models")
    for purpose in purposes:
        yield _store(repo, purpose)
    branches = repo.git.tips_of(f"refs/remotes/{repo.git_remote}")
    if len(branches) > 1:
        yield Check(
            "dvc gc",
            "note",
            "Several branches share the store: `dvc gc --cloud` here would delete blobs that only the others name. "
            "See docs/interoperability.md.",
        )


def _store(repo: Repo, purpose: Purpose) -> Check:
    """Whether the store answers: it is asked for a blob that cannot be there."""
    try:
        remote = open_remote(repo, purpose)
        remote.missing([Blob("0" * 32, 0)])
    except GitdataError as error:
        return Check(f"store ({purpose})", "finding", error.message, error.next_step)
    if not remote.may_be_written:
        return Check(
            f"store ({purpose})",
            "finding",
            f"{remote.url} may not be written by you: a push of new rows will be refused.",
            "Ask its owner for permission (`git init --shared=group` makes a store that belongs to a group).",
        )
    return Check(f"store ({purpose})", "ok", remote.url)


def _ledger(repo: Repo) -> Check:
    before = repo.ledger_commit()
    try:
        now = repo.ledger_now()
        if now is None:
            return Check("ledger", "ok", "no model was trained yet")
        if now != before:
            message = "The ledger moved on since it was fetched."
            return Check("ledger", "finding", message, "Run `gitdata fetch`.", repo.fetch_ledger)
        repo.ledgers(before)
    except GitdataError as error:
        return Check("ledger", "finding", error.message, error.next_step)
    return Check("ledger", "ok", f"up to date ({str(before)[:8]})")


def _ledger_here(repo: Repo) -> Check:
    """On a server: whether the ledger goes on from what was seen of it, and can be read."""
    try:
        commit = repo.fetch_ledger()
        repo.ledgers(commit)
    except GitdataError as error:
        return Check("ledger", "finding", error.message, error.next_step)
    return Check("ledger", "ok", f"at {commit[:8]}" if commit else "no model was trained yet")


def _branches(repo: Repo) -> Iterator[Check]:
    """Models whose deployment branch exists nowhere, and declarations that cannot be read."""
    if repo.git.resolve("HEAD") is None:
        return
    try:
        declarations = repo.snapshot().declarations
    except GitdataError as error:
        yield Check("pointers", "finding", error.message, error.next_step)
        return
    for model, text in sorted(declarations.items()):
        try:
            branch = declared(repo, model, text).branch
        except GitdataError as error:
            yield Check(f"model {model}", "finding", error.message, error.next_step)
            continue
        known = repo.deployment_tip(branch) or repo.git.resolve(f"refs/heads/{branch}")
        message = f"deployed from the branch '{branch}'" + ("" if known else ", which exists nowhere")
        yield Check(f"model {model}", "ok" if known else "finding", message, "" if known else "Push it, or change it.")


def _forges(repo: Repo) -> Iterator[Check]:
    for forge in outdated(repo):
        message = f"The workflow files of {forge} are not those that the models declared here ask for."
        fix = partial(set_up, repo, forge)
        yield Check(f"workflow {forge}", "finding", message, f"Run `gitdata ci init {forge}`, then commit.", fix)


def _server(repo: Repo) -> Iterator[Check]:
    branches = [branch for branch in repo.git.branches() if not branch.startswith("gitdata/")]
    head = repo.git.branch()
    if branches and head is not None and head not in branches:
        message = f"HEAD names the branch '{head}', which does not exist: a clone would check out nothing."
        likely = next((b for b in ("main", "master") if b in branches), branches[0])
        ref = f"refs/heads/{likely}"
        fix = lambda: repo.git.run("symbolic-ref", "HEAD", ref)  # noqa: E731
        yield Check("HEAD", "finding", message, f"Run `git symbolic-ref HEAD {ref}`.", fix)
    else:
        yield Check("HEAD", "ok", head or "detached")
    yield _store(repo, "data")
    yield _ledger_here(repo)
    if repo.git.config("receive.advertisepushoptions") != "true":
        message = "`git push -o gitdata.skip` is not understood."
        yield Check("push options", "finding", message, "Run `gitdata install --server`.", lambda: _install(repo))


# --- hooks and jobs ------------------------------------------------------------------------------------------


def _hooks(repo: Repo) -> Iterator[Check]:
    for name in hooks.names(repo):
        python = hooks.recorded_python(repo, name)
        if python is None:
            yield Check(f"hook {name}", "finding", "It is not installed.", _install_step(repo), lambda: _install(repo))
        elif not os.access(python, os.X_OK):
            message = f"The Python that it starts is gone: {python}."
            yield Check(f"hook {name}", "finding", message, _install_step(repo), lambda: _install(repo))
        elif not _can_import(python):
            message = f"The Python that it starts, {python}, has no gitdata any more."
            yield Check(f"hook {name}", "finding", message, _install_step(repo), lambda: _install(repo))
        elif hooks.needs_a_hand(repo, name):
            message = f"core.hooksPath leads to {repo.git.hooks_folder()}, whose {name} does not call gitdata."
            yield Check(f"hook {name}", "finding", message, f"{_install_step(repo)} It shows the lines to add.")
        else:
            yield Check(f"hook {name}", "ok", f"starts {python}")


def _can_import(python: Path) -> bool:
    import subprocess

    command = [str(python), "-P", "-c", "import gitdata"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _install_step(repo: Repo) -> str:
    return "Run `gitdata install --server`." if repo.is_bare else "Run `gitdata install`."


def _install(repo: Repo) -> None:
    hooks.install(repo, server=repo.is_bare)


def _jobs(repo: Repo) -> Iterator[Check]:
    spool = Spool(repo.state)
    jobs = spool.jobs()
    waiting = [job for job in jobs if job.state in ("pending", "running")]
    if waiting and not is_at_work(repo):
        message = f"{len(waiting)} jobs wait, and no runner is at work."
        yield Check("jobs", "finding", message, "Run `gitdata run --once`.")
    elif jobs and jobs[-1].state == "failed":
        results = [
            result["message"] for result in jobs[-1].record.get("results", []) if result.get("exit_code") not in (0, 6)
        ]
        message = f"The last job failed: {(results or ['no reason is recorded'])[0]}"
        yield Check("jobs", "finding", message, f"See `gitdata logs {jobs[-1].id}`.")
    else:
        yield Check("jobs", "ok", f"{len(jobs)} jobs, {len(waiting)} waiting")
    log = repo.state / RUNNER_LOG
    if log.is_file() and (said := log.read_text(errors="replace").strip()):
        message = f"A runner that a hook started said: {said.splitlines()[-1]}"
        yield Check("runner", "finding", message, f"Read {log}; then remove it.", log.unlink)


# --- the disk ------------------------------------------------------------------------------------------------


def _leftovers(repo: Repo) -> Iterator[Check]:
    """What killed processes left: temporary files, and indexes of commits to the ledger."""
    folders = [repo.cache.root, repo.state, *(path for path in repo.state.rglob("*") if path.is_dir())]
    if not repo.is_bare:
        below = [repo.top / DATASETS, repo.top / MODELS]
        folders += [repo.top / ".dvc", *below, *(p for folder in below for p in folder.rglob("*") if p.is_dir())]
    found = [path for folder in dict.fromkeys(folders) for path in durable.leftovers(folder)]
    found += [path for path in repo.git.folder.glob("gitdata-index-*") if not _is_alive(path)]
    if not found:
        yield Check("leftovers", "ok", "none")
        return
    message = f"{len(found)} files that killed processes left, such as {found[0]}."
    yield Check("leftovers", "finding", message, "Run `gitdata doctor --fix`.", lambda: _remove(found))


def _is_alive(index: Path) -> bool:
    match = INDEX_NAME.fullmatch(index.name)
    return match is not None and Path(f"/proc/{match[1]}").exists()


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


def _room(repo: Repo) -> Check:
    import shutil

    free = shutil.disk_usage(repo.top).free
    message = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_ROOM:
        return Check("disk", "finding", f"Only {message}.", "Make room before you extend or train.")
    return Check("disk", "ok", message)
