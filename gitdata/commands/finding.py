"""Finding: one thing that `verify` found wrong."""

from __future__ import annotations

from dataclasses import dataclass

from gitdata.commands.records import Record


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: with what, why, and what to do if `repaired` is not true.

    `part`: `pointer`, `retraction`, `chain`, `ledger`, `cache`, `rows` or `remote`.
    """

    part: str
    subject: str
    problem: str
    next_step: str = ""
    repaired: bool = False

    def record(self) -> Record:
        return Record(
            "finding",
            self.subject,
            {"part": self.part, "problem": self.problem, "next_step": self.next_step, "repaired": self.repaired},
        )
