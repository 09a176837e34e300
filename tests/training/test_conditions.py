"""Conditions: what a model file may say, what it means, and what is said of those that mean nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gitdata.errors import Mendable
from gitdata.training.conditions import read
from gitdata.training.declaration import Declaration

METRICS = {
    "overall": {"mae": 0.3, "r2": 0.9},
    "outputs": {"W_max": {"mae": 0.02}},
    "slices": {"t1 ≥ 1": {"overall": {"mae": 0.1}, "outputs": {}}, "dir = x": {"overall": {"mae": None}}},
}


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("r2 >= 0.9", 0.9, True),
        ("r2>=.91", 0.9, False),
        ("mae of W_max <= 2e-2", 0.02, True),
        ("mae <= 0.05 where t1 >= 1", 0.1, False),
        ("mae <= 0.05 where dir = x", None, None),
        ("mae <= 0.05 where dir = y", None, None),
    ],
)
def test_what_a_condition_says_of_metrics(text: str, value: float | None, met: bool | None) -> None:
    condition = read(text)
    assert (condition.value(METRICS), condition.is_met(value)) == (value, met)


def declared(declare: Callable[..., Declaration], *conditions: str) -> Declaration:
    slices = 'slices = { dir = "categories", t1 = [0.5, 1.0] }'
    return declare(**{"tolerance = 0.02": f"tolerance = 0.02\n{slices}\nconditions = {list(conditions)!r}"})


def test_conditions_are_read_and_change_no_digest(declare: Callable[..., Declaration]) -> None:
    found = declared(
        declare, "r2 >= 0.9", "mae of W_max <= 0.02", "mae <= 0.1 where dir = x", "mae <= 1 where t1 < 0.5"
    )
    assert [condition.metric for condition in found.deployment.required] == ["r2", "mae", "mae", "mae"]
    assert found.digest == declare().digest


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("r2 > 0.9", "'r2 > 0.9' is no condition; wanted are ones as \"r2 >= 0.9\""),
        ("good", "'good' is no condition"),
        ("mea <= 0.1", "there is no metric 'mea'; is 'mse' meant?"),
        ("top_0 >= 0.1", "there is no metric 'top_0'"),
        ("mae of W_mxa <= 0.1", "is of 'W_mxa', which is no output; is 'W_max' meant?"),
        ("accuracy >= 0.9", "has a metric of classes, and no output is"),
        ("mae <= 0.1 where dri = x", "no slice is called 'dri = x'"),
        ("mae <= 0.1 where t1 from 0.5 to 2", "no slice is called 't1 from 0.5 to 2'; is 't1 from 0.5 to 1' meant?"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(
    declare: Callable[..., Declaration], condition: str, message: str
) -> None:
    with pytest.raises(Mendable) as caught:
        declared(declare, condition)
    assert message in caught.value.message
    assert caught.value.message.startswith("models/")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("forgetting = true", "'deployment.forgetting' is true; a number from 0 is wanted, or false"),
        ("slice_tolerance = -1.0", "'deployment.slice_tolerance' is -1.0; a number from 0 is wanted, or false"),
        ('conditions = "r2 >= 0.9"', "'deployment.conditions' is 'r2 >= 0.9'; a list of conditions is wanted"),
        ('mode = "superior"', "it must be one of non-inferiority, superiority; is 'superiority' meant?"),
    ],
)
def test_other_settings_of_the_gate_say_what_is_wanted(
    declare: Callable[..., Declaration], line: str, message: str
) -> None:
    with pytest.raises(Mendable) as caught:
        declare(**{"tolerance = 0.02": f"tolerance = 0.02\n{line}"})
    assert message in caught.value.message


@pytest.mark.parametrize("zero", ["0", "0.0"])
def test_parts_may_be_left_alone_and_zero_is_a_tolerance(declare: Callable[..., Declaration], zero: str) -> None:
    found = declare(
        **{"tolerance = 0.02": f"tolerance = 0.02\nforgetting = {zero}\nslice_tolerance = false"}
    ).deployment
    assert found.forgetting is not False
    assert found.forgetting == 0
    assert found.slice_tolerance is False
