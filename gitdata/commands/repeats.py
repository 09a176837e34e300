"""Repeats: rows that a dataset holds already, or that come in twice, counted or left out.

Rows are compared over declared inputs and outputs; without these over all fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitdata.commands.intake import Part, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def drop_or_count_known(request: Request, parts: list[Part], seen: NDArray[np.uint64]) -> int:
    """How many rows stand in the closure already or repeat here; with `dedupe` they are left out.

    `seen`: what the rows of the closure are told by.
    """
    import numpy as np

    if not parts:
        return 0
    own = np.concatenate([part.telling for part in parts])
    first = np.zeros(len(own), bool)
    first[np.unique(own, return_index=True)[1]] = True
    fresh = first & ~np.concatenate([part.among(seen) for part in parts])
    if request.dedupe:
        for part, its in zip(parts, np.split(fresh, np.cumsum([part.rows for part in parts])[:-1]), strict=True):
            part.choose(its)
    return int((~fresh).sum())
