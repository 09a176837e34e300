"""Check: every rule, on the smallest declaration and rows that break it; and what fits is left in peace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gitdata.automation.demo import DECLARATION
from gitdata.data import formats
from gitdata.training.check import Examination, Facts, Finding, examine, measure
from gitdata.training.declaration import Declaration, parse

Columns = dict[str, np.ndarray]

RANDOM = np.random.default_rng(0)
N = 60
X, Z = RANDOM.normal(size=N), RANDOM.normal(size=N)
Y = RANDOM.lognormal(size=N)
NAMES = np.array(["a", "b", "c"], object)[np.arange(N) % 3]
KINDS = (np.arange(N) % 3).astype(np.int64)
PIXELS = RANDOM.integers(0, 256, (N, 8, 8), np.uint8)
EDGES = np.tile(np.array([[0, 1], [1, 2]]), (N, 1, 1))
NODES = RANDOM.normal(size=(N, 3, 2))
PLAIN: Columns = {"x": X, "z": Z, "y": Y}

OUT = '{ dense = "outputs" }'
DENSE = f'[{{ dense = 8 }}, "relu", {OUT}]'


def declared(
    data: str = "", layers: str = DENSE, training: str = "", *, inputs: str = '["x", "z"]', outputs: str = '["y"]'
) -> Declaration:
    fields = f'[data]\ndataset = "d"\ninputs = {inputs}\noutputs = {outputs}\n{data}\n'
    return parse(f"{fields}[network]\nlayers = {layers}\n[training]\n{training}\n", "m")


def facts_of(columns: Columns) -> dict[str, Facts]:
    return {
        name: Facts(name, "text" if column.dtype.kind in "OU" else column.dtype.name, column.shape[1:])
        for name, column in columns.items()
    }


def examined(declaration: Declaration, columns: Columns, tests: Columns | None = None, **more: Any) -> Examination:
    """Everything: fields measured in these rows, a few at a time."""
    fields = facts_of(columns)
    blocks = [{name: column[start : start + 25] for name, column in columns.items()} for start in range(0, N, 25)]
    measured = measure(fields, declaration.data, blocks)
    test_facts = measure(fields, declaration.data, [tests]) if tests is not None else {}
    return examine(declaration, measured.values(), tests=test_facts, **more)


def rules(found: Sequence[Finding]) -> set[str]:
    return {finding.rule for finding in found}


def only(found: Examination, rule: str) -> Finding:
    """The one finding of a rule; it has a remedy."""
    (finding,) = [finding for finding in found.findings if finding.rule == rule]
    assert finding.remedy.endswith((".", "?"))
    return finding


CLASSIFY = 'loss = "cross_entropy"\nmetrics = ["accuracy"]'
GRAPH = f'[{{ input = "nodes" }}, {{ graph_conv = 4, edges = "edges" }}, {{ graph_pool = "mean" }}, {OUT}]'
TWO_HEADS = f'[{{ heads = {{ y = [{OUT}, "relu"], w = [{OUT}] }} }}]'

CLASSES: Columns = {**PLAIN, "y": NAMES}


def weighted(terms: str) -> str:
    """A loss of classes with some terms."""
    return f'loss = {{ name = "cross_entropy", {terms} }}'


BROKEN: list[tuple[str, str, str | None, str | None, Declaration, Columns]] = [
    ("error", "field-missing", "xx", None, declared(inputs='["xx", "z"]'), PLAIN),
    ("error", "field-missing", "yy", None, declared(outputs='["yy"]'), PLAIN),
    ("error", "no-inputs", None, None, declared(inputs="[]"), PLAIN),
    ("error", "slices", "w", None, declared(training='[deployment]\nslices = { w = "categories" }'), PLAIN),
    ("error", "slices", "x", None,
     declared(training="[deployment]\nslices = { x = [0.0] }"), {**PLAIN, "x": NAMES}),
    ("error", "slices", "x", None,
     declared(training="[deployment]\nslices = { x = [0] }"), {**PLAIN, "x": EDGES[:, 0]}),
    ("warning", "conditions", "x", None,
     declared(training='[deployment]\nslices = { x = "categories" }\nconditions = ["mae <= 1 where x = d"]'),
     {**PLAIN, "x": NAMES}),
    ("error", "class-unknown", "y", None, declared(training=weighted("class_weights = { d = 2.0 }")), CLASSES),
    ("warning", "class-unknown", "y", None, declared(training=weighted('ignore = "d"')), CLASSES),
    ("error", "one-class", "y", None, declared(training=weighted("class_weights = { a = 0, b = 0, c = 0 }")), CLASSES),
    ("error", "one-class", "y", None,
     declared(training=weighted('class_weights = { a = 0.0 }, ignore = "b"')), CLASSES),
    ("warning", "metric-unused", None, None, declared(training='metrics = ["mae", "accuracy"]'), PLAIN),
    ("warning", "layers-unused", None, "layer 2 (input)",
     declared(layers=f'[{{ dense = 4 }}, {{ input = ["x", "z"] }}, {OUT}]'), PLAIN),
    ("warning", "layers-unused", None, "layer 1 (concat) → branch 2 → layer 2 (embedding)",
     declared('encoding = { x = "codes" }',
              f'[{{ concat = [[{{ input = "z" }}], ["relu", {{ embedding = 2, of = "x" }}]] }}, {OUT}]'),
     {**PLAIN, "x": KINDS}),
    ("error", "key-unknown", "w", None, declared('transform = { w = "log" }'), PLAIN),
    ("error", "key-unknown", "w", None, declared('scaling = { w = "none" }'), PLAIN),
    ("error", "key-unknown", "w", None, declared('categories = ["w"]'), PLAIN),
    ("error", "output-encoding", "y", None, declared('encoding = { y = "codes" }'), PLAIN),
    ("error", "category-scaled", "x", None, declared('scaling = { x = "minmax" }'), {**PLAIN, "x": NAMES}),
    ("error", "category-scaled", "x", None,
     declared('transform = { x = "log" }\ncategories = ["x"]'), {**PLAIN, "x": KINDS}),
    ("error", "text-output", "y", None, declared(), {**PLAIN, "y": NAMES}),
    ("error", "several-categories", "x", None, declared('categories = ["x"]'), {**PLAIN, "x": EDGES[:, 0]}),
    ("error", "several-categories", "y", None, declared(training=CLASSIFY), {**PLAIN, "y": EDGES[:, 0]}),
    ("error", "continuous-classes", "y", None, declared(training=CLASSIFY), PLAIN),
    ("error", "continuous-classes", "x", None, declared('categories = ["x"]'), PLAIN),
    ("error", "image-dtype", "x", None, declared('scaling = { x = "image" }'), PLAIN),
    ("error", "image-transform", "x", None,
     declared('scaling = { x = "image" }\ntransform = { x = "log1p" }'), {**PLAIN, "x": PIXELS}),
    ("warning", "image-scaling", "x", None, declared(), {**PLAIN, "x": PIXELS}),
    ("error", "missing-values", "x", None, declared(), {**PLAIN, "x": np.where(np.arange(N) == 30, np.nan, X)}),
    ("error", "missing-values", "y", None, declared(), {**PLAIN, "y": np.where(np.arange(N) > 57, np.inf, Y)}),
    ("error", "transform-undefined", "x", None, declared('transform = { x = "log" }'), PLAIN),
    ("error", "transform-undefined", "x", None, declared('transform = { inputs = "sqrt" }', inputs='["x"]'), PLAIN),
    ("error", "too-large", "x", None, declared(), {**PLAIN, "x": X * 1e300}),
    ("error", "too-large", "y", None, declared(layers=f'[{OUT}, "relu"]'), {**PLAIN, "y": Y * 1e306}),
    ("warning", "constant", "x", None, declared(), {**PLAIN, "x": np.ones(N)}),
    ("warning", "constant", "y", None, declared(), {**PLAIN, "y": np.ones(N)}),
    ("warning", "unscaled", "x", None, declared('scaling = { x = "none" }'), {**PLAIN, "x": X * 1e4}),
    ("warning", "identifier", "x", None, declared(), {**PLAIN, "x": np.array([f"n{i}" for i in range(N)], object)}),
    ("error", "one-class", "y", None, declared(training=CLASSIFY), {**PLAIN, "y": np.array(["a"] * N, object)}),
    ("warning", "rare-class", "y", None,
     declared(training=CLASSIFY), {**PLAIN, "y": np.where(np.arange(N) == 5, "rare", NAMES).astype(object)}),
    ("warning", "imbalance", "y", None,
     declared(training=CLASSIFY), {**PLAIN, "y": np.where(np.arange(N) < 2, "few", "many").astype(object)}),
    ("warning", "target-leak", "x", None, declared(), {**PLAIN, "x": 3 * Y - 1}),
    ("warning", "same-inputs", "x", None, declared(), {**PLAIN, "z": X}),
    ("error", "network-misfit", None, "layer 1 (conv)", declared(layers=f'[{{ conv = 4 }}, "flatten", {OUT}]'), PLAIN),
    ("error", "too-many-weights", None, "dense 65536",
     declared(layers=f"[{{ dense = 65536 }}, {{ dense = 65536 }}, {OUT}]"), PLAIN),
    ("warning", "dropout-last", None, "layer 2 (dropout)", declared(layers=f"[{OUT}, {{ dropout = 0.5 }}]"), PLAIN),
    ("error", "activation-before-loss", None, "layer 2 (softmax)",
     declared(layers=f'[{OUT}, "softmax"]', training=CLASSIFY), {**PLAIN, "y": NAMES}),
    ("warning", "activation-before-loss", None, "layer 2 (tanh)",
     declared(layers=f'[{OUT}, "tanh"]', training=CLASSIFY), {**PLAIN, "y": NAMES}),
    ("error", "targets-out-of-reach", "y", "layer 2 (relu)", declared(layers=f'[{OUT}, "relu"]'), PLAIN),
    ("error", "targets-out-of-reach", "y", "layer 2 (sigmoid)",
     declared('transform = { y = "log10" }\nscaling = { y = "none" }', f'[{OUT}, "sigmoid"]'), PLAIN),
    ("error", "targets-out-of-reach", "y", "head 'y' layer 2 (relu)",
     declared(layers=TWO_HEADS, outputs='["y", "w"]'), {**PLAIN, "w": X * Z}),
    ("error", "batch-norm", None, "batch_norm",
     declared(layers=f'[{{ dense = 4 }}, "batch_norm", {OUT}]', training="batch_size = 1"), PLAIN),
    ("error", "embedding-one-hot", "x", "embedding 4",
     declared(layers=f'[{{ embedding = 4, of = "x", size = 3 }}, "flatten", {OUT}]'), {**PLAIN, "x": NAMES}),
    ("error", "embedding-scaled", "x", "embedding 4",
     declared(layers=f'[{{ embedding = 4, size = 3 }}, {OUT}]', inputs='["x"]'), {**PLAIN, "x": KINDS}),
    ("error", "graph-scaled", "edges", "graph_conv",
     declared(layers=GRAPH, inputs='["nodes", "edges"]'), {"nodes": NODES, "edges": EDGES, "y": Y}),
    ("error", "graph-nodes", "edges", "graph_conv",
     declared('scaling = { edges = "none" }', GRAPH, inputs='["nodes", "edges"]'),
     {"nodes": NODES, "edges": EDGES + 1, "y": Y}),
    ("warning", "input-unused", "z", None, declared(layers=f'[{{ input = "x" }}, {OUT}]'), PLAIN),
    ("warning", "no-activation", None, "layer 2 (dense)", declared(layers=f"[{{ dense = 4 }}, {OUT}]"), PLAIN),
    ("warning", "learning-rate", None, None, declared(training='optimizer = { learning_rate = 3 }'), PLAIN),
    ("warning", "learning-rate", None, None, declared(training='optimizer = { learning_rate = 1e-9 }'), PLAIN),
]  # fmt: skip


@pytest.mark.parametrize(
    ("level", "rule", "field", "layer", "declaration", "columns"),
    BROKEN,
    ids=[f"{rule}-{field or layer}" for _, rule, field, layer, _, _ in BROKEN],
)
def test_a_finding_names_field_layer_and_remedy(
    level: str, rule: str, field: str | None, layer: str | None, declaration: Declaration, columns: Columns
) -> None:
    finding = only(examined(declaration, columns), rule)
    assert (finding.level, finding.field, finding.layer) == (level, field, layer)
    if field is not None:
        assert f"'{field}'" in finding.text


def test_what_fits_is_left_in_peace() -> None:
    rows = {"train": 4000, "test": 1000}
    assert examined(declared(), PLAIN, PLAIN, rows=rows).findings == ()
    coded = declared(
        'encoding = { x = "codes" }', f'[{{ embedding = 4 }}, {{ dense = 8 }}, "relu", {OUT}]', inputs='["x"]'
    )
    assert examined(coded, {**PLAIN, "x": NAMES}).findings == ()
    convolution = f'[{{ reshape = [8, 8, 1] }}, {{ conv = 4 }}, "relu", "flatten", {OUT}]'
    image = declared('scaling = { x = "image" }', convolution, CLASSIFY, inputs='["x"]')
    assert examined(image, {"x": PIXELS, "y": NAMES}).findings == ()
    graph = declared('scaling = { edges = "none" }', GRAPH, inputs='["nodes", "edges"]')
    assert examined(graph, {"nodes": NODES, "edges": EDGES, "y": Y}).findings == ()
    unit = declared('scaling = { y = "minmax" }', f'[{OUT}, "sigmoid"]')
    assert examined(unit, PLAIN).findings == ()


def test_a_borrowed_input_is_shown_as_its_lender_codes_it() -> None:
    from gitdata.training.architecture.plan import Input, Output, Plan

    own = Plan((Input("x", (3,)), Input("w", ())), (Output("y", 1),), declared().network.layers)
    layers = f'[{{ concat = [[{{ model = "a@3" }}], [{{ input = "z" }}]] }}, {OUT}]'
    borrowing = declared(layers=layers, inputs='["x", "w", "z"]')
    found = examined(borrowing, {**PLAIN, "x": NAMES, "w": X * Z}, lenders={"a@3": own})
    assert found.findings == ()
    assert [coded.coding for coded in found.inputs] == ["as a@3 codes it", "as a@3 codes it", "standardised"]


def test_the_demo_fits_by_schema_and_by_rows(lattice: Columns) -> None:
    declaration = parse(DECLARATION, "lattice")
    facts = facts_of(lattice)
    by_schema = examine(declaration, facts.values())
    assert by_schema.findings == ()
    assert by_schema.guessed == ("scenario", "dir")
    by_rows = examined(declaration, lattice)
    assert by_rows.findings == ()
    assert by_rows.guessed == ()
    assert by_rows.weights == 96 * 14 + 64 * 97 + 64 * 65 + 2 * 65
    assert [coded.coding for coded in by_rows.inputs][-2:] == ["one-hot of 8", "one-hot of 2"]


def test_a_network_on_a_guess_is_not_judged() -> None:
    """Without rows nobody knows how wide a text is: a layer that needs to know says nothing yet."""
    declaration = declared(layers=f'[{{ reshape = [2, 2] }}, "flatten", {OUT}]')
    assert examine(declaration, facts_of({**PLAIN, "x": NAMES}).values()).findings == ()
    assert examined(declaration, {**PLAIN, "x": NAMES}).findings == ()  # 3 categories and a number
    assert rules(examine(declaration, facts_of(PLAIN).values()).errors) == {"network-misfit"}


def test_test_rows_are_looked_at_too() -> None:
    strange = {**PLAIN, "x": np.where(np.arange(N) == 0, "new", NAMES).astype(object)}
    found = only(examined(declared(), {**PLAIN, "x": NAMES}, strange), "unknown-categories")
    assert "new" in found.text
    nan = {**PLAIN, "x": np.full(N, np.nan)}
    assert "60 of 60 test rows" in only(examined(declared(), PLAIN, nan), "missing-values").text
    assert "2 of 60 train rows" in only(
        examined(declared('transform = { y = "log" }'), {**PLAIN, "y": np.where(np.arange(N) < 2, 0.0, Y)}, PLAIN),
        "transform-undefined",
    ).text  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "rule", "level"),
    [
        ({"train": 0, "test": 900}, "no-train-rows", "error"),
        ({"train": 20, "test": 900}, "batch-size", "warning"),
        ({"train": 400, "test": 0}, "no-test-rows", "warning"),
        ({"train": 400, "test": 40}, "test-rows", "warning"),
    ],
)
def test_rows_are_counted(rows: dict[str, int], rule: str, level: str) -> None:
    found = examined(declared(), PLAIN, rows=rows)
    assert rules(found.findings) == {rule}
    assert only(found, rule).level == level


def test_fields_that_the_model_does_not_use_are_not_measured() -> None:
    columns = {**PLAIN, "w": X * 1e300}
    measured = measure(facts_of(columns), declared().data, [columns])
    assert {name for name, facts in measured.items() if facts.measured is None} == {"w"}
    assert examined(declared(), columns).findings == ()
    logarithm = declared('transform = { w = "log10" }', inputs='["x", "z", "w"]')
    assert examined(logarithm, {**PLAIN, "w": Y[::-1] * 1e300}).findings == ()


def test_a_wild_number_is_pointed_at() -> None:
    rows = np.arange(400.0)
    wild = np.where(rows == 9, 2e4, 10 + np.sin(rows))
    found = only(examine(declared(inputs='["x"]'), _measured({"x": wild, "y": rows})), "far-outside")
    assert (found.field, found.level) == ("x", "warning")
    assert "20000" in found.text
    assert "log10" in found.remedy


def test_many_classes_wide_fields_and_classes_under_a_regression() -> None:
    rows = 1200
    many = {"x": np.arange(rows, dtype=float), "y": np.arange(rows) % 300}
    found = examine(declared(training=CLASSIFY, inputs='["x"]'), _measured(many))
    assert "many-classes" in rules(found.warnings)
    found = examine(declared('categories = ["x"]', inputs='["x"]'), _measured({**many, "x": np.arange(rows) % 299}))
    assert "wide-one-hot" in rules(found.warnings)
    found = examine(declared(inputs='["x"]'), _measured({**many, "y": np.arange(rows) % 6}))
    assert "looks-like-classes" in rules(found.warnings)
    names = np.array([f"row {place}" for place in range(5000)], object)
    found = examine(declared(inputs='["x"]'), _measured({"x": names, "y": np.arange(5000.0) ** 2}))
    assert "identifier" in rules(found.warnings)


def _measured(columns: Columns) -> list[Facts]:
    data = declared(inputs='["x"]').data
    return list(measure(facts_of(columns), data, [columns]).values())


def test_memory_is_compared_before_anything_is_allocated() -> None:
    declaration = declared(layers=f'[{{ dense = 10000 }}, "relu", {{ dense = 10000 }}, "relu", {OUT}]')
    found = only(examined(declaration, PLAIN, memory=2**30), "memory")
    assert found.layer == "dense 10000"
    assert "1.5 GiB" in found.text
    assert "memory" not in rules(examined(declaration, PLAIN, memory=2**33).findings)


def test_a_batch_that_memory_does_not_hold_is_refused() -> None:
    """8,192 rows × (2 inputs + 40,000 numbers, of which relu holds none of its own, + an output) × 4 bytes × 3."""
    wide = declared(layers=f'[{{ dense = 40000 }}, "relu", {OUT}]', training="batch_size = 100000")
    rows = {"train": 8000, "test": 5000}
    found = only(examined(wide, PLAIN, rows=rows, memory=2**31), "batch-memory")
    assert (found.level, found.layer) == ("error", "dense 40000")
    assert "batches of 8,192 rows need some 3.7 GiB" in found.text
    assert only(examined(wide, PLAIN, rows=rows, memory=2**32), "batch-memory").level == "warning"
    assert "batch-memory" not in rules(examined(wide, PLAIN, rows=rows, memory=2**33).findings)
    assert "batch-memory" not in rules(examined(wide, PLAIN, memory=2**31).findings)  # 60 rows were measured
    assert examine(wide, facts_of(PLAIN).values(), memory=2**31).findings == ()  # nobody counted


def test_a_run_is_as_long_as_rows_and_epochs_are() -> None:
    rows = {"train": 4000, "test": 1000}
    slow = declared(training="schedule = { warmup = 1251 }\nepochs = 10")
    found = only(examined(slow, PLAIN, rows=rows), "warmup")
    assert found.text == "the warm-up takes 1,251 steps, and the run has 1,250"
    assert examined(declared(training="schedule = { warmup = 1250 }\nepochs = 10"), PLAIN, rows=rows).findings == ()
    endless = declared(training="epochs = 1000000")
    assert "125,000,000 steps" in only(examined(endless, PLAIN, rows=rows), "steps").text
    one = only(examined(declared(), PLAIN, rows={"train": 400, "test": 1}), "test-rows")
    assert one.text.startswith("1 test row shows")


def test_a_declared_reservoir_is_weighed() -> None:
    """Rows of three numbers are 24 bytes: a package takes 65,536 of them; 28 × 28 numbers 10,699 with their label."""
    half = declared(training="[retraining]\nreservoir = 0.5")
    rows = {"train": 400_000, "validation": 100_000, "test": 5000}
    found = only(examined(half, PLAIN, rows=rows), "reservoir")
    assert found.level == "warning"
    assert "250,000 rows, 6 MiB; a package takes 65,536 rows and 64 MiB at most, so that 65,536 are kept (13.1%)" in (
        found.text
    )
    said = found.remedy.partition(";")[0].removeprefix("Declare ")
    mended = declared(training=f"[retraining]\n{said}")
    assert "reservoir" not in rules(examined(mended, PLAIN, rows=rows).findings), "the remedy is one"
    images = {**PLAIN, "x": np.zeros((N, 28, 28)), "z": Z}
    layers = f'[{{ input = "x" }}, "flatten", {OUT}]'
    large = declared(training="[retraining]\nreservoir = 0.5", layers=layers)
    found = only(examined(large, images, rows=rows, memory=2**30), "reservoir")
    assert "which memory does not hold; " in found.text
    assert f"so that {2**26 // (786 * 8):,} are kept" in found.text
    assert "memory" not in only(examined(large, images, rows=rows, memory=2**34), "reservoir").text
    few = {"train": 900, "test": 5000}
    assert "reservoir" not in rules(examined(half, PLAIN, rows=few).findings)
    assert "reservoir" not in rules(examined(declared(), images, rows=rows).findings), "the default adapts itself"
    none = declared(training="[retraining]\nreservoir = 0.001")
    found = only(examined(none, PLAIN, rows=few), "reservoir")
    assert found.text == "reservoir = 0.001 of 900 rows holds none"
    assert found.remedy == "Declare reservoir = 0.002 or more."


@pytest.mark.parametrize("method", ["ewc", "replay", "derpp", "distil"])
def test_a_method_that_needs_rows_which_do_not_travel_is_pointed_at(method: str) -> None:
    declaration = declared(training=f'[retraining]\nmethod = ["{method}", "union"]\nreservoir = 0')
    found = only(examine(declaration, facts_of(PLAIN).values()), "reservoir")
    assert found.text == f"{method} needs a reservoir, and reservoir = 0 keeps no row"
    for other in ('method = "lwf"\nreservoir = 0', f'method = "{method}"', "reservoir = 0"):
        declaration = declared(training=f"[retraining]\n{other}")
        assert examine(declaration, facts_of(PLAIN).values()).findings == ()


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)), st.integers(1, 9))
def test_what_is_measured_does_not_depend_on_the_blocks(values: np.ndarray, size: int) -> None:
    data = declared(inputs='["x"]').data
    blocks = [{"x": values[start : start + size]} for start in range(0, len(values), size)]
    found = measure({"x": Facts("x", "float64")}, data, blocks)["x"].measured
    assert found is not None
    assert (found.rows, found.minimum, found.maximum) == (len(values), values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), abs=1e-6)
    assert found.deviation == pytest.approx(values.std(), rel=1e-6, abs=1e-6)


def test_real_data_sets(shared_data: Path) -> None:
    """What a person would declare first for each, and what is said of it."""
    digits = formats.read(shared_data / "mnist10k" / "mnist10k.npz")
    plain = declared(layers=f'["flatten", {OUT}]', training=CLASSIFY, inputs='["x"]')
    assert rules(examined_all(plain, digits)) == {"image-scaling"}
    gas = formats.read(shared_data / "gas_drift" / "batch1.npz")
    wrong = declared(layers=f'[{OUT}, "softmax"]', training=CLASSIFY, inputs='["x"]', outputs='["gas"]')
    assert rules(examined_all(wrong, gas)) == {"activation-before-loss"}
    (tubes,) = (shared_data / "crash_tubes").glob("simulaciones_v1_*.csv")
    logs = declared('transform = { outputs = "log10" }', inputs='["Radio", "Angulo"]', outputs='["F_max", "SEA"]')
    found = examined_all(logs, formats.read(tubes))
    assert {(finding.rule, finding.field) for finding in found} == {
        ("transform-undefined", "F_max"), ("transform-undefined", "SEA"),
    }  # fmt: skip
    boxes = formats.read(shared_data / "crashbox" / "crashbox.csv")
    first = declared(inputs='["Width", "Thickness", "Velocity"]', outputs='["Energy_Absorbed_KJ"]')
    assert {(finding.rule, finding.field) for finding in examined_all(first, boxes)} == {("constant", "Width")}


def examined_all(declaration: Declaration, columns: Columns) -> Sequence[Finding]:
    return examine(declaration, measure(facts_of(columns), declaration.data, [columns]).values()).findings
