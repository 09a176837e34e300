"""Origin: where rows that were read come from: extension, file, and row of the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdata.commands.rowsource import AnyColumns
from gitdata.commands.union import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Origins:
    """Remembers of columns that were handed out which rows of which files they are."""

    def __init__(self) -> None:
        self._known: list[tuple[AnyColumns, Sequence[Part], NDArray[np.bool_] | None]] = []

    def note(self, columns: AnyColumns, parts: Sequence[Part], kept: NDArray[np.bool_] | None = None) -> AnyColumns:
        """`columns` themselves: they are the rows of some parts, or of these the rows that a mask keeps."""
        self._known.append((columns, parts, kept))
        return columns

    def names(self, columns: AnyColumns, numbers: Sequence[int]) -> list[str]:
        """What people call some rows of columns: row, file and extension; rows of a file are counted from 1."""
        import numpy as np

        found = next(((parts, kept) for known, parts, kept in self._known if known is columns), None)
        if found is None:
            return [f"row {number + 1}" for number in numbers]
        parts, kept = found
        places = np.asarray(numbers, np.int64)
        places = places if kept is None else np.flatnonzero(kept)[places]
        ends = np.cumsum([part.rows for part in parts])
        which = np.searchsorted(ends, places, side="right")
        return [
            _name(parts[index], int(place - ends[index] + parts[index].rows))
            for index, place in zip(which, places, strict=True)
        ]


def _name(part: Part, place: int) -> str:
    import numpy as np

    row = place if part.keep is None else int(np.flatnonzero(part.keep)[place])
    return f"row {row + 1} of {part.file.path} in {part.extension.dataset}@{part.extension.version}"
