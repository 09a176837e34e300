"""finetune: go on from the restored state on the unseen rows alone, min_w L(w; unseen) (the paper).

Cost: epochs × unseen batches, and nothing is read but unseen rows. It keeps nothing of what was seen but the weights,
and forgets it the faster the less the unseen rows are like it.
"""

from __future__ import annotations

from gitdata.training.blocks import rows_of
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.pull import Pull


def prepare(occasion: Occasion) -> Ingredients:
    return on_unseen(occasion, None)


def on_unseen(occasion: Occasion, pull: Pull | None) -> Ingredients:
    """The unseen rows, under what pulls at the weights."""
    rows = occasion.unseen
    weighing = occasion.weighing((rows, 1.0))
    epoch = occasion.batches(occasion.data.unseen_rows)
    steps = occasion.epochs * epoch if occasion.method.budget is None else occasion.steps(0)
    encoded = occasion.encoded(rows, weighing)
    return Ingredients(encoded, rows, rows_of(rows), steps if rows_of(rows) else 0, epoch, weighing, pull)
