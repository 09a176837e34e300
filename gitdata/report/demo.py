"""What `gitdata demo` shows at its end: a table of the pushes, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gitdata.commands.records import Record
from gitdata.report.tables import print_table, split_counts


def print_demo(records: Sequence[Record]) -> None:
    """The table, one line a push, and the next commands."""
    steps = [record for record in records if record.kind == "demo step"]
    places = records[-1]
    scales = {output: _exponent(steps, output) for output in steps[0]["mae_after"]}
    headings = ["lattice", "rows", "method", "read", "steps", "s"]
    headings += [f"{output}\nMAE×1e{exponent}" for output, exponent in scales.items()]
    print()
    print_table([*headings, "verdict"], [_row(step, scales) for step in steps], right=(1, 3, 4, 5))
    print("rows: train+validation+test. read: train rows, over all rungs. steps: gradient steps")
    print("over all rungs, as a share of training on everything anew. s: seconds from push to")
    print("champion. MAE: before → after, on the same test rows, in original units.")
    print(f"\n{steps[-1]['champions']} champions followed one another; ★ marks a new one.\n")
    incoming = f"{places.id}/incoming"
    print("Try next:")
    for line in (
        f"cd {places['clone']}",
        "gitdata status                          # what is here, what is pending",
        "gitdata log lattice                     # the chain of extensions",
        "gitdata models lattice                  # versions, verdicts, the champion",
        "git log --stat origin/gitdata/models    # the same, as git holds it",
        f"gitdata predict lattice {incoming}/{places['last']}/test.csv -o predicted.csv",
    ):
        print(f"  {line}")


def _exponent(steps: Sequence[Record], output: str) -> int:
    """The power of ten that the errors of an output are shown in."""
    return math.floor(math.log10(max(step["mae_after"][output] for step in steps)))


def _row(step: Record, scales: Mapping[str, int]) -> list[str]:
    return [
        step["extension"].rpartition("@")[2],
        split_counts(step["rows"]),
        step["method"],
        str(step["rows_read"]),
        f"{100 * step['steps'] / step['union_steps']:.0f} %",
        f"{step['seconds']:.1f}",
        *(_change(step, output, exponent) for output, exponent in scales.items()),
        step["verdict"] + (" ★" if step["champion"] else ""),
    ]


def _change(step: Record, output: str, exponent: int) -> str:
    before, after = ((step[key] or {}).get(output) for key in ("mae_before", "mae_after"))
    shown = ["–" if value is None else f"{value / 10**exponent:.2f}" for value in (before, after)]
    return "→".join(shown)
