"""The real data sets as columns, and how they are split where a model is to be judged."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Columns, which of them are inputs and outputs, and the group of each row: groups are never split.

    `recorded`: whether the rows stand in the order in which they came; `batches`: with which batch each of them did.
    """

    columns: Columns
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    groups: np.ndarray
    recorded: bool = False
    batches: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return len(self.groups)

    def select(self, rows: np.ndarray) -> Columns:
        return {name: column[rows] for name, column in self.columns.items()}

    def at_random(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of base and extension; groups are drawn until the extension has its share of rows."""
        order = np.random.default_rng(seed).permutation(self.groups.max() + 1)
        return self._split(order[self.groups], share)

    def sorted(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The extension has the largest values of the first input."""
        return self._split(-np.unique(self.columns[self.inputs[0]], return_inverse=True)[1].ravel(), share)

    def _split(self, ranks: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(ranks, kind="stable")
        cut = round(share * self.rows)
        return np.sort(order[cut:]), np.sort(order[:cut])


def load(name: str, folder: Path) -> Dataset:
    """One of `LOADERS`, from the folder of the data sets."""
    return LOADERS[name](folder)


def _lattice(folder: Path) -> Dataset:
    rows = _table(folder / "lattice" / "lattice_summary.csv")
    text = ("scenario", "dir")
    columns = {name: _column(rows, name, str if name in text else float) for name in ("t1", "t2", "t3", *text)}
    columns |= {name: np.log10(_column(rows, name, float)) for name in ("W_max", "P_peak")}
    return Dataset(columns, ("t1", "t2", "t3", *text), ("W_max", "P_peak"), _codes(_column(rows, "run", str)), True)


def _crashbox(folder: Path) -> Dataset:
    rows = _table(folder / "crashbox" / "crashbox.csv")
    inputs, outputs = ("Thickness", "Velocity"), ("Peak_Impact_Force_KN", "Energy_Absorbed_KJ")
    columns = {name: _column(rows, name, float) for name in (*inputs, *outputs)}
    return Dataset(columns, inputs, outputs, _codes(np.stack([columns[name] for name in inputs], axis=1)), True)


def _tubes(folder: Path) -> Dataset:
    rows = [row for row in _table(folder / "crash_tubes" / "simulaciones_v2_0f57e75.csv") if row["Estado"] == "OK"]
    inputs, outputs = ("Radio", "Angulo", "Num_Ag", "Radio_Ag", "Factor_H"), ("F_max", "SEA", "CFE")
    return _ungrouped({name: _column(rows, name, float) for name in (*inputs, *outputs)}, outputs)


def _uci(name: str) -> Callable[[Path], Dataset]:
    def read(folder: Path) -> Dataset:
        values = np.loadtxt(folder / "uci" / f"{name}.data.csv.gz", delimiter=",")
        columns = {f"x{place}": column for place, column in enumerate(values[:, :-1].T)}
        return _ungrouped(columns | {"y": values[:, -1]}, ("y",))

    return read


def _gas_drift(folder: Path) -> Dataset:
    batches = [np.load(path) for path in sorted((folder / "gas_drift").glob("batch*.npz"))]
    columns = {f"x{place}": column for place, column in enumerate(np.concatenate([b["x"] for b in batches]).T)}
    gas = np.concatenate([batch["gas"] for batch in batches]).astype(str)
    numbers = np.repeat(np.arange(len(batches)), [len(batch["gas"]) for batch in batches])
    return replace(_ungrouped(columns | {"gas": gas}, ("gas",)), batches=numbers)


def _mnist(folder: Path) -> Dataset:
    """Two classes are a batch."""
    with np.load(folder / "mnist10k" / "mnist10k.npz") as found:
        images, labels = (found[name] for name in ("x", "y"))
    columns = {"image": images.reshape(-1, 28, 28), "label": labels.astype(np.int64)}
    return replace(_ungrouped(columns, ("label",)), batches=columns["label"] // 2)


def _ungrouped(columns: Mapping[str, np.ndarray], outputs: tuple[str, ...]) -> Dataset:
    inputs = tuple(name for name in columns if name not in outputs)
    return Dataset(dict(columns), inputs, outputs, np.arange(len(columns[outputs[0]])))


def _table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def _column(rows: list[dict[str, str]], name: str, kind: type) -> np.ndarray:
    return np.array([kind(row[name]) for row in rows])


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, axis=0, return_inverse=True)[1].ravel()


LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "lattice": _lattice,
    "crashbox": _crashbox,
    "crash_tubes": _tubes,
    "concrete": _uci("concrete"),
    "energy": _uci("energy"),
    "airfoil": _uci("airfoil"),
    "gas_drift": _gas_drift,
    "bike": _uci("bike"),
    "mnist10k": _mnist,
}
