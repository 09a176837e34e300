"""Running: a method carried out, from its ingredients to a package.

How a training is computed is left to whoever *drives*: `carry_out` hands out a training that is about to begin, and is
handed what it came to. So one training is driven by itself, and those of many seeds together (`driving`).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.canonical import digest
from gitdata.training import loop, losses, network, optimizer
from gitdata.training.architecture import plan as plans
from gitdata.training.blocks import Blocks, blocks_of, rows_of, sizes_of
from gitdata.training.declaration import Optimizer, Schedule
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.methods.start import start
from gitdata.training.methods.validation import Validation
from gitdata.training.package import Package
from gitdata.training.preprocessing import Preprocessing
from gitdata.training.settings import EarlyStopping
from gitdata.training.shuffle import Rows
from gitdata.training.stopping import is_watched
from gitdata.training.watch import Watch, answerable

OF_STATE = ("made_by", "optimizer", "seed")  # what a manifest goes on to say of a version that is kept
INTERPOLATED = (0.25, 0.5, 0.75, 1.0)  # how far from the restored weights to those of a run; 0 is the rung `keep`


@dataclass(frozen=True, slots=True)
class Course:
    """A run that is about to begin. `key` tells it from every other by what its outcome follows from.

    `epoch`: the steps of one. `measure`: the validation loss of weights on the way, where there are validation rows.
    `watched`: the one after the last epoch that the run itself depends on; None: it depends on none.
    """

    method: str
    key: str
    rows: int
    batch_size: int
    steps: int
    epoch: int
    measure: Callable[[Any], float | None]
    watched: Callable[[], float | None] | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """A run that is about to begin, with all that it takes."""

    course: Course
    run: loop.Run
    state: loop.State
    rows: Rows
    watch: Watch | None


@dataclass(frozen=True, slots=True)
class Trained:
    """The state that a training ended in, and the seconds that it took."""

    state: loop.State
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to, the steps that were taken, and the seconds beyond those that went by here.

    They are more where a run went on from a checkpoint, and less where others were computed meanwhile.
    """

    package: Package
    steps: int
    beyond: float


@dataclass(frozen=True, slots=True)
class _Terms:
    """Optimiser, schedule and early stopping of a run: `manual` retraining has its own, where it goes on."""

    optimizer: Optimizer
    schedule: Schedule
    early: EarlyStopping | None


def terms(occasion: Occasion) -> _Terms:
    training, manual = occasion.declaration.training, occasion.declaration.retraining
    own = manual if occasion.restored is not None and manual.type == "manual" else None
    declared = (own.optimizer if own else None) or training.optimizer
    rate = (occasion.method.rate or 1.0) * declared.learning_rate
    return _Terms(
        declared.model_copy(update={"learning_rate": rate}),
        occasion.method.schedule or (own.schedule if own else None) or training.schedule,
        (own.early_stopping if own else None) or training.early_stopping,
    )


def carry_out(occasion: Occasion, wanted: Ingredients, validation: Validation) -> Generator[Training, Trained, Result]:
    """Train as a method wants it."""
    if not wanted.steps and occasion.restored is not None:
        return Result(_kept(occasion.restored, occasion.method.name), 0, 0.0)
    declared, training = terms(occasion), occasion.declaration.training
    state = start(occasion, declared.optimizer)
    averages = _averages(occasion, declared, wanted.steps, state.position)
    run = loop.Run(
        occasion.plan,
        losses.terms(training, occasion.plan.outputs),
        declared.optimizer,
        declared.schedule,
        training.batch_size,
        wanted.steps,
        training.seed,
        wanted.epoch,
        tuple(averages.values()),
        wanted.pull,
    )
    watch = _watch(declared, run, occasion.codes, validation, wanted.weighing)
    make = partial(_package, occasion, declared)

    def measure(weights: Any) -> float | None:
        return validation.loss(make(replace(state, weights=weights), 0), occasion.declaration)

    course = Course(
        occasion.method.name,
        _key(run, occasion, state, wanted),
        wanted.read,
        training.batch_size,
        wanted.steps,
        wanted.epoch,
        measure,
        (lambda: watch.last) if watch else None,
    )
    asked = time.perf_counter()
    found = yield Training(course, run, state, wanted.rows, watch)
    beyond = found.seconds - (time.perf_counter() - asked)
    last = found.state
    trained, steps = watch.result(last) if watch else last, last.position - state.position
    kept = dict(zip(averages, last.means, strict=True)) if averages and steps == wanted.steps else {}
    if "average" in kept:
        trained = replace(trained, weights=kept["average"])
    package = make(trained, steps, watch=watch, stable=kept.get("stable"))
    return Result(_interpolated(occasion, package, validation), steps, beyond)


