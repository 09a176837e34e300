"""Intake: what a person hands in, read and checked, before anything is written.

A *part* is rows of one source file for one split. Everything a person may have got wrong about files is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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

    from gitdata.data.formats import Columns


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


@dataclass(slots=True)
class Part:
    """Rows of one source file for one split; `keep` None: the whole file, byte for byte."""

    source: Path
    split: str
    columns: Columns
    keep: np.ndarray[Any, Any] | None = None
    found: tuple[int, int] = field(default=(0, 0))

    @property
    def rows(self) -> int:
        return count(self.kept)

    @property
    def kept(self) -> Columns:
        if self.keep is None:
            return self.columns
        return {name: column[self.keep] for name, column in self.columns.items()}


def read_parts(
    request: Request, schema: Schema | None, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> list[Part]:
    parts = [_read(path, "train", schema) for path in request.files]
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is None:
            parts.append(_read(Path(wanted), split, schema or (schema_of_parts(parts) if parts else None)))
    if not parts:
        raise Mendable(
            "There is no file to take rows from.",
            "Name one, or a test part alone with `--test FILE`.",
        )
    for other in parts[1:]:
        _refuse_differences(parts[0], other)
    for split, wanted in (("test", request.test), ("validation", request.validation)):
        if wanted is not None and (fraction := _fraction(split, wanted)) is not None:
            parts = [piece for part in parts for piece in _split(part, split, fraction, inputs, outputs)]
    _refuse_same_names(parts)
    return parts


def _read(path: Path, split: str, schema: Schema | None) -> Part:
    from gitdata.data import formats

    before = stamp(path)
    return Part(path, split, formats.read(path, schema), found=before)


def stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it says what is wrong
    return status.st_size, status.st_mtime_ns


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


def _split(part: Part, split: str, fraction: float, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> list[Part]:
    """`part` and what the fraction takes out of it: by hash of the inputs, so equal inputs stay together."""
    if part.split != "train":
        return [part]
    from gitdata.data import rows

    fields = inputs or tuple(name for name in part.columns if name not in outputs)
    _check_fields(part, fields)
    if not fields:
        raise Mendable(f"'{part.source}' has no field that is an input.", "Rows are split by their inputs: name some.")
    taken = rows.fraction_mask(part.columns, fields, fraction, split)
    kept = ~taken if part.keep is None else part.keep & ~taken
    pieces = [Part(part.source, "train", part.columns, kept, part.found)]
    pieces.append(Part(part.source, split, part.columns, taken if part.keep is None else part.keep & taken, part.found))
    return [piece for piece in pieces if piece.rows]


def schema_of_parts(parts: Sequence[Part]) -> Schema:
    from gitdata.data import formats

    return formats.schema_of(parts[0].columns)


def _refuse_differences(first: Part, other: Part) -> None:
    from gitdata.data import formats
    from gitdata.data.schema import differences

    found = differences(formats.schema_of(first.columns), formats.schema_of(other.columns))
    if found:
        raise Mendable(f"'{other.source}' and '{first.source}' differ: {'; '.join(found)}.", "Nothing was changed.")


def _refuse_same_names(parts: Sequence[Part]) -> None:
    names = [(part.split, part.source.name) for part in parts]
    for split, name in names:
        if names.count((split, name)) > 1:
            raise Mendable(f"Two files of the {split} split are called '{name}'.", "Rename one of them.")
        if not pointer.is_safe_path(name) or not name.isprintable():
            raise Mendable(f"'{name}' is no name for a file in a dataset.", "Rename it.")


def _check_fields(part: Part, names: Iterable[str]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name not in part.columns:
            near = get_close_matches(name, part.columns, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Its fields are {', '.join(part.columns)}."
            raise Mendable(f"'{part.source}' has no field '{name}'.", hint)


def check_roles(parts: Sequence[Part], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    _check_fields(parts[0], (*inputs, *outputs))
    if both := sorted(set(inputs) & set(outputs)):
        raise Mendable(f"'{both[0]}' is named as input and as output.", "Name it once.")


def check_finite(parts: Sequence[Part], roles: Mapping[str, str]) -> None:
    """What is not finite in an input or output would stop every training: refused before it is in anybody's data.

    `roles` says of a field whether it is an input or an output.
    """
    import numpy as np

    for part in parts:
        for name, role in roles.items():
            column = part.columns.get(name)
            if column is None or column.dtype.kind != "f":
                continue
            bad = np.asarray(~np.isfinite(column.reshape(len(column), -1)).all(axis=1))
            if bad.any():
                raise Mendable(
                    f"The {role} '{name}' is not a finite number in {int(bad.sum())} of {len(bad)} rows of "
                    f"'{part.source}'; the first is row {int(bad.argmax()) + 1}.",
                    "Correct or remove these rows.",
                )


def drop_or_count_known(request: Request, parts: list[Part], seen: NDArray[np.uint64]) -> int:
    """How many rows stand in the closure already or repeat here; with `dedupe` they are left out."""
    import numpy as np

    from gitdata.data import rows

    doubles = 0
    for part in parts:
        own = rows.digests(part.kept)[:, 0]
        first = np.zeros(len(own), bool)
        first[np.unique(own, return_index=True)[1]] = True
        fresh = first & ~np.isin(own, seen)
        doubles += int((~fresh).sum())
        seen = np.union1d(seen, own)
        if request.dedupe and not fresh.all():
            keep = np.ones(count(part.columns), bool) if part.keep is None else part.keep.copy()
            keep[np.flatnonzero(keep)[~fresh]] = False
            part.keep = keep
    return doubles
