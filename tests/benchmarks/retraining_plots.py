"""The plots of docs/retraining.md, drawn from what the benchmark of retraining found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from scenarios import Scenario

from gitdata.report.study import COLOURS, MARKERS

mpl.use("agg")
mpl.rcParams["svg.hashsalt"] = "gitdata"

SHOWN = ("keep", "finetune", "replay", "distil", "rehearse")
TITLES = {"same": "same distribution", "new": "new domain"}

Paths = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]


def draw(found: Mapping[Scenario, Paths], folder: Path) -> None:
    cells = {scenario: paths for scenario, paths in found.items() if scenario.share is not None}
    chains = {scenario: paths for scenario, paths in found.items() if scenario.share is None}
    if cells:
        _save(_cost(cells), folder / "retraining-cost.svg")
    if chains:
        _save(_chains(chains), folder / "retraining-chains.svg")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _cost(cells: Mapping[Scenario, Paths]) -> Any:
    """Test error against gradient steps, both ÷ union's; a small mark is a cell, a large one a method's mean."""
    figure, sides = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
    for axes, growth in zip(sides, TITLES, strict=True):
        own = [paths for scenario, paths in cells.items() if scenario.growth == growth]
        for place, method in enumerate(SHOWN):
            style = {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": "none"}
            x = [_total(paths[method], "steps") / _total(paths["union"], "steps") for paths in own]
            y = [np.exp(np.mean(np.log(_ratios(paths, method, -1)))) for paths in own]
            axes.plot(x, y, markersize=4, alpha=0.45, **style)
            axes.plot([np.mean(x)], [np.exp(np.mean(np.log(y)))], markersize=10, label=method, **style)
        axes.set(title=TITLES[growth], xlabel="gradient steps ÷ union", yscale="log")
        axes.set_yticks([1, 1.5, 2, 3, 5, 10, 20], ["1", "1.5", "2", "3", "5", "10", "20"], minor=False)
        axes.minorticks_off()
        _dress(axes, 1.0)
    sides[0].set_ylabel("test error ÷ union")
    figure.legend(*sides[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _chains(chains: Mapping[Scenario, Paths]) -> Any:
    figure, rows = pyplot.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    for axes, (scenario, paths) in zip(rows.ravel(), chains.items(), strict=False):
        stages = range(1, len(paths["union"][0]))
        for place, method in enumerate(SHOWN):
            difference = _points if scenario.is_classification else _ratios
            y = np.array([difference(paths, method, stage) for stage in stages])
            half = 1.96 * y.std(axis=1, ddof=1) / y.shape[1] ** 0.5 if y.shape[1] > 1 else np.zeros(len(y))
            color = COLOURS[place]
            axes.plot(stages, y.mean(axis=1), color=color, marker=MARKERS[place], markersize=4, label=method)
            axes.fill_between(
                stages, y.mean(axis=1) - half, y.mean(axis=1) + half, color=color, alpha=0.15, linewidth=0
            )
        what = "accuracy − union, points" if scenario.is_classification else "test error ÷ union"
        axes.set(title=scenario.name, xlabel="extension", ylabel=what, xticks=list(stages))
        if scenario.is_classification:
            axes.set_ylim(-25, 3)
        elif axes.get_ylim()[1] > 3:
            axes.set_yscale("log")
            axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
            axes.minorticks_off()
        _dress(axes, 0.0 if scenario.is_classification else 1.0)
    figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SHOWN), frameon=False)
    return figure


def _dress(axes: Any, union: float) -> None:
    axes.axhline(union, color="#555555", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _total(paths: Sequence[Sequence[Mapping[str, Any]]], name: str) -> float:
    return sum(point[name] for path in paths for point in path[1:])


def _ratios(paths: Paths, method: str, place: int) -> list[float]:
    return [own[place]["loss"] / union[place]["loss"] for own, union in zip(paths[method], paths["union"], strict=True)]


def _points(paths: Paths, method: str, place: int) -> list[float]:
    pairs = zip(paths[method], paths["union"], strict=True)
    return [100 * (union[place]["loss"] - own[place]["loss"]) for own, union in pairs]