def _kept(package: Package, method: str) -> Package:
    """A version as it is, by a method that takes no step; `kept`: the one that its weights are of."""
    known = package.manifest
    same = {key: known[key] for key in OF_STATE if key in known}
    manifest = {**same, "kept": known.get("kept", known.get("method")), "method": method, "steps": 0}
    return replace(package, manifest=manifest)


def _package(
    occasion: Occasion,
    declared: _Terms,
    state: loop.State,
    steps: int,
    watch: Watch | None = None,
    stable: Any = None,
) -> Package:
    """A state with all that is needed to use it, and what made it: no times, equal trainings being equal bytes."""
    written = occasion.method.model_dump(mode="json")
    options = {key: value for key, value in written.items() if key != "name"} if isinstance(written, dict) else {}
    manifest = {
        "made_by": made_by(),
        "method": occasion.method.name,
        "optimizer": declared.optimizer.name,
        "seed": occasion.declaration.training.seed,
        "steps": steps,
    }
    return Package(
        plan=occasion.plan,
        preprocessing=occasion.codes,
        weights=network.named(occasion.plan, np.asarray(state.weights)),
        state=optimizer.state_to_arrays(state.optimizer),
        position=state.position,
        manifest=manifest | ({"options": options} if options else {}) | ({"watched": watch.to_json()} if watch else {}),
        trained_rows=np.empty(0, np.uint64),
        stable=None if stable is None else network.named(occasion.plan, np.asarray(stable)),
    )


def _averages(occasion: Occasion, declared: _Terms, steps: int, position: int) -> dict[str, tuple[float, float]]:
    """The stretches of a run whose weights are averaged, by what the averages are for."""
    found = {}
    if occasion.method.average:
        found["average"] = (1 - occasion.method.average, 1.0)
    if any("restart" in method.differing() for method in occasion.declaration.retraining.method):
        rates = optimizer.learning_rates(declared.optimizer, declared.schedule, steps, position)
        place = int(np.flatnonzero(rates >= rates.max() / 2)[-1])
        found["stable"] = (place / steps, (place + 1) / steps)
    return found


def _interpolated(occasion: Occasion, package: Package, validation: Validation) -> Package:
    """The best on validation rows of the line from the restored weights to those of a run, the restored ones aside."""
    if occasion.restored is None or not getattr(occasion.method, "interpolate", False) or not validation:
        return package
    old, found = occasion.version.weights, []
    for share in INTERPOLATED:
        weights = {name: old[name] + np.float32(share) * (own - old[name]) for name, own in package.weights.items()}
        own = replace(package, weights=weights, manifest={**package.manifest, "interpolated": share})
        loss = validation.loss(own, occasion.declaration)
        found.append((math.inf if loss is None or not math.isfinite(loss) else loss, -share, own))
    return min(found, key=lambda each: each[:2])[2]


def _watch(
    declared: _Terms, run: loop.Run, codes: Preprocessing, validation: Validation, weighing: NDArray[np.float32] | None
) -> Watch | None:
    """Who looks at the validation rows after each epoch; nobody where nothing depends on them, or there are none."""
    if not is_watched(declared.early, declared.schedule) or not validation:
        return None
    if not rows_of(rows := answerable(codes, validation.columns)):
        return None
    targets = np.concatenate([codes.encode_outputs(block) for block in blocks_of(rows)])
    targets = targets if weighing is None else targets * weighing[None, :]
    held = [codes.encode_inputs(rows)] if not isinstance(rows, Blocks) else None
    inputs = partial(iter, held) if held else lambda: map(codes.encode_inputs, blocks_of(rows))
    return Watch(run, declared.early, inputs, targets)


def _key(run: loop.Run, occasion: Occasion, state: loop.State, wanted: Ingredients) -> str:
    """Over all that the outcome of a run follows from but the values of the rows, of which the statistics are part."""
    settings = {
        "averages": run.averages, "batch_size": run.batch_size, "codes": occasion.codes.to_json(), "epoch": run.epoch,
        "loss": repr(run.loss), "method": occasion.method.model_dump(mode="json"), "name": occasion.method.name,
        "made_by": made_by(), "network": plans.to_json(run.plan), "optimizer": run.optimizer.model_dump(),
        "position": state.position, "rows": wanted.rows.count, "schedule": run.schedule.model_dump(), "seed": run.seed,
        "sizes": sizes_of(wanted.trained_on), "steps": run.steps,
    }  # fmt: skip
    start = hashlib.sha256(np.asarray(state.weights).tobytes())
    for _, array in sorted(optimizer.state_to_arrays(state.optimizer).items()):
        start.update(array.tobytes())
    return digest({**settings, "start": start.hexdigest()})


@cache
def made_by() -> dict[str, str]:
    """The programs that compute."""
    return {name: version(name) for name in ("gitdata", "jax", "jaxlib", "flax", "optax", "numpy")}
