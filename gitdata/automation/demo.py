"""Demo: the whole loop on real lattice simulations, in a server repository and a clone made for it.

The simulations are played back in the order in which they were made: a base of the first runs, then extensions,
each committed and pushed; the server's hook retrains. Every run belongs to one split as a whole.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitdata.automation import hooks
from gitdata.automation.jobs import Spool
from gitdata.automation.watch import wait_until_idle
from gitdata.commands.extend import add, extend
from gitdata.commands.init import init
from gitdata.commands.intake import Request
from gitdata.commands.models import version
from gitdata.commands.records import Record, Say
from gitdata.data.ledger import Ledger
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo
from gitdata.storage.git import Git

SOURCE = Path(__file__).parent / "lattice" / "lattice_summary.csv"
DATASET = "lattice"
OUTPUTS = ("W_max", "P_peak")
PATIENCE = 300.0  # seconds that a retraining may take before the demo gives up
BASE_RUNS = 47
EXTENSION_RUNS = 12

DECLARATION = """\
# What the model 'lattice' learns, and how. Documentation: docs/model-file.md
[data]
dataset = "lattice"
inputs  = ["t1", "t2", "t3", "scenario", "dir"]
outputs = ["W_max", "P_peak"]
transform = { outputs = "log10" }

[network]
layers = [{ dense = 96 }, "relu", { dense = 64 }, "relu", { dense = 64 }, "relu", { dense = "outputs" }]

[training]
epochs = 200
batch_size = 32
loss = "mae"
metrics = ["mae", "rmse", "r2"]
seed = 0
optimizer = { name = "adam", learning_rate = 3e-3 }
schedule = { name = "cosine" }

[retraining]
type = "automatic"
method = ["finetune", "rehearse", "union"]

[deployment]
branch = "main"
policy = "automatic"
metric = "mae"
tolerance = 0.02
undecided = "accept"
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Simulation runs that came in together: CSV lines per split, and when the last run was made."""

    lines: dict[str, list[str]]
    last: str


def demo(folder: Path | None, say: Say) -> list[Record]:
    """Play the loop in `folder` (default: `gitdata-demo`); a record per push and one that says where it all is."""
    root = (folder or Path("gitdata-demo")).resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Mendable(f"'{root}' exists and is not empty.", "Name another folder: `gitdata demo DIR`.")
    server, clone = _repositories(root)
    header, batches = _batches()
    say(f"A server repository and a clone in {root}; {len(batches)} batches of real simulations to come.")
    _declare(clone)
    records = []
    for number, batch in enumerate(batches):
        started = time.monotonic()
        reference = _extend(clone, root, header, batch, number)
        say(f"[{number + 1}/{len(batches)}] {reference}: committed, pushing …")
        clone.git.run("push", "--quiet", "origin", "main")
        _await_runner(server)
        records.append(_step(clone, reference, time.monotonic() - started))
        say(f"      {_sentence(records[-1])}")
    return [
        *records,
        Record("demo", str(root), {"clone": str(clone.top), "last": batches[-1].last, "server": str(server.top)}),
    ]


def _repositories(root: Path) -> tuple[Repo, Repo]:
    """A bare repository that retrains, and a clone with gitdata in it, whatever this machine's git config says."""
    bare = Git.create(root / "server.git", bare=True)
    _stand_alone(bare)
    server = Repo(bare.top)
    hooks.install(server, server=True)
    work = Git.create(root / "clone", bare=False)
    work.run("remote", "add", "origin", str(server.top))
    _stand_alone(work)
    clone = Repo(work.top)
    init(clone)
    hooks.install(clone)
    return server, clone


def _stand_alone(repository: Git) -> None:
    """Settings that make the demo's repositories independent of a person's own."""
    for key, value in (
        ("user.name", "gitdata demo"),
        ("user.email", "demo@gitdata.invalid"),
        ("commit.gpgSign", "false"),
    ):
        repository.run("config", key, value)
    if repository.config("core.hookspath") is not None:
        repository.run("config", "core.hooksPath", str(repository.common / "hooks"))


