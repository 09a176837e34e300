"""Start: the state that a method begins with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training import borrowing, loop, network, optimizer
from gitdata.training.methods.occasion import Occasion
from gitdata.training.package import Package
from gitdata.training.retraining import ANEW, Method
from gitdata.training.settings import Optimizer


def start(occasion: Occasion, declared: Optimizer) -> loop.State:
    """Fresh weights, or those of the restored version as the method wants them."""
    if occasion.restored is None or occasion.method.name in ANEW:
        return fresh(occasion, declared)
    state = restored(occasion.version, declared)
    method = occasion.method
    if method.restart == "stable":
        state = replace(state, weights=_stable(occasion))
    if (method.shrink, method.perturb) != (1, 0):
        weights = shrunk(occasion, state.weights, np.asarray(fresh(occasion, declared).weights), method)
        state = replace(state, weights=weights)
    return state


def fresh(occasion: Occasion, declared: Optimizer) -> loop.State:
    """Fresh weights, those of borrowed parts as their lenders have them."""
    plan = occasion.plan
    state = loop.start(plan, declared, occasion.declaration.training.seed)
    if not occasion.lenders:
        return state
    own = borrowing.weights(plan.layers, network.named(plan, np.asarray(state.weights)), occasion.lenders)
    return replace(state, weights=network.vector(plan, own))


def restored(package: Package, declared: Optimizer) -> loop.State:
    """Weights, optimiser state and position of a package; another optimiser starts with a state of its own."""
    weights = network.vector(package.plan, package.weights)
    empty = optimizer.direction(declared, network.weight_shapes(package.plan)).init(weights)
    same = package.manifest.get("optimizer") == declared.name and optimizer.fits(empty, package.state)
    state = optimizer.state_from_arrays(empty, package.state) if same else empty
    return loop.State(weights, state, package.position)


def shrunk(
    occasion: Occasion, weights: NDArray[np.float32], fresh: NDArray[np.float32], method: Method
) -> NDArray[np.float32]:
    """λ w₀ + σ w_fresh of what is learned (Ash & Adams 2020, section 4): a version that learns the better again."""
    assert method.shrink is not None
    assert method.perturb is not None
    moved = np.float32(method.shrink) * weights + np.float32(method.perturb) * fresh
    learned = network.learned(occasion.plan)
    return moved if learned is None else np.where(learned, moved, weights)


def _stable(occasion: Occasion) -> NDArray[np.float32]:
    stable = occasion.version.stable
    if stable is None:
        raise Mendable(
            f"The restored version kept no weights from before its learning rate fell, which {occasion.method.name} is "
            'declared to restart from (restart = "stable").',
            f"Train once by another method, as in `gitdata train {occasion.declaration.name} --method union`: its"
            " version will keep them.",
        )
    return network.vector(occasion.plan, stable)
