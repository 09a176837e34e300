"""Records: what commands return, and what `--json` prints, one a line.

Every record has a `schema`, a `kind` and an `id`; its further fields depend on the kind alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "gitdata/1"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Record:
    """One fact: its kind, what it is about, and its fields as JSON values."""

    kind: str
    id: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "kind": self.kind, "id": self.id, **self.fields}


def silent(message: str) -> None:
    """A `Say` that keeps quiet."""
