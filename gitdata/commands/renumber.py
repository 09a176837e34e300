"""Renumber: settles labels that several extensions carry; ids, children and models stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitdata import durable
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.situation import declared
from gitdata.data import pointerfile
from gitdata.data.pointer import Extension
from gitdata.data.renumbering import new_labels, relabelled
from gitdata.errors import GitdataError
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, Snapshot, read_pointer

USUAL_BRANCHES = ("main", "master")  # where no model says from which branch it is deployed


@dataclass(frozen=True, slots=True)
class _Move:
    """An extension with the label that it is to have, and the pointers, relative to the top, that it has now."""

    extension: Extension
    places: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{DATASETS}/{self.extension.dataset}/{self.extension.stem}.dvc"

    @property
    def surplus(self) -> tuple[str, ...]:
        return tuple(place for place in self.places if place != self.place)


def renumber(repo: Repo, dataset: str, message: str | None, say: Say = silent) -> list[Record]:
    """Give every extension but one of each label a free one, and stage that; with a message, commit it.

    One record per extension that was renamed. A second run finds nothing to do.
    """
    repo.require_work_tree("renumber")
    repo.require_initialised()
    moves = _moves(repo, repo.work_tree_snapshot(), dataset)
    for move in moves:
        _move(repo, move, say)
    if moves and message is not None:
        _commit(repo, moves, message)
    return [_record(move, committed=message is not None) for move in moves]


# --- deciding ------------------------------------------------------------------------------------------------


def _moves(repo: Repo, snapshot: Snapshot, dataset: str) -> list[_Move]:
    chain = snapshot.chain(dataset)
    repo.live(chain, chain.extensions)
    settled = _settled_places(repo, snapshot, dataset)
    places = _places(repo, dataset)
    for id, own in places.items():
        if len(own) > 1:  # both sides of a merge had renamed it, or a run was killed half-way
            kept = next((place for place in own if place in settled), snapshot.paths[id])
            chain = relabelled(chain, id, own[kept].version)
    is_settled = {id for id, own in places.items() if settled & own.keys()}
    labels = new_labels(chain, is_settled)
    wanted = {id: replace(chain.extensions[id], version=labels.get(id, chain.extensions[id].version)) for id in places}
    moves = [_Move(wanted[id], tuple(own)) for id, own in sorted(places.items())]
    return [move for move in moves if move.surplus]


def _settled_places(repo: Repo, snapshot: Snapshot, dataset: str) -> frozenset[str]:
    """The pointers of a dataset on the branches that models are deployed from, as the git remote has them."""
    tips = filter(None, map(repo.deployment_tip, deployed_from(repo, snapshot.declarations, dataset)))
    return frozenset(entry.path for tip in tips for entry in repo.git.tree(tip, f"{DATASETS}/{dataset}"))


def deployed_from(repo: Repo, declarations: Mapping[str, str], dataset: str) -> Iterable[str]:
    """The branches that models of a dataset are deployed from; the usual ones where no model is declared."""
    found = set()
    for model, text in declarations.items():
        try:
            wanted = declared(repo, model, text)
        except GitdataError:
            continue  # a broken declaration deploys nothing
        if wanted.dataset == dataset:
            found.add(wanted.branch)
    return sorted(found) or USUAL_BRANCHES


def _places(repo: Repo, dataset: str) -> Mapping[str, Mapping[str, Extension]]:
    """By id, every pointer of an extension in the work tree."""
    found: dict[str, dict[str, Extension]] = {}
    for path, content in sorted(repo.work_tree_files().items()):
        extension = read_pointer(path, content)
        if extension is not None and extension.dataset == dataset:
            found.setdefault(extension.id, {})[path] = extension
    return found


# --- acting --------------------------------------------------------------------------------------------------


def _move(repo: Repo, move: _Move, say: Say) -> None:
    """Write the pointer under its new name before the old one goes; the files beside it move along."""
    target = repo.writable(repo.top / move.place)
    durable.write(target, pointerfile.encode(move.extension))
    repo.git.stage(target)
    for surplus in move.surplus:
        _move_folder(repo.writable(_folder(repo.top / surplus)), repo.writable(_folder(target)), say)
        repo.git.run("rm", "--quiet", "--force", "--ignore-unmatch", "--", surplus)
        (repo.top / surplus).unlink(missing_ok=True)  # git leaves what it does not track


def _move_folder(source: Path, target: Path, say: Say) -> None:
    if not source.is_dir():
        return
    if target.exists():
        say(f"'{source}' was left as it is: '{target}' exists.")
        return
    durable.rename(source, target)


def _folder(pointer: Path) -> Path:
    """Where the files of a pointer lie when they are checked out."""
    return pointer.with_suffix("")


def _commit(repo: Repo, moves: list[_Move], message: str) -> None:
    """Commit the new names, and the old ones that the last commit has."""
    places = [place for move in moves for place in (move.place, *move.surplus)]
    changed = repo.git.text("diff", "--name-only", "--no-renames", "HEAD", "--", *places).splitlines()
    if changed:
        repo.git.commit(message, *(repo.top / place for place in changed))


def _record(move: _Move, *, committed: bool) -> Record:
    extension = move.extension
    before = [Path(place).stem.rpartition("-")[0] for place in move.surplus]
    return Record(
        "renumbered",
        extension.id,
        {
            "before": before,
            "committed": committed,
            "dataset": extension.dataset,
            "path": move.place,
            "version": extension.version,
        },
    )
