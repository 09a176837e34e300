"""Methods of retraining beside training anew: `python tests/benchmarks/retraining.py [--seeds N] [--data FOLDER]`.

Every chain of `scenarios` is gone through by every method and from every seed, each with splits of its own. Union
training has, of each data set, the learning rate and schedule that are best on validation rows, and so have all others,
whose rules begin there. Prints the Markdown that stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as in training processes; JAX reads it when it is imported
sys.path.insert(0, str(Path(__file__).parent))
import retraining_plots
import scenarios
from scenarios import Scenario, datasets

from gitdata import durable
from gitdata.commands.engine import compile_cache
from gitdata.errors import GitdataError
from gitdata.training import across, gate
from gitdata.training.across import Interval
from gitdata.training.blocks import joined, rows_of
from gitdata.training.declaration import Declaration, Method
from gitdata.training.environment import prepare
from gitdata.training.methods.running import made_by
from gitdata.training.package import Package
from gitdata.training.study import Point, Stage, Traveller, on_its_way, travel

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
SCHEDULES = ("constant", "cosine", "wsd")
TUNING_SEEDS = (1001, 1002, 1003)
METHODS = ("keep", "finetune", "replay", "distil", "rehearse", "auto", "union")
OTHERS = METHODS[:-1]

Path_ = list[dict[str, Any]]  # a point for each stage, as JSON has it
Paths = dict[str, list[Path_]]  # by method, one of each seed


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the data lies, and where results are kept."""

    data: Path
    keep: Path
    seeds: int

    def kept(self, key: Sequence[object], compute: Callable[[], Any]) -> Any:
        """What was computed once, as JSON has it."""
        path = self.keep / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.json"
        if not path.exists():
            prepare(compile_cache())
            durable.write(path, json.dumps(compute()).encode())
        return json.loads(path.read_text())

    def dataset(self, scenario: Scenario) -> datasets.Dataset:
        return datasets.load(scenario.data, self.data)

    # --- tuning ----------------------------------------------------------------------------------------------

    def tuned(self, scenario: Scenario) -> tuple[float, str]:
        """The rate and schedule by which union training answers validation rows best."""
        losses = self.kept(("tuned", scenario.data), lambda: self._losses(scenario))
        rate, schedule, _ = min(losses, key=lambda found: found[2])
        return rate, schedule

    def _losses(self, scenario: Scenario) -> list[tuple[float, str, float]]:
        own = self.dataset(scenario)
        found = []
        for rate, schedule in itertools.product(RATES, SCHEDULES):
            declared = scenarios.declaration(scenario, own, rate, schedule)
            losses = [self._validation_loss(scenario, own, declared, seed) for seed in TUNING_SEEDS]
            found.append((rate, schedule, float(np.mean(losses))))
        return found

    @staticmethod
    def _validation_loss(scenario: Scenario, own: datasets.Dataset, declared: Declaration, seed: int) -> float:
        """What union training of all stages at once loses on the rows that are held out."""
        chain = scenarios.stages(scenario, own, seed)
        held = chain[-1].validation
        whole = Stage(joined([stage.train for stage in chain]), held, held, held, np.zeros(rows_of(held), int))
        way = on_its_way(declared, (Method(name="union"),), seed)
        (found,) = travel([Traveller(way, [whole], scenarios.digests(own))], 0)
        assert not isinstance(found, GitdataError)
        assert found[1].loss is not None
        return found[1].loss

    # --- going -----------------------------------------------------------------------------------------------

    def paths(self, scenario: Scenario) -> Paths:
        """Of every method and seed a point for each stage."""
        found: Paths = {method: [] for method in METHODS}
        for seed in range(self.seeds):
            for method, path in self.of_seed(scenario, seed).items():
                found[method].append(path)
        return found

    def of_seed(self, scenario: Scenario, seed: int) -> dict[str, Path_]:
        """Every method from one seed."""
        settings = self.tuned(scenario)
        going = _Going(scenario, self.dataset(scenario), settings, seed)
        key = (scenario.name, scenario.epochs, seed, *settings)
        return {method: self.kept((*key, method), partial(going.path, method)) for method in METHODS}

    def compute(self, chosen: Sequence[Scenario], jobs: int) -> None:
        """Have all paths kept, by so many processes; JAX must not be forked. What others made is not gone on with."""
        if self.kept(("made by",), made_by) != made_by():
            raise SystemExit(f"The results in {self.keep} are of other programs; name another folder.")
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            first = {scenario.data: scenario for scenario in chosen}  # tuned once
            list(pool.map(self.tuned, first.values()))
            every = [(scenario, seed) for scenario in chosen for seed in range(self.seeds)]
            list(pool.map(self.of_seed, *zip(*every, strict=True)))