def _declare(clone: Repo) -> None:
    path = clone.top / "models" / "lattice.toml"
    path.parent.mkdir()
    path.write_text(DECLARATION)
    clone.git.stage(path)
    clone.git.run("commit", "--quiet", "-m", "Declare the model lattice")


def _batches() -> tuple[str, list[Batch]]:
    """The header line, and the runs in time order: a base, then extensions of a dozen runs."""
    header, *lines = SOURCE.read_text().splitlines()
    runs: dict[str, list[str]] = {}
    for line in lines:
        runs.setdefault(next(csv.reader(io.StringIO(line)))[0], []).append(line)
    names = sorted(runs)
    cuts = [0, *range(BASE_RUNS, len(names), EXTENSION_RUNS)]
    ranges = zip(cuts, [*cuts[1:], len(names)], strict=True)
    return header, [_batch(names[start:end], runs) for start, end in ranges]


def _batch(names: Sequence[str], runs: dict[str, list[str]]) -> Batch:
    """Every sixth run is for testing, every sixth for validation, so that no run stands in two splits."""
    lines: dict[str, list[str]] = {"train": [], "test": [], "validation": []}
    for position, name in enumerate(names):
        lines[{2: "test", 5: "validation"}.get(position % 6, "train")] += runs[name]
    return Batch(lines, names[-1])


def _extend(clone: Repo, root: Path, header: str, batch: Batch, number: int) -> str:
    """Write the batch as a domain expert would hand it over, add it, commit it; `dataset@version`."""
    incoming = root / "incoming" / batch.last
    incoming.mkdir(parents=True)
    paths = {split: incoming / f"{split}.csv" for split in batch.lines}
    for split, path in paths.items():
        path.write_text("\n".join([header, *batch.lines[split]]) + "\n")
    request = Request(
        dataset=DATASET,
        files=[paths["train"]],
        test=str(paths["test"]),
        validation=str(paths["validation"]),
        outputs=OUTPUTS,
        message=f"Simulations up to {batch.last}",
    )
    if number == 0:
        clone.git.run("commit", "--quiet", "-m", "Start a gitdata repository", "--allow-empty")
        record = add(clone, request)
    else:
        record = extend(clone, request)
    return f"{DATASET}@{record['version']}"


def _await_runner(server: Repo) -> None:
    spool = Spool(server.state)
    if not wait_until_idle(spool, PATIENCE):
        raise GitdataError(f"The retraining did not end within {PATIENCE:.0f} s; see the logs in {spool.logs}.")
    last = spool.jobs()[-1]
    if last.state == "failed":
        log = (spool.logs / f"{last.id}.log").read_text(errors="replace")
        raise GitdataError(f"The retraining failed; its log:\n{log}")


def _step(clone: Repo, reference: str, seconds: float) -> Record:
    """What the ledger says of the newest version, after the push of `reference`."""
    ledger, _ = version(clone, DATASET)
    entry = ledger.youngest_first[0]
    _, (extension,) = clone.snapshot().extensions(reference)
    rungs = entry.version.training["rungs"]
    before = next((c["baseline_metrics"] for c in entry.verdict.comparisons if c["against"] == "champion"), None)
    return Record(
        "demo step",
        extension.id,
        {
            "extension": reference,
            "mae_after": _mae(entry.verdict.metrics),
            "mae_before": _mae(before),
            "method": entry.version.method,
            "rows": dict(extension.rows),
            "rows_read": sum(rung["rows_read"] for rung in rungs),
            "seconds": round(seconds, 2),
            "steps": sum(rung["steps"] for rung in rungs),
            "union_steps": rungs[-1]["union_steps"],
            "verdict": entry.verdict.outcome,
            "version": entry.stem,
            "champion": ledger.champion == entry.id,
            "champions": _champions(ledger),
        },
    )


def _mae(metrics: Any) -> dict[str, float] | None:
    return {name: metrics["outputs"][name]["mae"] for name in OUTPUTS} if metrics else None


def _champions(ledger: Ledger) -> int:
    return sum(entry.verdict.promoted for entry in ledger.entries.values())


def _sentence(record: Record) -> str:
    became = "the new champion" if record["champion"] else "the champion stays"
    return f"{record['method']}: {record['verdict']}, {became} ({record['seconds']:.1f} s)"
