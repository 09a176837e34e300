"""Metrics: how well a version answers rows, for all outputs, for each, and for slices of the rows.

Errors are in transformed units under the declared transform, standardised by the rows that are judged: the same
yardstick for every version, whatever its own frozen statistics are. Of classes, a row whose class is declared as
ignored is left out; a class that a version does not know counts as wrong, and costs it the most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.declaration import Declaration
from gitdata.training.package import Package, raw_outputs
from gitdata.training.preprocessing import Binary, Categorical, Numeric, transformed
from gitdata.training.settings import ANY_OTHER, Metric, labels_between

Columns = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_SLICES = 20  # of one field; what is rarer than these is one slice


@dataclass(frozen=True, slots=True)
class NumberAnswer:
    """Standardised errors, and predictions and truth in original units, shape (rows, width) each."""

    errors: Numbers
    predicted: Numbers
    truth: Numbers

    def of(self, rows: NDArray[np.bool_]) -> NumberAnswer:
        return NumberAnswer(self.errors[rows], self.predicted[rows], self.truth[rows])


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """Logits, shape (rows, classes); the place of the true class, −1 where it is unknown; which rows count."""

    logits: Numbers
    codes: Codes
    counts: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> ClassAnswer:
        return ClassAnswer(self.logits[rows], self.codes[rows], self.counts[rows])

    def among(self, classes: NDArray[np.bool_]) -> ClassAnswer:
        """As if there were only some of the classes, at least one; the others are unknown."""
        if classes.all() or not classes.any():
            return self
        places = np.where(classes, classes.cumsum() - 1, -1)
        codes = np.where(self.codes >= 0, places[np.maximum(self.codes, 0)], -1)
        return ClassAnswer(self.logits[:, classes], codes, self.counts)


Answers = dict[str, NumberAnswer | ClassAnswer]


def measure(package: Package, columns: Columns, declaration: Declaration) -> dict[str, Any]:
    """The declared metrics: `overall` in standardised units, `outputs` each in original units, `slices` of both.

    A metric that nothing can be said of, as the area under a curve of one class, is None.
    """
    return measured(answers(package, columns, declaration), columns, declaration)


def measured(found: Answers, columns: Columns, declaration: Declaration) -> dict[str, Any]:
    """`measure` of what a version made of rows."""
    result = report(found, declaration)
    by_slice = {
        label: {"rows": int(rows.sum()), **report(of_part(found, rows), declaration)}
        for label, rows in slices(declaration, columns)
    }
    return result | ({"slices": by_slice} if by_slice else {})


def answers(package: Package, columns: Columns, declaration: Declaration) -> Answers:
    """What a version makes of rows, by output, beside the truth."""
    raw, start, found = np.asarray(raw_outputs(package, columns), np.float64), 0, Answers()
    for field in package.preprocessing.outputs:
        values = raw[:, start : start + field.width]
        start += field.width
        if isinstance(field, Numeric):
            found[field.name] = _number_answer(field, values, columns, declaration)
        else:
            found[field.name] = _class_answer(field, values, columns, declaration)
    return found


def of_part(found: Answers, rows: NDArray[np.bool_]) -> Answers:
    """What a version made of some of the rows."""
    return {name: answer.of(rows) for name, answer in found.items()}


def among(found: Answers, package: Package, other: Package) -> Answers:
    """What a version makes of rows as if it knew only classes that another knows, too: P(class | one of these)."""
    fields = {field.name: field for field in package.preprocessing.outputs}
    known = {field.name: field for field in other.preprocessing.outputs}
    result = dict(found)
    for name, answer in found.items():
        field, beside = fields[name], known.get(name)
        if isinstance(answer, ClassAnswer) and isinstance(field, Categorical) and isinstance(beside, Categorical):
            result[name] = answer.among(np.isin(np.arange(len(field.categories)), _places(field, beside)))
    return result


def _places(field: Categorical, other: Categorical) -> list[int]:
    """Where the categories of a field are that another has, too."""
    return [place for place, category in enumerate(field.categories) if category in other.categories]


def _number_answer(field: Numeric, values: Numbers, columns: Columns, declaration: Declaration) -> NumberAnswer:
    transform = declaration.data.transform_of(field.name)
    truth = transformed(columns[field.name], transform, field.name)
    original = field.decode(values).reshape(len(values), -1)
    predicted = values * np.array(field.scale) + np.array(field.mean)
    if transform != field.transform:
        floor = np.finfo(np.float64).tiny
        predicted = transformed(original if transform == "none" else np.maximum(original, floor), transform, field.name)
    deviation = truth.std(axis=0)
    errors = (predicted - truth) / np.where(deviation > 0, deviation, 1.0)
    return NumberAnswer(errors, original, np.asarray(columns[field.name], np.float64).reshape(len(values), -1))


def _class_answer(field: Categorical, values: Numbers, columns: Columns, declaration: Declaration) -> ClassAnswer:
    if isinstance(field, Binary):
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    ignored = declaration.training.loss_of(field.name).ignore
    counts = np.array([ignored is None or str(value) != str(ignored) for value in columns[field.name].ravel().tolist()])
    return ClassAnswer(values, field.codes(columns), counts.astype(bool))


# --- reporting -----------------------------------------------------------------------------------------------


def report(found: Answers, declaration: Declaration) -> dict[str, Any]:
    """The declared metrics of what a version made of rows, without slices."""
    numbers = {name: answer for name, answer in found.items() if isinstance(answer, NumberAnswer)}
    classes = {name: answer for name, answer in found.items() if isinstance(answer, ClassAnswer)}
    wanted = declared_metrics(declaration)
    overall: dict[str, float | None] = {}
    outputs: dict[str, dict[str, float | None]] = {}
    if numbers:
        names: list[str] = [metric.name for metric in wanted if metric.kind == "numbers"]
        joined = np.concatenate([answer.errors for answer in numbers.values()], axis=1)
        overall |= {name: error_metric(name, joined, None) for name in names}
        for output, answer in numbers.items():
            errors = answer.predicted - answer.truth
            outputs[output] = {name: error_metric(name, errors, answer.truth) for name in names}
    if classes:
        of_classes = [metric for metric in wanted if metric.kind == "classes"]
        by_output = {n: {m.label: class_metric(m, answer) for m in of_classes} for n, answer in classes.items()}
        overall |= {m.label: _mean([values[m.label] for values in by_output.values()]) for m in of_classes}
        outputs |= by_output
    return {"overall": overall, "outputs": outputs}


def declared_metrics(declaration: Declaration) -> tuple[Metric, ...]:
    """The metrics that go with the outputs: of classes always accuracy and cross-entropy, of numbers at least one.

    Those that conditions are declared of are among them.
    """
    conditions = [Metric.called(condition.metric) for condition in declaration.deployment.required]
    wanted = (*declaration.training.metrics, *conditions)
    found = dict.fromkeys(metric for metric in wanted if metric.kind in declaration.kinds)
    if "numbers" in declaration.kinds and not any(metric.kind == "numbers" for metric in found):
        found[Metric(name="mae")] = None
    if "classes" in declaration.kinds:
        found |= dict.fromkeys((Metric(name="accuracy"), Metric(name="cross_entropy")))
    return tuple(found)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# --- numbers -------------------------------------------------------------------------------------------------


def error_metric(name: str, errors: Numbers, truth: Numbers | None) -> float | None:
    """A metric of errors; a truth of None is standardised: it has variance 1."""
    if not errors.size:
        return None
    if name == "mae":
        return float(np.abs(errors).mean())
    squared = float((errors**2).mean())
    if name == "mse":
        return squared
    if name == "rmse":
        return float(np.sqrt(squared))
    variance = 1.0 if truth is None else float(truth.var())
    return 1.0 - squared / variance if variance > 0 else 0.0


# --- classes -------------------------------------------------------------------------------------------------


def class_metric(metric: Metric, answer: ClassAnswer) -> float | None:
    """A metric of the rows that count; None where they say nothing."""
    answer = answer.of(answer.counts)
    if not len(answer.codes):
        return None
    if metric.name == "top_k":
        return _top_k(answer, metric.k)
    return _CLASS_METRICS[metric.name](answer)


def class_losses(answer: ClassAnswer, metric: str) -> Numbers:
    """Per row: 1 where the class is wrong, or −log of its probability; an ignored class costs nothing."""
    if metric == "accuracy":
        losses = np.asarray(answer.logits.argmax(axis=1) != answer.codes, np.float64)
    else:
        log_p = _log_probabilities(answer.logits)
        picked = log_p[np.arange(len(answer.codes)), np.maximum(answer.codes, 0)]
        losses = -np.where(answer.codes >= 0, picked, log_p.min(axis=1))
    return np.where(answer.counts, losses, 0.0)


def _log_probabilities(logits: Numbers) -> Numbers:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _accuracy(answer: ClassAnswer) -> float:
    return 1.0 - float(class_losses(answer, "accuracy").mean())


def _cross_entropy(answer: ClassAnswer) -> float:
    return float(class_losses(answer, "cross_entropy").mean())


def _top_k(answer: ClassAnswer, k: int) -> float:
    """The share of rows whose class is among the k most likely."""
    own = answer.logits[np.arange(len(answer.codes)), np.maximum(answer.codes, 0)]
    before = (answer.logits > own[:, None]).sum(axis=1)
    return float(((before < k) & (answer.codes >= 0)).mean())


def _f1(answer: ClassAnswer) -> float:
    """The mean over classes, that are or were predicted, of 2 tp ÷ (2 tp + fp + fn)."""
    predicted = answer.logits.argmax(axis=1)
    scores = []
    for label in np.union1d(answer.codes[answer.codes >= 0], predicted).tolist():
        is_label, said = answer.codes == label, predicted == label
        scores.append(2 * int((is_label & said).sum()) / int(is_label.sum() + said.sum()))
    return float(np.mean(scores))


def _auc(answer: ClassAnswer) -> float | None:
    """The mean over classes of the area under the curve of one class against the rest (Fawcett 2006)."""
    log_p, areas = _log_probabilities(answer.logits), []
    for label in range(log_p.shape[1]):
        positive = answer.codes == label
        if 0 < positive.sum() < len(positive):
            areas.append(_area(log_p[:, label], positive))
    return float(np.mean(areas)) if areas else None


def _area(scores: Numbers, positive: NDArray[np.bool_]) -> float:
    """How often a positive row scores above a negative one, ties half: from the mean ranks of the positive ones."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


