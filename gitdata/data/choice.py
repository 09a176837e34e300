"""The one rule of what to do with a model when anything may have changed.

New data, merges, reverts, force-pushes, retraction and changed declarations all end here: `decide` is handed
the ledger and what is live, and says whether to train, to gate again, or to do nothing. It is pure; lost,
doubled and reordered wake-ups therefore change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gitdata.data.ledger import Entry, Ledger, Outcome, attempt_key

_NOT_RESTORED = frozenset({"refused", "rejected", "rolled back"})
SETTLED_BY_A_PERSON = frozenset({"rejected", "rolled back"})

OVERALL = ("champion", "anchor")  # whom a candidate is compared with on all test rows; all else are parts of them
SEEN = "seen"  # the part of them that is of what the champion had seen

Action = Literal["nothing", "train", "gate", "measure", "fall back"]
Comparison = Literal["accepted", "refused", "undecided"]


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the rule looks at.

    `live` holds the ids of the live extensions, `train_rows` the number of train rows of each; `tested` is the
    digest of today's test rows (None: there are none). `restore` and `declaration` are the declared digests.
    `may_move_champion`: this is the tip of the deployment branch as the git remote has it. `trainable` are the live
    extensions with train rows: the others shape no weights and are never in `added`. `borrowed`: what the versions
    that layers are borrowed of have seen, of whatever dataset, where it is live there: it counts as trained on.
    """

    ledger: Ledger
    live: frozenset[str]
    train_rows: Mapping[str, int]
    tested: str | None
    restore: str
    declaration: str
    may_move_champion: bool
    borrowed: frozenset[str] = frozenset()
    trainable: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        trainable = frozenset(id for id in self.live if self.train_rows.get(id, 0) > 0)
        object.__setattr__(self, "trainable", trainable | self.borrowed)

    @property
    def valid(self) -> frozenset[str]:
        """What a version may have seen."""
        return self.live | self.borrowed

    @property
    def attempt(self) -> str:
        """The key of the question that this situation poses."""
        return attempt_key(self.valid, self.declaration, baseline_of(self), self.may_move_champion)

    def covered_rows(self, entry: Entry) -> int:
        return sum(self.train_rows.get(id, 0) for id in self.ledger.seen(entry.id))


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and on what it rests.

    `train`: restore `restored` (None: from scratch) and train on `unseen`. `gate`: test the existing version
    `candidate` as it is. `measure`: the champion gets new metrics. `fall back`: the youngest eligible version,
    `candidate`, takes the place of a tainted champion. `attempt` is the key that the act settles.
    """

    action: Action
    reason: str
    attempt: str
    baseline: str | None
    restored: str | None = None
    candidate: str | None = None
    unseen: frozenset[str] = frozenset()
    tainted: frozenset[str] = frozenset()


def decide(situation: Situation, *, force: bool = False, train: bool = False) -> Decision:
    """The rule of design: settled, or restore, train, gate. `force` asks a settled question once more.

    `train`: what has seen everything is not gated as it is; there is a training, anew if nothing is unseen.
    """
    ledger, champion = situation.ledger, situation.ledger.champion
    baseline = baseline_of(situation)
    key = situation.attempt
    tainted = tainted_of(situation)

    def decision(action: Action, reason: str, **more: object) -> Decision:
        return Decision(action, reason, key, baseline, tainted=tainted, **more)  # type: ignore[arg-type]

    if not situation.trainable:
        return decision("nothing", "no live extension has train rows")
    if is_settled(situation) and not force:
        assert champion is not None
        if ledger.entries[champion].verdict.tested == situation.tested:
            return decision("nothing", "the champion has seen all live data")
        if key in ledger.attempts:
            return decision("nothing", "this was already attempted")
        return decision("measure", "only test rows changed", candidate=champion)
    if key in ledger.attempts and not force:
        if tainted and baseline is not None and situation.may_move_champion:
            return decision("fall back", "the champion is tainted, and nothing better came of it", candidate=baseline)
        return decision("nothing", "this was already attempted")
    again = None if force else attempt_to_gate_again(situation)
    if again is not None:
        return decision("gate", "only test rows changed", candidate=again.id)
    restored = version_to_restore(situation)
    seen = ledger.seen(restored.id) if restored else frozenset()
    unseen = situation.trainable - seen
    if restored and not unseen and restored.id != champion and not train:
        return decision("gate", "nothing is left to train", candidate=restored.id, restored=restored.id)
    if restored and not unseen:
        restored, unseen = None, situation.trainable
    reason = "unseen data" if restored else "a start from scratch"
    return decision("train", reason, restored=restored.id if restored else None, unseen=unseen)


def is_settled(situation: Situation) -> bool:
    """seen(champion) = live, extensions without train rows aside, and the restore digest is the declared one."""
    champion = situation.ledger.champion
    return (
        champion is not None
        and situation.ledger.seen(champion) == situation.trainable
        and situation.ledger.entries[champion].version.restore == situation.restore
    )


def unseen_of(situation: Situation) -> frozenset[str]:
    """live − seen(champion), extensions without train rows aside."""
    return situation.trainable - situation.ledger.seen(situation.ledger.champion)


def tainted_of(situation: Situation) -> frozenset[str]:
    """seen(champion) − live: what shaped the champion and is no longer live."""
    return situation.ledger.seen(situation.ledger.champion) - situation.valid


def eligible(situation: Situation) -> tuple[Entry, ...]:
    """The versions that may be champion again, youngest first: promoted once, clean, not settled by a person."""
    return tuple(
        entry
        for entry in situation.ledger.youngest_first
        if entry.verdict.promoted
        and entry.verdict.outcome not in SETTLED_BY_A_PERSON
        and situation.ledger.seen(entry.id) <= situation.valid
    )


def baseline_of(situation: Situation) -> str | None:
    """What a candidate is compared with: the champion, or while it is tainted the youngest eligible version."""
    champion = situation.ledger.champion
    if champion is None or not tainted_of(situation):
        return champion
    return next((entry.id for entry in eligible(situation)), None)


def version_to_restore(situation: Situation) -> Entry | None:
    """The clean version with the declared restore digest that covers most train rows.

    Ties go to the champion's lineage, then to the newest.
    """
    ledger = situation.ledger
    line = frozenset(ledger.lineage(ledger.champion))
    candidates = [
        entry
        for entry in ledger.entries.values()
        if entry.verdict.outcome not in _NOT_RESTORED
        and not is_disowned(ledger, entry.id)
        and entry.version.restore == situation.restore
        and ledger.seen(entry.id) <= situation.valid
    ]

    def preference(entry: Entry) -> tuple[int, bool, int, str]:
        return situation.covered_rows(entry), entry.id in line, entry.number, entry.id

    return max(candidates, key=preference, default=None)


def is_disowned(ledger: Ledger, id: str | None) -> bool:
    """Whether a person rejected or rolled back a version, or what it descends from.

    A descendant that has been champion stands for itself: a person who promotes it owns it again.
    """
    for ancestor in ledger.lineage(id):
        verdict = ledger.entries[ancestor].verdict
        if verdict.outcome in SETTLED_BY_A_PERSON:
            return True
        if verdict.promoted:
            return False
    return False


def attempt_to_gate_again(situation: Situation) -> Entry | None:
    """The latest unpromoted attempt at exactly these train rows, where only the test rows have changed."""
    for entry in situation.ledger.youngest_first:
        if entry.verdict.promoted or is_disowned(situation.ledger, entry.id):
            continue
        same_rows = situation.ledger.seen(entry.id) == situation.trainable
        same_declaration = entry.version.declaration == situation.declaration
        if same_rows and same_declaration:
            return entry if entry.verdict.tested != situation.tested else None
    return None


def still_holds(situation: Situation, parent: str | None, seen: Iterable[str]) -> bool:
    """Whether a trained candidate may still move the champion after the ledger or the data moved on.

    Not if it saw what is no longer live, or lacks part of seen(champion) ∩ live, or descends from a version
    that a person rejected or rolled back meanwhile: it becomes an experiment.
    """
    ledger, seen = situation.ledger, frozenset(seen)
    champion_seen = ledger.seen(ledger.champion) & situation.valid
    return seen <= situation.valid and champion_seen <= seen and not is_disowned(ledger, parent)


def settle(
    comparisons: Mapping[str, Comparison],
    *,
    parts: Iterable[Comparison] = (),
    conditions: Iterable[bool | None] = (),
    may_move_champion: bool,
    has_test_rows: bool,
    within_tolerance: bool,
    undecided: Literal["accept", "hold"],
    confirm: bool,
) -> tuple[Outcome, bool]:
    """(verdict, whether the candidate becomes champion) from the comparisons with baseline and anchor.

    `within_tolerance`: every point estimate is within the tolerance. The worse comparison counts; of `parts` of the
    test rows only what is refused does. `conditions`: whether each is met, None where no test row says: it waits.
    """
    conditions = tuple(conditions)
    if not may_move_champion:
        return "experiment", False
    if not has_test_rows:
        return "waiting", False
    outcomes = set(comparisons.values())
    if "refused" in outcomes or "refused" in tuple(parts) or False in conditions:
        return "refused", False
    worst: Outcome = "undecided" if "undecided" in outcomes else "accepted"
    passes = worst == "accepted" or (undecided == "accept" and within_tolerance)
    if passes and (confirm or None in conditions):
        return "waiting", False
    return worst, passes


# --- what spoils a candidate ---------------------------------------------------------------------------------

REFUSALS = 2  # in a row, after which it is looked for


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Training without one pending extension: the situation then, what is restored, and what that trains on."""

    extension: str
    situation: Situation
    restored: str | None
    unseen: frozenset[str]


