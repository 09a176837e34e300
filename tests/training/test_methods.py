"""Methods and packages on real lattice rows: what is read, what is restored, what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gitdata.errors import DataUnavailable, Mendable
from gitdata.training import gate, package
from gitdata.training.declaration import Declaration
from gitdata.training.methods import Outcome, TrainingData, climb
from gitdata.training.package import Package

Columns = dict[str, np.ndarray]
Declare = Callable[..., Declaration]


def part(columns: Columns, first: int, last: int) -> Columns:
    return {name: column[first:last] for name, column in columns.items()}


def data(lattice: Columns, base: int, end: int) -> TrainingData:
    """Rows up to `base` seen, up to `end` live; the last 300 rows validate."""
    return TrainingData(
        unseen=lambda: part(lattice, base, end),
        whole=lambda: part(lattice, 0, end),
        validation=lambda: part(lattice, 1400, 1712),
        unseen_rows=end - base,
        whole_rows=end,
    )


@pytest.fixture(scope="module")
def short() -> dict[str, str]:
    return {"epochs = 200": "epochs = 40"}


@pytest.fixture
def base(lattice: Columns, declare: Declare, short: dict[str, str]) -> Package:
    return climb(declare(**short), data(lattice, 0, 640), None, None).package


def test_a_first_training_is_a_union_and_learns(lattice: Columns, declare: Declare, base: Package) -> None:
    assert base.manifest["method"] == "union"
    assert base.position == 40 * 20
    losses = gate.row_losses(base, part(lattice, 1400, 1712), declare())
    assert losses.mean() < 0.25  # predicting the mean of standardised targets costs about 0.8


def test_a_run_whose_last_step_diverges_is_no_candidate(
    lattice: Columns, declare: Declare, short: dict[str, str]
) -> None:
    """Losses are taken before each step: those of the last one are seen in validation only."""
    wild = {
        "epochs = 200": "epochs = 2", "batch_size = 32": "batch_size = 2048", 'loss = "mae"': 'loss = "mse"',
        '{ name = "adam", learning_rate = 3e-3 }': '{ name = "sgd", learning_rate = 100.0 }', '"cosine"': '"constant"',
        '"relu"': '"identity"',
    }  # fmt: skip
    with pytest.raises(Mendable, match="diverged"):
        climb(declare(**wild), data(lattice, 0, 640), None, None)
    settings = 'epochs = 2\noptimizer = { name = "sgd", learning_rate = 100.0 }\nschedule = "constant"'
    manual = {
        'type = "automatic"': f'type = "manual"\n{settings}',
        'loss = "mae"': 'loss = "mse"',
        '"relu"': '"identity"',
    }
    linear = climb(declare(**{**short, '"relu"': '"identity"'}), data(lattice, 0, 640), None, None).package
    said: list[str] = []
    found = climb(
        declare(**short, **manual), data(lattice, 640, 656), linear, linear, ("finetune", "union"), said.append
    )
    assert found.rung.method == "union"
    assert "diverged" in said[0]


def test_finetune_reads_unseen_rows_alone_and_goes_on_from_the_restored_state(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    def never() -> Columns:
        raise AssertionError("finetune asked for the rows of the whole chain")

    only = replace(data(lattice, 640, 960), whole=never)
    found = climb(declare(**short), only, base, base, ["finetune"])
    assert found.rung.rows_read == 320
    assert found.rung.steps == 40 * 10
    assert found.rung.union_steps == 40 * 30
    assert found.package.position == base.position + 400
    assert found.package.preprocessing == base.preprocessing
    assert found.package.state["count"] == base.state["count"] + 400
    assert any((found.package.weights[name] != base.weights[name]).any() for name in base.weights)
    assert {id(column) for column in found.trained_on.values()}


def test_where_no_unseen_row_is_new_the_restored_version_stays_as_it_is(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    """Parallel extensions that were seen brought all of them; the union takes none from the unseen one."""
    nothing = replace(data(lattice, 640, 640), unseen_rows=1)
    found = climb(declare(**short), nothing, base, base, ["finetune"])
    assert (found.rung.steps, found.rung.rows_read) == (0, 0)
    assert found.package.weights is base.weights
    assert found.package.state is base.state
    before = {key: base.manifest[key] for key in ("made_by", "optimizer", "seed")}
    assert found.package.manifest == {**before, "kept": "union", "method": "finetune", "steps": 0}


def test_rehearse_costs_the_unseen_share_and_union_starts_anew(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    rehearsed = climb(declare(**short), data(lattice, 640, 960), base, base, ["rehearse"])
    assert (rehearsed.rung.steps, rehearsed.rung.rows_read) == (400 + 120, 960)  # a third, and a tenth of the union's
    assert rehearsed.package.preprocessing == base.preprocessing
    united = climb(declare(**short), data(lattice, 640, 960), base, base, ["union"])
    assert united.rung.steps == united.rung.union_steps == 1200
    assert united.package.position == 1200
    assert united.package.preprocessing != base.preprocessing
    validation = part(lattice, 1400, 1712)
    losses = [gate.row_losses(p, validation, declare()).mean() for p in (base, rehearsed.package, united.package)]
    assert losses[1] < losses[0]
    assert losses[1] < 1.25 * losses[2]


def test_the_climb_stops_at_the_first_rung_within_tolerance_else_takes_the_best(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    generous = declare(**short, **{"tolerance = 0.02": "tolerance = 100"})
    first = climb(generous, data(lattice, 640, 960), base, base)
    assert [r.method for r in first.rungs] == ["finetune"]
    perfect = replace(data(lattice, 640, 960))
    strict = declare(**short, **{"tolerance = 0.02": "tolerance = 0"})
    best = climb(strict, perfect, base, better(lattice, strict))
    assert [r.method for r in best.rungs] == ["finetune", "rehearse", "union"]
    assert best.rung.validation_loss == min(r.validation_loss or np.inf for r in best.rungs)


def better(lattice: Columns, declaration: Declaration) -> Package:
    """A champion that nothing beats: it was trained on the validation rows."""
    known = replace(data(lattice, 0, 1712))
    return climb(declaration, known, None, None).package


def test_without_validation_rows_the_first_rung_is_taken(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    found = climb(declare(**short), replace(data(lattice, 640, 960), validation=dict), base, base)
    assert [(r.method, r.validation_loss) for r in found.rungs] == [("finetune", None)]


def test_manual_retraining_has_settings_of_its_own(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    manual = declare(
        **short,
        **{'type = "automatic"': 'type = "manual"\nepochs = 3\noptimizer = { name = "sgd", learning_rate = 0.01 }'},
    )
    found = climb(manual, data(lattice, 640, 960), base, base, ["finetune"])
    assert found.rung.steps == 30
    assert found.package.state == {}
    assert found.package.manifest["optimizer"] == "sgd"


def test_an_unknown_method_is_named(lattice: Columns, declare: Declare, base: Package) -> None:
    with pytest.raises(Mendable, match="no method 'magic'"):
        climb(declare(), data(lattice, 640, 960), base, base, ["magic"])


# --- packages ------------------------------------------------------------------------------------------------


def test_a_package_is_the_same_bytes_each_time_and_survives_its_files(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    again = climb(declare(**short), data(lattice, 0, 640), None, None).package
    marked = replace(base, trained_rows=np.array([3, 2**63], np.uint64))
    files = package.encode(marked)
    assert files == package.encode(replace(again, trained_rows=marked.trained_rows))
    read = package.decode(files)
    assert read.trained_rows.tolist() == [3, 2**63]
    assert read.position == marked.position
    rows = part(lattice, 0, 20)
    for name, values in package.predict(read, rows).items():
        assert (values == package.predict(marked, rows)[name]).all()
    for name, array in marked.state.items():
        assert (read.state[name] == array).all()
        assert read.state[name].shape == array.shape


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("weights.safetensors", None, "missing"),
        ("weights.safetensors", b"", "no tensors"),
        ("weights.safetensors", b"\xff" * 64, "no tensors"),
        ("state.safetensors", b"\x80\x04\x95cos\nsystem\n(S'touch /tmp/owned'\ntR.", "no tensors"),
        ("network.json", b'{"input_width": 13, "layers": ["exec"]}', "no layer"),
        ("network.json", b'{"input_width": 13, "layers": [2]}', "weight"),
        ("network.json", b"[]", "malformed"),
        ("preprocessing.json", b"{}", "preprocessing"),
        ("manifest.json", b'{"format": 99}', "update gitdata"),
        ("manifest.json", b"{", "no JSON"),
        ("trained_rows.safetensors", None, "missing"),
    ],
)
def test_a_damaged_or_hostile_package_is_refused(base: Package, name: str, content: bytes | None, says: str) -> None:
    files = package.encode(base)
    del files[name]
    if content is not None:
        files[name] = content
    with pytest.raises(DataUnavailable, match=says):
        package.decode(files)


def test_a_cached_program_gives_what_a_fresh_one_gives(tmp_path: Path) -> None:
    """Three processes: without a cache, filling one, and using it; the same weights bit for bit, nothing on stderr."""
    program = """
