"""Branches of a real repository, grown with lattice runs without a process for each extension."""

from __future__ import annotations

from collections.abc import Sequence

from world import Clone, World

from gitdata.commands import extend as command
from gitdata.commands.intake import Request
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension


def start(world: World, first: int = 0, last: int = 4) -> Extension:
    """A base with some lattice runs, and the settings, committed on `main`."""
    path = world.lattice("base", first, last)
    record = command.add(world.clone.repo, Request("lattice", [path], message="base"))
    world.clone.commit("settings")
    return chain_of(world.clone).extensions[record.id]


def grow(
    world: World,
    name: str,
    first: int,
    last: int,
    *,
    clone: Clone | None = None,
    parents: Sequence[str] | None = None,
    version: str | None = None,
) -> Extension:
    """An extension with the lattice runs `first` up to but not including `last`, committed on the current branch."""
    clone = clone or world.clone
    request = Request(
        "lattice",
        [world.lattice(name, first, last)],
        message=name,
        parents=tuple(parents) if parents is not None else None,
        version=version,
    )
    id = command.extend(clone.repo, request).id
    return chain_of(clone).extensions[id]


def branch(clone: Clone, name: str, at: str = "main") -> None:
    clone.git("switch", "--quiet", "--create", name, at)


def switch(clone: Clone, name: str) -> None:
    clone.git("switch", "--quiet", name)


def merge(clone: Clone, *names: str) -> None:
    clone.git("merge", "--quiet", "--no-edit", *names)


def chain_of(clone: Clone) -> Chain:
    """The chain of `lattice` as the work tree has it."""
    return clone.repo.work_tree_snapshot().chains["lattice"]


def live(clone: Clone) -> set[str]:
    """The labels of what is live."""
    chain = chain_of(clone)
    return {chain.extensions[id].stem for id in clone.repo.live(chain)}
