"""Preprocessing: statistics frozen when first fitted, and back to original units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gitdata.errors import Mendable
from gitdata.training.declaration import Declaration, parse
from gitdata.training.preprocessing import Preprocessing, fit

Columns = dict[str, np.ndarray]
TEXT = '[data]\ndataset = "d"\noutputs = ["y"]\n[network]\nlayers = [{ dense = "outputs" }]\n'
SIMPLE = parse(TEXT, "m")
CLASSES = parse(TEXT + '[training]\nloss = "cross_entropy"\n', "m")


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)))
def test_standardised_inputs_have_mean_zero_and_variance_one(values: np.ndarray) -> None:
    codes = fit(SIMPLE, {"x": values, "y": values})
    encoded = codes.inputs[0].encode({"x": values})
    assert abs(encoded.mean()) < 1e-6
    assert encoded.std() == pytest.approx(1, abs=1e-6) or encoded.std() < 1e-3
    back = codes.decode_outputs(codes.outputs[0].encode({"y": values}))["y"]
    np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-6)


def test_log_outputs_come_back_in_original_units(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    codes = fit(declare(), lattice)
    back = codes.decode_outputs(codes.encode_outputs(lattice))
    np.testing.assert_allclose(back["W_max"], lattice["W_max"], rtol=1e-5)
    assert codes.input_width == 3 + 8 + 2
    assert Preprocessing.from_json(codes.to_json()) == codes


def test_statistics_are_frozen_and_unknown_categories_are_zeros_and_reported(
    lattice: Columns, declare: Callable[..., Declaration]
) -> None:
    codes = fit(declare(), lattice)
    row = {name: column[:1].copy() for name, column in lattice.items()}
    row["scenario"][0] = "never seen"
    encoded = codes.encode_inputs(row)
    assert encoded[0, 3:11].tolist() == [0.0] * 8
    assert codes.unknown_categories(row) == {"scenario": ["never seen"]}
    assert codes.unknown_categories(lattice) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(value: float) -> None:
    rows = {"x": np.array([1.0, value]), "y": np.ones(2)}
    with pytest.raises(Mendable, match=r"'x' is not a finite number in 1 of 2 rows"):
        fit(SIMPLE, rows)


def test_log_of_what_is_not_positive_is_named(lattice: Columns, declare: Callable[..., Declaration]) -> None:
    with pytest.raises(Mendable, match=r"'W_max' is 0 in a row; log10 needs numbers above 0"):
        fit(declare(), {**lattice, "W_max": np.where(np.arange(1712) == 5, 0.0, lattice["W_max"])})


def test_a_missing_field_names_the_nearest() -> None:
    codes = fit(SIMPLE, {"width": np.arange(3.0), "y": np.arange(3.0)})
    with pytest.raises(Mendable, match="no field 'width'") as error:
        codes.encode_inputs({"widht": np.arange(3.0)})
    assert "'widht'" in error.value.next_step


@pytest.mark.parametrize("labels", [np.array(["b", "a", "b"], object), np.array([3, 1, 3]), np.array([3.0, 1.0, 3.0])])
def test_classes_are_frozen_and_a_new_one_is_named(labels: np.ndarray) -> None:
    codes = fit(CLASSES, {"x": np.arange(3.0), "y": labels})
    assert codes.encode_outputs({"y": labels}).argmax(axis=1).tolist() == [1, 0, 1]
    assert codes.decode_outputs(np.eye(2))["y"].tolist() == ([1, 3] if labels.dtype.kind != "O" else ["a", "b"])
    assert Preprocessing.from_json(codes.to_json()) == codes
    with pytest.raises(Mendable, match="new to the model"):
        codes.encode_outputs({"y": np.array(["c"], object) if labels.dtype.kind == "O" else np.array([7])})


@pytest.mark.parametrize(
    "value",
    [None, {}, {"inputs": [], "outputs": []}, {"inputs": [{}], "outputs": [{}]},
     {"inputs": [{"name": "a", "categories": []}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [0], "shape": [], "transform": "none"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [2], "transform": "none"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [], "transform": "exec"}], "outputs": []}],
)  # fmt: skip
def test_what_is_no_preprocessing_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"preprocessing|malformed|unknown|name"):
        Preprocessing.from_json(value)
