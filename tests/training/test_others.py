"""Layers from elsewhere: borrowed of another model's version, frozen or trained on, and written in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from gitdata.errors import Mendable
from gitdata.training import borrowing, loop, network, package, preprocessing, python
from gitdata.training.architecture import notation
from gitdata.training.architecture.layers import Misfit, Part
from gitdata.training.architecture.plan import Input, Output, Plan
from gitdata.training.borrowing import Lender
from gitdata.training.declaration import Declaration, parse
from gitdata.training.methods import TrainingData, climb
from gitdata.training.package import Package

Columns = dict[str, np.ndarray[Any, Any]]

ENCODER = """
[data]
dataset = "d"
inputs = ["a", "b", "kind"]
outputs = ["y"]
transform = { a = "log1p" }
[network]
layers = [{ dense = 6 }, "batch_norm", "tanh", { dropout = 0.5 }, { dense = 4 }, "relu", { dense = "outputs" }]
[training]
epochs = 5
"""
BORROWER = """
[data]
dataset = "d"
inputs = ["kind", "a", "c", "b"]
outputs = ["z"]
transform = { a = "log1p" }
[network]
layers = [
  { concat = [[{ model = "enc@1", layers = 5, freeze = FREEZE }], [{ input = "c" }, { dense = 3 }]] },
  "relu", { dense = "outputs" },
]
[training]
epochs = 5
"""


def rows(count: int = 64, seed: int = 0, scale: float = 1.0) -> Columns:
    generator = np.random.default_rng(seed)
    a, b, c = generator.uniform(0, scale, (3, count))
    kind = np.array(["x", "y"])[generator.integers(0, 2, count)]
    return {"a": a, "b": b, "c": c, "kind": kind, "y": a - b, "z": a * c}


def trained(declaration: Declaration, columns: Columns, **lenders: Lender) -> Package:
    data = TrainingData(lambda: columns, lambda: columns, dict, len(columns["a"]), len(columns["a"]))
    return climb(declaration, data, None, None, lenders={f"{name}@1": own for name, own in lenders.items()}).package


@pytest.fixture(scope="module")
def encoder() -> Package:
    return trained(parse(ENCODER, "enc"), rows())


@pytest.fixture(scope="module")
def lender(encoder: Package) -> Lender:
    return borrowing.lender(package.encode(encoder))


def borrower(freeze: str) -> Declaration:
    return parse(BORROWER.replace("FREEZE", freeze), "bor")


def by_hand(encoder: Package, columns: Columns) -> np.ndarray[Any, Any]:
    """What the first five layers of the encoder make of rows, with running means and without dropout."""
    x, w = encoder.preprocessing.encode_inputs(columns), encoder.weights
    x = x @ w["dense.0.kernel"] + w["dense.0.bias"]
    x = (x - w["batch_norm.0.mean"]) / np.sqrt(w["batch_norm.0.var"] + 1e-5)
    x = np.tanh(x * w["batch_norm.0.scale"] + w["batch_norm.0.bias"])
    return np.asarray(x @ w["dense.1.kernel"] + w["dense.1.bias"])


def test_a_frozen_part_makes_what_it_made_there_and_stays_as_it_is(encoder: Package, lender: Lender) -> None:
    other = rows(40, seed=1, scale=3.0)
    own = trained(borrower("true"), other, enc=lender)
    borrowed = {name.removeprefix("frozen0_"): array for name, array in own.weights.items() if "frozen0" in name}
    assert borrowed.keys() == {name for name in encoder.weights if not name.startswith("dense.2")}
    for name, array in borrowed.items():
        assert (array == encoder.weights[name]).all(), name
    features = by_hand(encoder, other)
    c = own.preprocessing.encode_inputs(other)[:, 3:4]  # after kind (2) and a (1)
    beside = c @ own.weights["dense.0.kernel"] + own.weights["dense.0.bias"]
    x = np.maximum(np.concatenate([features, beside], axis=1), 0)
    made = x @ own.weights["dense.1.kernel"] + own.weights["dense.1.bias"]
    assert package.raw_outputs(own, other) == pytest.approx(made, abs=1e-5)


def test_a_part_is_coded_as_its_lender_codes_and_the_rest_by_the_rows(encoder: Package, lender: Lender) -> None:
    own = trained(borrower("true"), rows(40, seed=1, scale=3.0), enc=lender).preprocessing
    there = {field.name: field for field in encoder.preprocessing.inputs}
    assert [field.name for field in own.inputs] == ["kind", "a", "c", "b"]
    assert all(field == there[field.name] for field in own.inputs if field.name != "c")
    assert own.inputs[2].seen[1] > 2  # type: ignore[union-attr]


def test_a_part_that_is_not_frozen_is_trained_on(encoder: Package, lender: Lender) -> None:
    own = trained(borrower("false"), rows(40, seed=1), enc=lender)
    assert not (own.weights["part0_dense.0.kernel"] == encoder.weights["dense.0.kernel"]).all()
    assert not (own.weights["part0_batch_norm.0.mean"] == encoder.weights["batch_norm.0.mean"]).all()
    declaration = borrower("false")
    codes = borrowing.coded(preprocessing.fit(declaration, rows()), {"enc@1": lender})
    plan = codes.plan(declaration.network.with_parts({"enc@1": lender.plan}))
    start = loop.start(plan, declaration.training.optimizer, 0)
    named = borrowing.weights(plan.layers, network.named(plan, np.asarray(start.weights)), {"enc@1": lender})
    assert (named["part0_dense.1.kernel"] == encoder.weights["dense.1.kernel"]).all()


def test_a_package_with_a_part_needs_no_other(lender: Lender) -> None:
    own = trained(borrower("true"), rows(40, seed=1), enc=lender)
    again = package.decode(package.encode(own))
    assert again.plan == own.plan
    assert (package.raw_outputs(again, rows(9)) == package.raw_outputs(own, rows(9))).all()


def test_what_was_borrowed_can_be_borrowed_again(lender: Lender) -> None:
    own = borrowing.lender(package.encode(trained(borrower("false"), rows(40, seed=1), enc=lender)))
    text = BORROWER.replace("enc@1", "bor@1").replace("layers = 5, freeze = FREEZE", "freeze = true")
    third = trained(parse(text, "third"), rows(40, seed=2), bor=own)
    inner = {name for name in third.weights if name.startswith("frozen0_part0_")}
    assert {name.removeprefix("frozen0_") for name in inner} == {n for n in own.weights if n.startswith("part0_")}
    for name in inner:
        assert (third.weights[name] == own.weights[name.removeprefix("frozen0_")]).all(), name


def test_nothing_is_learned_of_a_frozen_part_and_its_gradient_is_not_taken() -> None:
    layers = [
        {"part": [{"dense": 3}, "tanh"], "inputs": ["x"], "source": "m@1", "number": 4, "freeze": True},
        {"dense": "outputs"},
    ]
    plan = Plan((Input("x", (2,)),), (Output("y", 1),), notation.read(layers, {}, packed=True))
    weights = network.initial_weights(plan, 0)
    gradient = jax.grad(lambda w: network.apply(plan, w, np.ones((4, 2), np.float32)).sum())(weights)
    named = network.named(plan, np.asarray(gradient))
    assert not named["frozen4_dense.0.kernel"].any()
    assert named["dense.0.kernel"].any()
    learned = network.learned(plan)
    assert learned is not None
    assert learned.sum() == 4  # three weights and a bias


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("layers = 5", "layers = 7", "7 layers of enc@1 are borrowed, which has 6"),
        ('{ a = "log1p" }', '{ a = "none" }', "'a' has the transform 'none', and enc@1, whose layers are"),
        ('"log1p" }', '"log1p" }\nscaling = { b = "minmax" }', "'b' has the scaling 'minmax'"),
        ('"log1p" }', '"log1p" }\nencoding = { kind = "codes" }', "'kind' has the encoding 'codes'"),
        ('"c", "b"', '"c"', "there is no input 'b'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_lender_is_named(lender: Lender, old: str, new: str, said: str) -> None:
    text = BORROWER.replace("FREEZE", "true")
    assert old in text
    with pytest.raises(Mendable) as caught:
        trained(parse(text.replace(old, new, 1), "bor"), rows(), enc=lender)
    assert said in caught.value.message


def test_rows_far_from_what_a_lender_was_fitted_to_are_named(lender: Lender) -> None:
    assert borrowing.far({"enc@1": lender}, rows()) == []
    other = rows(scale=3.0) | {"kind": np.array(["z"] * 64)}
    found = {outside.field: name for name, outside in borrowing.far({"enc@1": lender}, other)}
    assert found == {"a": "enc@1", "b": "enc@1", "kind": "enc@1"}


def test_lenders_that_code_an_input_differently_do_not_go_together(lender: Lender) -> None:
    other = borrowing.lender(package.encode(trained(parse(ENCODER, "other"), rows(30, seed=5))))
    text = BORROWER.replace("FREEZE", "true").replace('[{ input = "c" }, { dense = 3 }]', '[{ model = "other@1" }]')
    with pytest.raises(Mendable, match="enc@1 and other@1, which code 'a' differently"):
        trained(parse(text, "bor"), rows(), enc=lender, other=other)


def test_the_digest_is_that_of_what_is_written() -> None:
    assert borrower("true").restore_digest != borrower("false").restore_digest
    changed = parse(BORROWER.replace("FREEZE", "true").replace("enc@1", "enc@2"), "bor")
    assert changed.restore_digest != borrower("true").restore_digest
    assert changed.network.borrows == ("enc@2",)
    with pytest.raises(Mendable, match="model"):
        parse(BORROWER.replace("enc@1", "enc").replace("FREEZE", "true"), "bor")


def test_a_part_begins_with_its_own_inputs() -> None:
    part = Part.model_validate(
        {"part": notation.read([{"dense": "outputs"}], {}), "inputs": ["x"], "source": "m@1", "number": 0}
    )
    with pytest.raises(Misfit, match="no input 'x'"):
        Plan((Input("w", (2,)),), (Output("y", 1),), (part,))


# --- Python ------------------------------------------------------------------------------------------------------

SCALED = """
import jax
from flax import nnx


