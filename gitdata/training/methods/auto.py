"""auto: which methods are tried, and in what order.

Where the rows of what was seen are on this machine, `rehearse` comes first: it reads all of them, and forgets nothing.
Where they are not, `distil` does with what travels in the package, and `rehearse`, which fetches them, comes after it;
where much is unseen it comes first, since there `distil` loses a tenth, and comes in where nothing can be fetched.
Where too little was seen for a reservoir there is nothing to be saved. Where so much is unseen that `rehearse` would
take as many steps as a training anew, `union` stands in its place. `keep` is a rung of every climb: a version that
surely answers the validation rows worse than the one that it would replace is not taken.

Of drift one kind decides: where an input hardly varied before and does now, what was seen is fetched, since only who
reads all rows can learn it anew (`rescaling`). In a new domain of inputs that varied before `distil` does as well as in
the old one (docs/benchmarks.md); such drift is told.
"""

from __future__ import annotations

from gitdata.training.blocks import rows_of
from gitdata.training.methods.news import News
from gitdata.training.methods.occasion import SPARE, TrainingData
from gitdata.training.package import Package
from gitdata.training.retraining import Method

MUCH = 0.25  # of the train rows: where more is unseen, what was seen is fetched


def rungs(data: TrainingData, restored: Package, news: News) -> tuple[Method, ...]:
    """The methods to try, in this order, before `keep`."""
    whole = Method(name="union" if _costs_a_union(data) else "rehearse")
    if data.is_here or not _has_sample(restored):
        return (whole,)
    bounded = Method(name="distil")
    return (whole, bounded) if data.unseen_share > MUCH or news.varying else (bounded, whole)


def why(data: TrainingData, restored: Package, news: News) -> str:
    """A sentence on what the first of these follows from."""
    first = rungs(data, restored, news)[0].name
    where = "is here" if data.is_here else "would have to be fetched" if first == "distil" else "is fetched"
    if not data.is_here and not _has_sample(restored):
        where += ", no sample of it being in the package"
    unseen = f"{data.unseen_share:.0%} of the train rows are unseen"
    cost = ", so that a training anew costs no more" if _costs_a_union(data) else ""
    drift = "" if news.outside is None else "; they have drifted" if news.drifted else "; no drift was found"
    drift += f", and {', '.join(news.varying)} varies now" if news.varying else ""
    return f"auto begins with {first}: what was seen {where}; {unseen}{cost}{drift}."


def _has_sample(restored: Package) -> bool:
    return restored.reservoir is not None and rows_of(restored.reservoir.trained) > 0


def _costs_a_union(data: TrainingData) -> bool:
    """Whether going on takes as many steps as a training anew."""
    return data.unseen_share + SPARE >= 1
