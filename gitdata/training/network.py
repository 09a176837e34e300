"""Networks: Flax NNX modules built from a plan, and their weights as one vector or by name.

A plan is plain data, stored in the package; no code travels. The vector also holds what a network keeps of training
without learning it, such as running means, and what is frozen: `learned` tells these apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from gitdata.training import modules
from gitdata.training.architecture.layers import Dropout
from gitdata.training.architecture.notation import every_layer
from gitdata.training.architecture.plan import Plan
from gitdata.training.architecture.summary import MOST_WEIGHTS

_FROZEN = re.compile(r"(part\d+_)*frozen\d+_")  # what the names of weights of a frozen part begin with


class Network(nnx.Module):
    """The modules of a plan, by kind and in the order in which a batch passes them."""

    def __init__(self, plan: Plan, rngs: nnx.Rngs) -> None:
        found: dict[str, list[Any]] = {}
        for kind, module in modules.made(plan.layers, plan.shape, plan.scope, rngs):
            found.setdefault(kind, []).append(module)
        self.kinds = tuple(found)
        for kind, made in found.items():
            setattr(self, kind, nnx.List(made))

    def by_kind(self) -> dict[str, Any]:
        return {kind: getattr(self, kind) for kind in self.kinds}


@dataclass(frozen=True, slots=True)
class _Abstract:
    """A network without a single weight: its graph, the names and shapes of its state, and vector → state.

    `learned`: which numbers of the vector are learned; None where all are.
    """

    graph: Any
    shapes: dict[str, tuple[int, ...]]
    unravel: Callable[[jax.Array], Any]
    learned: NDArray[np.bool_] | None


@lru_cache(maxsize=32)
def _abstract(plan: Plan) -> _Abstract:
    graph, state = nnx.split(nnx.eval_shape(lambda: Network(plan, nnx.Rngs(0))))
    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    shapes = {_leaf_name(path): tuple(leaf.shape) for path, leaf in leaves}
    sizes = [int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()]
    stops = np.cumsum(sizes)[:-1].tolist()

    def unravel(vector: jax.Array) -> Any:
        parts = jnp.split(vector, stops)
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes.values(), strict=True)]
        return jax.tree.unflatten(structure, arrays)

    every = {
        _leaf_name(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(nnx.state(nnx.merge(graph, state), nnx.Param))
    }
    parameters = {name for name in every if not _FROZEN.match(name)}
    learned = np.repeat([name in parameters for name in shapes], sizes) if parameters != shapes.keys() else None
    return _Abstract(graph, shapes, unravel, learned)


def weights_of(plan: Plan) -> int:
    """The number of weights, without making any. Raises ValueError where there are too many to hold."""
    count = sum(int(np.prod(shape, dtype=np.int64)) for shape in weight_shapes(plan).values())
    if count > MOST_WEIGHTS:
        raise ValueError(f"the network has {count:,} weights; more than {MOST_WEIGHTS:,} are not held")
    return count


def initial_weights(plan: Plan, seed: int) -> jax.Array:
    """Fresh weights as one float32 vector (Flax's defaults: LeCun normal kernels, zero biases)."""

    built: jax.Array = _compiled_start(plan)(jax.random.key(seed))
    return built


@lru_cache(maxsize=32)
def _compiled_start(plan: Plan) -> Callable[[Any], jax.Array]:
    def build(key: jax.Array) -> jax.Array:
        vector, _ = ravel_pytree(nnx.split(Network(plan, nnx.Rngs(key)))[1])
        return jnp.asarray(vector, jnp.float32)

    # It runs once; at its usual level XLA takes seconds to compile the dice of each shape, to the same numbers.
    return jax.jit(build, compiler_options={"xla_backend_optimization_level": 1})


def learned(plan: Plan) -> NDArray[np.bool_] | None:
    """Which numbers of the vector are learned, the others being kept by the network itself; None: all of them."""
    return _abstract(plan).learned


def is_random(plan: Plan) -> bool:
    """Whether training throws dice beyond the order of the rows."""
    return any(isinstance(layer, Dropout) for layer in every_layer(plan.layers))


def apply(plan: Plan, weights: jax.Array, x: jax.Array) -> jax.Array:
    """The output (rows, output width) for rows (rows, input width); to be called inside a compiled function."""
    return _use(plan, weights, x)[0]


def apply_training(
    plan: Plan, weights: jax.Array, x: jax.Array, key: jax.Array | None, rows: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The output while training, and the vector with what the network itself keeps of this batch.

    `rows`: shape (rows,), 0 for those that only fill the batch up.
    """
    output, network = _use(plan, weights, x, training=True, key=key, rows=rows)
    if _abstract(plan).learned is None:
        return output, weights
    return output, ravel_pytree(nnx.split(network)[1])[0]


def _use(plan: Plan, weights: jax.Array, x: jax.Array, **more: Any) -> tuple[jax.Array, Any]:
    abstract = _abstract(plan)
    network = nnx.merge(abstract.graph, abstract.unravel(weights))
    inputs, start = {}, 0
    for field in plan.inputs:
        inputs[field.name] = x[:, start : start + field.width].reshape(-1, *field.shape)
        start += field.width
    call = modules.Call(network.by_kind(), plan.scope, inputs, **more)
    return modules.flow(plan.layers, x.reshape(-1, *plan.shape), call), network


def weight_shapes(plan: Plan) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the weights, in the order of the vector."""
    return _abstract(plan).shapes


def named(plan: Plan, vector: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """A vector of weights as arrays by name."""
    result, start = {}, 0
    for name, shape in weight_shapes(plan).items():
        size = int(np.prod(shape, dtype=np.int64))
        result[name] = np.ascontiguousarray(vector[start : start + size].reshape(shape))
        start += size
    return result


def vector(plan: Plan, weights: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Weights by name as one vector; raises ValueError naming a weight that does not fit."""
    shapes = weight_shapes(plan)
    if weights.keys() != shapes.keys():
        different = sorted(weights.keys() ^ shapes.keys())
        raise ValueError(
            f"the weight '{different[0]}' is {'missing' if different[0] in shapes else 'not of this network'}"
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            raise ValueError(
                f"the weight '{name}' is {weights[name].dtype}{list(weights[name].shape)}, not float32{list(shape)}"
            )
    return np.concatenate([weights[name].ravel() for name in shapes])


def forward(plan: Plan, weights: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's output for many rows, in blocks of a size that few programs serve and that memory can hold."""
    block = _block(plan, len(inputs))
    found = [np.empty((0, plan.output_width), np.float32)]
    for first in range(0, len(inputs), block):
        rows = inputs[first : first + block]
        padded = np.zeros((block, inputs.shape[1]), np.float32)
        padded[: len(rows)] = rows
        found.append(np.asarray(_compiled_forward(plan)(weights, padded))[: len(rows)])
    return np.concatenate(found)


def _block(plan: Plan, rows: int) -> int:
    """Rows at a time: a power of two, 64 at least, and at most what holds 2²⁴ numbers of input."""
    most = max(64, 1 << (2**24 // max(plan.input_width, 1)).bit_length() - 1)
    return min(most, max(64, 1 << max(rows - 1, 0).bit_length()))


@lru_cache(maxsize=32)
def _compiled_forward(plan: Plan) -> Callable[[Any, Any], jax.Array]:
    return jax.jit(lambda weights, x: apply(plan, weights, x))


def _leaf_name(path: tuple[Any, ...]) -> str:
    """`dense.0.kernel` for a leaf of the state; the `value` that some Flax versions append is no part of it."""
    keys = [str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path]
    return ".".join(keys[:-1] if keys[-1] == "value" else keys)
