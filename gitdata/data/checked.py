"""Checked: values of a pointer file, each of the kind that it must be. Whatever is not raises PointerError."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Any

from gitdata.data.pointer import ID, SPLITS, is_safe_path


class PointerError(ValueError):
    """The bytes are not a valid pointer; the message says why."""


def exactly(value: Any, keys: Set[str], where: str, optional: Set[str] = frozenset()) -> None:
    """Raises unless `value` is a mapping with these keys."""
    if not isinstance(value, dict):
        raise PointerError(f"{where} is not a mapping")
    if unknown := sorted(str(key) for key in value.keys() - keys - optional):
        raise PointerError(f"{where} has the unknown field {unknown[0]!r}")
    if missing := sorted(keys - value.keys()):
        raise PointerError(f"{where} lacks the field {missing[0]!r}")


def listed(value: Any, where: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise PointerError(f"'{where}' is not a list")
    return value


def text(value: Any) -> str:
    """Text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise PointerError(f"{value!r:.40} is not text")
    value.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(item) for item in listed(value, "names of fields"))


def matching(pattern: re.Pattern[str], value: Any, what: str) -> str:
    """Text that matches a pattern as a whole."""
    if not pattern.fullmatch(text(value)):
        raise PointerError(f"{value!r:.80} is no valid {what}")
    return str(value)


def ids(value: Any, where: str) -> tuple[str, ...]:
    """Ids, each once, sorted."""
    ids = [matching(ID, item, "id") for item in listed(value, where)]
    if len(set(ids)) != len(ids):
        raise PointerError(f"'{where}' names an id twice")
    return tuple(sorted(ids))


def integer(value: Any) -> int:
    """A count."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise PointerError(f"{value!r:.40} is no valid count")
    return value


def split(value: Any) -> str:
    """The name of a split."""
    if value not in SPLITS:
        raise PointerError(f"{value!r:.40} is none of the splits {', '.join(SPLITS)}")
    return str(value)


def safe_path(value: Any) -> str:
    """A path that stays in the folder it is joined to."""
    if not is_safe_path(text(value)):
        raise PointerError(f"the path {value!r:.80} leaves its folder")
    return str(value)
