"""Variants: a model file may extend another one of models/, of the same commit or work tree.

A declaration's *text* is that of its file, followed by those of the files that it extends, and of the Python files that
its layers name (their names after a colon), each after a line with a record separator and its name: characters that no
TOML holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gitdata.errors import Mendable

DEEPEST = 8  # files that extend one another

_SEPARATOR = "\x1e"
_PYTHON = re.compile(r"""["']?python["']?[ \t]*=[ \t]*["']([A-Za-z0-9][A-Za-z0-9._-]*\.py):""")
_EXTENDS = re.compile(r"""^[ \t]*["']?extends["']?[ \t]*=[ \t]*["']([^"'\n]+)\.toml["']""", re.MULTILINE)


def joined(name: str, files: Mapping[str, str], sources: Mapping[str, str] = MappingProxyType({})) -> str:
    """The text of a declaration: its own file's, and those of the files that it extends, of `files` by model.

    `sources`: the text of Python files by name.
    """
    found, waiting = {name: _plain(files[name])}, [name]
    while waiting and len(found) <= DEEPEST:
        for other in _EXTENDS.findall(found[waiting.pop()]):
            if other in files and other not in found:
                found[other] = _plain(files[other])
                waiting.append(other)
    named = {source for text in found.values() for source in _PYTHON.findall(text)}
    own = found.pop(name)
    found |= {f":{source}": _plain(sources[source]) for source in named if source in sources}
    return own + "".join(f"{_SEPARATOR}{other}\n{text}" for other, text in sorted(found.items()))


def merged(name: str, text: str, read: Callable[[str, str], dict[str, Any]]) -> dict[str, Any]:
    """The tables of a declaration, those of the files that it extends filled in.

    `read`: the tables of one file, by its text and name. Raises Mendable where a file is not there, or extends itself.
    """
    texts = texts_of(name, text)
    own = texts[name]
    tables, seen, current = read(own, name), [name], name
    while "extends" in tables:
        current = _extended(current, tables.pop("extends"), seen, texts)
        tables = _over(read(texts[current], current), tables)
    return tables


def texts_of(name: str, text: str) -> dict[str, str]:
    """The text of each file of a declaration by name, its own first."""
    own, others = _parts(text)
    return {name: own} | {other: content for other, content in others.items() if not other.startswith(":")}


def with_sources(network: Any, text: str, where: str) -> Any:
    """The tables of a network, layers of Python with the text of their file. Raises Mendable where that is missing."""
    if isinstance(network, list):
        return [with_sources(value, text, where) for value in network]
    if not isinstance(network, dict):
        return network
    filled = {key: with_sources(value, text, where) for key, value in network.items()}
    if isinstance(named := network.get("python"), str):
        file = named.partition(":")[0]
        if f":{file}" not in (sources := _parts(text)[1]):
            raise Mendable(f"{where} names models/{file}, which is not there.", "Add that file beside the model file.")
        filled["source"] = sources[f":{file}"]
    return filled


def _parts(text: str) -> tuple[str, dict[str, str]]:
    """The text of the file itself, and the others by name."""
    own, *others = text.split(_SEPARATOR)
    return own, {other: content for other, _, content in (part.partition("\n") for part in others)}


def _extended(name: str, value: Any, seen: list[str], texts: Mapping[str, str]) -> str:
    """The model whose file another one extends; `seen` are those that lead there."""
    where = f"models/{name}.toml"
    if not isinstance(value, str) or not value.endswith(".toml"):
        raise Mendable(f"{where}: 'extends' is {value!r:.60}.", 'Name a model file beside it: extends = "other.toml".')
    other = value.removesuffix(".toml")
    if other in seen:
        raise Mendable(f"{where}: it extends {value}, which leads back to itself.", "Take one 'extends' out.")
    if other not in texts:
        raise Mendable(f"{where}: it extends {value}, which is not in models/.", "Add that file, or name another.")
    seen.append(other)
    if len(seen) > DEEPEST:
        raise Mendable(f"{where}: more than {DEEPEST} files extend one another.", "Join some of them.")
    return other


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `own` says in its place, table by table; a table of another name replaces the one it extends.

    The options of one optimiser or loss mean nothing to another.
    """
    return {**base, **{key: _one_over(key, base.get(key), value) for key, value in own.items()}}


def _one_over(key: str, base: Any, own: Any) -> Any:
    """A value over the one it extends; a plain name beside a table stands for a table of that name."""
    if not isinstance(base, dict) and not isinstance(own, dict):
        return own
    below, above = ({"name": value} if isinstance(value, str) else value for value in (base, own))
    both = isinstance(below, dict) and isinstance(above, dict)
    return _over(below, above) if both and _goes_on(key, below, above) else own


def _goes_on(key: str, base: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a table says more of what another one names; losses by output say nothing of one for all outputs."""
    from gitdata.training.settings import Loss, Optimizer, Schedule

    if "name" in own:
        usual = {table.__name__.lower(): table.model_fields["name"].default for table in (Optimizer, Schedule)}
        return bool(base.get("name", usual.get(key)) == own["name"])
    return key != "loss" or "name" not in base or own.keys() <= Loss.model_fields.keys()


def _plain(text: str) -> str:
    """A file's text; a separator in it is no TOML, and stays none."""
    return text.replace(_SEPARATOR, "\N{REPLACEMENT CHARACTER}")
