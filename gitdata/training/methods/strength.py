"""Strength: what a method leaves open follows from its budget, by rules that were found by experiment.

`rehearse`, b being the unseen share of the train rows: the more there is to learn, the more is unlearned before. Its
rate goes up to (1 + 3 b) × the geometric mean of the declared one and of 10⁻³, that of Adam in most hands; it stays
there for half of the run, and falls. The start is (1 − b/2) of the restored weights and b/8 of fresh ones, and unseen
rows make up (b + √b)/2 of each batch. What has few old rows, or none, learns at a fraction of the declared rate.
A version that was retrained before has been unlearned enough: the next time it starts from its weights as they are, at
`AGAIN` of the rate. Where outputs are classes, all of them known, nothing is unlearned, and rates do not grow with b.
New classes want features that nobody has learned: the start is (1 − 1.2 b) of the restored weights and b of fresh ones,
whatever was before. The experiments are in `docs/retraining.md` and `docs/experiments/classes-and-chains.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gitdata.training.declaration import Declaration
from gitdata.training.package import Package
from gitdata.training.retraining import ANEW, Method
from gitdata.training.settings import Optimizer, Schedule

USUAL_RATE = 1e-3
ADAMS = ("adam", "adamw", "nadam", "adabelief")
AGAIN = 0.5
OF_KNOWN_CLASSES = 0.25  # of the declared rate, for distil
OF_OTHERS = 0.6  # of the declared rate, where nobody knows what is usual
RATES = {"lwf": 0.1, "replay": 0.1, "l2sp": 0.3, "ewc": 0.3, "derpp": 0.3}  # of the declared one


@dataclass(frozen=True, slots=True)
class Footing:
    """What is gone on from: whether it `was_retrained`, rather than trained anew, and is to learn `new_classes`."""

    was_retrained: bool = False
    new_classes: bool = False

    @classmethod
    def of(cls, restored: Package | None, grown: Package | None) -> Footing:
        """Of the restored version, and of the same with outputs for new classes, if there are any."""
        made = {} if restored is None else restored.manifest
        anew = restored is None or made.get("kept", made.get("method")) in ANEW
        return cls(not anew, grown is not None and grown is not restored)


def settled(method: Method, declaration: Declaration, unseen_share: float, footing: Footing = Footing()) -> Method:
    """The method with what it leaves open filled in; what retraining is declared to do by hand stays declared."""
    manual = declaration.retraining if declaration.retraining.type == "manual" else None
    known = "numbers" not in declaration.kinds and not footing.new_classes
    usual = _usual(method.name, declaration.training.optimizer, unseen_share, footing, known)
    if manual and manual.optimizer:
        usual["rate"] = 1.0
    if manual and manual.schedule:
        usual["schedule"] = None
    return method.model_copy(update={key: value for key, value in usual.items() if getattr(method, key) is None})


def _usual(
    name: str, optimizer: Optimizer, share: float, footing: Footing, known: bool
) -> dict[str, float | Schedule | None]:
    """`known`: whether outputs are classes, and none of them new."""
    if name == "rehearse":
        between = (USUAL_RATE / optimizer.learning_rate) ** 0.5 if optimizer.name in ADAMS else OF_OTHERS
        rate, shrink, perturb = _rehearsed(share, footing, known)
        return {
            "rate": rate * between,
            "shrink": shrink,
            "perturb": perturb,
            "schedule": Schedule(name="wsd"),
            "unseen": (share + share**0.5) / 2,
        }
    distilled = OF_KNOWN_CLASSES if known else 0.2 + 0.75 * share
    rate = distilled if name == "distil" else RATES.get(name, 1.0)
    return {"rate": rate, "shrink": 1.0, "perturb": 0.0, "schedule": None}


def _rehearsed(share: float, footing: Footing, known: bool) -> tuple[float, float, float]:
    """The rate of `rehearse` in usual ones, and how much of the restored weights and of fresh ones it starts from."""
    if footing.new_classes:
        return 1 + 3 * share, max(0.0, 1 - 1.2 * share), share
    if known:
        return 1.0, 1.0, 0.0
    if footing.was_retrained:
        return AGAIN * (1 + 3 * share), 1.0, 0.0
    return 1 + 3 * share, 1 - share / 2, share / 8
