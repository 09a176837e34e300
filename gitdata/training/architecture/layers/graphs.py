"""Layers over graphs."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from gitdata.training.architecture.layers.base import Layer, Misfit, Scope, Shape, Units


class GraphConv(Layer):
    """Kipf & Welling 2017: D^-½ (A + I) D^-½ x W + b over nodes; `edges` names the input that holds the graph.

    That input is an adjacency matrix (nodes, nodes), or a list (edges, 2) of node numbers, undirected, −1 for none.
    """

    graph_conv: Units
    edges: str
    bias: bool = True
    has_weights: ClassVar[bool] = True

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if len(shape) != 2:
            raise Misfit("it takes nodes (nodes, features)", "Put { reshape = [nodes, features] } before it.")
        edges = scope.input(self.edges)
        if edges != (shape[0], shape[0]) and (len(edges) != 2 or edges[1] != 2):
            raise Misfit(
                f"'{self.edges}' has the shape {list(edges)}",
                f"Give an adjacency matrix [{shape[0]}, {shape[0]}], or edges [n, 2].",
            )
        return (shape[0], self.graph_conv)


class GraphPool(Layer):
    """One vector for a graph: the mean, sum or largest number over its nodes.

    `nodes` names an input that has 1 for each node that is there, and 0 for those that only fill up.
    """

    graph_pool: Literal["mean", "sum", "max"]
    nodes: str | None = None

    def after(self, shape: Shape, scope: Scope) -> Shape:
        if len(shape) != 2:
            raise Misfit(
                "it takes nodes (nodes, features)", "Leave it out, or put { reshape = [nodes, features] } before."
            )
        if self.nodes is not None and math.prod(scope.input(self.nodes)) != shape[0]:
            raise Misfit(f"'{self.nodes}' does not have one number for each of {shape[0]} nodes", "Name another input.")
        return shape[1:]
