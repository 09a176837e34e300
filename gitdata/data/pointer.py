"""Pointers: the small text files in git that stand for an extension or a model version.

This module holds the nouns and their ids; `pointerfile` is their one encoding. An *id* is the sha256 over the canonical
JSON of what identifies the thing, never of a label, so that renumbering changes no id. `docs/format.md` is the
specification.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gitdata.canonical import canonical_json, digest
from gitdata.data.schema import Schema

FORMAT = 1
SHORT = 8

SPLITS = ("train", "validation", "test")
POLICIES = ("add", "replace", "drop")
SIDECAR = "sidecar"
ROW_INDEX = "rows.u64"  # the sidecar with the first 64 bits of every row's digest
ROLE_INDEX = "roles.u64"  # the same over inputs and outputs, where these are not all fields

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
ID = re.compile(r"[0-9a-f]{64}")
MD5 = re.compile(r"[0-9a-f]{32}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
STEM = re.compile(rf"(?P<label>{VERSION.pattern}|{NUMBER.pattern})-(?P<short>[0-9a-f]{{{SHORT}}})")
_UNSAFE_IN_PATH = re.compile(r"[\x00-\x1f\x7f\\:]")

Policy = Literal["add", "replace", "drop"]


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One data file of an extension: `path` within its split, `size` in bytes, `rows` on its first axis.

    `md5` is DVC's name of the blob. It serves transport; sha256 is what identifies the content.
    """

    split: str
    path: str
    sha256: str
    size: int
    rows: int
    md5: str

    @property
    def place(self) -> str:
        """Where the file lies in the extension's directory."""
        return f"{self.split}/{self.path}"


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """A file of a directory that carries no rows: a sidecar of an extension, a part of a package."""

    path: str
    sha256: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The `outs` entry: DVC's name of the directory object, the bytes it names and how many files."""

    md5: str
    size: int
    nfiles: int


