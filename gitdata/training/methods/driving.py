"""Driving: how the trainings of a climb are computed: one by itself, or those of many climbs together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import MappingProxyType

from gitdata.errors import GitdataError
from gitdata.training import loop
from gitdata.training.borrowing import Lenders
from gitdata.training.declaration import Declaration, Method
from gitdata.training.methods.climb import Ascent, Outcome, Say, ascent
from gitdata.training.methods.occasion import TrainingData
from gitdata.training.methods.running import Course, Trained, Training
from gitdata.training.package import Package
from gitdata.training.together import kind_of, train_together

Looking = Callable[[Course], loop.Onlookers]


def climb(
    declaration: Declaration,
    data: TrainingData,
    restored: Package | None,
    champion: Package | None,
    methods: Sequence[str | Method] | None = None,
    progress: Say | None = None,
    watch: Looking | None = None,
    lenders: Lenders = MappingProxyType({}),
) -> Outcome:
    """`ascent`, each training by itself; `watch` says who looks on at one."""
    own = ascent(declaration, data, restored, champion, methods, progress, lenders)
    try:
        training = next(own)
        while True:
            try:
                trained = _alone(training, watch(training.course) if watch else loop.Onlookers())
            except loop.Diverged as error:
                training = own.throw(error)
            else:
                training = own.send(trained)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def climb_together(ascents: Sequence[Ascent]) -> list[Outcome | GitdataError]:
    """What each of some climbs comes to; trainings that are alike are computed as one, and share its seconds."""
    found: dict[int, Outcome | GitdataError] = {}
    answers: dict[int, Trained | loop.Diverged | None] = dict.fromkeys(range(len(ascents)))
    while answers:
        waiting: dict[int, Training] = {}
        for place, answer in answers.items():
            try:
                waiting[place] = _next(ascents[place], answer)
            except StopIteration as end:
                found[place] = end.value
            except GitdataError as error:
                found[place] = error
        answers = _all_trained(waiting)
    return [found[place] for place in range(len(ascents))]


def _next(own: Ascent, answer: Trained | loop.Diverged | None) -> Training:
    """The next training of a climb, given what its last one came to."""
    if answer is None:
        return next(own)
    return own.send(answer) if isinstance(answer, Trained) else own.throw(answer)


def _all_trained(waiting: dict[int, Training]) -> dict[int, Trained | loop.Diverged | None]:
    """What some trainings come to."""
    groups: dict[object, list[int]] = {}
    for place, training in waiting.items():
        kind = None if training.watch else kind_of(training)
        groups.setdefault(place if kind is None else kind, []).append(place)
    found: dict[int, Trained | loop.Diverged | None] = {}
    for places in groups.values():
        found |= zip(places, _trained([waiting[place] for place in places]), strict=True)
    return found


def _trained(trainings: Sequence[Training]) -> list[Trained | loop.Diverged]:
    """What trainings of one kind come to."""
    if len(trainings) == 1:
        try:
            return [_alone(trainings[0], loop.Onlookers())]
        except loop.Diverged as error:
            return [error]
    started = time.perf_counter()
    states = train_together(trainings)
    seconds = (time.perf_counter() - started) / len(trainings)
    return [Trained(own, seconds) if isinstance(own, loop.State) else own for own in states]


def _alone(training: Training, onlookers: loop.Onlookers) -> Trained:
    """A training by itself. Raises Diverged."""
    started, watch = time.perf_counter(), training.watch
    on_epoch = watch.on_epoch if watch else None
    last = loop.train_rows(training.run, training.state, training.rows, onlookers, on_epoch, watch)
    before = onlookers.checkpoint.before if onlookers.checkpoint else 0.0
    return Trained(last, time.perf_counter() - started + before)
