"""View: `checkout --union` — one file, or folder, that shows the rows of a closure as if it had never been in parts.

The suffix of its name decides what it is: HDF5 (virtual: the rows stay in the cache), a folder of Parquet files (one
per extension), without a suffix a folder of links where the dataset is images, or with `--copy`, and where nothing else
is possible, plain files. A view is rebuilt, never moved;
only what carries gitdata's own mark is ever replaced, or a file that is still as it was written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata import durable
from gitdata.commands import imagefolder
from gitdata.commands.pieces import parts_with_rows, pieces_of
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.union import Part
from gitdata.commands.written import is_as_written, remember
from gitdata.data import pointer, view
from gitdata.data.view import MARK, Mark, Source
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS
from gitdata.storage.cache import hash_file

if TYPE_CHECKING:
    from gitdata.data.formats.piece import Piece

Parts = Mapping[str, Sequence[Part]]
_TWO = ("new", "old")
MARK_FILE = f"_{MARK}.json"  # readers of Parquet folders leave out what begins with _


@dataclass(frozen=True, slots=True)
class _Order:
    """A view to be built: where, of what, and why rows are copied if they are."""

    repo: Repo
    target: Path
    pieces: Mapping[str, Sequence[Piece]]
    parts: Parts
    mark: Mark
    reason: str = ""

    @property
    def groups(self) -> dict[str, Sequence[Piece]]:
        """The splits as groups or folders; where one alone was asked for, it needs none."""
        return {"" if self.mark.flat else split: pieces for split, pieces in self.pieces.items()}


def union(
    repo: Repo, reference: str, out: Path, splits: Sequence[str], *, copy: bool = False, say: Say = silent
) -> Record:
    """Build the view `out` of what a reference names, or leave it where it shows just that already."""
    repo.require_work_tree("checkout")
    target = _target(repo, out)
    build = _builder(target, copy=copy)
    if target.exists() and target.is_dir() != (build in (_folder, _copied_folder)):
        raise Mendable(f"'{out}' is a view of another kind.", "Remove it, or name another file.")
    snapshot = repo.work_tree_snapshot()
    chain, named = snapshot.extensions(reference)
    live = repo.live(chain, [extension.id for extension in named])
    parts = {split: parts_with_rows(repo, chain, live, split, within=live) for split in splits or pointer.SPLITS}
    parts = {split: found for split, found in parts.items() if found}
    if not parts:
        wanted = f"{' or '.join(splits or pointer.SPLITS)} rows"
        raise Mendable(f"'{reference}' has no {wanted}.", "See `gitdata log`; what is retracted does not count.")
    order = _Order(
        repo=repo,
        target=target,
        pieces={split: pieces_of(repo, found, say) for split, found in parts.items()},
        parts=parts,
        mark=Mark(
            reference=reference,
            heads=tuple(extension.id for extension in named),
            commit=repo.git.resolve("HEAD"),
            splits=tuple(parts),
            flat=len(splits) == 1,
            virtual=False,
            sources=(),
        ),
    )
    return build(order, say)


# --- choosing ------------------------------------------------------------------------------------------------

Build = Callable[[_Order, Say], Record]


def _builder(target: Path, *, copy: bool) -> Build:
    """What makes a view of this name. Raises Mendable where the suffix names no format."""
    from gitdata.data.formats import writers

    suffix = target.suffix.lower()
    if suffix in writers.HDF5:
        return _copied_hdf5 if copy else _virtual_hdf5
    if suffix in writers.CSV:
        return _copied_csv  # text refers to no other file
    if suffix in writers.PARQUET and copy:
        return _copied_parquet
    if suffix == "" and copy:
        return _copied_folder
    if suffix in (*writers.PARQUET, ""):
        return _folder
    known = ", ".join((*writers.HDF5, *writers.PARQUET, *writers.CSV))
    raise Mendable(f"'{target.name}' names no format that gitdata writes.", f"Give it a suffix: {known}.")


def _target(repo: Repo, out: Path) -> Path:
    """The place of a view. Raises Mendable where nothing of the kind may be written."""
    if out.is_symlink():
        raise Mendable(f"'{out}' is a symbolic link; gitdata writes through none.", "Name the file itself.")
    if not out.name or not out.parent.is_dir():
        raise Mendable(f"'{out}' cannot be written.", "Name a file in a folder that exists.")
    target = out.parent.resolve() / out.name
    datasets = repo.top.resolve() / DATASETS
    inside = {".git", ".dvc"} & set(target.parts) or datasets in target.parents or repo.git.common in target.parents
    if inside:
        raise Mendable(f"'{out}' lies where git, DVC or gitdata keep their own.", "Name a file somewhere else.")
    if target.exists() and mark_of(target) is None and not is_as_written(repo, target):
        raise Mendable(f"'{out}' exists, and gitdata did not write it as it is.", "Remove it, or name another file.")
    return target


def mark_of(target: Path) -> Mark | None:
    """The mark of what lies at `target`, whatever its format; None where it carries none."""
    from gitdata.data.formats import hdf5view, writers

    if target.is_dir():
        path = target / MARK_FILE
        return view.decode(path.read_bytes()) if path.is_file() else None
    if not target.is_file():
        return None  # a pipe or a device would keep whoever opens it
    return hdf5view.mark_of(target) or writers.parquet_mark(target)


# --- building ------------------------------------------------------------------------------------------------


def _virtual_hdf5(order: _Order, say: Say) -> Record:
    from gitdata.data.formats import hdf5view

    everything = [piece for pieces in order.pieces.values() for piece in pieces]
    if (reason := hdf5view.obstacle(everything)) is not None:
        say(f"The rows are copied: {reason}.")
        return _copied_hdf5(replace(order, reason=reason), say)
    names = {piece.path: os.path.relpath(piece.path, order.target.parent) for piece in everything}
    order = replace(order, mark=replace(order.mark, virtual=True, sources=_sources(order, names)))
    found = mark_of(order.target)
    if found is not None and replace(found, commit=order.mark.commit) == order.mark:
        return _record(order, built=False)
    durable.remove_leftovers(order.target.parent)
    with durable.staging(order.target.parent) as staged:
        hdf5view.write(staged.path, order.groups, names, order.mark)
        staged.place(order.target, hdf5view.MODE)
    return _record(order)


def _copied_hdf5(order: _Order, say: Say) -> Record:
    from gitdata.data.formats import writers

    durable.remove_leftovers(order.target.parent)
    room = sum(piece.nbytes for pieces in order.pieces.values() for piece in pieces)
    with durable.staging(order.target.parent, room=room) as staged:
        writers.write_hdf5(staged.path, order.groups, order.mark)
        staged.place(order.target)
    return _record(order)


def _copied_parquet(order: _Order, say: Say) -> Record:
    from gitdata.data.formats import writers

    pieces = _of_one_split(order)
    with durable.replacing(order.target) as file:
        writers.write_parquet(file, pieces, order.mark)
    return _record(order)


def _copied_csv(order: _Order, say: Say) -> Record:
    from gitdata.data.formats import csvfile, writers

    pieces = _of_one_split(order)
    durable.remove_leftovers(order.target.parent)
    with durable.staging(order.target.parent) as staged:
        writers.write_csv(staged.file, pieces, csvfile.DELIMITERS[order.target.suffix.lower()])
        staged.file.flush()
        remember(order.repo, order.target, str(hash_file(staged.path).sha256))
        staged.place(order.target)
    return _record(order)


def _folder(order: _Order, say: Say) -> Record:
    """Of images without a suffix links; else a Parquet file for each extension."""
    everything = [piece for pieces in order.pieces.values() for piece in pieces]
    if order.target.suffix or not imagefolder.are_images(everything):
        return _placed_folder(order, _write_parts)
    names = {piece.path: os.path.relpath(piece.path, order.target.parent) for piece in everything}
    order = replace(order, mark=replace(order.mark, virtual=True, sources=_sources(order, names)))
    return _placed_folder(order, partial(_write_images, copy=False))


def _copied_folder(order: _Order, say: Say) -> Record:
    """The images themselves. Raises Mendable where there are none."""
    if not imagefolder.are_images([piece for pieces in order.pieces.values() for piece in pieces]):
        raise Mendable(
            f"'{order.target.name}' would be a folder of images, and {order.mark.reference} has other files.",
            "Name a .h5, .parquet or .csv file.",
        )
    return _placed_folder(order, partial(_write_images, copy=True))


def _placed_folder(order: _Order, write: Callable[[_Order, Path], None]) -> Record:
    """Built beside, then put in the place of the old one: nobody reads a folder that is half of each.

    Raises Mendable where somebody put files of their own into the old one.
    """
    from filelock import FileLock

    _refuse_others_files(order.target)
    draft, old = (order.target.with_name(f"{durable.TEMPORARY_PREFIX}{word}-{order.target.name}") for word in _TWO)
    durable.make_folder(order.repo.state)
    with FileLock(order.repo.state / "union.lock"), _cleared(draft, old):
        write(order, draft)
        mark = replace(order.mark, files=tuple(_files(draft)))
        durable.write(draft / MARK_FILE, mark.encode().encode())
        _refuse_others_files(order.target)
        if order.target.exists():
            durable.rename(order.target, old)
        durable.rename(draft, order.target)
    return _record(order)


def _refuse_others_files(target: Path) -> None:
    mark = mark_of(target)
    own = {MARK_FILE, *(mark.files if mark else ())}
    others = [name for name in _files(target) if name not in own]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise Mendable(
            f"'{target.name}' holds files that gitdata did not put there: {', '.join(others[:3])}{more}.",
            "Move them out, since the folder is made anew; or name another one.",
        )


def _files(folder: Path) -> list[str]:
    """All that lies in a folder but folders, by its path there, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _write_parts(order: _Order, folder: Path) -> None:
    """One Parquet file for each extension, named so that they sort in the order of the union."""
    from gitdata.data.formats import writers

    for split, pieces in order.pieces.items():
        own = folder if order.mark.flat else folder / split
        pairs = zip(order.parts[split], pieces, strict=True)
        by_extension = groupby(pairs, lambda pair: pair[0].extension)
        for number, (extension, group) in enumerate(by_extension):
            with durable.replacing(own / f"{number:05d}-{extension.stem}.parquet") as file:
                writers.write_parquet(file, [piece for _, piece in group], None)


