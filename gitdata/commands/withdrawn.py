"""Withdrawn rows: those that stand in a retracted extension and in no other one.

A grown file goes on holding them: they are left out of what is stored of it, unless they are asked for `again`. Other
files bring them back, which is said. Of a purged extension nobody knows the rows any more; what was merely replaced
was not declared bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitdata.commands.intake import Part
from gitdata.commands.known import Known, nothing_known, read_known
from gitdata.commands.records import Say
from gitdata.commands.retract import retraction_of
from gitdata.data.chain import Chain
from gitdata.repo import Repo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The rows of retracted extensions, those of the others, and by stem why the former were retracted."""

    retracted: Known
    others: tuple[Known, ...]
    reasons: Mapping[str, str]

    def owners(self, parts: Sequence[Part]) -> list[NDArray[np.int64]]:
        """For each row of some parts which file of `retracted` withdrew it last, −1 for none: an array a part.

        Files apart are compared with files apart, the others with the others.
        """
        import numpy as np

        found = [np.full(part.rows, -1, np.int64) for part in parts]
        for apart in (False, True):
            chosen = [number for number, part in enumerate(parts) if part.apart == apart and part.rows]
            if chosen and any(known.apart == apart and known.file.rows for known in self.retracted.files):
                own = self._owners(np.concatenate([parts[number].digests for number in chosen]), apart=apart)
                stops = np.cumsum([parts[number].rows for number in chosen])
                for number, its in zip(chosen, np.split(own, stops[:-1]), strict=True):
                    found[number] = its
        return found

    def _owners(self, own: NDArray[np.uint64], *, apart: bool) -> NDArray[np.int64]:
        import numpy as np

        files = [number for number, known in enumerate(self.retracted.files) if known.apart == apart]
        whose = np.repeat(files, [self.retracted.files[number].file.rows for number in files])
        digests = np.concatenate([self.retracted.digests[self.retracted.files[number].rows] for number in files])
        by_value = np.argsort(digests, kind="stable")
        at = np.searchsorted(digests[by_value], own, side="right") - 1
        found = (at >= 0) & (digests[by_value[at]] == own)
        for others in self.others:
            found &= ~np.isin(own, (others.apart if apart else others.together).digests)
        return np.where(found, whose[by_value[at]], -1)

    def told(self, owners: Sequence[NDArray[np.int64]]) -> list[Mapping[str, Any]]:
        """How many rows each retracted extension withdrew, and why it was retracted: a record each, oldest first."""
        counts: dict[str, int] = {}
        times = Counter(number for own in owners for number in own[own >= 0].tolist())
        for number, known in enumerate(self.retracted.files):
            if rows := times[number]:
                counts[known.extension.stem] = counts.get(known.extension.stem, 0) + rows
        return [{"extension": stem, "reason": self.reasons[stem], "rows": rows} for stem, rows in counts.items()]

    def leave_out(self, parts: Sequence[Part]) -> list[Mapping[str, Any]]:
        """Leave the withdrawn rows out of parts; what was left out, as `told`."""
        owners = self.owners(parts)
        for part, own in zip(parts, owners, strict=True):
            part.choose(own < 0)
        return self.told(owners)


def read_withdrawn(repo: Repo, chain: Chain, live: Known, beside: Collection[str], say: Say) -> Withdrawn:
    """What is withdrawn of a chain, of which the rows `live` are known.

    `beside`: ids that do not count, since they are being overwritten.
    """
    bad = [e for e in chain.ordered(chain.retracted & chain.extensions.keys()) if e.id not in beside]
    retractions = {extension.id: retraction_of(repo, extension) for extension in bad}
    there = [e for e in bad if (found := retractions[e.id]) is None or not found.purged]
    reasons = {e.stem: found.reason if (found := retractions[e.id]) else "" for e in there}
    if not there:
        return Withdrawn(nothing_known(), (), {})
    read = {file.extension.id for file in live.files} | chain.retracted | chain.lost
    others = chain.ordered(chain.extensions.keys() - read)
    retracted, more = (read_known(repo, extensions, required=False, say=say) for extensions in (there, others))
    return Withdrawn(retracted, (live, more), reasons)
