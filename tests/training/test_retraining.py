"""Methods of retraining on real lattice rows: what each reads, costs and keeps, and how `auto` chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gitdata.data import rows as row_digests
from gitdata.errors import DataUnavailable, Mendable
from gitdata.training import gate, losses, network, package
from gitdata.training.declaration import Declaration, Method
from gitdata.training.methods import Outcome, TrainingData, auto, climb
from gitdata.training.methods import ewc as ewc_method
from gitdata.training.methods.news import News
from gitdata.training.methods.occasion import Occasion
from gitdata.training.package import Package
from gitdata.training.shuffle import Held

Columns = dict[str, np.ndarray]
Declare = Callable[..., Declaration]

FIELDS = ("t1", "t2", "t3", "scenario", "dir", "W_max", "P_peak")
LADDER = '["finetune", "rehearse", "union"]'
BOUNDED = ("finetune", "lwf", "l2sp", "ewc", "replay", "derpp", "distil")


def part(columns: Columns, rows: np.ndarray | slice) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def digests(columns: Columns) -> np.ndarray:
    return row_digests.digests(columns, FIELDS)[:, 0]


def data(lattice: Columns, base: int, end: int) -> TrainingData:
    """Rows up to `base` seen, up to `end` live; the last 312 rows validate."""
    return TrainingData(
        unseen=lambda: part(lattice, slice(base, end)),
        whole=lambda: part(lattice, slice(0, end)),
        validation=lambda: part(lattice, slice(1400, 1712)),
        unseen_rows=end - base,
        whole_rows=end,
        digests=digests,
    )


def never() -> Columns:
    raise AssertionError("somebody asked for the rows of the whole chain")


@pytest.fixture(scope="module")
def short() -> dict[str, str]:
    return {"epochs = 200": "epochs = 40", LADDER: '"auto"'}


@pytest.fixture
def base(lattice: Columns, declare: Declare, short: dict[str, str]) -> Package:
    return climb(declare(**short), data(lattice, 0, 640), None, None).package


def loss_of(found: Package | Outcome, lattice: Columns, declaration: Declaration, rows: slice) -> float:
    own = found if isinstance(found, Package) else found.package
    return float(gate.row_losses(own, part(lattice, rows), declaration).mean())


# --- what a method reads and costs ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", BOUNDED)
def test_no_old_row_is_read_but_those_of_the_reservoir(
    method: str, lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    bounded = replace(data(lattice, 640, 960), whole=never, validation=dict, is_bounded=True)
    found = climb(declare(**short), bounded, base, base, [method])
    reservoir = base.reservoir
    assert reservoir is not None
    kept = 0 if method in ("finetune", "lwf", "l2sp", "ewc") else int((~reservoir.held).sum())
    assert found.rung.rows_read == 320 + kept
    assert 0 < found.rung.steps <= (320 / 960 + 0.1) * found.rung.union_steps
    assert found.rung.validation_loss is not None, "the held-out rows of the reservoir"
    assert np.isin(digests(part(lattice, slice(640, 960))), found.package.trained_rows).all()
    assert found.package.preprocessing == base.preprocessing
    assert any((found.package.weights[name] != base.weights[name]).any() for name in base.weights)


def test_what_is_kept_of_old_rows_keeps_what_was_known(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    """On rows of another kind than before, sorted as they are by their first input."""
    order = np.argsort(lattice["t1"], kind="stable")
    sorted_rows = part(lattice, order)
    declaration = declare(**{**short, "epochs = 40": "epochs = 80"})

    def of(first: int, last: int) -> TrainingData:
        return replace(data(sorted_rows, first, last), validation=dict)

    champion = climb(declaration, of(0, 1000), None, None).package
    trained = {
        method: climb(declaration, of(1000, 1712), champion, champion, [method])
        for method in ("finetune", "replay", "distil", "rehearse")
    }
    old = {method: loss_of(found, sorted_rows, declaration, slice(0, 1000)) for method, found in trained.items()}
    assert old["replay"] < old["finetune"]
    assert old["distil"] < old["replay"]
    assert old["rehearse"] < old["distil"]


def test_union_and_scratch_start_anew(lattice: Columns, declare: Declare, short: dict[str, str], base: Package) -> None:
    found = [climb(declare(**short), data(lattice, 640, 960), base, base, [name]) for name in ("union", "scratch")]
    for outcome in found:
        assert outcome.rung.steps == outcome.rung.union_steps == 40 * 30
        assert outcome.package.position == 40 * 30
    assert all((found[0].package.weights[n] == found[1].package.weights[n]).all() for n in base.weights)


def test_a_budget_is_what_is_declared(lattice: Columns, declare: Declare, short: dict[str, str], base: Package) -> None:
    declared = declare(**{**short, '"auto"': '{ name = "distil", budget = 0.05 }'})
    found = climb(declared, data(lattice, 640, 960), base, base)
    assert found.rung.steps == round(0.05 * 40 * 30)


def test_what_a_method_needs_and_the_package_does_not_hold_is_said(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    without = replace(base, reservoir=None)
    for method in ("replay", "derpp", "distil", "ewc"):
        with pytest.raises(Mendable, match=f"{method} needs the reservoir of the restored version, which has none"):
            climb(declare(**short), data(lattice, 640, 960), without, without, [method])
    stable = declare(**{**short, '"auto"': '{ name = "rehearse", restart = "stable" }'})
    with pytest.raises(Mendable, match="kept no weights from before its learning rate fell"):
        climb(stable, data(lattice, 640, 960), base, base)


# --- penalties -----------------------------------------------------------------------------------------------


def test_a_strong_pull_holds_the_weights(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    def moved(method: str) -> float:
        plain = declare(**{**short, '"auto"': method, '"adam"': '"sgd"', "3e-3": "1e-3"})
        found = climb(plain, data(lattice, 640, 960), base, base)
        return float(sum(((found.package.weights[n] - base.weights[n]) ** 2).sum() for n in base.weights))

    free = moved('"finetune"')
    assert moved('{ name = "l2sp", strength = 0.0, rate = 1.0 }') == free
    assert moved('{ name = "l2sp", strength = 100.0 }') < free / 100
    assert moved('{ name = "ewc", strength = 1e-12, rate = 1.0 }') == pytest.approx(free, rel=1e-3)
    assert moved('{ name = "ewc", strength = 1.0 }') < free


def test_the_fisher_information_is_that_of_single_rows(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    plan, codes, some = base.plan, base.preprocessing, part(lattice, slice(0, 40))
    rows = Held(codes.encode_inputs(some), codes.encode_outputs(some))
    loss = losses.terms(declare().training, plan.outputs)
    weights = network.vector(plan, base.weights)

    def mean_loss(at: np.ndarray, row: int) -> jax.Array:
        output = network.apply(plan, at, rows.inputs[row : row + 1])
        return losses.row_loss(loss, output, rows.targets[row : row + 1]).mean()

    each = np.stack([np.asarray(jax.grad(mean_loss)(weights, row)) for row in range(40)])
    full = ewc_method.fisher(plan, loss, weights, rows, strength=3.0)
    np.testing.assert_allclose(full.factor, each * np.sqrt(3 / 40), rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(ewc_method, "MOST_NUMBERS", 0)
    diagonal = ewc_method.fisher(plan, loss, weights, rows, strength=3.0)
    np.testing.assert_allclose(diagonal.diagonal, 3 * (each**2).mean(axis=0), rtol=1e-3, atol=1e-7)


# --- options -------------------------------------------------------------------------------------------------


def test_shrink_and_perturb(lattice: Columns, declare: Declare, short: dict[str, str], base: Package) -> None:
    from gitdata.training.declaration import Optimizer
    from gitdata.training.methods import start

    method = Method(name="rehearse", shrink=0.8, perturb=0.1)
    own = Occasion(declare(**short), method, data(lattice, 640, 960), base, {})
    adam = Optimizer()
    fresh = np.asarray(start.fresh(own, adam).weights)
    wanted = np.float32(0.8) * network.vector(base.plan, base.weights) + np.float32(0.1) * fresh
    np.testing.assert_allclose(start.start(own, adam).weights, wanted, rtol=1e-6)


def test_interpolation_takes_what_validates_best(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    line = {**short, '"auto"': '{ name = "finetune", interpolate = true }'}
    found = climb(declare(**line), data(lattice, 640, 700), base, base)
    plain = climb(declare(**short), data(lattice, 640, 700), base, base, ["finetune"])
    share = found.rung.interpolated
    assert share in (0.25, 0.5, 0.75, 1.0)
    for name, own in found.package.weights.items():
        between = base.weights[name] + np.float32(share) * (plain.package.weights[name] - base.weights[name])
        np.testing.assert_array_equal(own, between)
    assert found.rung.validation_loss is not None
    assert plain.rung.validation_loss is not None
    assert found.rung.validation_loss <= plain.rung.validation_loss


def test_a_stable_version_goes_on_from_before_its_rate_fell(
    lattice: Columns, declare: Declare, short: dict[str, str]
) -> None:
    stable = declare(**{**short, '"auto"': '{ name = "rehearse", restart = "stable" }'})
    first = climb(stable, data(lattice, 0, 640), None, None).package
    assert first.stable is not None
    assert any((first.stable[name] != first.weights[name]).any() for name in first.weights)
    again = package.decode(package.encode(first))
    assert again.stable is not None
    assert all((again.stable[name] == first.stable[name]).all() for name in first.stable)
    found = climb(stable, data(lattice, 640, 960), first, first)
    assert found.package.stable is not None


# --- auto ----------------------------------------------------------------------------------------------------


def test_auto_rehearses_where_old_rows_are_here(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    said: list[str] = []
    found = climb(declare(**short), data(lattice, 640, 960), base, base, progress=said.append)
    assert [rung.method for rung in found.rungs] == ["rehearse"]
    assert any(text.startswith("auto begins with rehearse: what was seen is here; 33% of") for text in said)
    assert found.rung.steps <= (1 / 3 + 0.1) * found.rung.union_steps + 1


def test_auto_does_with_the_reservoir_where_old_rows_would_have_to_be_fetched(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    away = replace(data(lattice, 640, 800), whole=never, is_here=False)
    found = climb(declare(**short), away, base, base)
    assert [rung.method for rung in found.rungs] == ["distil"]
    asked = replace(data(lattice, 640, 800), is_here=False)
    spoilt = part(lattice, slice(640, 800)) | {"W_max": np.random.default_rng(0).permutation(lattice["W_max"][640:800])}
    climbed = climb(declare(**short), replace(asked, unseen=lambda: spoilt), base, base)
    assert [rung.method for rung in climbed.rungs][:2] == ["distil", "rehearse"]


def test_auto_fetches_old_rows_where_much_is_unseen_and_does_without_them_where_they_are_nowhere(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    def nowhere() -> Columns:
        raise DataUnavailable("A blob is on no remote.", "Push it from a clone that has it.")

    away = replace(data(lattice, 640, 960), is_here=False)
    assert [rung.method for rung in climb(declare(**short), away, base, base).rungs] == ["rehearse"]
    found = climb(declare(**short), replace(away, whole=nowhere), base, base)
    assert [rung.method for rung in found.rungs] == ["distil"]


@pytest.mark.parametrize(
    ("unseen", "is_here", "names"),
    [
        (250, True, ["rehearse"]), (899, True, ["rehearse"]), (900, True, ["union"]),
        (250, False, ["distil", "rehearse"]), (251, False, ["rehearse", "distil"]), (900, False, ["union", "distil"]),
    ],
)  # fmt: skip
def test_auto_begins_with_what_the_share_of_unseen_rows_suggests(
    unseen: int, is_here: bool, names: list[str], lattice: Columns, base: Package
) -> None:
    case = replace(data(lattice, 640, 960), unseen_rows=unseen, whole_rows=1000, is_here=is_here)
    assert [method.name for method in auto.rungs(case, base, News())] == names
    bare = replace(base, reservoir=None)
    assert [method.name for method in auto.rungs(case, bare, News())] == [name for name in names if name != "distil"]
    said = auto.why(case, base, News(unseen, 0.1, ("t1",), 0.2))
    where = "is here" if is_here else "is fetched" if unseen > 250 else "would have to be fetched"
    assert said.startswith(f"auto begins with {names[0]}: what was seen {where}; {unseen / 1000:.0%} of the train rows")
    assert said.endswith("; they have drifted.")
    assert ("so that a training anew costs no more" in said) == (unseen == 900)
    assert auto.why(case, base, News(unseen, 0.1, (), 0.0)).endswith("; no drift was found.")
    assert "drift" not in auto.why(case, base, News())
    varying = News(unseen, 0.1, ("t1",), 0.2, ("t1",))
    whole_first = [*(name for name in names if name != "distil"), *(name for name in names if name == "distil")]
    assert [method.name for method in auto.rungs(case, base, varying)] == whole_first
    assert auto.why(case, base, varying).endswith("; they have drifted, and t1 varies now.")


def test_auto_never_makes_a_model_worse_than_leaving_it_alone(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    """The new rows are noise: what was there stays, and has seen them."""
    generator = np.random.default_rng(3)
    noise = part(lattice, slice(640, 960)) | {
        name: generator.permutation(lattice[name][640:960]) for name in ("W_max", "P_peak")
    }
    whole = {name: np.concatenate([lattice[name][:640], noise[name]]) for name in noise}
    spoilt = replace(data(lattice, 640, 960), unseen=lambda: noise, whole=lambda: whole)
    found = climb(declare(**short), spoilt, base, base)
    assert [rung.method for rung in found.rungs] == ["rehearse", "keep"]
    assert (found.rung.method, found.rung.steps) == ("keep", 0)
    assert all((found.package.weights[name] == base.weights[name]).all() for name in base.weights)
    assert (found.package.trained_rows == base.trained_rows).all(), "it learned nothing of them"


def test_a_single_row_and_rows_of_constant_targets_are_trained_on(
    lattice: Columns, declare: Declare, short: dict[str, str], base: Package
) -> None:
    constant = part(lattice, slice(640, 700)) | {name: np.full(60, 2.0) for name in ("W_max", "P_peak")}
    cases = (data(lattice, 640, 641), replace(data(lattice, 640, 700), unseen=lambda: constant))
    for case in cases:
        for method in (*BOUNDED, "rehearse"):
            found = climb(declare(**short), case, base, base, [method])
            assert found.rung.steps > 0
            assert all(np.isfinite(own).all() for own in found.package.weights.values())


# --- what is told and kept -----------------------------------------------------------------------------------


def test_new_rows_are_looked_at_before_any_of_them_is_learned(
    lattice: Columns, declare: Declare, short: dict[str, str]
) -> None:
    declaration, order = declare(**short), np.argsort(lattice["t1"], kind="stable")
    by_t1 = part(lattice, order)
    said: list[str] = []
    sorted_base = climb(declaration, replace(data(by_t1, 0, 1200), validation=dict), None, None).package
    further = replace(data(by_t1, 1200, 1712), validation=dict)
    found = climb(declaration, further, sorted_base, sorted_base, progress=said.append)
    assert "t1" in found.news.drifted
    assert found.news.outside is not None
    assert found.news.outside > 0.9
    assert said[0].startswith("The new rows differ from those seen so far: ")
    assert found.news.loss == pytest.approx(loss_of(sorted_base, by_t1, declaration, slice(1200, 1712)))
    assert found.news.to_json()["prequential"]["rows"] == 512


def test_a_package_keeps_its_sample_and_its_summary(lattice: Columns, base: Package) -> None:
    again = package.decode(package.encode(base))
    assert package.encode(again) == package.encode(base)
    assert again.reservoir is not None
    assert again.summary is not None
    assert again.summary.rows == 640
    assert len(again.reservoir.digests) == (640 + 312) // 10
    older = {name: content for name, content in package.encode(base).items() if name.split(".")[0] in OLD_FILES}
    assert (package.decode(older).reservoir, package.decode(older).summary) == (None, None)


def test_a_package_of_a_few_rows_holds_an_empty_sample(
    lattice: Columns, declare: Declare, short: dict[str, str]
) -> None:
    few = replace(data(lattice, 0, 4), validation=dict)
    found = climb(declare(**short), few, None, None).package
    again = package.decode(package.encode(found))
    assert again.reservoir is not None
    assert len(again.reservoir.digests) == 0
    with pytest.raises(Mendable, match="has no row to train on"):
        climb(declare(**short), replace(data(lattice, 4, 8), validation=dict), again, again, ["replay"])
    away = replace(data(lattice, 4, 8), validation=dict, is_here=False)
    assert climb(declare(**short), away, again, again).rung.method == "rehearse"


OLD_FILES = ("weights", "state", "trained_rows", "network", "preprocessing", "manifest")
