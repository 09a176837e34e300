"""Measures along a chain: the numbers of their equations, and nothing where a ledger does not say enough."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ledger_of, model_version

from gitdata.commands.measures import record_of
from gitdata.training.by_extension import MOST, by_extension
from gitdata.training.declaration import Declaration, parse
from gitdata.training.measures import Stage, measures
from gitdata.training.metrics import Answers, ClassAnswer, NumberAnswer


def rung(method: str, steps: int, union: int, seconds: float, loss: float | None = None) -> dict[str, Any]:
    numbers = {"steps": steps, "union_steps": union, "seconds": seconds, "rows_read": steps}
    return {"method": method, "validation_loss": loss, **numbers}


STAGES = [
    Stage(("a",), {"a": 0.20, "b": 0.90}, {"a": 1.0, "b": 0.8}, "union", [rung("union", 100, 100, 9.0)]),
    Stage(("b",), {"a": 0.10, "b": 0.40, "c": 0.6}, {"c": 0.7}, "finetune", [rung("finetune", 40, 140, 1.0)]),
    Stage(
        ("c",), {"a": 0.25, "b": 0.35, "c": 0.3, "z": 0.5}, {}, "rehearse",
        [rung("finetune", 20, 160, 1.0, 0.9), rung("rehearse", 20, 160, 1.5, 0.6), rung("union", 160, 160, 10.0, 0.5)],
        {"loss": 0.6, "rows": 30},
    ),
]  # fmt: skip


def test_measures_are_those_of_their_equations() -> None:
    found = measures(STAGES)
    assert found.extensions == ("a", "b", "c", "z")
    assert found.matrix == ((0.20, 0.90, None, None), (0.10, 0.40, 0.6, None), (0.25, 0.35, 0.3, 0.5))
    assert found.backward_transfer == pytest.approx(((0.20 - 0.25) + (0.40 - 0.35)) / 2)
    assert found.forgetting == pytest.approx(((0.25 - 0.10) + (0.35 - 0.40)) / 2)
    assert found.forward_transfer == pytest.approx(((0.8 - 0.90) + (0.7 - 0.6)) / 2)
    assert found.union_gap == pytest.approx(0.6 / 0.5 - 1)
    assert found.sample_touch_ratio == pytest.approx((40 + 20 + 20 + 160) / (140 + 160))
    assert found.time_ratio == pytest.approx((1.0 + 1.5 + 10.0) / 10.0)  # of the second version nobody knows
    assert found.prequential_error == 0.6


def test_the_prequential_error_weighs_by_rows() -> None:
    known = [Stage(("a",), {}, prequential={"loss": loss, "rows": n}) for loss, n in ((1.0, 10), (0.4, 30), (9.9, 0))]
    assert measures([Stage(("z",), {}), *known]).prequential_error == pytest.approx((10 + 12) / 40)


def test_a_ledger_of_old_says_nothing() -> None:
    for stages in ([], [Stage(("a",), {})], [Stage(("a",), {}), Stage(("b",), {})]):
        found = measures(stages)
        assert (found.extensions, [*found.matrix]) == ((), [()] * len(stages))
        assert found.forgetting is found.backward_transfer is found.forward_transfer is found.union_gap is None
        assert found.sample_touch_ratio is found.time_ratio is found.prequential_error is None


def test_a_first_version_has_neither_forgotten_nor_foreseen() -> None:
    found = measures(STAGES[:1])
    assert found.matrix == ((0.20, 0.90),)
    assert found.forgetting is found.backward_transfer is found.forward_transfer is found.sample_touch_ratio is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.just(10**400) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["loss", "rows", "steps", "union_steps", "seconds", "e"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["rungs", "prequential", "union_seconds"], anything)), anything)
def test_whatever_a_ledger_says_is_read(training: dict[str, Any], table: Any) -> None:
    first = model_version(1, {"e"}, metrics={"extensions": table})
    second = model_version(2, {"f"}, first, comparisons=[{"version": first.stem, "baseline_metrics": table}])
    second = replace(second, version=replace(second.version, training=training, metrics={"extensions": {"e": table}}))
    record = record_of(ledger_of(first, second), second, {})
    assert json.loads(json.dumps(record.to_json(), allow_nan=False)) == record.to_json()
    assert record["versions"] == [1, 2]


# --- by extension --------------------------------------------------------------------------------------------


CLASSIFIER = """
[data]
dataset = "d"
inputs = ["x"]
outputs = ["dir"]
[network]
layers = [{{ dense = "outputs" }}]
[training]
loss = "cross_entropy"
[deployment]
metric = "{metric}"
"""
Declare = Callable[..., Declaration]
WHERE = np.array(["a"] * 4 + ["b"] * 3 + ["one"], object)


def numbers() -> tuple[Answers, dict[str, np.ndarray], np.ndarray]:
    """Answers that are off by 0.3 decades everywhere; and the logarithms of the truth."""
    logarithms = np.array([0.0, 1.0, 2.0, 3.0, 0.0, 0.1, 0.2, 5.0])
    errors = np.full((8, 1), 0.3) / logarithms.std()
    columns = dict.fromkeys(("W_max", "P_peak"), 10**logarithms)
    return {name: NumberAnswer(errors, errors, errors) for name in columns}, columns, logarithms


def test_rows_of_an_extension_are_their_own_yardstick(declare: Declare) -> None:
    answers, columns, logarithms = numbers()
    found = by_extension(answers, columns, WHERE, declare())
    assert {id: part["rows"] for id, part in found.items()} == {"a": 4, "b": 3, "one": 1}
    for id, rows in (("a", slice(4)), ("b", slice(4, 7))):
        own = logarithms[rows]
        assert found[id]["loss"] == pytest.approx(0.3 / own.std())
        assert found[id]["constant"] == pytest.approx(np.abs(own - own.mean()).mean() / own.std())
    assert found["one"] == {"constant": 0.0, "loss": pytest.approx(0.3 / logarithms.std()), "rows": 1}
    squared = by_extension(answers, columns, WHERE, declare(**{'metric = "mae"': 'metric = "rmse"'}))
    assert squared["b"]["loss"] == pytest.approx(found["b"]["loss"])  # all errors are the same
    assert squared["b"]["constant"] == pytest.approx(1.0)


def test_of_very_many_extensions_the_last_are_measured(declare: Declare) -> None:
    rows = MOST + 5
    errors = np.zeros((rows, 1))
    columns = {name: np.arange(1.0, rows + 1) for name in ("W_max", "P_peak")}
    answers: Answers = {name: NumberAnswer(errors, errors, errors) for name in columns}
    where = np.array([str(n) for n in range(rows)], object)
    assert list(by_extension(answers, columns, where, declare())) == where[5:].tolist()


@pytest.mark.parametrize(
    ("metric", "loss", "constant"), [("accuracy", 0.25, 0.25), ("cross_entropy", math.log(2), 0.5623351446188083)]
)
def test_classes_are_held_against_how_often_they_occur(metric: str, loss: float, constant: float) -> None:
    declaration = parse(CLASSIFIER.format(metric=metric), "m")
    answer = ClassAnswer(np.zeros((4, 2)), np.array([0, 0, 0, 1]), np.ones(4, bool))
    found = by_extension({"dir": answer}, {"dir": np.array(["x"] * 4)}, np.array(["e"] * 4, object), declaration)
    assert found["e"] == {"constant": pytest.approx(constant), "loss": pytest.approx(loss), "rows": 4}
