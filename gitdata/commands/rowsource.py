"""Row source: the rows of a union as columns, each file verified before it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.packs import read_files
from gitdata.commands.records import Say, silent
from gitdata.commands.transfer import fetch_extensions, sidecar_schema
from gitdata.commands.union import Part, union_parts
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension, File
from gitdata.data.schema import Schema
from gitdata.repo import Repo, blob_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns
    from gitdata.data.formats.folder import Labels

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

        with_columns = [part for part in parts if part.file.rows]
        parts = [part for part in with_columns if part.rows] or with_columns[:1]  # without rows it has columns still
        found = read_files(self.repo, [(part.extension, part.file) for part in parts], self._fetch, self._read)
        kept = [rows if part.keep is None else select(rows, part.keep) for part, rows in zip(parts, found, strict=True)]
        return formats.concatenate(kept)

    def _fetch(self, extensions: Sequence[Extension], splits: Collection[str]) -> None:
        fetch_extensions(self.repo, extensions, splits, self.say)

    def _read(self, extension: Extension, files: Sequence[File]) -> Iterator[Columns]:
        """The rows of each of some files of a split; the place of one in a folder gives its rows fields besides."""
        from gitdata.data import formats
        from gitdata.data.formats import folder

        if not files:
            return
        schema = schema_of(self.repo, extension)
        split = {file.split for file in files}
        tables = labels_tables(self.repo, extension, [f for f in self.repo.files_of(extension) if f.split in split])
        for file in files:
            beside = folder.beside(file.path, tables.get(folder.labels_place(file.path) or ""))
            yield formats.read(verified(self.repo, file), schema, suffix=Path(file.path).suffix, beside=beside)

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


def labels_tables(repo: Repo, extension: Extension, files: Iterable[File]) -> dict[str, Labels]:
    """The labels tables among the files of one split, which must be in the cache, by their place."""
    from gitdata.data.formats import folder

    tables = [file for file in files if folder.is_labels_table(file.path)]
    schema = schema_of(repo, extension) if tables else Schema(())
    return {file.path: folder.read_labels(verified(repo, file), schema, Path(file.path)) for file in tables}


def verified(repo: Repo, file: File) -> Path:
    """Where the content of a file lies. Raises DataUnavailable where it is not what its digests name."""
    blob = blob_of(file)
    if not repo.cache.verify(blob):
        raise repo.cache.reject(blob)
    return repo.cache.path(blob)


def schema_of(repo: Repo, extension: Extension) -> Schema:
    if extension.schema is not None:
        return extension.schema
    return sidecar_schema(repo, extension)


def select(columns: Columns, mask: np.ndarray[Any, Any]) -> Columns:
    return {name: column[mask] for name, column in columns.items()}


def count(columns: Mapping[str, Any]) -> int:
    """The number of rows; no columns, no rows."""
    return len(next(iter(columns.values()))) if columns else 0