@dataclass
class _Going:
    """One seed of a scenario: what all methods begin with is trained once."""

    scenario: Scenario
    own: datasets.Dataset
    settings: tuple[float, str]
    seed: int

    @cached_property
    def stages(self) -> list[Stage]:
        return scenarios.stages(self.scenario, self.own, self.seed)

    @cached_property
    def base(self) -> tuple[Package, Point]:
        return self.at(0, "union", None)

    def path(self, method: str) -> Path_:
        """A point for each stage, with what the gate says of the version beside the one before it."""
        package, point = self.base
        points = [asdict(point)]
        for place in range(1, len(self.stages)):
            before = package
            package, point = self.at(place, method, package)
            points.append(asdict(point) | self.beside(place, package, before))
        return points

    def at(self, place: int, method: str, package: Package | None) -> tuple[Package, Point]:
        declared = on_its_way(self.declared, (Method(name=method),), self.seed)
        (found,) = travel([Traveller(declared, self.stages, scenarios.digests(self.own), package)], place)
        if isinstance(found, GitdataError):
            raise found
        return found

    def beside(self, place: int, package: Package, before: Package) -> dict[str, bool]:
        """Whether the gate lets it pass, as by `undecided = "accept"`, and whether it is worse than the tolerance."""
        rows, declared = self.stages[place].test, self.declared
        own, other = (gate.row_losses(each, rows, declared) for each in (package, before))
        found = gate.judge(own, other, declared)
        worse = found.ratio > 1 + found.tolerance
        return {"promoted": found.verdict == "accepted" or (found.verdict == "undecided" and not worse), "worse": worse}

    @cached_property
    def declared(self) -> Declaration:
        return scenarios.declaration(self.scenario, self.own, *self.settings)


# --- what is reported ----------------------------------------------------------------------------------------


def losses(paths: Sequence[Path_], place: int = -1) -> list[float]:
    return [path[place]["loss"] for path in paths]


def gap(scenario: Scenario, paths: Paths, method: str, place: int = -1) -> Interval:
    """To union training, seed by seed: a ratio, or points of accuracy."""
    compare = across.points if scenario.is_classification else across.ratio
    found = compare(losses(paths[method], place), losses(paths["union"], place))
    assert found is not None
    return found


def shown(scenario: Scenario, found: Interval) -> str:
    form = "{:+.1f}" if scenario.is_classification else "{:.3f}"
    if found.low is None or found.high is None:
        return form.format(found.mean)
    return f"{form.format(found.mean)} [{form.format(found.low)}, {form.format(found.high)}]"


def total(paths: Sequence[Path_], name: str) -> float:
    """Of all stages after the first, the mean over seeds."""
    return sum(point[name] for path in paths for point in path[1:]) / len(paths)


def share(paths: Paths, method: str, name: str) -> float:
    """What a method takes ÷ what union training takes every time."""
    return total(paths[method], name) / total(paths["union"], name)


