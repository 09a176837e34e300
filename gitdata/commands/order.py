"""Order: whether the columns of a file stand otherwise than before. Fields go by name, so it is said, no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gitdata.commands.intake import Part
from gitdata.data.chain import Chain
from gitdata.errors import Mendable
from gitdata.repo import Repo, blob_of


def reordered(repo: Repo, chain: Chain, parents: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """The files whose columns stand in another order than those of the parents, or of the first of them.

    The parents' is that of a file in the cache: nothing is fetched for this.
    """
    orders = ((part.source, _header(part.source, part.place)) for part in parts if part.table is not None)
    shown = [(path, names) for path, names in orders if names]
    if not shown:
        return []
    usual = next(_known(repo, chain, parents), shown[0][1])
    return [path.name for path, names in shown if names != usual and set(names) == set(usual)]


def _known(repo: Repo, chain: Chain, parents: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for extension in (chain.extensions[parent] for parent in parents):
        for file in extension.files or ():
            if repo.cache.holds(blob_of(file)) and (names := _header(repo.cache.path(blob_of(file)), file.path)):
                yield names


def _header(path: Path, name: str) -> tuple[str, ...]:
    """The names of the columns of a file called `name`; none where its format shows none, or it is damaged."""
    from gitdata.data.formats import format_of

    format = format_of(Path(name).suffix)
    try:
        return format.header(path) if format is not None and format.header is not None else ()
    except Mendable:
        return ()