def leave_outs(situation: Situation, candidate: str) -> tuple[LeaveOut, ...]:
    """What to train, after two refusals in a row of which `candidate` is the last, to find what spoils it.

    Nothing where fewer than two extensions with train rows are pending: it is plain then what a candidate suffers from.
    """
    refused = refused_in_a_row(situation)
    if len(refused) < REFUSALS or refused[0].id != candidate or not situation.may_move_champion:
        return ()
    pending = situation.trainable - situation.borrowed - situation.ledger.seen(baseline_of(situation))
    return tuple(_without(situation, id) for id in sorted(pending)) if len(pending) > 1 else ()


def refused_in_a_row(situation: Situation) -> tuple[Entry, ...]:
    """The latest attempts, youngest first, as far as all were refused beside today's baseline, as is declared now.

    Experiments, and versions that a person settled, are no attempts.
    """
    baseline, refused = baseline_of(situation), []
    for entry in situation.ledger.youngest_first:
        if entry.verdict.outcome == "experiment" or entry.verdict.outcome in SETTLED_BY_A_PERSON:
            continue
        if entry.verdict.outcome != "refused" or entry.version.declaration != situation.declaration:
            break
        if baseline is None or not _was_beside(entry, situation.ledger.entries[baseline]):
            break
        refused.append(entry)
    return tuple(refused)


def suspects_of(situation: Situation) -> tuple[Mapping[str, Any], ...]:
    """What was found to spoil the last attempt, as far as it is still pending."""
    refused, pending = refused_in_a_row(situation), unseen_of(situation)
    suspects = refused[0].verdict.suspects if refused else ()
    return tuple(suspect for suspect in suspects if suspect["extension"] in pending)


def _was_beside(entry: Entry, baseline: Entry) -> bool:
    return any(
        found["against"] == "champion" and found["version"] == baseline.stem for found in entry.verdict.comparisons
    )


def _without(situation: Situation, id: str) -> LeaveOut:
    other = replace(situation, live=situation.live - {id})
    restored = version_to_restore(other)
    seen = other.ledger.seen(restored.id) if restored else frozenset()
    return LeaveOut(id, other, restored.id if restored else None, other.trainable - seen)
