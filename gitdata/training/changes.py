"""Changes: what differs between two declarations of what a checkpoint depends on, [data] and [network], in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from gitdata.canonical import canonical_json, digest
from gitdata.training.declaration import Data, Declaration

Change = tuple[str, str, str]  # where, what was there, and what is declared there now

_LONGEST = 60  # characters of a layer that are shown


def changes(before: Declaration, now: Declaration, name: str) -> tuple[str, ...]:
    """A clause for each difference, as `layer 2: dense 64 in version 3, dense 128 declared`; `name`: what came before.

    There is one wherever the restore digests differ.
    """
    layers = (own.network.written()["layers"] for own in (before, now))
    found = (*_of_data(before.data, now.data), *_of_layers("", *layers))
    return tuple(f"{where}: {old} in {name}, {new} declared" for where, old, new in found)


# --- data ----------------------------------------------------------------------------------------------------


def _of_data(before: Data, now: Data) -> Iterator[Change]:
    for key in (key for key in Data.model_fields if key != "version"):
        old, new = getattr(before, key), getattr(now, key)
        if old == new:
            continue
        if isinstance(old, dict):
            names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
            yield from ((f"{key} of {name}", old.get(name, "nothing"), new.get(name, "nothing")) for name in names)
        elif isinstance(old, tuple) and isinstance(new, tuple) and set(old) != set(new):
            yield key, _besides(old, new), _besides(new, old)
        else:
            yield key, _named(old), _named(new)


def _besides(names: Sequence[str], others: Sequence[str]) -> str:
    """Names that are not among others."""
    found = [name for name in names if name not in others]
    return f"also {', '.join(found)}" if found else "nothing else"


def _named(value: str | Sequence[str] | None) -> str:
    if value is None:
        return "all other fields"
    return value if isinstance(value, str) else ", ".join(value)


# --- layers --------------------------------------------------------------------------------------------------


def _of_layers(within: str, before: Sequence[Any], now: Sequence[Any]) -> Iterator[Change]:
    """Layers in order: one that stands on one side only leaves the others where they were."""
    old_texts, new_texts = ([canonical_json(layer) for layer in layers] for layers in (before, now))
    for tag, first, last, start, stop in SequenceMatcher(None, old_texts, new_texts, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for place in range(max(last - first, stop - start)):
            old = before[first + place] if first + place < last else None
            new = now[start + place] if start + place < stop else None
            yield from _of_layer(f"{within}layer {(start if old is None else first) + place + 1}", old, new)


def _of_layer(where: str, old: Any, new: Any) -> Iterator[Change]:
    """A layer of the same kind may differ in the layers within it alone."""
    if _kind(old) and _kind(old) == _kind(new):
        differing = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
        if all(_has_layers(own.get(key)) for key in differing for own in (old, new)):
            for key in sorted(differing):
                yield from _within(f"{where} ({_kind(old)})", old[key], new[key])
            return
    yield where, words(old), words(new)


def _within(where: str, old: Any, new: Any) -> Iterator[Change]:
    """Layers within a layer: a row of them, or several, which have names or numbers."""
    if isinstance(old, list) and isinstance(new, list) and not isinstance(old[0], list):
        yield from _of_layers(f"{where}, ", old, new)
        return
    branches = [own if isinstance(own, dict) else dict(enumerate(own, 1)) for own in (old, new)]
    for name in dict.fromkeys((*branches[0], *branches[1])):
        yield from _of_layers(f"{where}, {name}, ", *(own.get(name, []) for own in branches))


def _kind(layer: Any) -> str | None:
    """What a layer with options is; None of what is no such layer."""
    return next(iter(layer)) if isinstance(layer, dict) else None


def _has_layers(value: Any) -> bool:
    """Whether a value of a layer is layers: names alone may be those of fields."""
    inner = list(value.values()) if isinstance(value, dict) else value
    return isinstance(inner, list) and any(isinstance(item, dict | list) for item in inner)


def words(layer: Any) -> str:
    """A layer in a line, as `dense 64, bias False`; what is too long ends with a digest, so that others look other."""
    if layer is None:
        return "nothing"
    text = ", ".join(f"{key} {_value(own)}" for key, own in layer.items()) if isinstance(layer, dict) else str(layer)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 10]}… ({digest(layer)[:6]})"


def _value(value: Any) -> str:
    if isinstance(value, str | int | float):
        text = str(value)
        return text if "\n" not in text else digest(text)[:6]
    return canonical_json(value).decode()
