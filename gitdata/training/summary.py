"""Summaries: what is kept of rows that were seen, so that new rows can be compared without reading those again.

A summary has a field for each input and output of a model: a distribution of numbers (sketch.py), of each element where
a row holds several and at most ELEMENTS, else of their mean; or how often each category of text and truth values
occurred, of the MOST most frequent, the others together. Summaries are added up and stay small. `shift.drift` compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.training.blocks import Columns, blocks_of
from gitdata.training.sketch import Census, Distribution, hashes_of, joined, total

FORMAT = 1
ELEMENTS = 256  # of a row, that are looked at one by one
ATOMS = 32768  # of all distributions together, as long as each has its fewest
MOST_ATOMS, FEWEST_ATOMS = 512, 64  # of one distribution
MOST = 1000  # categories
LONGEST = 200  # characters of a category that are kept

_FIGURES = ("room", "count", "not_finite", "minimum", "maximum", "mean", "squares", "error")


@dataclass(frozen=True, slots=True)
class Categories:
    """How often each category occurred, the most frequent first; `others`: how often those that are not named did."""

    counts: Mapping[str, int]
    others: int = 0

    @property
    def count(self) -> int:
        return sum(self.counts.values()) + self.others

    @classmethod
    def of(cls, values: NDArray[Any]) -> Categories:
        names, counts = np.unique(texts(values), return_counts=True)
        return _most_frequent(dict(zip(names.tolist(), counts.tolist(), strict=True)), 0)

    def __add__(self, other: Categories) -> Categories:
        """A category that one side has among its others counts too few: by `others` of that side at most."""
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        return _most_frequent(counts, self.others + other.others)


@dataclass(frozen=True, slots=True)
class Field:
    """What was seen of a field: categories, or the distribution of each element; and how many different values."""

    seen: Categories | tuple[Distribution, ...]
    census: Census

    def __add__(self, other: Field) -> Field:
        """Raises ValueError where one has numbers and the other text, or another number of elements."""
        census = self.census + other.census
        if isinstance(self.seen, Categories) and isinstance(other.seen, Categories):
            return Field(self.seen + other.seen, census)
        if isinstance(self.seen, Categories) or isinstance(other.seen, Categories):
            raise ValueError("numbers cannot be added to text")
        if len(self.seen) != len(other.seen):
            raise ValueError(f"{len(other.seen)} elements cannot be added to {len(self.seen)}")
        return Field(tuple(own + its for own, its in zip(self.seen, other.seen, strict=True)), census)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of `rows` rows: the fields by name, which of them are `inputs`, and how many different inputs there were."""

    rows: int
    inputs: tuple[str, ...]
    fields: Mapping[str, Field]
    census: Census

    @classmethod
    def of(cls, columns: Columns, inputs: Sequence[str], outputs: Sequence[str] = ()) -> Summary:
        """Of the named columns (one input at least) in memory or in blocks, read once. KeyError: one is absent."""
        names = tuple(inputs), tuple(dict.fromkeys((*inputs, *outputs)))
        blocks = (block for block in blocks_of(columns) if len(next(iter(block.values()), ())))
        return total((_of_block(block, *names) for block in blocks), partial(cls, 0, names[0], {}, Census.of(_NONE)))

    def __add__(self, other: Summary) -> Summary:
        """Of the rows of both. Raises ValueError where their fields differ; nothing is added by no rows."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        if self.inputs != other.inputs or self.fields.keys() != other.fields.keys():
            raise ValueError("summaries of different fields cannot be added")
        fields = {name: field + other.fields[name] for name, field in self.fields.items()}
        return Summary(self.rows + other.rows, self.inputs, fields, self.census + other.census)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays by name, and a JSON document; equal summaries give equal ones."""
        numeric = [item for field in self.fields.values() if isinstance(field.seen, tuple) for item in field.seen]
        censuses = [self.census, *(field.census for field in self.fields.values())]
        arrays = {
            "values": _concatenated([item.values for item in numeric], np.float64),
            "weights": _concatenated([item.weights for item in numeric], np.float64),
            "atoms": np.array([len(item.values) for item in numeric], np.int64),
            "figures": np.array([[getattr(item, f) for f in _FIGURES] for item in numeric], np.float64).reshape(-1, 8),
            "hashes": _concatenated([census.hashes for census in censuses], np.uint64),
            "census": np.array([len(census.hashes) for census in censuses], np.int64),
        }
        fields = [{"name": name, **_described(field.seen)} for name, field in self.fields.items()]
        return arrays, {"fields": fields, "format": FORMAT, "inputs": list(self.inputs), "rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], document: Any) -> Summary:
        """What `to_arrays` gave. Raises ValueError where it is damaged, or of a newer format."""
        try:
            if document["format"] > FORMAT:
                raise ValueError(f"a summary of format {document['format']}; update gitdata")
            return _read(arrays, document)
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise ValueError(f"a damaged summary ({type(error).__name__}: {error})") from error


_NONE = np.empty(0, np.uint64)


def texts(values: NDArray[Any]) -> NDArray[Any]:
    """Categories as they are named here, shape (values,): text, cut where it is long."""
    return values.ravel().astype(str).astype(f"U{LONGEST}")


def is_text(column: NDArray[Any]) -> bool:
    """Whether it is counted by category: text and truth values are."""
    return column.dtype.kind not in "iuf"


def elements(column: NDArray[Any]) -> NDArray[np.float64]:
    """What there are distributions of, shape (rows, elements): each element of a row, or the mean of many."""
    values = column.reshape(len(column), -1).astype(np.float64)
    return values if values.shape[1] <= ELEMENTS else values.mean(axis=1, keepdims=True)


def row_hashes(columns: Columns, names: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of what the named fields of each row hold together, shape (rows,)."""
    return joined(np.stack([hashes_of(columns[name]) for name in names], axis=1))


def _of_block(block: Columns, inputs: tuple[str, ...], names: tuple[str, ...]) -> Summary:
    numeric = {name: elements(block[name]) for name in names if not is_text(block[name])}
    wanted = ATOMS // max(1, sum(values.shape[1] for values in numeric.values()))
    room = min(MOST_ATOMS, max(FEWEST_ATOMS, wanted))

    def seen(name: str) -> Categories | tuple[Distribution, ...]:
        if name not in numeric:
            return Categories.of(block[name])
        return tuple(Distribution.of(values, room) for values in numeric[name].T)

    fields = {name: Field(seen(name), Census.of(hashes_of(block[name]))) for name in names}
    return Summary(len(block[names[0]]), inputs, fields, Census.of(row_hashes(block, inputs)))


def _most_frequent(counts: Mapping[str, int], others: int) -> Categories:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Categories(dict(ordered[:MOST]), others + sum(count for _, count in ordered[MOST:]))


def _described(seen: Categories | tuple[Distribution, ...]) -> dict[str, Any]:
    if isinstance(seen, Categories):
        return {"counts": dict(seen.counts), "others": seen.others}
    return {"elements": len(seen)}


def _concatenated(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *parts])


def _read(arrays: Mapping[str, NDArray[Any]], document: Mapping[str, Any]) -> Summary:
    censuses = iter(_parts(arrays["hashes"], arrays["census"], np.uint64))
    values = iter(_parts(arrays["values"], arrays["atoms"], np.float64))
    weights = iter(_parts(arrays["weights"], arrays["atoms"], np.float64))
    figures = iter(np.asarray(arrays["figures"], np.float64).reshape(len(arrays["atoms"]), len(_FIGURES)).tolist())
    census = _census(_next(censuses))
    fields = {
        str(entry["name"]): Field(
            _categories(entry)
            if "counts" in entry
            else tuple(
                _distribution(_next(figures), _next(values), _next(weights)) for _ in range(_whole(entry["elements"]))
            ),
            _census(_next(censuses)),
        )
        for entry in document["fields"]
    }
    inputs = tuple(map(str, document["inputs"]))
    rows = _whole(document["rows"])
    left_over = any(True for _ in (*values, *weights, *figures, *censuses))
    if left_over or (rows and not (inputs and set(inputs) <= fields.keys())):
        raise ValueError("a damaged summary (its fields are not those of its arrays)")
    if rows and any(isinstance(own.seen, Categories) and not own.seen.count for own in fields.values()):
        raise ValueError("a damaged summary (its rows are of no category)")
    return Summary(rows, inputs, fields, census)


def _parts(joint: NDArray[Any], sizes: NDArray[Any], kind: type) -> list[NDArray[Any]]:
    if joint.ndim != 1 or joint.dtype != kind or sizes.ndim != 1 or sizes.dtype != np.int64 or (sizes < 0).any():
        raise ValueError("a damaged summary (an array of another kind)")
    ends = [0, *np.cumsum(sizes).tolist()]
    if sizes.max(initial=0) > len(joint) or ends[-1] != len(joint):
        raise ValueError("a damaged summary (an array of another length)")
    return [joint[start:stop] for start, stop in pairwise(ends)]


def _next(parts: Any) -> Any:
    found = next(parts, None)
    if found is None:
        raise ValueError("a damaged summary (parts are missing)")
    return found


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"a damaged summary ({value!r} is no count)")
    return value


def _census(hashes: NDArray[np.uint64]) -> Census:
    if (hashes[1:] <= hashes[:-1]).any():
        raise ValueError("a damaged summary (its hashes are not in order)")
    return Census.of(hashes)


def _categories(entry: Mapping[str, Any]) -> Categories:
    counts = {str(name): _whole(count) for name, count in entry["counts"].items()}
    return _most_frequent(counts, _whole(entry["others"]))


def _distribution(figures: list[float], values: NDArray[np.float64], weights: NDArray[np.float64]) -> Distribution:
    room, count, not_finite, minimum, maximum, mean, squares, error = figures
    if not all(0 <= number < 2**53 and number == int(number) for number in (room, count, not_finite)):
        raise ValueError("a damaged summary (a distribution without counts)")
    if not (0 <= error <= 1 and FEWEST_ATOMS <= room <= MOST_ATOMS and len(values) <= room):
        raise ValueError("a damaged summary (a distribution that is not one)")
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all() and (weights > 0).all()):
        raise ValueError("a damaged summary (a distribution that is not in order)")
    if (
        abs(weights.sum() - count) > 1e-6 * count
        or bool(count) != bool(len(values))
        or not (count == 0 or minimum <= maximum)
    ):
        raise ValueError("a damaged summary (a distribution that does not add up)")
    return Distribution(int(room), int(count), int(not_finite), minimum, maximum, mean, squares, error, values, weights)
