"""replay: the unseen rows and the rows of the reservoir, each counting by how many of its kind are kept.

Experience replay with a sample of all that was seen (Chaudhry et al. 2019, "On tiny episodic memories"). No old row is
read but those that travel in the package. Cost: the unseen share of the union's steps and a tenth of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gitdata.training.blocks import rows_of
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.mixture import Beside, Drawn, Mixed
from gitdata.training.shuffle import Held

Weighing = NDArray[np.float32] | None
More = Callable[[Held, Weighing, float], tuple[Beside, ...]]


def prepare(occasion: Occasion) -> Ingredients:
    return with_reservoir(occasion, lambda rows, weighing, unseen: ())


def with_reservoir(occasion: Occasion, more: More) -> Ingredients:
    """The unseen rows, those of the reservoir, and `more` made of these, given how many unseen ones there are."""
    rows, reservoir = occasion.unseen, occasion.reservoir
    old, unseen = reservoir.trained, rows_of(rows)
    weighing = occasion.weighing((rows, 1.0), (old, reservoir.seen / len(reservoir.held)))
    main, kept = occasion.encoded(rows, weighing), occasion.held(old, weighing)
    if not unseen:
        return Ingredients(main, rows, 0, 0, 1)
    mixed = Mixed(main, (Beside(Drawn(kept), kept.count / unseen), *more(kept, weighing, unseen)))
    steps = occasion.steps(occasion.usual_share)
    return Ingredients(mixed, rows, unseen + kept.count, steps, occasion.batches(mixed.count), weighing)
