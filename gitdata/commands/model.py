"""Model: a version of a model for Python: what it predicts, how it came about, how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gitdata.commands.dataset import Dataset, dataset
from gitdata.commands.engine import prepare_training
from gitdata.commands.lineage import lineage
from gitdata.commands.measures import measures
from gitdata.commands.models import version
from gitdata.commands.records import Say, silent
from gitdata.commands.situation import declared
from gitdata.commands.transfer import package_files
from gitdata.data.ledger import Entry, Ledger
from gitdata.errors import Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.data.formats import Columns
    from gitdata.training.package import Package


class Model:
    """One version of a model, as the ledger records it; it does not change when another becomes champion."""

    def __init__(self, repo: Repo, ledger: Ledger, entry: Entry, say: Say = silent) -> None:
        self.name, self.number, self.id = ledger.model, entry.number, entry.id
        self.verdict = entry.verdict.outcome
        self.is_champion = ledger.champion == entry.id
        self.seen: frozenset[str] = ledger.seen(entry.id)
        self._repo, self._entry, self._say = repo, entry, say

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def metrics(self) -> dict[str, Any]:
        """On the test rows that its verdict rests on; empty where there were none."""
        return dict(self._entry.verdict.metrics)

    def lineage(self) -> list[dict[str, Any]]:
        """The version and its ancestors, youngest first: the records of `gitdata lineage --json`."""
        return [record.to_json() for record in lineage(self._repo, self.reference, self._say)]

    def reproduce(self) -> dict[str, Any]:
        """The version trained again and held against its package: the record of `gitdata reproduce --json`.

        Nothing is recorded. Raises DataUnavailable where what it takes is gone.
        """
        from gitdata.commands.reproduce import reproduce

        return reproduce(self._repo, self.reference, self._say).to_json()

    def measures(self) -> dict[str, Any]:
        """How the version and its ancestors went along as their data grew: the record of `gitdata measures --json`."""
        return measures(self._repo, self.reference, self._say).to_json()

    def predict(self, columns: Mapping[str, Any]) -> Columns:
        """Predictions by output for columns by input, in original units or as class names; shape (rows, …).

        Raises Mendable naming an input that is missing or does not fit.
        """
        import numpy as np

        arrays = {name: np.asarray(values) for name, values in columns.items()}
        if len({len(array) for array in arrays.values()}) != 1:
            raise Mendable("The columns differ in length, or there are none.", "Give one value per row in each.")
        package = self._package  # sets JAX up
        from gitdata.training.package import predict

        return dict(predict(package, arrays))

    def unseen(self) -> Dataset:
        """What is live of the dataset that its declaration names, and it has not seen."""
        snapshot = self._repo.snapshot() if self._repo.is_bare else self._repo.work_tree_snapshot()
        wanted = declared(self._repo, self.name, snapshot.declaration(self.name))
        reference = wanted.dataset if wanted.version is None else f"{wanted.dataset}@{wanted.version}"
        return dataset(self._repo, reference, self.reference, self._say)

    @cached_property
    def _package(self) -> Package:
        files = package_files(self._repo, self._entry, self._say)
        prepare_training(self._repo)
        from gitdata.training.package import decode

        return decode(files)

    def __repr__(self) -> str:
        return f"<Model {self.reference}: {self.verdict}{', champion' if self.is_champion else ''}>"


def model(repo: Repo, reference: str, say: Say = silent) -> Model:
    """What `MODEL@N` names, or the champion of `MODEL`. Raises Mendable naming the versions there are."""
    return Model(repo, *version(repo, reference, say), say)
