"""The public Python interface: a repository, its datasets and models. Importing it loads nothing heavy.

`gitdata.Repo` is the repository that the commands work on, and two doors besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitdata import repo

if TYPE_CHECKING:
    from gitdata.commands.dataset import Dataset
    from gitdata.commands.model import Model
    from gitdata.commands.records import Record


class Repo(repo.Repo):
    """A repository; `path` is any folder inside it. Raises Mendable where there is none."""

    def dataset(self, reference: str, *, unseen_by: str | None = None) -> Dataset:
        """The rows of `DATASET` (its heads), or of `DATASET@X` with what it extends; nothing is read yet.

        `unseen_by`: only what that model, or that version (`MODEL@N`), has not seen. Raises Mendable for an unknown
        name, DataUnavailable where the closure is not complete.
        """
        from gitdata.commands.dataset import dataset

        return dataset(self, reference, unseen_by)

    def model(self, reference: str) -> Model:
        """The version that `MODEL@N` names, or the champion of `MODEL`. Raises Mendable where there is none."""
        from gitdata.commands.model import model

        return model(self, reference)

    def check(self, model: str, *, quick: bool = False) -> list[Record]:
        """The records of `gitdata check`: what a declared model is, and one for each finding.

        `quick`: by the schema alone, without reading rows. Raises Mendable where the declaration cannot be read.
        """
        from gitdata.commands.check import check

        return check(self, model, quick=quick)

    def study(self, model: str, *, methods: tuple[str, ...] = (), seeds: int = 5, stages: int = 10) -> list[Record]:
        """The records of `gitdata study`: for each method what it came to along the chain, and at what cost.

        Raises Mendable where the model is not declared, a method does not exist, or the chain has a single stage.
        """
        from gitdata.commands.study import Options, study

        return study(self, model, Options(None, methods, seeds, stages))
