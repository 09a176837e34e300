"""A run that is killed, and begun again, ends with the same weights bit for bit."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from gitdata import durable
from gitdata.training import loop
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.checkpoint import Checkpoint, Saved
from gitdata.training.settings import EarlyStopping, Optimizer, Schedule
from gitdata.training.shuffle import Held
from gitdata.training.watch import Watch

PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from gitdata.training.environment import prepare
prepare(Path(os.environ["GITDATA_COMPILE_CACHE"]))
from gitdata.training import loop
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.blocks import Blocks, Strand
from gitdata.training.checkpoint import Checkpoint
from gitdata.training.declaration import Optimizer, Schedule
from gitdata.training.preprocessing import Numeric, Preprocessing
from gitdata.training.shuffle import Held, Streamed

folder, streamed, dies_after = Path(sys.argv[1]), sys.argv[2] == "streamed", int(sys.argv[3])
first = [{"reshape": [3, 1]}, {"conv": 4}, "flatten"] if sys.argv[2] == "convolved" else [{"dense": 8}]
layers = notation.read([*first, "batch_norm", "relu", {"dropout": 0.2}, {"dense": "outputs"}], {})
plan, adam = Plan((Input("x", (3,)),), (Output("y", 1),), layers), Optimizer(learning_rate=0.01)
x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
columns = {"x": x, "y": x[:, 0]}

def read(first):
    def blocks():
        for at in (first, first + 50):
            yield {name: column[at : at + 50] for name, column in columns.items()}
    return blocks

rows = Held(x, x[:, :1])
if streamed:
    codes = Preprocessing(
        (Numeric("x", "none", (3,), (0.0,) * 3, (1.0,) * 3),), (Numeric("y", "none", (), (0.0,), (1.0,)),)
    )
    strands = tuple(Strand((50, 50), read(first)) for first in range(0, 500, 100))
    rows = Streamed(Blocks(("x", "y"), strands), codes, window_bytes=16 * 120)
checkpoint = Checkpoint(folder / "run.checkpoint", "key", 0.0, lambda text: print(text, file=sys.stderr))
chunks = iter(range(1, 10**6))

def count(first, losses, rates):
    if next(chunks) == dies_after:
        os.kill(os.getpid(), signal.SIGKILL)

run = loop.Run(plan, "mse", adam, Schedule(name="cosine"), 16, 1500, 7)
trained = loop.train_rows(run, loop.start(plan, adam, 7), rows, loop.Onlookers(count, None, checkpoint))
sys.stdout.buffer.write(np.asarray(trained.weights).tobytes() + np.asarray(trained.optimizer.mu).tobytes())
"""


def train(folder: Path, rows: str, dies_after: int = 0) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), rows, str(dies_after)], capture_output=True, check=False
    )


@pytest.mark.parametrize("rows", ["held", "streamed", "convolved"])
def test_a_killed_run_ends_with_the_same_weights(rows: str, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    undisturbed = train(tmp_path / "one", rows)
    assert undisturbed.returncode == 0, undisturbed.stderr.decode()
    killed = train(tmp_path / "other", rows, dies_after=random.randint(2, 11))
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    went_on = train(tmp_path / "other", rows)
    assert b"Going on after step" in went_on.stderr
    assert went_on.stdout == undisturbed.stdout
    assert len(went_on.stdout) > 100


class Full(durable.Disk):
    """A disk that has no room."""

    def sync_file(self, file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "disk", Full())


def checkpoint(path: Path, key: str = "key") -> tuple[Checkpoint, list[str]]:
    said: list[str] = []
    return Checkpoint(path, key, 0.0, said.append), said


def test_a_checkpoint_is_read_by_its_own_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "a.checkpoint"
    ours, said = checkpoint(path)
    assert ours.read() is None
    assert said == []
    ours.write(Saved(256, {"weights": np.arange(5, dtype=np.float32), "optimizer.count": np.array(3)}, 1.5))
    found = ours.read()
    assert found is not None
    assert (found.steps, found.seconds) == (256, 1.5)
    assert ours.before == 1.5
    assert found.arrays["weights"].tolist() == [0, 1, 2, 3, 4]
    assert found.arrays["optimizer.count"].shape == ()
    other, words = checkpoint(path, "another key")
    assert other.read() is None
    assert len(words) == 1
    ours.remove()
    ours.remove()
    assert ours.read() is None


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "text"])
def test_a_damaged_checkpoint_is_ignored_with_a_word(damage: str, tmp_path: Path) -> None:
    ours, said = checkpoint(tmp_path / "a.checkpoint")
    ours.write(Saved(256, {"weights": np.arange(500, dtype=np.float32)}, 1.5))
    content = bytearray(ours.path.read_bytes())
    content[-7] ^= 4
    changed = {"cut": ours.path.read_bytes()[:-1], "empty": b"", "a bit": bytes(content), "text": b"hello"}
    ours.path.write_bytes(changed[damage])
    assert ours.read() is None
    assert "damaged" in said[0]


def test_a_full_disk_ends_no_training(tmp_path: Path, full_disk: None) -> None:
    """It is said once, and the run ends as it would have."""
    rows = np.random.default_rng(7).normal(size=(40, 3)).astype(np.float32)
    plan = Plan((Input("x", (3,)),), (Output("y", 1),), notation.read([{"dense": "outputs"}], {}))
    run = loop.Run(plan, "mse", Optimizer(), Schedule(), 8, 400, 0)
    kept, said = checkpoint(tmp_path / "run.checkpoint")
    trained, undisturbed = (
        loop.train(run, loop.start(plan, Optimizer(), 0), rows, rows[:, :1], loop.Onlookers(checkpoint=own))
        for own in (kept, None)
    )
    assert (np.asarray(trained.weights) == np.asarray(undisturbed.weights)).all()
    assert said == ["The checkpoint could not be written (No space left on device); training goes on without."]
    assert list(tmp_path.iterdir()) == []


def test_what_steers_a_run_is_kept_with_it(tmp_path: Path) -> None:
    """Stopped within an epoch that lowered its rate: it goes on with that rate, its patience and its best epoch."""
    rows = np.random.default_rng(7).normal(size=(40, 3)).astype(np.float32)
    targets = rows[:, :2] ** 2
    plan = Plan((Input("x", (3,)),), (Output("y", 2),), notation.read([{"dense": 5}, "tanh", {"dense": "outputs"}], {}))
    adam, early = Optimizer(learning_rate=0.1), EarlyStopping(patience=12)
    run = loop.Run(plan, "mse", adam, Schedule(name="plateau", patience=2, factor=0.5), 8, 400, 0, 5)

    def train(path: Path, stops_at: int) -> tuple[loop.State, Watch]:
        watch = Watch(run, early, lambda: iter([rows]), targets)
        seen = 0

        def losses(first: int, own: np.ndarray, rates: np.ndarray) -> None:
            nonlocal seen
            seen += 1
            if seen == stops_at:
                raise KeyboardInterrupt

        kept = loop.Onlookers(losses, None, checkpoint(path)[0])
        last = loop.train_rows(run, loop.start(plan, adam, 0), Held(rows, targets), kept, watch.on_epoch, watch)
        return watch.result(last), watch

    undisturbed, watch = train(tmp_path / "one", 0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "other", 9)
    for _ in range(2):  # the second time nothing is left to do
        went_on, another = train(tmp_path / "other", 0)
        assert another.watched == watch.watched
        assert watch.watched.factor < 1
        assert went_on.position == undisturbed.position
        assert (np.asarray(went_on.weights) == np.asarray(undisturbed.weights)).all()
