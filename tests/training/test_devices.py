"""Rows of a batch shared out over eight devices: what one device gives, up to the order of sums."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

PROGRAM = """
import os, sys
from pathlib import Path
from gitdata.training.environment import prepare
prepare(Path(os.environ["GITDATA_COMPILE_CACHE"]))
import jax, numpy as np
from gitdata.training import loop
from gitdata.training.architecture import notation
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.declaration import Optimizer, Schedule
assert len(jax.local_devices()) == int(sys.argv[1])
layers = notation.read([{"dense": 8, "bias": False}, "batch_norm", "relu", {"dense": "outputs"}], {})
plan, adam = Plan((Input("x", (3,)),), (Output("y", 1),), layers), Optimizer(learning_rate=0.01)
x = np.random.default_rng(0).normal(size=(130, 3)).astype(np.float32)
run = loop.Run(plan, "mse", adam, Schedule(), 13, 200, 7)
losses = []
trained = loop.train(run, loop.start(plan, adam, 7), x, x[:, :1], loop.Onlookers(lambda *of: losses.extend(of[1])))
print(*np.asarray(trained.weights).tolist(), *map(float, losses))
assert loop.compiled_chunk(plan, "mse", adam)._cache_size() == 1
"""


def test_eight_devices_give_what_one_gives_and_the_batch_need_not_divide() -> None:
    found = []
    for devices in ("1", "8"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, devices],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": devices},
        )
        assert done.returncode == 0, done.stderr
        found.append([float(number) for number in done.stdout.split()])
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)
