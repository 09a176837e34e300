"""Measures of a lineage, from the ledger alone: the matrix R, transfer, forgetting, and what retraining cost.

What a ledger of old does not say is None. It may be anybody's: what is no number there counts as not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gitdata.commands.judge import rounded_all
from gitdata.commands.lineage import chains_here, version_or_newest
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import labels_of_any
from gitdata.data.chain import Chain
from gitdata.data.ledger import Entry, Ledger
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.measures import Stage

COSTS = ("steps", "union_steps", "seconds")

_LARGEST = 1e30  # as judge.rounded has it


def measures(repo: Repo, reference: str, say: Say = silent) -> Record:
    """Of a version, or the champion, and its ancestors."""
    ledger, entry = version_or_newest(repo, reference, say)
    return record_of(ledger, entry, chains_here(repo))


def record_of(ledger: Ledger, entry: Entry, chains: Mapping[str, Chain]) -> Record:
    """The measures of a version and its ancestors, extensions in the order in which they were seen."""
    from gitdata.training.measures import measures

    line = [ledger.entries[id] for id in reversed(ledger.lineage(entry.id))]
    found = measures([stage_of(ledger, one, chains) for one in line])
    fields = {name: rounded_all(value) for name, value in asdict(found).items()}
    fields |= {
        "extensions": [labels_of_any(chains, [id])[0] for id in found.extensions],
        "model": ledger.model,
        "number": entry.number,
        "versions": [one.number for one in line],
    }
    return Record("measures", entry.id, fields)


def stage_of(ledger: Ledger, entry: Entry, chains: Mapping[str, Chain]) -> Stage:
    """A version as a stage: losses that its own verdict rests on, else those that later versions met it with."""
    from gitdata.training.measures import Stage

    version = entry.version
    tables = list(_tables(ledger, entry))
    losses = {id: loss for table in reversed(tables) for id, loss in _column(table, "loss").items()}
    prequential = version.training.get("prequential")
    seconds: Any = version.training.get("union_seconds")
    return Stage(
        added=_in_order(version.added, chains),
        losses={id: losses[id] for id in _in_order(tuple(losses), chains)},
        constant={id: loss for table in reversed(tables) for id, loss in _column(table, "constant").items()},
        method=version.method,
        rungs=[_rung(rung) for rung in _listed(version.training.get("rungs")) if _has_numbers(rung, COSTS)],
        prequential=prequential if _has_numbers(prequential, ("loss", "rows")) else None,
        union_seconds=float(seconds) if _is_number(seconds) else None,
    )


def _tables(ledger: Ledger, entry: Entry) -> Iterator[Any]:
    """What was measured of a version by extension, the best known first."""
    yield entry.verdict.metrics.get("extensions")
    yield entry.version.metrics.get("extensions")
    for other in ledger.youngest_first:
        for comparison in other.verdict.comparisons:
            metrics = comparison.get("baseline_metrics")
            if comparison["version"] == entry.stem and isinstance(metrics, Mapping):
                yield metrics.get("extensions")


def _column(table: Any, name: str) -> dict[str, float]:
    entries = table.items() if isinstance(table, Mapping) else ()
    return {str(id): float(entry[name]) for id, entry in entries if _has_numbers(entry, (name,))}


def _rung(rung: Mapping[str, Any]) -> dict[str, Any]:
    loss = rung.get("validation_loss")
    return {**rung, "method": str(rung.get("method")), "validation_loss": loss if _is_number(loss) else None}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _has_numbers(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, Mapping) and all(_is_number(value.get(name)) for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _in_order(ids: tuple[str, ...], chains: Mapping[str, Chain]) -> tuple[str, ...]:
    """Ancestors first, as far as their pointers are here."""
    known = [e.id for _, chain in sorted(chains.items()) for e in chain.ordered(set(ids) & chain.extensions.keys())]
    return tuple(dict.fromkeys((*known, *ids)))
