"""Row source: the rows of a union as columns, each file verified before it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.records import Say, silent
from gitdata.commands.transfer import fetch_extensions, sidecar_json
from gitdata.commands.union import Part, union_parts
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.data.schema import Schema
from gitdata.repo import Repo, blob_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns

HOLDOUT = 0.1


@dataclass(frozen=True, slots=True)
class RowSource:
    """Reads rows of the extensions of one dataset; `inputs` and `outputs` are the fields a model uses."""

    repo: Repo
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    say: Say = silent

    def parts(self, chain: Chain, live: Iterable[str], split: str) -> list[Part]:
        """The files that bring rows of a split to the union of what is live, and which rows of each."""
        live = frozenset(live)
        return union_parts(self.repo, chain, live, split, within=live)

    def rows(self, parts: Sequence[Part]) -> Columns:
        """The rows of some parts, one after the other; a file that brings none is not opened."""
        from gitdata.data import formats

        parts = [part for part in parts if part.rows] or parts[:1]  # a part without rows still has their columns
        extensions = tuple({part.extension.id: part.extension for part in parts}.values())
        fetch_extensions(self.repo, extensions, {part.file.split for part in parts}, self.say)
        return formats.concatenate([self._read(part) for part in parts])

    def _read(self, part: Part) -> Columns:
        from gitdata.data import formats

        blob = blob_of(part.file)
        if not self.repo.cache.verify(blob):
            raise self.repo.cache.reject(blob)
        schema = schema_of(self.repo, part.extension)
        columns = formats.read(self.repo.cache.path(blob), schema, suffix=Path(part.file.path).suffix)
        return columns if part.keep is None else select(columns, part.keep)

    def inputs_of(self, columns: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
        return self.inputs or tuple(name for name in columns if name not in self.outputs)

    def held_out(self, columns: Mapping[str, NDArray[Any]]) -> np.ndarray[Any, Any]:
        """The tenth of the rows that serves as validation rows where there is no such split, by input hash."""
        from gitdata.data import rows

        return rows.fraction_mask(columns, self.inputs_of(columns), HOLDOUT, "holdout")

    def digests(self, columns: Mapping[str, NDArray[Any]]) -> np.ndarray[Any, Any]:
        """The first 64 bits of each row's digest over inputs and outputs: what duplicates and leaks are found by."""
        from gitdata.data import rows

        fields = (*self.inputs_of(columns), *self.outputs) if columns else ()
        return rows.digests(columns, fields)[:, 0]


def schema_of(repo: Repo, extension: Extension) -> Schema:
    if extension.schema is not None:
        return extension.schema
    return Schema.from_json(sidecar_json(repo, extension, "schema.json"))


def select(columns: Columns, mask: np.ndarray[Any, Any]) -> Columns:
    return {name: column[mask] for name, column in columns.items()}


def count(columns: Mapping[str, Any]) -> int:
    """The number of rows; no columns, no rows."""
    return len(next(iter(columns.values()))) if columns else 0
