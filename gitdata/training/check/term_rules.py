"""Term rules: whether the weights of classes, metrics and slices that are declared are of something that there is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gitdata.training.check.findings import Finding, Subject, error, nearest, warning
from gitdata.training.settings import ANY_OTHER, Loss

_SHOWN = 20  # classes or fields that a remedy names


def class_terms(subject: Subject) -> Iterator[Finding]:
    """`class_weights` and `ignore` name classes, and leave some to tell apart."""
    for name, counts in subject.names():
        if name in subject.outputs:
            yield from _class_terms(name, tuple(sorted(map(str, counts))), subject.declaration.training.loss_of(name))


def _class_terms(name: str, classes: tuple[str, ...], loss: Loss) -> Iterator[Finding]:
    given = loss.class_weights if isinstance(loss.class_weights, dict) else {}
    known = f"The classes are {_some(classes)}."
    for label in given:
        if label not in classes:
            text = f"class_weights names '{label}', no class of '{name}'"
            yield error("class-unknown", text, nearest(label, classes, known), name)
    if loss.ignore is not None and str(loss.ignore) not in classes:
        text = f"ignore names '{loss.ignore}', no class of '{name}'"
        yield warning("class-unknown", text, nearest(str(loss.ignore), classes, known), name)
    learned = [label for label in classes if label != str(loss.ignore) and given.get(label, 1.0)]
    if len(learned) < 2 <= len(classes):
        left = f"'{learned[0]}' alone" if learned else "none"
        text = f"of the classes of '{name}' {left} is learned: the others are ignored, or weigh 0"
        yield error("one-class", text, "Correct class_weights and ignore in [training].", name)


def metrics(subject: Subject) -> Iterator[Finding]:
    """Metrics are of outputs that there are; those by default are nobody's mistake."""
    training, kinds = subject.declaration.training, subject.declaration.kinds
    for metric in training.metrics if "metrics" in training.model_fields_set else ():
        if metric.kind not in kinds:
            fitting = "mae, mse, rmse and r2" if "numbers" in kinds else "accuracy, cross_entropy, top_k, f1 and auc"
            text = f"the metric {metric.name} is of {metric.kind}, and no output is"
            yield warning("metric-unused", text, f"Leave it out; of these outputs there are {fitting}.")


def slices(subject: Subject) -> Iterator[Finding]:
    """Slices are by a field with one value in each row; bounds are between numbers."""
    for name, bounds in subject.declaration.deployment.slices.items():
        facts = subject.fields.get(name)
        if facts is None:
            known = tuple(subject.fields)
            text = f"slices names '{name}', which is no field"
            yield error("slices", text, nearest(name, known, f"The fields are {_some(known)}."), name)
        elif math.prod(facts.shape) != 1:
            text = f"slices are by '{name}', which has several values in each row"
            yield error("slices", text, "Take it out of slices in [deployment].", name)
        elif bounds != "categories" and facts.is_text:
            text = f"slices have bounds for '{name}', which is text"
            yield error("slices", text, f'Declare slices = {{ {name} = "categories" }}.', name)


def conditions(subject: Subject) -> Iterator[Finding]:
    """A condition on a category of which there is no test row can never be told."""
    for condition in subject.declaration.deployment.required:
        name, _, category = (condition.slice or "").partition(" = ")
        facts = subject.tests.get(name) or subject.fields.get(name)
        counts = facts.measured.counts if facts is not None and facts.measured is not None else None
        if not category or counts is None or category == ANY_OTHER:
            continue
        known = tuple(str(value) for value in counts)
        if category not in known:
            text = f"the condition '{condition.text}' is on '{name}' {category}, of which there is no row"
            yield warning("conditions", text, nearest(category, known, f"There are {_some(known)}."), name)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


RULES = (class_terms, metrics, slices, conditions)
