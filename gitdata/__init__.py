"""gitdata: git for training data that grows. The public Python interface, loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitdata.api import Repo as Repo
    from gitdata.data.formats.hdf5view import open_union as open_union

__version__ = "0.1.0"
__all__ = ["Repo", "__version__", "open_union"]


def __getattr__(name: str) -> Any:
    if name == "Repo":
        from gitdata.api import Repo

        return Repo
    if name == "open_union":
        from gitdata.data.formats.hdf5view import open_union

        return open_union
    raise AttributeError(f"module 'gitdata' has no attribute {name!r}")
