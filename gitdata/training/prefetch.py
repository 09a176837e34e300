"""Prefetch: the next item is made in a thread while the last one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_END: Any = object()


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items, one being made ahead. To be closed, so that no thread is left behind."""
    with ThreadPoolExecutor(1, "gitdata-prefetch") as thread:
        coming: Future[Item] = thread.submit(next, items, _END)
        try:
            while (item := coming.result()) is not _END:
                coming = thread.submit(next, items, _END)
                yield item
        finally:
            coming.cancel()
            close = getattr(items, "close", None)
            if close is not None:
                thread.submit(close).result()