@dataclass(frozen=True, slots=True)
class Extension:
    """One immutable increment of a dataset; a base has no parents.

    `files` is None where the listing lies in the sidecar `listing.json`, `schema` is None where it lies in
    `schema.json`; `listing` (the digest) and `rows` (per split) are always here. `version`, `inputs` and
    `outputs` are labels: no id depends on them.
    """

    dataset: str
    version: str
    parents: tuple[str, ...]
    test_policy: Policy
    replaces: tuple[str, ...]
    listing: str
    rows: tuple[tuple[str, int], ...]
    files: tuple[File, ...] | None
    schema: Schema | None
    sidecars: tuple[Attachment, ...]
    directory: Directory
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    _id: str = field(default="", init=False, repr=False, compare=False)  # computed once: it is asked for very often
    _late: bytes | None = field(default=None, init=False, repr=False, compare=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What of an extension out of `recalled` is not filled in yet; only a slot that is empty leads here."""
            if name not in ("files", "sidecars", "directory") or self._late is None:
                raise AttributeError(name)
            files, sidecars, directory = json.loads(self._late)
            value: Any
            if name == "files":
                value = None if files is None else tuple([File(*values) for values in files])
            elif name == "sidecars":
                value = tuple([Attachment(*values) for values in sidecars])
            else:
                value = Directory(*directory)
            _set(self, name, value)
            return value

    @property
    def id(self) -> str:
        """sha256 over dataset, parents, split policy, replaces and listing digest."""
        if not self._id:
            found = extension_id(self.dataset, self.parents, self.test_policy, self.replaces, self.listing)
            _set(self, "_id", found)
        return self._id

    @property
    def short(self) -> str:
        return self.id[:SHORT]

    @property
    def stem(self) -> str:
        """`<version>-<id8>`: the name of its directory, and of its pointer less `.dvc`."""
        return f"{self.version}-{self.short}"

    def rows_of(self, split: str) -> int:
        for name, rows in self.rows:
            if name == split:
                return rows
        return 0


_set = object.__setattr__
# What extensions have in common: dataset, test policy, replaces, rows, inputs, outputs and schema.
Common = tuple[
    str, Policy, tuple[str, ...], tuple[tuple[str, int], ...], tuple[str, ...], tuple[str, ...], Schema | None
]
# What fills in the slots of an extension, in the order of the arguments of `recalled`, those of `common` first.
_FILL: list[Any] = [
    getattr(Extension, name).__set__
    for name in (
        *("dataset", "test_policy", "replaces", "rows", "inputs", "outputs", "schema"),
        *("_id", "version", "parents", "listing", "_late"),
    )
]


def late_values(extension: Extension) -> tuple[Any, ...]:
    """Files, sidecars and directory as plain values."""
    files, directory = extension.files, extension.directory
    return (
        None if files is None else [(f.split, f.path, f.sha256, f.size, f.rows, f.md5) for f in files],
        [(a.path, a.sha256, a.size, a.md5) for a in extension.sidecars],
        (directory.md5, directory.size, directory.nfiles),
    )


def blobs_of(extensions: Sequence[Extension]) -> list[list[tuple[str, int | None]] | None]:
    """DVC's name and the size of the blobs of each: directory object (its size stands nowhere), sidecars and files.

    None for an extension of which the files are listed in a sidecar.
    """
    late = [e._late if e._late is not None else canonical_json(late_values(e)) for e in extensions]
    return [_blobs(*values) for values in json.loads(b"[" + b",".join(late) + b"]")]


def _blobs(files: Any, sidecars: Any, directory: Any) -> list[tuple[str, int | None]] | None:
    if files is None:
        return None
    parts = [(md5, size) for *_, size, md5 in sidecars] + [(md5, size) for _, _, _, size, _, md5 in files]
    return [(f"{directory[0]}.dir", None), *parts]


def recalled(common: Common, id: str, version: str, parents: tuple[str, ...], listing: str, late: bytes) -> Extension:
    """An extension of what was checked when its pointer was parsed; `late`: the JSON of its `late_values`.

    It takes a sixth of the time that making one takes. Nearly all commands that look at thousands of extensions ask
    for the files of few, so these are filled in when they are asked for.
    """
    extension: Extension = object.__new__(Extension)
    for fill, value in zip(_FILL, (*common, id, version, parents, listing, late)):  # noqa: B905 - asked thousands of times
        fill(extension, value)
    return extension


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable version of a model. Its number is a label, known from the name of its pointer."""

    model: str
    parent: str | None
    added: tuple[str, ...]
    restore: str
    declaration: str
    package: str
    files: tuple[Attachment, ...]
    directory: Directory
    commit: str
    method: str
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def id(self) -> str:
        """sha256 over model, parent, added, restore digest, declaration digest and package digest."""
        return digest(
            {
                "added": sorted(self.added),
                "declaration": self.declaration,
                "model": self.model,
                "package": self.package,
                "parent": self.parent,
                "restore": self.restore,
            }
        )

    @property
    def short(self) -> str:
        return self.id[:SHORT]


def extension_id(dataset: str, parents: Iterable[str], test_policy: str, replaces: Iterable[str], listing: str) -> str:
    """The id of an extension; the order of `parents` and of `replaces` has no meaning."""
    return digest(
        {
            "dataset": dataset,
            "listing": listing,
            "parents": sorted(set(parents)),
            "replaces": sorted(set(replaces)),
            "split_policy": {"test": test_policy},
        }
    )


def listing_digest(files: Iterable[File]) -> str:
    """The digest of a listing: (split, path, sha256, size, rows) of every data file, in order."""
    return digest([identity(file) for file in sorted(files)])


def package_digest(files: Iterable[Attachment]) -> str:
    """The digest of a package: (path, sha256, size) of every file, in order."""
    return digest([{"path": f.path, "sha256": f.sha256, "size": f.size} for f in sorted(files)])


def row_counts(files: Iterable[File]) -> tuple[tuple[str, int], ...]:
    """Rows per split, for the splits that have a file."""
    counts: dict[str, int] = {}
    for file in files:
        counts[file.split] = counts.get(file.split, 0) + file.rows
    return tuple(sorted(counts.items()))


def version_key(version: str) -> tuple[int, ...]:
    """Versions in numeric order: 1.10.0 comes after 1.9.0."""
    return tuple(int(part) for part in version.split("."))


def split_stem(stem: str) -> tuple[str, str] | None:
    """(label, id8) of a pointer's name without `.dvc`, or None where it is no such name."""
    match = STEM.fullmatch(stem)
    return (match["label"], match["short"]) if match else None


def is_safe_path(path: str) -> bool:
    """Whether `path` stays inside the folder it is joined to, on every system."""
    parts = path.split("/")
    return not _UNSAFE_IN_PATH.search(path) and all(part not in ("", ".", "..") and not _is_git(part) for part in parts)


def _is_git(part: str) -> bool:
    """Whether some file system takes a name for `.git`, in which git would find hooks and settings to run."""
    visible = "".join(c for c in part if unicodedata.category(c) != "Cf")
    return visible.casefold().rstrip(". ") in (".git", "git~1")


def identity(file: File) -> dict[str, Any]:
    """What of a data file its listing's digest is over."""
    return {
        "path": file.path,
        "rows": file.rows,
        "sha256": file.sha256,
        "size": file.size,
        "split": file.split,
    }
