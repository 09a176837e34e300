"""union: start anew on everything, min_w L(w; seen ∪ unseen) from fresh weights, statistics fitted again.

What the others are measured by, at full cost: epochs × all batches. `scratch` is the same, and its version has no
parent: nothing of the restored one, nor of what that descends from, is held against it.
"""

from __future__ import annotations

from gitdata.training.blocks import rows_of
from gitdata.training.methods.occasion import Ingredients, Occasion


def prepare(occasion: Occasion) -> Ingredients:
    rows = occasion.whole
    weighing = occasion.weighing((rows, 1.0))
    epoch = occasion.batches(occasion.data.whole_rows)
    steps = occasion.epochs * epoch if occasion.method.budget is None else occasion.steps(1)
    return Ingredients(occasion.encoded(rows, weighing), rows, rows_of(rows), steps, epoch, weighing)
