"""What a study reads, and what it keeps in this clone, where anybody may delete it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.canonical import readable_json
from gitdata.commands.rowsource import AnyColumns, RowSource, count, select
from gitdata.commands.union import Part
from gitdata.data.chain import Chain
from gitdata.errors import DataUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gitdata.training.package import Package
    from gitdata.training.study import Point, Stage

SALTS = {"test": "study", "validation": "holdout"}  # by which rows are drawn that serve as those of a split


@dataclass(frozen=True, slots=True)
class Kept:
    """Points and packages in a folder, by their keys."""

    folder: Path

    def point(self, key: str) -> Point | None:
        """What was kept; what is damaged counts as not kept."""
        from pydantic import TypeAdapter

        from gitdata.training.study import Point

        try:
            return TypeAdapter(Point).validate_json((self.folder / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None

    def package(self, key: str) -> Package | None:
        from gitdata.training import package

        try:
            with zipfile.ZipFile(self._package(key)) as archive:
                return package.decode({name: archive.read(name) for name in archive.namelist()})
        except (OSError, zipfile.BadZipFile, DataUnavailable):
            return None

    def keep(self, key: str, point: Point, version: Package | None) -> None:
        """The version before the point: what has a point is whole."""
        from gitdata.training import package

        if version is not None:
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as archive:
                for name, part in package.encode(version).items():
                    archive.writestr(name, part)
            durable.write(self._package(key), content.getvalue())
        durable.write(self.folder / f"{key}.json", readable_json(asdict(point)))

    def drop_package(self, key: str) -> None:
        with suppress(FileNotFoundError):
            durable.remove(self._package(key))

    def _package(self, key: str) -> Path:
        return self.folder / f"{key}.package"


@dataclass(frozen=True, slots=True)
class ChainRows:
    """The rows of a chain by stage, and all that are trained on; `bytes` that these take in memory.

    `left_out`: how many test rows are none, being among those that are trained on.
    """

    stages: Sequence[Stage]
    train: AnyColumns
    bytes: int
    left_out: int


def rows_of_chain(source: RowSource, chain: Chain, groups: Sequence[Sequence[str]]) -> ChainRows:
    """The rows of each group of extensions, and the validation and test rows that hold from then on.

    Where the chain has no validation rows, or no test rows, a tenth of the train rows serves as such, by the hash of
    their inputs.
    """
    from gitdata.training.blocks import joined
    from gitdata.training.study import Stage

    live = frozenset(id for group in groups for id in group)
    whole = {split: source.parts(chain, live, split) for split in ("train", "validation", "test")}
    reading = _Reading(source, chain, [frozenset(group) for group in groups], whole, {})
    lacking: dict[str, list[AnyColumns]] = {split: [] for split in ("test", "validation") if not whole[split]}
    trains = []
    for place in range(len(groups)):
        train = reading.by_stage("train", place)[-1]
        for split, held in lacking.items():
            mask = source.held_out(train, SALTS[split])
            held.append(select(train, mask))
            train = select(train, ~mask)
        trains.append(train)
    every = joined(trains)
    known, left_out, stages = source.digests(every), 0, []
    for place, train in enumerate(trains):
        tests, validation = (
            lacking[split][: place + 1] if split in lacking else reading.by_stage(split, place)
            for split in ("test", "validation")
        )
        fair = [_without(source, rows, known) for rows in tests]
        left_out = sum(map(count, tests)) - sum(map(count, fair))
        stages.append(Stage(train, validation[-1], joined(validation), joined(fair), _origin(fair)))
    return ChainRows(stages, every, source.bytes_in_memory(whole["train"]), left_out)


def _without(source: RowSource, rows: AnyColumns, known: NDArray[np.uint64]) -> AnyColumns:
    """The rows that are not among known ones."""
    import numpy as np

    return select(rows, ~np.isin(source.digests(rows), known)) if count(rows) else rows


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads each part of a chain once; `groups`: the extensions of each stage, `whole`: what is read of each split."""

    source: RowSource
    chain: Chain
    groups: Sequence[frozenset[str]]
    whole: Mapping[str, Sequence[Part]]
    read: dict[tuple[str, str, str, bytes], AnyColumns]

    def by_stage(self, split: str, place: int) -> list[AnyColumns]:
        """The rows of a split that each stage up to one brings to the union of these."""
        from gitdata.training.blocks import joined

        scope = frozenset(id for group in self.groups[: place + 1] for id in group)
        parts = self.source.parts(self.chain, scope, split)
        own = [[part for part in parts if part.extension.id in group] for group in self.groups[: place + 1]]
        return [joined([self._rows(part, self.whole[split]) for part in each if part.rows]) for each in own]

    def _rows(self, part: Part, among: Sequence[Part]) -> AnyColumns:
        keep = b"" if part.keep is None else part.keep.tobytes()
        key = part.extension.id, part.file.split, part.file.path, keep
        if key not in self.read:
            self.read[key] = self.source.rows([part], among)
        return self.read[key]


def _origin(tests: Sequence[AnyColumns]) -> NDArray[np.int64]:
    import numpy as np

    return np.repeat(np.arange(len(tests)), [count(rows) for rows in tests])
