"""Reservoir: a sample of the rows that a version has seen, which travels in its package.

It holds the rows with the smallest digests, a declared share of all that were seen: a uniform sample, that depends
neither on the order in which rows came nor on how often, and that joins with others of its kind. Rows that are
held out for validation are sampled like the others, and never trained on. `answers` are what the version put out for
each row when the row came in (Buzzega et al. 2020).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from gitdata.training import contents
from gitdata.training.blocks import Blocks, rows_of

Columns = Mapping[str, NDArray[Any]]
Digests = Callable[[Columns], NDArray[np.uint64]]

MOST_BYTES = 64 * 2**20
MOST_ROWS = 2**16
TEXT_BYTES = 64  # what a text is taken for


@dataclass(frozen=True, slots=True)
class Reservoir:
    """Rows by field in ascending order of their `digests`; which are `held` out; `seen`: of how many it is a sample.

    `seen` is exact as long as it holds all rows, or no row occurs again; else it is an estimate.
    """

    columns: Columns
    digests: NDArray[np.uint64]
    held: NDArray[np.bool_]
    answers: NDArray[np.float32]
    seen: int

    @property
    def trained(self) -> Columns:
        """The rows that may be trained on."""
        return chosen(self.columns, ~self.held)

    @property
    def held_out(self) -> Columns:
        return chosen(self.columns, self.held)

    @property
    def is_whole(self) -> bool:
        """Whether every row that was seen is in it."""
        return len(self.digests) == self.seen

    @property
    def largest(self) -> int:
        """The digest beyond which rows that were seen are left out; 0 where it holds none."""
        return int(self.digests[-1]) if len(self.digests) else 0

    def answered(self, answers: NDArray[np.float32]) -> Reservoir:
        """The same with other answers."""
        return Reservoir(self.columns, self.digests, self.held, answers, self.seen)


def chosen(columns: Columns, mask: NDArray[Any]) -> Columns:
    """The rows of columns in memory that a mask, or an order, takes."""
    return {name: column[mask] for name, column in columns.items()}


def drawn(
    names: Sequence[str],
    parts: Sequence[tuple[Columns, bool]],
    digests: Digests,
    share: float,
    old: Reservoir | None = None,
) -> Reservoir:
    """A reservoir of rows, each part with whether it is held out; rows that occur twice are one.

    `old`: a sample of what was seen before, whose rows are joined by these. Rows beyond its largest digest are left
    out, as those of its own were.
    """
    found = [(rows, digests(rows), is_held) for rows, is_held in parts if rows_of(rows)]
    every = np.unique(np.concatenate([own for _, own, _ in found]))
    seen = len(every)
    if old is not None:
        seen = old.seen + _unknown(every, old)
        old_parts = [(old.trained, False), (old.held_out, True)]
        found += [(rows, digests(rows), is_held) for rows, is_held in old_parts if rows_of(rows)]
        every = np.union1d(every, old.digests)
        if not old.is_whole:
            every = every[every <= old.largest]
    limit = every[: _most(names, found[0][0], share, seen)]
    kept = [(_read(rows, np.isin(own, limit), names), own[np.isin(own, limit)], held) for rows, own, held in found]
    columns = {name: np.concatenate([rows[name] for rows, _, _ in kept]) for name in names}
    own = np.concatenate([digests for _, digests, _ in kept])
    held = np.concatenate([np.full(len(digests), is_held) for _, digests, is_held in kept])
    _, first = np.unique(own, return_index=True)
    return Reservoir(chosen(columns, first), own[first], held[first], np.empty((len(first), 0), np.float32), seen)


def _unknown(digests: NDArray[np.uint64], old: Reservoir) -> int:
    """How many different rows were not seen before, by the share of those of which that is known.

    `old` holds all rows that were seen up to its largest digest; digests being random, those beyond are like these
    (Beyer et al. 2007).
    """
    told = digests[digests <= old.largest] if not old.is_whole else digests
    share = float(np.isin(told, old.digests, invert=True).mean()) if len(told) else 1.0
    return round(share * len(digests))


def room(row_bytes: int) -> int:
    """How many rows of such a size a reservoir may hold, however many were seen."""
    return min(MOST_ROWS, MOST_BYTES // max(1, row_bytes))


def _most(names: Sequence[str], rows: Columns, share: float, seen: int) -> int:
    """How many rows a reservoir may hold."""
    one = _read(rows, np.arange(rows_of(rows)) < 1, names)
    size = sum(column.nbytes if column.dtype.kind not in "OUT" else TEXT_BYTES * column.size for column in one.values())
    return min(int(share * seen), room(size))


def _read(rows: Columns, mask: NDArray[np.bool_], names: Sequence[str]) -> Columns:
    if not isinstance(rows, Blocks):
        return {name: rows[name][mask] for name in names}
    found = [{name: block[name] for name in names} for block in rows.select(mask).blocks()]
    if not found:
        return {name: column[:0] for name, column in next(rows.blocks()).items() if name in names}
    return {name: np.concatenate([block[name] for block in found]) for name in names}


# --- files of a package --------------------------------------------------------------------------------------


def encode(reservoir: Reservoir) -> dict[str, bytes]:
    """The files of a reservoir: numbers as tensors, text as JSON."""
    texts = {name: column for name, column in reservoir.columns.items() if column.dtype.kind in "OUT"}
    numbers = {f"column.{n}": c for n, c in reservoir.columns.items() if n not in texts}
    own = {"digests": reservoir.digests, "held": reservoir.held, "answers": reservoir.answers}
    document = {
        "names": list(reservoir.columns),
        "seen": reservoir.seen,
        "texts": {name: {"shape": list(c.shape), "values": c.ravel().tolist()} for name, c in texts.items()},
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in sorted({**numbers, **own}.items())}
    text = json.dumps(document, sort_keys=True) + "\n"
    return {"reservoir.safetensors": save(tensors), "reservoir.json": text.encode()}


def decode(files: Mapping[str, bytes]) -> Reservoir | None:
    """The reservoir among the files of a package, if there is one. Raises DataUnavailable where it is damaged."""
    if "reservoir.json" not in files:
        return None
    document, arrays = contents.document(files, "reservoir.json"), contents.tensors(files, "reservoir.safetensors")
    try:
        texts = {
            name: np.array([str(value) for value in text["values"]], object).reshape([int(n) for n in text["shape"]])
            for name, text in document["texts"].items()
        }
        columns = {name: texts[name] if name in texts else arrays[f"column.{name}"] for name in document["names"]}
        found = Reservoir(
            columns,
            np.asarray(arrays["digests"], np.uint64),
            np.asarray(arrays["held"], np.bool_),
            np.asarray(arrays["answers"], np.float32),
            int(document["seen"]),
        )
        lengths = {len(array) for array in (*columns.values(), found.digests, found.held, found.answers)}
        rows = len(found.digests)
        if not rows <= found.seen < 2**53 or (found.digests[1:] <= found.digests[:-1]).any():
            raise ValueError("its digests do not rise, or it is a sample of fewer rows than it holds")
        if len(lengths) != 1 or found.digests.ndim != 1 or found.held.ndim != 1 or found.answers.ndim != 2:
            raise ValueError("its parts have different numbers of rows")
        return found
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise contents.damaged("the reservoir", str(error)) from error
