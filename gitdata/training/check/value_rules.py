"""Value rules: what rows hold, where they were measured: missing values, ranges, categories, classes, duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gitdata.training.check.facts import Measured
from gitdata.training.check.findings import Finding, Subject, error, warning

DEVIATIONS = 8.0  # as what is reported when a model meets new rows
LARGE = 100.0  # numbers of which a network without scaling can make little
MANY_CLASSES = 200
WIDE = 256  # columns of a one-hot field
FEW = 20  # different values
DOMINANT = 0.95
MOST_HELD = 3.4e38  # the largest number of 32 bits


def missing_values(subject: Subject) -> Iterator[Finding]:
    for name in subject.used:
        found = [(split, m) for split, m in _by_split(subject, name) if m.not_finite]
        if found:
            where = ", ".join(f"{m.not_finite} of {m.rows} {split} rows (first: {m.first})" for split, m in found)
            remedy = "Correct these rows: extend with the correct ones and retract the extension that holds them."
            yield error("missing-values", f"'{name}' is not a finite number in {where}", remedy, name)


def transforms_are_defined(subject: Subject) -> Iterator[Finding]:
    for name, _, _ in subject.numbers():
        found = [(split, m) for split, m in _by_split(subject, name) if m.undefined]
        if not found:
            continue
        transform = subject.declaration.data.transform_of(name)
        least = min(m.minimum for _, m in found if m.minimum is not None)
        where = ", ".join(f"{m.undefined} of {m.rows} {split} rows" for split, m in found)
        text = f"{transform} of '{name}' is not defined in {where}; the smallest number is {least:g}"
        helps = least >= 0 and transform != "log1p"
        remedy = f'Declare transform = {{ {name} = "log1p" }}, or ' if helps else "Leave the transform out, or "
        yield error("transform-undefined", text, f"{remedy}correct these rows.", name)


def numbers_are_held(subject: Subject) -> Iterator[Finding]:
    """Networks compute with 32 bits."""
    for name, _, measured in subject.numbers():
        if max(abs(measured.low), abs(measured.high)) > MOST_HELD:
            value = measured.maximum if measured.high > -measured.low else measured.minimum
            text = f"'{name}' is {value:g} in a row: too large for the 32 bits of a network"
            log = (measured.minimum or 0.0) > 0
            remedy = "Correct these rows" + (f', or declare transform = {{ {name} = "log10" }}.' if log else ".")
            yield error("too-large", text, remedy, name)


def _by_split(subject: Subject, name: str) -> Iterator[tuple[str, Measured]]:
    for split, fields in (("train", subject.fields), ("test", subject.tests)):
        measured = fields[name].measured if name in fields else None
        if measured is not None:
            yield split, measured


def constants(subject: Subject) -> Iterator[Finding]:
    for name, facts, measured in subject.numbers():
        if measured.minimum is not None and measured.minimum == measured.maximum and measured.rows > 1:
            is_output = name in subject.outputs
            text = f"'{name}' is {measured.minimum:g} in every train row"
            remedy = "There is nothing to learn of it." if is_output else "Leave it out of the inputs."
            yield warning("constant", text, remedy, name)
        elif not facts.shape and measured.deviation > 0:
            yield from _wild(subject, name, measured)


def _wild(subject: Subject, name: str, measured: Measured) -> Iterator[Finding]:
    """Numbers far from the others, in standard deviations after the transform."""
    up, down = (measured.high - measured.mean, measured.mean - measured.low)
    away = max(up, down) / measured.deviation
    if away > DEVIATIONS:
        value = measured.maximum if up > down else measured.minimum
        text = f"'{name}' is {value:g} in a row, {away:.0f} standard deviations from the mean"
        log = subject.declaration.data.transform_of(name) == "none" and (measured.minimum or 0.0) > 0
        remedy = "Look whether it is right" + (f', or declare transform = {{ {name} = "log10" }}.' if log else ".")
        yield warning("far-outside", text, remedy, name)


def large_numbers(subject: Subject) -> Iterator[Finding]:
    for name, _, measured in subject.numbers():
        raw = subject.declaration.data.scaling_of(name) == "none"
        if raw and max(abs(measured.low), abs(measured.high)) > LARGE and name not in _referred(subject):
            text = f"'{name}' goes to {measured.high:g} and is not scaled"
            yield warning("unscaled", text, f'Declare scaling = {{ {name} = "standard" }}.', name)


def _referred(subject: Subject) -> frozenset[str]:
    """Inputs that layers take as what they are: graphs and codes."""
    from gitdata.training.check.network_rules import embedded, graphs_of

    layers = subject.declaration.network.layers
    return frozenset(graphs_of(layers)) | {name for _, name in embedded(subject)}


def categories(subject: Subject) -> Iterator[Finding]:
    """Inputs of categories: how many there are, and whether the test rows have others."""
    for name, counts in subject.names():
        rows = sum(counts.values())
        test = subject.tests[name].measured if name in subject.tests else None
        if test is not None and test.counts is not None and (unknown := set(test.counts) - set(counts)):
            text = f"the test rows have categories of '{name}' that no train row has: {_some(unknown)}"
            yield warning("unknown-categories", text, "Take the split so that both have all of them.", name)
        if name in subject.outputs:
            continue
        if len(counts) > FEW and len(counts) > rows / 2:
            text = f"'{name}' has {len(counts)} categories in {rows} train rows: it tells them apart, and no others"
            yield warning("identifier", text, "Leave it out of the inputs.", name)
        elif len(counts) > WIDE and not subject.is_coded(name):
            remedy = f'Declare encoding = {{ {name} = "codes" }} and an embedding.'
            yield warning("wide-one-hot", f"'{name}' becomes {len(counts)} columns", remedy, name)


def _some(names: Collection[str | int]) -> str:
    return ", ".join(map(str, sorted(names, key=str)[:5])) + ", …" * (len(names) > 5)


def uncounted(subject: Subject) -> Iterator[Finding]:
    """Text with more categories than are counted."""
    for name in subject.inputs:
        measured = subject.fields[name].measured
        if measured is not None and measured.rows and measured.counts is None and subject.fields[name].is_text:
            text = f"'{name}' has more than 4096 categories"
            yield warning("identifier", text, "Leave it out of the inputs, unless it is coded.", name)


def classes(subject: Subject) -> Iterator[Finding]:
    """The balance of the classes of a classifier."""
    for name, counts in subject.names():
        if name not in subject.outputs:
            continue
        rows = sum(counts.values())
        if len(counts) < 2:
            text = f"'{name}' has one class, {next(iter(counts), None)}"
            yield error("one-class", text, "Add rows of another class.", name)
            continue
        if rare := [label for label, count in counts.items() if count < 2]:
            text = f"{len(rare)} of {len(counts)} classes of '{name}' stand in one train row each: {_some(rare)}"
            yield warning("rare-class", text, "Add rows of them, or take them together.", name)
        label, most = max(counts.items(), key=lambda item: item[1])
        if most > DOMINANT * rows:
            text = f"{most / rows:.1%} of the train rows are of class {label} of '{name}'"
            yield warning("imbalance", text, "Accuracy says little here; compare by cross_entropy.", name)
        if len(counts) > MANY_CLASSES:
            text = f"'{name}' has {len(counts)} classes"
            yield warning("many-classes", text, "Is it a number? Then declare another loss, as mse.", name)


def looks_like_classes(subject: Subject) -> Iterator[Finding]:
    """Few whole numbers as the target of a regression."""
    for name, facts, measured in subject.numbers():
        few = measured.counts is not None and 2 <= len(measured.counts) <= FEW and measured.rows >= 10 * FEW
        if name in subject.outputs and few and facts.is_whole:
            text = f"the output '{name}' has {len(measured.counts or ())} different whole numbers"
            yield warning("looks-like-classes", text, 'Of classes the loss is "cross_entropy".', name)


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Inputs that say what an output, or another input, says: equal but for scale and offset."""
    usable = [
        (name, sample) for name, _, m in subject.numbers()
        if m.sample is not None and len(m.sample) > 2 and not m.not_finite
        and (sample := m.sample / (abs(m.sample).max() or 1.0)).std() > 0  # so that no square is too large
    ]  # fmt: skip
    if len(usable) < 2 or len({len(sample) for _, sample in usable}) != 1:
        return
    import numpy as np

    correlation = np.abs(np.corrcoef(np.stack([sample for _, sample in usable])))
    for place, (name, _) in enumerate(usable):
        for other, (earlier, _) in enumerate(usable[:place]):
            both = {name, earlier} & set(subject.outputs)
            if correlation[place, other] > 1 - 1e-10 and len(both) < 2:
                leaks = bool(both)
                text = f"the input '{earlier}' says exactly what the {'output' if leaks else 'input'} '{name}' says"
                remedy = "Is it known when the model is used? Else leave it out." if leaks else "Leave one of them out."
                yield warning("target-leak" if leaks else "same-inputs", text, remedy, earlier)


RULES = (
    missing_values, transforms_are_defined, numbers_are_held, constants, large_numbers, categories, uncounted, classes,
    looks_like_classes, duplicates,
)  # fmt: skip
