"""Network rules: whether layers, the last one above all, go with the fields, their scaling and the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gitdata.training.architecture import layers as declared
from gitdata.training.architecture import summary
from gitdata.training.architecture.layers import Activate, Dense, Dropout, Heads, Layer
from gitdata.training.architecture.notation import every_layer
from gitdata.training.check.findings import Finding, Level, Subject, error, warning

LOGITS = ("cross_entropy", "binary_cross_entropy")  # losses that take what the last dense layer makes as it is
RANGES = {  # what activations can make, where that is not everything
    "elu": (-1.0, math.inf), "gelu": (-0.17, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0),
    "selu": (-1.7581, math.inf), "sigmoid": (0.0, 1.0), "silu": (-0.2785, math.inf), "softmax": (0.0, 1.0),
    "softplus": (0.0, math.inf), "softsign": (-1.0, 1.0), "tanh": (-1.0, 1.0),
}  # fmt: skip
WORDS = {
    "standard": "standardised", "none": "as it is", "minmax": "scaled to 0 … 1", "image": "image, scaled to 0 … 1",
    "channels": "standardised by channel", "robust": "scaled by median and quartiles",
}  # fmt: skip
COPIES = 4  # of the weights that training holds: they, their gradient, and two moments
_BYTES = 4


@dataclass(frozen=True, slots=True)
class Targets:
    """Of the numbers that a network is to make: the least, the most, mean and standard deviation."""

    least: float
    most: float
    mean: float
    deviation: float


def weights(subject: Subject) -> Iterator[Finding]:
    """Absurd sizes are found before anything is allocated."""
    if subject.plan is None:
        return
    found = summary.lines(subject.plan)
    count, largest = sum(line.weights for line in found), max(found, key=lambda line: line.weights)
    needed = count * _BYTES * COPIES
    many = f"the network has {count:,} weights, {largest.weights:,} of them in '{largest.name}'"
    remedy = "Make that layer narrower, or pool before it."
    if count > summary.MOST_WEIGHTS:
        text = f"{many}; more than {summary.MOST_WEIGHTS:,} are not held"
        yield error("too-many-weights", text, remedy, layer=largest.name)
    elif subject.memory is not None and needed > subject.memory:
        text = f"{many}: {needed / 2**30:.1f} GiB in training; this machine has {subject.memory / 2**30:.1f} GiB"
        yield error("memory", text, remedy, layer=largest.name)


def tails(layers: Sequence[Layer]) -> Iterator[tuple[str | None, list[tuple[str, Layer]]]]:
    """What follows the last dense layer, with its place; of heads one for each output."""
    places = [(f"layer {place} ({layer.name})", layer) for place, layer in enumerate(layers, 1)]
    last = max((n for n, layer in enumerate(layers) if isinstance(layer, Heads) or _is_last(layer)), default=-1)
    rest = places[last + 1 :]
    if last >= 0 and isinstance(heads := layers[last], Heads):
        for name, head in heads.heads.items():
            for _, tail in tails(head):
                yield name, [(f"head '{name}' {place}", layer) for place, layer in tail] + rest
    else:
        yield None, rest


def _is_last(layer: Layer) -> bool:
    return isinstance(layer, Dense) and layer.dense == "outputs"


def last_layers(subject: Subject) -> Iterator[Finding]:
    """What follows the last dense layer must leave room for the targets."""
    for output, tail in tails(subject.declaration.network.layers):
        names = (output,) if output else subject.outputs
        for place, layer in tail:
            if isinstance(layer, Dropout) and layer.dropout:
                text = f"{place} drops parts of the outputs themselves"
                yield warning("dropout-last", text, "Put it before the last dense layer.", layer=place)
            elif isinstance(layer, Activate) and layer.activation != "identity":
                yield from _activation(subject, names, place, layer.activation)


def _activation(subject: Subject, names: Sequence[str], place: str, activation: str) -> Iterator[Finding]:
    for loss in dict.fromkeys(subject.loss_of(name) for name in names if subject.loss_of(name) in LOGITS):
        level: Level = "error" if activation in ("softmax", "sigmoid") else "warning"
        own = "softmax" if loss == "cross_entropy" else "sigmoid"
        text = f"{place} stands before the loss {loss}, which has a {own} of its own"
        yield Finding(level, "activation-before-loss", text, "Leave it out.", layer=place)
    if activation not in RANGES:
        return
    for name in (name for name in names if not subject.is_categorical(name)):
        target = targets_of(subject, name) if name in subject.outputs else None
        if target is not None:
            yield from _reach(subject, name, place, RANGES[activation], target)


def _reach(subject: Subject, name: str, place: str, made: tuple[float, float], target: Targets) -> Iterator[Finding]:
    """Whether an activation that makes numbers from `made[0]` to `made[1]` gets to the targets of a field."""
    low, high = made
    if max(low - target.least, target.most - high) <= 0.01 * (target.most - target.least):
        return
    half = target.deviation / 2
    level: Level = "error" if low > target.mean - half or high < target.mean + half else "warning"
    numbers = f"numbers from {low:g}" + (f" to {high:g}" if high < math.inf else "")
    wanted = f"{target.least:.3g} to {target.most:.3g} ({coded(subject, name)})"
    fitting = f', or declare scaling = {{ {name} = "minmax" }}' if low == 0 else ""
    text = f"{place} makes {numbers}; the targets of '{name}' go from {wanted}"
    yield Finding(level, "targets-out-of-reach", text, f"Leave it out{fitting}.", name, place)


def coded(subject: Subject, name: str) -> str:
    """How a field of numbers becomes those of the network, in words."""
    data = subject.declaration.data
    scaling, transform = data.scaling_of(name), data.transform_of(name)
    return ", ".join([*([transform] if transform != "none" else []), WORDS[scaling]])


def targets_of(subject: Subject, name: str) -> Targets | None:
    """What a field is to the network: measured, else what is usual; None where nobody knows."""
    scaling = subject.declaration.data.scaling_of(name)
    facts = subject.fields.get(name)
    measured = facts.measured if facts is not None else None
    if scaling in ("minmax", "image"):
        return Targets(0.0, 1.0, 0.5, 0.5)
    if measured is not None and not math.isfinite(measured.deviation):
        return None
    if measured is None or measured.minimum is None:
        return None if scaling == "none" else Targets(-2.0, 2.0, 0.0, 1.0)
    if scaling == "none":
        return Targets(measured.low, measured.high, measured.mean, measured.deviation)
    scale = measured.deviation or 1.0
    return Targets((measured.low - measured.mean) / scale, (measured.high - measured.mean) / scale, 0.0, 1.0)


def batches(subject: Subject) -> Iterator[Finding]:
    """Batch normalisation needs something to take a mean of."""
    training = subject.declaration.training
    norms = any(isinstance(layer, declared.BatchNorm) for layer in every_layer(subject.declaration.network.layers))
    if norms and training.batch_size == 1:
        text = "batch_norm takes mean and variance of a batch, and a batch has one row"
        yield error("batch-norm", text, "Use layer_norm, or a larger batch_size.", layer="batch_norm")


def embedded(subject: Subject) -> Iterator[tuple[str, str]]:
    """Embeddings and the inputs they read."""
    layers = subject.declaration.network.layers
    only = subject.inputs[0] if len(subject.inputs) == 1 else None
    for place, layer in enumerate(every_layer(layers)):
        if isinstance(layer, declared.Embedding) and (layer.of or (only and place == 0)):
            yield f"embedding {layer.embedding}", layer.of or only or ""


def embeddings(subject: Subject) -> Iterator[Finding]:
    """An embedding reads codes."""
    for layer, name in embedded(subject):
        if name not in subject.fields or subject.is_coded(name):
            continue
        scaling = subject.declaration.data.scaling_of(name)
        remedy = f'Declare encoding = {{ {name} = "codes" }}.'
        if subject.is_categorical(name):
            text = f"an embedding reads '{name}', which is one-hot and not a code"
            yield error("embedding-one-hot", text, remedy, name, layer)
        elif scaling != "none":
            text = f"an embedding reads '{name}' as codes, and its scaling is {scaling}"
            yield error("embedding-scaled", text, remedy, name, layer)


def graphs_of(layers: Sequence[Layer]) -> set[str]:
    """The inputs that say what is joined to what, and which nodes there are."""
    found = set()
    for layer in every_layer(layers):
        if isinstance(layer, declared.GraphConv):
            found.add(layer.edges)
        elif isinstance(layer, declared.GraphPool) and layer.nodes:
            found.add(layer.nodes)
    return found


def graphs(subject: Subject) -> Iterator[Finding]:
    """Edges are node numbers, and stay what they are."""
    data = subject.declaration.data
    for name in sorted(graphs_of(subject.declaration.network.layers) & set(subject.inputs)):
        scaling, transform = data.scaling_of(name), data.transform_of(name)
        if scaling != "none" or transform != "none":
            text = f"'{name}' says what is joined to what, and is changed ({coded(subject, name)})"
            yield error("graph-scaled", text, f'Declare scaling = {{ {name} = "none" }}.', name, "graph_conv")


def nodes_exist(subject: Subject) -> Iterator[Finding]:
    """A list of edges names nodes that there are; an edge to another one would be left out without a word."""
    found = summary.lines(subject.plan) if subject.plan else []
    nodes = max((line.before[0] for line in found if line.name.startswith("graph_conv")), default=0)
    convolutions = [x for x in every_layer(subject.declaration.network.layers) if isinstance(x, declared.GraphConv)]
    for name in sorted({layer.edges for layer in convolutions}) if nodes else ():
        for split, facts in (("train", subject.fields.get(name)), ("test", subject.tests.get(name))):
            if facts is None or facts.measured is None or facts.shape == (nodes, nodes):
                continue
            if (largest := facts.measured.maximum or 0.0) >= nodes:
                text = f"'{name}' names the node {largest:g} in {split} rows; there are 0 to {nodes - 1}"
                yield error("graph-nodes", text, "Count nodes from 0; -1 stands for no edge.", name, "graph_conv")


def all_inputs_used(subject: Subject) -> Iterator[Finding]:
    """Whether every input goes in somewhere."""
    layers = subject.declaration.network.layers
    if subject.declaration.network.borrows or not _starts_anew(layers):
        return
    read = graphs_of(layers) | {name for _, name in embedded(subject)}
    read |= {name for layer in every_layer(layers) if isinstance(layer, declared.Input) for name in layer.names}
    read |= {name for layer in every_layer(layers) if isinstance(layer, declared.Part) for name in layer.inputs}
    for name in subject.inputs:
        if name not in read:
            text = f"the input '{name}' is read by no layer"
            yield warning("input-unused", text, "Leave it out of inputs, or begin a branch with it.", name)


def _starts_anew(layers: Sequence[Layer]) -> bool:
    """Whether a network does without the line of all inputs."""
    first = layers[0]
    if isinstance(first, declared.Concat | declared.Add | declared.Multiply):
        return all(_starts_anew(branch) for branch in first.branches)
    return isinstance(first, declared.Input | declared.Borrow | declared.Part) or (
        isinstance(first, declared.Embedding) and first.of is not None
    )


def all_layers_used(subject: Subject) -> Iterator[Finding]:
    """A layer that begins with inputs again forgets what stands before it."""
    for where, layers in _sequences(subject.declaration.network.layers, ""):
        for place, layer in enumerate(layers[1:], 2):
            if _starts_anew((layer,)):
                name = f"{where}layer {place} ({layer.name})"
                text = f"{name} begins with inputs: what stands before it is not used"
                remedy = "Leave out what stands before it, or make both branches of a concat."
                yield warning("layers-unused", text, remedy, layer=name)


def _sequences(layers: Sequence[Layer], where: str) -> Iterator[tuple[str, Sequence[Layer]]]:
    """Layers that follow one another, and those within them; `where` they stand, in words."""
    yield where, layers
    for place, layer in enumerate(layers, 1):
        here = f"{where}layer {place} ({layer.name}) → "
        if isinstance(layer, declared.Residual):
            yield from _sequences(layer.residual, here)
        elif isinstance(layer, declared.Concat | declared.Add | declared.Multiply | declared.Split):
            for number, branch in enumerate(layer.branches, 1):
                yield from _sequences(branch, f"{here}branch {number} → ")
        elif isinstance(layer, Heads):
            for name, head in layer.heads.items():
                yield from _sequences(head, f"head '{name}' ")


def linear_layers(subject: Subject) -> Iterator[Finding]:
    """Two dense layers with nothing between them are one."""
    layers = subject.declaration.network.layers
    for place, (layer, after) in enumerate(pairwise(layers), 1):
        if isinstance(layer, Dense) and isinstance(after, Dense):
            text = f"layers {place} and {place + 1} are dense with no activation between: together they are one"
            name = f"layer {place + 1} ({after.name})"
            yield warning("no-activation", text, 'Put "relu" between them.', layer=name)


RULES = (
    weights, last_layers, batches, embeddings, graphs, nodes_exist, all_inputs_used, all_layers_used, linear_layers,
)  # fmt: skip
