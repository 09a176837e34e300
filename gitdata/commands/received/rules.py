"""Pushed: what is wrong with a change of datasets that somebody pushes. Pure: files and extensions in, findings out.

What a push *brings* are the files that none of the commits holds that it builds on and the server has; only that is
judged, so that an old flaw holds nobody up. *Labels* are the version and the roles of fields, `inputs` and `outputs`:
they may change, and all else that a pointer says of an id may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gitdata.commands.finding import Finding
from gitdata.data import pointerfile
from gitdata.data.chain import Chain
from gitdata.data.pointer import SHORT, Extension
from gitdata.errors import DataUnavailable
from gitdata.snapshot import DATASETS, is_pointer, matters_as_link, read_pointer, read_retraction

LINK, SUBMODULE = "120000", "160000"
NAMED = 3  # of many ids


def links(modes: Mapping[str, str]) -> Iterator[Finding]:
    """Links and submodules in places where gitdata reads files; `modes` of what a push brings, by path."""
    for path, mode in sorted(modes.items()):
        if mode in (LINK, SUBMODULE) and matters_as_link(path):
            what = "a symbolic link" if mode == LINK else "a submodule"
            yield Finding("pointer", path, f"It is {what}; gitdata follows none.", "Replace it by what it leads to.")


def giants(sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Files that are larger than anything that gitdata reads; `sizes` in bytes, by path."""
    for path, size in sizes.items():
        if size > pointerfile.MAXIMUM_BYTES:
            problem = f"It has {size:,} bytes; nothing that gitdata reads from git is that large."
            yield Finding("pointer", path, problem, "Take it out of datasets/ and models/.")


def is_read(path: str) -> bool:
    """Whether a file is one that says something of a dataset, or passes for such a one."""
    return path.startswith(f"{DATASETS}/") and path.endswith((".dvc", ".json"))


def read_strictly(path: str, content: bytes) -> Extension | Finding | None:
    """The extension of a pointer in its one valid encoding; None for a sound file of another kind."""
    try:
        if not path.endswith(".dvc"):
            read_retraction(path, content)
            return None
        if not is_pointer(path):
            return Finding(
                "pointer",
                path,
                "Its name is not that of a pointer, `VERSION-ID.dvc`.",
                "Give it the name that `path` in it says, or move it out of datasets/.",
            )
        extension = read_pointer(path, content) if _is_json(content) else None
        return extension if extension and pointerfile.encode(extension) == content else _misencoded(path)
    except DataUnavailable as error:
        return Finding("pointer", path, error.message, error.next_step)
    except (RecursionError, ValueError):
        return Finding("pointer", path, "It is damaged: it is nested too deeply.", "Restore it from git.")


def altered(path: str, extension: Extension, earlier: Iterable[Extension], commit: str) -> Finding | None:
    """A finding where a pointer says, but for labels, something else than each of those that were there before.

    `earlier`: what stood at the same path or under the same id; none: the extension is new. `commit` held that.
    """
    known = list(earlier)
    if not known or any(_unlabelled(extension) == _unlabelled(other) for other in known):
        return None
    changed = next((name for name in _FIXED if getattr(extension, name) != getattr(known[0], name)), "id")
    return Finding(
        "pointer",
        path,
        f"It says something else of {extension.dataset}@{known[0].version} ({known[0].short}) than it did: '{changed}' "
        "changed. An extension is immutable; only its labels (version, inputs, outputs) may change.",
        f"Take it back: `git checkout {commit} -- {path}`; other rows are another extension: "
        f"`gitdata extend {extension.dataset} FILE`.",
    )


def unknown(path: str, extension: Extension, ids: Sequence[str]) -> Finding | None:
    """A finding where an extension extends or replaces some ids of which the commit holds no pointer."""
    if not ids:
        return None
    return Finding(
        "chain",
        path,
        f"It extends or replaces {_ids(ids)}, of which this commit has no pointer.",
        f"Merge the branch that has it; one that was deleted is in `git log --all -- "
        f"'{DATASETS}/{extension.dataset}/*-{ids[0][:SHORT]}.dvc'`: bring it back, and `gitdata retract` it.",
    )


def orphan(child: Extension, gone: str, commit: str) -> Finding:
    """The pointer at the path `gone` was deleted, though `child` names it; `commit` held it."""
    extension = f"{child.dataset}@{gone.removesuffix('.dvc')[-SHORT:]}"
    return Finding(
        "chain",
        gone,
        f"It was deleted, though {child.dataset}@{child.version} ({child.short}) extends or replaces it.",
        f"Bring it back: `git checkout {commit} -- {gone}`; if it is bad, `gitdata retract {extension}` leaves it out.",
    )


def new_doubles(dataset: str, before: Sequence[Chain], after: Chain) -> Iterator[Finding]:
    """Labels that stand for several extensions now, and did not for these in any chain before."""
    for label, ids in after.double_versions.items():
        if not any(set(ids) <= set(chain.double_versions.get(label, ())) for chain in before):
            yield Finding(
                "chain",
                f"{DATASETS}/{dataset}",
                f"Version {label} would stand for {_ids(ids)} on a branch that models are deployed from.",
                f'Bring in what the branch has (`git pull`), then settle it: `gitdata renumber {dataset} -m "…"`.',
            )


def suspicious(
    before: Sequence[Mapping[str, frozenset[str]]], after: Mapping[str, frozenset[str]], *, anyway: bool
) -> bool:
    """Whether names alone let one think of a new double; both: first digits of ids by label.

    `anyway`: what was retracted is not any more, so that every label that stands twice may have become a double.
    """
    doubles = {label: shorts for label, shorts in after.items() if len(shorts) > 1}
    if anyway:
        return bool(doubles)
    return any(not any(shorts <= old.get(label, frozenset()) for old in before) for label, shorts in doubles.items())


_FIXED = (
    "dataset",
    "parents",
    "test_policy",
    "replaces",
    "listing",
    "rows",
    "files",
    "schema",
    "sidecars",
    "directory",
)


def _unlabelled(extension: Extension) -> Extension:
    return replace(extension, version="0.0.0", inputs=(), outputs=())


def _is_json(content: bytes) -> bool:
    """Whether it is JSON at all: what is not may be YAML, and reading that takes long where somebody means it to."""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _misencoded(path: str) -> Finding:
    return Finding(
        "pointer",
        path,
        "It is not in the one valid encoding; `dvc add` rewrites a pointer so.",
        "`gitdata verify --repair` writes it anew; then commit it.",
    )


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(id[:SHORT] for id in sorted(ids)[:NAMED]) + more
