"""Methods: ways to bring a model up to date, cheapest first, and the climb from one rung to the next.

- `finetune` goes on from the restored state on the unseen rows alone (the paper): cost: epochs × unseen rows.
- `rehearse` goes on from the restored state on rows drawn uniformly from the whole chain, with the unseen share of the
  union's steps: cost the same, and it remembers.
- `union` starts anew on everything: full cost, statistics fitted again.

A rung is taken when it is within the tolerance of the champion on the validation rows; else the best one is.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.canonical import digest
from gitdata.errors import Mendable
from gitdata.training import borrowing, gate, loop, losses, metrics, network, optimizer, statistics
from gitdata.training.architecture import plan as plans
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Plan
from gitdata.training.blocks import Blocks, blocks_of, rows_of, sizes_of
from gitdata.training.borrowing import Lenders
from gitdata.training.declaration import Declaration, Optimizer, Schedule, check_methods
from gitdata.training.package import Package
from gitdata.training.preprocessing import Categorical, Preprocessing
from gitdata.training.settings import EarlyStopping
from gitdata.training.shuffle import Held, Rows, Streamed, encode
from gitdata.training.stopping import is_watched
from gitdata.training.watch import Watch, answerable

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows, read when asked for, in memory or as Blocks. `validation` rows are never trained on, the others are.

    `names`: what people call some rows, by their numbers, of columns that were handed out.
    """

    unseen: Callable[[], Columns]
    whole: Callable[[], Columns]
    validation: Callable[[], Columns]
    unseen_rows: int
    whole_rows: int
    names: Callable[[Columns, Sequence[int]], Sequence[str]] | None = None


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
class Rung:
    """What one method cost and came to: gradient steps (and the union's), train rows read, seconds, loss.

    `stopped`, where validation losses ended it: `after` which epoch, `of` how many, and which was the `best`.
    """

    method: str
    steps: int
    union_steps: int
    rows_read: int
    seconds: float
    validation_loss: float | None
    within_tolerance: bool
    stopped: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The package of the rung that was taken, the rows it was trained on, and all rungs that were tried."""

    package: Package
    trained_on: Columns
    rung: Rung
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a method trains: settings, steps in all and in an epoch, and what it starts from, or borrows of."""

    method: str
    optimizer: Optimizer
    schedule: Schedule
    early: EarlyStopping | None
    steps: int
    epoch: int
    restored: Package | None
    lenders: Lenders


def climb(
    declaration: Declaration,
    data: TrainingData,
    restored: Package | None,
    champion: Package | None,
    methods: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
    watch: Callable[[Course], loop.Onlookers] | None = None,
    lenders: Lenders = MappingProxyType({}),
) -> Outcome:
    """Try the methods in order until one is within the tolerance of the champion on validation rows, else the best.

    Without a version to restore, or where its outputs are of another kind than is declared now, there is one: `union`.
    `watch` says who looks on at a run. `lenders`: the versions that the network borrows of.
    """
    say = progress or (lambda message: None)
    check_methods(methods or ())
    borrowing.require_alike(declaration, lenders)
    if restored and not _goes_on(restored, declaration):
        say("The loss asks for outputs of another kind than the restored version has: a start from scratch.")
        restored = None
    rungs_wanted = (methods or declaration.retraining.method) if restored else ("union",)
    validation = data.validation()
    if validation:
        metrics.require_slices(declaration, validation)
    reference = _validation_loss(champion or restored, validation, declaration)
    tried: list[tuple[Rung, Package, Columns]] = []
    for method in rungs_wanted:
        started = time.perf_counter()
        recipe = _recipe(method, declaration, data, restored if method != "union" else None, lenders)
        rows = data.unseen() if method == "finetune" else data.whole()
        if method == "finetune" and not rows_of(rows):
            recipe = replace(recipe, steps=0)  # parallel extensions that were seen brought all of these rows already
        try:
            package, steps, before = _train(recipe, declaration, rows, validation, watch or _nobody)
            loss = _finite(_validation_loss(package, validation, declaration))
        except Mendable as failed:
            error = failed
            if isinstance(failed, loop.Diverged) and data.names:
                error = failed.named(data.names(rows, failed.numbers))
            if method == rungs_wanted[-1] and not tried:
                raise error from failed
            say(f"{method}: {error.message}")
            continue
        within = loss is None or reference is None or loss <= (1 + declaration.deployment.tolerance) * reference
        rung = Rung(
            method=method,
            steps=steps,
            union_steps=_union_steps(declaration, data.whole_rows),
            rows_read=rows_of(rows),
            seconds=time.perf_counter() - started + before,
            validation_loss=loss,
            within_tolerance=within,
            stopped=_stopped(recipe, package) if steps else None,
        )
        tried.append((rung, package, rows))
        say(_sentence(rung, reference))
        if within:
            break
    rung, package, rows = tried[-1] if tried[-1][0].within_tolerance else min(tried, key=_loss_of)
    return Outcome(package, rows, rung, tuple(rung for rung, _, _ in tried))


