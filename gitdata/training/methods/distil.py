"""distil: replay, and virtual rows near those of the reservoir, labelled by the restored version.

L(w; unseen) + L(w; reservoir) + Σ L(w; x′, f₀(x′)), x′ as in `virtual`: distillation (Hinton et al. 2015) with inputs
of one's own making. So many virtual rows come beside that the three kinds count as the rows that they stand for:
unseen : reservoir : seen − reservoir. `noise` is its deviation, in encoded units. No old row is read but those that
travel in the package. Cost: replay's steps, and the old version's answers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gitdata.training.methods import replay
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.mixture import Beside
from gitdata.training.shuffle import Held
from gitdata.training.teacher import Labelled, Teacher
from gitdata.training.virtual import Virtual


def prepare(occasion: Occasion) -> Ingredients:
    seen = occasion.data.whole_rows - occasion.data.unseen_rows

    def more(kept: Held, weighing: NDArray[np.float32] | None, unseen: float) -> tuple[Beside, ...]:
        virtual = Virtual(kept, occasion.codes, occasion.method.noise)
        labelled = Labelled(virtual, Teacher.of(occasion.version, weighing))
        return (Beside(labelled, max(0, seen - kept.count) / unseen),)

    return replay.with_reservoir(occasion, more)
