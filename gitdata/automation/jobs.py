"""Jobs: the spool between the hook that wakes a runner and the runner.

A job is one file that moves `pending → running → done | failed` by atomic renames; its name is its id. A hook
writes what it received, one ref a line; the runner adds a record of what came of it, and a log. A job only
wakes: what there is to do is computed afresh, so that lost, doubled and reordered jobs change nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.errors import INTERRUPTED, Mendable

State = Literal["pending", "running", "done", "failed"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Job:
    """A job in the spool: `refs` are the branches that were pushed, `record` what the runner says of it."""

    id: str
    state: State
    refs: tuple[str, ...]
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelResult:
    """What a job did with one model: the exit code of `gitdata train` and its last line."""

    model: str
    exit_code: int
    message: str
    seconds: float


class Spool:
    """The jobs of one repository, below its state folder."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "jobs"
        self.logs = self.folder / "logs"

    def add(self, refs: Sequence[str]) -> str:
        """Put a job into the spool, as the hook does; the id sorts by time."""
        id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        lines = "".join(f"- - {ref}\n" for ref in refs)
        durable.write(self._path("pending", id), lines.encode(errors="surrogateescape"))
        return id

    def ids(self, state: State) -> list[str]:
        folder = self.folder / state
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))

    def jobs(self) -> list[Job]:
        """All jobs, oldest first. One that moves while we look is shown once."""
        found = {job.id: job for state in STATES for id in self.ids(state) if (job := self._read(state, id))}
        return [found[id] for id in sorted(found)]

    def job(self, reference: str) -> Job:
        """The job that an id, or the only end or beginning of one, names. Raises Mendable."""
        jobs = self.jobs()
        exact = [job for job in jobs if job.id == reference]
        matching = exact or [j for j in jobs if j.id.startswith(reference) or j.id.endswith(reference)]
        if len(matching) != 1:
            what = "no job" if not matching else "more than one job"
            raise Mendable(f"'{reference}' names {what}.", "See `gitdata jobs`.")
        return matching[0]

    def newest(self) -> Job:
        """The job that came last. Raises Mendable where there is none."""
        if jobs := self.jobs():
            return jobs[-1]
        raise Mendable("There is no job yet.", "A push, or a merge in a clone that retrains, makes one.")

    def start(self, id: str) -> bool:
        """Move a job from pending to running; False if it is not pending any more."""
        durable.make_folder(self.folder / "running")
        try:
            durable.rename(self._path("pending", id), self._path("running", id))
        except FileNotFoundError:
            return False
        return True

    def finish(self, id: str, results: Sequence[ModelResult], started: float) -> None:
        """Record what came of a running job, as done or, if a model failed, as failed."""
        running = self._path("running", id)
        failed = any(result.exit_code not in (0, 6) for result in results)
        record = {
            "finished": time.time(),
            "refs": list(_refs(running.read_text(errors="replace"))),
            "results": [asdict(result) for result in results],
            "started": started,
        }
        durable.write(running, readable_json(record))
        target = self._path("failed" if failed else "done", id)
        durable.make_folder(target.parent)
        durable.rename(running, target)
        (self.folder / "cancel" / id).unlink(missing_ok=True)

    def cancel(self, id: str, who: str) -> bool:
        """Cancel a job: at once if it waits, else the runner is asked to stop it. False if it has ended."""
        if self.start(id):
            self.finish(id, [ModelResult("", INTERRUPTED, f"cancelled by {who}", 0.0)], time.time())
            return True
        if id not in self.ids("running"):
            return False
        durable.write(self.folder / "cancel" / id, who.encode(errors="replace"))
        return True

    def cancelled_by(self, ids: Sequence[str]) -> str | None:
        """Who asked to stop one of some running jobs."""
        for id in ids:
            with suppress(FileNotFoundError):
                return (self.folder / "cancel" / id).read_text(errors="replace")
        return None

    def take_over(self) -> list[str]:
        """Put back what a killed runner left running. Only the holder of the runner's lock may call this."""
        stale = self.ids("running")
        for id in stale:
            self.put_back(id)
        return stale

    def put_back(self, id: str) -> None:
        """Let a running job wait again."""
        durable.make_folder(self.folder / "pending")
        durable.rename(self._path("running", id), self._path("pending", id))

    def log_path(self, id: str) -> Path:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self.logs / f"{id}.log"

    def _path(self, state: State, id: str) -> Path:
        return self.folder / state / id

    def _read(self, state: State, id: str) -> Job | None:
        try:
            text = self._path(state, id).read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            return Job(id, state, (), {"results": [{"message": f"this job cannot be read: {error.strerror}"}]})
        return Job(id, state, _refs(text), _record(text))


def _record(text: str) -> dict[str, Any]:
    """What a runner recorded; empty for a job that a hook wrote, or that somebody damaged."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    lists = {
        key: value if isinstance(value, list) else [] for key, value in record.items() if key in ("refs", "results")
    }
    results = [r for r in lists.get("results", []) if isinstance(r, dict) and isinstance(r.get("message"), str)]
    return {**record, "refs": [str(ref) for ref in lists.get("refs", [])], "results": results}


def _refs(text: str) -> tuple[str, ...]:
    if record := _record(text):
        return tuple(record["refs"])
    return tuple(fields[2] for line in text.splitlines() if len(fields := line.split(" ", 2)) == 3)
