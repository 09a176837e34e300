"""Field rules: whether the fields are there, and how they are declared to become numbers goes with what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitdata.training.check.facts import Facts
from gitdata.training.check.findings import Finding, Subject, error, nearest, warning

ROLES = ("inputs", "outputs")
_SMALL = ("bool", "uint8", "int8", "uint16", "int16")  # dtypes whose largest number says what white is


def fields_exist(subject: Subject) -> Iterator[Finding]:
    data, known = subject.declaration.data, tuple(subject.fields)
    for name in (*(data.inputs or ()), *data.outputs):
        if name not in subject.fields:
            role = "output" if name in data.outputs else "input"
            remedy = nearest(name, known, f"The fields are {', '.join(known)}.")
            yield error("field-missing", f"there is no field '{name}', which is declared an {role}", remedy, name)
    if not subject.inputs and not data.inputs:
        yield error("no-inputs", "no field is left to be an input", "Name the inputs in [data].")


def keys_exist(subject: Subject) -> Iterator[Finding]:
    """Whatever is declared by field must be about one."""
    data = subject.declaration.data
    tables: dict[str, Iterable[str]] = {
        "transform": data.transform,
        "scaling": data.scaling,
        "encoding": data.encoding,
    }
    named = [(table, name) for table, values in tables.items() for name in values if name not in ROLES]
    for table, name in (*named, *(("categories", name) for name in data.categories)):
        if name not in subject.used and name not in data.outputs and name not in (data.inputs or ()):
            remedy = nearest(name, (*subject.used, *ROLES), f"Inputs and outputs are {', '.join(subject.used)}.")
            yield error("key-unknown", f"{table} names '{name}', no input and no output", remedy, name)
    for name in (*data.encoding, *data.categories):
        if name in data.outputs or name == "outputs":
            text = f"the output '{name}' is declared a category"
            yield error("output-encoding", text, 'Classes follow from loss = "cross_entropy".', name)


def text_stays_text(subject: Subject) -> Iterator[Finding]:
    """Text has no logarithm and no mean."""
    data = subject.declaration.data
    for name in subject.used:
        declared = [table for table in ("transform", "scaling") if getattr(data, table).get(name, "none") != "none"]
        if declared and subject.is_categorical(name):
            what = "text" if subject.fields[name].is_text else "a category"
            text, remedy = f"'{name}' is {what}, and has a {declared[0]}", f"Leave it out of {declared[0]}."
            yield error("category-scaled", text, remedy, name)
    for name in subject.outputs:
        if subject.fields[name].is_text and not subject.is_categorical(name):
            text, remedy = f"the output '{name}' is text, and its loss is {subject.loss_of(name)}", _CLASSES
            yield error("text-output", text, remedy, name)


_CLASSES = 'Declare loss = "cross_entropy" for classes.'


def categories_are_single(subject: Subject) -> Iterator[Finding]:
    """One-hot and classes are of one value in each row."""
    for name in subject.used:
        facts = subject.fields[name]
        size = _size(facts)
        if subject.is_categorical(name) and size != 1 and not subject.is_coded(name):
            remedy = f'Declare encoding = {{ {name} = "codes" }} and an embedding.'
            if name in subject.outputs:
                remedy = "Name an output with one class for each row."
            text = f"'{name}' has {size} categories in each row"
            yield error("several-categories", text, remedy, name)


def _size(facts: Facts) -> int:
    size = 1
    for axis in facts.shape:
        size *= axis
    return size


def classes_are_whole(subject: Subject) -> Iterator[Finding]:
    """Classes and categories are text or whole numbers."""
    for name in subject.used:
        facts = subject.fields[name]
        if not subject.is_categorical(name) or facts.is_text or facts.is_whole:
            continue
        measured = facts.measured
        what = "class" if name in subject.outputs else "category"
        remedy = "Declare another loss, as mse." if name in subject.outputs else "Leave it out of categories."
        if measured is None:
            text = f"'{name}' is {facts.dtype}; a {what} is text or a whole number"
            yield warning("continuous-classes", text, remedy, name)
        elif measured.counts is None and measured.rows:
            text = f"'{name}' is to be a {what}, and its values are not whole numbers, or too many"
            yield error("continuous-classes", text, remedy, name)


def images(subject: Subject) -> Iterator[Finding]:
    """Small whole numbers over two axes are pixels."""
    data = subject.declaration.data
    for name in subject.used:
        facts, scaling = subject.fields[name], data.scaling_of(name)
        if subject.is_categorical(name):
            continue
        if scaling == "image" and facts.dtype not in _SMALL:
            text = f"'{name}' is {facts.dtype}, which names no largest number; scaling image goes by that"
            yield error("image-dtype", text, f'Declare scaling = {{ {name} = "minmax" }}.', name)
        elif scaling == "image" and data.transform_of(name) != "none":
            text = f"'{name}' has the transform {data.transform_of(name)} and the scaling image"
            yield error("image-transform", text, "Leave one of them out.", name)
        elif scaling in ("standard", "minmax", "robust") and facts.dtype == "uint8" and len(facts.shape) > 1:
            text = f"'{name}' looks like images, and every pixel is scaled by itself ({scaling})"
            yield warning("image-scaling", text, f'Declare scaling = {{ {name} = "image" }}.', name)


RULES = (fields_exist, keys_exist, text_stays_text, categories_are_single, classes_are_whole, images)
