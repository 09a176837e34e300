"""News: how unseen rows look to the version that they came to, before it learns of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitdata.training import gate, shift
from gitdata.training.blocks import Blocks, rows_of
from gitdata.training.declaration import Declaration
from gitdata.training.methods.occasion import TrainingData
from gitdata.training.package import Package
from gitdata.training.rescaling import newly_varying


@dataclass(frozen=True, slots=True)
class News:
    """`loss` of the restored version on the `rows` unseen ones (Gama et al. 2013: test, then train).

    `drifted`: the fields that differ from all that was seen, by the summary in the package; `varying`: the inputs that
    hardly varied in it, and do now; `outside`: the share of rows beyond it in a field. None where that cannot be told.
    """

    rows: int = 0
    loss: float | None = None
    drifted: tuple[str, ...] = ()
    outside: float | None = None
    varying: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the pointer of a version has it."""
        found: dict[str, Any] = {}
        if self.loss is not None:
            found["prequential"] = {"loss": self.loss, "rows": self.rows}
        if self.outside is not None:
            found["drift"] = {"fields": list(self.drifted), "outside": self.outside}
        return found


def news(data: TrainingData, restored: Package | None, declaration: Declaration) -> News:
    """What can be told of the unseen rows; of those that memory does not hold nothing."""
    if restored is None:
        return News()
    rows = data.unseen()
    if isinstance(rows, Blocks) or not rows_of(rows):
        return News()
    asked = gate.comparable(restored, declaration, rows)
    loss = gate.mean_loss(gate.row_losses(restored, rows, declaration), declaration) if asked else None
    if restored.summary is None:
        return News(rows_of(rows), loss)
    found = shift.drift(restored.summary, rows)
    drifted = tuple(field.name for field in found.fields if field.drifted)
    return News(rows_of(rows), loss, drifted, found.outside, newly_varying(restored.summary, rows))
