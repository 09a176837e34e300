"""Budget rules: rows, batches, learning rates, and what test rows can tell."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gitdata.training.architecture import summary
from gitdata.training.check.findings import Finding, Level, Subject, error, warning

LARGEST_RATE = {"sgd": 2.0}
USUAL_LARGEST_RATE = 0.2
SMALLEST_RATE = 1e-7
MOST_STEPS = 10**8
_BYTES = 4
_COPIES = 3  # of what a layer makes: that, its gradient, and what is on the way
# The gate shows a relative difference d with 80 % power on about (2.49 c / d)² rows, c being the deviation of paired
# differences in units of the mean loss. It is 0.5 or so; what shows five times the tolerance is too little for sure.
_POWER = 2.49 * 0.5
_FAR = 5


def rows(subject: Subject) -> Iterator[Finding]:
    if subject.rows is None:
        return
    train, test = subject.rows.get("train", 0), subject.rows.get("test", 0)
    batch = subject.declaration.training.batch_size
    if not train:
        yield error("no-train-rows", "there are no train rows", "Extend the dataset with some.")
    elif batch > train:
        text = (
            f"batch_size {batch} is larger than the {train} train row{'s' * (train > 1)}: every step takes all of them"
        )
        yield warning("batch-size", text, f"Declare batch_size = {max(1, min(32, train // 4))} or so.")
    if not test:
        text = "there are no test rows: a new version waits, and no gate is held"
        yield warning("no-test-rows", text, "Add some: `gitdata extend … --test FILE`.")
        return
    tolerance = subject.declaration.deployment.tolerance
    visible = _POWER / test**0.5
    if tolerance and visible > tolerance * _FAR:
        shows = f"{test} test row{'s show' if test > 1 else ' shows'}"
        text = f"{shows} differences of some {visible:.0%}; the tolerance is {tolerance:.1%}"
        remedy = "Most verdicts will be undecided: add test rows, or declare a larger tolerance."
        yield warning("test-rows", text, remedy)


def steps(subject: Subject) -> Iterator[Finding]:
    """How long a first training is, and whether the learning rate gets to its peak in it."""
    training, train = subject.declaration.training, subject.train_rows
    if not train:
        return
    count = training.epochs * math.ceil(train / training.batch_size)
    if count > MOST_STEPS:
        text = f"{training.epochs:,} epochs of {train:,} rows in batches of {training.batch_size:,} are {count:,} steps"
        yield warning("steps", text, "Declare fewer epochs, or a larger batch_size.")
    if training.schedule.warmup > count:
        text = f"the warm-up takes {training.schedule.warmup:,} steps, and the run has {count:,}"
        remedy = "Declare a share of the run, as warmup = 0.1, or fewer steps."
        yield warning("warmup", text, remedy)


def memory(subject: Subject) -> Iterator[Finding]:
    """What layers make of a batch is held until their gradients are known."""
    train = subject.train_rows
    if subject.plan is None or subject.memory is None or not train:
        return
    batch = min(subject.declaration.training.batch_size, 1 << (train - 1).bit_length())  # filled up to a power of two
    needed = batch * summary.numbers_held(subject.plan) * _BYTES * _COPIES
    if needed <= subject.memory / 2:
        return
    largest = max(summary.lines(subject.plan), key=lambda line: math.prod(line.after))
    size = f"batches of {batch:,} rows need some {needed / 2**30:.1f} GiB"
    text = f"{size}, most of them in '{largest.name}'; this machine has {subject.memory / 2**30:.1f} GiB"
    level: Level = "error" if needed > subject.memory else "warning"
    fitting = max(1, int(batch * subject.memory / 2 / needed))
    remedy = f"Declare batch_size = {fitting} or less, or make that layer smaller."
    yield Finding(level, "batch-memory", text, remedy, layer=largest.name)


def learning_rates(subject: Subject) -> Iterator[Finding]:
    declaration = subject.declaration
    named = (("training", declaration.training.optimizer), ("retraining", declaration.retraining.optimizer))
    for table, optimizer in named:
        if optimizer is None:
            continue
        most = LARGEST_RATE.get(optimizer.name, USUAL_LARGEST_RATE)
        if not SMALLEST_RATE <= optimizer.learning_rate <= most:
            extreme = "large" if optimizer.learning_rate > most else "small"
            text = f"[{table}] the learning rate {optimizer.learning_rate:g} is very {extreme} for {optimizer.name}"
            yield warning("learning-rate", text, "Usual are 1e-4 to 1e-2.")


RULES = (rows, steps, memory, learning_rates)
