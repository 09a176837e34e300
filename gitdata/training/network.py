"""Networks: Flax NNX modules built from declared layers, and their weights as one vector or by name.

A *plan* is the layers with all widths filled in: plain data, hashable, stored in the package. It is all that is needed
to build the network again; no code travels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from gitdata.training.declaration import ACTIVATIONS, MOST_LAYERS, Dense, Network

Plan = tuple[int, tuple[int | str, ...]]  # input width; a dense layer's width, or the name of an activation

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "identity": lambda x: x,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
}


class Layers(nnx.Module):
    """Dense layers and activations, one after the other."""

    def __init__(self, plan: Plan, rngs: nnx.Rngs) -> None:
        width, steps = plan
        self.steps = steps
        dense = []
        for step in steps:
            if isinstance(step, int):
                dense.append(nnx.Linear(width, step, rngs=rngs))
                width = step
        self.dense = nnx.List(dense)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Shape (rows, input width) → (rows, output width)."""
        position = 0
        for step in self.steps:
            if isinstance(step, int):
                x = self.dense[position](x)
                position += 1
            else:
                x = _FUNCTIONS[step](x)
        return x


def plan_of(network: Network, input_width: int, output_width: int) -> Plan:
    """The declared layers with all widths filled in."""
    widths = (
        (output_width if layer.dense == "outputs" else layer.dense) if isinstance(layer, Dense) else layer
        for layer in network.layers
    )
    return input_width, tuple(widths)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    return {"input_width": plan[0], "layers": list(plan[1])}


def plan_from_json(value: Any) -> Plan:
    """What `plan_to_json` wrote; raises ValueError on anything else."""
    try:
        width, layers = value["input_width"], value["layers"]
    except (KeyError, TypeError) as error:
        raise ValueError("the network is malformed") from error
    if not isinstance(layers, list) or len(layers) > MOST_LAYERS or not _is_width(width):
        raise ValueError("the network is malformed")
    for layer in layers:
        if not _is_width(layer) and layer not in ACTIVATIONS:
            raise ValueError(f"the layer {layer!r:.40} is unknown")
    if not any(isinstance(layer, int) for layer in layers):
        raise ValueError("the network has no dense layer")
    return width, tuple(layers)


def _is_width(value: Any) -> bool:
    return type(value) is int and 0 < value <= 10**6


@lru_cache(maxsize=32)
def _abstract(plan: Plan) -> tuple[Any, Any, Callable[[jax.Array], Any]]:
    """(graph, state of shapes, vector → state): without computing a single weight."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Layers(plan, nnx.Rngs(0))))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    _, unravel = ravel_pytree(zeros)
    return graph, shapes, unravel


def weights_of(plan: Plan) -> int:
    """The number of weights of the dense layers, without making any."""
    count, width = 0, plan[0]
    for layer in plan[1]:
        if isinstance(layer, int):
            count, width = count + (width + 1) * layer, layer
    return count


def initial_weights(plan: Plan, seed: int) -> jax.Array:
    """Fresh weights as one float32 vector (Flax's defaults: LeCun normal kernels, zero biases)."""

    def build(key: jax.Array) -> jax.Array:
        vector, _ = ravel_pytree(nnx.split(Layers(plan, nnx.Rngs(key)))[1])
        return jnp.asarray(vector)

    built: jax.Array = jax.jit(build)(jax.random.key(seed))
    return built


def apply(plan: Plan, weights: jax.Array, x: jax.Array) -> jax.Array:
    """The network's output; to be called inside a compiled function."""
    graph, _, unravel = _abstract(plan)
    module = nnx.merge(graph, unravel(weights))
    result: jax.Array = module(x)
    return result


def weight_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, in the order of the vector."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(_abstract(plan)[1])
    return {_leaf_name(path): tuple(leaf.shape) for path, leaf in leaves}


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
    """The network's output for many rows. Rows are padded to a power of two, so that few programs serve all sizes."""
    rows = len(inputs)
    padded = np.zeros((max(64, 1 << max(rows - 1, 0).bit_length()), inputs.shape[1]), np.float32)
    padded[:rows] = inputs
    return np.asarray(_compiled_forward(plan)(weights, padded))[:rows]


@lru_cache(maxsize=32)
def _compiled_forward(plan: Plan) -> Callable[[Any, Any], jax.Array]:
    return jax.jit(lambda weights, x: apply(plan, weights, x))


def _leaf_name(path: tuple[Any, ...]) -> str:
    """`dense.0.kernel` for a leaf of the state; the `value` that some Flax versions append is no part of it."""
    keys = [str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path]
    return ".".join(key for key in keys if key != "value")
