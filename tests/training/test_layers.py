"""Layers: what each makes of a batch, and its gradient, against NumPy; and what shape it says that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gitdata.training import network
from gitdata.training.architecture import layers, notation, plan
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Input, Output, Plan

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]
ROWS = 3


@dataclass(frozen=True)
class Case:
    """A layer between an input of some shape and what is read off; `by_hand`: (weights, inputs by name) → output."""

    layer: Any
    shape: tuple[int, ...]
    by_hand: Callable[[Weights, Mapping[str, Array]], Array]
    others: Mapping[str, Array] = field(default_factory=dict)  # inputs besides `x`, one row each


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))


def padded(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Array:
    """What `same` adds: as much at the end as at the start, one more where it is odd."""
    missing = [
        max((-(-size // step) - 1) * step + window - size, 0)
        for size, window, step in zip(x.shape[1:-1], kernel, stride, strict=True)
    ]
    return np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)], constant_values=value)


def slid(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], make: Callable[[Array], Array]) -> Array:
    """`make` of every window (rows, *kernel, channels)."""
    counts = [(size - window) // step + 1 for size, window, step in zip(x.shape[1:-1], kernel, stride, strict=True)]
    found = {
        at: make(x[(slice(None), *(slice(a * s, a * s + k) for a, s, k in zip(at, stride, kernel, strict=True)))])
        for at in product(*map(range, counts))
    }
    return np.stack([found[at] for at in product(*map(range, counts))], axis=1).reshape(len(x), *counts, -1)


def convolved(stride: tuple[int, ...], *, same: bool, dilation: int = 1, groups: int = 1) -> Any:
    def by_hand(w: Weights, inputs: Mapping[str, Array]) -> Array:
        x, kernel = inputs["x"], w["conv.0.kernel"]
        for axis in range(kernel.ndim - 2):  # a dilated kernel is one with holes
            holes = [size * dilation - dilation + 1 if a == axis else size for a, size in enumerate(kernel.shape)]
            spread = np.zeros(holes)
            spread[(slice(None),) * axis + (slice(None, None, dilation),)] = kernel
            kernel = spread
        window = kernel.shape[:-2]
        x = padded(x, window, stride) if same else x
        parts = zip(np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True)
        axes = list(range(1, len(window) + 2)), list(range(len(window) + 1))
        made = [slid(x, window, stride, lambda part, k=k: np.tensordot(part, k, axes)) for x, k in parts]  # type: ignore[misc]
        return np.concatenate(made, axis=-1) + w.get("conv.0.bias", 0.0)

    return by_hand


def pooled(window: tuple[int, ...], stride: tuple[int, ...], reduce: str, *, same: bool = False) -> Any:
    def by_hand(w: Weights, inputs: Mapping[str, Array]) -> Array:
        x = padded(inputs["x"], window, stride, np.nan) if same else inputs["x"]
        axes = tuple(range(1, len(window) + 1))
        make = np.nanmax if reduce == "max" else np.nanmean
        return slid(x, window, stride, lambda part: make(part, axis=axes))

    return by_hand


def recurrent(kind: str, *, backwards: bool = False, sequences: bool = False, place: int = 0) -> Any:
    def by_hand(w: Weights, inputs: Mapping[str, Array]) -> Array:
        own = {name.removeprefix(f"{kind}.0.{place}."): value for name, value in w.items()}
        x = inputs["x"][:, ::-1] if backwards else inputs["x"]
        h = c = np.zeros((len(x), own["dense_h.kernel"].shape[0]))
        steps = []
        for t in range(x.shape[1]):
            i = x[:, t] @ own["dense_i.kernel"] + own.get("dense_i.bias", 0.0)
            r = h @ own["dense_h.kernel"] + own.get("dense_h.bias", 0.0)
            if kind == "rnn":
                h = np.tanh(i + r)
            elif kind == "gru":
                (ir, iz, i_n), (hr, hz, hn) = np.split(i, 3, axis=1), np.split(r, 3, axis=1)
                z = sigmoid(iz + hz)
                h = (1 - z) * np.tanh(i_n + sigmoid(ir + hr) * hn) + z * h
            else:
                a, f, g, o = np.split(i + r, 4, axis=1)
                c = sigmoid(f) * c + sigmoid(a) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            steps.append(h)
        return np.stack(steps[::-1] if backwards else steps, axis=1) if sequences else h

    return by_hand


def both_ways(kind: str, *, sequences: bool) -> Any:
    ways = [recurrent(kind, backwards=b, sequences=sequences, place=int(b)) for b in (False, True)]
    return lambda w, inputs: np.concatenate([way(w, inputs) for way in ways], axis=-1)


def attended(*, causal: bool = False) -> Any:
    def by_hand(w: Weights, inputs: Mapping[str, Array]) -> Array:
        x = inputs["x"]
        q, k, v = (
            np.einsum("btc,chd->bhtd", x, w[f"attention.0.{n}.kernel"]) + w[f"attention.0.{n}.bias"][:, None]
            for n in ("query", "key", "value")
        )
        scores = np.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(q.shape[-1])
        if causal:
            scores = np.where(np.tril(np.ones(scores.shape[2:])) > 0, scores, -np.inf)
        mixed = np.einsum("bhts,bhsd->bthd", softmax(scores), v)
        return np.einsum("bthd,hdc->btc", mixed, w["attention.0.out.kernel"]) + w["attention.0.out.bias"]

    return by_hand


def sines(steps: int, features: int) -> Array:
    table = np.zeros((steps, features))
    for t, i in product(range(steps), range(features)):
        angle = t / 10000 ** ((i - i % 2) / features)
        table[t, i] = np.cos(angle) if i % 2 else np.sin(angle)
    return table


GRAPH = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], float)
EDGES = np.array([[0, 1], [2, 0], [3, 2], [-1, -1], [0, 1]], float)  # one that only fills up, one twice


def on_graph(w: Weights, inputs: Mapping[str, Array]) -> Array:
    looped = GRAPH + np.eye(4)
    scale = np.diag(1 / np.sqrt(looped.sum(axis=1)))
    return scale @ looped @ scale @ inputs["x"] @ w["graph_conv.0.kernel"] + w["graph_conv.0.bias"]


def normed(axis: Any, eps: float, kind: str) -> Any:
    def by_hand(w: Weights, inputs: Mapping[str, Array]) -> Array:
        x = inputs["x"]
        mean, variance = (
            (w["batch_norm.0.mean"], w["batch_norm.0.var"])
            if kind == "batch_norm"
            else (x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True))
        )
        return (x - mean) / np.sqrt(variance + eps) * w[f"{kind}.0.scale"] + w[f"{kind}.0.bias"]

    return by_hand


def dense(w: Weights, x: Array, place: int) -> Array:
    return x @ w[f"dense.{place}.kernel"] + w.get(f"dense.{place}.bias", 0.0)


CASES = {
    "dense": Case({"dense": 4}, (5,), lambda w, i: dense(w, i["x"], 0)),
    "dense over a sequence": Case({"dense": 4, "bias": False}, (6, 5), lambda w, i: i["x"] @ w["dense.0.kernel"]),
    "conv": Case({"conv": 4}, (5, 6, 2), convolved((1, 1), same=True)),
    "conv, wide steps": Case({"conv": 4, "kernel": [3, 2], "stride": [2, 1], "bias": False}, (5, 6, 2),
                             convolved((2, 1), same=True)),
    "conv, valid": Case({"conv": 4, "kernel": 2, "padding": "valid", "stride": 2}, (5, 6, 2),
                        convolved((2, 2), same=False)),
    "conv, dilated": Case({"conv": 2, "dilation": 2}, (6, 7, 1), convolved((1, 1), same=True, dilation=2)),
    "conv, groups": Case({"conv": 4, "groups": 2}, (4, 4, 4), convolved((1, 1), same=True, groups=2)),
    "conv over a sequence": Case({"conv": 4, "kernel": 5, "stride": 3}, (11, 2), convolved((3,), same=True)),
    "max_pool": Case({"max_pool": 2}, (5, 6, 2), pooled((2, 2), (2, 2), "max")),
    "max_pool, same": Case({"max_pool": 3, "stride": 2, "padding": "same"}, (5, 6, 2),
                           pooled((3, 3), (2, 2), "max", same=True)),
    "avg_pool": Case({"avg_pool": [2, 3], "stride": 1}, (5, 6, 2), pooled((2, 3), (1, 1), "mean")),
    "avg_pool, side by side": Case({"avg_pool": [2, 3]}, (5, 6, 2), pooled((2, 3), (2, 3), "mean")),
    "avg_pool, same": Case({"avg_pool": 3, "padding": "same"}, (7, 2), pooled((3,), (3,), "mean", same=True)),
    "global_avg_pool": Case("global_avg_pool", (5, 6, 2), lambda w, i: i["x"].mean(axis=(1, 2))),
    "global_max_pool": Case("global_max_pool", (5, 2), lambda w, i: i["x"].max(axis=1)),
    "flatten": Case("flatten", (2, 3, 2), lambda w, i: i["x"].reshape(ROWS, -1)),
    "reshape": Case({"reshape": [3, 4]}, (2, 3, 2), lambda w, i: i["x"].reshape(ROWS, 3, 4)),
    "batch_norm": Case("batch_norm", (4, 3), normed(None, 1e-5, "batch_norm")),
    "layer_norm": Case({"layer_norm": True, "eps": 0.1}, (4, 3), normed(-1, 0.1, "layer_norm")),
    "dropout": Case({"dropout": 0.5}, (4,), lambda w, i: i["x"]),
    "gru": Case({"gru": 4}, (5, 3), recurrent("gru")),
    "gru, backwards": Case({"gru": 4, "reverse": True, "sequences": True}, (5, 3),
                           recurrent("gru", backwards=True, sequences=True)),
    "lstm": Case({"lstm": 4, "sequences": True}, (5, 3), recurrent("lstm", sequences=True)),
    "lstm, both ways": Case({"lstm": 2, "bidirectional": True}, (5, 3), both_ways("lstm", sequences=False)),
    "rnn, both ways": Case({"rnn": 2, "bidirectional": True, "sequences": True}, (4, 3),
                           both_ways("rnn", sequences=True)),
    "attention": Case({"attention": 2}, (5, 4), attended()),
    "attention, causal and wide": Case({"attention": 2, "width": 6, "causal": True}, (5, 4), attended(causal=True)),
    "positions": Case("positions", (5, 3), lambda w, i: i["x"] + sines(5, 3)),
    "positions, learned": Case({"positions": "learned"}, (5, 3), lambda w, i: i["x"] + w["positions.0.embedding"]),
    "graph_conv": Case({"graph_conv": 3, "edges": "e"}, (4, 2), on_graph, {"e": GRAPH}),
    "graph_conv, edges": Case({"graph_conv": 3, "edges": "e"}, (4, 2), on_graph, {"e": EDGES}),
    "graph_pool": Case({"graph_pool": "mean"}, (4, 2), lambda w, i: i["x"].mean(axis=1)),
    "graph_pool, max": Case({"graph_pool": "max", "nodes": "n"}, (4, 2), lambda w, i: i["x"][:, :3].max(axis=1),
                            {"n": np.array([1.0, 1, 1, 0])}),
    "graph_pool, sum": Case({"graph_pool": "sum", "nodes": "n"}, (4, 2), lambda w, i: i["x"][:, :3].sum(axis=1),
                            {"n": np.array([1.0, 1, 1, 0])}),
    "input": Case({"input": "b"}, (4,), lambda w, i: i["b"], {"b": np.arange(6.0).reshape(2, 3)}),
    "inputs": Case({"input": ["b", "x"]}, (2,), lambda w, i: np.concatenate([i["b"].reshape(ROWS, -1), i["x"]], 1),
                   {"b": np.arange(6.0).reshape(2, 3)}),
    "residual": Case({"residual": ["tanh", {"dense": 4}]}, (4,), lambda w, i: i["x"] + dense(w, np.tanh(i["x"]), 0)),
    "residual, projected": Case({"residual": [{"dense": 3}], "shortcut": "project"}, (4,),
                                lambda w, i: dense(w, i["x"], 0) + dense(w, i["x"], 1)),
    "concat": Case({"concat": [["tanh"], [{"dense": 2}, "relu"]]}, (4,),
                   lambda w, i: np.concatenate([np.tanh(i["x"]), np.maximum(dense(w, i["x"], 0), 0)], axis=1)),
    "add": Case({"add": [[{"dense": 2}], [{"dense": 2}]]}, (4,),
                lambda w, i: dense(w, i["x"], 0) + dense(w, i["x"], 1)),
    "multiply": Case({"multiply": [[{"dense": 2}], [{"dense": 2}, "sigmoid"]]}, (4,),
                     lambda w, i: dense(w, i["x"], 0) * sigmoid(dense(w, i["x"], 1))),
    "split": Case({"split": [["tanh"], [{"dense": 2}]], "sizes": [1, 3]}, (4,),
                  lambda w, i: np.concatenate([np.tanh(i["x"][:, :1]), dense(w, i["x"][:, 1:], 0)], axis=1)),
}  # fmt: skip


def probe(case: Case) -> tuple[Plan, Plan]:
    """The layer alone, which is no network, and a network that has it before its last layer."""
    inputs = (Input("x", case.shape), *(Input(name, value.shape) for name, value in case.others.items()))
    first = [] if isinstance(case.layer, dict) and "input" in case.layer else [{"input": "x"}]
    whole = notation.read([*first, case.layer, "flatten", {"dense": "outputs"}], {})
    return Plan(inputs, (Output("y", 2),), whole), inputs  # type: ignore[return-value]


def batch_of(case: Case, seed: int) -> dict[str, Array]:
    rows = {"x": np.random.default_rng(seed).normal(size=(ROWS, *case.shape))}
    return rows | {name: np.broadcast_to(value, (ROWS, *value.shape)) for name, value in case.others.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_and_its_gradient_are_what_numpy_says(name: str) -> None:
    case = CASES[name]
    net, _ = probe(case)
    inputs, generator = batch_of(case, 1), np.random.default_rng(2)
    weights = {n: generator.normal(size=shape) / 2 for n, shape in network.weight_shapes(net).items()}
    if "batch_norm.0.var" in weights:
        weights["batch_norm.0.var"] = weights["batch_norm.0.var"] ** 2 + 0.5
    last = max(n for n in weights if n.startswith("dense.")).split(".")[1]

    def by_hand(w: Weights, x: Mapping[str, Array]) -> Array:
        made = case.by_hand(w, x).reshape(ROWS, -1)
        return np.asarray(made @ w[f"dense.{last}.kernel"] + w[f"dense.{last}.bias"])

    def computed(vector: jax.Array, matrix: jax.Array) -> jax.Array:
        return network.apply(net, vector, matrix)

    vector = network.vector(net, {n: w.astype(np.float32) for n, w in weights.items()})
    matrix = np.concatenate([value.reshape(ROWS, -1) for value in inputs.values()], axis=1).astype(np.float32)
    expected = by_hand(weights, inputs)
    np.testing.assert_allclose(jax.jit(computed)(vector, matrix), expected, rtol=2e-4, atol=2e-5)

    pull, step = generator.normal(size=expected.shape), 1e-5
    along = {n: generator.normal(size=w.shape) for n, w in weights.items()}
    along_x = generator.normal(size=inputs["x"].shape)
    up, down = (
        (
            pull * by_hand({n: w + s * along[n] for n, w in weights.items()}, inputs | {"x": inputs["x"] + s * along_x})
        ).sum()
        for s in (step, -step)
    )
    slopes = jax.jit(jax.grad(lambda v, m: jnp.sum(pull * computed(v, m)), argnums=(0, 1)))(vector, matrix)
    found = float(slopes[0] @ network.vector(net, {n: a.astype(np.float32) for n, a in along.items()}))
    found += float((slopes[1][:, : along_x[0].size] * along_x.reshape(ROWS, -1)).sum())
    assert found == pytest.approx((up - down) / (2 * step), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_makes_the_shape_it_says_and_is_written_as_it_is_read(name: str) -> None:
    case = CASES[name]
    net, _ = probe(case)
    (layer,) = notation.read([case.layer, {"dense": "outputs"}], {})[:1]
    weights = {n: np.ones(shape) for n, shape in network.weight_shapes(net).items()}
    said = layer.after(case.shape, net.scope)
    assert case.by_hand(weights, batch_of(case, 0)).shape[1:] == said
    assert plan.from_json(plan.to_json(net)) == net
    assert notation.read([layer.written(), {"dense": "outputs"}], {})[0] == layer


def test_every_kind_of_layer_has_a_case() -> None:
    below, elsewhere = {"heads", "embedding"}, {"model", "part", "python"}  # tests/training/test_others.py
    found = {next(iter(case.layer)) if isinstance(case.layer, dict) else case.layer for case in CASES.values()}
    assert found | below | elsewhere == layers.KINDS.keys()


def test_codes_are_embedded_and_what_is_unknown_has_a_vector_of_its_own() -> None:
    net = Plan((Input("kind", (1,), categories=3), Input("x", (2,))), (Output("y", 4),), notation.read(
        [{"concat": [[{"embedding": 2, "of": "kind"}], [{"input": "x"}]]}, {"dense": "outputs"}], {}))  # fmt: skip
    table = np.arange(8, dtype=np.float32).reshape(4, 2) * 10
    weights = {
        "embedding.0.embedding": table,
        "dense.0.kernel": np.eye(4, dtype="f4"),
        "dense.0.bias": np.zeros(4, "f4"),
    }
    rows = np.array([[0, 1, 2], [2, 3, 4], [-1, 5, 6], [7, 0, 0]], np.float32)
    expected = np.concatenate([table[[0, 2, 3, 3]], rows[:, 1:]], axis=1)
    np.testing.assert_array_equal(network.forward(net, network.vector(net, weights), rows), expected)


def test_outputs_with_heads_of_their_own_stand_in_the_order_of_the_outputs() -> None:
    heads = {"b": [{"dense": "outputs"}], "a": ["relu", {"dense": "outputs", "bias": False}]}
    net = Plan((Input("x", (3,)),), (Output("a", 2), Output("b", 1)), notation.read([{"heads": heads}], {}))
    weights = {name: np.random.default_rng(0).normal(size=s) for name, s in network.weight_shapes(net).items()}
    x = np.random.default_rng(1).normal(size=(ROWS, 3))
    expected = np.concatenate([np.maximum(x, 0) @ weights["dense.0.kernel"], dense(weights, x, 1)], axis=1)
    vector = network.vector(net, {n: w.astype(np.float32) for n, w in weights.items()})
    np.testing.assert_allclose(network.forward(net, vector, x.astype(np.float32)), expected, rtol=1e-4, atol=1e-5)


# --- while training ------------------------------------------------------------------------------------------


def test_batch_norm_takes_the_batch_while_training_and_keeps_running_means() -> None:
    net = Plan((Input("x", (4, 2)),), (Output("y", 8),), notation.read(
        [{"batch_norm": True, "momentum": 0.75}, "flatten", {"dense": "outputs"}], {}))  # fmt: skip
    weights = network.named(net, np.asarray(network.initial_weights(net, 0)))
    weights |= {"dense.0.kernel": np.eye(8, dtype="f4"), "dense.0.bias": np.zeros(8, "f4")}
    vector = network.vector(net, weights)
    x = np.random.default_rng(0).normal(3, 2, size=(5, 8)).astype(np.float32)
    rows = np.array([1, 1, 0, 1, 0], np.float32)  # the others only fill the batch up
    output, after = network.apply_training(net, vector, x, None, rows)
    real = x[rows > 0].reshape(3, 4, 2).astype(float)
    mean, variance = real.mean(axis=(0, 1)), real.var(axis=(0, 1))
    expected = (real - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(np.asarray(output)[rows > 0], expected.reshape(3, 8), rtol=1e-4, atol=1e-5)
    kept = network.named(net, np.asarray(after))
    np.testing.assert_allclose(kept["batch_norm.0.mean"], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept["batch_norm.0.var"], 0.75 + 0.25 * variance, rtol=1e-5)
    learned = network.learned(net)
    assert learned is not None
    np.testing.assert_array_equal(np.asarray(after)[learned], vector[learned])


def test_dropout_keeps_the_mean_and_follows_its_key() -> None:
    net = Plan((Input("x", (1000,)),), (Output("y", 1000),), notation.read(
        [{"dropout": 0.25}, {"dropout": 0.0}, {"dense": "outputs"}], {}))  # fmt: skip
    weights = {"dense.0.kernel": np.eye(1000, dtype="f4"), "dense.0.bias": np.zeros(1000, "f4")}
    vector, x, rows = network.vector(net, weights), np.ones((20, 1000), np.float32), np.ones(20, np.float32)
    first, again, other = (
        np.asarray(network.apply_training(net, vector, x, jax.random.key(seed), rows)[0]) for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(np.unique(first), [0, 4 / 3], rtol=1e-6)
    assert (first == 0).mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / first.size))
    assert (first == again).all()
    assert (first != other).any()
    assert network.is_random(net)


# --- the notation --------------------------------------------------------------------------------------------


def test_blocks_and_repetitions_stand_for_their_layers() -> None:
    block = notation.Block(parameters=["width", "act"], layers=[{"residual": [{"dense": "$width"}, "$act"]}])
    value = [{"repeat": 2, "layers": [{"block": "b", "width": 4, "act": "tanh", "repeat": 2}]}, {"dense": "outputs"}]
    plain = [{"residual": [{"dense": 4}, "tanh"]}] * 4 + [{"dense": "outputs"}]
    assert notation.read(value, {"b": block}) == notation.read(plain, {})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["rellu", {"dense": "outputs"}], "layer 1: there is no layer 'rellu'; is 'relu' meant?"),
        ([{"dens": 3}, {"dense": "outputs"}], "layer 1: there is no layer 'dens'; is 'dense' meant?"),
        (["conv", {"dense": "outputs"}], "layer 1: 'conv' needs a value, as in { conv = … }"),
        ([{"dense": 3, "width": 2}, {"dense": "outputs"}], "layer 1 (dense): 'width' is unknown; it takes dense, bias"),
        ([{"dense": 3, "conv": 2}, {"dense": "outputs"}], "layer 1: it is both dense and conv"),
        ([{"dense": 70000}, {"dense": "outputs"}], "'dense' is 70000"),
        ([{"dense": True}, {"dense": "outputs"}], "'dense' is true"),
        ([{"conv": 3, "padding": "full"}, {"dense": "outputs"}], "'padding' is 'full'"),
        ([{"residual": [{"conv": 3, "kernal": 2}]}, {"dense": "outputs"}], "is 'kernel' meant?"),
        ([{"split": [["relu"], ["tanh"]], "sizes": [1]}, {"dense": "outputs"}], "1 numbers for 2 branches"),
        ([{"block": "b"}, {"dense": "outputs"}], "the block 'b' needs a value for 'width'"),
        ([{"block": "c"}, {"dense": "outputs"}], "there is no block 'c'; blocks: b, loop"),
        ([{"block": "b", "width": 1, "depth": 2}, {"dense": "outputs"}], "'depth' is unknown"),
        ([{"dense": "$width"}, {"dense": "outputs"}], "'$width' is no parameter here"),
        ([{"repeat": 0, "layers": ["relu"]}, {"dense": "outputs"}], "'repeat' is 0"),
        ([{"repeat": 1000, "layers": [{"repeat": 1000, "layers": ["relu"]}]}], "more than 1024 layers"),
        ("relu", "a list of layers is wanted"),
        ([], "a list of layers is wanted"),
        ([7], "a layer is a name or a table"),
        (["relu"], 'the last dense layer must be { dense = "outputs" }'),
        ([{"dense": "outputs"}, {"dense": 3}], 'the last dense layer must be { dense = "outputs" }'),
        ([{"dense": "outputs"}, {"dense": "outputs"}], 'only the last dense layer is { dense = "outputs" }'),
        ([{"add": [[{"dense": "outputs"}], ["relu"]]}, {"dense": "outputs"}], "only the last dense layer"),
        ([{"heads": {"y": ["relu"]}}], "the last dense layer must be"),
        ([{"block": "loop", "repeat": 2}, {"dense": "outputs"}], "the block 'loop' stands within itself"),
    ],
)
def test_what_is_no_network_is_said_with_its_place(value: Any, says: str) -> None:
    blocks = {
        "b": notation.Block(parameters=["width"], layers=[{"dense": "$width"}]),
        "loop": notation.Block(layers=[{"block": "loop"}]),
    }
    with pytest.raises(ValueError, match=r".") as caught:
        notation.read(value, blocks)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "value", "says"),
    [
        ((9,), [{"conv": 3}], "layer 1 (conv) gets [9]: it takes images (height, width, channels) or sequences"),
        ((9,), ["relu", {"concat": [["tanh"], [{"gru": 3}]]}], "layer 2 (concat) → branch 2 → layer 1 (gru) gets [9]"),
        ((4, 4, 1), [{"residual": [{"conv": 1, "stride": 2}]}], "its layers make [2, 2, 1] of [4, 4, 1]"),
        ((4, 4, 1), [{"max_pool": 5}], "its window [5, 5] is larger than [4, 4]"),
        ((4, 4, 3), [{"conv": 4, "groups": 2}], "do not fall into 2 groups"),
        ((4, 3), [{"attention": 2}], "a width of 3 does not fall into 2 heads"),
        ((4, 3), [{"reshape": [5]}], "it makes 5 numbers of 12"),
        ((4,), [{"split": [["relu"], ["tanh"]], "sizes": [1, 2]}], "its sizes come to 3, and there are [4]"),
        ((4,), [{"input": "z"}], "there is no input 'z'"),
        ((4,), [{"add": [["relu"], [{"dense": 3}]]}], "its branches make [4], [3]"),
        ((4, 2), [{"graph_conv": 3, "edges": "x"}], "'x' has the shape [4, 2]"),
        ((4,), [{"embedding": 3}], "how many codes there are is not known"),
        ((4,), ["global_avg_pool"], "it takes images or sequences"),
        ((128, 64, 64), [{"conv": 65536}], "numbers of each row"),
        ((4, 2), [], "the network makes [4, 1] of each row; the outputs are [1]"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place_and_a_remedy(shape: Any, value: Any, says: str) -> None:
    with pytest.raises(Misfit) as caught:
        Plan((Input("x", shape),), (Output("y", 1),), notation.read([*value, {"dense": "outputs"}], {}))
    if "'x' has the shape" not in says:
        assert says in str(caught.value)
        assert caught.value.remedy
