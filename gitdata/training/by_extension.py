"""By extension: how well a version answers the test rows that each extension brought.

It is a row of the matrix R (measures.py). Losses are the gate's, of mae, mse and rmse in standard deviations of these
very rows, so that everybody is measured on them by the same yardstick; of rows that are all alike, in those of all test
rows. Beside each stands the loss of a *constant* answer: the mean, or the classes as often as they occur.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training.declaration import Declaration
from gitdata.training.metrics import Answers, ClassAnswer, NumberAnswer, class_losses
from gitdata.training.preprocessing import transformed

Columns = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]

MOST = 100  # extensions; of more, the last


def by_extension(
    answers: Answers, columns: Columns, extensions: NDArray[Any], declaration: Declaration
) -> dict[str, dict[str, Any]]:
    """By id, in the order of the rows: `loss`, `constant`, the number of `rows`; `extensions`: ids, shape (rows,)."""
    truths = {
        name: transformed(columns[name], declaration.data.transform_of(name), name).reshape(len(extensions), -1)
        for name, answer in answers.items()
        if isinstance(answer, NumberAnswer)
    }
    found = {}
    for id in list(dict.fromkeys(extensions.tolist()))[-MOST:]:
        rows = np.asarray(extensions == id)
        losses = [
            _losses(answer.of(rows), truths.get(name), rows, declaration, name) for name, answer in answers.items()
        ]
        loss, constant = (float(np.concatenate(sides, axis=1).mean()) for sides in zip(*losses, strict=True))
        if declaration.metric == "rmse":
            loss, constant = float(np.sqrt(loss)), float(np.sqrt(constant))
        found[str(id)] = {"constant": constant, "loss": loss, "rows": int(rows.sum())}
    return found


def _losses(
    answer: NumberAnswer | ClassAnswer,
    truth: Numbers | None,
    rows: NDArray[np.bool_],
    declaration: Declaration,
    name: str,
) -> tuple[Numbers, Numbers]:
    """Of the rows of one extension, by what was answered and by the constant answer, shape (rows, numbers)."""
    metric = declaration.metric_of(name)
    if isinstance(answer, ClassAnswer):
        return class_losses(answer, metric)[:, None], _constant_class_losses(answer, metric)[:, None]
    assert truth is not None
    of_all, own = truth.std(axis=0), truth[rows].std(axis=0)
    of_all = np.where(of_all > 0, of_all, 1.0)
    scale = np.where(own > 0, own, of_all)
    sides = answer.errors * (of_all / scale), (truth[rows] - truth[rows].mean(axis=0)) / scale
    return (np.abs(sides[0]), np.abs(sides[1])) if metric == "mae" else (sides[0] ** 2, sides[1] ** 2)


def _constant_class_losses(answer: ClassAnswer, metric: str) -> Numbers:
    """Of answering every row with the classes as often as they occur; of accuracy, with the most frequent one."""
    codes, places, counts = np.unique(answer.codes[answer.counts], return_inverse=True, return_counts=True)
    losses = np.zeros(len(answer.codes))
    if len(codes):
        shares = counts / counts.sum()
        losses[answer.counts] = (places != counts.argmax()) if metric == "accuracy" else -np.log(shares[places])
    return losses
