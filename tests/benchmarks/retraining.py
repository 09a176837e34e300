"""Methods of retraining beside training anew: `python tests/benchmarks/retraining.py [--seeds N] [--data FOLDER]`.

Every chain of `scenarios` is gone through by every method and from every seed, each with splits of its own. Union
training has, of each data set, the learning rate and schedule that are best on validation rows, and so have all others,
whose rules begin there. Prints the Markdown that stands in docs/benchmarks.md; `--keep FOLDER` keeps results there, and
goes on with them.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as in training processes; JAX reads it when it is imported
sys.path.insert(0, str(Path(__file__).parent))
import scenarios
from scenarios import Scenario, datasets

from gitdata.commands.engine import compile_cache
from gitdata.errors import GitdataError
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


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the data lies, and where results are kept, if anywhere."""

    data: Path
    keep: Path | None
    seeds: int

    def kept(self, key: Sequence[object], compute: Callable[[], Any]) -> Any:
        """What was computed once, as JSON has it."""
        if self.keep is None:
            return json.loads(json.dumps(compute()))
        path = self.keep / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.json"
        if not path.exists():
            self.keep.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(compute()))
        return json.loads(path.read_text())

    def dataset(self, scenario: Scenario) -> datasets.Dataset:
        return datasets.load(scenario.data, self.data)

    # --- tuning ----------------------------------------------------------------------------------------------

    def tuned(self, scenario: Scenario) -> tuple[float, str]:
        """The rate and schedule by which union training answers validation rows best."""
        losses = self.kept(("tuned", scenario.data, scenario.epochs), lambda: self._losses(scenario))
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

    def paths(self, scenario: Scenario, methods: Sequence[str]) -> dict[str, list[Path_]]:
        """Of every method and seed a point for each stage."""
        settings = self.tuned(scenario)
        found: dict[str, list[Path_]] = {method: [] for method in methods}
        for seed in range(self.seeds):
            going = _Going(scenario, self.dataset(scenario), settings, seed)
            for method in methods:
                key = (scenario.name, scenario.epochs, method, seed, *settings)
                found[method].append(self.kept(key, partial(going.path, method)))
        return found


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
        package, point = self.base
        points = [point]
        for place in range(1, len(self.stages)):
            package, point = self.at(place, method, package)
            points.append(point)
        return [asdict(point) for point in points]

    def at(self, place: int, method: str, package: Package | None) -> tuple[Package, Point]:
        declared = scenarios.declaration(self.scenario, self.own, *self.settings)
        declared = on_its_way(declared, (Method(name=method),), self.seed)
        (found,) = travel([Traveller(declared, self.stages, scenarios.digests(self.own), package)], place)
        if isinstance(found, GitdataError):
            raise found
        return found


# --- what is reported ----------------------------------------------------------------------------------------


def ratio(own: Sequence[float], union: Sequence[float]) -> str:
    """The geometric mean of paired ratios, with an interval of 95 % by Student's t."""
    logs = np.log(np.array(own) / np.array(union))
    return _with_interval(Interval.of(logs.tolist()), np.exp, "{:.3f}")


def points(own: Sequence[float], union: Sequence[float]) -> str:
    """By how many points of accuracy it is better than union training, likewise."""
    return _with_interval(Interval.of((100 * (np.array(union) - np.array(own))).tolist()), float, "{:+.2f}")


def _with_interval(found: Interval | None, turn: Callable[[float], float], form: str) -> str:
    assert found is not None
    if found.low is None or found.high is None:
        return form.format(turn(found.mean))
    return f"{form.format(turn(found.mean))} [{form.format(turn(found.low))}, {form.format(turn(found.high))}]"


def losses(paths: Sequence[Path_], place: int = -1) -> list[float]:
    return [path[place]["loss"] for path in paths]


def steps_ratio(paths: Sequence[Path_]) -> float:
    later = [point for path in paths for point in path[1:]]
    return sum(point["steps"] for point in later) / sum(point["union_steps"] for point in later)


def total(paths: Sequence[Path_], name: str) -> float:
    return sum(point[name] for path in paths for point in path[1:]) / len(paths)


def cell_lines(bench: Bench, chosen: Sequence[Scenario]) -> Iterator[str]:
    """The cells of one extension, regression."""
    yield f"| data | extension | union: rate, schedule, test error | {' | '.join(OTHERS)} | steps of auto |"
    yield "|---" * (len(OTHERS) + 4) + "|"
    for scenario in chosen:
        paths = bench.paths(scenario, METHODS)
        rate, schedule = bench.tuned(scenario)
        union = losses(paths["union"])
        ratios = " | ".join(ratio(losses(paths[method]), union) for method in OTHERS)
        yield (
            f"| {scenario.data} | {scenario.share:.0%} {scenario.growth} | {rate:g}, {schedule}, {np.mean(union):.4f} "
            f"| {ratios} | {steps_ratio(paths['auto']):.2f} |"
        )


def chain_lines(bench: Bench, scenario: Scenario) -> Iterator[str]:
    """A chain of several extensions, a line for each."""
    paths = bench.paths(scenario, METHODS)
    rate, schedule = bench.tuned(scenario)
    how = points if scenario.is_classification else ratio
    what = "points of accuracy above union" if scenario.is_classification else "test error ÷ union"
    yield f"{scenario.name}: union has {rate:g}, {schedule}; {what}."
    yield ""
    yield f"| after extension | union's error | {' | '.join(OTHERS)} |"
    yield "|---" * (len(OTHERS) + 2) + "|"
    for place in range(1, len(paths["union"][0])):
        union = losses(paths["union"], place)
        cells = " | ".join(how(losses(paths[method], place), union) for method in OTHERS)
        yield f"| {place} | {np.mean(union):.4f} | {cells} |"
    for name, title in (("steps", "steps ÷ union's"), ("rows_read", "rows read"), ("seconds", "seconds")):
        cells = [
            f"{steps_ratio(paths[method]):.2f}" if name == "steps" else f"{total(paths[method], name):,.1f}"
            for method in ("union", *OTHERS)
        ]
        yield f"| {title} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--only", nargs="*", help="names of data sets")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    prepare(compile_cache())
    bench = Bench(options.data, options.keep, options.seeds)
    chosen = [each for each in scenarios.scenarios() if not options.only or each.data in options.only]
    print(f"{options.seeds} seeds; {', '.join(f'{name} {version}' for name, version in made_by().items())}\n")
    for line in cell_lines(bench, [each for each in chosen if each.share is not None]):
        print(line, flush=True)
    for scenario in chosen:
        if scenario.share is None:
            print()
            for line in chain_lines(bench, scenario):
                print(line, flush=True)


if __name__ == "__main__":
    main()
