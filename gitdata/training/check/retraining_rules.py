"""Retraining rules: how much of a declared reservoir a package holds, and whether methods get what they need."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gitdata.training.check.findings import Finding, Subject, warning
from gitdata.training.retraining import WITH_RESERVOIR

_MIB = 2**20


def reservoir(subject: Subject) -> Iterator[Finding]:
    """A reservoir that is declared holds a row, and no more than a package may; the default one adapts itself."""
    retraining = subject.declaration.retraining
    share, seen = retraining.reservoir, _rows(subject)
    if not share or not seen or "reservoir" not in retraining.model_fields_set:
        return
    wanted = int(share * seen)
    if not wanted:
        text = f"reservoir = {share:g} of {seen:,} rows holds none"
        yield warning("reservoir", text, f"Declare reservoir = {min(1.0, math.ceil(1000 / seen) / 1000):g} or more.")
        return
    yield from _capped(subject, share, seen, wanted)


def _capped(subject: Subject, share: float, seen: int, wanted: int) -> Iterator[Finding]:
    from gitdata.training.reservoir import MOST_BYTES, MOST_ROWS, room

    size = _row_bytes(subject)
    most = room(size)
    if wanted <= most:
        return
    memory = subject.memory
    beyond = ", which memory does not hold" if memory is not None and wanted * size > memory else ""
    text = (
        f"reservoir = {share:g} of {seen:,} rows is {wanted:,} rows, {wanted * size / _MIB:,.0f} MiB{beyond}; a package"
        f" takes {MOST_ROWS:,} rows and {MOST_BYTES // _MIB} MiB at most, so that {most:,} are kept ({most / seen:.1%})"
    )
    held = math.floor(most / seen * 1e6) / 1e6
    remedy = f"Declare reservoir = {held:g}; where that is too little, take `rehearse`, which reads all rows."
    yield warning("reservoir", text, remedy)


def methods_get_what_they_need(subject: Subject) -> Iterator[Finding]:
    """Where no row travels, methods that replay some cannot be carried out."""
    retraining = subject.declaration.retraining
    needy = [method.name for method in retraining.method if method.name in WITH_RESERVOIR]
    if needy and not retraining.reservoir:
        text = f"{' and '.join(needy)} need{'s' * (len(needy) == 1)} a reservoir, and reservoir = 0 keeps no row"
        yield warning("reservoir", text, "Leave reservoir out, or name other methods in [retraining].")


def _rows(subject: Subject) -> int:
    """How many rows a version will have seen: those for validation are kept, too."""
    if subject.rows is None:
        return subject.train_rows or 0
    return subject.rows.get("train", 0) + subject.rows.get("validation", 0)


def _row_bytes(subject: Subject) -> int:
    """What a row takes, as far as the schema says."""
    import numpy as np

    from gitdata.training.reservoir import TEXT_BYTES

    fields = [subject.fields[name] for name in subject.used]
    return sum(
        math.prod(facts.shape) * (TEXT_BYTES if facts.is_text else np.dtype(facts.dtype).itemsize) for facts in fields
    )


RULES = (reservoir, methods_get_what_they_need)