_CLASS_METRICS: dict[str, Callable[[ClassAnswer], float | None]] = {
    "accuracy": _accuracy,
    "auc": _auc,
    "cross_entropy": _cross_entropy,
    "f1": _f1,
}


# --- slices --------------------------------------------------------------------------------------------------


def require_slices(declaration: Declaration, columns: Columns) -> None:
    """Raises Mendable naming a field of [deployment] that rows have no slices by."""
    for field, bounds in declaration.deployment.slices.items():
        if field not in columns:
            raise Mendable(
                f"There is no field '{field}' to make slices by.", f"Fields: {', '.join(columns)}; see [deployment]."
            )
        if columns[field].size != len(columns[field]):
            raise Mendable(f"Field '{field}' has several values per row.", "Take it out of slices in [deployment].")
        if bounds != "categories" and columns[field].dtype.kind not in "biuf":
            raise Mendable(f"Field '{field}' is text.", f'Declare slices = {{ {field} = "categories" }}.')


def slices(declaration: Declaration, columns: Columns) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Every slice that has rows: what it is called, and which they are."""
    require_slices(declaration, columns)
    for field, bounds in declaration.deployment.slices.items():
        values = columns[field].ravel()
        found = _by_category(values) if bounds == "categories" else _by_bounds(values, np.array(bounds))
        yield from ((f"{field} {label}", rows) for label, rows in found if rows.any())


def _by_category(values: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    names = np.array([str(value) for value in values.tolist()], object)
    common = sorted(name for name, _ in Counter(sorted(names)).most_common(MOST_SLICES))
    yield from ((f"= {name}", names == name) for name in common)
    yield f"= {ANY_OTHER}", ~np.isin(names, np.array(common, object))


def _by_bounds(values: NDArray[Any], bounds: Numbers) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Below the first bound, from each to the next, and from the last on."""
    places = np.searchsorted(bounds, np.asarray(values, np.float64), side="right")
    for place, label in enumerate(labels_between(bounds.tolist())):
        yield label, places == place
