"""Reasons: what the gate says of a verdict, in a sentence, from comparisons and conditions as they are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gitdata.data.choice import OVERALL, SEEN
from gitdata.data.ledger import Outcome

Comparisons = Sequence[Mapping[str, Any]]

NOTHING = 1e29  # a detectable difference from here on is none
_ENDINGS: Mapping[tuple[bool, Outcome], str] = {
    (False, "accepted"): "not worse within the tolerance",
    (False, "refused"): "worse than the tolerance allows",
    (False, "undecided"): "too few rows to be sure",
    (True, "accepted"): "surely better",
    (True, "refused"): "surely no better",
    (True, "undecided"): "not surely better",
}


def reason(
    outcome: Outcome, promoted: bool, comparisons: Comparisons, conditions: Comparisons, *, rows: int, superiority: bool
) -> str:
    """Why the verdict is what it is, on `rows` test rows, and what difference these could have shown."""
    ending = _ENDINGS.get((superiority, outcome), "")
    measured = _measured(deciding(comparisons, outcome)) if comparisons else ""
    seen = f"; {_shown(deciding(comparisons, outcome))}" if comparisons else ""
    if missed := [_missed(condition) for condition in conditions if condition["met"] is False]:
        return "; ".join(missed) + (f"; {measured}{seen}" if measured else f"; {rows} test rows")
    if outcome == "experiment":
        return "it cannot become champion" + (f"; {measured}{seen}" if measured else "")
    if outcome == "waiting":
        return _waits_for(conditions) + (f"; {measured}{seen}" if measured else "")
    if not comparisons:
        return f"the first version; {rows} test rows"
    worst = deciding(comparisons, outcome)
    if worst["against"] not in OVERALL:
        ending = f"worse than {'forgetting' if worst['against'] == SEEN else 'slice_tolerance'} allows"
    return f"{measured}: {ending}{'' if promoted or outcome == 'refused' else '; the champion stays'}{seen}"


def without_rows(existing: int) -> str:
    """Why there is nothing to judge by: of `existing` test rows none is left."""
    trained = f"all {existing} test rows were trained on, too" if existing else "there are no test rows"
    return f"{trained}: nothing to judge it by"


def deciding(comparisons: Comparisons, outcome: str) -> Mapping[str, Any]:
    """The comparison that a verdict rests on: a part does where it is refused and nothing over all rows is."""
    return max(
        comparisons,
        key=lambda c: (
            c["verdict"] == outcome and (outcome == "refused" or c["against"] in OVERALL),
            c["against"] in OVERALL,
            c["ratio"],
        ),
    )


def detectable(comparison: Mapping[str, Any]) -> str:
    """The relative difference that its rows could have shown."""
    found = comparison.get("detectable")
    return "none" if found is None or found > NOTHING else f"{100 * found:.{1 if found < 1 else 0}f} %"


def confidence(comparison: Mapping[str, Any]) -> str:
    """Of the interval between its bounds, each of which leaves out as much."""
    return f"{100 * (2 * comparison.get('confidence', 0.95) - 1):.4g} %"


def place(comparison: Mapping[str, Any]) -> str:
    """Which test rows it is on, as the end of a phrase."""
    against = comparison["against"]
    if against in OVERALL:
        return "test rows"
    return "test rows of what that had seen" if against == SEEN else f"test rows of the {against}"


def _measured(comparison: Mapping[str, Any]) -> str:
    return (
        f"loss {comparison['ratio']:.3f} × that of {comparison['version']} on {comparison['rows']} {place(comparison)} "
        f"({confidence(comparison)} interval {comparison['lower']:.3f}–{comparison['upper']:.3f})"
    )


def _shown(comparison: Mapping[str, Any]) -> str:
    found = detectable(comparison)
    return "these rows can show no difference" if found == "none" else f"these rows show a difference of {found}"


def _missed(condition: Mapping[str, Any]) -> str:
    name, sign, bound = _split(condition["condition"])
    return f"{name} is {condition['value']:.4g}, and {sign} {bound} is declared"


def _split(text: str) -> tuple[str, str, str]:
    """`mae <= 0.1 where dir = x` as (`mae where dir = x`, `<=`, `0.1`)."""
    sign = "<=" if "<=" in text.partition(" where ")[0] else ">="
    name, _, rest = text.partition(sign)
    bound, where, part = rest.strip().partition(" where ")
    return f"{name.strip()}{where}{part}", sign, bound


def _waits_for(conditions: Comparisons) -> str:
    if unknown := [condition["condition"] for condition in conditions if condition["met"] is None]:
        return f"no test row says whether {' and '.join(unknown)}"
    return "it passed the gate; the model's policy wants a person to promote it"
