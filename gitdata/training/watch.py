"""Watch: the loss of validation rows after each epoch of a run, what follows from it, and the best state so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gitdata.training import losses, network
from gitdata.training.loop import Run, State
from gitdata.training.preprocessing import Categorical, Preprocessing
from gitdata.training.settings import EarlyStopping
from gitdata.training.stopping import Watched, after_epoch

Columns = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Watch:
    """Looks at one run. `inputs` and `targets`: the validation rows as the network takes them, at least one."""

    run: Run
    early: EarlyStopping | None
    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    watched: Watched = field(default_factory=Watched)
    best: State | None = None

    def on_epoch(self, state: State) -> float:
        """What the rates of the next epoch are multiplied by; 0: the run is over."""
        predicted = network.forward(self.run.plan, np.asarray(state.weights), self.inputs)
        loss = losses.mean_loss(self.run.loss, predicted, self.targets)
        self.watched = after_epoch(self.watched, loss, self.early, self.run.schedule)
        if self.watched.best_epoch == self.watched.epochs and self.early and self.early.restore_best:
            self.best = _copy(state)
        return 0.0 if self.watched.stopped else self.watched.factor

    def result(self, last: State) -> State:
        """The state that the run comes to: the best one where that is wanted, else the last."""
        return last if self.best is None else self.best

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of it."""
        known = asdict(self.watched)
        said = {name: known[name] for name in ("best_epoch", "best_loss", "epochs", "factor", "stopped")}
        return said if self.watched.best_epoch else {**said, "best_loss": None}


def answerable(codes: Preprocessing, columns: Columns) -> Columns:
    """The rows whose classes a model knows: of others there is no loss."""
    fields = [field for field in codes.outputs if isinstance(field, Categorical)]
    if not columns or not fields:
        return columns
    mask = np.logical_and.reduce([field.codes(columns) >= 0 for field in fields])
    return {name: column[mask] for name, column in columns.items()}


def _copy(state: State) -> State:
    """A state of one's own: the loop hands its arrays to the next chunk."""
    weights, moments = jax.tree.map(np.array, (state.weights, state.optimizer))
    return State(weights, moments, state.position)
