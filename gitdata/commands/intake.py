"""Intake: what a person hands in, read and checked, before anything is written.

A *part* is rows of one source file for one split. Everything a person may have got wrong about files is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gitdata.commands.mixture import refuse_mixture, with_rows_or_opaque
from gitdata.commands.rowsource import count
from gitdata.data import pointer
from gitdata.data.pointer import Policy
from gitdata.data.schema import Schema
from gitdata.errors import Mendable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Table
    from gitdata.data.formats.folder import Member


Corrections = Literal["refuse", "append-only-new", "replace"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for. `test` and `validation` hold a file or a fraction of the rows, as text.

    `parents` None: the heads. `inputs` and `outputs` name fields; without them an extension has its parents'. `grown`:
    the one file is the whole grown data set, and this is what to do where it corrects rows; `again`: its rows that were
    retracted are taken too.
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
    grown: Corrections | None = None
    again: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over the rows of a file found.

    `full`: the digest of each row over all fields, shape (rows, 2); `keys`: the first 64 bits of that over the fields
    that splits go by; `telling`: the same over `fields`, which tell rows apart, where these are not all (none then).
    `not_finite`: of a field of floats with such values, in how many rows and which is the first.
    """

    full: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    not_finite: Mapping[str, tuple[int, int]]
    fields: tuple[str, ...]
    telling: NDArray[np.uint64]


