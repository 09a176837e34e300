"""Pushed ledger: what is wrong with a change of the ledger that somebody pushes. Pure: files in, findings out.

Versions are immutable, and stay. Verdicts and the champion may change, to what can be read and exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress

from gitdata.commands.finding import Finding
from gitdata.data import pointerfile
from gitdata.data.checked import PointerError
from gitdata.data.ledger import LedgerError, decode_verdict
from gitdata.data.pointer import ModelVersion
from gitdata.errors import DataUnavailable
from gitdata.snapshot import LEDGER_BRANCH, MODELS, ledger_of

Files = Mapping[str, bytes]  # of the folder of one model, by name
_FETCH = f"Build on what the server has: `git fetch origin {LEDGER_BRANCH}`; gitdata publishes by itself."


def is_read(path: str) -> bool:
    """Whether a file of the ledger is one that gitdata reads."""
    return path.count("/") > 1 and path.startswith(f"{MODELS}/") and path.endswith((".dvc", ".verdict", "/champion"))


def rewritten(ref: str) -> Finding:
    return Finding("ledger", ref, "The ledger would lose commits that the server has: no fast-forward.", _FETCH)


def deleted(ref: str) -> Finding:
    return Finding(
        "ledger",
        ref,
        "The ledger would be deleted, and with it what every model has seen.",
        f"If that is meant, whoever looks after the repository does it there: `git update-ref -d {ref}`.",
    )


def ledger_findings(model: str, before: Files, after: Files) -> Iterator[Finding]:
    """What a push does wrong to the ledger of a model; a flaw that was there before is none of the push's."""
    found = [*_malformed(model, before, after), *_altered(model, before, after)]
    yield from found
    flaw = _flaw(model, after) if not found else None
    if flaw is not None and flaw != _flaw(model, before):
        yield flaw


def new_versions(model: str, before: Files, after: Files) -> dict[str, ModelVersion]:
    """The versions that a push brings, by the path of their pointer; those that cannot be read are left out."""
    found = {}
    for name, content in after.items():
        if name.endswith(".dvc") and name not in before:
            with suppress(PointerError):
                found[f"{MODELS}/{model}/{name}"] = read_version(name, content)[0]
    return found


def read_version(name: str, content: bytes) -> tuple[ModelVersion, int]:
    """Version and number of a pointer in its one valid encoding. Raises PointerError."""
    try:
        json.loads(content)  # what is YAML takes long to read
        version, number = pointerfile.decode_model(content, name.removesuffix(".dvc"))
        encoded = pointerfile.encode_model(version, number)
    except PointerError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise PointerError("it is no JSON that a pointer could be") from error
    if encoded != content:
        raise PointerError("it is not in the one valid encoding")
    return version, number


def _malformed(model: str, before: Files, after: Files) -> Iterator[Finding]:
    for name, content in sorted(after.items()):
        if before.get(name) == content:
            continue
        try:
            if name.endswith(".dvc"):
                read_version(name, content)
            elif name.endswith(".verdict"):
                decode_verdict(content)
        except (PointerError, LedgerError) as error:
            yield Finding("ledger", f"{MODELS}/{model}/{name}", f"It is damaged: {error}.", _FETCH)


def _altered(model: str, before: Files, after: Files) -> Iterator[Finding]:
    for name, content in sorted(before.items()):
        if not name.endswith(".dvc") or after.get(name) == content:
            continue
        try:
            was = read_version(name, content)
        except PointerError:
            continue  # what was damaged may be mended, or go
        try:
            if name in after and read_version(name, after[name]) == was:
                continue
        except PointerError:
            continue  # said already
        how = "changed" if name in after else "deleted"
        problem = f"A version is immutable and stays, and this one was {how}."
        yield Finding("ledger", f"{MODELS}/{model}/{name}", problem, _FETCH)


def _flaw(model: str, files: Files) -> Finding | None:
    try:
        ledger_of(model, files)
    except DataUnavailable as error:
        return Finding("ledger", f"{MODELS}/{model}", error.message, _FETCH)
    except RecursionError:
        return Finding("ledger", f"{MODELS}/{model}", "It is nested too deeply.", _FETCH)
    return None
