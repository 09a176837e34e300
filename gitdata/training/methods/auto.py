"""auto: which methods are tried, and in what order.

Where the rows of what was seen are on this machine, `rehearse` comes first: it reads all of them, and forgets nothing.
Where they are not, `distil` does with what travels in the package, and `rehearse`, which fetches them, comes after it.
Where too little was seen for a reservoir there is nothing to be saved. `keep` is a rung of every climb: a version that
surely answers the validation rows worse than the one that it would replace is not taken.
"""

from __future__ import annotations

from gitdata.training.blocks import rows_of
from gitdata.training.methods.occasion import TrainingData
from gitdata.training.package import Package
from gitdata.training.retraining import Method


def rungs(data: TrainingData, restored: Package) -> tuple[Method, ...]:
    """The methods to try, cheapest first, before `keep`."""
    bounded = restored.reservoir is not None and rows_of(restored.reservoir.trained) > 0
    if data.is_here or not bounded:
        return (Method(name="rehearse"),)
    return (Method(name="distil"), Method(name="rehearse"))
