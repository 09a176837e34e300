"""New classes: a version gets outputs for them, answers as before on those it knows, and learns them beside these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gitdata.data import rows as row_digests
from gitdata.errors import Mendable
from gitdata.training import gate, growing, metrics
from gitdata.training.declaration import Declaration, parse
from gitdata.training.methods import TrainingData, climb
from gitdata.training.package import Package, raw_outputs
from gitdata.training.preprocessing import Categorical

Columns = dict[str, np.ndarray]

DIGITS = """
[data]
dataset = "digits"
inputs = ["image"]
outputs = ["label"]
scaling = { image = "image" }

[network]
layers = ["flatten", { dense = 64 }, "relu", { dense = "outputs" }]

[training]
epochs = 15
loss = "cross_entropy"
optimizer = { name = "adam", learning_rate = 1e-3 }
"""


@pytest.fixture(scope="module")
def digits(shared_data: Path) -> Columns:
    """A tenth of the images, as uint8 of shape (28, 28), and what they show."""
    with np.load(shared_data / "mnist10k" / "mnist10k.npz") as found:
        images, labels = (found[name] for name in NAMES)
    chosen = np.random.default_rng(0).permutation(len(labels))[:2_000]
    return {"image": images[chosen].reshape(-1, 28, 28), "label": labels[chosen].astype(np.int64)}


NAMES = ("x", "y")


@pytest.fixture(scope="module")
def declaration() -> Declaration:
    return parse(DIGITS, "digits")


def of(digits: Columns, *labels: int, test: bool = False) -> Columns:
    rows = np.isin(digits["label"], labels) & ((np.arange(len(digits["label"])) % 5 == 0) == test)
    return {name: column[rows] for name, column in digits.items()}


def data(digits: Columns, seen: tuple[int, ...], new: tuple[int, ...]) -> TrainingData:
    unseen, whole = of(digits, *new), of(digits, *seen, *new)
    return TrainingData(
        unseen=lambda: unseen,
        whole=lambda: whole,
        validation=lambda: of(digits, *seen, *new, test=True),
        unseen_rows=len(unseen["label"]),
        whole_rows=len(whole["label"]),
        digests=lambda columns: row_digests.digests(columns, ("image", "label"))[:, 0],
    )


def accuracy(package: Package, rows: Columns, declaration: Declaration) -> float:
    return float(metrics.measure(package, rows, declaration)["overall"]["accuracy"])


@pytest.fixture(scope="module")
def base(digits: Columns, declaration: Declaration) -> Package:
    return climb(declaration, data(digits, (), (0, 1, 2, 3)), None, None).package


def test_it_answers_as_before_on_the_classes_it_knows(digits: Columns, base: Package) -> None:
    wide = growing.grown(base, {"label": (4, 9)})
    (field,) = wide.preprocessing.outputs
    assert isinstance(field, Categorical)
    assert field.categories == (0, 1, 2, 3, 4, 9)
    rows = of(digits, 0, 1, 2, 3, test=True)
    before, after = raw_outputs(base, rows), raw_outputs(wide, rows)
    np.testing.assert_allclose(after[:, :4], before, rtol=1e-5, atol=1e-5)
    assert (after[:, 4:] == growing.UNLIKELY).all()


def test_among_the_classes_that_were_known_it_answers_as_before(
    digits: Columns, declaration: Declaration, base: Package
) -> None:
    rows = of(digits, 0, 1, 2, 3, test=True)
    wide = growing.grown(base, {"label": (9, 4)})
    weights = {name: own.copy() for name, own in wide.weights.items()}
    weights["dense.1.bias"][4:] = 8.0  # it takes many rows for one of the new classes
    keen = replace(wide, weights=weights)
    own, before = (metrics.answers(package, rows, declaration) for package in (keen, base))
    plain, known, among = (
        gate.losses_of(found, declaration) for found in (own, before, metrics.among(own, keen, base))
    )
    assert plain.mean() > 2 * known.mean()
    np.testing.assert_allclose(among, known, rtol=1e-3, atol=1e-4)
    strange = {**rows, "label": np.full(len(rows["label"]), 9)}
    unknown = metrics.among(metrics.answers(keen, strange, declaration), keen, base)
    worst = -metrics.class_losses(metrics.answers(base, strange, declaration)["label"], "cross_entropy")  # type: ignore[arg-type]
    (
        np.testing.assert_allclose(-gate.losses_of(unknown, declaration), worst, rtol=1e-3),
        "what neither knows costs alike",
    )


def test_weights_from_before_the_rate_fell_grow_too(digits: Columns, base: Package) -> None:
    """A version that is to be restarted from them needs no training in between."""
    before = replace(base, stable={name: 2 * own for name, own in base.weights.items()})
    wide = growing.grown(before, {"label": (4, 9)})
    assert wide.stable is not None
    rows = of(digits, 0, 1, 2, 3, test=True)
    stable = raw_outputs(replace(wide, weights=wide.stable), rows)
    np.testing.assert_allclose(stable[:, :4], raw_outputs(replace(before, weights=before.stable), rows), 1e-5, 1e-4)
    assert (stable[:, 4:] == growing.UNLIKELY).all()
    text = DIGITS + '[retraining]\nmethod = { name = "finetune", restart = "stable", budget = 0.01 }\n'
    found = climb(parse(text, "digits"), data(digits, (0, 1, 2, 3), (4,)), before, before)
    assert found.rung.method == "finetune"


@pytest.mark.parametrize(("method", "lost"), [("rehearse", 0.02), ("distil", 0.08), ("derpp", 0.2)])
def test_new_classes_are_learned_beside_those_that_were_known(
    method: str, lost: float, digits: Columns, declaration: Declaration, base: Package
) -> None:
    """Beside a training anew on everything, on test rows of all classes."""
    rows = of(digits, *range(6), test=True)
    further = data(digits, (0, 1, 2, 3), (4, 5))
    said: list[str] = []
    found = climb(declaration, further, base, base, [method], said.append)
    assert said[0].startswith("New classes: 4, 5 of 'label'.") or said[1].startswith("New classes: 4, 5 of 'label'.")
    assert found.rung.steps < 0.5 * found.rung.union_steps
    union = climb(declaration, further, base, base, ["union"])
    assert accuracy(found.package, rows, declaration) > accuracy(union.package, rows, declaration) - lost


def test_a_network_without_a_place_for_new_outputs_says_so(base: Package) -> None:
    odd = replace(base, weights={**base.weights, "dense.1.kernel": base.weights["dense.1.kernel"][:, :3]})
    with pytest.raises(Mendable, match="The class '4' of 'label' is new to the model"):
        growing.grown(odd, {"label": (4,)})


def test_what_is_kept_is_the_version_as_it_was(digits: Columns, declaration: Declaration, base: Package) -> None:
    """Its weights are; what its manifest says of a run was of another one."""
    watched = replace(base, manifest={**base.manifest, "watched": {"stopped": True}})
    found = climb(declaration, data(digits, (0, 1, 2, 3), (4,)), watched, watched, ["keep"])
    same = {key: base.manifest[key] for key in ("made_by", "optimizer", "seed")}
    assert found.package.manifest == {**same, "kept": "union", "method": "keep", "steps": 0}
    assert found.package.preprocessing == base.preprocessing
    assert all((found.package.weights[name] == base.weights[name]).all() for name in base.weights)


def test_what_is_no_class_becomes_none(base: Package) -> None:
    """A label that is missing, or no whole number: coding the rows says what is wrong with it."""
    rows = {"label": np.array([0.0, np.nan, 4.0, 1.5])}
    assert growing.new_classes(base.preprocessing, rows) == {"label": (4,)}
    assert growing.new_classes(base.preprocessing, {}) == {}


def test_a_ladder_goes_on_to_a_new_start_where_a_network_cannot_grow(digits: Columns, declaration: Declaration) -> None:
    rigid = parse(DIGITS.replace('{ dense = "outputs" }', '{ dense = "outputs", bias = false }'), "digits")
    first = climb(rigid, data(digits, (), (0, 1, 2, 3)), None, None).package
    said: list[str] = []
    found = climb(rigid, data(digits, (0, 1, 2, 3), (4,)), first, first, ["finetune", "union"], said.append)
    assert found.rung.method == "union"
    assert "new to the model" in "".join(said)


@pytest.mark.parametrize(("method", "learned"), [("rehearse", 0.3), ("distil", 0.0)])
def test_classes_of_rows_that_a_kept_version_has_seen_get_outputs_later(
    method: str, learned: float, digits: Columns, declaration: Declaration, base: Package
) -> None:
    """distil has few true rows of them, and a teacher who does not know them."""
    kept = climb(declaration, data(digits, (0, 1, 2, 3), (4,)), base, base, ["keep"]).package
    later = replace(data(digits, (0, 1, 2, 3, 4), (5,)), validation=dict)
    found = climb(declaration, later, kept, kept, [method]).package
    (field,) = found.preprocessing.outputs
    assert isinstance(field, Categorical)
    assert set(field.categories) == {0, 1, 2, 3, 4, 5}
    assert accuracy(found, of(digits, 4, test=True), declaration) >= learned
