"""Grown: what of a file that is a whole grown data set a dataset does not hold yet.

Rows are told apart by their digests, so nothing of the parents but their sidecars is needed; a file that begins with
the very bytes it had is read from there on. Rows that changed or disappeared are a correction, which somebody decides.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.correction import Told, correction_lines, stored_table, tell
from gitdata.commands.intake import Part, Request, names_files, stamp
from gitdata.commands.known import Known, KnownFile, Source, in_union, live_digest
from gitdata.commands.records import Say
from gitdata.commands.withdrawn import Withdrawn
from gitdata.data.chain import Chain
from gitdata.data.pointer import File
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Read = Callable[..., list[Part]]  # of a request; fitted to the parents' schema, unless `schema` is None
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Growth:
    """What a grown file comes to. `by`: recognised by `bytes` or by `rows`; `known`: how many of its rows are;

    `new`: how many are to be stored; `replaces`: as a new base generation; `source`: what the file is then, if it
    is exactly what the dataset holds; `retracted`: the rows of it that were left out, by the extensions that had them.
    """

    by: str
    known: int
    new: int
    source: Source | None
    correction: Told | None = None
    replaces: bool = False
    retracted: Sequence[Mapping[str, Any]] = ()

    def record(self) -> dict[str, Any]:
        correction = self.correction.record() if self.correction else None
        return {"by": self.by, "correction": correction, "known_rows": self.known}


def grow(
    repo: Repo,
    request: Request,
    chain: Chain,
    known: Known,
    withdrawn: Withdrawn | None,
    live: Sequence[str],
    read: Read,
    stack: ExitStack,
    say: Say,
) -> tuple[list[Part], Growth]:
    """The parts to store of a grown file, and what it comes to; `live`: the ids of the extensions that are known.

    `withdrawn`: rows that are to be left out. Raises Mendable for a correction that the request does not say what to
    do with.
    """
    together = known.together
    kept, found = in_union(together, chain), None
    for source in known.sources[-1:]:
        if source.rows == int(kept.sum()):
            found = _by_bytes(request, source, withdrawn, live, read, stack)
    if found is None:
        found = _by_rows(repo, request, together, kept, withdrawn, live, read, say)
    parts, growth = found
    apart = [part for part in parts if part.apart]
    if not growth.replaces:
        _leave_out_known(request, apart, chain, known.apart, live)
    gone = withdrawn.leave_out(apart) if withdrawn else []
    return parts, replace(growth, retracted=(*growth.retracted, *gone))


def _leave_out_known(request: Request, parts: Sequence[Part], chain: Chain, known: Known, live: Sequence[str]) -> None:
    """Of files apart, too, only what is new is stored; `known`: those of the dataset.

    Test rows that take the place of others, or that others took the place of, count as new.
    """
    import numpy as np

    from gitdata.data import grown

    for split in sorted({part.split for part in parts} - ({"test"} if request.test_policy != "add" else set())):
        there = live if split != "test" else [e.id for e in chain.contributing(live, "test")]
        chosen = [part for part in parts if part.split == split]
        own = np.concatenate([part.digests for part in chosen])
        new = grown.new_rows(grown.match(known.digests_of(split, there), own), len(own))
        for part, its in zip(chosen, np.split(new, np.cumsum([part.rows for part in chosen])[:-1]), strict=True):
            part.choose(its)


# --- by bytes ------------------------------------------------------------------------------------------------


def _by_bytes(
    request: Request, source: Source, withdrawn: Withdrawn | None, live: Sequence[str], read: Read, stack: ExitStack
) -> tuple[list[Part], Growth] | None:
    """The tail alone, if any, where the file begins with the bytes of a source; None: the rows must tell."""
    from gitdata.data import formats

    (path,) = request.files
    if not path.is_file() or not formats.grows_by_bytes(path) or stamp(path)[0] < source.size:
        return None
    found = stamp(path)
    beginning, whole = _hashes(path, source.size)
    if whole == source.sha256 and not names_files(request):
        return [], Growth("bytes", source.rows, 0, None)
    tail = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitdata-"))) / path.name
    if beginning != source.sha256 or not formats.tail(path, source.size, tail):
        return None
    try:
        parts = read(replace(request, files=[tail]))
    except Mendable:
        return None  # read as a whole, the file is what the message names
    _refuse_changed(path, found)
    gone = withdrawn.leave_out(parts[:1]) if withdrawn else []
    new = parts[0].rows
    grown = None if gone else Source(whole, found[0], source.rows + new, live_digest(live))
    return parts, Growth("bytes", source.rows, new, grown, retracted=gone)


def _hashes(path: Path, size: int) -> tuple[str, str]:
    """sha256 of the first `size` bytes of a file, and of all."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(min(_PIECE, size - file.tell())):
            digest.update(piece)
        beginning = digest.hexdigest()
        while piece := file.read(_PIECE):
            digest.update(piece)
    return beginning, digest.hexdigest()


