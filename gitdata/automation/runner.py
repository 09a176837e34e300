"""The runner: one per repository, woken by jobs, it trains what is pending and leaves a stamp when nothing is.

It holds a lock while it works; a second runner finds the lock taken and leaves, and the first looks at the
spool again after it has let go, so that no job waits for a next push. Each model trains in a fresh process:
JAX must not be forked, and a crash there is no crash here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from gitdata import durable
from gitdata.automation.jobs import ModelResult, Spool
from gitdata.commands.situation import Deployment, deployments, pending
from gitdata.errors import GitdataError
from gitdata.repo import LEDGER_REF, Repo
from gitdata.storage.git import scrubbed_environment

STAMP = "settled"


def run(repo: Repo, *, once: bool) -> int:
    """Work through the spool; the number of jobs that were finished. Without `once`, go on until interrupted."""
    finished = 0
    while True:
        finished += _drain(repo)
        if once:
            return finished
        time.sleep(1.0)


def _drain(repo: Repo) -> int:
    from filelock import FileLock, Timeout

    spool, finished = Spool(repo.state), 0
    repo.state.mkdir(parents=True, exist_ok=True)
    while spool.ids("pending") or spool.ids("running"):
        try:
            with FileLock(repo.state / "runner.lock", timeout=0):
                spool.take_over()
                finished += _work(repo, spool)
        except Timeout:
            return finished
    return finished


def _work(repo: Repo, spool: Spool) -> int:
    """Run all pending jobs as one: whatever woke us, what is pending is computed afresh."""
    finished = 0
    while waiting := spool.ids("pending"):
        batch = [id for id in waiting if spool.start(id)]
        if not batch:
            continue
        started = time.time()
        with spool.log_path(batch[0]).open("ab") as log:
            results = train_pending(repo, log)
        for other in batch[1:]:
            spool.log_path(other).write_text(f"Ran together with job {batch[0]}: see its log.\n")
        for id in batch:
            spool.finish(id, results, started)
        finished += len(batch)
    return finished


def train_pending(repo: Repo, log: IO[bytes]) -> list[ModelResult]:
    """Train every model that its deployment branch declares, one after the other; then stamp what is settled.

    The stamp goes first: a push while we work is to leave a job, whatever was settled before.
    """
    (repo.state / STAMP).unlink(missing_ok=True)
    results = [_train(repo, deployment, log) for deployment in deployments(repo)]
    durable.write(repo.state / STAMP, "".join(_settled(repo)).encode())
    return results


def _train(repo: Repo, wanted: Deployment, log: IO[bytes]) -> ModelResult:
    if wanted.problem is not None:
        log.write(f"{wanted.model}: {wanted.problem}\n".encode())
        return ModelResult(wanted.model, wanted.problem.exit_code, wanted.problem.message, 0.0)
    command = [sys.executable, "-P", "-m", "gitdata", "train", wanted.model, "--at", wanted.commit]
    started = time.monotonic()
    start = log.tell()
    done = subprocess.run(
        command,
        cwd=repo.top,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=scrubbed_environment({"GITDATA_PROGRESS": "1"}),
        check=False,
    )
    with Path(log.name).open("rb") as written:
        written.seek(start)
        lines = written.read().decode(errors="replace").strip().splitlines()
    return ModelResult(wanted.model, done.returncode, _summary(lines), time.monotonic() - started)


def _summary(lines: list[str]) -> str:
    """The line of a log that says what came of it: an error, or the last one."""
    errors = [line for line in lines if line.startswith("gitdata: ")]
    return (errors or lines or [""])[-1]


def _settled(repo: Repo) -> list[str]:
    """A line for each branch with nothing left to do, by the ledger that stands in it: trees, ledger, branch."""
    ledger = repo.git.resolve(LEDGER_REF)
    unsettled = {d.commit for d in deployments(repo) if d.problem or not _is_settled(repo, d, ledger)}
    lines = []
    for branch, commit in sorted(repo.git.branches().items()):
        if not branch.startswith("gitdata/") and commit not in unsettled:
            trees = [
                repo.git.try_text("rev-parse", "--verify", "--quiet", f"{commit}:{t}") for t in ("datasets", "models")
            ]
            lines.append(f"{trees[0] or 'none'} {trees[1] or 'none'} {ledger or 'none'} {branch}\n")
    return lines


def _is_settled(repo: Repo, wanted: Deployment, ledger: str | None) -> bool:
    try:
        (record,) = pending(repo, [wanted.model], repo.snapshot(wanted.commit), ledger)
    except GitdataError:
        return False
    return bool(record["action"] == "nothing")
