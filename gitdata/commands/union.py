"""Union: which rows of which files a closure consists of, in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension, File
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Part:
    """A file of an extension; `keep` names the rows of it that belong to the union, None means all."""

    extension: Extension
    file: File
    keep: NDArray[np.bool_] | None = None


def union_parts(repo: Repo, chain: Chain, ids: Iterable[str], split: str) -> list[Part]:
    """The parts of a split, extensions in the order of the chain, files in the order of their listing."""
    return [
        Part(extension, file)
        for extension in chain.contributing(ids, split)
        for file in repo.files_of(extension)
        if file.split == split
    ]