def source_of(path: Path, rows: int, live: Sequence[str]) -> Source | None:
    """The source that a whole file is beside the extensions `live`; None where its format does not grow by bytes."""
    from gitdata.data import formats

    if not formats.grows_by_bytes(path):
        return None
    found = stamp(path)
    _, whole = _hashes(path, 0)
    _refuse_changed(path, found)
    return Source(whole, found[0], rows, live_digest(live))


def base_source(
    request: Request, parents: Sequence[str], parts: Sequence[Part], files: Sequence[File]
) -> Source | None:
    """The file that a base is made of, if all its rows come from that one, and all of its rows are there.

    `files`: the parts as they are stored; a whole one was hashed along the way.
    """
    from gitdata.data import formats

    together = [part for part in parts if not part.apart]
    if parents or len(request.files) != 1 or not together:
        return None
    first, (path,) = together[0], request.files
    rows = len(first.scan.full)
    if sum(part.rows for part in together) != rows or not path.is_file() or not formats.grows_by_bytes(path):
        return None
    if first.keep is not None:
        return source_of(path, rows, ())
    (whole,) = (file for file in files if file.split == first.split and file.path == path.name)
    return Source(whole.sha256, whole.size, whole.rows, live_digest(()))


def _refuse_changed(path: Path, found: tuple[int, int]) -> None:
    if stamp(path) != found:
        raise Mendable(f"'{path}' changed while it was read.", "Try again when nobody writes to it.")


# --- by rows -------------------------------------------------------------------------------------------------


def _by_rows(
    repo: Repo, request: Request, known: Known, kept: NDArray[np.bool_], withdrawn: Withdrawn | None,
    live: Sequence[str], read: Read, say: Say,
) -> tuple[list[Part], Growth]:  # fmt: skip
    """`kept`: which of the known rows their union keeps; a file that holds it holds the others too."""
    from gitdata.data import grown

    try:
        parts, fits = read(request), True
    except Mendable as error:
        parts, fits = _read_otherwise(request, read, error), False
    part = parts[0]
    if part.table is None:
        raise Mendable(
            f"'{part.source}' is kept as it is: gitdata knows no rows in it, so none of them as new.",
            "Leave --grown out.",
        )
    if not fits:  # other fields, other rows
        return parts, Growth("rows", 0, part.rows, source_of(part.source, part.rows, ()), replaces=True)
    places = _places(repo, known, kept, part.scan.full, say)
    missing, found = int((places == grown.MISSING).sum()), int((places >= 0).sum())
    new = grown.new_rows(places, part.table.rows)
    gone = withdrawn.leave_out([part]) if withdrawn else []
    if part.keep is not None:
        new &= part.keep
    own = part.scan.full[:, 0]
    told = tell(repo, known, places, part.table, own, new, request.inputs, say) if missing else None
    if told is not None:
        _require_decision(request, told, int(new.sum()))
    if replaces := told is not None and request.grown == "replace":
        live = ()
    else:
        part.keep = None if new.all() else new
    is_exact = not gone and (replaces or (told is None and new.any()))
    source = source_of(part.source, part.table.rows, live) if is_exact else None
    return parts, Growth("rows", found, part.rows, source, told, replaces, gone)