def _write_images(order: _Order, folder: Path, *, copy: bool) -> None:
    pairs = {split: list(zip(order.parts[split], order.pieces[split], strict=True)) for split in order.pieces}
    for split, images in imagefolder.placed(pairs).items():
        imagefolder.write(folder if order.mark.flat else folder / split, images, copy=copy)


@contextmanager
def _cleared(*folders: Path) -> Iterator[None]:
    """No such folders before, and none after."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _of_one_split(order: _Order) -> Sequence[Piece]:
    """The pieces of the only split. Raises Mendable where there are several: a table holds one."""
    if len(order.pieces) > 1:
        raise Mendable(
            f"'{order.target.name}' holds one table, and {order.mark.reference} has {' and '.join(order.pieces)} rows.",
            "Choose one with --split, or name a .h5 file, in which each split is a group.",
        )
    (pieces,) = order.pieces.values()
    return pieces


def _sources(order: _Order, names: Mapping[Path, str]) -> tuple[Source, ...]:
    pairs = ((p, q) for split in order.parts for p, q in zip(order.parts[split], order.pieces[split], strict=True))
    return tuple(
        Source(names[piece.path], part.file.sha256, part.file.size, piece.path.stat().st_mtime_ns, piece.count)
        for part, piece in pairs
    )


def _record(order: _Order, *, built: bool = True) -> Record:
    rows = {split: sum(piece.count for piece in pieces) for split, pieces in order.pieces.items()}
    dataset = order.mark.reference.partition("@")[0]
    return Record(
        "union",
        str(order.target),
        {
            "built": built,
            "dataset": dataset,
            "files": sum(len(pieces) for pieces in order.pieces.values()),
            "heads": list(order.mark.heads),
            "reason": order.reason,
            "rows": rows,
            "virtual": order.mark.virtual,
        },
    )
