"""Summary: weights counted from the declaration alone are those of the network that is built."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gitdata.training import network
from gitdata.training.architecture import notation, summary
from gitdata.training.architecture.layers import KINDS
from gitdata.training.architecture.plan import Input, Output, Plan

OUT: Any = {"dense": "outputs"}
NETWORKS: list[tuple[tuple[int, ...], list[Any]]] = [
    ((5,), [{"dense": 7}, "relu", {"dropout": 0.1}, {"dense": 4, "bias": False}, OUT]),
    ((8, 8, 3), [
        {"conv": 6, "kernel": [3, 2], "groups": 3}, "batch_norm", {"max_pool": 2}, {"avg_pool": 2, "padding": "same"},
        {"residual": [{"conv": 9, "stride": 2}], "shortcut": "project"}, "layer_norm", "global_avg_pool", OUT,
    ]),
    ((4, 4), [{"reshape": [4, 4, 1]}, {"conv": 3, "bias": False}, "global_max_pool", OUT]),
    ((6, 3), [{"gru": 5, "bidirectional": True, "sequences": True}, {"gru": 4}, OUT]),
    ((6, 3), [{"lstm": 5, "bidirectional": True, "sequences": True}, {"lstm": 4}, OUT]),
    ((6, 3), [{"rnn": 5, "sequences": True}, {"rnn": 4, "bidirectional": True}, OUT]),
    ((6, 4), [{"positions": "learned"}, {"attention": 2}, {"attention": 2, "width": 6}, {"positions": "sinusoidal"},
              "flatten", OUT]),
    ((6, 3), [{"input": "x"}, {"graph_conv": 5, "edges": "e"}, {"graph_pool": "mean"}, OUT]),
    ((4,), [
        {"input": "x"}, {"concat": [[{"dense": 3}], ["relu", {"dense": 2}]]}, {"add": [["tanh"], [{"dense": 5}]]},
        {"multiply": [["tanh"], [{"dense": 5}]]}, {"split": [[{"dense": 2}], [{"dense": 1}]], "sizes": [2, 3]},
        {"residual": [{"dense": 6}], "shortcut": "project"}, {"heads": {"y": [{"dense": 4}, OUT]}},
    ]),
    ((4,), [{"part": [{"dense": 5}, "relu"], "inputs": ["x"], "source": "m@1", "number": 0, "freeze": True}, OUT]),
    ((7,), [{"embedding": 3, "of": "words"}, "flatten", OUT]),
]  # fmt: skip


def plan_of(shape: tuple[int, ...], layers: list[Any]) -> Plan:
    inputs = [Input("x", shape)]
    text = str(layers)
    inputs += [Input("e", (7, 2))] if "'e'" in text else []
    inputs += [Input("words", (4,), categories=9)] if "words" in text else []
    return Plan(tuple(inputs), (Output("y", 2),), notation.read(layers, {}, packed=True))


@pytest.mark.parametrize(("shape", "layers"), NETWORKS)
def test_the_count_is_that_of_the_modules(shape: tuple[int, ...], layers: list[Any]) -> None:
    plan = plan_of(shape, layers)
    built = sum(math.prod(shape) for shape in network.weight_shapes(plan).values())
    assert summary.weight_count(plan) == built
    assert summary.lines(plan)[-1].after[-1:] == (2,)


def test_every_kind_of_layer_is_among_them() -> None:
    used = {layer.kind() for shape, layers in NETWORKS for layer in notation.every_layer(plan_of(shape, layers).layers)}
    assert used >= KINDS.keys() - {"model", "python"}  # neither is built without what it names


def test_layers_within_layers_stand_deeper() -> None:
    lines = summary.lines(plan_of(*NETWORKS[8]))
    found = [
        (line.depth, line.name, line.after) for line in lines if line.name.startswith(("concat", "branch", "head"))
    ]
    assert found[:3] == [(0, "concat", (5,)), (1, "branch 1", (3,)), (1, "branch 2", (2,))]
    assert found[-2:] == [(0, "heads", (2,)), (1, "head y", (2,))]
