"""Union parts: the files of extensions, each with the rows that the union takes from it.

Rows are told apart by the row indexes alone, and these are read only where extensions are parallel: of a linear chain
everything stays, and nothing is opened. Rows collapse within one split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitdata.commands.packs import read_sidecars
from gitdata.commands.transfer import fetch_blobs
from gitdata.data.chain import Chain
from gitdata.data.pointer import ROW_INDEX, Extension, File
from gitdata.errors import DataUnavailable, GitdataError
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.data.union import Masks


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an extension; `keep`: which of its rows belong to the union, None where all of them do."""

    extension: Extension
    file: File
    keep: NDArray[np.bool_] | None

    @property
    def rows(self) -> int:
        return self.file.rows if self.keep is None else int(self.keep.sum())


def union_parts(
    repo: Repo, chain: Chain, ids: Iterable[str], split: str, within: Iterable[str] | None = None
) -> list[Part]:
    """What the extensions `ids` bring of a split to the union of `within`, in the order of the union.

    `within` (default: what is live of the closure of `ids`) is what rows collapse in: to go on training on what is
    unseen, it is all that is live, so that a row which a seen parallel extension brought is left out. Raises
    DataUnavailable or TryAgain where a row index or a long listing is needed and cannot be had.
    """
    asked = frozenset(ids)
    scope = (chain.live_part(asked) if within is None else frozenset(within)) | asked
    members = chain.contributing(scope, split)
    masks = _masks(repo, chain, members, split)
    wanted = [extension for extension in members if extension.id in asked]
    fetch_listings(repo, wanted)
    return [part for extension in wanted for part in _parts(repo, extension, split, masks.get(extension.id))]


def row_indexes(
    repo: Repo,
    extensions: Sequence[Extension],
    lost: Callable[[Extension, GitdataError], None] | None = None,
    name: str = ROW_INDEX,
) -> dict[str, NDArray[np.uint64]]:
    """By id, the first 64 bits of the digest of every row, in the order of the listing: shape (rows,).

    `name`: the sidecar that holds them; the default is over all fields.
    Raises DataUnavailable or TryAgain where one cannot be had; with `lost` that is told instead, and it is left out.
    """
    from gitdata.data import rows

    contents = read_sidecars(repo, extensions, name, lost)
    found = {}
    for extension in (e for e in extensions if e.id in contents):
        index = rows.read_index(contents[extension.id])
        if len(index) == sum(count for _, count in extension.rows):
            found[extension.id] = index
        elif lost is None:
            raise _other_length(extension, name, len(index))
        else:
            lost(extension, _other_length(extension, name, len(index)))
    return found


def _other_length(extension: Extension, name: str, length: int) -> DataUnavailable:
    return DataUnavailable(
        f"The row index {name} of {extension.dataset}@{extension.version} ({extension.short}) has {length} entries; "
        "its pointer names another number of rows.",
        "The pointer was edited by hand; restore it from git.",
    )


def _masks(repo: Repo, chain: Chain, members: Sequence[Extension], split: str) -> Masks:
    """Which rows stay, of the extensions that are parallel to others and have a row index."""
    if len(members) < 2:
        return {}
    from gitdata.data import union

    order = [extension.id for extension in chain.ordered(chain.closure(e.id for e in members))]
    parents = {id: chain.extensions[id].parents for id in order}
    indexed = {e.id: e for e in members if any(a.path.endswith(f"/{ROW_INDEX}") for a in e.sidecars)}
    groups = union.parallel(order, parents, indexed.keys())
    needed = [indexed[id] for group in groups for id in group]
    if not needed:
        return {}
    fetch_listings(repo, needed)
    found = row_indexes(repo, needed)
    return union.keep_masks(order, parents, {e.id: _of_split(repo, e, split, found[e.id]) for e in needed})


def _of_split(repo: Repo, extension: Extension, split: str, index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The part of a row index that belongs to a split."""
    import numpy as np

    files = repo.files_of(extension)
    found: NDArray[np.uint64] = index[np.repeat([file.split == split for file in files], [f.rows for f in files])]
    return found


def _parts(repo: Repo, extension: Extension, split: str, keep: NDArray[np.bool_] | None) -> list[Part]:
    start, parts = 0, []
    for file in repo.files_of(extension):
        if file.split == split:
            stop = start + file.rows
            own = None if keep is None or keep[start:stop].all() else keep[start:stop]
            parts.append(Part(extension, file, own))
            start = stop
    return parts


def fetch_listings(repo: Repo, extensions: Sequence[Extension]) -> None:
    long = [extension for extension in extensions if extension.files is None]
    fetch_blobs(repo, [repo.sidecar(extension, "listing.json") for extension in long])
