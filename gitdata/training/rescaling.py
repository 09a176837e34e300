"""Rescaling: inputs that hardly varied when a version was fitted are scaled anew once they do, and learned anew.

Statistics are frozen, so that a version stays what it is. But a field that hardly varied, as the year in data of one
year does, has a tiny scale, or none: a year later its values lie fourteen deviations out, times weights that are as
good as chance, since nothing ever depended on them. Training from there is a matter of luck. So such a field is scaled
to all rows, and its weights start from zero: with x = (t − m) ÷ s, what it contributed at its old mean was nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gitdata.training.architecture.layers import Dense
from gitdata.training.blocks import Columns
from gitdata.training.package import Package
from gitdata.training.preprocessing import FieldCode, Numeric, Preprocessing
from gitdata.training.sketch import Distribution
from gitdata.training.summary import Categories, Summary

HARDLY = 0.95  # of the rows that were seen have one value
FURTHER = 2.0  # so many times as far as before a field has to spread
KERNEL = "dense.0.kernel"


def rescaled(package: Package, fitted: Preprocessing) -> tuple[Package, tuple[str, ...]]:
    """The version with such inputs scaled as `fitted` to more rows, and which fields these are.

    Its optimiser begins anew. A network that does not begin with a dense layer of all inputs stays as it is, and so
    does a version that kept no summary of what it had seen.
    """
    if package.summary is None or not _begins_dense(package):
        return package, ()
    beside = {field.name: field for field in fitted.inputs}
    old = package.preprocessing.inputs
    chosen = [_varies_now(field, beside.get(field.name), package.summary) for field in old]
    names = tuple(field.name for field, own in zip(old, chosen, strict=True) if own.any())
    if not names:
        return package, ()
    inputs = tuple(_as_in(field, beside.get(field.name), own) for field, own in zip(old, chosen, strict=True))
    kept = ~np.concatenate(chosen)
    moved = replace(
        package,
        preprocessing=replace(package.preprocessing, inputs=inputs),
        weights=_of_others(package.weights, kept),
        stable=None if package.stable is None else _of_others(package.stable, kept),
        state={},
    )
    return moved, names


def hardly_varied(summary: Summary) -> dict[str, dict[int, float]]:
    """The numeric inputs that hardly varied in what was seen: by element the value that nearly all rows had."""
    found: dict[str, dict[int, float]] = {}
    for name in summary.inputs:
        seen = summary.fields[name].seen
        if not isinstance(seen, Categories):
            usual = {
                at: float(own.values[own.weights.argmax()]) for at, own in enumerate(seen) if _share(own) >= HARDLY
            }
            found |= {name: usual} if usual else {}
    return found


def newly_varying(summary: Summary, columns: Columns) -> tuple[str, ...]:
    """Those of them of which most of some rows have another value."""
    found = []
    for name, usual in hardly_varied(summary).items():
        column = columns.get(name)
        if column is None or not len(column) or column.dtype.kind not in "biuf":
            continue
        values = column.reshape(len(column), -1)
        if values.shape[1] > max(usual) and any(np.mean(values[:, at] == own) < 0.5 for at, own in usual.items()):
            found.append(name)
    return tuple(found)


def _share(seen: Distribution) -> float:
    """The largest share of rows that have one value."""
    return float(seen.weights.max() / seen.weights.sum()) if len(seen.weights) else 0.0


def _varies_now(old: FieldCode, new: FieldCode | None, summary: Summary) -> NDArray[np.bool_]:
    """Which columns of a field hardly varied in what was seen, and do now, shape (width,)."""
    nothing = np.zeros(old.width, bool)
    if not isinstance(old, Numeric) or not isinstance(new, Numeric) or old.scaling != "standard":
        return nothing
    seen = summary.fields[old.name].seen if old.name in summary.fields else ()
    if isinstance(seen, Categories) or len(seen) != old.width:
        return nothing
    if (old.scaling, old.transform, old.shape) != (new.scaling, new.transform, new.shape):
        return nothing
    shares = np.array([_share(own) for own in seen])
    further = np.array(new.scale) >= FURTHER * np.array(old.scale)
    moved = np.array(new.mean) != np.array(old.mean)  # what was constant has no scale to compare with
    return np.asarray((shares >= HARDLY) & (further | ((shares == 1) & moved)))


def _as_in(old: FieldCode, new: FieldCode | None, chosen: NDArray[np.bool_]) -> FieldCode:
    """A code with the mean and scale of another in some columns."""
    if not isinstance(old, Numeric) or not isinstance(new, Numeric) or not chosen.any():
        return old
    mean, scale = (np.where(chosen, getattr(new, name), getattr(old, name)) for name in ("mean", "scale"))
    return replace(old, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()), seen=new.seen)


def _begins_dense(package: Package) -> bool:
    kernel = package.weights.get(KERNEL)
    begins = isinstance(package.plan.layers[0], Dense) and len(package.plan.shape) == 1
    return begins and kernel is not None and len(kernel) == package.preprocessing.input_width


def _of_others(weights: dict[str, NDArray[np.float32]], kept: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """The weights without what they make of some inputs."""
    return {**weights, KERNEL: weights[KERNEL] * kept[:, None].astype(np.float32)}