@dataclass(slots=True)
class Part:
    """Rows of one source file for one split; `keep` None: the whole file, byte for byte.

    `place`: its path within the split. A file without rows that are known has no table: an opaque one, or the labels
    table of a folder. `apart`: a test or validation file of its own, not a part of a file with train rows.
    """

    source: Path
    place: str
    split: str
    table: Table | None
    scan: Scan
    keep: np.ndarray[Any, Any] | None = None
    found: tuple[int, int] = field(default=(0, 0))
    apart: bool = False

    @property
    def rows(self) -> int:
        if self.table is None:
            return 0
        return self.table.rows if self.keep is None else int(self.keep.sum())

    @property
    def is_labels_table(self) -> bool:
        from gitdata.data.formats import folder

        return folder.is_labels_table(self.place)

    @property
    def is_opaque(self) -> bool:
        return self.table is None and not self.is_labels_table

    @property
    def full(self) -> NDArray[np.uint64]:
        """The digests of the rows of this part: shape (rows, 2)."""
        return self.scan.full if self.keep is None else self.scan.full[self.keep]

    @property
    def digests(self) -> NDArray[np.uint64]:
        """The first 64 bits of them."""
        return self.full[:, 0]

    @property
    def telling(self) -> NDArray[np.uint64]:
        """What duplicates and leaks are found by: the same over inputs and outputs, or over all fields."""
        if not self.scan.fields:
            return self.digests
        return self.scan.telling if self.keep is None else self.scan.telling[self.keep]

    def choose(self, wanted: NDArray[np.bool_]) -> None:
        """Keep only the wanted ones of the rows of this part: shape (rows,)."""
        import numpy as np

        if not wanted.all():
            keep = np.ones(len(self.scan.full), bool) if self.keep is None else self.keep.copy()
            keep[np.flatnonzero(keep)[~wanted]] = False
            self.keep = keep

    def among(self, others: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows are among others, of which some may be told by all fields, for want of better."""
        import numpy as np

        found = np.isin(self.telling, others)
        return found | np.isin(self.digests, others) if self.scan.fields else found


def read_files(request: Request, schema: Schema | None) -> list[Part]:
    """The files of a request, a part each. Raises Mendable where they cannot be read, or do not fit."""
    _refuse_too_much(request)
    fractions = _fractions(request)
    keys = _Keys(request.inputs, request.outputs, bool(fractions))
    parts: list[Part] = []
    for path in request.files:
        parts += _read_all(path, "train", _fitted(schema, parts), keys)
    for split in ("test", "validation"):
        if split not in fractions and (wanted := _wanted(request, split)) is not None:
            parts += _read_all(Path(wanted), split, _fitted(schema, parts), replace(keys, wanted=False), apart=True)
    if not parts:
        raise Mendable(
            "There is no file to take rows from.",
            "Name one, or a test part alone with `--test FILE`.",
        )
    refuse_mixture(request, parts, schema, by_fraction=bool(fractions))
    return parts


def split_by_fraction(request: Request, parts: list[Part]) -> list[Part]:
    """Parts of the splits that a request names by a fraction of its train rows, taken out of those."""
    for split, fraction in _fractions(request).items():
        parts = [piece for part in parts for piece in _split(part, split, fraction)]
    parts = with_rows_or_opaque(parts)
    _refuse_same_names(parts)
    return parts


def _fitted(schema: Schema | None, parts: Sequence[Part]) -> Schema | None:
    """What the next file is to fit: the parents' schema, else that of the files before it."""
    return schema or (schema_of_parts(parts) if parts else None)


def _wanted(request: Request, split: str) -> str | None:
    return request.test if split == "test" else request.validation


@dataclass(frozen=True, slots=True)
class _Keys:
    """Which fields digests are over: for splits by fraction, where `wanted`, the inputs, or all but the outputs."""

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

    def telling(self, table: Table) -> tuple[str, ...]:
        """The fields that tell rows apart, none for all."""
        from gitdata.data import rows

        return rows.telling_fields(self.inputs, self.outputs, table.schema.names)


def _read_all(path: Path, split: str, schema: Schema | None, keys: _Keys, *, apart: bool = False) -> list[Part]:
    """The parts that a path stands for: a file, or the files of a folder, which fit the first of them."""
    from gitdata.data.formats import folder

    parts: list[Part] = []
    for member in folder.members(path, schema or Schema(())):
        parts.append(replace(_read(member, split, schema, keys), apart=apart))
        if schema is None and parts[-1].table is not None:
            schema = parts[-1].table.schema
    return parts


def _read(member: Member, split: str, schema: Schema | None, keys: _Keys) -> Part:
    from gitdata.data import formats
    from gitdata.data.formats import folder, nul

    before = stamp(member.path)
    if folder.is_labels_table(member.place) or formats.format_of(member.path.suffix) is None:
        formats.require_readable(member.path)
        return Part(member.path, member.place, split, None, _nothing(), found=before)
    fitted = schema if schema is not None and schema.fields else None  # opaque files say nothing of a table
    table = nul.without_nul(formats.table(member.path, fitted, beside=member.beside))
    scan = _scan(table, keys.of(table), keys.telling(table))
    return Part(member.path, member.place, split, table, scan, found=before)


def _nothing() -> Scan:
    import numpy as np

    return Scan(np.empty((0, 2), np.uint64), np.empty(0, np.uint64), {}, (), np.empty(0, np.uint64))


def _scan(table: Table, split_by: Sequence[str], fields: tuple[str, ...]) -> Scan:
    """One pass over the rows, a block at a time."""
    import numpy as np

    from gitdata.data import rows

    full = np.empty((table.rows, 2), np.uint64)
    keys, telling = (np.empty(table.rows if names else 0, np.uint64) for names in (split_by, fields))
    not_finite: dict[str, tuple[int, int]] = {}
    start = 0
    for columns in table.blocks():
        stop = start + count(columns)
        full[start:stop] = rows.digests(columns)
        for names, found in ((split_by, keys), (fields, telling)):
            if names:
                found[start:stop] = rows.digests(columns, names)[:, 0]
        for name, column in columns.items():
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                bad = ~np.isfinite(column.reshape(len(column), -1)).all(axis=1)
                before, first = not_finite.get(name, (0, start + int(bad.argmax())))
                not_finite[name] = before + int(bad.sum()), first
        start = stop
    return Scan(full, keys, not_finite, fields, telling)


def stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


def _fractions(request: Request) -> dict[str, float]:
    """The splits that a request names by a fraction of its train rows."""
    named = {split: _wanted(request, split) for split in ("test", "validation")}
    found = {split: _fraction(split, wanted) for split, wanted in named.items() if wanted is not None}
    return {split: fraction for split, fraction in found.items() if fraction is not None}


def names_files(request: Request) -> bool:
    """Whether a test or validation part is a file of its own."""
    return any(_wanted(request, split) is not None for split in {"test", "validation"} - _fractions(request).keys())


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


def _refuse_too_much(request: Request) -> None:
    if sum(_fractions(request).values()) >= 1:
        raise Mendable("The fractions for test and validation leave no rows to train on.", "Give smaller ones.")


def _split(part: Part, split: str, fraction: float) -> list[Part]:
    """`part` and what the fraction takes out of it: by hash of the inputs, so equal inputs stay together."""
    if part.split != "train":
        return [part]
    if part.table is None:  # the labels table of a folder goes wherever its files go
        return [part, replace(part, split=split)]
    from gitdata.data import rows

    taken = rows.in_fraction(part.scan.keys, fraction, split)
    pieces = [
        (wanted, mask if part.keep is None else part.keep & mask)
        for wanted, mask in (("train", ~taken), (split, taken))
    ]
    return [replace(part, split=wanted, keep=None if keep.all() else keep) for wanted, keep in pieces]


def schema_of_parts(parts: Iterable[Part]) -> Schema:
    """The schema of the rows; without fields where all files are opaque."""
    return next((part.table.schema for part in parts if part.table is not None), Schema(()))


def _refuse_same_names(parts: Sequence[Part]) -> None:
    seen = set()
    for split, name in ((part.split, part.place) for part in parts):
        if (split, name) in seen:
            raise Mendable(f"Two files of the {split} split are called '{name}'.", "Rename one of them.")
        seen.add((split, name))
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
    for table in [part.table for part in parts if part.table is not None][:1]:
        _check_fields(table, (*inputs, *outputs))
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
                    f"The {role} '{name}' is not a finite number in {bad} of {len(part.scan.full)} rows of "
                    f"'{part.source}'; the first is row {first + 1}.",
                    "Correct or remove these rows.",
                )
