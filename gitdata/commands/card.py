"""The model card: what people read of a version, next to its pointer on the ledger branch."""

from __future__ import annotations

from typing import Any

from gitdata.commands.reasons import confidence, detectable
from gitdata.data.chain import Chain
from gitdata.data.choice import Situation
from gitdata.data.ledger import Entry


def model_card(entry: Entry, situation: Situation, chain: Chain) -> str:
    """Markdown: verdict and why, what it was trained on, how well it does, and how it came about."""
    version, ledger = entry.version, situation.ledger
    parent = "none (scratch)" if version.parent is None else f"version {ledger.entries[version.parent].number}"
    seen = ledger.seen(version.parent) | set(version.added)
    lines = [
        f"# {version.model} {entry.number} ({version.short})",
        "",
        f"**{entry.verdict.outcome}**: {entry.verdict.reason}",
        "",
        f"- method: {version.method}",
        f"- parent: {parent}",
        f"- commit: {version.commit}",
        f"- declaration: {version.declaration[:8]}, data and network: {version.restore[:8]}",
        f"- package: {version.package[:8]}, {version.directory.size} bytes",
        "",
        "## Data",
        "",
        "| extension | train rows | seen since |",
        "|---|---|---|",
        *_seen_rows(chain, seen, version.added),
        "",
        *_metrics(version.metrics),
        *_conditions(entry.verdict.conditions),
        *_comparisons(entry.verdict.comparisons),
        *_rungs(version.training.get("rungs", [])),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _seen_rows(chain: Chain, seen: frozenset[str] | set[str], added: tuple[str, ...]) -> list[str]:
    known = chain.ordered(seen & chain.extensions.keys())
    return [
        f"| {e.dataset}@{e.version} ({e.short}) | {e.rows_of('train')} | {'now' if e.id in added else 'before'} |"
        for e in known
    ]


def _metrics(metrics: Any) -> list[str]:
    if not metrics:
        return []
    plain = {key: value for key, value in metrics.items() if key not in ("slices", "extensions")}
    rows = [f"| {name} | {_text(value)} |" for name, value in _flat("", plain)]
    return ["## On the test rows", "", "| metric | value |", "|---|---|", *rows, "", *_slices(metrics.get("slices"))]


def _slices(slices: Any) -> list[str]:
    """A line for each slice of the test rows, with the metrics over all outputs."""
    if not slices:
        return []
    names = sorted({name for found in slices.values() for name in found["overall"]})
    rows = [
        f"| {label} | {found['rows']} | {' | '.join(_text(found['overall'].get(name)) for name in names)} |"
        for label, found in sorted(slices.items())
    ]
    return ["## By slice", "", f"| slice | rows | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|", *rows, ""]


def _comparisons(comparisons: Any) -> list[str]:
    if not comparisons:
        return []
    head = ["## Against", "", "| version | on | loss ratio | interval | rows | detectable | tolerance | verdict |"]
    rows = [
        f"| {c['version']} | {c['against']} | {c['ratio']:.4g} | {c['lower']:.4g}–{c['upper']:.4g} ({confidence(c)}) "
        f"| {c['rows']} | {detectable(c)} | {c['tolerance']:.3g} | {c['verdict']} |"
        for c in comparisons
    ]
    return [*head, "|---|---|---|---|---|---|---|---|", *rows, ""]


def _conditions(conditions: Any) -> list[str]:
    if not conditions:
        return []
    said = {True: "met", False: "missed", None: "no test row says"}
    rows = [f"| {c['condition']} | {_text(c['value'])} | {said[c['met']]} |" for c in conditions]
    return ["## Conditions", "", "| condition | value | |", "|---|---|---|", *rows, ""]


def _rungs(rungs: Any) -> list[str]:
    head = [
        "## Rungs",
        "",
        "| method | gradient steps | of union's | train rows read | seconds | validation loss |",
    ]
    rows = [
        f"| {r['method']} | {r['steps']} | {r['union_steps']} | {r['rows_read']} | {r['seconds']:.3g} "
        f"| {_text(r['validation_loss'])} |"
        for r in rungs
    ]
    return [*head, "|---|---|---|---|---|---|", *rows, *_stopped(rungs)] if rungs else []


def _stopped(rungs: Any) -> list[str]:
    """Which of them validation losses ended early."""
    found = [(r["method"], r["stopped"]) for r in rungs if r.get("stopped")]
    lines = [
        f"- {name} stopped after epoch {s['after']} of {s['of']}; the best was epoch {s['best']}" for name, s in found
    ]
    return ["", *lines] if lines else []


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, inner in sorted(value.items()) for pair in _flat(f"{prefix} {key}".strip(), inner)]
    return [(prefix, value)]


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
