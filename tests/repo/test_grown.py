"""Grown files on real data: the chain's union is every version, every correction is told, only what is new is stored."""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from world import Clone, World, fingerprint

from gitdata.commands import extend, transfer
from gitdata.commands.intake import Corrections, Request
from gitdata.commands.known import Facts
from gitdata.commands.records import Record
from gitdata.data import grown, rows
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo, blob_of

Write = Callable[[str, "str | bytes"], Path]


def take(clone: Clone, path: Path, corrections: Corrections = "refuse", dataset: str = "d", **more: object) -> Record:
    """`gitdata extend DATASET --grown FILE`, or `gitdata add` of the first version, in this process."""
    repo = Repo(clone.path)
    request = Request(dataset, [path], **more)  # type: ignore[arg-type]
    if not (clone.path / "datasets" / dataset).exists():
        return extend.add(repo, request)
    return extend.extend(repo, replace(request, grown=corrections))


def stored(clone: Clone, dataset: str = "d") -> list[bytes]:
    """The content of every live data file, extensions in order."""
    repo = Repo(clone.path)
    chain = repo.work_tree_snapshot().chain(dataset)
    files = [file for extension in chain.ordered(chain.live) for file in repo.files_of(extension)]
    return [repo.cache.read(blob_of(file)) for file in files]


def records(content: bytes) -> Counter[tuple[str, ...]]:
    """The rows of a CSV file by value, as a multiset."""
    reader = csv.reader(io.StringIO(content.decode(), newline=""))
    next(reader)
    return Counter(tuple(_value(cell) for cell in row) for row in reader if row)


def _value(cell: str) -> str:
    try:
        return repr(float(cell))
    except ValueError:
        return cell


# --- all versions of a real file -----------------------------------------------------------------------------


def versions(shared_data: Path) -> Iterator[bytes]:
    """Every published version of the Brent oil prices, in order."""
    with tarfile.open(shared_data / "growing" / "brent-daily.versions.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            yield file.read()


def replay(clone: Clone, path: Path, contents: Iterator[bytes]) -> tuple[Counter[str], list[int]]:
    """Extend by version after version; how each was recognised, and which were corrections."""
    union: Counter[tuple[str, ...]] = Counter()
    ways: Counter[str] = Counter()
    corrections, before = [], b""
    for number, content in enumerate(contents):
        path.write_bytes(content)
        expected, missing = records(content), sum((union - records(content)).values())
        if missing:
            with pytest.raises(Mendable, match="corrects what 'd' holds") as error:
                take(clone, path)
            corrections.append(number)
            record = take(clone, path, "replace")
            told = record["grown"]["correction"]
            assert (told["missing"], told["changed"] + told["disappeared"]) == (missing, missing)
            assert told["new"] + told["changed"] == sum((expected - union).values())
            assert all(example in error.value.message for example in told["examples"])
            assert (record["parents"], len(record["replaces"])) == ([], 1)
            assert sum(record["rows"].values()) == expected.total()
        else:
            record = take(clone, path)
        if record["grown"]:
            ways[record["grown"]["by"] if content.startswith(before) or missing else "in between"] += 1
        union = expected
        before = content
        assert sum(record["rows"].values()) > 0
        latest = stored(clone)
        assert sum((records(part) for part in latest), Counter()) == expected
    return ways, corrections


def test_versions_of_a_real_file_with_a_correction_replayed(clone: Clone, tmp_path: Path, shared_data: Path) -> None:
    """The first versions hold what is rare: rows put in between, one lost, all reformatted without a new value."""
    chosen = [content for number, content in enumerate(versions(shared_data)) if number < 8 or 26 <= number < 32]
    ways, corrections = replay(clone, tmp_path / "brent.csv", iter(chosen))
    assert corrections
    assert ways["bytes"] >= 8


@pytest.mark.slow
def test_every_version_of_a_real_file_replayed(clone: Clone, tmp_path: Path, shared_data: Path) -> None:
    ways, corrections = replay(clone, tmp_path / "brent.csv", versions(shared_data))
    assert (sum(ways.values()), ways["bytes"], len(corrections)) == (175, 164, 10)
