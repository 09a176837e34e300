"""Findings: what is wrong, or may be, with a declared model and its data; each names field, layer and remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from gitdata.training.architecture.plan import Input, Plan
from gitdata.training.check.facts import Facts, Measured
from gitdata.training.declaration import Declaration

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is its lasting name. An error would stop the training, or make it worthless; a warning is for a person."""

    level: Level
    rule: str
    text: str
    remedy: str
    field: str | None = None
    layer: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "field": self.field,
            "layer": self.layer,
            "level": self.level,
            "remedy": self.remedy,
            "rule": self.rule,
            "text": self.text,
        }


def error(rule: str, text: str, remedy: str, field: str | None = None, layer: str | None = None) -> Finding:
    return Finding("error", rule, text, remedy, field, layer)


def warning(rule: str, text: str, remedy: str, field: str | None = None, layer: str | None = None) -> Finding:
    return Finding("warning", rule, text, remedy, field, layer)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a declaration, the fields of its train rows by name, and where they were measured, test rows.

    `inputs`, `outputs`: the fields of each role that exist. `rows` by split; None where nobody counted. `plan`: the
    network, where it fits. `memory`: bytes of the machine that trains; None where that is another one. `lent`: inputs
    that another model's version codes, as the network gets them.
    """

    declaration: Declaration
    fields: Mapping[str, Facts]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tests: Mapping[str, Facts] = field(default_factory=dict)
    rows: Mapping[str, int] | None = None
    plan: Plan | None = None
    memory: int | None = None
    lent: Mapping[str, Input] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """Inputs, then outputs."""
        return self.inputs + self.outputs

    @property
    def train_rows(self) -> int | None:
        """How many train rows there are, counted or measured; None where nobody did either."""
        if self.rows is not None:
            return self.rows.get("train", 0)
        measured = (self.fields[name].measured for name in self.used)
        return next((found.rows for found in measured if found is not None), None)

    def loss_of(self, output: str) -> str:
        return self.declaration.training.loss_of(output).name

    def is_categorical(self, name: str) -> bool:
        """Whether a field is coded as categories: text, what is declared so, and classes."""
        if name in self.outputs:
            return self.declaration.kind_of(name) != "numbers"
        return self.fields[name].is_text or self.declaration.data.is_categorical(name)

    def is_coded(self, name: str) -> bool:
        """Whether it goes in as the number of its category."""
        return self.is_categorical(name) and self.declaration.data.encoding_of(name) == "codes"

    def numbers(self) -> Iterator[tuple[str, Facts, Measured]]:
        """The used fields of numbers that were measured."""
        for name in self.used:
            facts = self.fields[name]
            if facts.measured is not None and not facts.is_text and not self.is_categorical(name):
                yield name, facts, facts.measured

    def names(self) -> Iterator[tuple[str, Mapping[str | int, int]]]:
        """The used fields of categories, with how often each occurs, where that was counted."""
        for name in self.used:
            measured = self.fields[name].measured
            if self.is_categorical(name) and measured is not None and measured.counts is not None:
                yield name, measured.counts


def nearest(name: str, candidates: tuple[str, ...], otherwise: str) -> str:
    """A remedy that names the nearest candidate."""
    near = get_close_matches(name, candidates, 1)
    return f"Is '{near[0]}' meant?" if near else otherwise
