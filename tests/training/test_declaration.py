"""Declarations: what a digest depends on, and what is said to whoever mistyped."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitdata.automation.demo import DECLARATION
from gitdata.errors import Mendable
from gitdata.training.declaration import Declaration, parse
from gitdata.training.variants import joined

Declare = Callable[..., Declaration]


def test_the_model_file_of_the_documentation(declare: Declare) -> None:
    found = declare()
    assert found.data.inputs == ("t1", "t2", "t3", "scenario", "dir")
    assert found.data.transform_of("W_max") == "log10"
    assert found.data.transform_of("t1") == "none"
    assert found.training.optimizer.learning_rate == 3e-3
    assert [method.name for method in found.retraining.method] == ["finetune", "rehearse", "union"]


def test_writing_a_default_out_changes_no_digest(declare: Declare) -> None:
    plain = declare()
    for old, new in (
        ('type = "automatic"\n', ""),
        ("seed = 0\n", ""),
        ('{ name = "cosine" }', '{ final = 0.01, name = "cosine" }'),
        ('name = "adam"', 'b1 = 0.9, name = "adam"'),
        ("\n[network]", "scaling = {}\nencoding = {}\ncategories = []\n\n[network]"),
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
        ("\n[network]", 'scaling = { t1 = "minmax" }\n[network]', True, True),
        ("\n[network]", 'encoding = { scenario = "codes" }\n[network]', True, True),
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
        ("seed = 0", "lr = 1", "'training.lr' is unknown; is 'optimizer.learning_rate' meant?"),
        ("learning_rate = 3e-3", "lr = 3e-3", "'training.optimizer.lr' is unknown; is 'learning_rate' meant?"),
        ('outputs = ["W_max", "P_peak"]', 'outputs = "W_max"', """is 'W_max'; a list is wanted, as in ["W_max"]."""),
        ('outputs = ["W_max", "P_peak"]', "outputs = []", "'data.outputs' is []; it may not be empty."),
        ('outputs = ["W_max", "P_peak"]', 'outputs = ["W_max", "W_max"]', "'data.outputs': it names 'W_max' twice"),
        ('inputs  = ["t1"', 'inputs = ["t2"', "'data.inputs': it names 't2' twice"),
        ('{ outputs = "log10" }', '{ outputs = "lgo" }', "is 'log' meant?"),
        ('dataset = "lattice"', 'dataset = "lattice@"', "'data.dataset' is 'lattice@'; a dataset or a version"),
        ("epochs = 200", "epochs = 2.5", "'training.epochs' is 2.5; a whole number is wanted."),
        ('loss = "mae"', "loss = 3", "'training.loss' is 3; a name or a table is wanted."),
        ('loss = "mae"', 'loss = { W_max = "mea", P_peak = "mse" }', "'training.loss.W_max.name' is 'mea'"),
        (
            'loss = "mae"',
            'loss = { W_mux = "mae", P_peak = "mse" }',
            "gives 'W_mux' a loss, which is no output; is 'W_m",
        ),
        ('"relu", {', "{ part = [{ dense = 3 }] }, {", "only packages hold parts"),
        ('"relu", {', '{ model = "x" }, {', "'model' is 'x'; a version is wanted, as in \"lattice@3\"."),
        ('"relu", {', '{ block = "r" }, {', "there is no block 'r'; blocks: none."),
        ('"relu", {', f"{{ dropout = 1{'0' * 400} }}, {{", "layer 2 (dropout): 'dropout' is 1000"),
        ("3e-3", f"1{'0' * 400}", "; a number is wanted."),
        ("[training]", "[network.blocks.r]\nparameters = []\n[training]", "'network.blocks.r.layers' is missing."),
        ('type = "automatic"', 'type = "automatic"\nepochs = 3', 'type = "manual"'),
    ],
)
def test_a_mistake_is_named_with_its_place(declare: Declare, old: str, new: str, says: str) -> None:
    with pytest.raises(Mendable) as error:
        declare(**{old: new})
    assert "models/lattice.toml" in error.value.message
    assert says in error.value.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[training]\nepochs = 3\n\n[trianing]\n", "line 4: 'trianing' is unknown"),
        ("[training]\n# epochz = 1\n  'epochz' = 3", "line 3: 'training.epochz' is unknown"),
        ("[training]\noptimizer = { name = 'adam', b9 = 1.0 }", "line 2: 'training.optimizer.b9' is unknown"),
        ("[training.optimizer]\nname = 'adam'\nb9 = 1.0", "line 3: 'training.optimizer.b9' is unknown"),
        ("training.epochs = 3\ntraining.batch_size = 0", "line 2: 'training.batch_size'"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, place: str) -> None:
    with pytest.raises(Mendable) as error:
        parse(text, "m")
    assert f"models/m.toml, {place}" in error.value.message


def test_a_block_within_itself_is_named_once() -> None:
    layers = 'layers = [{ block = "r" }, { dense = "outputs" }]'
    with pytest.raises(Mendable) as error:
        parse(f'[data]\ndataset = "d"\noutputs = ["y"]\n[network]\n{layers}\n[network.blocks.r]\n{layers}', "m")
    assert "layer 1 (block r) 1: the block 'r' stands within itself." in error.value.message


BRANCHES = st.text("a/.-@{~:\\ \x7fé", min_size=1, max_size=8) | st.sampled_from(["a.lock/b", "a.lock", "@", "HEAD"])


@settings(max_examples=60, deadline=None)
@given(BRANCHES)
def test_a_branch_has_a_name_that_git_takes(name: str) -> None:
    taken = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"]).returncode == 0
    taken &= name not in ("@", "HEAD") and not name.startswith("-")  # which only `git branch` knows
    table = f"[deployment]\nbranch = {json.dumps(name, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
    text = DECLARATION.replace("[deployment]\n", table).replace('branch = "main"\n', "")
    try:
        assert parse(text, "m").deployment.branch == name
        assert taken
    except Mendable:
        assert not taken


def test_a_mistake_in_a_file_that_is_extended_is_named_there() -> None:
    text = joined("v", {"v": 'extends = "base.toml"\n[training]\nseed = 1', "base": "[training]\n\nepochs = 0"})
    with pytest.raises(Mendable) as error:
        parse(text, "v")
    assert "models/base.toml, line 3: 'training.epochs'" in error.value.message


TERMS = """
epochs = 10
loss = { W_max = { name = "l1", weight = 2.0 }, P_peak = { name = "quantile", quantile = 0.9 } }
metrics = ["mae", { name = "top_k", k = 3 }]
optimizer = { name = "lion", b2 = 0.99, clip_norm = 1 }
schedule = { name = "one_cycle", warmup = 0.1, rise = 0.3 }
early_stopping = { patience = 3, min_delta = 0 }
"""


def with_terms(terms: str) -> Declaration:
    head, _, rest = DECLARATION.partition("[training]\n")
    return parse(f"{head}[training]\n{terms}\n{rest[rest.index('[retraining]') :]}", "lattice")


def test_terms_are_digested_as_they_differ_from_their_defaults() -> None:
    from gitdata.canonical import digest

    found = with_terms(TERMS)
    training = {
        "early_stopping": {"patience": 3},
        "epochs": 10,
        "loss": {"W_max": {"name": "mae", "weight": 2.0}, "P_peak": {"name": "quantile", "quantile": 0.9}},
        "metrics": ["mae", {"k": 3, "name": "top_k"}],
        "optimizer": {"clip_norm": 1.0, "name": "lion"},
        "schedule": {"name": "one_cycle", "warmup": 0.1},
    }
    tables = found.model_dump(exclude={"deployment", "name", "network"}, exclude_defaults=True, mode="json")
    assert tables["training"] == training
    del tables["retraining"]  # the first ladder
    assert found.digest == digest(tables | {"network": found.network.written()})


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ('loss = "huber"', 'loss = { name = "huber", delta = 1.0, weight = 1 }'),
        ('loss = "l2"', 'loss = "mse"'),
        ('optimizer = "adam"', "seed = 0"),
        ('optimizer = "adadelta"', 'optimizer = { name = "adadelta", learning_rate = 1.0, decay = 0.9 }'),
        ('schedule = "cosine"', 'schedule = { name = "cosine", final = 0.01, warmup = 0 }'),
        ('metrics = ["top_k"]', 'metrics = [{ name = "top_k", k = 5 }]'),
    ],
)
def test_a_name_alone_is_a_table_of_defaults(short: str, long: str) -> None:
    assert with_terms(short).digest == with_terms(long).digest


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ('optimizer = { name = "adam", momentum = 0.9 }', "'momentum' is no option of adam; it takes learning_rate"),
        ('optimizer = { name = "sgd", nesterov = true }', "nesterov needs a momentum"),
        (
            'optimizer = { name = "adam", weight_deca = 0.9 }',
            "'training.optimizer.weight_deca' is unknown; is 'weight_",
        ),
        ("optimizer = { clip_norm = 0.0 }", "training.optimizer.clip_norm"),
        ('schedule = { name = "piecewise" }', "'boundaries' are steps"),
        ('schedule = { name = "piecewise", boundaries = [5, 5] }', "'boundaries' are steps"),
        ("schedule = { warmup = 1.5 }", "training.schedule.warmup"),
        ("schedule = { warmup = -1 }", "training.schedule.warmup"),
        ('loss = "hubert"', "is 'huber' meant?"),
        ('loss = { name = "mae", delta = 1.0 }', "'delta' is no option of mae; it takes weight"),
        ('loss = { W_max = "mae" }', "training.loss gives the output 'P_peak' no loss"),
        ('loss = { W_max = "mae", P_peak = "mae", W_mux = "mae" }', "is no output; is 'W_max' meant?"),
        ("loss = {}", "training.loss"),
        ('metrics = ["acuracy"]', "is 'accuracy' meant?"),
        ("early_stopping = { patience = 0 }", "training.early_stopping.patience"),
        ("early_stopping = { patient = 3 }", "is unknown; is 'patience' meant?"),
    ],
)
def test_a_mistake_in_the_terms_is_named(terms: str, says: str) -> None:
    with pytest.raises(Mendable) as error:
        with_terms(terms)
    assert says in error.value.message


def test_what_the_gate_measures_goes_with_the_outputs(declare: Declare) -> None:
    both = {'loss = "mae"': 'loss = { W_max = "mae", P_peak = "cross_entropy" }'}
    found = declare(**both)
    assert (found.metric_of("W_max"), found.metric_of("P_peak")) == ("mae", "cross_entropy")
    with pytest.raises(Mendable, match=r"deployment\.metric rmse does not go with loss cross_entropy and mae"):
        declare(**both, **{'metric = "mae"': 'metric = "rmse"'})


def test_slices_are_of_deployment_and_change_no_digest(declare: Declare) -> None:
    found = declare(**{"tolerance = 0.02": 'tolerance = 0.02\nslices = { dir = "categories", t1 = [0.5, 1] }'})
    assert found.deployment.slices == {"dir": "categories", "t1": (0.5, 1.0)}
    assert found.digest == declare().digest
    with pytest.raises(Mendable, match="the bounds of the slices by 't1' are no rising numbers"):
        declare(**{"tolerance = 0.02": "tolerance = 0.02\nslices = { t1 = [1, 0.5] }"})


@given(st.text(max_size=60))
def test_any_text_is_a_declaration_or_a_mistake_that_is_named(text: str) -> None:
    for candidate in (text, DECLARATION.replace('"relu"', text, 1)):
        with suppress(Mendable):
            assert parse(candidate, "m").name == "m"


def test_what_a_ladder_means_is_what_its_digest_is_of(declare: Declare) -> None:
    """The three rungs were the default once: who wrote them out keeps a digest, who leaves them out gets another."""
    ladder = declare()
    line = 'method = ["finetune", "rehearse", "union"]'
    named = 'method = [{ name = "finetune" }, { name = "rehearse" }, "union"]'
    assert declare(**{line: named}).digest == ladder.digest
    auto = declare(**{f"{line}\n": ""})
    assert [method.name for method in auto.retraining.method] == ["auto"]
    assert declare(**{line: 'method = "auto"'}).digest == auto.digest != ladder.digest
    assert declare(**{line: 'method = { name = "ewc", strength = 3.0 }'}).digest != ladder.digest


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ('"rehears"', "'retraining.method.name' is 'rehears'"),
        ('{ name = "union", shrink = 0.5 }', "'shrink' is no option of union"),
        ('{ name = "keep", rate = 0.5 }', "'rate' is no option of keep; it takes none"),
        ('{ name = "ewc", weight = 1.0 }', "'weight' is no option of ewc"),
        ('{ name = "rehearse", unseen = 1.5 }', "unseen"),
        ('{ name = "distil", budget = 0 }', "budget"),
    ],
)
def test_a_mistake_in_a_method_is_named(declare: Declare, method: str, says: str) -> None:
    with pytest.raises(Mendable) as found:
        declare(**{'["finetune", "rehearse", "union"]': method})
    assert says in found.value.message
