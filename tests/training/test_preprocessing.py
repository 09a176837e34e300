"""Preprocessing: statistics frozen when first fitted, and back to original units."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gitdata.errors import Mendable
from gitdata.training.architecture.plan import Input
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
    with pytest.raises(Mendable, match=r"The class '[c7]' of 'y' is new to the model"):
        codes.encode_outputs({"y": np.array(["c"], object) if labels.dtype.kind == "O" else np.array([7])})


FIELD = {"name": "a", "mean": [0], "scale": [1], "shape": [], "transform": "none"}


@pytest.mark.parametrize(
    "value",
    [None, {}, {"inputs": [], "outputs": []}, {"inputs": [{}], "outputs": [{}]},
     {"inputs": [{"name": "a", "categories": []}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [0], "shape": [], "transform": "none"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [2], "transform": "none"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [], "transform": "exec"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [-2], "transform": "none"}], "outputs": []},
     {"inputs": [{"name": "a", "mean": [0], "scale": [1], "shape": [10**9], "transform": "none"}], "outputs": []},
     {"inputs": [{**FIELD, "scaling": "x"}], "outputs": []},
     {"inputs": [{**FIELD, "seen": [2, 1]}], "outputs": []},
     {"inputs": [{"name": "a", "categories": ["a"], "encoding": "x", "shape": []}], "outputs": []},
     {"inputs": [{"name": "a", "categories": ["a"], "encoding": "codes", "shape": [0.5]}], "outputs": []}],
)  # fmt: skip
def test_what_is_no_preprocessing_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"preprocessing|malformed|unknown|name"):
        Preprocessing.from_json(value)


SCALINGS = ("standard", "minmax", "robust", "channels", "none")
NUMBERS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)), elements=st.floats(1e-3, 1e4)
)


def scaled(scaling: str, transform: str = "none") -> Declaration:
    keys = "".join(
        f'{key} = {{ inputs = "{value}", outputs = "{value}" }}\n'
        for key, value in (("scaling", scaling), ("transform", transform))
    )
    return parse(TEXT.replace("[network]", f"{keys}[network]"), "m")


@given(st.sampled_from(SCALINGS), st.sampled_from(["none", "log", "log10", "log1p", "sqrt"]), NUMBERS)
def test_every_scaling_comes_back_and_survives_its_document(scaling: str, transform: str, values: np.ndarray) -> None:
    codes = fit(scaled(scaling, transform), {"x": values, "y": values})
    assert codes.inputs[0].as_input.shape == values.shape[1:]
    back = codes.decode_outputs(codes.outputs[0].encode({"y": values}))["y"]
    np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-6)
    assert Preprocessing.from_json(json.loads(json.dumps(codes.to_json()))) == codes


def test_what_each_scaling_makes() -> None:
    x = np.array([[[0.0, 10.0], [2.0, 30.0]], [[4.0, 20.0], [6.0, 40.0]]])  # rows, steps, channels
    y = np.array([0.0, 1.0])
    made = {name: fit(scaled(name), {"x": x, "y": y}).inputs[0].encode({"x": x}).reshape(x.shape) for name in SCALINGS}
    np.testing.assert_array_equal(made["none"], x)
    np.testing.assert_allclose(made["minmax"], [[[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    np.testing.assert_allclose(made["standard"], [[[-1, -1], [-1, -1]], [[1, 1], [1, 1]]])
    np.testing.assert_allclose(made["channels"].mean(axis=(0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(made["channels"].std(axis=(0, 1)), 1)
    np.testing.assert_allclose(made["robust"] * 1.0 / 1.349, [[[-1, -1], [-1, -1]], [[1, 1], [1, 1]]])


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.uint16, 65535), (np.bool_, 1)])
def test_images_are_scaled_by_the_range_of_their_dtype(dtype: type, most: int) -> None:
    x = np.zeros((3, 4, 4), dtype)
    x[0, 0, 0] = most
    codes = fit(scaled("none"), {"x": x, "y": np.arange(3.0)})
    assert codes.inputs[0].encode({"x": x}).max() == most
    image = parse(TEXT.replace("[network]", 'scaling = { x = "image" }\n[network]'), "m")
    codes = fit(image, {"x": x, "y": np.arange(3.0)})
    assert codes.inputs[0].encode({"x": x}).max() == 1.0
    assert len(json.dumps(codes.to_json())) < 500  # one number stands for all pixels
    with pytest.raises(Mendable, match="no largest number"):
        fit(image, {"x": x.astype(np.float32), "y": np.arange(3.0)})


def coded(keys: str) -> Declaration:
    layers = '[network]\nlayers = [{ embedding = 3 }, "flatten", { dense = "outputs" }]'
    return parse(f'[data]\ndataset = "d"\ninputs = ["x"]\noutputs = ["y"]\n{keys}\n{layers}\n', "m")


@pytest.mark.parametrize(
    ("keys", "x"),
    [('encoding = { x = "codes" }', np.array(["c", "a", "c"], object)),
     ('encoding = { x = "codes" }', np.array([30, 10, 30])),
     ('categories = ["x"]\nencoding = { inputs = "codes" }', np.array([30.0, 10.0, 30.0]))],
)  # fmt: skip
def test_codes_are_for_embeddings(keys: str, x: np.ndarray) -> None:
    columns = {"x": x, "y": np.arange(3.0)}
    codes = fit(coded(keys), columns)
    assert codes.encode_inputs(columns).tolist() == [[1.0], [0.0], [1.0]]
    assert codes.inputs[0].as_input == Input("x", (1,), categories=2)
    assert codes.plan(coded(keys).network).output_width == 1
    unknown = np.array(["b"], object) if x.dtype.kind == "O" else np.array([20.5])
    assert codes.encode_inputs({"x": unknown}).tolist() == [[-1.0]]
    assert Preprocessing.from_json(codes.to_json()) == codes


def test_a_sequence_of_codes_keeps_its_shape() -> None:
    words = np.array([[5, 6, 5], [7, 5, 6]])
    columns = {"x": words, "y": np.arange(2.0)}
    codes = fit(coded('encoding = { x = "codes" }'), columns)
    assert codes.inputs[0].as_input == Input("x", (3,), categories=3)
    assert codes.encode_inputs(columns).tolist() == [[0, 1, 0], [2, 0, 1]]
    assert Preprocessing.from_json(codes.to_json()) == codes
    with pytest.raises(Mendable, match="trained on"):
        codes.encode_inputs({"x": words[:, :2]})
    with pytest.raises(Mendable, match="several categories"):
        fit(coded('categories = ["x"]'), columns)


def test_whole_numbers_declared_as_categories_become_one_hot() -> None:
    columns = {"x": np.array([4, 2, 9]), "y": np.arange(3.0)}
    codes = fit(coded('categories = ["x"]'), columns)
    assert codes.encode_inputs(columns).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    with pytest.raises(Mendable, match="not whole numbers"):
        fit(coded('categories = ["x"]'), {**columns, "x": np.array([0.5, 1.0, 2.0])})


def test_what_lies_far_outside_is_reported_by_field() -> None:
    seen = {"x": np.linspace(0, 10, 50), "z": np.array(["a", "b"] * 25, object), "y": np.arange(50.0)}
    codes = fit(SIMPLE, seen)
    assert codes.outside(seen) == []
    assert codes.outside({"x": np.array([10.9, -0.9]), "z": np.array(["a", "b"], object)}) == []  # a little is no news
    found = codes.outside({"x": np.array([5.0, 30.0, -3.0]), "z": np.array(["a", "c", "c"], object)})
    assert [(far.field, far.rows, far.value, far.distance) for far in found] == [
        ("x", 2, 30.0, 2.0),
        ("z", 2, None, None),
    ]
    assert "0 to 10) in 2 rows; the farthest is 30, 2 times that range" in found[0].sentence
    assert found[1].unknown == ("c",)
    old = codes.to_json()
    for field in (*old["inputs"], *old["outputs"]):
        field.pop("seen", None)  # as packages of old have it
    (far,) = Preprocessing.from_json(old).outside({"x": np.array([5.0, 90.0]), "z": np.array(["a"] * 2, object)})
    assert (far.rows, far.unit) == (1, "standard deviations from the mean")


def test_of_several_numbers_per_row_each_has_its_own_deviation() -> None:
    x = np.stack([np.linspace(0, 1, 50), np.linspace(0, 1000, 50)], axis=1)
    codes = fit(SIMPLE, {"x": x, "y": np.arange(50.0)})
    (far,) = codes.outside({"x": np.array([[0.5, 500.0], [500.0, 0.5]])})
    assert (far.rows, far.value) == (1, 500.0)


def test_documents_of_old_are_read() -> None:
    """As written before there were scalings: full lists, and nothing else."""
    old = {
        "inputs": [{"mean": [1.0, 2.0], "name": "x", "scale": [1.0, 4.0], "shape": [2], "transform": "none"},
                   {"categories": ["a", "b"], "name": "c"}],
        "outputs": [{"mean": [0.0], "name": "y", "scale": [2.0], "shape": [], "transform": "log10"}],
    }  # fmt: skip
    codes = Preprocessing.from_json(old)
    rows = {"x": np.array([[2.0, 6.0]]), "c": np.array(["b"], object), "y": np.array([100.0])}
    assert codes.encode_inputs(rows).tolist() == [[1.0, 1.0, 0.0, 1.0]]
    assert codes.encode_outputs(rows).tolist() == [[1.0]]
    assert codes.to_json() == old


def test_outputs_that_are_the_same_in_all_rows_are_found() -> None:
    """Whatever the blocks; in fewer than eight rows that may be chance."""
    numbers = fit(SIMPLE, {"x": np.arange(20.0), "y": np.arange(20.0)})
    same = [{"x": np.arange(5.0), "y": np.full(5, 0.25)}] * 2
    (found,) = numbers.alike(same)
    assert found.sentence == "'y' is 0.25 in all 10 new rows"
    assert numbers.alike(same[:1]) == numbers.alike([]) == []
    assert numbers.alike([*same, {"x": np.arange(1.0), "y": np.array([0.5])}]) == []
    classes = fit(CLASSES, {"x": np.arange(20.0), "y": np.array(["a", "b"] * 10, object)})
    (found,) = classes.alike([{"x": np.arange(9.0), "y": np.array(["b"] * 9, object)}])
    assert found.sentence == "'y' is b in all 9 new rows"
    curves = fit(SIMPLE, {"x": np.arange(20.0), "y": np.arange(60.0).reshape(20, 3)})
    (found,) = curves.alike([{"x": np.arange(9.0), "y": np.tile([1.0, 2.0, 3.0], (9, 1))}])
    assert found.sentence == "'y' is the same in all 9 new rows"