class Scaled(nnx.Module):
    def __init__(self, shape, width, *, factor=1.0, rngs):
        self.line = nnx.Linear(shape[-1], width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.factor = factor

    def __call__(self, x, mask=None):
        return jax.nn.gelu(self.norm(self.line(x), mask=mask)) * self.factor
"""


@pytest.fixture
def allowed() -> Iterator[None]:
    python.allow()
    yield
    python._allowed.clear()
    python._loaded.cache_clear()
    network._abstract.cache_clear()


def layer(source: str = SCALED, **more: Any) -> dict[str, Any]:
    return {"python": "blocks.py:Scaled", "shape": [5], "options": {"width": 5}, "source": source, **more}


def plan_with(*layers: Any) -> Plan:
    return Plan((Input("x", (3,)),), (Output("y", 2),), notation.read([*layers, {"dense": "outputs"}], {}))


def test_a_module_is_a_layer_like_others(allowed: None) -> None:
    plan = plan_with(layer(options={"width": 5, "factor": 2.0}))
    shapes = network.weight_shapes(plan)
    assert shapes["python.0.line.kernel"] == (3, 5)
    learned = network.learned(plan)
    assert learned is not None
    assert int((~learned).sum()) == 10  # running mean and variance
    vector = network.initial_weights(plan, 0)
    weights, x = network.named(plan, np.asarray(vector)), np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    line = x @ weights["python.0.line.kernel"] / np.sqrt(1 + 1e-5)
    gelu = np.asarray(jax.nn.gelu(line)) * 2
    assert network.forward(plan, np.asarray(vector), x) == pytest.approx(
        gelu @ weights["dense.0.kernel"], rel=1e-4, abs=1e-5
    )
    _, kept = network.apply_training(plan, vector, x, None, np.ones(4, np.float32))
    moved = network.named(plan, np.asarray(kept))["python.0.norm.mean"]
    assert moved.any()


def test_rows_that_fill_a_batch_up_do_not_count_in_statistics(allowed: None) -> None:
    plan = plan_with(layer())
    vector = network.initial_weights(plan, 0)
    x = np.full((4, 3), 5, np.float32)
    full, half = np.ones(4, np.float32), np.array([1, 1, 0, 0], np.float32)
    zeros = np.where(half[:, None] > 0, x, 0)
    expected, found = (
        network.named(plan, np.asarray(network.apply_training(plan, vector, rows, None, mask)[1]))["python.0.norm.mean"]
        for rows, mask in ((x, full), (zeros, half))
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_an_attribute_may_have_any_name(allowed: None) -> None:
    plan = plan_with(layer(SCALED.replace("line", "my_frozen0_line")))
    learned = network.learned(plan)
    assert learned is not None
    assert int((~learned).sum()) == 10


def test_nothing_runs_unless_this_machine_allows_it() -> None:
    plan = plan_with(layer("raise SystemExit"))
    with pytest.raises(Mendable, match="this machine does not allow that"):
        network.weight_shapes(plan)


def test_a_package_carries_the_source_and_its_digest(allowed: None) -> None:
    plan = plan_with(layer())
    assert plan.layers[0].written()["source"] == SCALED
    assert hash(plan) != hash(plan_with(layer(SCALED + "\n")))


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        (SCALED, {"shape": [4]}, "makes [5] of each row, and shape = [4] is declared"),
        (SCALED.replace("class Scaled", "class Other"), {}, "models/blocks.py has no Flax module 'Scaled'"),
        (SCALED.replace("self.norm(", "self.nrm("), {}, "models/blocks.py, line 13: Scaled failed: AttributeError"),
        (SCALED.replace("import jax\n", "import nowhere\n"), {}, "models/blocks.py, line 2: could not be read: Module"),
        (
            SCALED.replace("def __call__(self", "def __call__(self,,"),
            {},
            "models/blocks.py, line 12: could not be read",
        ),
        (
            SCALED.replace("import jax\n", "raise SystemExit\n"),
            {},
            "models/blocks.py, line 2: could not be read: System",
        ),
        (
            SCALED.replace("x, mask=None", "x").replace(", mask=mask", ""),
            {},
            "does not ask which rows of a batch count",
        ),
        (SCALED, {"options": {"height": 5}}, "Scaled could not be made: TypeError"),
        (
            SCALED.replace("self.factor = factor", "self.factor = factor; self.drop = nnx.Dropout(0.5, rngs=rngs)"),
            {},
            "which no package holds",
        ),
    ],
)
def test_mistakes_in_a_file_are_said_with_its_line(allowed: None, source: str, more: dict[str, Any], said: str) -> None:
    plan = plan_with(layer(source, **more))
    with pytest.raises(Mendable) as caught:
        network.forward(plan, np.asarray(network.initial_weights(plan, 0)), np.zeros((1, 3), np.float32))
    assert said in caught.value.message
