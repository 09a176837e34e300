"""Variants: what a model file that extends another declares, and what is said where it cannot."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.automation.demo import DECLARATION
from gitdata.errors import Mendable
from gitdata.training.declaration import Declaration, parse
from gitdata.training.variants import DEEPEST, joined


def declared(name: str, **files: str) -> Declaration:
    return parse(joined(name, {"base": DECLARATION, **files}), name)


def test_a_variant_says_only_what_differs() -> None:
    found = declared("small", small='extends = "base.toml"\n[training]\nseed = 7\noptimizer = { learning_rate = 1e-2 }')
    base = declared("base")
    assert (found.name, found.training.seed, found.training.epochs) == ("small", 7, base.training.epochs)
    assert found.training.optimizer.learning_rate == 1e-2
    assert found.restore_digest == base.restore_digest
    assert found.digest != base.digest


def test_a_variant_that_says_nothing_has_the_digests_of_what_it_extends_and_so_has_one_written_out() -> None:
    base = declared("base")
    for text in ('extends = "base.toml"', 'extends = "base.toml"\n[training]\nseed = 0', DECLARATION):
        found = declared("same", same=text)
        assert (found.restore_digest, found.digest) == (base.restore_digest, base.digest)


def test_tables_are_merged_key_by_key_and_those_of_another_name_are_replaced() -> None:
    more = """
extends = "middle.toml"
[training]
optimizer = { name = "sgd", momentum = 0.9 }
schedule = { final = 0.2 }
[data]
transform = { t1 = "log" }
"""
    middle = 'extends = "base.toml"\n[training.optimizer]\nname = "adam"\nb1 = 0.5\n[deployment]\ntolerance = 0.1'
    found = declared("more", more=more, middle=middle)
    assert (found.training.optimizer.name, found.training.optimizer.learning_rate) == ("sgd", 1e-3)
    assert (found.training.schedule.name, found.training.schedule.final) == ("cosine", 0.2)
    assert found.data.transform == {"outputs": "log10", "t1": "log"}
    assert found.deployment.tolerance == 0.1
    assert declared("middle", middle=middle).training.optimizer.b1 == 0.5


@pytest.mark.parametrize(
    ("base", "own", "means"),
    [
        ('optimizer = "lion"', "optimizer = { clip_norm = 0.5 }", 'optimizer = { name = "lion", clip_norm = 0.5 }'),
        ('schedule = "step"', "schedule = { rate = 0.9 }", 'schedule = { name = "step", rate = 0.9 }'),
        ("optimizer = { b1 = 0.5 }", 'optimizer = "adam"', "optimizer = { b1 = 0.5 }"),
        ("optimizer = { b1 = 0.5 }", 'optimizer = "sgd"', 'optimizer = "sgd"'),
        ('loss = "huber"', "loss = { weight = 2.0 }", 'loss = { name = "huber", weight = 2.0 }'),
        ('loss = { name = "huber", delta = 2.0 }', 'loss = { W_max = "mae", P_peak = "mse" }',
         'loss = { W_max = "mae", P_peak = "mse" }'),
        ('loss = { W_max = "huber", P_peak = "mse" }', "loss = { W_max = { delta = 2.0 } }",
         'loss = { W_max = { name = "huber", delta = 2.0 }, P_peak = "mse" }'),
        ('loss = { W_max = "mae", P_peak = "mse" }', 'loss = "mae"', 'loss = "mae"'),
    ],
)  # fmt: skip
def test_a_plain_name_is_extended_as_its_table_is(base: str, own: str, means: str) -> None:
    head = DECLARATION.partition("[training]")[0]
    files = {"v": f'extends = "w.toml"\n[training]\n{own}', "w": f"{head}[training]\n{base}"}
    assert declared("v", **files).digest == declared("u", u=f"{head}[training]\n{means}").digest


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"v": 'extends = "bsae.toml"'}, "models/v.toml: it extends bsae.toml, which is not in models/"),
        ({"v": 'extends = "../base.toml"'}, "it extends ../base.toml, which is not in models/"),
        ({"v": 'extends = "base"'}, "'extends' is 'base'"),
        ({"v": "extends = 3"}, "'extends' is 3"),
        ({"v": 'extends = "v.toml"'}, "it extends v.toml, which leads back to itself"),
        ({"v": 'extends = "w.toml"', "w": 'extends = "v.toml"'}, "models/w.toml: it extends v.toml"),
        ({"v": 'extends = "w.toml"', "w": "a = "}, "models/w.toml is not valid TOML"),
        ({"v": 'extends = "base.toml"\n[training]\nepoch = 3'}, "models/v.toml, line 3: 'training.epoch' is unknown"),
        (
            {"v": 'extends = "v1.toml"', **{f"v{n}": f'extends = "v{n + 1}.toml"' for n in range(1, 20)}},
            f"more than {DEEPEST} files extend one another",
        ),
    ],
)
def test_what_cannot_be_extended_is_named(files: dict[str, str], says: str) -> None:
    with pytest.raises(Mendable) as error:
        declared("v", **files)
    assert says in error.value.message


def test_the_text_of_a_declaration_is_that_of_every_file_it_depends_on_and_of_no_other() -> None:
    files = {"a": 'extends = "b.toml"', "b": "extends = 'c.toml'", "c": DECLARATION, "d": 'extends = "a.toml"'}
    text = joined("a", files)
    assert text == joined("a", {**files, "d": "changed"})
    assert text != joined("a", {**files, "c": "changed"})
    assert joined("c", files) == DECLARATION


@given(st.text(max_size=40), st.text(max_size=40), st.booleans())
def test_any_files_are_a_declaration_or_a_mistake_that_is_named(own: str, other: str, extends: bool) -> None:
    text = ('extends = "b.toml"\n' if extends else "") + own
    with suppress(Mendable):
        assert declared("v", v=text, b=other).name == "v"


def test_a_separator_in_a_file_brings_no_tables() -> None:
    with pytest.raises(Mendable, match=r"models/v\.toml is not valid TOML"):
        declared("v", v=f'extends = "made-up.toml"\n\x1emade-up\n{DECLARATION}')
