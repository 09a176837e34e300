"""Split: the rows of one split for Python, by position, as arrays and in batches.

Rows stand in the order of the union. What is handed out shares memory where it can: treat it as read-only, or copy.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from gitdata.data.schema import Schema
from gitdata.errors import Mendable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from gitdata.data.formats import Columns
    from gitdata.data.formats.rowstore import RowStore

Row = dict[str, Any]


class Split:
    """The rows of one split, in order; by position, as arrays, and in batches. `fields`: their names, in order.

    It is what `torch.utils.data` calls a map-style dataset and `grain` a random-access data source. Other processes
    that it is sent to map or read the same verified files.
    """

    def __init__(self, store: RowStore, fields: Sequence[str]) -> None:
        self._store = store
        self.fields = tuple(fields)

    @property
    def schema(self) -> Schema:
        return Schema(tuple(self._store.schema.field(name) for name in self.fields))

    @property
    def rows(self) -> int:
        return self._store.rows

    def select(self, fields: Sequence[str]) -> Split:
        """The same rows with some fields alone; nothing is read or kept twice. Raises Mendable for an unknown one."""
        return Split(self._store, self._known(fields))

    def to_numpy(self, fields: Sequence[str] | None = None) -> Columns:
        """Arrays of shape (rows, …) by field, text as objects. They are kept, and later calls share them."""
        return {name: self._store.whole(name) for name in self._known(fields)}

    def to_arrow(self, fields: Sequence[str] | None = None) -> pa.Table:
        """An Arrow table; numbers share the memory of the arrays."""
        from gitdata.data.formats.columnar import arrow_table

        names = self._known(fields)
        chosen = [self._store.schema.field(name) for name in names]
        return arrow_table(chosen, [self._store.column(name).segments for name in names])

    def batches(
        self,
        size: int,
        seed: int | Sequence[int] | None = None,
        fields: Sequence[str] | None = None,
        *,
        drop_last: bool = False,
    ) -> Iterator[Columns]:
        """Columns of `size` rows at a time, the last of what is left, unless `drop_last`.

        In order, as views where a batch lies in one file; with a `seed` (a number, or several, as of run and epoch)
        shuffled, the same way for the same seed, each row once.
        """
        if size < 1:
            raise Mendable(f"A batch of {size} rows is none.", "Give a size of at least 1.")
        names = self._known(fields)
        order = None if seed is None else _permutation(self.rows, seed)
        stop = self.rows - self.rows % size if drop_last else self.rows
        return self._batches(names, order, range(0, stop, size), size)

    def _batches(
        self, names: Sequence[str], order: NDArray[np.int64] | None, starts: range, size: int
    ) -> Iterator[Columns]:
        columns = {name: self._store.column(name) for name in names}
        for start in starts:
            stop = min(start + size, self.rows)
            if order is None:
                yield {name: column.slice(start, stop) for name, column in columns.items()}
            else:
                yield {name: column.rows(order[start:stop]) for name, column in columns.items()}

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, position: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, position: slice | Sequence[int]) -> Columns: ...
    def __getitem__(self, position: SupportsIndex | slice | Sequence[int]) -> Row | Columns:
        """A row by its position; of a slice or several positions the columns of these rows."""
        if isinstance(position, slice):
            start, stop, step = position.indices(self.rows)
            if step == 1:
                return {name: self._store.column(name).slice(start, max(start, stop)) for name in self.fields}
            return self[range(start, stop, step)]
        if hasattr(position, "__index__") and not hasattr(position, "__len__"):
            return self._row(operator.index(position))
        return self._rows(position)  # type: ignore[arg-type]

    def __getitems__(self, positions: Sequence[int]) -> list[Row]:
        """Rows by their positions: what torch's DataLoader asks for when it makes a batch."""
        return [self._row(operator.index(position)) for position in positions]

    def __iter__(self) -> Iterator[Row]:
        """The rows in order."""
        return (self._row(position) for position in range(self.rows))

    def _row(self, position: int) -> Row:
        if not -self.rows <= position < self.rows:
            raise IndexError(f"row {position} of {self.rows}")
        return {name: self._store.column(name).row(position % self.rows) for name in self.fields}

    def _rows(self, positions: Sequence[int]) -> Columns:
        import numpy as np

        wanted = np.asarray(positions).reshape(-1)
        if wanted.dtype == bool:
            raise IndexError("a mask is no list of positions; numpy.flatnonzero makes one of it")
        wanted = wanted.astype(np.int64)
        if len(outside := wanted[(wanted < -self.rows) | (wanted >= self.rows)]):
            raise IndexError(f"row {outside[0]} of {self.rows}")
        return {name: self._store.column(name).rows(wanted % self.rows) for name in self.fields}

    def _known(self, fields: Sequence[str] | None) -> tuple[str, ...]:
        names = self.fields if fields is None else tuple([fields] if isinstance(fields, str) else fields)
        if unknown := [name for name in names if name not in self.fields]:
            raise Mendable(f"There is no field '{unknown[0]}'.", f"There are {', '.join(self.fields)}.")
        return names

    def __repr__(self) -> str:
        return f"<Split of {self.rows} rows: {', '.join(self.fields)}>"


def _permutation(rows: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    import numpy as np

    return np.random.default_rng(seed).permutation(rows)
