"""Inputs that hardly varied: they are scaled and learned anew once they do, and all others stay as they were."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gitdata.data import rows as row_digests
from gitdata.training import gate, preprocessing
from gitdata.training.declaration import Declaration
from gitdata.training.methods import TrainingData, ascent, climb
from gitdata.training.package import Package, raw_outputs
from gitdata.training.preprocessing import Numeric
from gitdata.training.rescaling import KERNEL, hardly_varied, newly_varying, rescaled

Columns = dict[str, np.ndarray]
Declare = Callable[..., Declaration]

INPUTS = '"t1", "t2", "t3", "scenario", "dir"]'
FIELDS = ("t1", "t2", "t3", "scenario", "dir", "year", "W_max", "P_peak")


@pytest.fixture(scope="module")
def years(lattice: Columns) -> Columns:
    """The year is 2011 in 800 rows but a few of them, then 2012; what was measured is a fifth more then."""
    year = np.where(np.arange(1712) < 800, 2011.0, 2012.0)
    year[:800:160] = 2012.0
    more = np.where(year > 2011, 1.2, 1.0)
    return {**lattice, "year": year, "W_max": lattice["W_max"] * more, "P_peak": lattice["P_peak"] * more}


@pytest.fixture
def declaration(declare: Declare) -> Declaration:
    words = {
        INPUTS: f'"year", {INPUTS}',
        "epochs = 200": "epochs = 60",
        '["finetune", "rehearse", "union"]': '"rehearse"',
    }
    return declare(**words)


def part(columns: Columns, first: int, last: int) -> Columns:
    return {name: column[first:last] for name, column in columns.items()}


def data(columns: Columns, base: int, end: int) -> TrainingData:
    return TrainingData(
        unseen=lambda: part(columns, base, end),
        whole=lambda: part(columns, 0, end),
        validation=lambda: part(columns, 1400, 1500),
        unseen_rows=end - base,
        whole_rows=end,
        digests=lambda rows: row_digests.digests(rows, FIELDS)[:, 0],
    )


@pytest.fixture
def base(declaration: Declaration, years: Columns) -> Package:
    return climb(declaration, data(years, 0, 800), None, None).package


def test_a_year_later_it_is_learned_as_by_a_training_anew(
    declaration: Declaration, years: Columns, base: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    judged = part(years, 1500, 1712)

    def loss(*methods: str) -> float:
        found = climb(declaration, data(years, 800, 1400), base, base, methods, said.append)
        return float(gate.row_losses(found.package, judged, declaration).mean())

    own, union = loss("rehearse"), loss("union")
    assert any(text == "Inputs that hardly varied before are scaled, and learned, anew: year." for text in said)
    monkeypatch.setattr(sys.modules[ascent.__module__], "rescaled", lambda package, fitted: (package, ()))
    frozen = loss("rehearse")
    assert own < 1.1 * union
    assert own < frozen


def test_who_would_have_to_fetch_old_rows_fetches_them(declaration: Declaration, years: Columns, base: Package) -> None:
    """A bounded method cannot learn the year anew; an extension of the same year needs none."""
    assert base.summary is not None
    assert newly_varying(base.summary, part(years, 800, 900)) == ("year",)
    assert newly_varying(base.summary, {**part(years, 800, 900), "year": np.full(100, 2011.0)}) == ()
    assert newly_varying(base.summary, {**part(years, 800, 900), "year": np.full(100, "2012")}) == (), "drift says so"
    assert newly_varying(base.summary, {}) == ()
    rows = replace(data(years, 800, 900), is_here=False)
    found = climb(declaration, rows, base, base, ["auto"])
    assert [rung.method for rung in found.rungs] == ["rehearse"]


def test_the_others_stay_and_nothing_changes_where_the_field_was_at_its_mean(
    declaration: Declaration, years: Columns, base: Package
) -> None:
    moved, names = rescaled(base, preprocessing.fit(declaration, part(years, 0, 1400)))
    assert names == ("year",)
    for old, new in zip(base.preprocessing.inputs, moved.preprocessing.inputs, strict=True):
        assert (old == new) == (old.name != "year")
    (year,) = (field for field in moved.preprocessing.inputs if field.name == "year")
    assert isinstance(year, Numeric)
    assert year.scale[0] == pytest.approx(np.std(years["year"][:1400]))
    (old_year,) = (field for field in base.preprocessing.inputs if field.name == "year")
    assert isinstance(old_year, Numeric)
    rows = {**part(years, 0, 50), "year": np.full(50, old_year.mean[0])}
    np.testing.assert_allclose(raw_outputs(moved, rows), raw_outputs(base, rows), rtol=1e-4, atol=1e-5)
    rows["year"] = np.full(50, 2012.0)
    np.testing.assert_allclose(
        raw_outputs(moved, rows), raw_outputs(moved, {**rows, "year": np.full(50, 2011.0)}), rtol=1e-4, atol=1e-5
    )
    assert moved.state == {}


def test_a_field_that_varied_is_not_forgotten_however_far_it_goes(
    declaration: Declaration, years: Columns, base: Package
) -> None:
    far = part(years, 0, 1400)
    far["t1"] = np.where(np.arange(1400) < 800, far["t1"], 1000 * far["t1"])
    far["year"] = np.resize(years["year"][:800], 1400)
    assert rescaled(base, preprocessing.fit(declaration, far)) == (base, ())


def test_a_constant_that_is_one_no_more_counts(declaration: Declaration, years: Columns) -> None:
    rows = {**years, "year": np.where(np.arange(1712) < 800, 2011.0, 2011.5)}
    package = climb(declaration, data(rows, 0, 800), None, None).package
    moved, names = rescaled(package, preprocessing.fit(declaration, part(rows, 0, 1400)))
    assert names == ("year",)
    assert (moved.weights[KERNEL][0] == 0).all()
    assert (moved.weights[KERNEL][1:] == package.weights[KERNEL][1:]).all()
    assert rescaled(package, preprocessing.fit(declaration, part(rows, 0, 700)))[1] == (), "it still is one"


def test_without_a_summary_or_a_dense_layer_that_begins_nothing_is_changed(
    declaration: Declaration, years: Columns, base: Package
) -> None:
    fitted = preprocessing.fit(declaration, part(years, 0, 1400))
    bare = replace(base, summary=None)
    assert rescaled(bare, fitted) == (bare, ())
    other = replace(base, weights={f"other.{name}": own for name, own in base.weights.items()})
    assert rescaled(other, fitted)[1] == ()


def test_where_every_input_varied_no_pass_over_all_rows_is_made(
    lattice: Columns, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics of rows that memory does not hold take reading all of them."""
    declared = declare(**{"epochs = 200": "epochs = 2", '["finetune", "rehearse", "union"]': '"rehearse"'})
    package = climb(declared, data({**lattice, "year": lattice["t1"]}, 0, 800), None, None).package
    assert package.summary is not None
    assert hardly_varied(package.summary) == {}

    def never(*arguments: object) -> None:
        raise AssertionError("statistics were fitted")

    monkeypatch.setattr(sys.modules[ascent.__module__].statistics, "fit", never)
    found = climb(declared, data({**lattice, "year": lattice["t1"]}, 800, 1400), package, package)
    assert found.rung.method == "rehearse"
