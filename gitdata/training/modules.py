"""Modules: what each kind of layer computes, in Flax NNX where it has weights, in JAX where it has none.

`build` makes the module of a layer with weights, for the shape it gets; `FLOWS` says what a layer makes of a batch
(rows, *shape). Layers that hold layers hand their batch on to those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gitdata.training import python
from gitdata.training.architecture import layers as declared
from gitdata.training.architecture.layers import Layer, Scope, Shape
from gitdata.training.pooling import pooled

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "identity": lambda x: x,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
}


@dataclass
class Call:
    """One use of a network: the inputs (rows, *shape) by name, and while training what is random and which rows count.

    `rows`: shape (rows,), 0 for a row that only fills a batch up. `taken`: how many modules of each kind were used.
    `label`: what the kinds within a borrowed part begin with.
    """

    modules: Mapping[str, Sequence[Any]]
    scope: Scope
    inputs: Mapping[str, jax.Array]
    training: bool = False
    key: jax.Array | None = None
    rows: jax.Array | None = None
    taken: dict[str, int] = field(default_factory=dict)
    label: str = ""

    def next(self, kind: str) -> Any:
        """The module of the next layer of a kind, in the order of the network."""
        kind = self.label + kind
        place = self.taken.get(kind, 0)
        self.taken[kind] = place + 1
        return self.modules[kind][place]

    def fresh_key(self) -> jax.Array:
        """Randomness for one layer, the same for the same layer of the same step."""
        place = self.taken.get("random", 0)
        self.taken["random"] = place + 1
        assert self.key is not None
        return jax.random.fold_in(self.key, place)


# --- making modules ------------------------------------------------------------------------------------------


def made(layers: Sequence[Layer], shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Iterator[tuple[str, Any]]:
    """The modules of layers with weights, by kind, in the order in which a batch passes them."""
    for layer in layers:
        if isinstance(layer, declared.Residual):
            projection = layer.projection(shape, scope)
            yield from made([projection] if projection else [], shape, scope, rngs)
            yield from made(layer.residual, shape, scope, rngs)
        elif isinstance(layer, declared.Split):
            for branch, size in zip(layer.split, layer.sizes, strict=True):
                yield from made(branch, (*shape[:-1], size), scope, rngs)
        elif isinstance(layer, declared.Concat | declared.Add | declared.Multiply):
            for branch in layer.branches:
                yield from made(branch, shape, scope, rngs)
        elif isinstance(layer, declared.Part):
            inner = made(layer.part, layer.begins(scope), scope, rngs)
            yield from ((layer.label + kind, module) for kind, module in inner)
        elif isinstance(layer, declared.Heads):
            for name in scope.outputs:
                yield from made(layer.heads[name], shape, layer.scope_of(name, scope), rngs)
        elif layer.has_weights and (module := _module(layer, shape, scope, rngs)) is not None:
            yield layer.kind(), module
        shape = layer.after(shape, scope)


@singledispatch
def _module(layer: Layer, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    raise NotImplementedError(layer.kind())


@_module.register
def _(layer: declared.Dense, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.Linear(shape[-1], layer.after(shape, scope)[-1], use_bias=layer.bias, rngs=rngs)


@_module.register
def _(layer: declared.Conv, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    kernel, stride, dilation = (layer.sizes(value, shape) for value in (layer.kernel, layer.stride, layer.dilation))
    return nnx.Conv(
        shape[-1], layer.conv, kernel, stride, padding=layer.padding.upper(), kernel_dilation=dilation,
        feature_group_count=layer.groups, use_bias=layer.bias, rngs=rngs,
    )  # fmt: skip


@_module.register
def _(layer: declared.BatchNorm, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.BatchNorm(shape[-1], momentum=layer.momentum, epsilon=layer.eps, rngs=rngs)


@_module.register
def _(layer: declared.LayerNorm, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.LayerNorm(shape[-1], epsilon=layer.eps, rngs=rngs)


@_module.register
def _(layer: declared.Embedding, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.Embed(layer.codes(scope) + 1, layer.embedding, rngs=rngs)


@_module.register(declared.GRU)
@_module.register(declared.LSTM)
@_module.register(declared.RNN)
def _(layer: Any, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    cells: dict[str, Any] = {"gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell, "rnn": nnx.SimpleCell}
    cell = cells[layer.kind()]
    return nnx.List([cell(shape[-1], layer.units, rngs=rngs) for _ in range(1 + layer.bidirectional)])


@_module.register
def _(layer: declared.Attention, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.MultiHeadAttention(
        layer.attention, shape[-1], layer.width or shape[-1], decode=False, deterministic=True, rngs=rngs
    )


@_module.register
def _(layer: declared.Positions, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.Embed(*shape, rngs=rngs) if layer.positions == "learned" else None


@_module.register
def _(layer: declared.Python, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return python.made(layer, shape, rngs)


@_module.register
def _(layer: declared.GraphConv, shape: Shape, scope: Scope, rngs: nnx.Rngs) -> Any:
    return nnx.Linear(shape[-1], layer.graph_conv, use_bias=layer.bias, rngs=rngs)


# --- using them ----------------------------------------------------------------------------------------------


def flow(layers: Sequence[Layer], x: jax.Array, call: Call) -> jax.Array:
    """What layers make of a batch, one after the other."""
    for layer in layers:
        x = _flow(layer, x, call)
    return x


@singledispatch
def _flow(layer: Layer, x: jax.Array, call: Call) -> jax.Array:
    raise NotImplementedError(layer.kind())


@_flow.register
def _(layer: declared.Activate, x: jax.Array, call: Call) -> jax.Array:
    return FUNCTIONS[layer.activation](x)


@_flow.register(declared.Dense)
@_flow.register(declared.Conv)
@_flow.register(declared.LayerNorm)
def _(layer: Layer, x: jax.Array, call: Call) -> jax.Array:
    result: jax.Array = call.next(layer.kind())(x)
    return result


@_flow.register
def _(layer: declared.BatchNorm, x: jax.Array, call: Call) -> jax.Array:
    counts = None
    if call.training and call.rows is not None:
        counts = jnp.broadcast_to((call.rows > 0).reshape(-1, *[1] * (x.ndim - 1)), x.shape)
    result: jax.Array = call.next("batch_norm")(x, use_running_average=not call.training, mask=counts)
    return result


@_flow.register
def _(layer: declared.Dropout, x: jax.Array, call: Call) -> jax.Array:
    if not call.training or not layer.dropout:
        return x
    kept = jax.random.bernoulli(call.fresh_key(), 1 - layer.dropout, x.shape)
    return jnp.where(kept, x / (1 - layer.dropout), 0.0)


@_flow.register
def _(layer: declared.Embedding, x: jax.Array, call: Call) -> jax.Array:
    x = x if layer.of is None else call.inputs[layer.of]
    known = layer.codes(call.scope)
    codes = jnp.round(x).astype(jnp.int32)
    codes = jnp.where((codes >= 0) & (codes < known), codes, known)
    shape = layer.after(x.shape[1:], call.scope)
    result: jax.Array = call.next("embedding")(codes)
    return result.reshape(-1, *shape)


@_flow.register(declared.MaxPool)
@_flow.register(declared.AvgPool)
def _(layer: Any, x: jax.Array, call: Call) -> jax.Array:
    shape = x.shape[1:]
    window = layer.sizes(layer.window, shape)
    stride = window if layer.stride is None else layer.sizes(layer.stride, shape)
    return pooled(x, window, stride, layer.padding, largest=isinstance(layer, declared.MaxPool))


@_flow.register
def _(layer: declared.GlobalAvgPool, x: jax.Array, call: Call) -> jax.Array:
    return x.mean(axis=tuple(range(1, x.ndim - 1)))


@_flow.register
def _(layer: declared.GlobalMaxPool, x: jax.Array, call: Call) -> jax.Array:
    return x.max(axis=tuple(range(1, x.ndim - 1)))


@_flow.register(declared.Flatten)
@_flow.register(declared.Reshape)
def _(layer: Layer, x: jax.Array, call: Call) -> jax.Array:
    return x.reshape(-1, *layer.after(x.shape[1:], call.scope))


@_flow.register(declared.GRU)
@_flow.register(declared.LSTM)
@_flow.register(declared.RNN)
def _(layer: Any, x: jax.Array, call: Call) -> jax.Array:
    found = []
    for place, cell in enumerate(call.next(layer.kind())):
        backwards = layer.reverse != (place == 1)
        steps = nnx.RNN(cell, reverse=backwards, keep_order=True)(x)
        found.append(steps if layer.sequences else steps[:, 0 if backwards else -1])
    return jnp.concatenate(found, axis=-1)


@_flow.register
def _(layer: declared.Attention, x: jax.Array, call: Call) -> jax.Array:
    mask = nnx.make_causal_mask(x[..., 0]) if layer.causal else None
    result: jax.Array = call.next("attention")(x, mask=mask)
    return result


@_flow.register
def _(layer: declared.Positions, x: jax.Array, call: Call) -> jax.Array:
    if layer.positions == "learned":
        result: jax.Array = x + call.next("positions")(jnp.arange(x.shape[1]))[None]
        return result
    return x + sines(*x.shape[1:])[None]


@_flow.register
def _(layer: declared.GraphConv, x: jax.Array, call: Call) -> jax.Array:
    graph = adjacency(call.inputs[layer.edges], x.shape[1])
    result: jax.Array = call.next("graph_conv")(normalised(graph) @ x)
    return result


@_flow.register
def _(layer: declared.GraphPool, x: jax.Array, call: Call) -> jax.Array:
    there = jnp.ones(x.shape[:2]) if layer.nodes is None else call.inputs[layer.nodes].reshape(x.shape[:2])
    if layer.graph_pool == "max":
        return jnp.where(there[..., None] > 0, x, -jnp.inf).max(axis=1)
    total = (x * there[..., None]).sum(axis=1)
    return total if layer.graph_pool == "sum" else total / jnp.maximum(there.sum(axis=1, keepdims=True), 1.0)


@_flow.register
def _(layer: declared.Input, x: jax.Array, call: Call) -> jax.Array:
    return _line(layer.names, x, call).reshape(len(x), *layer.after((), call.scope))


@_flow.register
def _(layer: declared.Part, x: jax.Array, call: Call) -> jax.Array:
    x = _line(layer.inputs, x, call).reshape(len(x), *layer.begins(call.scope))
    inner = replace(call, label=call.label + layer.label, training=call.training and not layer.freeze)
    made = flow(layer.part, x, inner)
    return jax.lax.stop_gradient(made) if layer.freeze else made


@_flow.register
def _(layer: declared.Python, x: jax.Array, call: Call) -> jax.Array:
    return python.called(layer, call.next("python"), x, call.rows, training=call.training)


@_flow.register
def _(layer: declared.Residual, x: jax.Array, call: Call) -> jax.Array:
    projection = layer.projection(x.shape[1:], call.scope)
    shortcut = flow([projection], x, call) if projection else x
    return shortcut + flow(layer.residual, x, call)


@_flow.register
def _(layer: declared.Concat, x: jax.Array, call: Call) -> jax.Array:
    return jnp.concatenate([flow(branch, x, call) for branch in layer.branches], axis=-1)


@_flow.register
def _(layer: declared.Add, x: jax.Array, call: Call) -> jax.Array:
    return jnp.stack([flow(branch, x, call) for branch in layer.branches]).sum(axis=0)


@_flow.register
def _(layer: declared.Multiply, x: jax.Array, call: Call) -> jax.Array:
    return jnp.stack([flow(branch, x, call) for branch in layer.branches]).prod(axis=0)


@_flow.register
def _(layer: declared.Split, x: jax.Array, call: Call) -> jax.Array:
    parts = jnp.split(x, np.cumsum(layer.sizes)[:-1], axis=-1)
    found = [flow(branch, part, call) for branch, part in zip(layer.branches, parts, strict=True)]
    return jnp.concatenate(found, axis=-1)


@_flow.register
def _(layer: declared.Heads, x: jax.Array, call: Call) -> jax.Array:
    return jnp.concatenate([flow(layer.heads[name], x, call) for name in call.scope.outputs], axis=-1)


def _line(names: Sequence[str], x: jax.Array, call: Call) -> jax.Array:
    """Inputs as one line of numbers, shape (rows, numbers)."""
    return jnp.concatenate([call.inputs[name].reshape(len(x), -1) for name in names], axis=1)


def sines(steps: int, features: int) -> jax.Array:
    """PE(t, 2i) = sin(t / 10000^(2i / features)), PE(t, 2i + 1) its cosine: shape (steps, features)."""
    even = np.arange(features) // 2 * 2
    angle = np.arange(steps)[:, None] / np.power(10000.0, even / features)
    return jnp.asarray(np.where(np.arange(features) % 2, np.cos(angle), np.sin(angle)), jnp.float32)


def adjacency(graph: jax.Array, nodes: int) -> jax.Array:
    """Adjacency matrices (rows, nodes, nodes) of such, or of undirected edges (rows, edges, 2), −1 for none."""
    if graph.shape[1:] == (nodes, nodes):
        return graph
    ends = jnp.round(graph).astype(jnp.int32)
    there = (ends >= 0).all(axis=-1, keepdims=True)
    first, second = jnp.moveaxis(jnp.where(there, ends, nodes), -1, 0)  # a place beyond the matrix is dropped
    rows = jnp.arange(len(graph))[:, None]
    joined = jnp.zeros((len(graph), nodes, nodes)).at[rows, first, second].set(1.0, mode="drop")
    return jnp.maximum(joined, joined.swapaxes(1, 2))


def normalised(graph: jax.Array) -> jax.Array:
    """D^-½ (A + I) D^-½."""
    looped = graph + jnp.eye(graph.shape[-1])[None]
    scale = jax.lax.rsqrt(jnp.maximum(looped.sum(axis=-1), 1e-12))
    return scale[:, :, None] * looped * scale[:, None, :]
