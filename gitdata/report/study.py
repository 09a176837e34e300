"""A study as people read it: a table, what follows from it in a sentence, and a plot of accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gitdata.commands.records import Record
from gitdata.errors import Mendable
from gitdata.report.tables import number, plural

HEADINGS = ("method", "loss", "÷ union", "earlier rows ÷ union", "steps ÷ union", "rows read", "seconds", "forgetting")
PLOTS = (".svg", ".png", ".pdf")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")  # Okabe & Ito
MARKERS = "osD^vP*X"


def study_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row for each method that came to the end, the cheapest first."""
    return [_row(record) for record in _whole(records)]


def _row(record: Record) -> list[str]:
    end, later = record["stages"][-1], record["stages"][1:]
    return [
        record["method"],
        _with_interval(end["loss"]),
        _with_interval(end["ratio"]),
        _with_interval(end["ratio_before"]),
        number(record["steps_ratio"]),
        f"{sum(stage['rows_read'] for stage in later):,.0f}",
        f"{sum(stage['seconds'] for stage in later):.1f}",
        number(record["forgetting"]),
    ]


def conclusion(records: Sequence[Record]) -> list[str]:
    """What was compared, what follows from it, and which methods did not come to an end."""
    return [*_compared(records), *_stopped(records)]


def _compared(records: Sequence[Record]) -> list[str]:
    whole = _whole(records)
    if not whole:
        return []
    first = whole[0]
    base, *later = first["extensions"]
    lines = [
        f"{', '.join(base)}, and {plural(len(later), 'stage')} after it up to {later[-1][-1]}; "
        f"{first['metric']} on the test rows of all of them; {plural(first['seeds'], 'seed')}."
    ]
    near = [one for one in whole if one["method"] != "union" and _ratio(one) <= 1 + first["tolerance"]]
    others = [one for one in whole if one["method"] != "union" and one not in near]
    if near:
        lines.append(
            f"Within {first['tolerance']:.0%} of union training at the least cost: {near[0]['method']}, "
            f"at {near[0]['steps_ratio']:.0%} of its steps."
        )
    elif others:
        best = min(others, key=_ratio)
        lines.append(
            f"None is within {first['tolerance']:.0%} of union training; the nearest is {best['method']}, "
            f"{_ratio(best):.3g} × its loss at {best['steps_ratio']:.0%} of its steps."
        )
    return lines


def _stopped(records: Sequence[Record]) -> list[str]:
    return [f"{record['method']}: {message}" for record in records for message in record["stopped"]]


def _whole(records: Sequence[Record]) -> list[Record]:
    """Those that came to the end, the cheapest first."""
    return sorted((one for one in records if one["seeds"]), key=lambda one: one["steps_ratio"])


def _ratio(record: Record) -> float:
    found = record["stages"][-1]["ratio"]
    return float("inf") if found is None else float(found["mean"])


def _with_interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    if found["low"] is None:
        return f"{found['mean']:.3f}"
    return f"{found['mean']:.3f} ± {found['high'] - found['mean']:.3f}"


# --- the plot ------------------------------------------------------------------------------------------------


def require_plottable(path: Path) -> None:
    """Raises Mendable where there is no such kind of plot, or nowhere to put it; before anything is computed."""
    if path.suffix.lower() not in PLOTS:
        raise Mendable(f"There are no plots of the kind '{path.suffix or path.name}'.", f"Kinds: {', '.join(PLOTS)}.")
    if not path.absolute().parent.is_dir():
        raise Mendable(f"There is no folder '{path.parent}' for the plot.", "Make it, or name another.")


def plotted(records: Sequence[Record], path: Path) -> None:
    """Loss against cost at the end of the chain, and loss along it, both ÷ those of union training."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "gitdata"  # equal studies are equal files
    whole = _whole(records)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for place, record in enumerate(whole):
        style: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "label": record["method"],
        }
        _draw(left, [record["steps_ratio"]], [record["stages"][-1]["ratio"]], {**style, "linestyle": "none"})
        later = record["stages"][1:]
        _draw(right, list(range(1, len(later) + 1)), [stage["ratio"] for stage in later], style)
    left.set_xlabel("gradient steps ÷ union training every time")
    right.set_xlabel("extension")
    right.set_xticks(range(1, len(whole[0]["stages"])) if whole else [])
    for axes in (left, right):
        _dress(axes, whole)
    left.set_ylabel(f"{whole[0]['metric'] if whole else 'loss'} on test rows ÷ union training")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    figure.savefig(path, metadata=metadata, dpi=150)
    pyplot.close(figure)


def _draw(axes: Any, x: Sequence[float], intervals: Sequence[Mapping[str, Any] | None], style: dict[str, Any]) -> None:
    known = [(at, found) for at, found in zip(x, intervals, strict=True) if found is not None]
    means = [found["mean"] for _, found in known]
    halves = [0.0 if found["high"] is None else found["high"] - found["mean"] for _, found in known]
    axes.errorbar([at for at, _ in known], means, yerr=halves, capsize=3, markersize=6, linewidth=1.2, **style)


def _dress(axes: Any, whole: Sequence[Record]) -> None:
    """What both sides have: where union training lies, with the tolerance above it, and no more ink than that."""
    means = [s["ratio"]["mean"] for one in whole for s in one["stages"][1:] if s["ratio"] is not None]
    if means and max(means) > 3 * min(means) > 0:
        axes.set_yscale("log")
    tolerance = whole[0]["tolerance"] if whole else 0.0
    axes.axhspan(1, 1 + tolerance, color="#dddddd", linewidth=0)
    axes.axhline(1, color="#888888", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
