"""Growing: a version that is to learn classes that it does not know gets outputs for them.

Its weights answer as before on the classes that it knows; the outputs of new ones start from zero weights and a bias so
low that next to no row is taken for one of them. Classes are added at the end, so that codes keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import network
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Output
from gitdata.training.blocks import Columns, blocks_of, rows_of
from gitdata.training.package import Package
from gitdata.training.preprocessing import Binary, Categorical, Preprocessing
from gitdata.training.preprocessing.fields import Category, category

UNLIKELY = -4.0  # the logit of a class that nobody has learned yet


def new_classes(codes: Preprocessing, columns: Columns) -> dict[str, tuple[Category, ...]]:
    """The classes of outputs that rows have and a version does not know, by field, in order."""
    found: dict[str, tuple[Category, ...]] = {}
    for field in codes.outputs:
        if isinstance(field, Categorical) and not isinstance(field, Binary):
            values: set[Category] = set()
            for block in blocks_of(columns) if rows_of(columns) else ():
                values |= {category(v) for v in np.unique(block[field.name]).tolist() if _is_class(v)}
            if unknown := values - set(field.categories):
                found[field.name] = tuple(sorted(unknown, key=lambda value: (isinstance(value, str), value)))
    return found


def _is_class(value: Any) -> bool:
    """Whether a value can be a class; of other numbers, coding the rows says what is wrong."""
    return not isinstance(value, float) or value.is_integer()


def grown(package: Package, classes: Mapping[str, tuple[Category, ...]]) -> Package:
    """The version with outputs for more classes; its optimiser begins anew. Raises Mendable where that cannot be."""
    codes, places = _codes(package.preprocessing, classes)
    try:
        plan = replace(package.plan, outputs=tuple(Output(field.name, field.width) for field in codes.outputs))
    except Misfit as misfit:
        raise _rigid(classes) from misfit
    shapes = network.weight_shapes(plan)

    def widened(old: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return {name: _widened(own, shapes[name], places, classes) for name, own in old.items()}

    weights = widened(package.weights)
    if not any(own.ndim == 1 and own.shape != weights[name].shape for name, own in package.weights.items()):
        raise _rigid(classes)  # without a bias nothing keeps rows from new classes
    sample = package.reservoir
    if sample is not None:
        answers = np.full((len(sample.digests), codes.output_width), UNLIKELY, np.float32)
        answers[:, places] = sample.answers
        sample = sample.answered(answers)
    stable = None if package.stable is None else widened(package.stable)
    return replace(
        package, plan=plan, preprocessing=codes, weights=weights, state={}, reservoir=sample, stable=stable
    )  # fmt: skip


def _codes(
    codes: Preprocessing, classes: Mapping[str, tuple[Category, ...]]
) -> tuple[Preprocessing, NDArray[np.int64]]:
    """Outputs with more classes, and where each column of the old ones is among the new ones."""
    outputs, places, start = [], [], 0
    for field in codes.outputs:
        places.append(start + np.arange(field.width))
        if isinstance(field, Categorical) and field.name in classes:
            field = replace(field, categories=(*field.categories, *classes[field.name]))
        outputs.append(field)
        start += field.width
    return replace(codes, outputs=tuple(outputs)), np.concatenate(places)


def _widened(
    own: NDArray[np.float32],
    shape: tuple[int, ...],
    places: NDArray[np.int64],
    classes: Mapping[str, tuple[Category, ...]],
) -> NDArray[np.float32]:
    """A weight with room for new outputs along its last axis; one that has nothing to do with outputs as it is."""
    if own.shape == shape:
        return own
    if own.shape[:-1] != shape[:-1] or own.shape[-1] != len(places):
        raise _rigid(classes)
    wide = np.full(shape, UNLIKELY if len(shape) == 1 else 0.0, np.float32)
    wide[..., places] = own
    return wide


def _rigid(classes: Mapping[str, Any]) -> Mendable:
    field, own = next(iter(classes.items()))
    return Mendable(
        f"The class '{own[0]}' of '{field}' is new to the model, and this network has no place for it.",
        "A new class needs a new start: `gitdata train MODEL --method union`.",
    )
