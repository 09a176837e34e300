"""lwf: Learning without Forgetting, L(w; x, y) + λ L(w; x, f₀(x)) over the unseen rows, f₀ the restored version.

Li & Hoiem 2018, eq. 3 and 4: what was known is kept by answering the new inputs as before, with no old row at all. Of
numbers the second term is the declared loss against the old answers, of classes the cross-entropy with the old
probabilities (temperature 1). λ is `weight`: so many labelled rows come beside an unseen one. Cost: finetune's steps.
"""

from __future__ import annotations

from gitdata.errors import Mendable
from gitdata.training.blocks import Blocks, rows_of
from gitdata.training.methods.occasion import Ingredients, Occasion
from gitdata.training.mixture import Beside, Drawn, Mixed
from gitdata.training.teacher import Labelled, Teacher


def prepare(occasion: Occasion) -> Ingredients:
    rows, weight = occasion.unseen, occasion.method.weight
    weighing = occasion.weighing((rows, 1.0))
    epoch = occasion.batches(occasion.data.unseen_rows)
    steps = occasion.epochs * epoch if occasion.method.budget is None else occasion.steps(0)
    main = occasion.encoded(rows, weighing)
    if not rows_of(rows):
        return Ingredients(main, rows, 0, 0, epoch)
    if isinstance(rows, Blocks):
        raise Mendable(
            "lwf labels the unseen rows, which are more than memory is to hold.",
            "Use another method, as in `gitdata train MODEL --method distil`, or raise gitdata.trainMemory.",
        )
    labelled = Labelled(Drawn(occasion.held(rows, None)), Teacher.of(occasion.version, weighing))
    mixed = Mixed(main, (Beside(labelled, weight),))
    return Ingredients(mixed, rows, rows_of(rows), steps, occasion.batches(mixed.count), weighing)
