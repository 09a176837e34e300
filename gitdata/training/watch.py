"""Watch: the loss of validation rows after each epoch of a run, what follows from it, and the best state so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gitdata.training import losses, network, optimizer
from gitdata.training.blocks import Blocks
from gitdata.training.loop import Run, State
from gitdata.training.preprocessing import Categorical, Preprocessing
from gitdata.training.settings import EarlyStopping
from gitdata.training.stopping import Patience, Watched, after_epoch

Columns = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Watch:
    """Looks at one run; `inputs` (in blocks) and `targets`: validation rows as the network takes them, at least one.

    `last`: the loss after the last epoch, where it is a number. `best`: the state after the best one, if it is kept.
    """

    run: Run
    early: EarlyStopping | None
    inputs: Callable[[], Iterator[NDArray[np.float32]]]
    targets: NDArray[np.float32]
    watched: Watched = field(default_factory=Watched)
    best: State | None = None
    last: float | None = None

    def on_epoch(self, state: State) -> float:
        """What the rates of the next epoch are multiplied by; 0: the run is over."""
        weights = np.asarray(state.weights)
        predicted = np.concatenate([network.forward(self.run.plan, weights, block) for block in self.inputs()])
        loss = losses.mean_loss(self.run.loss, predicted, self.targets)
        self.last = loss if np.isfinite(loss) else None
        self.watched = after_epoch(self.watched, loss, self.early, self.run.schedule)
        if self.watched.best_epoch == self.watched.epochs and self.early and self.early.restore_best:
            self.best = _copy(state)
        return 0.0 if self.watched.stopped else self.watched.factor

    def remember(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a checkpoint keeps of it: what is known, and the best state."""
        if self.best is None:
            return {"watched": asdict(self.watched)}, {}
        arrays = optimizer.state_to_arrays(self.best.optimizer)
        return {"watched": asdict(self.watched), "position": self.best.position}, {
            **{f"optimizer.{name}": array for name, array in arrays.items()}, "weights": np.asarray(self.best.weights),
        }  # fmt: skip

    def recall(self, known: dict[str, Any], arrays: dict[str, NDArray[Any]], like: State) -> float:
        """Take up what a checkpoint kept; what the rates of the next epoch are multiplied by."""
        watched = known["watched"]
        self.watched = Watched(**{**watched, "run": Patience(**watched["run"]), "rate": Patience(**watched["rate"])})
        if "weights" in arrays:
            moments = {name.removeprefix("optimizer."): a for name, a in arrays.items() if name != "weights"}
            state = optimizer.state_from_arrays(like.optimizer, moments)
            self.best = State(arrays["weights"], state, int(known["position"]))
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
    return columns.select(mask) if isinstance(columns, Blocks) else {n: column[mask] for n, column in columns.items()}


def _copy(state: State) -> State:
    """A state of one's own: the loop hands its arrays to the next chunk."""
    weights, moments = jax.tree.map(np.array, (state.weights, state.optimizer))
    return State(weights, moments, state.position)
