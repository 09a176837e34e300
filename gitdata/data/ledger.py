"""The ledger of one model: its versions, their verdicts, and which of them is the champion.

A version is immutable; its *verdict* is not, and changes by commits that say why. `seen` of a version follows
from the ledger alone: seen(parent) ∪ added. An *attempt key* names one question that was asked and answered
(these data, this declaration, this baseline); a key that stands in any verdict is not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gitdata.canonical import digest, readable_json
from gitdata.data.pointer import FORMAT, ID, ModelVersion

Outcome = Literal["accepted", "refused", "undecided", "waiting", "experiment", "rejected", "rolled back"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)


class LedgerError(ValueError):
    """The ledger says something that cannot be; the message says what."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided on a version.

    `promoted` is true once the version has been champion. `tested` is the digest of the test rows that its
    `metrics` and `comparisons` rest on, None where there were none. `attempts` are the keys settled by it.
    `conditions`: those declared, with what was measured. `suspects`: the extensions without which it would have passed.
    """

    outcome: Outcome
    reason: str
    who: str
    promoted: bool = False
    tested: str | None = None
    attempts: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    comparisons: tuple[Mapping[str, Any], ...] = ()
    conditions: tuple[Mapping[str, Any], ...] = ()
    suspects: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Version `number` of a model with its verdict."""

    number: int
    version: ModelVersion
    verdict: Verdict

    @property
    def id(self) -> str:
        return self.version.id

    @property
    def stem(self) -> str:
        return f"{self.number}-{self.version.short}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """All versions of `model` by id, and the id of the champion."""

    model: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    champion: str | None = None

    def __post_init__(self) -> None:
        if self.champion is not None and self.champion not in self.entries:
            raise LedgerError(f"the champion {self.champion[:8]} of model '{self.model}' is not in the ledger")

    def seen(self, id: str | None) -> frozenset[str]:
        """The extensions that shaped a version: its own `added` and those of all its ancestors."""
        seen: set[str] = set()
        visited: set[str] = set()
        while id is not None and id not in visited:
            visited.add(id)
            if id not in self.entries:
                raise LedgerError(f"model '{self.model}' has no version {id[:8]}, though another names it as parent")
            version = self.entries[id].version
            seen.update(version.added)
            id = version.parent
        return frozenset(seen)

    def lineage(self, id: str | None) -> tuple[str, ...]:
        """A version and its ancestors, youngest first."""
        line: list[str] = []
        while id is not None and id in self.entries and id not in line:
            line.append(id)
            id = self.entries[id].version.parent
        return tuple(line)

    @property
    def attempts(self) -> frozenset[str]:
        """Every attempt key that was settled."""
        return frozenset(key for entry in self.entries.values() for key in entry.verdict.attempts)

    @property
    def next_number(self) -> int:
        return max((entry.number for entry in self.entries.values()), default=0) + 1

    @property
    def youngest_first(self) -> tuple[Entry, ...]:
        """All versions, the newest first. Two of one number, from parallel publishers, go by id."""
        return tuple(sorted(self.entries.values(), key=lambda entry: (-entry.number, entry.id)))

    def numbered(self, number: int) -> Entry | None:
        return next((entry for entry in self.youngest_first if entry.number == number), None)


def attempt_key(live: Iterable[str], declaration: str, baseline: str | None, may_move_champion: bool) -> str:
    """The digest of one question: these live extensions, this declaration, this baseline, this right."""
    return digest(
        {
            "baseline": baseline,
            "declaration": declaration,
            "live": sorted(live),
            "may_move_champion": may_move_champion,
        }
    )


def encode_verdict(verdict: Verdict) -> bytes:
    """The file `<n>-<id8>.verdict`."""
    sometimes = {"conditions": verdict.conditions, "suspects": verdict.suspects}
    return readable_json(
        {
            **{name: [dict(value) for value in values] for name, values in sometimes.items() if values},
            "attempts": sorted(verdict.attempts),
            "comparisons": [dict(comparison) for comparison in verdict.comparisons],
            "format": FORMAT,
            "metrics": dict(verdict.metrics),
            "promoted": verdict.promoted,
            "reason": verdict.reason,
            "tested": verdict.tested,
            "verdict": verdict.outcome,
            "who": verdict.who,
        }
    )


def decode_verdict(content: bytes) -> Verdict:
    """The verdict of a file; raises LedgerError, and nothing else, on bytes that are none."""
    try:
        record = json.loads(content)
        if record["format"] > FORMAT:
            raise LedgerError(f"it has format {record['format']}, this gitdata reads up to {FORMAT}: update it")
        if record["verdict"] not in OUTCOMES:
            raise LedgerError(f"{record['verdict']!r} is no verdict")
        attempts = tuple(str(key) for key in record["attempts"])
        if any(not ID.fullmatch(key) for key in attempts):
            raise LedgerError("it holds an attempt key that is no digest")
        return Verdict(
            outcome=record["verdict"],
            reason=str(record["reason"]),
            who=str(record["who"]),
            promoted=record["promoted"] is True,
            tested=None if record["tested"] is None else str(record["tested"]),
            attempts=attempts,
            metrics=_numbers(record["metrics"]),
            comparisons=tuple(_of_kinds(comparison, _COMPARED) for comparison in record["comparisons"]),
            conditions=tuple(_of_kinds(condition, _REQUIRED) for condition in record.get("conditions", ())),
            suspects=tuple(_of_kinds(suspect, _SUSPECTED) for suspect in record.get("suspects", ())),
        )
    except LedgerError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerError("it is no verdict file") from error


_COMPARED: Mapping[str, type | tuple[type, ...]] = {
    "against": str,
    "loss": (int, float),
    "lower": (int, float),
    "ratio": (int, float),
    "rows": int,
    "upper": (int, float),
    "verdict": str,
    "version": str,
}


_REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "condition": str,
    "value": (int, float, type(None)),
}
_SUSPECTED: Mapping[str, type | tuple[type, ...]] = {
    "extension": str,
    "name": str,
    "ratio": (int, float),
    "ratio_with": (int, float),
    "rows": int,
}


def _of_kinds(value: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """What the gate wrote of one comparison, condition or suspect."""
    for name, kind in kinds.items():
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            raise LedgerError(f"'{name}' in it is malformed")
    return dict(value)


def _numbers(value: Any, depth: int = 0) -> dict[str, Any]:
    """Metrics: numbers by name, in mappings by output."""
    if not isinstance(value, dict) or depth > 4:
        raise LedgerError("its metrics are malformed")
    for name, inner in value.items():
        if isinstance(inner, dict):
            _numbers(inner, depth + 1)
        elif inner is not None and (not isinstance(inner, int | float) or isinstance(inner, bool)):
            raise LedgerError(f"the metric {name!r:.40} is no number")
    return value
