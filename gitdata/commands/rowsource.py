"""Row source: the rows of a union as columns, each file verified before it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gitdata.commands.packs import read_files
from gitdata.commands.records import Say, silent
from gitdata.commands.transfer import fetch_extensions, sidecar_schema
from gitdata.commands.union import Part, union_parts
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension, File
from gitdata.data.schema import Field, Schema
from gitdata.repo import Repo, blob_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns
    from gitdata.data.formats.folder import Labels

AnyColumns = Mapping[str, "NDArray[Any]"]  # in memory, or Blocks
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

    def rows(self, parts: Sequence[Part], among: Sequence[Part] = ()) -> AnyColumns:
        """The rows of some parts, one after the other; a file that brings none is not opened.

        In memory, or as Blocks where they, or those `among` which they are held, would take more of it than they may.
        """
        from gitdata.commands import streaming

        if self.bytes_in_memory(among or parts) > streaming.memory_limit(self.repo):
            return streaming.in_blocks(self.repo, parts, self._fields(parts), self.say)
        return self._in_memory(parts)

    def bytes_in_memory(self, parts: Sequence[Part]) -> int:
        """What the rows of some parts take there, as they are and while they are encoded."""
        from gitdata.commands import streaming

        return streaming.bytes_in_memory(parts, self._fields(parts) if parts else [])

    def _fields(self, parts: Sequence[Part]) -> list[Field]:
        """The fields of the rows that a model uses, as far as there are such."""
        schema = schema_of(self.repo, parts[0].extension)
        return [field for field in schema.fields if not self.inputs or field.name in (*self.inputs, *self.outputs)]

    def _in_memory(self, parts: Sequence[Part]) -> Columns:
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

    def held_out(self, columns: AnyColumns, salt: str = "holdout") -> np.ndarray[Any, Any]:
        """The tenth of the rows that serves as validation rows where there is no such split, by input hash.

        Another `salt` draws another tenth.
        """
        from gitdata.data import rows

        return rows.in_fraction(self._digests(columns, self.inputs_of(columns)), HOLDOUT, salt)

    def digests(self, columns: AnyColumns) -> np.ndarray[Any, Any]:
        """The first 64 bits of each row's digest over inputs and outputs: what duplicates and leaks are found by."""
        return self._digests(columns, (*self.inputs_of(columns), *self.outputs) if columns else ())

    def _digests(self, columns: AnyColumns, fields: Sequence[str]) -> np.ndarray[Any, Any]:
        import numpy as np

        from gitdata.data import rows
        from gitdata.training.blocks import blocks_of

        return np.concatenate([rows.digests(block, fields)[:, 0] for block in blocks_of(columns)])


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


@overload
def select(columns: Columns, mask: np.ndarray[Any, Any]) -> Columns: ...
@overload
def select(columns: AnyColumns, mask: np.ndarray[Any, Any]) -> AnyColumns: ...
def select(columns: AnyColumns, mask: np.ndarray[Any, Any]) -> AnyColumns:
    """The rows that a mask keeps; of Blocks, Blocks."""
    from gitdata.training.blocks import Blocks

    return columns.select(mask) if isinstance(columns, Blocks) else {name: c[mask] for name, c in columns.items()}


def count(columns: AnyColumns) -> int:
    """The number of rows; no columns, no rows."""
    from gitdata.training.blocks import rows_of

    return rows_of(columns)
