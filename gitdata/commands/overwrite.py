"""Overwrite: a new extension takes the label of an old one, which is retracted in the same commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gitdata.commands.intake import Request
from gitdata.commands.lineage import saw
from gitdata.commands.models import up_to_date_ledger
from gitdata.commands.records import Say
from gitdata.commands.retract import retraction_place
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.errors import Mendable, TryAgain
from gitdata.repo import Repo


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The extensions whose label is taken, and every version (`model@number`) of any model that saw one of them."""

    extensions: tuple[Extension, ...] = ()
    seen_by: tuple[str, ...] = ()

    def beside(self, extension: Extension) -> Overwritten:
        """The same without `extension`: after a killed run the new one carries the label too."""
        return replace(self, extensions=tuple(old for old in self.extensions if old.id != extension.id))

    def message(self, text: str) -> str:
        """The commit message: what the person said, and what it means."""
        if not self.extensions:
            return text
        old = ", ".join(f"{e.dataset}@{e.version} ({e.short})" for e in self.extensions)
        seen = f"Seen by {', '.join(self.seen_by)}." if self.seen_by else "No model version saw it."
        return f"{text}\n\nOverwrites {old}. {seen}\n"


def overwritten(repo: Repo, request: Request, chain: Chain, say: Say) -> Overwritten:
    """What `--overwrite` takes the label from. Raises Mendable where that is nothing, or not one thing."""
    if not request.overwrite:
        return Overwritten()
    if request.version is None:
        raise Mendable(
            "--overwrite needs the version that is to be overwritten.", "Name it: `--version V --overwrite`."
        )
    carriers = [e for e in chain.ordered(chain.extensions) if e.version == request.version and e.id not in chain.lost]
    if not carriers:
        raise Mendable(
            f"'{request.dataset}' has no version {request.version} to overwrite.",
            f"Leave --overwrite out, or see `gitdata log {request.dataset}`.",
        )
    live = [extension for extension in carriers if chain.state_of(extension.id) == "live"]
    if len(live) > 1:
        raise Mendable(
            f"Version {request.version} of '{request.dataset}' stands for {', '.join(e.short for e in live)}.",
            f"Settle that first: `gitdata renumber {request.dataset}`.",
        )
    old = [e for e in carriers if e in live or _is_begun(repo, e)]
    return Overwritten(tuple(old), _seen_by(repo, old, say))


def without(chain: Chain, old: Overwritten) -> Chain:
    """The chain in which what is overwritten is retracted already."""
    return replace(chain, retracted=chain.retracted | {extension.id for extension in old.extensions})


def _is_begun(repo: Repo, extension: Extension) -> bool:
    """Whether a retraction stands here that no commit has: a killed run had begun to overwrite."""
    place = retraction_place(repo, extension)
    return place.is_file() and repo.git.try_text("diff", "--quiet", "HEAD", "--", str(place)) is None


def _seen_by(repo: Repo, extensions: Sequence[Extension], say: Say) -> tuple[str, ...]:
    try:
        ledgers = repo.ledgers(up_to_date_ledger(repo, say))
    except TryAgain as error:
        say(f"Which model versions saw it is not known: {error.message}")
        return ()
    return tuple(name for extension in extensions for name in saw(ledgers, extension.id))
