"""The runner: one per repository, woken by jobs, it trains what is pending and leaves a stamp when nothing is.

It holds a lock while it works; a second runner finds the lock taken and leaves, and the first looks at the
spool again after it has let go, so that no job waits for a next push. Each model trains in a fresh process:
JAX must not be forked, and a crash there is no crash here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from gitdata import durable
from gitdata.automation.jobs import ModelResult, Spool
from gitdata.commands.purge import drop_purged
from gitdata.commands.situation import Deployment, deployments, pending, tips
from gitdata.errors import INTERRUPTED, GitdataError
from gitdata.repo import LEDGER_REF, Repo
from gitdata.snapshot import LEDGER_BRANCH
from gitdata.storage.process import scrubbed_environment

STAMP = "settled"
KILLED = 128  # and the number of the signal, as shells tell it
STARTED_BY = "GITDATA_STARTED_BY"  # the process id of the runner
ROUNDS = 5
MOMENT = 1.0  # seconds; whoever only asks whether a runner is at work holds its lock for less
LOOK_EVERY = 0.2  # seconds between two looks whether somebody cancelled
GRACE = 10.0  # seconds that a training has to clean up


def run(repo: Repo, *, once: bool) -> int:
    """Work through the spool; the number of jobs that were finished. Without `once`, go on until interrupted.

    Where no job waits but something is pending, after a training that failed or was cancelled, it is asked for again.
    """
    finished, spool = 0, Spool(repo.state)
    if not spool.ids("pending") and not spool.ids("running") and (unsettled := _unsettled(repo)):
        spool.add([f"refs/heads/{branch}" for branch in unsettled])  # what a job failed at, or nobody asked for
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
            with FileLock(repo.state / "runner.lock", timeout=MOMENT):
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
            results = train_pending(repo, log, partial(spool.cancelled_by, batch))
        for other in batch[1:]:
            spool.log_path(other).write_text(f"Ran together with job {batch[0]}: see its log.\n")
        who = spool.cancelled_by(batch)
        for id in batch:
            if who and not spool.cancelled_by([id]):
                spool.put_back(id)  # it ran together with one that was cancelled; nobody cancelled this one
            else:
                spool.finish(id, results, started)
                finished += 1
    return finished


def is_at_work(repo: Repo) -> bool:
    """Whether a runner holds the lock."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(repo.state / "runner.lock", timeout=0):
            return False
    except (Timeout, PermissionError):  # held, or somebody else's
        return True


def cancel(repo: Repo, id: str, who: str) -> bool:
    """Cancel a job; False if it has ended. One whose runner was killed has nobody to ask, so it ends at once."""
    from filelock import FileLock, Timeout

    spool = Spool(repo.state)
    try:
        with FileLock(repo.state / "runner.lock", timeout=0):
            spool.take_over()
            return spool.cancel(id, who)
    except Timeout:
        return spool.cancel(id, who)


def end_with_the_runner() -> None:
    """In a training that a runner started: end when the runner does, also by `kill -9`, so that none is left over."""
    import ctypes

    if sys.platform == "linux" and os.environ.get(STARTED_BY) == str(os.getppid()):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def train_pending(repo: Repo, log: IO[bytes], cancelled_by: Callable[[], str | None]) -> list[ModelResult]:
    """Train every model that its deployment branch declares, one after the other; then stamp what is settled.

    The stamp goes first: a push while we work is to leave a job, whatever was settled before. In a clone no job tells
    of a branch that moved a moment later, so the branches are looked at again.
    """
    (repo.state / STAMP).unlink(missing_ok=True)
    try:
        drop_purged(repo)
    except GitdataError as error:
        log.write(f"what was purged elsewhere could not be dropped from the cache: {error}\n".encode())
    results: list[ModelResult] = []
    for _ in range(ROUNDS):
        before = tips(repo)
        results += [_train(repo, deployment, log, cancelled_by) for deployment in deployments(repo)]
        if tips(repo) == before or cancelled_by():
            break
    durable.write(repo.state / STAMP, "".join(_settled(repo)).encode(errors="surrogateescape"))
    return results