def _read_otherwise(request: Request, read: Read, error: Mendable) -> list[Part]:
    """The parts where a file has fields of its own, as a new generation may; `error`: why it does not fit the parents.

    Raises Mendable where no new generation is asked for, or the file itself is at fault.
    """
    parts = read(request, schema=None)
    if request.grown != "replace":
        raise Mendable(
            error.message,
            "Give it the fields, dtypes and units of the dataset; or with --replace the whole file, with fields of its "
            "own, becomes a new base that takes the place of the heads.",
        ) from error
    return parts


def _places(repo: Repo, known: Known, kept: NDArray[np.bool_], own: NDArray[np.uint64], say: Say) -> NDArray[np.int64]:
    """Which row of the file each known row is: 64 bits find it, and what can confirm that does."""
    import numpy as np

    from gitdata.data import grown

    places = grown.match_union(known.digests, kept, own[:, 0])
    confirmed = [not file.file.rows or _is_confirmed(file, places, own) for file in known.files]
    if not all(confirmed):
        full = np.stack([known.digests, np.zeros_like(known.digests)], axis=1)
        whole = np.ones(len(places), bool)
        for file, is_confirmed in zip(known.files, confirmed, strict=True):
            if is_confirmed:
                full[file.rows] = own[places[file.rows]]
            elif (read := _read_digests(repo, file, places[file.rows], say)) is not None:
                full[file.rows] = read
            else:
                whole[file.rows] = False
        if unread := int((places[~whole] != grown.MISSING).sum()):
            say(f"{unread} rows were recognised by 64 of the 128 bits of their digests alone; the others are not here.")
        places[kept] = grown.match_exactly(full[kept], whole[kept], own)
    places[~kept] = grown.SHARED
    return places


def _is_confirmed(file: KnownFile, places: NDArray[np.int64], own: NDArray[np.uint64]) -> bool:
    """Whether the rows that were found for a stored file are its rows by all their bits."""
    from gitdata.data import grown, rows

    found = places[file.rows]
    return (found != grown.MISSING).all() and rows.content(own[found]) == file.content


def _read_digests(repo: Repo, file: KnownFile, found: NDArray[np.int64], say: Say) -> NDArray[np.uint64] | None:
    """The digests of a stored file's rows, shape (rows, 2), from its blob; None where that is not to be had.

    Raises DataUnavailable where one of the rows found is known to be another one, and only the blob says which.
    """
    import numpy as np

    from gitdata.data import grown, rows

    is_whole = bool((found != grown.MISSING).all())
    refuted = is_whole and file.content is not None
    table = stored_table(repo, file, say, fetch=refuted or not is_whole)
    if table is not None:
        return np.concatenate([rows.digests(columns) for columns in table.blocks()])
    if refuted:
        raise DataUnavailable(
            f"A row of the file has 64 bits in common with another row of {file.extension.stem}.",
            "To tell which, the rows are needed: fetch them with `gitdata fetch`.",
        )
    return None


def _require_decision(request: Request, told: Told, new: int) -> None:
    if request.grown == "refuse":
        told_lines = "\n  ".join(correction_lines(told.record()))
        lacking = f"{new} row{'s' * (new != 1)} of the file that the dataset lacks {'are' if new != 1 else 'is'} stored"
        kept = f"the {lacking} beside the old ones" if new else "the dataset stays as it is"
        raise Mendable(
            f"'{request.files[0]}' corrects what '{request.dataset}' holds: {told_lines}",
            f"Nothing was changed. With --append-only-new {kept}; with --replace the whole file becomes a new base "
            "that takes the place of the heads.",
        )


def require_test_rows(request: Request, parts: Sequence[Part], known: Known) -> None:
    """Raises Mendable where a new generation would do without the test rows that there are, and nobody says so."""
    tested = len(known.of("test"))
    if tested and request.test_policy != "drop" and not any(part.split == "test" for part in parts):
        raise Mendable(
            f"What '{request.files[0]}' is to replace has {tested} test rows; the file alone brings none.",
            "Name them with --test FILE or a larger FRACTION; to go without, `--test-policy drop` in place of --test.",
        )
