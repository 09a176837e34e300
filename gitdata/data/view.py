"""Union view: one file or folder that shows the rows of a closure, and what it says of itself.

A *mark* is what every view carries: which dataset it shows, as of which heads and commit, and from which files. By
it a view is known as gitdata's own, and a stale or moved one is told from one that still shows what it should.
This module is pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gitdata.canonical import canonical_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
MARK = "gitdata"  # the attribute, key or file name that carries the mark


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a view shows rows of: `name` is its path as the view has it, `size` in bytes, `rows` as shown."""

    name: str
    sha256: str
    size: int
    mtime_ns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What a view says of itself.

    `reference` is what was asked for; `flat`, that one split was, so that it needs no group or folder of its own;
    `virtual`, that the rows lie in the sources; `files`, of a folder, are the paths of all that was put there.
    """

    reference: str
    heads: tuple[str, ...]
    commit: str | None
    splits: tuple[str, ...]
    flat: bool
    virtual: bool
    sources: tuple[Source, ...]
    files: tuple[str, ...] = ()

    def encode(self) -> str:
        return canonical_json({"format": FORMAT, **asdict(self)}).decode()


def decode(text: str | bytes) -> Mark | None:
    """The mark that `encode` wrote; None where it is none, or of a later format."""
    try:
        value = json.loads(text)
        if value.pop("format") != FORMAT:
            return None
        sources = tuple(Source(**source) for source in value.pop("sources"))
        heads, splits, files = (tuple(value.pop(name)) for name in ("heads", "splits", "files"))
        return Mark(heads=heads, splits=splits, sources=sources, files=files, **value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def runs(keep: NDArray[np.bool_] | None, rows: int) -> tuple[tuple[int, int], ...]:
    """The stretches (start, stop) of the rows that `keep` names; without a mask one stretch of all `rows`."""
    if keep is None:
        return ((0, rows),) if rows else ()
    import numpy as np

    padded = np.concatenate(([False], keep, [False])).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded)).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))