def _train(repo: Repo, wanted: Deployment, log: IO[bytes], cancelled_by: Callable[[], str | None]) -> ModelResult:
    if who := cancelled_by():
        return ModelResult(wanted.model, INTERRUPTED, f"cancelled by {who}", 0.0)
    if wanted.problem is not None:
        log.write(f"{wanted.model}: {wanted.problem}\n".encode(errors="replace"))
        return ModelResult(wanted.model, wanted.problem.exit_code, wanted.problem.message, 0.0)
    command = [sys.executable, "-P", "-m", "gitdata", "train", wanted.model, "--at", wanted.commit]
    started = time.monotonic()
    start = log.tell()
    process = subprocess.Popen(
        command,
        cwd=repo.top,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=scrubbed_environment({"GITDATA_PROGRESS": "1", STARTED_BY: str(os.getpid())}),
    )
    who = _wait(process, cancelled_by)
    seconds = time.monotonic() - started
    if who:
        log.write(f"{wanted.model}: cancelled by {who}\n".encode())
        return ModelResult(wanted.model, INTERRUPTED, f"cancelled by {who}", seconds)
    with Path(log.name).open("rb") as written:
        written.seek(start)
        lines = written.read().decode(errors="replace").strip().splitlines()
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        reason = f"its training was killed ({name}" + ("; out of memory?)" if name == "SIGKILL" else ")")
        log.write(f"{wanted.model}: {reason}\n".encode())
        return ModelResult(wanted.model, KILLED - process.returncode, reason, seconds)
    return ModelResult(wanted.model, process.returncode, _summary(lines), seconds)


def _wait(process: subprocess.Popen[bytes], cancelled_by: Callable[[], str | None]) -> str | None:
    """Wait for a training; who cancelled it, if somebody did. It never outlives the runner."""
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY)
                return None
            if who := cancelled_by():
                _stop(process)
                return who
    except BaseException:
        _stop(process)
        raise


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _summary(lines: list[str]) -> str:
    """The line of a log that says what came of it: an error, or the last one."""
    errors = [line for line in lines if line.startswith("gitdata: ")]
    return (errors or lines or [""])[-1]


def _settled(repo: Repo) -> list[str]:
    """A line for each branch with nothing left to do, by the ledger that stands in it."""
    unsettled = _unsettled(repo)
    return [_line(repo, branch, commit) for branch, commit in sorted(tips(repo).items()) if branch not in unsettled]


def _unsettled(repo: Repo) -> list[str]:
    """The branches with something left to do."""
    ledger = repo.ledger_commit()
    commits = {d.commit for d in deployments(repo) if d.problem or not _is_settled(repo, d, ledger)}
    return [branch for branch, commit in sorted(tips(repo).items()) if commit in commits]


def _line(repo: Repo, branch: str, commit: str) -> str:
    """What the hooks compare: both trees, the ledger wherever it is known, and whether the remotes' branch is here."""
    trees = [
        repo.git.try_text("rev-parse", "--verify", "--quiet", f"{commit}:{tree}") or "none"
        for tree in ("datasets", "models")
    ]
    ledger = "".join(f"{tip}," for tip in repo.git.tips_of(LEDGER_REF, f"refs/remotes/**/{LEDGER_BRANCH}"))
    marks = "".join("=" if tip == commit else "-" for tip in repo.git.tips_of(f"refs/remotes/**/{branch}"))
    return f"{' '.join(trees)} {ledger} {marks} {branch}\n"


def _is_settled(repo: Repo, wanted: Deployment, ledger: str | None) -> bool:
    try:
        (record,) = pending(repo, [wanted.model], repo.snapshot(wanted.commit), ledger)
    except Exception:  # whatever somebody pushed: training it says what is wrong, and no other branch waits
        return False
    return bool(record["action"] == "nothing")
