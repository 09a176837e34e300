"""Known: the rows that a closure holds, by their indexes, and what else the row sidecars say of its files.

The sidecar `rows.u64` holds 64 bits of each row's digest, `rows.json` a digest of all 128 bits of each file's rows,
which files were handed in apart, and the *source*: the whole file, in a format that grows by bytes, whose rows are
exactly those of the extension together with those of its live ancestors, files apart aside. Where declared inputs and
outputs leave fields out, `roles.u64` holds 64 bits of each row's digest over those: `rows.json` says over which.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitdata.canonical import digest, readable_json
from gitdata.commands.intake import Part
from gitdata.commands.packs import read_sidecars
from gitdata.commands.records import Say, silent
from gitdata.commands.union import row_indexes
from gitdata.data.chain import Chain
from gitdata.data.pointer import ROLE_INDEX, SIDECAR, Extension, File
from gitdata.errors import DataUnavailable, GitdataError
from gitdata.repo import Repo, malformed_sidecar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROW_FACTS = "rows.json"


@dataclass(frozen=True, slots=True)
class Source:
    """A whole file by content: `size` in bytes, its `rows`, and the digest of the `live` ids that hold the others."""

    sha256: str
    size: int
    rows: int
    live: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What `rows.json` says: `contents` in the order of the listing, the places of files `apart`, the source.

    `roles`: the fields that the digests in `roles.u64` are over, ascending; none where there is no such sidecar.
    """

    contents: tuple[str, ...]
    apart: tuple[str, ...] = ()
    source: Source | None = None
    roles: tuple[str, ...] = ()

    def encode(self) -> bytes:
        value: dict[str, Any] = {"apart": list(self.apart), "contents": list(self.contents)}
        if self.roles:
            value["roles"] = list(self.roles)
        if (source := self.source) is not None:
            value["source"] = {"live": source.live, "rows": source.rows, "sha256": source.sha256, "size": source.size}
        return readable_json(value)

    @classmethod
    def decode(cls, content: bytes) -> Facts:
        """What `encode` wrote. Raises DataUnavailable on anything else."""
        try:
            value = json.loads(content)
            contents, apart = (tuple(map(str, value[key])) for key in ("contents", "apart"))
            source, roles = value.get("source"), tuple(map(str, value.get("roles", ())))
            return cls(contents, apart, None if source is None else Source(**source), roles)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataUnavailable(
                f"The sidecar {ROW_FACTS} of an extension is malformed.", "Its author makes the extension anew."
            ) from error


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A data file of an extension: its rows stand at `start` among the known ones. `content` None: not recorded."""

    extension: Extension
    file: File
    start: int
    content: str | None
    apart: bool

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.file.rows)


@dataclass(frozen=True, slots=True)
class Known:
    """Known rows: the first 64 bits of their digests, shape (rows,), and whose they are; extensions in order.

    `telling`: what duplicates and leaks are found by, the same over the fields that were asked for; of `over_all`
    extensions, which have none over just these, over all fields.
    """

    digests: NDArray[np.uint64]
    telling: NDArray[np.uint64]
    files: tuple[KnownFile, ...]
    sources: tuple[Source, ...] = ()
    over_all: int = 0

    @property
    def together(self) -> Known:
        """Without the files that were handed in apart: no grown file of the train rows holds those."""
        return self._only([known for known in self.files if not known.apart])

    @property
    def apart(self) -> Known:
        """Of the files that were handed in apart."""
        return self._only([known for known in self.files if known.apart])

    def of(self, split: str, extensions: Collection[str] | None = None) -> NDArray[np.uint64]:
        """What rows of a split are told by; of the extensions with these ids, default: of all."""
        return self._of(split, extensions).telling

    def digests_of(self, split: str, extensions: Collection[str]) -> NDArray[np.uint64]:
        """The same by all fields."""
        return self._of(split, extensions).digests

    def _of(self, split: str, extensions: Collection[str] | None) -> Known:
        own = [known for known in self.files if known.file.split == split]
        return self._only([k for k in own if extensions is None or k.extension.id in extensions])

    def _only(self, files: Sequence[KnownFile]) -> Known:
        import numpy as np

        start, kept = 0, []
        for known in files:
            kept.append(KnownFile(known.extension, known.file, start, known.content, known.apart))
            start += known.file.rows
        digests, telling = (
            np.concatenate([np.empty(0, np.uint64), *(own[known.rows] for known in files)])
            for own in (self.digests, self.telling)
        )
        return Known(digests, telling, tuple(kept), self.sources, self.over_all)


def in_union(known: Known, chain: Chain) -> NDArray[np.bool_]:
    """Which of the known rows the union of their extensions keeps: shape (rows,).

    All splits together: of one file two branches may have taken other rows for tests.
    """
    import numpy as np

    from gitdata.data import union

    kept = np.ones(len(known.digests), bool)
    order = [extension.id for extension in chain.ordered(chain.closure(file.extension.id for file in known.files))]
    parents = {id: chain.extensions[id].parents for id in order}
    own: dict[str, list[NDArray[np.intp]]] = {}
    for file in known.files:
        own.setdefault(file.extension.id, []).append(np.arange(file.rows.start, file.rows.stop))
    places = {id: np.concatenate(parts) for id, parts in own.items()}
    masks = union.keep_masks(order, parents, {id: known.digests[at] for id, at in places.items()})
    for id, mask in masks.items():
        if mask is not None:
            kept[places[id]] = mask
    return kept


def nothing_known() -> Known:
    import numpy as np

    return Known(np.empty(0, np.uint64), np.empty(0, np.uint64), ())


def live_digest(ids: Collection[str]) -> str:
    """What a source names the other live extensions by."""
    return digest(sorted(ids))


def read_known(
    repo: Repo, extensions: Sequence[Extension], fields: tuple[str, ...] = (), *, required: bool, say: Say = silent
) -> Known:
    """The known rows of extensions, sidecars fetched if need be; `fields` tell them apart, none: all do.

    `required`: raises DataUnavailable or TryAgain where one cannot be had; else it is left out, and that is said.
    """
    import numpy as np

    def lost(extension: Extension, error: GitdataError) -> None:
        if required:
            raise error
        say(f"Rows were not compared with those of {extension.stem}: {error.message}")

    ids = {extension.id for extension in extensions}
    indexes = row_indexes(repo, extensions, lost)
    facts = _read_facts(repo, [extension for extension in extensions if extension.id in indexes], lost)
    told = {id for id, said in facts.items() if fields and said is not None and said.roles == fields}
    telling = row_indexes(repo, [e for e in extensions if e.id in told], lost, ROLE_INDEX)
    complete = facts.keys() - (told - telling.keys())
    there = [extension for extension in extensions if extension.id in complete]
    files, sources, start = [], [], 0
    for extension in there:
        said = facts[extension.id]
        for number, file in enumerate(repo.files_of(extension)):
            content = said.contents[number] if said else None
            files.append(KnownFile(extension, file, start, content, said is not None and file.place in said.apart))
            start += file.rows
        if said and said.source and said.source.live == live_digest(ids - {extension.id}):
            sources.append(said.source)
    nothing = np.empty(0, np.uint64)
    return Known(
        np.concatenate([nothing, *(indexes[e.id] for e in there)]),
        np.concatenate([nothing, *(telling.get(e.id, indexes[e.id]) for e in there)]),
        tuple(files), tuple(sources), len(there) - len(telling) if fields else 0,
    )  # fmt: skip


def _read_facts(
    repo: Repo, extensions: Sequence[Extension], lost: Callable[[Extension, GitdataError], None]
) -> dict[str, Facts | None]:
    """By id, the facts of extensions; an older one has none. What cannot be had is told, and left out."""
    recorded = [e for e in extensions if any(a.path == f"{SIDECAR}/{ROW_FACTS}" for a in e.sidecars)]
    found: dict[str, Facts | None] = dict.fromkeys({e.id for e in extensions} - {e.id for e in recorded})
    contents = read_sidecars(repo, recorded, ROW_FACTS, lost)
    for extension in (e for e in recorded if e.id in contents):
        try:
            facts = Facts.decode(contents[extension.id])
            if len(facts.contents) != len(repo.files_of(extension)):
                raise malformed_sidecar(extension, ROW_FACTS)
            found[extension.id] = facts
        except DataUnavailable as error:
            lost(extension, error)
    return found


def row_sidecars(
    parts: Sequence[Part], files: Sequence[File], source: Source | None
) -> tuple[bytes, bytes, bytes | None]:
    """The row index, what confirms it, and the index over the fields that tell rows apart, where these are not all."""
    from gitdata.data import rows

    by_place = {f"{part.split}/{part.place}": part for part in parts}
    listed = [by_place[file.place] for file in files]
    apart = tuple(file.place for file, part in zip(files, listed, strict=True) if part.apart)
    fields = next((part.scan.fields for part in listed if part.scan.fields), ())
    facts = Facts(tuple(rows.content(part.full) for part in listed), apart, source, fields)
    telling = b"".join(rows.index(part.telling) for part in listed) if fields else None
    return b"".join(rows.index(part.digests) for part in listed), facts.encode(), telling
