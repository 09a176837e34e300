"""Remembering: what a version keeps of the rows that it came to know: their digests, a sample, and a summary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gitdata.training import reservoir
from gitdata.training.blocks import rows_of
from gitdata.training.declaration import Declaration
from gitdata.training.methods.occasion import Columns, TrainingData
from gitdata.training.package import Package, raw_outputs
from gitdata.training.reservoir import Reservoir
from gitdata.training.retraining import WHOLE
from gitdata.training.summary import Summary


def remembering(
    package: Package, method: str, trained_on: Columns, declaration: Declaration, data: TrainingData,
    restored: Package | None,
) -> Package:  # fmt: skip
    """The package with what it is to remember; `restored`: the version that it goes on from, if one is."""
    if data.digests is None:
        return package
    before = restored.trained_rows if restored is not None else np.empty(0, np.uint64)
    known = np.union1d(data.digests(trained_on), before) if rows_of(trained_on) else before
    return replace(
        package,
        trained_rows=known,
        reservoir=_sample(package, method, trained_on, declaration, data, restored),
        summary=_summary(package, method, trained_on, data, restored),
    )


def _summary(
    package: Package, method: str, trained_on: Columns, data: TrainingData, restored: Package | None
) -> Summary | None:
    """Of all rows where these were read, else that of the restored version and of the new ones."""
    old = None if method in WHOLE or restored is None else restored.summary
    new = trained_on if method in WHOLE else data.unseen()
    if old is None and method not in WHOLE:
        return None
    if not rows_of(new):
        return old
    fields = package.preprocessing
    found = Summary.of(new, [field.name for field in fields.inputs], [field.name for field in fields.outputs])
    return found if old is None else old + found


def _sample(
    package: Package, method: str, trained_on: Columns, declaration: Declaration, data: TrainingData,
    restored: Package | None,
) -> Reservoir | None:  # fmt: skip
    """Of all rows where these were read, else of the new ones and of the restored version's own sample."""
    share = declaration.retraining.reservoir
    old = None if method in WHOLE or restored is None else restored.reservoir
    if not share or data.digests is None or (old is None and method not in WHOLE):
        return None  # a sample of the new rows alone would pass for one of all
    new = [(trained_on, False), (data.validation(), True)]
    if method not in WHOLE:
        new = [(data.unseen(), False), ((data.unseen_validation or data.validation)(), True)]
    new = [part for part in new if rows_of(part[0])]
    if not new:
        return old
    names = [field.name for field in (*package.preprocessing.inputs, *package.preprocessing.outputs)]
    return _answered(reservoir.drawn(names, new, data.digests, share, old), old, package)


def _answered(found: Reservoir, old: Reservoir | None, package: Package) -> Reservoir:
    """With what the version puts out for rows that are new; those that were there keep what they had."""
    if not len(found.digests):
        return found.answered(np.empty((0, package.preprocessing.output_width), np.float32))
    answers = raw_outputs(package, found.columns)
    if old is not None and len(old.digests) and old.answers.shape[1:] == answers.shape[1:]:
        place = np.searchsorted(old.digests, found.digests).clip(max=len(old.digests) - 1)
        known = old.digests[place] == found.digests
        answers[known] = old.answers[place[known]]
    return found.answered(answers)
