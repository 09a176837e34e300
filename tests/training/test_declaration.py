"""Declarations: what a digest depends on, and what is said to whoever mistyped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.automation.demo import DECLARATION
from gitdata.errors import Mendable
from gitdata.training.declaration import Declaration, parse

Declare = Callable[..., Declaration]


def test_the_model_file_of_the_documentation(declare: Declare) -> None:
    found = declare()
    assert found.data.inputs == ("t1", "t2", "t3", "scenario", "dir")
    assert found.data.transform_of("W_max") == "log10"
    assert found.data.transform_of("t1") == "none"
    assert found.training.optimizer.learning_rate == 3e-3
    assert found.retraining.method == ("finetune", "rehearse", "union")


def test_writing_a_default_out_changes_no_digest(declare: Declare) -> None:
    plain = declare()
    for old, new in (
        ('type = "automatic"\n', ""),
        ("seed = 0\n", ""),
        ('{ name = "cosine" }', '{ final = 0.01, name = "cosine" }'),
        ('name = "adam"', 'b1 = 0.9, name = "adam"'),
        ('method = ["finetune", "rehearse", "union"]\n', ""),
    ):
        other = declare(**{old: new})
        assert (other.restore_digest, other.digest) == (plain.restore_digest, plain.digest)


def test_the_digests_are_what_the_specification_says(declare: Declare) -> None:
    """Over what differs from the defaults, so that options of later versions do not touch them: these never change."""
    from gitdata.canonical import digest

    layers = [{"dense": 96}, "relu", {"dense": 64}, "relu", {"dense": 64}, "relu", {"dense": "outputs"}]
    data = {
        "dataset": "lattice",
        "inputs": ["t1", "t2", "t3", "scenario", "dir"],
        "outputs": ["W_max", "P_peak"],
        "transform": {"outputs": "log10"},
    }
    training = {
        "loss": "mae",
        "metrics": ["mae", "rmse", "r2"],
        "optimizer": {"learning_rate": 3e-3},
        "schedule": {"name": "cosine"},
    }
    assert declare().restore_digest == digest({"data": data, "network": {"layers": layers}})
    assert declare().digest == digest({"data": data, "network": {"layers": layers}, "training": training})


@pytest.mark.parametrize(
    ("old", "new", "restore_changes", "digest_changes"),
    [
        ('dataset = "lattice"', 'dataset = "lattice@1.0.0"', False, True),
        ('"t3", ', "", True, True),
        ("dense = 96", "dense = 95", True, True),
        ('"log10"', '"log"', True, True),
        ("epochs = 200", "epochs = 100", False, True),
        ("tolerance = 0.02", "tolerance = 0", False, False),
        ('branch = "main"', 'branch = "release"', False, False),
    ],
)
def test_what_a_digest_depends_on(
    declare: Declare, old: str, new: str, restore_changes: bool, digest_changes: bool
) -> None:
    before, after = declare(), declare(**{old: new})
    assert (before.restore_digest != after.restore_digest) == restore_changes
    assert (before.digest != after.digest) == digest_changes


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[training]", "[trianing]", "'trianing' is unknown; is 'training' meant?"),
        ("epochs = 200", "epoch = 200", "'training.epoch' is unknown; is 'epochs' meant?"),
        ('"adam"', '"adma"', "'training.optimizer.name' is 'adma'"),
        ("3e-3", "-1", "training.optimizer.learning_rate"),
        ("3e-3", "nan", "training.optimizer.learning_rate"),
        ('"cosine"', '"cosin"', "is 'cosine' meant?"),
        ("epochs = 200", 'epochs = "many"', "training.epochs"),
        ("epochs = 200", "epochs = 1e9", "training.epochs"),
        ("tolerance = 0.02", "tolerance = -0.1", "deployment.tolerance"),
        ('outputs = ["W_max", "P_peak"]', "outputs = []", "data.outputs"),
        ('outputs = ["W_max", "P_peak"]', 'outputs = ["t1"]', "'t1' is both input and output"),
        ('"relu", { dense = "outputs" }', '"relu"', 'dense = "outputs"'),
        ('loss = "mae"', 'loss = "cross_entropy"', "deployment.metric mae does not go with loss cross_entropy"),
        ('method = ["finetune", "rehearse", "union"]', "method = []", "names no method"),
        ("seed = 0", "seed = 0 0", "line "),
        ('type = "automatic"', 'type = "automatic"\nepochs = 3', 'type = "manual"'),
    ],
)
def test_a_mistake_is_named_with_its_place(declare: Declare, old: str, new: str, says: str) -> None:
    with pytest.raises(Mendable) as error:
        declare(**{old: new})
    assert "models/lattice.toml" in error.value.message
    assert says in error.value.message


@given(st.text(max_size=60))
def test_any_text_is_a_declaration_or_a_mistake_that_is_named(text: str) -> None:
    for candidate in (text, DECLARATION.replace('"relu"', text, 1)):
        with suppress(Mendable):
            assert parse(candidate, "m").name == "m"
