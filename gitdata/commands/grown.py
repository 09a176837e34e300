"""Grown: what of a file that is a whole grown data set a dataset does not hold yet.

Rows are told apart by their digests, so nothing of the parents but their sidecars is needed; a file that begins with
the very bytes it had is read from there on. Rows that changed or disappeared are a correction, which somebody decides.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata.commands.correction import Told, correction_lines, stored_table, tell
from gitdata.commands.intake import Part, Request, names_files, stamp
from gitdata.commands.known import Known, KnownFile, Source, in_union, live_digest
from gitdata.commands.records import Say
from gitdata.data.chain import Chain
from gitdata.data.pointer import File
from gitdata.errors import DataUnavailable, Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Read = Callable[[Request], list[Part]]
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Growth:
    """What a grown file comes to. `by`: recognised by `bytes` or by `rows`; `known`: how many of its rows are;

    `new`: how many are to be stored; `replaces`: as a new base generation; `source`: what the file is then, if it
    is exactly what the dataset holds.
    """

    by: str
    known: int
    new: int
    source: Source | None
    correction: Told | None = None
    replaces: bool = False

    def record(self) -> dict[str, Any]:
        correction = self.correction.record() if self.correction else None
        return {"by": self.by, "correction": correction, "known_rows": self.known}


def check_request(request: Request) -> None:
    """Raises Mendable where what is asked for does not go together."""
    if request.grown is None:
        return
    if len(request.files) != 1 or request.files[0].is_dir():
        raise Mendable("--grown is about one file that holds the whole data set.", "Name exactly one file.")
    if request.dedupe:
        raise Mendable(
            "--grown leaves out what the dataset holds; beside it --dedupe would part the dataset from the file.",
            "Leave one of them out.",
        )


def grow(
    repo: Repo,
    request: Request,
    chain: Chain,
    known: Known,
    live: Sequence[str],
    read: Read,
    stack: ExitStack,
    say: Say,
) -> tuple[list[Part], Growth]:
    """The parts to store of a grown file, and what it comes to; `live`: the ids of the extensions that are known.

    Raises Mendable for a correction that the request does not say what to do with.
    """
    together = known.together
    kept = in_union(together, chain)
    for source in known.sources[-1:]:
        if source.rows == int(kept.sum()) and (found := _by_bytes(request, source, live, read, stack)) is not None:
            return found
    return _by_rows(repo, request, together, kept, live, read, say)


# --- by bytes ------------------------------------------------------------------------------------------------


def _by_bytes(
    request: Request, source: Source, live: Sequence[str], read: Read, stack: ExitStack
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
    new = parts[0].rows
    grown = Source(whole, found[0], source.rows + new, live_digest(live))
    return parts, Growth("bytes", source.rows, new, grown)


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
    repo: Repo, request: Request, known: Known, kept: NDArray[np.bool_], live: Sequence[str], read: Read, say: Say
) -> tuple[list[Part], Growth]:
    """`kept`: which of the known rows their union keeps; a file that holds it holds the others too."""
    from gitdata.data import grown

    parts = read(request)
    part = parts[0]
    if part.table is None:
        raise Mendable(
            f"'{part.source}' is kept as it is: gitdata knows no rows in it, so none of them as new.",
            "Leave --grown out.",
        )
    places = _places(repo, known, kept, part.scan.full, say)
    missing, found = int((places == grown.MISSING).sum()), int((places >= 0).sum())
    new = grown.new_rows(places, part.table.rows)
    told = tell(repo, known, places, part.table, request.inputs, say) if missing else None
    if told is not None:
        _require_decision(request, told, int(new.sum()))
    if replaces := told is not None and request.grown == "replace":
        return parts, Growth(
            "rows", found, part.table.rows, source_of(part.source, part.table.rows, []), told, replaces
        )
    part.keep = None if new.all() else new
    source = source_of(part.source, part.table.rows, live) if told is None and new.any() else None
    return parts, Growth("rows", found, int(new.sum()), source, told)


def _places(repo: Repo, known: Known, kept: NDArray[np.bool_], own: NDArray[np.uint64], say: Say) -> NDArray[np.int64]:
    """Which row of the file each known row is: 64 bits find it, and what can confirm that does."""
    import numpy as np

    from gitdata.data import grown

    places = grown.match_union(known.digests, kept, own[:, 0])
    doubtful = [file for file in known.files if file.file.rows and not _is_confirmed(file, places, own)]
    if doubtful:
        full = np.stack([known.digests, np.zeros_like(known.digests)], axis=1)
        whole = np.ones(len(places), bool)
        for file in known.files:
            if file not in doubtful:
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
        raise Mendable(
            f"'{request.files[0]}' corrects what '{request.dataset}' holds: {told_lines}",
            f"Nothing was changed. With --append-only-new the {new} rows of the file that the dataset lacks are stored "
            "beside the old ones; with --replace the whole file becomes a new base that takes the place of the heads.",
        )


def require_test_rows(request: Request, parts: Sequence[Part], known: Known) -> None:
    """Raises Mendable where a new generation would do without the test rows that there are, and nobody says so."""
    tested = len(known.of("test"))
    if tested and request.test_policy != "drop" and not any(part.split == "test" for part in parts):
        raise Mendable(
            f"What '{request.files[0]}' is to replace has {tested} test rows; the file alone brings none.",
            "Name them with --test FILE or --test FRACTION, or go without: --test-policy drop.",
        )
