"""Climb: rungs are tried in order until one is within the tolerance of the champion on validation rows; else the best.

The rungs of `auto` are held against the restored version besides: where all of them are surely worse on the validation
rows, it is kept as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from gitdata.errors import DataUnavailable, GitdataError, Mendable
from gitdata.training import borrowing, loop, metrics, statistics
from gitdata.training.blocks import rows_of
from gitdata.training.borrowing import Lenders
from gitdata.training.declaration import Declaration, Method, methods_named
from gitdata.training.growing import grown, new_classes
from gitdata.training.methods import auto, derpp, distil, ewc, finetune, l2sp, lwf, rehearse, replay, union
from gitdata.training.methods.news import News, news
from gitdata.training.methods.occasion import Columns, Ingredients, Occasion, TrainingData
from gitdata.training.methods.remembering import remembering
from gitdata.training.methods.running import Trained, Training, carry_out
from gitdata.training.methods.strength import Footing, settled
from gitdata.training.methods.validation import Validation, validation
from gitdata.training.package import Package
from gitdata.training.preprocessing.fields import Category
from gitdata.training.rescaling import hardly_varied, rescaled
from gitdata.training.retraining import ANEW, WHOLE
from gitdata.training.shuffle import Held

Say = Callable[[str], None]
Ascent = Generator[Training, Trained, "Outcome"]
Prepare = Callable[[Occasion], Ingredients]

PREPARE: dict[str, Prepare] = {
    "finetune": finetune.prepare, "lwf": lwf.prepare, "l2sp": l2sp.prepare, "ewc": ewc.prepare,
    "replay": replay.prepare, "derpp": derpp.prepare, "distil": distil.prepare, "rehearse": rehearse.prepare,
    "union": union.prepare, "scratch": union.prepare,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rung:
    """What one method cost and came to: gradient steps (and the union's), train rows read, seconds, loss.

    `stopped`, where validation losses ended it: `after` which epoch, `of` how many, and which was the `best`.
    `interpolated`: how far the result lies from the restored weights to those of the run, where that was asked for.
    """

    method: str
    steps: int
    union_steps: int
    rows_read: int
    seconds: float
    validation_loss: float | None
    within_tolerance: bool
    stopped: dict[str, int] | None = None
    interpolated: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The package of the rung that was taken, the rows it came to know, and all rungs that were tried.

    `news`: how the unseen rows looked before any of them was learned. `is_bounded`: no row of what was seen was read.
    """

    package: Package
    trained_on: Columns
    rung: Rung
    rungs: tuple[Rung, ...]
    news: News
    is_bounded: bool = False


@dataclass(frozen=True, slots=True)
class _Tried:
    rung: Rung
    package: Package
    trained_on: Columns
    restored: Package | None


@dataclass(frozen=True, slots=True)
class _Climb:
    """What does not change from rung to rung. `reference`: the champion's loss on the validation rows."""

    declaration: Declaration
    data: TrainingData
    restored: Package | None
    lenders: Lenders
    held_out: Validation
    reference: float | None
    say: Say


def ascent(
    declaration: Declaration,
    data: TrainingData,
    restored: Package | None,
    champion: Package | None,
    methods: Sequence[str | Method] | None = None,
    progress: Say | None = None,
    lenders: Lenders = MappingProxyType({}),
) -> Ascent:
    """Try the methods in order until one is within the tolerance of the champion on validation rows, else the best.

    Without a version to restore, or where its outputs are of another kind than is declared now, there is one: `union`.
    `lenders`: the versions that the network borrows of. Whoever drives it is handed each training, and trains.
    """
    say = progress or (lambda message: None)
    wanted = methods_named(methods or (), declaration.retraining) or declaration.retraining.method
    borrowing.require_alike(declaration, lenders)
    if restored and not _goes_on(restored, declaration):
        say("The loss asks for outputs of another kind than the restored version has: a start from scratch.")
        restored = None
    held_out = validation(data, restored)
    if rows_of(own_rows := data.validation()):
        metrics.require_slices(declaration, own_rows)
    reference = held_out.loss(champion or restored, declaration)
    fresh = news(data, restored, declaration)
    if fresh.drifted:
        say(f"The new rows differ from those seen so far: {', '.join(fresh.drifted)}.")
    if restored is not None and any(method.name == "auto" for method in wanted):
        say(auto.why(data, restored, fresh))
    own = _Climb(declaration, data, restored, lenders, held_out, reference, say)
    tried = yield from _try_all(own, _rungs(wanted, data, restored, fresh))
    taken = tried[-1] if tried[-1].rung.within_tolerance else min(tried, key=_loss_of)
    before = None if taken.rung.method == "scratch" else taken.restored or restored
    package = remembering(taken.package, taken.rung.method, taken.trained_on, declaration, data, before)
    return Outcome(package, taken.trained_on, taken.rung, tuple(each.rung for each in tried), fresh, data.is_bounded)


def _rungs(wanted: Sequence[Method], data: TrainingData, restored: Package | None, fresh: News) -> tuple[Method, ...]:
    """The methods to try, those of `auto` in its place; from nothing there is one way."""
    if restored is None:
        return (next((method for method in wanted if method.name in ANEW), Method(name="union")),)
    found: list[Method] = []
    for method in wanted:
        found += auto.rungs(data, restored, fresh) if method.name == "auto" else (method,)
    has_auto = any(method.name == "auto" for method in wanted)
    return (*found, Method(name="keep")) if has_auto else tuple(found)


def _try_all(climb: _Climb, rungs: Sequence[Method]) -> Generator[Training, Trained, list[_Tried]]:
    """Every rung up to the first that will do. Raises what was wrong where none came to anything.

    Where a version may be kept, rows that are nowhere any more are no reason to end: what does without them is there.
    """
    tried: list[_Tried] = []
    failed: GitdataError | None = None
    may_keep = any(method.name == "keep" for method in rungs)
    passable = (Mendable, DataUnavailable) if may_keep else (Mendable,)
    for method in rungs:
        try:
            found = yield from _try(climb, method, may_keep=may_keep)
        except passable as error:
            failed = error
            if tried or method != rungs[-1]:  # else it is raised
                climb.say(f"{method.name}: {error.message}")
            continue
        tried.append(found)
        climb.say(_sentence(found.rung, climb.reference))
        if found.rung.within_tolerance:
            break
    if failed and not [each for each in tried if each.rung.method != "keep"]:
        raise failed
    return tried


def _will_do(climb: _Climb, package: Package, loss: float | None, *, may_keep: bool) -> bool:
    """Whether a version is within the tolerance of the champion on validation rows; where `keep` is a rung, it must not
    be surely worse than the restored one, either.

    To keep what there is at every doubt would lose what few rows bring, and these are the usual case.
    """
    if loss is None or climb.reference is None:
        return True
    if loss > (1 + climb.declaration.deployment.tolerance) * climb.reference:
        return False
    return not may_keep or not climb.held_out.is_surely_worse(package, climb.restored, climb.declaration)


def _try(climb: _Climb, method: Method, *, may_keep: bool) -> Generator[Training, Trained, _Tried]:
    started = time.perf_counter()
    restored = None if method.name in ANEW else _grown(climb, method)
    footing = Footing.of(climb.restored, restored)
    restored = _rescaled(climb, method, restored)
    own = settled(method, climb.declaration, climb.data.unseen_share, footing)
    occasion = Occasion(climb.declaration, own, climb.data, restored, climb.lenders)
    wanted = _kept(occasion) if method.name == "keep" else PREPARE[method.name](occasion)
    try:
        result = yield from carry_out(occasion, wanted, climb.held_out)
    except loop.Diverged as error:
        numbers = [number for number in error.numbers if number < rows_of(wanted.trained_on)]
        names = climb.data.names
        raise (error.named(names(wanted.trained_on, numbers)) if names and numbers else error) from error
    loss = _finite(climb.held_out.loss(result.package, climb.declaration))
    rung = Rung(
        method=method.name,
        steps=result.steps,
        union_steps=climb.declaration.training.epochs * occasion.batches(climb.data.whole_rows),
        rows_read=wanted.read,
        seconds=time.perf_counter() - started + result.beyond,
        validation_loss=loss,
        within_tolerance=_will_do(climb, result.package, loss, may_keep=may_keep and method.name != "keep"),
        stopped=_stopped(wanted, result.package) if result.steps else None,
        interpolated=result.package.manifest.get("interpolated") if result.steps else None,
    )
    return _Tried(rung, result.package, wanted.trained_on, restored)


def _kept(occasion: Occasion) -> Ingredients:
    """The restored version as it is: it has seen the unseen rows, and learned nothing of them."""
    nothing = np.empty((0, 0), np.float32)
    return Ingredients(Held(nothing, nothing), {}, 0, 0, 1)


def _grown(climb: _Climb, method: Method) -> Package | None:
    """The restored version with outputs for classes that it does not know, of all rows that a method learns from.

    These may be classes of rows that were seen: a version that was kept has learned nothing of them.
    """
    restored = climb.restored
    if restored is None or method.name == "keep":
        return restored
    old: Columns = restored.reservoir.trained if restored.reservoir is not None else {}
    parts = (climb.data.unseen(), climb.data.whole() if method.name in WHOLE else old, climb.held_out.columns)
    classes: dict[str, tuple[Category, ...]] = {}
    for rows in parts:
        for name, own in new_classes(restored.preprocessing, rows).items():
            classes[name] = tuple(dict.fromkeys((*classes.get(name, ()), *own)))
    if not classes:
        return restored
    wide = grown(restored, classes)
    names = "; ".join(f"{', '.join(map(str, own))} of '{name}'" for name, own in classes.items())
    climb.say(f"New classes: {names}. The restored version gets outputs for them.")
    return wide


def _rescaled(climb: _Climb, method: Method, restored: Package | None) -> Package | None:
    """The restored version with inputs scaled to all rows where these hardly varied before, and do now.

    It takes all rows to learn such inputs anew: where a sample is all that is read, the version's answers are the
    better guess. What borrows layers has the codes of who lends them.
    """
    if restored is None or method.name not in WHOLE or climb.lenders:
        return restored
    if restored.summary is None or not hardly_varied(restored.summary):
        return restored  # the usual case, which is not to cost a pass over all rows
    moved, names = rescaled(restored, statistics.fit(climb.declaration, climb.data.whole()))
    if names:
        climb.say(f"Inputs that hardly varied before are scaled, and learned, anew: {', '.join(names)}.")
    return moved


def _goes_on(package: Package, declaration: Declaration) -> bool:
    """Whether a version puts out what the declared losses take: numbers, classes, or one of two."""
    kinds = {field.name: field.kind for field in package.preprocessing.outputs}
    return kinds == {name: declaration.kind_of(name) for name in declaration.data.outputs}


def _finite(loss: float | None) -> float | None:
    """A loss; raises Mendable where it is no number, or none that anything compares with."""
    if loss is not None and not math.isfinite(loss):
        raise Mendable(
            "Training diverged: the loss on validation rows is no finite number.",
            "Lower learning_rate in [training.optimizer]; the champion stays.",
        )
    return loss


def _loss_of(tried: _Tried) -> float:
    loss = tried.rung.validation_loss
    return math.inf if loss is None else loss


def _stopped(wanted: Ingredients, package: Package) -> dict[str, int] | None:
    """Where validation losses ended the run that a package comes from; None where it went to its end."""
    watched = package.manifest.get("watched")
    if not watched or not watched["stopped"]:
        return None
    return {"after": watched["epochs"], "of": math.ceil(wanted.steps / wanted.epoch), "best": watched["best_epoch"]}


def _sentence(rung: Rung, reference: float | None) -> str:
    loss = "no validation rows" if rung.validation_loss is None else f"validation loss {rung.validation_loss:.4g}"
    against = "" if reference is None else f" (champion {reference:.4g})"
    share = rung.steps / rung.union_steps
    ended = ""
    if stopped := rung.stopped:
        ended = f"; stopped after epoch {stopped['after']} of {stopped['of']}; the best was epoch {stopped['best']}"
    return f"{rung.method}: {rung.steps} steps ({share:.0%} of union's) in {rung.seconds:.2f} s, {loss}{against}{ended}"
