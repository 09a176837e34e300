"""Diff: what one closure has that another has not: extensions, rows, fields, and how the rows that came have drifted.

Rows are told apart by their row indexes, as multisets, without a blob; statistics read the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitdata.commands.judge import rounded_all
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import RowSource, schema_of
from gitdata.commands.union import Part, fetch_listings, row_indexes, union_parts
from gitdata.data import pointer
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.data.schema import differences
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.drift import Categories, FieldDrift, Numbers

SHOWN_CATEGORIES = 20


@dataclass(frozen=True, slots=True)
class _Side:
    """A closure as it was named, with its extensions in order and the parts of its union, all splits together."""

    reference: str
    extensions: tuple[Extension, ...]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> dict[str, int]:
        found = dict.fromkeys(pointer.SPLITS, 0)
        for part in self.parts:
            found[part.file.split] += part.rows
        return found


def diff(repo: Repo, first: str, second: str, *, statistics: bool = True, say: Say = silent) -> list[Record]:
    """One record on extensions, rows and fields; with `statistics` one per field on what only the second one has."""
    snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
    old, new = (_side(repo, *snapshot.extensions(reference), reference) for reference in (first, second))
    extensions = list({e.id: e for e in (*old.extensions, *new.extensions)}.values())
    fetch_listings(repo, extensions)
    indexes = row_indexes(repo, extensions)
    before, after = _digests(repo, old.parts, indexes), _digests(repo, new.parts, indexes)
    fresh = _beyond(after, before)
    record = Record(
        "difference",
        f"{first} {second}",
        {
            "extensions_of_first": _stems(old, new),
            "extensions_of_second": _stems(new, old),
            "fields": _schema_differences(repo, old, new),
            "first": first,
            "only_in_first": int(_beyond(before, after).sum()),
            "only_in_second": int(fresh.sum()),
            "rows_in_both": int(len(after) - fresh.sum()),
            "rows_of_first": old.rows,
            "rows_of_second": new.rows,
            "second": second,
        },
    )
    if not statistics or not fresh.any() or not len(before):
        return [record]
    return [record, *_drift_records(repo, old, _only(new.parts, fresh), say)]


def _side(repo: Repo, chain: Chain, named: Iterable[Extension], reference: str) -> _Side:
    """What is live of a closure, and what was named itself even if it is not."""
    named_ids = {extension.id for extension in named}
    ids = repo.live(chain, named_ids) | named_ids
    parts = [part for split in pointer.SPLITS for part in union_parts(repo, chain, ids, split, within=ids)]
    return _Side(reference, chain.ordered(ids), tuple(parts))


def _stems(side: _Side, other: _Side) -> list[str]:
    known = {extension.id for extension in other.extensions}
    return [extension.stem for extension in side.extensions if extension.id not in known]


def _schema_differences(repo: Repo, old: _Side, new: _Side) -> list[str]:
    if not old.extensions or not new.extensions:
        return []
    return differences(schema_of(repo, old.extensions[-1]), schema_of(repo, new.extensions[-1]))


# --- rows ----------------------------------------------------------------------------------------------------


def _digests(repo: Repo, parts: Iterable[Part], indexes: Mapping[str, NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The digests of all rows of some parts, one part after the other: shape (rows,)."""
    import numpy as np

    by_extension: dict[str, dict[str, NDArray[np.uint64]]] = {}
    found = [np.empty(0, np.uint64)]
    for part in parts:
        id = part.extension.id
        if id not in by_extension:
            by_extension[id] = _digests_by_file(repo, part.extension, indexes[id])
        own = by_extension[id][part.file.place]
        found.append(own if part.keep is None else own[part.keep])
    return np.concatenate(found)


def _digests_by_file(repo: Repo, extension: Extension, index: NDArray[np.uint64]) -> dict[str, NDArray[np.uint64]]:
    """The row index, cut by file."""
    import numpy as np

    files = repo.files_of(extension)
    pieces = np.split(index, np.cumsum([file.rows for file in files])[:-1])
    return {file.place: piece for file, piece in zip(files, pieces, strict=True)}


def _beyond(own: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows of a multiset go beyond another one: of a row that stands there k times, all but the first k."""
    import numpy as np

    order = np.argsort(own, kind="stable")
    values = own[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])
    rank = np.arange(len(values)) - np.repeat(starts, np.diff(np.r_[starts, len(values)]))
    sorted_other = np.sort(other)
    held = np.searchsorted(sorted_other, values, "right") - np.searchsorted(sorted_other, values, "left")
    beyond = np.empty(len(own), bool)
    beyond[order] = rank >= held
    return beyond


def _only(parts: Iterable[Part], wanted: NDArray[np.bool_]) -> list[Part]:
    """The parts with only the rows that are wanted, of all that they bring."""
    import numpy as np

    found, start = [], 0
    for part in parts:
        keep = np.ones(part.file.rows, bool) if part.keep is None else part.keep.copy()
        own = wanted[start : start + part.rows]
        start += part.rows
        keep[keep] = own
        if own.any():
            found.append(replace(part, keep=keep))
    return found


# --- statistics ----------------------------------------------------------------------------------------------


def _drift_records(repo: Repo, old: _Side, fresh: list[Part], say: Say) -> list[Record]:
    from gitdata.data.drift import compare

    source = RowSource(repo, (), (), say)
    drift = compare(source.rows(old.parts), source.rows(fresh))
    shares = {"outside": drift.outside, "outside_numbers": drift.outside_numbers}
    whole = Record("domain", old.reference, {"fields": len(drift.fields), **rounded_all(shares)})
    return [whole, *(_field_record(field) for field in drift.fields)]


def _field_record(field: FieldDrift) -> Record:
    return Record(
        "field drift",
        field.name,
        {
            "adjusted_p": rounded_all(field.adjusted),
            "drifted": field.drifted,
            "new": _summary(field.new),
            "new_categories": list(field.new_categories[:SHOWN_CATEGORIES]),
            "old": _summary(field.old),
            "outside": rounded_all(field.outside),
            "p": rounded_all(field.p),
            "statistic": rounded_all(field.statistic),
            "test": field.test,
        },
    )


def _summary(side: Numbers | Categories) -> Mapping[str, Any]:
    from gitdata.data.drift import Categories

    if isinstance(side, Categories):
        shown = [{"count": n, "value": value} for value, n in list(side.counts.items())[:SHOWN_CATEGORIES]]
        return {"categories": shown, "count": side.count, "distinct": side.distinct}
    names = ("count", "distinct", "maximum", "mean", "minimum", "not_finite", "std")
    found: Mapping[str, Any] = rounded_all({name: getattr(side, name) for name in names})
    return found
