"""Metrics: every one against a reference that counts by brute force, over outputs and over slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.errors import Mendable
from gitdata.training import gate, package
from gitdata.training.declaration import Declaration, parse
from gitdata.training.methods import TrainingData, climb
from gitdata.training.metrics import ClassAnswer, class_metric, error_metric, measure
from gitdata.training.package import Package, predict
from gitdata.training.settings import Metric

Columns = dict[str, np.ndarray]


def auc(answer: ClassAnswer) -> float | None:
    """Over all pairs of a row of a class and one of another: which has the higher probability, ties half."""
    p = np.exp(answer.logits) / np.exp(answer.logits).sum(axis=1, keepdims=True)
    areas = []
    for label in range(p.shape[1]):
        won = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a in p[answer.codes == label, label]
            for b in p[answer.codes != label, label]
        ]
        if won:
            areas.append(np.mean(won))
    return float(np.mean(areas)) if areas else None


def f1(answer: ClassAnswer) -> float:
    said, scores = answer.logits.argmax(axis=1).tolist(), []
    pairs = list(zip(answer.codes.tolist(), said, strict=True))
    for label in {label for pair in pairs for label in pair} - {-1}:
        hit = sum(pair == (label, label) for pair in pairs)
        precision = hit / said.count(label) if label in said else 0.0
        recall = hit / max(sum(true == label for true, _ in pairs), 1)
        scores.append(2 * precision * recall / (precision + recall) if hit else 0.0)
    return float(np.mean(scores))


def top(k: int) -> Callable[[ClassAnswer], float]:
    def share(answer: ClassAnswer) -> float:
        best = [set(sorted(range(len(row)), key=lambda c, row=row: -row[c])[:k]) for row in answer.logits.tolist()]
        return float(np.mean([code in few for code, few in zip(answer.codes.tolist(), best, strict=True)]))

    return share


def cross_entropy(answer: ClassAnswer) -> float:
    p = np.exp(answer.logits) / np.exp(answer.logits).sum(axis=1, keepdims=True)
    return float(np.mean([-np.log(row[c] if c >= 0 else row.min()) for row, c in zip(p, answer.codes, strict=True)]))


REFERENCES: list[tuple[Metric, Callable[[ClassAnswer], float | None]]] = [
    (Metric(name="accuracy"), lambda a: float(np.mean(a.logits.argmax(axis=1) == a.codes))),
    (Metric(name="top_k", k=1), top(1)),
    (Metric(name="top_k", k=2), top(2)),
    (Metric(name="f1"), f1),
    (Metric(name="auc"), auc),
    (Metric(name="cross_entropy"), cross_entropy),
]


@pytest.mark.parametrize(("metric", "reference"), REFERENCES, ids=lambda value: getattr(value, "label", ""))
@pytest.mark.parametrize("classes", [2, 4])
def test_a_metric_of_classes(metric: Metric, reference: Callable[[ClassAnswer], float | None], classes: int) -> None:
    generator = np.random.default_rng(classes)
    for rows in (1, 2, 30, 60):
        logits = generator.normal(size=(rows, classes))
        codes = generator.integers(-1 if rows == 60 else 0, classes, rows)
        answer = ClassAnswer(logits, codes, np.ones(rows, bool))
        expected = reference(answer)
        found = class_metric(metric, answer)
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))
        more = ClassAnswer(
            np.concatenate([logits, -9 * logits]), np.concatenate([codes, codes]), np.arange(2 * rows) < rows
        )
        assert class_metric(metric, more) == found  # rows of an ignored class do not count


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_ties_count_half_under_the_curve(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = (np.array(values, float) for values in zip(*pairs, strict=True))
    answer = ClassAnswer(np.stack([0 * scores, scores], axis=1), truth.astype(int), np.ones(len(truth), bool))
    expected = auc(answer)
    assert class_metric(Metric(name="auc"), answer) == (None if expected is None else pytest.approx(expected))


def test_metrics_of_numbers() -> None:
    truth = np.random.default_rng(0).normal(size=(50, 2))
    errors = np.random.default_rng(1).normal(size=(50, 2))
    squares = [e * e for e in errors.ravel()]
    assert error_metric("mae", errors, truth) == pytest.approx(sum(map(abs, errors.ravel())) / 100)
    assert error_metric("mse", errors, truth) == pytest.approx(sum(squares) / 100)
    assert error_metric("rmse", errors, truth) == pytest.approx((sum(squares) / 100) ** 0.5)
    spread = sum((t - truth.mean()) ** 2 for t in truth.ravel())
    assert error_metric("r2", errors, truth) == pytest.approx(1 - sum(squares) / spread)
    assert error_metric("r2", errors, None) == pytest.approx(1 - sum(squares) / 100)
    assert error_metric("mae", errors[:0], truth[:0]) is None


# --- of packages ---------------------------------------------------------------------------------------------

MIXED = """
[data]
dataset = "lattice"
inputs = ["t1", "t2", "t3", "lambda_end", "J_end"]
outputs = ["W_max", "dir", "long"]
transform = { W_max = "log10" }
[network]
layers = [{ dense = 16 }, "relu", { dense = "outputs" }]
[training]
epochs = 15
loss = { W_max = "mae", dir = { name = "cross_entropy", class_weights = "balanced" }, long = "binary_cross_entropy" }
metrics = ["rmse", "f1", "auc", { name = "top_k", k = 1 }]
optimizer = { name = "adamw", learning_rate = 1e-2 }
[deployment]
slices = { scenario = "categories", t1 = [1.0, 2.0] }
"""


def trained(declaration: Declaration, rows: Columns) -> Package:
    count = len(rows["t1"])
    return climb(declaration, TrainingData(lambda: rows, lambda: rows, dict, count, count), None, None).package


@pytest.fixture(scope="module")
def rows(lattice: Columns) -> Columns:
    return lattice | {"long": (lattice["t1"] > np.median(lattice["t1"])).astype(int)}


@pytest.fixture(scope="module")
def mixed(rows: Columns) -> Package:
    return trained(parse(MIXED, "m"), rows)


def test_numbers_and_classes_are_learned_and_reported_together(rows: Columns, mixed: Package) -> None:
    declaration = parse(MIXED, "m")
    found, predicted = measure(mixed, rows, declaration), predict(mixed, rows)
    assert set(found["overall"]) == {"rmse", "f1", "auc", "top_1", "accuracy", "cross_entropy"}
    assert found["outputs"]["W_max"] == {
        "rmse": pytest.approx(float(np.sqrt(((predicted["W_max"] - rows["W_max"]) ** 2).mean())))
    }
    for name in ("dir", "long"):
        of = found["outputs"][name]
        assert of["accuracy"] == of["top_1"] == pytest.approx((predicted[name] == rows[name]).mean())
        assert of["accuracy"] > 0.8
        assert of["auc"] > 0.9
    assert found["overall"]["f1"] == pytest.approx((found["outputs"]["dir"]["f1"] + found["outputs"]["long"]["f1"]) / 2)
    assert found["overall"]["rmse"] < 0.9


def test_the_gate_asks_of_each_output_what_goes_with_it(rows: Columns, mixed: Package) -> None:
    declaration = parse(MIXED, "m")
    assert gate.comparable(mixed, declaration, rows)
    assert not gate.comparable(mixed, parse(MIXED.replace('long = "binary_cross_entropy"', 'long = "mae"'), "m"), rows)
    spread = np.log10(rows["W_max"]).std()
    error = np.abs(np.log10(predict(mixed, rows)["W_max"]) - np.log10(rows["W_max"])) / spread
    found = measure(mixed, rows, declaration)["outputs"]
    expected = (error.mean() + found["dir"]["cross_entropy"] + found["long"]["cross_entropy"]) / 3
    assert gate.row_losses(mixed, rows, declaration).mean() == pytest.approx(expected, rel=1e-4)
    by_accuracy = parse(MIXED.replace("[deployment]", '[deployment]\nmetric = "accuracy"'), "m")
    expected = (error.mean() + 2 - found["dir"]["accuracy"] - found["long"]["accuracy"]) / 3
    assert gate.row_losses(mixed, rows, by_accuracy).mean() == pytest.approx(expected, rel=1e-4)


def test_slices_are_by_category_and_between_bounds(rows: Columns, mixed: Package) -> None:
    found = measure(mixed, rows, parse(MIXED, "m"))["slices"]
    names = {f"scenario = {name}" for name in rows["scenario"].tolist()}
    assert set(found) <= names | {"t1 < 1", "t1 from 1 to 2", "t1 ≥ 2"}
    assert set(found) >= names
    for field in ("scenario", "t1"):
        assert sum(value["rows"] for name, value in found.items() if name.startswith(field)) == len(rows["t1"])
    mask = (rows["t1"] >= 1) & (rows["t1"] < 2)
    few = {name: column[mask] for name, column in rows.items()}
    expected = measure(mixed, few, parse(MIXED, "m"))["outputs"]
    assert found["t1 from 1 to 2"]["outputs"] == {
        name: {metric: None if value is None else pytest.approx(value) for metric, value in of.items()}
        for name, of in expected.items()
    }


def test_rare_categories_are_one_slice_and_an_unknown_field_is_named(rows: Columns, mixed: Package) -> None:
    text = MIXED.replace('{ scenario = "categories", t1 = [1.0, 2.0] }', '{ many = "categories" }')
    many = rows | {"many": np.arange(len(rows["t1"])) % 50}
    found = measure(mixed, many, parse(text, "m"))["slices"]
    assert len(found) == 21
    assert found["many = any other"]["rows"] > 0
    with pytest.raises(Mendable, match="no field 'many' to make slices by"):
        measure(mixed, rows, parse(text, "m"))
    with pytest.raises(Mendable, match="Field 'scenario' is text"):
        measure(mixed, rows, parse(text.replace('many = "categories"', "scenario = [1.0]"), "m"))


def test_one_of_two_classes_survives_its_package(rows: Columns, mixed: Package) -> None:
    read = package.decode(package.encode(mixed))
    assert read.preprocessing == mixed.preprocessing
    assert set(predict(read, rows)["long"].tolist()) == {0, 1}
    assert read.preprocessing.outputs[2].width == 1


def test_an_ignored_class_is_neither_learned_nor_judged(rows: Columns) -> None:
    text = MIXED.replace('class_weights = "balanced"', 'ignore = "unknown"').replace("epochs = 15", "epochs = 3")
    words = np.array(rows["dir"].tolist(), object)
    words[::3] = "unknown"
    strange = rows | {"dir": words}
    declaration = parse(text, "m")
    found = trained(declaration, strange)
    judged = measure(found, strange, declaration)["outputs"]["dir"]
    known = np.arange(len(words)) % 3 != 0
    assert judged == measure(found, {n: c[known] for n, c in strange.items()}, declaration)["outputs"]["dir"]
    losses = gate.row_losses(found, strange, declaration)
    words[::3] = "unknown, but otherwise"
    assert (gate.row_losses(found, strange, declaration)[~known] > losses[~known]).all()


def test_a_loss_for_another_kind_of_output_starts_from_scratch(rows: Columns, mixed: Package) -> None:
    """[training] alone has changed, so the version could be restored; but numbers are no logits."""
    numbers = parse(MIXED.replace('long = "binary_cross_entropy"', 'long = "mse"').replace("= 15", "= 1"), "m")
    said: list[str] = []
    data = TrainingData(lambda: rows, lambda: rows, dict, 100, 100)
    found = climb(numbers, data, mixed, mixed, ["finetune"], said.append)
    assert (found.rung.method, found.package.preprocessing.outputs[2].kind) == ("union", "numbers")
    assert "outputs of another kind" in said[0]


def test_three_classes_are_no_two(rows: Columns) -> None:
    text = MIXED.replace('dir = { name = "cross_entropy", class_weights = "balanced" }', 'dir = "binary_cross_entropy"')
    strange = replace(TrainingData(lambda: rows, lambda: rows, dict, 1, 1))
    three = rows | {"dir": np.array(["a", "b", "c"], object)[np.arange(len(rows["t1"])) % 3]}
    with pytest.raises(Mendable, match="'dir' has 3 classes; binary_cross_entropy takes two"):
        climb(parse(text, "m"), replace(strange, whole=lambda: three), None, None)
