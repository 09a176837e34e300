"""Strengths: what a method leaves open, by the unseen share, by what was before, and by whether classes are new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.data import rows as row_digests
from gitdata.training.declaration import Declaration, Method
from gitdata.training.methods import TrainingData, climb
from gitdata.training.methods.strength import Footing, settled
from gitdata.training.settings import Loss

Columns = dict[str, np.ndarray]
Declare = Callable[..., Declaration]

FIELDS = ("t1", "t2", "t3", "scenario", "dir", "W_max", "P_peak")
SHARES = st.floats(0, 1)
FOOTINGS = st.builds(Footing, st.booleans(), st.booleans())


@pytest.fixture(scope="module")
def lattice_model() -> Declaration:
    from gitdata.automation.demo import DECLARATION
    from gitdata.training.declaration import parse

    return parse(DECLARATION, "lattice")


@given(SHARES)
def test_after_a_training_anew_rehearse_unlearns_by_the_unseen_share(lattice_model: Declaration, share: float) -> None:
    """The figures that docs/experiments/rehearse.md rests on."""
    found = settled(Method(name="rehearse"), lattice_model, share)
    assert found.rate == (1 + 3 * share) * (1e-3 / 3e-3) ** 0.5
    assert (found.shrink, found.perturb) == (1 - share / 2, share / 8)
    assert found.unseen == (share + share**0.5) / 2


@given(SHARES, FOOTINGS)
def test_the_rates_of_known_classes_do_not_grow_with_the_share(
    lattice_model: Declaration, share: float, footing: Footing
) -> None:
    training = lattice_model.training.model_copy(update={"loss": Loss(name="cross_entropy")})
    classes = lattice_model.model_copy(update={"training": training})
    for name in ("rehearse", "distil"):
        old, less, more = (
            settled(Method(name=name), classes, b, replace(footing, new_classes=False)) for b in (0, share, 1)
        )
        assert old.rate == less.rate == more.rate
        assert (less.shrink, less.perturb) == (1.0, 0.0)
        new = settled(Method(name=name), classes, 1, Footing(footing.was_retrained, True))
        assert new.rate == settled(Method(name=name), lattice_model, 1, Footing(False, True)).rate


@given(SHARES)
def test_what_was_retrained_before_is_not_unlearned_once_more(lattice_model: Declaration, share: float) -> None:
    first, again = (settled(Method(name="rehearse"), lattice_model, share, Footing(was)) for was in (False, True))
    assert (again.shrink, again.perturb) == (1.0, 0.0)
    assert first.rate is not None
    assert again.rate is not None
    assert again.rate < first.rate


@given(SHARES, st.booleans())
def test_new_classes_are_learned_from_fresher_weights(lattice_model: Declaration, share: float, was: bool) -> None:
    plain, new = (settled(Method(name="rehearse"), lattice_model, share, Footing(False, new)) for new in (False, True))
    assert settled(Method(name="rehearse"), lattice_model, share, Footing(was, True)) == new
    assert new.rate == plain.rate
    assert plain.shrink is not None
    assert plain.perturb is not None
    assert new.shrink is not None
    assert new.perturb is not None
    assert 0 <= new.shrink <= plain.shrink
    assert plain.perturb <= new.perturb <= 1


@given(SHARES, FOOTINGS, st.sampled_from(["rehearse", "distil", "replay", "derpp", "finetune", "union"]))
def test_what_is_declared_stays(lattice_model: Declaration, share: float, footing: Footing, name: str) -> None:
    going_on = {} if name == "union" else {"shrink": 0.5, "perturb": 0.25}
    method = Method(name=name, rate=0.125, **going_on)
    found = settled(method, lattice_model, share, footing)
    assert (found.rate, found.shrink, found.perturb) == (0.125, method.shrink, method.perturb) or name == "union"


def test_the_second_retraining_starts_from_the_weights_as_they_are(lattice: Columns, declare: Declare) -> None:
    """At a rate of next to nothing only what is unlearned moves the weights."""

    def data(first: int, last: int) -> TrainingData:
        return TrainingData(
            unseen=lambda: {name: column[first:last] for name, column in lattice.items()},
            whole=lambda: {name: column[:last] for name, column in lattice.items()},
            validation=dict,
            unseen_rows=last - first,
            whole_rows=last,
            digests=lambda columns: row_digests.digests(columns, FIELDS)[:, 0],
        )

    short = {"epochs = 200": "epochs = 2", '["finetune", "rehearse", "union"]': '{ name = "rehearse", rate = 1e-12 }'}
    versions = [climb(declare(**short), data(0, 640), None, None).package]
    for first, last in ((640, 800), (800, 960)):
        versions.append(climb(declare(**short), data(first, last), versions[-1], versions[-1]).package)
    moved = [
        max(float(np.abs(new.weights[name] - old.weights[name]).max()) for name in old.weights)
        for old, new in pairwise(versions)
    ]
    assert moved[0] > 1e-3
    assert moved[1] < 1e-6


def test_a_version_that_was_kept_is_on_the_footing_of_what_it_was(lattice: Columns, declare: Declare) -> None:
    def data() -> TrainingData:
        rows = {name: column[:64] for name, column in lattice.items()}
        return TrainingData(lambda: rows, lambda: rows, dict, 64, 64)

    declared = declare(**{"epochs = 200": "epochs = 1", '["finetune", "rehearse", "union"]': '"keep"'})
    package, footings = climb(declared, data(), None, None, ["union"]).package, []
    for methods in (["keep"], ["keep"], ["rehearse"], ["keep"]):
        package = climb(declared, data(), package, package, methods).package
        footings.append(Footing.of(package, None).was_retrained)
    assert footings == [False, False, True, True]
