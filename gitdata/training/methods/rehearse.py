"""rehearse: go on from the restored state on rows of the whole chain, for the unseen share of the union's steps.

min_w L(w; seen ∪ unseen) from w₀: nothing is forgotten, and only as many steps are taken as the unseen rows are worth,
and a tenth of the union's. Unseen rows are drawn more often than others, if memory holds them: they make up a share of
`unseen` of every batch at least. Cost: (unseen share + 0.1) × the union's steps; all rows are read.
"""

from __future__ import annotations

from gitdata.training.blocks import Blocks, rows_of
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.mixture import Beside, Drawn, Mixed
from gitdata.training.shuffle import Rows


def prepare(occasion: Occasion) -> Ingredients:
    rows, fresh = occasion.whole, occasion.unseen
    weighing = occasion.weighing((rows, 1.0))
    mixed: Rows = occasion.encoded(rows, weighing)
    share, wanted = rows_of(fresh) / rows_of(rows), occasion.method.unseen
    if wanted is not None and 0 < share < wanted and not isinstance(fresh, Blocks):
        more = Drawn(occasion.held(fresh, weighing))
        mixed = Mixed(mixed, (Beside(more, (wanted - share) / (1 - wanted)),))
    steps = occasion.steps(occasion.usual_share)
    return Ingredients(mixed, rows, rows_of(rows), steps, occasion.batches(mixed.count), weighing)
