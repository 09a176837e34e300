"""Reading: the files of a request, checked against what the models of the work tree make of their fields."""

from __future__ import annotations

from collections.abc import Iterable

from gitdata.commands.intake import Part, Request, check_finite, check_roles, read_files, schema_of_parts
from gitdata.data.schema import Schema
from gitdata.errors import Mendable
from gitdata.snapshot import Snapshot


def _declared_roles(snapshot: Snapshot, dataset: str, fields: Iterable[str]) -> dict[str, str]:
    """Which fields the models of the work tree use, and as what; a broken declaration uses nothing."""
    roles: dict[str, str] = {}
    if not snapshot.declarations:
        return roles
    from gitdata.training.declaration import parse

    for text in snapshot.declarations.values():
        try:
            data = parse(text, "model").data
        except Mendable:
            continue
        if data.dataset == dataset:
            roles |= dict.fromkeys(fields if data.inputs is None else data.inputs, "input")
            roles |= dict.fromkeys(data.outputs, "output")
    return roles


def read_checked(request: Request, snapshot: Snapshot, schema: Schema | None) -> list[Part]:
    """The files of a request, checked against what models make of their fields."""
    parts = read_files(request, schema)
    check_roles(parts, request.inputs, request.outputs)
    roles = _declared_roles(snapshot, request.dataset, schema_of_parts(parts).names)
    check_finite(parts, roles | dict.fromkeys(request.inputs, "input") | dict.fromkeys(request.outputs, "output"))
    return parts
