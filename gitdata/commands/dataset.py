"""Dataset: the rows of a closure for Python, split by split; brought here, verified and read when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from gitdata.commands.models import up_to_date_ledger
from gitdata.commands.pieces import parts_with_rows, pieces_of
from gitdata.commands.records import Say, silent
from gitdata.commands.rowsource import schema_of
from gitdata.commands.split import Split
from gitdata.commands.union import Part
from gitdata.data import pointer
from gitdata.data.chain import Chain
from gitdata.data.ledger import Ledger
from gitdata.data.schema import Schema
from gitdata.errors import Mendable
from gitdata.repo import Repo


class Dataset:
    """The live extensions of a closure; of these, only the rows of `ids`. `dataset["train"]` is a `Split`."""

    def __init__(
        self, repo: Repo, name: str, chain: Chain, live: frozenset[str], ids: frozenset[str], say: Say = silent
    ) -> None:
        self.name = name
        self.ids: tuple[str, ...] = tuple(extension.id for extension in chain.ordered(ids))
        self._repo, self._chain, self._live, self._say = repo, chain, live, say
        self._splits: dict[str, Split] = {}

    @cached_property
    def schema(self) -> Schema:
        """The fields, with dtype and shape per row."""
        extensions = self._chain.ordered(self.ids or self._live)
        return schema_of(self._repo, extensions[0]) if extensions else Schema(())

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that have rows."""
        return tuple(name for name in pointer.SPLITS if self._parts[name])

    @cached_property
    def _parts(self) -> dict[str, list[Part]]:
        """The parts of the union that are of our extensions: what parallel ones share stays where the union has it."""
        return {
            split: parts_with_rows(self._repo, self._chain, self.ids, split, within=self._live)
            for split in pointer.SPLITS
        }

    def split(self, name: str) -> Split:
        """A split by name. Raises Mendable where the dataset has no such rows."""
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise Mendable(
                f"There are no {name} rows in {self.name}; splits that have rows: {known}.", "Name one of them."
            )
        if name not in self._splits:
            self._splits[name] = self._split(self._parts[name])
        return self._splits[name]

    __getitem__ = split

    def _split(self, parts: list[Part]) -> Split:
        from gitdata.data.formats.rowstore import RowStore

        rows = sum(part.rows for part in parts)
        store = RowStore(self.schema, rows, lambda: pieces_of(self._repo, parts, self._say))
        return Split(store, self.schema.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        """The rows of all splits."""
        return sum(part.rows for parts in self._parts.values() for part in parts)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {sum(part.rows for part in self._parts[name])}" for name in self.splits)
        return f"<Dataset {self.name}: {len(self.ids)} extensions; rows: {rows or 'none'}>"


def dataset(repo: Repo, reference: str, unseen_by: str | None = None, say: Say = silent) -> Dataset:
    """What `DATASET` (its heads) or `DATASET@X` names, or of that only what `unseen_by` (`MODEL[@N]`) has not seen.

    As ever, an extension without train rows is nothing that a model could see. Raises Mendable, DataUnavailable.
    """
    snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
    chain, named = snapshot.extensions(reference)
    live = repo.live(chain, [extension.id for extension in named])
    ids = live
    if unseen_by is not None:
        trainable = {id for id in live if chain.extensions[id].rows_of("train")}
        ids = frozenset(trainable - seen_by(repo, unseen_by, say))
    return Dataset(repo, reference, chain, live, ids, say)


def seen_by(repo: Repo, reference: str, say: Say = silent) -> frozenset[str]:
    """What `MODEL@N`, or the champion of `MODEL`, has seen; one that is declared and has no champion saw nothing."""
    from gitdata.commands.models import version

    model, _, selector = reference.partition("@")
    ledgers: Mapping[str, Ledger] = repo.ledgers(up_to_date_ledger(repo, say))
    if not selector and (model not in ledgers or ledgers[model].champion is None):
        snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
        snapshot.declaration(model)
        return frozenset()
    ledger, entry = version(repo, reference, say)
    return ledger.seen(entry.id)
