"""Receive: what is wrong with a push, ref by ref. Nothing is fetched, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitdata.commands.finding import Finding
from gitdata.commands.received import ledger_rules
from gitdata.commands.received.dataset import Datasets
from gitdata.commands.received.ledger import PushedLedger
from gitdata.errors import Mendable
from gitdata.repo import LEDGER_REF, Repo
from gitdata.storage.quarantine import Quarantine

MOST_REFS = 200
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Update:
    """A ref that is pushed, with the objects that it leads to before and after; None: there is, or will be, no ref."""

    ref: str
    before: str | None
    after: str | None


def receive(repo: Repo, lines: Iterable[str]) -> Iterator[tuple[str, Finding]]:
    """What is wrong with a push, by ref; `lines` are those of pre-receive. Raises Mendable for too much."""
    git = Quarantine(repo.git)
    updates = [update for line in lines if (update := _update(line)) is not None]
    if len(updates) > MOST_REFS:
        raise Mendable(
            f"This push moves {len(updates):,} refs; {MOST_REFS} are looked at in one.",
            "Push the branches first, and tags and the rest after them.",
        )
    commits = git.commits(name for update in updates for name in (update.before, update.after) if name)
    for update in updates:
        before, after = (commits.get(name or "") for name in (update.before, update.after))
        for finding in _findings(repo, git, update, Update(update.ref, before, after)):
            yield update.ref, finding


def _findings(repo: Repo, git: Quarantine, update: Update, commits: Update) -> Iterator[Finding]:
    """`commits`: the update, with the commits that its objects lead to."""
    if update.after is None:
        if update.ref == LEDGER_REF:
            yield ledger_rules.deleted(update.ref)
    elif update.ref.startswith("refs/replace/"):
        yield _replacing(update.ref)
    elif update.ref == "refs/heads/gitdata":
        yield _in_the_way(update.ref)
    elif commits.after is None:
        return  # a tag of something else
    elif update.ref.startswith("refs/heads/gitdata/"):
        if update.ref == LEDGER_REF and commits.before and not git.is_ancestor(commits.before, commits.after):
            yield ledger_rules.rewritten(update.ref)
        yield from PushedLedger(repo, git, update.ref, commits.before, commits.after).findings()
    else:
        yield from Datasets(repo, git, update.ref, commits.before, commits.after).findings()


def _update(line: str) -> Update | None:
    old, _, rest = line.partition(" ")
    new, _, ref = rest.partition(" ")
    if not (_OBJECT.fullmatch(old) and _OBJECT.fullmatch(new)):
        return None
    return Update(ref, old if old.strip("0") else None, new if new.strip("0") else None)


def _replacing(ref: str) -> Finding:
    problem = "It would replace an object by another for whoever reads here, unseen."
    return Finding("pointer", ref, problem, "Keep it to your clone: `git push` without refs/replace.")


def _in_the_way(ref: str) -> Finding:
    problem = "A branch of this name would take the place of the ledger, gitdata/models."
    return Finding("ledger", ref, problem, "Rename it: `git branch -m gitdata ANOTHER-NAME`.")
