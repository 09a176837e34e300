"""What `gitdata demo` shows at its end: a table of the pushes, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence

from gitdata.commands.records import Record
from gitdata.report.tables import number, print_table

HEADINGS = (
    "extension",
    "rows",
    "method",
    "rows read",
    "steps",
    "seconds",
    "MAE W_max",
    "MAE P_peak",
    "verdict",
)


def print_demo(records: Sequence[Record]) -> None:
    """The table, one line a push, and the next commands."""
    steps = [record for record in records if record.kind == "demo step"]
    places = records[-1]
    print()
    print_table(HEADINGS, [_row(step) for step in steps], right=(1, 3, 4, 5))
    print("rows: train + validation + test. rows read: train rows, over all rungs. steps: gradient steps, and their")
    print("share of training on everything anew. MAE: before → after, on the same test rows, original units.")
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


def _row(step: Record) -> list[str]:
    rows = step["rows"]
    share = 100 * step["steps"] / step["union_steps"]
    return [
        step["extension"],
        f"{rows.get('train', 0)}+{rows.get('validation', 0)}+{rows.get('test', 0)}",
        step["method"],
        str(step["rows_read"]),
        f"{step['steps']} ({share:.0f} %)",
        f"{step['seconds']:.1f}",
        _change(step, "W_max"),
        _change(step, "P_peak"),
        step["verdict"] + (" ★" if step["champion"] else ""),
    ]


def _change(step: Record, output: str) -> str:
    before = number(step["mae_before"][output]) if step["mae_before"] else "–"
    return f"{before} → {number(step['mae_after'][output]) if step['mae_after'] else '–'}"
