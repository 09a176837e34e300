"""derpp: replay, and the reservoir's rows once more with what a version answered when they came in.

Dark Experience Replay++ (Buzzega et al. 2020, eq. 6): β L(w; x, y) + α D(w; x, z) over the reservoir, z the answers
kept with it. D is the declared loss against z, of classes the cross-entropy with softmax(z), which is one of the two
forms the authors give. α ÷ β is `weight`. Cost: replay's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gitdata.errors import Mendable
from gitdata.training.methods import replay
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.mixture import Beside, Drawn
from gitdata.training.shuffle import Held
from gitdata.training.teacher import Teacher


def prepare(occasion: Occasion) -> Ingredients:
    reservoir = occasion.reservoir
    answers = reservoir.answers[~reservoir.held]
    if answers.shape[1] != occasion.codes.output_width:
        raise Mendable(
            "derpp needs the answers that the restored version gave to its reservoir, which it did not keep.",
            "Use another method, as in `gitdata train MODEL --method replay`.",
        )

    def more(kept: Held, weighing: NDArray[np.float32] | None, unseen: float) -> tuple[Beside, ...]:
        dark = Held(kept.inputs, Teacher.of(occasion.version, weighing).targets(answers))
        return (Beside(Drawn(dark), occasion.method.weight * kept.count / unseen),)

    return replay.with_reservoir(occasion, more)
