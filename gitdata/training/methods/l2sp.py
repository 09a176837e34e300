"""l2sp: finetune with a penalty on the distance from where it began: L(w; unseen) + α/2 ‖w − w₀‖².

Li, Grandvalet & Davoine 2018, "Explicit inductive bias for transfer learning with convolutional networks", eq. 3. Cost
and what is read: those of finetune. α is `strength`.
"""

from __future__ import annotations

import numpy as np

from gitdata.training import network
from gitdata.training.methods import finetune
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.pull import Pull


def prepare(occasion: Occasion) -> Ingredients:
    anchor = network.vector(occasion.plan, occasion.version.weights)
    return finetune.on_unseen(occasion, Pull(anchor, np.float32(occasion.method.strength)))
