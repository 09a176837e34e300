"""Places: where in a model file something stands, for people who are to mend it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_HEADER = re.compile(r"[ \t]*\[{1,2}[ \t]*([^\[\]#]+?)[ \t]*\]{1,2}")
_KEY = re.compile(r"""[ \t]*([A-Za-z0-9_.'"-]+?)[ \t]*=""")


def place(texts: Mapping[str, str], keys: Sequence[str]) -> tuple[str, int | None]:
    """The file of `texts` that has most of the path `keys`, the first of equals, and the line, from 1, or None."""
    found = [(*_nearest(text, tuple(keys)), name) for name, text in texts.items()]
    depth, line, name = max(found, key=lambda one: one[0])
    return name, line if depth else None


def _nearest(text: str, keys: tuple[str, ...]) -> tuple[int, int]:
    """How much of a path a text has, and the line that has it."""
    table: tuple[str, ...] = ()
    best = (0, 0)
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            path = table = _parts(match[1])
        elif match := _KEY.match(line):
            path = (*table, *_parts(match[1]))
        else:
            continue
        if path == keys[: len(path)] and len(path) > best[0]:
            best = len(path), number
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t'\"") for part in dotted.split("."))
