"""Leaks: rows that models are both trained and tested on, told when they come in.

Rows are compared over declared inputs and outputs, as the gate compares them; without these over all fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdata.commands.intake import Part, Request
from gitdata.commands.known import Known
from gitdata.data.chain import Chain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def leaks_of(request: Request, chain: Chain, parts: Sequence[Part], known: Known) -> dict[str, int]:
    """Test rows among train rows and train rows among test rows, those of the live closure included."""
    ids = {file.extension.id for file in known.files}
    tested = chain.contributing(ids, "test") if request.test_policy == "add" else ()
    return _count(parts, known.of("train"), known.of("test", {extension.id for extension in tested}))


def _count(parts: Sequence[Part], train: NDArray[np.uint64], test: NDArray[np.uint64]) -> dict[str, int]:
    """How many test rows stand among train rows, and train rows among test rows: in the dataset, or here.

    `train`, `test`: what the rows that models of the dataset are trained and tested on are told by.
    """
    import numpy as np

    own = {split: [part for part in parts if part.split == split] for split in ("train", "test")}
    known = {"train": train, "test": test}
    among = {split: np.concatenate([known[split], *(part.telling for part in own[split])]) for split in own}

    def standing(split: str, other: str) -> int:
        return sum(int(part.among(among[other]).sum()) for part in own[split])

    return {"test_rows_in_train": standing("test", "train"), "train_rows_in_test": standing("train", "test")}
