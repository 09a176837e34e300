"""gitdata: git for training data that grows. The public Python interface, loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitdata.repo import Repo as Repo

__version__ = "0.1.0"
__all__ = ["Repo", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Repo":
        from gitdata.repo import Repo

        return Repo
    raise AttributeError(f"module 'gitdata' has no attribute {name!r}")
