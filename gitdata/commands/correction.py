"""Corrections, told to people: how many rows changed or disappeared, in which fields, and some of them.

Old values are read from the blobs of the files that hold them; where one is neither in the cache nor to be had, only
the numbers are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.known import Known, KnownFile
from gitdata.commands.records import Say
from gitdata.commands.rowsource import count, labels_tables, schema_of, select, verified
from gitdata.commands.transfer import fetch_blobs
from gitdata.errors import DataUnavailable, Mendable, TryAgain
from gitdata.repo import Repo, blob_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns, Table
    from gitdata.data.grown import Correction

EXAMPLES = 3
_LONGEST = 40  # characters of a text that are shown


@dataclass(frozen=True, slots=True)
class Told:
    """A correction in words and numbers; `changed` and `disappeared` are None where the old values cannot be had."""

    missing: int
    new: int
    changed: int | None = None
    disappeared: int | None = None
    fields: Mapping[str, int] | None = None
    key: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "disappeared": self.disappeared,
            "examples": list(self.examples),
            "fields": dict(self.fields or {}),
            "key": list(self.key),
            "missing": self.missing,
            "new": self.new,
        }


def correction_lines(record: Mapping[str, Any]) -> list[str]:
    """A correction in words, from its record: the sum of it, and a line for each row that is shown."""
    if record["changed"] is None:
        return [f"{_rows_text(record['missing'])} changed or disappeared; in the file {record['new']} stand instead."]
    parts = [f"{_rows_text(record[what])} {what}" for what in ("changed", "disappeared")]
    fields = ", ".join(f"{name} in {number}" for name, number in record["fields"].items())
    by = f" ({fields}; rows are told by {', '.join(record['key'])})" if fields else ""
    return [f"{parts[0]}{by}, {parts[1]}, {record['new']} new.", *record["examples"]]


def _rows_text(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def stored_table(repo: Repo, known: KnownFile, say: Say, *, fetch: bool) -> Table | None:
    """The table of a stored file, verified; None where it is not in the cache and, with `fetch`, not to be had."""
    from gitdata.data import formats
    from gitdata.data.formats import folder

    file, extension = known.file, known.extension
    labels = folder.labels_place(file.path)
    needed = [file, *(f for f in repo.files_of(extension) if f.split == file.split and f.path == labels)]
    blobs = [blob_of(each) for each in needed]
    try:
        if fetch:
            fetch_blobs(repo, blobs, say=say)
        if not all(map(repo.cache.holds, blobs)):
            return None
        schema, path = schema_of(repo, extension), verified(repo, file)
        beside = folder.beside(file.path, labels_tables(repo, extension, needed).get(labels or ""))
    except (DataUnavailable, TryAgain, Mendable) as error:
        say(f"The rows of {extension.stem} cannot be read: {error.message}")
        return None
    return formats.table(path, schema, suffix=Path(file.path).suffix, beside=beside)


def tell(
    repo: Repo, known: Known, places: NDArray[np.int64], table: Table, own: NDArray[np.uint64],
    is_new: NDArray[np.bool_], inputs: Sequence[str], say: Say,
) -> Told:  # fmt: skip
    """What became of the known rows that `places` says are missing from a grown file, the `table`.

    `own`: the first 64 bits of the digests of the file's rows; `is_new`: which of them may have become of those that
    are missing; both of shape (rows of the file,).
    """
    import numpy as np

    from gitdata.data import grown

    missing = np.flatnonzero(places == grown.MISSING)
    new = np.flatnonzero(is_new)
    stored = _Stored(repo, known, say)
    fields = next(table.blocks()).keys()
    try:
        old = _digests(stored.rows(missing), list(fields))
    except DataUnavailable:
        return Told(len(missing), len(new))
    found = grown.correction(old, _digests(_rows(table, new), list(fields)), list(fields), inputs)
    lost = missing[found.gone[:EXAMPLES]]
    times = [_times(known.digests[places != grown.SHARED], own, digest) for digest in known.digests[lost]]
    examples = [*_changes(found, stored, missing, table, new), *_losses(found.fields, stored, lost, times)]
    return Told(
        found.missing, found.new - found.changed, found.changed, found.disappeared, found.changes, found.key,
        tuple(dict.fromkeys(examples)),
    )  # fmt: skip


def _times(known: NDArray[np.uint64], own: NDArray[np.uint64], digest: np.uint64) -> tuple[int, int]:
    """How often a row stands in the dataset and in the file."""
    return int((known == digest).sum()), int((own == digest).sum())


@dataclass(frozen=True, slots=True)
class _Stored:
    """Known rows by their values, out of the blobs that hold them."""

    repo: Repo
    known: Known
    say: Say

    def rows(self, numbers: NDArray[np.int64]) -> Iterator[Columns]:
        """These known rows, ascending, some at a time, fetched if need be. Raises DataUnavailable."""
        for file, own in self._by_file(numbers):
            table = stored_table(self.repo, file, self.say, fetch=True)
            if table is None:
                raise DataUnavailable(f"The rows of {file.extension.stem} went away.", "Fetch them: `gitdata fetch`.")
            yield from _rows(table, own)

    def _by_file(self, numbers: NDArray[np.int64]) -> Iterator[tuple[KnownFile, NDArray[np.int64]]]:
        for file in self.known.files:
            own = numbers[(numbers >= file.rows.start) & (numbers < file.rows.stop)]
            if len(own):
                yield file, own - file.start


def _rows(table: Table, numbers: NDArray[np.int64]) -> Iterator[Columns]:
    """The rows of a table with these numbers, ascending, some at a time."""
    import numpy as np

    start = 0
    for columns in table.blocks():
        first, last = np.searchsorted(numbers, [start, start + count(columns)])
        if first < last:
            yield select(columns, numbers[first:last] - start)
        start += count(columns)


def _digests(parts: Iterator[Columns], fields: Sequence[str]) -> NDArray[np.uint64]:
    """A digest of each value: shape (rows, fields)."""
    import numpy as np

    from gitdata.data import rows

    found = [np.stack([rows.digests(part, [name])[:, 0] for name in fields], axis=1) for part in parts]
    return np.concatenate([np.empty((0, len(fields)), np.uint64), *found])


# --- in words ------------------------------------------------------------------------------------------------


def _changes(
    found: Correction, stored: _Stored, missing: NDArray[np.int64], table: Table, new: NDArray[np.int64]
) -> Iterator[str]:
    import numpy as np

    chosen = found.examples(EXAMPLES)
    before = _values(stored.rows(missing[found.pairs[chosen, 0]]))
    numbers = new[found.pairs[chosen, 1]]
    after = _values(_rows(table, np.sort(numbers)))
    for number, old, place in zip(chosen, before, np.argsort(np.argsort(numbers)), strict=True):
        names = [name for name, differs in zip(found.fields, found.differs[number], strict=True) if differs]
        changes = ", ".join(_change(name, old[name], after[place][name]) for name in names)
        yield f"{_named(found.key, old)}: {changes}"


def _losses(
    fields: Sequence[str], stored: _Stored, lost: NDArray[np.int64], times: Sequence[tuple[int, int]]
) -> Iterator[str]:
    for row, (before, now) in zip(_values(stored.rows(lost)), times, strict=True):
        what = f"stands {before}× in the dataset, {now}× in the file" if now else "disappeared"
        yield f"{_named(fields, row)}: {what}"


def _values(parts: Iterator[Columns]) -> list[dict[str, Any]]:
    return [{name: column[at] for name, column in part.items()} for part in parts for at in range(count(part))]


def _named(fields: Sequence[str], row: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name} {_shown(row[name])}" for name in fields[:EXAMPLES])
    return shown + ", …" * (len(fields) > EXAMPLES)


def _change(name: str, old: Any, new: Any) -> str:
    """`Masa 0.00052 → 0.52`; of a field with several values a row, the first that differs."""
    import numpy as np

    if np.ndim(old):
        differs = np.asarray((old != new) & ~((old != old) & (new != new)))  # one NaN is like another
        at = tuple(int(axis[0]) for axis in np.nonzero(differs))
        return _change(f"{name}[{', '.join(map(str, at))}]", old[at], new[at])
    before, after = _shown(old), _shown(new)
    if before == after:  # the difference lies behind what is shown
        before, after = (f"{value!r}" if isinstance(value, str) else str(value) for value in (old, new))
    return f"{name} {before} → {after}"


def _shown(value: Any) -> str:
    import numpy as np

    if np.ndim(value):
        return "[…]"
    if isinstance(value, str):
        return f"'{value if len(value) <= _LONGEST else value[: _LONGEST - 1] + '…'}'"
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
