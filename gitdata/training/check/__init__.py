"""Check: whether a declared model and its data fit together, before anything is computed.

From the schema alone it takes milliseconds; where rows were measured it says more. Nothing here needs JAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gitdata.training.architecture import plan as plans
from gitdata.training.architecture import summary
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Plan
from gitdata.training.check import (
    budget_rules,
    field_rules,
    network_rules,
    retraining_rules,
    term_rules,
    value_rules,
)
from gitdata.training.check.facts import Facts, measure
from gitdata.training.check.findings import Finding, Subject, error
from gitdata.training.declaration import Declaration

__all__ = ["Coded", "Examination", "Facts", "Finding", "examine", "measure"]

_RULES = (
    *field_rules.RULES, *value_rules.RULES, *network_rules.RULES, *term_rules.RULES, *budget_rules.RULES,
    *retraining_rules.RULES,
)  # fmt: skip
_GUESS = 2  # how many categories there are, where nobody knows: that never decides whether layers fit


@dataclass(frozen=True, slots=True)
class Coded:
    """A field that goes in or comes out: what it is, and in words how it is coded."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    coding: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found; `lines` are the layers of the network, none where it does not fit.

    `guessed`: fields of which nobody knows how many categories they have; weights are then the least there can be.
    """

    inputs: tuple[Coded, ...]
    outputs: tuple[Coded, ...]
    lines: tuple[summary.Line, ...]
    findings: tuple[Finding, ...]
    guessed: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "warning")

    @property
    def weights(self) -> int:
        return sum(line.weights for line in self.lines)


def examine(
    declaration: Declaration,
    fields: Iterable[Facts],
    *,
    tests: Mapping[str, Facts] | None = None,
    rows: Mapping[str, int] | None = None,
    memory: int | None = None,
    lenders: Mapping[str, Plan] | None = None,
) -> Examination:
    """Hold a declaration against the fields of its data; errors come first, each in the order of the rules.

    `lenders`: the versions that its network borrows of; of such a network nothing is said where they are not given.
    """
    declaration, misfits = _with_parts(declaration, lenders or {})
    lent = {field.name: field for own in (lenders or {}).values() for field in own.inputs}
    known = {facts.name: facts for facts in fields}
    data = declaration.data
    wanted = data.inputs if data.inputs is not None else tuple(name for name in known if name not in data.outputs)
    inputs, outputs = (tuple(name for name in names if name in known) for names in (wanted, data.outputs))
    subject = Subject(declaration, known, inputs, outputs, tests or {}, rows, None, memory, lent)
    plan: Plan | None = None
    if not declaration.network.borrows and inputs and len(inputs) == len(wanted) and len(outputs) == len(data.outputs):
        plan, misfits = _plan(subject)
    subject = replace(subject, plan=plan)
    findings = [*misfits, *(finding for rule in _RULES for finding in rule(subject))]
    sources = {field.name: lender for lender, own in (lenders or {}).items() for field in own.inputs}
    return Examination(
        tuple(_input_coded(subject, name, sources) for name in inputs),
        tuple(_coded(subject, name) for name in outputs),
        tuple(summary.lines(plan)) if plan else (),
        tuple(sorted(findings, key=lambda finding: finding.level)),
        _guessed(subject),
    )


def _with_parts(declaration: Declaration, lenders: Mapping[str, Plan]) -> tuple[Declaration, list[Finding]]:
    """The declaration with layers in place of what it borrows, where that is at hand and there."""
    if not lenders:
        return declaration, []
    try:
        return declaration.model_copy(update={"network": declaration.network.with_parts(lenders)}), []
    except Misfit as misfit:
        return declaration, [error("network-misfit", str(misfit), misfit.remedy)]


def _plan(subject: Subject) -> tuple[Plan | None, list[Finding]]:
    """The network, or why it does not fit; of a network that rests on a guess nothing is said."""
    inputs = tuple(_input(subject, name) for name in subject.inputs)
    outputs = tuple(plans.Output(name, _width(subject, name)) for name in subject.outputs)
    try:
        return Plan(inputs, outputs, subject.declaration.network.layers), []
    except Misfit as misfit:
        guessed = set(_guessed(subject)) & set(subject.inputs)
        layer = misfit.path[0] if misfit.path else None
        found = error("network-misfit", str(misfit), misfit.remedy, layer=layer)
        return None, [] if guessed else [found]


def _guessed(subject: Subject) -> tuple[str, ...]:
    named = (name for name in subject.used if name not in subject.lent)
    return tuple(name for name in named if subject.is_categorical(name) and not _count(subject, name))


def _input(subject: Subject, name: str) -> plans.Input:
    if name in subject.lent:
        return subject.lent[name]
    facts = subject.fields[name]
    if not subject.is_categorical(name):
        return plans.Input(name, facts.shape)
    count = _count(subject, name) or _GUESS
    if subject.is_coded(name):
        return plans.Input(name, facts.shape or (1,), categories=count)
    return plans.Input(name, (count,))


def _width(subject: Subject, name: str) -> int:
    if name in subject.outputs and subject.declaration.kind_of(name) == "binary":
        return 1
    if subject.is_categorical(name):
        return _count(subject, name) or _GUESS
    return plans.Input(name, subject.fields[name].shape).width


def _count(subject: Subject, name: str) -> int | None:
    return subject.fields[name].categories


def _input_coded(subject: Subject, name: str, sources: Mapping[str, str]) -> Coded:
    """An input that other layers were borrowed with is coded as it was for them."""
    coded = _coded(subject, name)
    return replace(coded, coding=f"as {sources[name]} codes it") if name in sources else coded


def _coded(subject: Subject, name: str) -> Coded:
    facts = subject.fields[name]
    if not subject.is_categorical(name):
        return Coded(name, facts.dtype, facts.shape, network_rules.coded(subject, name))
    count = _count(subject, name)
    what = "class" if name in subject.outputs else "code" if subject.is_coded(name) else "one-hot"
    many = "" if count is None else f" of {count}"
    return Coded(name, facts.dtype, facts.shape, f"{what}{many}")
