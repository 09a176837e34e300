"""Devices: the rows of every batch are shared out over all devices of this machine; the state is on each of them.

Compiled programs follow: gradients are summed over devices, and batch statistics are those of the whole batch. With
one device nothing is placed: arrays go to it as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@dataclass(frozen=True)
class Devices:
    """The devices that a run is shared out over."""

    all: tuple[Any, ...]

    @classmethod
    def local(cls) -> Devices:
        return cls(tuple(jax.local_devices()))

    @property
    def count(self) -> int:
        return len(self.all)

    def state(self, tree: Any) -> Any:
        """Arrays of which every device has its copy; they may be overwritten."""
        if self.count == 1:
            return jax.tree.map(jax.numpy.array, tree)
        return jax.device_put(tree, self.replicated)

    def batches(self, array: np.ndarray[Any, Any]) -> Any:
        """Batches (steps, rows, …), each device with its part of the rows."""
        if self.count == 1:
            return array
        return jax.device_put(array, self._sharding(None, "rows"))

    @property
    def replicated(self) -> Any:
        """How a program hands out what every device has; None: as it likes."""
        return None if self.count == 1 else self._sharding()

    def _sharding(self, *axes: str | None) -> NamedSharding:
        spec = PartitionSpec(*axes)  # type: ignore[no-untyped-call]
        return NamedSharding(Mesh(np.array(self.all), ("rows",)), spec)
