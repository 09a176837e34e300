"""Row source: the rows of extensions as columns, each file verified before it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.packs import read_columns
from gitdata.commands.records import Say, silent
from gitdata.commands.transfer import fetch_extensions, sidecar_schema
from gitdata.data.pointer import Extension, File
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

    def rows(self, extensions: Sequence[Extension], split: str) -> Columns:
        """All rows of a split, extensions in the order given, files in the order of the listing."""
        from gitdata.data import formats

        def fetch(needed: Sequence[Extension]) -> int:
            return fetch_extensions(self.repo, needed, [split], self.say)

        return formats.concatenate(read_columns(self.repo, extensions, split, fetch, self._read))

    def _read(self, extension: Extension, files: Sequence[File]) -> Iterator[Columns]:
        """The rows of each of some files of a split; the place of one in a folder gives its rows fields besides."""
        from gitdata.data import formats
        from gitdata.data.formats import folder

        if not files:
            return
        schema = schema_of(self.repo, extension)
        tables = {
            file.path: folder.read_labels(self._verified(file), schema, Path(file.path))
            for file in self.repo.files_of(extension)
            if file.split == files[0].split and folder.is_labels_table(file.path)
        }
        for file in files:
            beside = folder.beside(file.path, tables.get(folder.labels_place(file.path) or ""))
            yield formats.read(self._verified(file), schema, suffix=Path(file.path).suffix, beside=beside)

    def _verified(self, file: File) -> Path:
        """Where the content of a file lies. Raises DataUnavailable where it is not what its digests name."""
        blob = blob_of(file)
        if not self.repo.cache.verify(blob):
            raise self.repo.cache.reject(blob)
        return self.repo.cache.path(blob)

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
    return sidecar_schema(repo, extension)


def select(columns: Columns, mask: np.ndarray[Any, Any]) -> Columns:
    return {name: column[mask] for name, column in columns.items()}


def count(columns: Mapping[str, Any]) -> int:
    """The number of rows; no columns, no rows."""
    return len(next(iter(columns.values()))) if columns else 0
