"""Mistakes: what is wrong with a value in a model file, in words that say what is wanted there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from gitdata.training.conditions import EXAMPLES

# By the name of a key, before what its type says.
_WANTED = {
    "branch": "the name of a branch is wanted",
    "class_weights": '"balanced" or a table of numbers from 0 is wanted, as in { rare = 5.0 }',
    "conditions": f"a list of conditions is wanted, as in [{EXAMPLES}]",
    "dataset": 'a dataset or a version of it is wanted, as in "lattice" or "lattice@1.2.0"',
    "dense": 'a number of units up to 65536, or "outputs", is wanted',
    "forgetting": "a number from 0 is wanted, or false",
    "model": 'a version is wanted, as in "lattice@3"',
    "python": 'a file and a class of it are wanted, as in "blocks.py:Encoder"',
    "slice_tolerance": "a number from 0 is wanted, or false",
    "slices": '"categories" or bounds are wanted, as in [0.5, 1.0]',
    "warmup": "steps or a share of the run are wanted, as in 100 or 0.1",
}
_TYPES = {
    "string_type": "a text is wanted",
    "string_too_short": "it may not be empty",
    "dict_type": "a table is wanted",
    "model_type": "a table is wanted",
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "bool_type": "true or false is wanted",
    "finite_number": "a finite number is wanted",
}
_BOUNDS = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "up to {}"}
_NAMED = ("Loss", "Metric", "Optimizer", "Schedule")  # tables for which a name may stand
_SHORT = {"lr": "learning_rate", "wd": "weight_decay"}  # names that are too far from what they stand for


def said(path: str, problem: Mapping[str, Any]) -> str:
    """What pydantic found at a path, without a full stop."""
    value = problem.get("input")
    if problem["type"] == "missing":
        return f"'{path}' is missing"
    if problem["type"] in ("value_error", "assertion_error"):
        message = str(problem["msg"]).removeprefix("Value error, ")
        return f"'{path}': {message}" if path else message
    wanted = _wanted(path, problem, value)
    return f"'{path}' is {shown}; {wanted}" if (shown := _shown(value)) else f"'{path}': {wanted}"


def near(name: str, candidates: Collection[str]) -> str | None:
    """The candidate that may be meant by a name."""
    return next(iter(get_close_matches(_SHORT.get(name, name), list(candidates), 1)), None)


def nearest(name: str, candidates: Collection[str]) -> str:
    """What may be meant, as the end of a sentence."""
    return f"; is '{found}' meant?" if (found := near(name, candidates)) else ""


def ended(sentence: str) -> str:
    """With a full stop, if it does not end already."""
    return sentence if sentence.endswith("?") else f"{sentence}."


def _wanted(path: str, problem: Mapping[str, Any], value: Any) -> str:
    kind, more = str(problem["type"]), problem.get("ctx", {})
    names = re.findall(r"'([^']*)'", str(more.get("expected", "")))
    if len(names) > 1:
        return f"it must be one of {', '.join(names)}{nearest(str(value), names)}"
    keys = path.split(".")[:-3:-1]
    if own := next((_WANTED[key] for key in keys if key in _WANTED), None):
        return own
    if kind in ("tuple_type", "list_type"):
        return "a list is wanted" + (f', as in ["{value}"]' if isinstance(value, str) else "")
    if kind in ("too_short", "too_long"):
        return _count(more)
    if more.get("class_name") in _NAMED:
        return "a name or a table is wanted"
    if bound := next((words.format(more[key]) for key, words in _BOUNDS.items() if key in more), None):
        return f"a number {bound} is wanted"
    return _TYPES.get(kind) or _lowered(str(problem["msg"]))


def _count(more: Mapping[str, Any]) -> str:
    if "max_length" in more:
        return f"at most {more['max_length']} are wanted"
    return f"at least {more['min_length']} are wanted" if more.get("actual_length") else "it may not be empty"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    """A value as a model file has it; nothing of a table, or of layers, which say too much."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return f"{value!r:.60}"
    plain = isinstance(value, Sequence) and all(isinstance(item, str | int | float) for item in value)
    return f"{list(value)!r:.60}" if plain else ""