def _goes_on(package: Package, declaration: Declaration) -> bool:
    """Whether a version puts out what the declared losses take: numbers, classes, or one of two."""
    kinds = {field.name: field.kind for field in package.preprocessing.outputs}
    return kinds == {name: declaration.kind_of(name) for name in declaration.data.outputs}


def _recipe(
    method: str, declaration: Declaration, data: TrainingData, restored: Package | None, lenders: Lenders
) -> _Recipe:
    """Settings and budget of a method; `manual` retraining has its own, where it goes on from a restored state."""
    training, manual = declaration.training, declaration.retraining
    use_manual = restored is not None and manual.type == "manual"
    epochs = (manual.epochs if use_manual else None) or training.epochs
    rows = data.whole_rows if method == "union" else data.unseen_rows
    epoch = math.ceil(rows / training.batch_size)
    return _Recipe(
        method,
        (manual.optimizer if use_manual else None) or training.optimizer,
        (manual.schedule if use_manual else None) or training.schedule,
        (manual.early_stopping if use_manual else None) or training.early_stopping,
        epochs * epoch,
        epoch,
        restored,
        lenders,
    )


def _union_steps(declaration: Declaration, rows: int) -> int:
    return declaration.training.epochs * math.ceil(rows / declaration.training.batch_size)


def _train(
    recipe: _Recipe,
    declaration: Declaration,
    rows: Columns,
    validation: Columns,
    looking: Callable[[Course], loop.Onlookers],
) -> tuple[Package, int, float]:
    """The package that a method comes to, the steps that were taken, and the seconds up to a checkpoint."""
    training, restored = declaration.training, recipe.restored
    if restored and not recipe.steps:
        return restored, 0, 0.0
    if not rows_of(rows):
        raise Mendable(
            "There are no rows to train on.",
            "Extend the dataset with train rows; where there are no validation rows, some of them are held out.",
        )
    codes = restored.preprocessing if restored else borrowing.coded(statistics.fit(declaration, rows), recipe.lenders)
    plan = restored.plan if restored else _plan_of(declaration, codes, recipe.lenders)
    state = _restore(restored, recipe) if restored else _start(plan, recipe, training.seed)
    run = loop.Run(
        plan,
        losses.terms(training, plan.outputs),
        recipe.optimizer,
        recipe.schedule,
        training.batch_size,
        recipe.steps,
        training.seed,
        recipe.epoch,
    )
    weighing = losses.class_weights(training, codes.outputs, _sums(codes, rows))
    watch = _watch(recipe, run, codes, validation, weighing)

    def packed(trained: loop.State, manifest: dict[str, Any]) -> Package:
        return Package(
            plan=plan,
            preprocessing=codes,
            weights=network.named(plan, np.asarray(trained.weights)),
            state=optimizer.state_to_arrays(trained.optimizer),
            position=trained.position,
            manifest=manifest,
            trained_rows=np.empty(0, np.uint64),
        )

    def measure(weights: Any) -> float | None:
        return _validation_loss(packed(replace(state, weights=weights), {}), validation, declaration)

    key = _key(run, codes, state, rows, recipe.method)
    watched = (lambda: watch.last) if watch else None
    course = Course(
        recipe.method, key, rows_of(rows), training.batch_size, recipe.steps, recipe.epoch, measure, watched
    )
    onlookers, on_epoch = looking(course), watch.on_epoch if watch else None
    last = loop.train_rows(run, state, _encoded(codes, rows, weighing), onlookers, on_epoch, watch)
    trained, steps = watch.result(last) if watch else last, last.position - state.position
    manifest = _manifest(recipe, training.seed, steps) | ({"watched": watch.to_json()} if watch else {})
    return packed(trained, manifest), steps, onlookers.checkpoint.before if onlookers.checkpoint else 0.0


def _encoded(codes: Preprocessing, rows: Columns, weighing: NDArray[np.float32] | None) -> Rows:
    if isinstance(rows, Blocks):
        return Streamed(rows, codes, weighing)
    inputs, targets = (
        np.empty((rows_of(rows), width), np.float32) for width in (codes.input_width, codes.output_width)
    )
    encode(codes, rows, inputs, targets)
    return Held(inputs, targets if weighing is None else targets * weighing[None, :])


def _sums(codes: Preprocessing, rows: Columns) -> NDArray[np.float64]:
    """The sum of each target over all rows: of classes, how many rows have each. Numbers are not summed up."""
    if not any(isinstance(field, Categorical) for field in codes.outputs):
        return np.zeros(codes.output_width)
    sums = [codes.encode_outputs(block).sum(axis=0, dtype=np.float64) for block in blocks_of(rows)]
    return np.asarray(np.sum(sums, axis=0))


