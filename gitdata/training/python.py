"""Python: Flax modules that a person wrote, as layers; nothing of a file runs before `allow` was called.

Whoever opens packages or trains calls it where the owner of the machine said so, in git's own configuration.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gitdata.errors import Mendable
from gitdata.training.architecture.layers import Python, Shape

_STATE = (nnx.Param, nnx.BatchStat)  # what a module may hold: numbers that a package keeps
_allowed: list[bool] = []


def allow() -> None:
    """Let this process run Python from model files and packages."""
    _allowed[:] = [True]


def is_allowed() -> bool:
    """Whether `allow` was called."""
    return bool(_allowed)


def made(layer: Python, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
    """The module of a layer that gets `shape` of each row. Raises Mendable, naming line and error, where it fails."""
    file, name = _names(layer)
    kind: Any = getattr(_loaded(file, layer.source), name, None)
    if not isinstance(kind, type) or not issubclass(kind, nnx.Module):
        raise Mendable(f"models/{file} has no Flax module '{name}'.", f"Write `class {name}(nnx.Module): …` there.")
    with _naming(layer, "could not be made"):
        module: nnx.Module = kind(shape, **layer.options, rngs=rngs)  # type: ignore[call-arg]
    keeps = False
    for path, variable in nnx.iter_graph(module):
        keeps = keeps or isinstance(variable, nnx.BatchStat)
        if isinstance(variable, nnx.Variable) and not isinstance(variable, _STATE):
            raise Mendable(
                f"models/{layer.python} keeps {type(variable).__name__} as '{'.'.join(map(str, path))}', which no "
                "package holds.",
                "Keep nnx.Param and nnx.BatchStat alone; for dropout put { dropout = … } beside it.",
            )
    if keeps and not _takes_mask(module):
        raise Mendable(
            f"models/{layer.python} keeps statistics of batches, and does not ask which rows of a batch count.",
            "Write `def __call__(self, x, mask=None)`, and hand the mask on to the norm.",
        )
    return module


def called(layer: Python, module: Any, x: jax.Array, rows: jax.Array | None, *, training: bool) -> jax.Array:
    """What a module makes of a batch (rows, *shape). Raises Mendable where that is not what the layer declares.

    `rows`: shape (rows,), 0 for those that only fill the batch up; None: all count.
    """
    there = None if rows is None or not training else (rows > 0).reshape(-1, *[1] * (x.ndim - 1))
    with _naming(layer, "failed"):
        (module.train if training else module.eval)()
        result = jnp.asarray(module(x, mask=there) if _takes_mask(module) else module(x))
    if result.shape != (len(x), *layer.shape):
        raise Mendable(
            f"models/{layer.python} makes {list(result.shape[1:])} of each row, and shape = {list(layer.shape)} is "
            "declared.",
            f"Declare shape = {list(result.shape[1:])}.",
        )
    return result.astype(jnp.float32)


@lru_cache(maxsize=32)
def _loaded(file: str, source: str) -> ModuleType:
    """The file as a Python module of its own."""
    if not is_allowed():
        raise Mendable(
            f"The network runs Python, models/{file}, and this machine does not allow that.",
            "Read that file; if you trust it: `git config gitdata.allowPython true`.",
        )
    module = ModuleType(f"gitdata_models_{hashlib.sha256(source.encode()).hexdigest()[:16]}")
    module.__file__ = f"models/{file}"
    sys.modules[module.__name__] = module  # dataclasses and pickles look a class's module up there
    with _naming_file(file, "could not be read"):
        exec(compile(source, f"models/{file}", "exec"), module.__dict__)
    return module


def _takes_mask(module: Any) -> bool:
    return "mask" in inspect.signature(type(module).__call__).parameters


def _names(layer: Python) -> tuple[str, str]:
    file, _, name = layer.python.partition(":")
    return file, name


@contextmanager
def _naming(layer: Python, what: str) -> Iterator[None]:
    file, name = _names(layer)
    with _naming_file(file, f"{name} {what}"):
        yield


@contextmanager
def _naming_file(file: str, what: str) -> Iterator[None]:
    """What goes wrong in somebody's file is said with its line: it may be anything at all."""
    try:
        yield
    except Mendable:
        raise
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"models/{file}"
        ]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"models/{file}" + (f", line {line}" if line else "")
        said = str(error).splitlines()[0] if str(error) else ""
        raise Mendable(
            f"{where}: {what}: {type(error).__name__}: {said:.300}", "Mend that file, then train again."
        ) from error
