"""Changes: what is said to differ between two declarations, and that it is exactly what checkpoints depend on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitdata.training.changes import changes
from gitdata.training.declaration import Declaration, parse

OUT = {"dense": "outputs"}


def declared(
    layers: list[Any], data: str = "", *, inputs: str = 'inputs = ["a", "b"]', outputs: str = '["y"]'
) -> Declaration:
    text = f'[data]\ndataset = "d"\n{inputs}\noutputs = {outputs}\n{data}\n[network]\nlayers = {_toml(layers)}\n'
    return parse(text, "m")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(own)}" for key, own in value.items()) + " }"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value)


def said(before: Declaration, now: Declaration) -> list[str]:
    return list(changes(before, now, "version 3"))


def test_a_layer_that_differs_is_named_with_both_sides() -> None:
    before = declared([{"dense": 96}, "relu", {"dense": 64}, "relu", OUT])
    assert said(before, declared([{"dense": 96}, "relu", {"dense": 128}, "relu", OUT])) == [
        "layer 3: dense 64 in version 3, dense 128 declared"
    ]
    assert said(before, declared([{"dense": 96}, "relu", {"dropout": 0.1}, {"dense": 64}, "gelu", OUT])) == [
        "layer 3: nothing in version 3, dropout 0.1 declared",
        "layer 4: relu in version 3, gelu declared",
    ]
    assert said(before, declared([{"dense": 96}, "relu", OUT])) == [
        "layer 3: dense 64 in version 3, nothing declared",
        "layer 4: relu in version 3, nothing declared",
    ]
    bias = declared([{"dense": 96, "bias": False}, "relu", {"dense": 64}, "relu", OUT])
    assert said(before, bias) == ["layer 1: dense 96 in version 3, dense 96, bias False declared"]


def test_layers_within_layers_are_named_by_where_they_stand() -> None:
    def residual(width: int) -> Declaration:
        return declared([{"residual": ["relu", {"dense": width}, {"dense": 2}]}, OUT])

    assert said(residual(8), residual(9)) == ["layer 1 (residual), layer 2: dense 8 in version 3, dense 9 declared"]

    def branches(*widths: int) -> Declaration:
        return declared([{"concat": [[{"dense": width}] for width in widths]}, OUT])

    assert said(branches(4, 5), branches(4, 6, 7)) == [
        "layer 1 (concat), 2, layer 1: dense 5 in version 3, dense 6 declared",
        "layer 1 (concat), 3, layer 1: nothing in version 3, dense 7 declared",
    ]


def test_fields_and_how_they_are_coded() -> None:
    before = declared([OUT], 'transform = { outputs = "log10" }')
    now = declared([OUT], 'scaling = { a = "minmax" }', inputs='inputs = ["a", "c"]', outputs='["y", "z"]')
    assert said(before, now) == [
        "inputs: also b in version 3, also c declared",
        "outputs: nothing else in version 3, also z declared",
        "transform of outputs: log10 in version 3, nothing declared",
        "scaling of a: nothing in version 3, minmax declared",
    ]
    assert said(before, declared([OUT], 'transform = { outputs = "log10" }', inputs='inputs = ["b", "a"]')) == [
        "inputs: a, b in version 3, b, a declared"
    ]
    assert said(declared([OUT], inputs=""), declared([OUT])) == ["inputs: all other fields in version 3, a, b declared"]


LAYER = st.one_of(
    st.sampled_from(["relu", "gelu"]),
    st.integers(1, 3).map(lambda width: {"dense": width}),
    st.floats(0.1, 0.2).map(lambda rate: {"dropout": rate}),
)
DEEP = st.recursive(
    LAYER,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda layers: {"residual": layers}),
        st.lists(st.lists(inner, min_size=1, max_size=2), min_size=2, max_size=3).map(lambda layers: {"add": layers}),
    ),
    max_leaves=6,
)
LAYERS = st.lists(DEEP, max_size=4).map(lambda layers: [*layers, OUT])


@given(LAYERS, LAYERS)
def test_something_is_said_exactly_where_checkpoints_do_not_fit(before: list[Any], now: list[Any]) -> None:
    old, new = declared(before), declared(now)
    assert bool(said(old, new)) == (old.restore_digest != new.restore_digest)
    assert not said(old, old)
    for clause in said(old, new):
        _, _, sides = clause.partition(": ")
        was, _, now_is = sides.removesuffix(" declared").partition(" in version 3, ")
        assert was != now_is
