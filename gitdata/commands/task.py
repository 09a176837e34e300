"""Task: one training of one model, and how the world looks to it now and when it publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gitdata.commands.lenders import lenders
from gitdata.commands.records import Say
from gitdata.commands.rowsource import RowSource
from gitdata.commands.situation import Declared, live_of, situation_of
from gitdata.data.chain import Chain
from gitdata.data.choice import Situation
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import Snapshot

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lender
    from gitdata.training.declaration import Declaration


@dataclass(frozen=True, slots=True)
class View:
    """What the rule looks at, and the chain that its live extensions belong to."""

    situation: Situation
    chain: Chain


@dataclass(frozen=True, slots=True)
class Task:
    """One training of one model: everything that does not change while it runs.

    `text`: the model file's. `experiment`: it was asked for with other data than declared, so it can never move the
    champion.
    """

    repo: Repo
    model: str
    snapshot: Snapshot
    wanted: Declared
    text: str
    declaration: Declaration
    source: RowSource
    say: Say
    experiment: bool
    force: bool

    def view(self, ledger_commit: str | None) -> View:
        """How things are at our commit: what is to be trained follows from it."""
        tip = deployment_tip(self.repo, self.wanted.branch)
        return self._view(self.snapshot, ledger_commit, may_move=tip == self.snapshot.commit)

    def view_apart(self, ledger_commit: str | None) -> View:
        """The same where nothing is to be published: nobody asks where the deployment branch is."""
        return self._view(self.snapshot, ledger_commit, may_move=False)

    def view_now(self, ledger_commit: str | None, *, began_at_tip: bool) -> View:
        """How things are where the deployment branch is now, if it only moved on since we began at its tip.

        A declaration that changed meanwhile is another question: the champion waits for the training that asks it.
        """
        tip = deployment_tip(self.repo, self.wanted.branch)
        if tip is None or tip == self.snapshot.commit or not began_at_tip or not self._is_behind(tip):
            return self._view(self.snapshot, ledger_commit, may_move=tip == self.snapshot.commit)
        snapshot = self.repo.snapshot(tip)
        same = snapshot.declarations.get(self.model) == self.snapshot.declarations[self.model]
        return self._view(snapshot if same else self.snapshot, ledger_commit, may_move=same)

    def lenders(self, ledger_commit: str | None) -> Mapping[str, Lender]:
        """The versions that the network borrows of, by name. Raises Mendable where they do not serve."""
        others = partial(self.repo.ledger, commit=ledger_commit)
        return lenders(self.repo, self.declaration, self.snapshot, others, self.say)

    def _view(self, snapshot: Snapshot, ledger_commit: str | None, *, may_move: bool) -> View:
        chain, _ = live_of(self.repo, snapshot, self.wanted)
        ledger = self.repo.ledger(self.model, ledger_commit)
        may_move = may_move and not self.experiment
        others = partial(self.repo.ledger, commit=ledger_commit)
        return View(situation_of(self.repo, snapshot, self.wanted, ledger, others, may_move_champion=may_move), chain)

    def _is_behind(self, tip: str) -> bool:
        """Whether our commit is an ancestor of `tip`; of a tip that is not in this clone nobody knows."""
        return self.repo.git.is_ancestor(str(self.snapshot.commit), tip)


def deployment_tip(repo: Repo, branch: str) -> str | None:
    """The tip of the deployment branch, asked of the git remote now. Raises Mendable if it exists nowhere."""
    if repo.git_remote is None:
        tip = repo.deployment_tip(branch)
    else:
        tip = repo.git.remote_ref(repo.git_remote, f"refs/heads/{branch}")
    if tip is None and repo.git.resolve(f"refs/heads/{branch}") is None:
        raise Mendable(
            f"The deployment branch '{branch}' exists nowhere.",
            f"Push it, or name another in the [deployment] of the model file{_here(repo)}.",
        )
    return tip


def _here(repo: Repo) -> str:
    """In a work tree on a branch: its name, as somebody who never named one is likely to mean it."""
    branch = repo.git.branch()
    return f': branch = "{branch}"' if branch and not repo.is_bare else ""
