"""How often the drift test is wrong, on real data: `python tests/benchmarks/drift.py [--splits N] [--data FOLDER]`.

Every data set is split into base and extension, N times at random (groups that belong together, as the rows of one run
or of one input, stay together) and once sorted by the first input, the largest values in the extension. Drift is tested
from the base's summary: of the whole base at once, and added up from eleven parts, as after ten extensions. Intervals
of the rate of false alarms are those of Clopper and Pearson, 95 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
import datasets

from gitdata.training.shift import Shift, drift
from gitdata.training.summary import Summary

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def summary_of(data: datasets.Dataset, rows: np.ndarray, parts: int) -> Summary:
    """Added up from so many parts, in their order."""
    summaries = [Summary.of(data.select(part), data.inputs, data.outputs) for part in np.array_split(rows, parts)]
    found = summaries[0]
    for summary in summaries[1:]:
        found += summary
    return found


def tested(data: datasets.Dataset, split: tuple[np.ndarray, np.ndarray], parts: int) -> Shift:
    base, extension = split
    return drift(summary_of(data, base, parts), data.select(extension))


def interval(alarms: int, splits: int) -> str:
    low = stats.beta.ppf(0.025, alarms, splits - alarms + 1) if alarms else 0.0
    high = stats.beta.ppf(0.975, alarms + 1, splits - alarms) if alarms < splits else 1.0
    return f"{alarms / splits:.1%} [{low:.1%}, {high:.1%}]"


def report(name: str, data: datasets.Dataset, share: float, splits: int) -> int:
    alarms, shifts = [0, 0], []
    for seed in range(splits):
        split = data.at_random(share, seed)
        shifts.append(tested(data, split, 1))
        alarms[0] += shifts[-1].drifted
        alarms[1] += tested(data, split, 11).drifted
    found = [tested(data, data.sorted(share), parts) for parts in (1, 11)]
    units = f"{np.mean([s.units_seen for s in shifts]):.0f} / {np.mean([s.units_new for s in shifts]):.0f}"
    least = max(min(field.adjusted for field in shift.fields) for shift in found)
    rates = " | ".join(interval(count, splits) for count in alarms)
    print(
        f"| {name} | {data.rows} | {share:.0%} | {units} | {rates} "
        f"| {'yes' if found[0].drifted else 'NO'} | {'yes' if found[1].drifted else 'NO'} | {least:.1e} |",
        flush=True,
    )
    return sum(alarms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--only", nargs="*", default=[name for name in datasets.LOADERS if name != "mnist10k"])
    options = parser.parse_args()
    print(f"{options.splits} random splits each.\n")
    print("| data | rows | extension | units, base / extension | false alarms | … after ten additions ", end="")
    print("| sorted found | … after ten | its p at most |\n|---|---|---|---|---|---|---|---|---|")
    started, alarms, tests = time.perf_counter(), 0, 0
    for name in options.only:
        data = datasets.load(name, options.data)
        for share in (0.4, 0.1, 0.05):
            alarms += report(name, data, share, options.splits)
            tests += 2 * options.splits
    print(f"\nAll together: {interval(alarms, tests)} false alarms of {tests}; {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
