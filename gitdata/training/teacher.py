"""Teacher: a version whose answers others learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gitdata.training import network
from gitdata.training.architecture.plan import Plan
from gitdata.training.mixture import Encoded, Source
from gitdata.training.package import Package
from gitdata.training.preprocessing import Binary, Categorical, Preprocessing
from gitdata.training.shuffle import Random


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network with the weights it had; `weighing`: what each column of targets is multiplied by, if anything."""

    plan: Plan
    codes: Preprocessing
    weights: NDArray[np.float32]
    weighing: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, package: Package, weighing: NDArray[np.float32] | None = None) -> Teacher:
        return cls(package.plan, package.preprocessing, network.vector(package.plan, package.weights), weighing)

    def labels(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its answers to encoded inputs as targets, shape (rows, output width)."""
        return self.targets(network.forward(self.plan, self.weights, inputs))

    def targets(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a network puts out as targets: numbers as they are, of classes their probabilities."""
        found = soft(self.codes, raw)
        return found if self.weighing is None else found * self.weighing


def soft(codes: Preprocessing, raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs as targets: of numbers the same, of classes softmax(logits) (Hinton et al. 2015, at temperature 1)."""
    found, start = raw.copy(), 0
    for field in codes.outputs:
        own = slice(start, start + field.width)
        if isinstance(field, Binary):
            found[:, own] = 1 / (1 + np.exp(-raw[:, own]))
        elif isinstance(field, Categorical):
            shifted = np.exp(raw[:, own] - raw[:, own].max(axis=1, keepdims=True))
            found[:, own] = shifted / shifted.sum(axis=1, keepdims=True)
        start += field.width
    return found


@dataclass(frozen=True, slots=True)
class Labelled:
    """A source whose rows a teacher labels, whatever their own targets are."""

    inputs: Source
    teacher: Teacher

    def draw(self, generator: Random, count: int) -> Encoded:
        inputs, targets = self.inputs.draw(generator, count)
        return inputs, self.teacher.labels(inputs) if count else targets
