"""Layers: one class for each kind, with its options, and the shape of its output for a shape of its input."""

from __future__ import annotations

from gitdata.training.architecture.layers.base import (
    MOST_LAYERS,
    MOST_NUMBERS,
    Layer,
    Layers,
    Misfit,
    Scope,
    Shape,
    begin,
    walk,
)
from gitdata.training.architecture.layers.branches import (
    Add,
    Concat,
    Heads,
    Input,
    Multiply,
    Residual,
    Split,
)
from gitdata.training.architecture.layers.graphs import (
    GraphConv,
    GraphPool,
)
from gitdata.training.architecture.layers.others import (
    Borrow,
    Part,
    Python,
)
from gitdata.training.architecture.layers.sequences import (
    GRU,
    LSTM,
    RNN,
    Attention,
    Positions,
)
from gitdata.training.architecture.layers.single import (
    ACTIVATIONS,
    Activate,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
)
from gitdata.training.architecture.layers.spatial import (
    AvgPool,
    Conv,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Reshape,
)

KINDS: dict[str, type[Layer]] = {
    layer.kind(): layer
    for layer in (
        Dense, Dropout, Embedding, Conv, MaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, Flatten, Reshape, BatchNorm,
        LayerNorm, GRU, LSTM, RNN, Attention, Positions, GraphConv, GraphPool, Input, Residual, Concat, Add, Multiply,
        Split, Heads, Borrow, Part, Python,
    )
}  # fmt: skip

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "KINDS",
    "LSTM",
    "MOST_LAYERS",
    "MOST_NUMBERS",
    "RNN",
    "Activate",
    "Activation",
    "Add",
    "Attention",
    "AvgPool",
    "BatchNorm",
    "Borrow",
    "Concat",
    "Conv",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GraphConv",
    "GraphPool",
    "Heads",
    "Input",
    "Layer",
    "LayerNorm",
    "Layers",
    "MaxPool",
    "Misfit",
    "Multiply",
    "Part",
    "Positions",
    "Python",
    "Reshape",
    "Residual",
    "Scope",
    "Shape",
    "Split",
    "begin",
    "walk",
]
