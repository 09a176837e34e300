"""A study as people read it: a table, what follows from it in a sentence, and a plot of accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gitdata.commands.records import Record
from gitdata.errors import Mendable
from gitdata.report.tables import number, plural

PLOTS = (".svg", ".png", ".pdf")
NEAR = 1.0  # point of accuracy: who is not further from union training is near it

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")  # Okabe & Ito
MARKERS = "osD^vP*X"


def headings(records: Sequence[Record]) -> tuple[str, ...]:
    """Of the table; where errors are shares of wrong rows they are compared in points of accuracy."""
    loss, against = ("wrong", "points above union") if _by_points(records) else (records[0]["metric"], "÷ union")
    return ("method", loss, against, f"{against}, earlier rows", "steps ÷ union", "rows read", "forgetting")


def study_rows(records: Sequence[Record]) -> list[list[str]]:
    """A row for each method that came to the end, the cheapest first."""
    return [_row(record) for record in _whole(records)]


def _row(record: Record) -> list[str]:
    end, later = record["stages"][-1], record["stages"][1:]
    return [
        record["method"],
        _shown(end["loss"]),
        _shown(end["gap"]),
        _shown(end["gap_before"]),
        f"{record['steps_ratio']:.2f}",
        f"{sum(stage['rows_read'] for stage in later):,.0f}",
        number(record["forgetting"]),
    ]


def conclusion(records: Sequence[Record]) -> list[str]:
    """What was compared, what follows from it, and which methods did not come to an end."""
    whole = _whole(records)
    found = [_compared(whole[0]), *_nearest(whole)] if whole else []
    return [*found, *(f"{record['method']}: {text}" for record in records for text in record["stopped"])]


def _compared(record: Record) -> str:
    base, *later = record["extensions"]
    count = sum(map(len, later))
    joined = f" in {plural(len(later), 'stage')}" if count > len(later) else ""
    what = "share of wrong rows" if record["gap_in"] == "points" else record["metric"]
    rows = (
        "the test rows of all of them" if record["has_test_rows"] else "a tenth of the rows, there being no test rows"
    )
    chain = f"{', '.join(base)} and {plural(count, 'extension')} after it{joined}, up to {later[-1][-1]}"
    intervals = ", intervals of 95 %" if record["seeds"] > 1 else ""
    return f"{chain}; {what} on {rows}; {plural(record['seeds'], 'seed')}{intervals}."


def _nearest(whole: Sequence[Record]) -> list[str]:
    """The cheapest method that is near union training, surely or by its mean; else the one that is nearest."""
    others = [one for one in whole if one["method"] != "union" and one["stages"][-1]["gap"] is not None]
    if not others:
        return []
    near = [one for one in others if _lost(one, "mean") <= _allowed(one)]
    best = near[0] if near else min(others, key=lambda one: _lost(one, "mean"))
    steps = f"{best['method']}, at {best['steps_ratio']:.0%} of its steps"
    if not near:
        gap = best["stages"][-1]["gap"]["mean"]
        how = f"{gap:+.1f} points" if best["gap_in"] == "points" else f"{gap:.3g} × its error"
        return [f"None is within {_margin(best)} of union training; the nearest is {steps}: {how}."]
    sure = _lost(best, "worst") <= _allowed(best)
    doubt = "" if sure else ", by the mean; its interval reaches further: more --seeds tell more"
    return [f"Within {_margin(best)} of union training at the least cost: {steps}{doubt}."]


def _lost(record: Record, end: str) -> float:
    """By how much a method is behind union training, on average or at the worse end of its interval."""
    gap, sign = record["stages"][-1]["gap"], -1 if record["gap_in"] == "points" else 1
    bound = gap["low"] if record["gap_in"] == "points" else gap["high"]
    value = gap["mean"] if end == "mean" else bound
    return float("inf") if value is None else sign * float(value)


def _allowed(record: Record) -> float:
    return NEAR if record["gap_in"] == "points" else 1 + record["tolerance"]


def _margin(record: Record) -> str:
    return f"{NEAR:g} point" if record["gap_in"] == "points" else f"{100 * record['tolerance']:g} %"


def _whole(records: Sequence[Record]) -> list[Record]:
    """Those that came to the end, the cheapest first."""
    return sorted((one for one in records if one["seeds"]), key=lambda one: one["steps_ratio"])


def _by_points(records: Sequence[Record]) -> bool:
    return bool(records[0]["gap_in"] == "points")


def _shown(found: Mapping[str, Any] | None) -> str:
    """A mean, and its interval: ± where that lies evenly about it."""
    if found is None:
        return "–"
    mean, low, high = found["mean"], found["low"], found["high"]
    if low is None:
        return f"{mean:.3f}"
    if abs((high - mean) - (mean - low)) < 5e-4:
        return f"{mean:.3f} ± {high - mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


# --- the plot ------------------------------------------------------------------------------------------------


def require_plottable(path: Path) -> None:
    """Raises Mendable where there is no such kind of plot, or nowhere to put it; before anything is computed."""
    if path.suffix.lower() not in PLOTS:
        raise Mendable(f"There are no plots of the kind '{path.suffix or path.name}'.", f"Kinds: {', '.join(PLOTS)}.")
    if not path.absolute().parent.is_dir():
        raise Mendable(f"There is no folder '{path.parent}' for the plot.", "Make it, or name another.")


def plotted(records: Sequence[Record], path: Path) -> bool:
    """Error against cost at the end of the chain, and along it, beside union training; whether there was any to draw.

    Raises Mendable where the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "gitdata"  # equal studies are equal files
    whole = _whole(records)
    if not whole:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for place, record in enumerate(whole):
        style: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "label": record["method"],
        }
        aside = 0.006 * (place - len(whole) / 2)  # equal methods are not to hide each other
        _draw(left, [record["steps_ratio"] + aside], [record["stages"][-1]["gap"]], {**style, "linestyle": "none"})
        later = record["stages"][1:]
        _draw(right, [at + 4 * aside for at in range(1, len(later) + 1)], [stage["gap"] for stage in later], style)
    left.set_xlabel("gradient steps ÷ union training every time")
    right.set_xlabel("extension" if all(len(group) == 1 for group in whole[0]["extensions"]) else "stage")
    right.set_xticks(range(1, len(whole[0]["stages"])))
    for axes in (left, right):
        _dress(axes, whole)
    metric = whole[0]["metric"]
    left.set_ylabel("points of accuracy above union training" if _by_points(whole) else f"{metric} ÷ union training")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    try:
        figure.savefig(path, metadata=metadata, dpi=150)
    except OSError as error:
        raise Mendable(
            f"The plot cannot be written to '{path}': {error.strerror}.",
            "Name another file; what was computed is kept.",
        ) from error
    finally:
        pyplot.close(figure)
    return True


def _draw(axes: Any, x: Sequence[float], intervals: Sequence[Mapping[str, Any] | None], style: dict[str, Any]) -> None:
    known = [(at, found) for at, found in zip(x, intervals, strict=True) if found is not None]
    means = [found["mean"] for _, found in known]
    bars = [
        [0.0 if found[end] is None else abs(found[end] - found["mean"]) for _, found in known]
        for end in ("low", "high")
    ]
    axes.errorbar([at for at, _ in known], means, yerr=bars, capsize=3, markersize=6, linewidth=1.2, **style)


def _dress(axes: Any, whole: Sequence[Record]) -> None:
    """What both sides have: where union training lies, with what is near it, and no more ink than that."""
    means = [s["gap"]["mean"] for one in whole for s in one["stages"][1:] if s["gap"] is not None]
    if _by_points(whole):
        near, union = (-NEAR, 0.0), 0.0
    else:
        near, union = (1.0, 1 + whole[0]["tolerance"]), 1.0
        if means and max(means) > 3 * min(means) > 0:
            axes.set_yscale("log")
    axes.axhspan(*near, color="#dddddd", linewidth=0)
    axes.axhline(union, color="#888888", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
