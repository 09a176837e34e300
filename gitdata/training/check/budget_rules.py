"""Budget rules: rows, batches, learning rates, and what test rows can tell."""

from __future__ import annotations

from collections.abc import Iterator

from gitdata.training.check.findings import Finding, Subject, error, warning

LARGEST_RATE = {"sgd": 2.0}
USUAL_LARGEST_RATE = 0.2
SMALLEST_RATE = 1e-7
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
        text = f"batch_size {batch} is larger than the {train} train rows: every step takes all of them"
        yield warning("batch-size", text, f"Declare batch_size = {max(1, min(32, train // 4))} or so.")
    if not test:
        text = "there are no test rows: a new version waits, and no gate is held"
        yield warning("no-test-rows", text, "Add some: `gitdata extend … --test FILE`.")
        return
    tolerance = subject.declaration.deployment.tolerance
    visible = _POWER / test**0.5
    if tolerance and visible > tolerance * _FAR:
        text = f"{test} test rows show differences of some {visible:.0%}; the tolerance is {tolerance:.1%}"
        remedy = "Most verdicts will be undecided: add test rows, or declare a larger tolerance."
        yield warning("test-rows", text, remedy)


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


RULES = (rows, learning_rates)
