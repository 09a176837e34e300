"""Virtual rows: inputs near those of a few rows that were kept, so that a teacher can be asked more than these.

A third each: *crossed*, every field with probability ½ that of another row; *noisy*, with normal noise; *between*, on
the line to another row (Zhang et al. 2018). Categories are taken from a row, never mixed. An image takes a rectangle of
another where classes are to be told (CutMix: Yun et al. 2019), and else is never crossed: numbers gained nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gitdata.training.mixture import Encoded
from gitdata.training.preprocessing import Categorical, FieldCode, Numeric, Preprocessing
from gitdata.training.shuffle import Held, Random

CROSSED = 0.5


@dataclass(frozen=True, slots=True)
class Virtual:
    """Rows made of some in memory, at least one; `noise`: its deviation, in units of encoded inputs."""

    rows: Held
    codes: Preprocessing
    noise: float

    def draw(self, generator: Random, count: int) -> Encoded:
        """Their targets are those of the rows that they were made of."""
        own, other = generator.integers(0, self.rows.count, (2, count))
        kinds = generator.integers(0, 3, count)[:, None]
        begin, end = self.rows.inputs[own], self.rows.inputs[other]
        numbers, groups = numbers_of(self.codes), groups_of(self.codes)
        taken = (generator.random((count, groups.max() + 2)) < CROSSED)[:, groups]
        crossed = np.where(taken & (groups >= 0), end, begin)
        for columns, shape in images_of(self.codes) if tells_classes(self.codes) else ():
            inside = rectangles(generator, count, shape)
            crossed[:, columns] = np.where(inside, end[:, columns], begin[:, columns])
        noisy = begin + numbers * self.noise * generator.standard_normal(begin.shape, np.float32)
        between = begin + numbers * generator.random((count, 1), np.float32) * (end - begin)
        return np.choose(kinds, [crossed, noisy, between]).astype(np.float32), self.rows.targets[own]


def numbers_of(codes: Preprocessing) -> NDArray[np.float32]:
    """1 for each column of encoded inputs that is a number, 0 for one of a category."""
    return np.concatenate([np.full(field.width, isinstance(field, Numeric), np.float32) for field in codes.inputs])


def groups_of(codes: Preprocessing) -> NDArray[np.int64]:
    """The group of each column of encoded inputs: columns of one group are taken from one row; −1: of an image.

    Each number of a line of numbers is a group, categories of a field are one, and an image is none.
    """
    found: list[NDArray[np.int64]] = []
    for field in codes.inputs:
        first = max((int(group.max()) for group in found), default=-1) + 1
        found.append(_groups(field, max(first, 0)))
    return np.concatenate(found)


def tells_classes(codes: Preprocessing) -> bool:
    """Whether all outputs are classes."""
    return all(isinstance(field, Categorical) for field in codes.outputs)


def images_of(codes: Preprocessing) -> Iterator[tuple[slice, tuple[int, ...]]]:
    """Where each image is among the columns of encoded inputs, and its shape: height, width, and what else there is."""
    start = 0
    for field in codes.inputs:
        if isinstance(field, Numeric) and len(field.shape) > 1:
            yield slice(start, start + field.width), field.shape
        start += field.width


def rectangles(generator: Random, count: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which places of flat images lie in a rectangle, for each of some images, its sides being drawn evenly."""
    inside = np.ones((count, *shape), bool)
    for axis, length in enumerate(shape[:2]):
        low, high = np.sort(generator.integers(0, length + 1, (2, count)), axis=0)
        place = np.arange(length)
        within = (place >= low[:, None]) & (place < high[:, None])
        inside &= within.reshape(count, *(length if other == axis else 1 for other in range(len(shape))))
    return inside.reshape(count, -1)


def _groups(field: FieldCode, first: int) -> NDArray[np.int64]:
    if not isinstance(field, Numeric):
        return np.full(field.width, first)
    return np.full(field.width, -1) if len(field.shape) > 1 else first + np.arange(field.width)