def cell_lines(bench: Bench, chosen: Mapping[Scenario, Paths]) -> Iterator[str]:
    """The cells of one extension, regression."""
    yield f"| data | extension | union: rate, schedule, test error | {' | '.join(OTHERS)} |"
    yield "|---" * (len(OTHERS) + 3) + "|"
    for scenario, paths in chosen.items():
        rate, schedule = bench.tuned(scenario)
        cells = " | ".join(shown(scenario, gap(scenario, paths, method)) for method in OTHERS)
        union = f"{rate:g}, {schedule}, {np.mean(losses(paths['union'])):.4f}"
        yield f"| {scenario.data} | {scenario.share:.0%} {scenario.growth} | {union} | {cells} |"


def method_lines(chosen: Mapping[Scenario, Paths]) -> Iterator[str]:
    """Over all cells of one extension: how each method does, and what it costs."""
    headings = (
        "method", "same distribution", "cells ≤ 1.00, ≤ 1.05", "new domain", "cells ≤ 1.00, ≤ 1.25", "steps ÷ union",
        "rows read ÷ union", "seconds ÷ union", "worse than before", "passes the gate",
    )  # fmt: skip
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for method in OTHERS:
        cells = []
        for growth, goal in (("same", 1.05), ("new", 1.25)):
            means = [gap(each, own, method).mean for each, own in chosen.items() if each.growth == growth]
            met = [f"{sum(mean <= limit + 5e-4 for mean in means)} of {len(means)}" for limit in (1.0, goal)]
            cells += [f"{np.exp(np.mean(np.log(means))):.3f} (at most {max(means):.3f})", ", ".join(met)]
        every = [path for own in chosen.values() for path in own[method]]
        for name in ("steps", "rows_read", "seconds"):
            cells.append(f"{np.mean([share(own, method, name) for own in chosen.values()]):.2f}")
        worse, passed = (sum(path[-1][name] for path in every) for name in ("worse", "promoted"))
        yield f"| {method} | {' | '.join(cells)} | {worse} of {len(every)} | {passed} |"


def chain_lines(bench: Bench, scenario: Scenario, paths: Paths) -> Iterator[str]:
    """A chain of several extensions, a line for each."""
    rate, schedule = bench.tuned(scenario)
    what = "points of accuracy above union" if scenario.is_classification else "test error ÷ union"
    yield f"**{scenario.name}**: union has {rate:g}, {schedule}; {what}."
    yield ""
    yield f"| after extension | union's error | {' | '.join(OTHERS)} |"
    yield "|---" * (len(OTHERS) + 2) + "|"
    for place in range(1, len(paths["union"][0])):
        cells = " | ".join(shown(scenario, gap(scenario, paths, method, place)) for method in OTHERS)
        yield f"| {place} | {np.mean(losses(paths['union'], place)):.4f} | {cells} |"
    for name, title in (("steps", "steps ÷ union"), ("rows_read", "rows read ÷ union"), ("seconds", "seconds ÷ union")):
        yield f"| {title} | 1 | {' | '.join(f'{share(paths, method, name):.2f}' for method in OTHERS)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="20 in full")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--only", nargs="*", choices=sorted({each.data for each in scenarios.scenarios()}))
    parser.add_argument("--keep", type=Path, help="a folder for results, to go on with")
    parser.add_argument("--plots", type=Path, help="a folder for plots")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.data, options.keep or Path(scratch), options.seeds)
        chosen = [each for each in scenarios.scenarios() if not options.only or each.data in options.only]
        bench.compute(chosen, options.jobs)
        found = {scenario: bench.paths(scenario) for scenario in chosen}
        report(bench, found)
    if options.plots:
        retraining_plots.draw(found, options.plots)


def report(bench: Bench, found: Mapping[Scenario, Paths]) -> None:
    print(f"{bench.seeds} seeds; {', '.join(f'{name} {version}' for name, version in made_by().items())}\n")
    cells = {scenario: paths for scenario, paths in found.items() if scenario.share is not None}
    if cells:
        print("\n".join([*method_lines(cells), "", *cell_lines(bench, cells)]))
    for scenario, paths in found.items():
        if scenario.share is None:
            print("\n".join(["", *chain_lines(bench, scenario, paths)]))


if __name__ == "__main__":
    main()
