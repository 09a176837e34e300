"""Intake: what a person hands in, read and checked, before anything is written.

A *part* is rows of one source file for one split. Everything a person may have got wrong about files is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.rowsource import count
from gitdata.data import pointer
from gitdata.data.pointer import Policy
from gitdata.data.schema import Schema
from gitdata.errors import Mendable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Table


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for. `test` and `validation` hold a file or a fraction of the rows, as text.

    `parents` None: the heads. `inputs` and `outputs` name fields; without them an extension has its parents'.
    """

    dataset: str
    files: Sequence[Path]
    test: str | None = None
    validation: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    version: str | None = None
    message: str | None = None
    parents: tuple[str, ...] | None = None
    test_policy: Policy = "add"
    dedupe: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over the rows of a file found.

    `digests`: of each row over all fields, the first 64 bits; `keys`: the same over the fields that splits go by.
    `not_finite`: of a field of floats with such values, in how many rows and which is the first.
    """

    digests: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    not_finite: Mapping[str, tuple[int, int]]


@dataclass(slots=True)
class Part:
    """Rows of one source file for one split; `keep` None: the whole file, byte for byte."""

    source: Path
    split: str
    table: Table
    scan: Scan
    keep: np.ndarray[Any, Any] | None = None
    found: tuple[int, int] = field(default=(0, 0))

    @property
    def rows(self) -> int:
        return self.table.rows if self.keep is None else int(self.keep.sum())

    @property
    def digests(self) -> NDArray[np.uint64]:
        """Of the rows of this part."""
        return self.scan.digests if self.keep is None else self.scan.digests[self.keep]


def read_parts(
    request: Request, schema: Schema | None, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> list[Part]:
    """The files of a request as parts of splits. Raises Mendable where they cannot be read, or do not fit."""
    by_inputs = _Keys(inputs, outputs, any(_is_fraction(f) for f in (request.test, request.validation)))
    parts = [_read(path, "train", schema, by_inputs) for path in request.files]
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is None:
            parts.append(_read(Path(wanted), split, schema or (schema_of_parts(parts) if parts else None), None))
    if not parts:
        raise Mendable(
            "There is no file to take rows from.",
            "Name one, or a test part alone with `--test FILE`.",
        )
    for other in parts[1:]:
        _refuse_differences(parts[0], other)
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is not None:
            parts = [piece for part in parts for piece in _split(part, split, fraction)]
    _refuse_same_names(parts)
    return parts


@dataclass(frozen=True, slots=True)
class _Keys:
    """Which fields splits by fraction go by: the inputs, or all but the outputs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    wanted: bool

    def of(self, table: Table) -> tuple[str, ...]:
        """The fields. Raises Mendable where the file lacks one, or has none."""
        if not self.wanted:
            return ()
        fields = self.inputs or tuple(name for name in table.schema.names if name not in self.outputs)
        _check_fields(table, fields)
        if not fields:
            raise Mendable(
                f"'{table.path}' has no field that is an input.", "Rows are split by their inputs: name some."
            )
        return fields


def _read(path: Path, split: str, schema: Schema | None, by: _Keys | None) -> Part:
    from gitdata.data import formats

    before = stamp(path)
    table = formats.table(path, schema)
    return Part(path, split, table, _scan(table, by.of(table) if by else ()), found=before)


def _scan(table: Table, fields: Sequence[str]) -> Scan:
    """One pass over the rows, a block at a time."""
    import numpy as np

    from gitdata.data import rows

    digests, keys = np.empty(table.rows, np.uint64), np.empty(table.rows if fields else 0, np.uint64)
    not_finite: dict[str, tuple[int, int]] = {}
    start = 0
    for columns in table.blocks():
        stop = start + count(columns)
        digests[start:stop] = rows.digests(columns)[:, 0]
        if fields:
            keys[start:stop] = rows.digests(columns, fields)[:, 0]
        for name, column in columns.items():
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                bad = ~np.isfinite(column.reshape(len(column), -1)).all(axis=1)
                before, first = not_finite.get(name, (0, start + int(bad.argmax())))
                not_finite[name] = before + int(bad.sum()), first
        start = stop
    return Scan(digests, keys, not_finite)


def stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


def _is_fraction(wanted: str | None) -> bool:
    return wanted is not None and _fraction("test", wanted) is not None


def _fraction(split: str, wanted: str) -> float | None:
    """The fraction that `--test`/`--validation` names, None where it names a file. Raises Mendable."""
    try:
        fraction = float(wanted)
    except ValueError:
        return None
    if Path(wanted).exists():
        return None
    if not 0 < fraction < 1:
        raise Mendable(f"--{split} {wanted} is no fraction.", "Give a number between 0 and 1, or a file.")
    return fraction


def _split(part: Part, split: str, fraction: float) -> list[Part]:
    """`part` and what the fraction takes out of it: by hash of the inputs, so equal inputs stay together."""
    if part.split != "train":
        return [part]
    from gitdata.data import rows

    taken = rows.in_fraction(part.scan.keys, fraction, split)
    pieces = [
        (wanted, mask if part.keep is None else part.keep & mask)
        for wanted, mask in (("train", ~taken), (split, taken))
    ]
    return [piece for wanted, keep in pieces if (piece := replace(part, split=wanted, keep=keep)).rows]


def schema_of_parts(parts: Sequence[Part]) -> Schema:
    return parts[0].table.schema


def _refuse_differences(first: Part, other: Part) -> None:
    from gitdata.data.schema import differences

    found = differences(first.table.schema, other.table.schema)
    if found:
        raise Mendable(f"'{other.source}' and '{first.source}' differ: {'; '.join(found)}.", "Nothing was changed.")


def _refuse_same_names(parts: Sequence[Part]) -> None:
    names = [(part.split, part.source.name) for part in parts]
    for split, name in names:
        if names.count((split, name)) > 1:
            raise Mendable(f"Two files of the {split} split are called '{name}'.", "Rename one of them.")
        if not pointer.is_safe_path(name) or not name.isprintable():
            raise Mendable(f"'{name}' is no name for a file in a dataset.", "Rename it.")


def _check_fields(table: Table, names: Iterable[str]) -> None:
    from difflib import get_close_matches

    known = table.schema.names
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Its fields are {', '.join(known)}."
            raise Mendable(f"'{table.path}' has no field '{name}'.", hint)


def check_roles(parts: Sequence[Part], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    _check_fields(parts[0].table, (*inputs, *outputs))
    if both := sorted(set(inputs) & set(outputs)):
        raise Mendable(f"'{both[0]}' is named as input and as output.", "Name it once.")


def check_finite(parts: Sequence[Part], roles: Mapping[str, str]) -> None:
    """What is not finite in an input or output would stop every training: refused before it is in anybody's data.

    `roles` says of a field whether it is an input or an output.
    """
    for part in parts:
        for name, role in roles.items():
            if name in part.scan.not_finite:
                bad, first = part.scan.not_finite[name]
                raise Mendable(
                    f"The {role} '{name}' is not a finite number in {bad} of {part.table.rows} rows of "
                    f"'{part.source}'; the first is row {first + 1}.",
                    "Correct or remove these rows.",
                )


def drop_or_count_known(request: Request, parts: list[Part], seen: NDArray[np.uint64]) -> int:
    """How many rows stand in the closure already or repeat here; with `dedupe` they are left out."""
    import numpy as np

    doubles = 0
    for part in parts:
        own = part.digests
        first = np.zeros(len(own), bool)
        first[np.unique(own, return_index=True)[1]] = True
        fresh = first & ~np.isin(own, seen)
        doubles += int((~fresh).sum())
        seen = np.union1d(seen, own)
        if request.dedupe and not fresh.all():
            keep = np.ones(part.table.rows, bool) if part.keep is None else part.keep.copy()
            keep[np.flatnonzero(keep)[~fresh]] = False
            part.keep = keep
    return doubles