def _watch(
    recipe: _Recipe, run: loop.Run, codes: Preprocessing, rows: Columns, weighing: NDArray[np.float32] | None
) -> Watch | None:
    """Who looks at the validation rows after each epoch; nobody where nothing depends on them, or there are none."""
    if not is_watched(recipe.early, recipe.schedule) or not rows_of(rows := answerable(codes, rows)):
        return None
    targets = np.concatenate([codes.encode_outputs(block) for block in blocks_of(rows)])
    targets = targets if weighing is None else targets * weighing[None, :]
    held = [codes.encode_inputs(rows)] if not isinstance(rows, Blocks) else None
    inputs = partial(iter, held) if held else lambda: map(codes.encode_inputs, blocks_of(rows))
    return Watch(run, recipe.early, inputs, targets)


def _key(run: loop.Run, codes: Preprocessing, state: loop.State, rows: Columns, method: str) -> str:
    """Over all that the outcome of a run follows from but the values of the rows, of which the statistics are part."""
    settings = {
        "batch_size": run.batch_size, "codes": codes.to_json(), "epoch": run.epoch, "loss": repr(run.loss),
        "method": method,
        "made_by": _made_by(), "network": plans.to_json(run.plan), "optimizer": run.optimizer.model_dump(),
        "position": state.position, "schedule": run.schedule.model_dump(), "seed": run.seed,
        "sizes": sizes_of(rows), "steps": run.steps,
    }  # fmt: skip
    start = hashlib.sha256(np.asarray(state.weights).tobytes())
    for _, array in sorted(optimizer.state_to_arrays(state.optimizer).items()):
        start.update(array.tobytes())
    return digest({**settings, "start": start.hexdigest()})


def _nobody(course: Course) -> loop.Onlookers:
    return loop.Onlookers()


def _start(plan: Plan, recipe: _Recipe, seed: int) -> loop.State:
    """Fresh weights, those of borrowed parts as their lenders have them."""
    state = loop.start(plan, recipe.optimizer, seed)
    if not recipe.lenders:
        return state
    own = borrowing.weights(plan.layers, network.named(plan, np.asarray(state.weights)), recipe.lenders)
    return replace(state, weights=network.vector(plan, own))


def _plan_of(declaration: Declaration, codes: Preprocessing, lenders: Lenders) -> Plan:
    """The network for these fields. Raises Mendable where it does not take them."""
    try:
        return codes.plan(declaration.network.with_parts(borrowing.plans_of(lenders)))
    except Misfit as misfit:
        raise Mendable(f"models/{declaration.name}.toml: {misfit}.", misfit.remedy) from misfit


def _restore(package: Package, recipe: _Recipe) -> loop.State:
    """Weights, optimiser state and position of a package; another optimiser starts with a state of its own."""
    weights = network.vector(package.plan, package.weights)
    fresh = optimizer.direction(recipe.optimizer, network.weight_shapes(package.plan)).init(weights)
    same = package.manifest.get("optimizer") == recipe.optimizer.name and optimizer.fits(fresh, package.state)
    state = optimizer.state_from_arrays(fresh, package.state) if same else fresh
    return loop.State(weights, state, package.position)


def _manifest(recipe: _Recipe, seed: int, steps: int) -> dict[str, Any]:
    """What made a package: without times, so that the same training gives the same bytes."""
    return {
        "made_by": _made_by(),
        "method": recipe.method,
        "optimizer": recipe.optimizer.name,
        "seed": seed,
        "steps": steps,
    }


def _stopped(recipe: _Recipe, package: Package) -> dict[str, int] | None:
    """Where validation losses ended the run that a package comes from; None where it went to its end."""
    watched = package.manifest.get("watched")
    if not watched or not watched["stopped"]:
        return None
    return {"after": watched["epochs"], "of": math.ceil(recipe.steps / recipe.epoch), "best": watched["best_epoch"]}


@cache
def _made_by() -> dict[str, str]:
    return {name: version(name) for name in ("gitdata", "jax", "jaxlib", "flax", "optax", "numpy")}


def _validation_loss(package: Package | None, rows: Columns, declaration: Declaration) -> float | None:
    if package is None or not rows_of(rows) or not gate.comparable(package, declaration, rows):
        return None
    return gate.mean_loss(gate.row_losses(package, rows, declaration), declaration)


def _finite(loss: float | None) -> float | None:
    """A loss; raises Mendable where it is no number, or none that anything compares with."""
    if loss is not None and not math.isfinite(loss):
        raise Mendable(
            "Training diverged: the loss on validation rows is no finite number.",
            "Lower learning_rate in [training.optimizer]; the champion stays.",
        )
    return loss


def _loss_of(tried: tuple[Rung, Package, Columns]) -> float:
    loss = tried[0].validation_loss
    return math.inf if loss is None else loss


def _sentence(rung: Rung, reference: float | None) -> str:
    loss = "no validation rows" if rung.validation_loss is None else f"validation loss {rung.validation_loss:.4g}"
    against = "" if reference is None else f" (champion {reference:.4g})"
    share = rung.steps / rung.union_steps
    ended = ""
    if stopped := rung.stopped:
        ended = f"; stopped after epoch {stopped['after']} of {stopped['of']}; the best was epoch {stopped['best']}"
    return f"{rung.method}: {rung.steps} steps ({share:.0%} of union's) in {rung.seconds:.2f} s, {loss}{against}{ended}"