import hashlib, sys, pathlib, numpy as np
from gitdata.training.environment import prepare
prepare(pathlib.Path(sys.argv[1]) if sys.argv[1] else None)
from gitdata.training import loop
from gitdata.training.declaration import Optimizer, Schedule
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
layers = notation.read([{"dense": 8}, "relu", {"dense": "outputs"}], {})
plan, adam = Plan((Input("x", (3,)),), (Output("y", 2),), layers), Optimizer(learning_rate=0.01)
x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
run = loop.Run(plan, "mae", adam, Schedule(), 16, 200, 0)
state = loop.train(run, loop.start(plan, adam, 0), x, x[:, :2])
print(hashlib.sha256(np.asarray(state.weights).tobytes()).hexdigest())
"""
    found = []
    for cache in ("", str(tmp_path / "cache"), str(tmp_path / "cache")):
        done = subprocess.run(
            [sys.executable, "-c", program, cache],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"},  # as a child of a process that imported JAX
        )
        found.append((done.stdout, done.stderr))
    assert len(set(found)) == 1
    assert found[0][1] == ""
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir())


def test_an_outcome_tells_what_was_trained_on(lattice: Columns, declare: Declare, short: dict[str, str]) -> None:
    found: Outcome = climb(declare(**short), data(lattice, 0, 64), None, None)
    assert len(found.trained_on["t1"]) == 64
    assert json.dumps(found.package.manifest)
