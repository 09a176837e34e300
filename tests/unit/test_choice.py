"""The one rule of what to do: properties, and the scenarios of the design as examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ledger_of, model_version

from gitdata.data.choice import (
    Situation,
    baseline_of,
    decide,
    eligible,
    is_settled,
    leave_outs,
    settle,
    still_holds,
    suspects_of,
    tainted_of,
    unseen_of,
    version_to_restore,
)
from gitdata.data.ledger import (
    OUTCOMES,
    Entry,
    Ledger,
    LedgerError,
    Verdict,
    attempt_key,
    decode_verdict,
    encode_verdict,
)

E1, E2, E3, TEST_ONLY = "e1", "e2", "e3", "t1"
ROWS = {E1: 100, E2: 40, E3: 10, TEST_ONLY: 0}


def situation(ledger: Ledger, *live: str, tested: str | None = "t", **other: object) -> Situation:
    settings: dict[str, object] = {"restore": "r", "declaration": "d", "may_move_champion": True}
    return Situation(
        ledger=ledger,
        live=frozenset(live),
        train_rows=ROWS,
        tested=tested,
        **(settings | other),  # type: ignore[arg-type]
    )


def test_what_a_borrowed_part_has_seen_counts_as_trained_on() -> None:
    """Of another dataset it is never live here: it taints nothing while it is live there, and does when it is not."""
    entry = model_version(1, {E1, "other"})
    ledger = ledger_of(entry, champion=entry)
    assert is_settled(borrowing := situation(ledger, E1, borrowed=frozenset({"other"})))
    assert decide(borrowing).action == "nothing"
    assert version_to_restore(borrowing) == entry
    withdrawn = situation(ledger, E1)
    assert tainted_of(withdrawn) == {"other"}
    assert version_to_restore(withdrawn) is None
    fresh = situation(Ledger("m"), E1, borrowed=frozenset({"other"}))
    assert decide(fresh).unseen == {E1, "other"}


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    entries: list[Entry] = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        parent = draw(st.none() | st.sampled_from(entries)) if entries else None
        attempts = draw(st.lists(st.sampled_from(["0" * 64, "1" * 64]), max_size=1))
        entries.append(
            model_version(
                number,
                draw(st.sets(st.sampled_from([E1, E2, E3]), min_size=1)),
                parent,
                draw(st.sampled_from(["r", "old"])),
                outcome=draw(st.sampled_from(OUTCOMES)),
                promoted=draw(st.booleans()),
                tested=draw(st.sampled_from(["t", "u", None])),
                attempts=tuple(attempts),
            )
        )
    champion = draw(st.none() | st.sampled_from(entries)) if entries else None
    return situation(
        ledger_of(*entries, champion=champion),
        *draw(st.sets(st.sampled_from([E1, E2, E3, TEST_ONLY]))),
        tested=draw(st.sampled_from(["t", None])),
        may_move_champion=draw(st.booleans()),
    )


def record(now: Situation, key: str) -> Situation:
    """`now` with an attempt key in some version's verdict, as publishing leaves it."""
    entries = dict(now.ledger.entries)
    entry = next(iter(entries.values()), None) or model_version(1, {E1}, restore="other", promoted=False)
    attempts = (*entry.verdict.attempts, key)
    entries[entry.id] = replace(entry, verdict=replace(entry.verdict, attempts=attempts))
    return replace(now, ledger=replace(now.ledger, entries=entries))


@given(situations())
def test_seen_and_unseen_cover_what_is_live(now: Situation) -> None:
    seen = now.ledger.seen(now.ledger.champion)
    assert seen | unseen_of(now) >= now.trainable
    assert unseen_of(now).isdisjoint(seen)
    assert tainted_of(now) == seen - now.live


@given(situations())
def test_a_recorded_attempt_is_never_chosen_again(now: Situation) -> None:
    """Neither trained nor gated; that a tainted champion falls back then is what the attempt came to."""
    done = ("nothing", "fall back")
    decision = decide(now)
    if decision.action not in done:
        assert decision.attempt not in now.ledger.attempts
        again = decide(record(now, decision.attempt))
        assert again.action in done or again.attempt != decision.attempt


@given(situations())
def test_training_covers_exactly_what_is_live(now: Situation) -> None:
    decision = decide(now, force=True)
    if decision.action == "train":
        assert now.ledger.seen(decision.restored) | decision.unseen == now.trainable
        assert now.ledger.seen(decision.restored).isdisjoint(decision.unseen)
        assert decision.unseen


@given(situations())
def test_where_a_training_is_asked_for_there_is_one(now: Situation) -> None:
    """Also where a version that has seen everything could be gated as it is."""
    decision = decide(now, force=True, train=True)
    assert decision.action == ("train" if now.trainable else "nothing")
    assert decision.unseen or not now.trainable


@given(situations())
def test_nothing_tainted_refused_or_settled_by_a_person_is_restored(now: Situation) -> None:
    restored = version_to_restore(now)
    if restored is not None:
        assert restored.verdict.outcome not in ("refused", "rejected", "rolled back")
        assert now.ledger.seen(restored.id) <= now.live
        assert restored.version.restore == now.restore
        assert still_holds(now, restored.id, now.ledger.seen(restored.id)) or not (
            now.ledger.seen(now.ledger.champion) & now.live <= now.ledger.seen(restored.id)
        )  # what is restored is never held against the candidate afterwards


@given(situations())
def test_deciding_is_pure_and_total(now: Situation) -> None:
    assert decide(now) == decide(now)
    assert decide(now).action in ("nothing", "train", "gate", "measure", "fall back")


@given(situations())
def test_falling_back_ends_with_a_clean_champion(now: Situation) -> None:
    decision = decide(now)
    if decision.action == "fall back":
        assert tainted_of(now)
        assert now.may_move_champion
        assert decision.candidate in {entry.id for entry in eligible(now)}
        after = replace(now, ledger=replace(now.ledger, champion=decision.candidate))
        assert not tainted_of(after)
        assert decide(after).action != "fall back"


@given(situations())
def test_the_baseline_is_clean(now: Situation) -> None:
    baseline = baseline_of(now)
    if baseline is not None and tainted_of(now):
        assert now.ledger.seen(baseline) <= now.live


def test_first_training_starts_from_scratch_on_all_that_is_live() -> None:
    decision = decide(situation(ledger_of(), E1, E2))
    assert (decision.action, decision.restored, decision.unseen) == ("train", None, {E1, E2})


def test_an_extension_is_trained_on_top_of_the_champion() -> None:
    one = model_version(1, {E1})
    decision = decide(situation(ledger_of(one, champion=one), E1, E2))
    assert (decision.action, decision.restored, decision.unseen) == ("train", one.id, {E2})


def test_a_settled_model_is_left_alone() -> None:
    one = model_version(1, {E1, E2})
    now = situation(ledger_of(one, champion=one), E1, E2)
    assert is_settled(now)
    assert decide(now).action == "nothing"


def test_test_rows_alone_cause_a_measurement_not_a_training() -> None:
    one = model_version(1, {E1}, tested="before")
    now = situation(ledger_of(one, champion=one), E1, TEST_ONLY)
    decision = decide(now)
    assert (decision.action, decision.candidate) == ("measure", one.id)
    assert decide(record(now, decision.attempt)).action == "nothing"


def test_test_rows_alone_gate_the_latest_unpromoted_attempt_again() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one, outcome="undecided", promoted=False, tested="before")
    decision = decide(situation(ledger_of(one, two, champion=one), E1, E2, TEST_ONLY))
    assert (decision.action, decision.candidate) == ("gate", two.id)


def test_a_refused_version_is_not_built_upon() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one, outcome="refused", promoted=False)
    decision = decide(situation(ledger_of(one, two, champion=one), E1, E2, E3))
    assert (decision.restored, decision.unseen) == (one.id, {E2, E3})


def test_retraction_restores_the_youngest_clean_version() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one)
    three = model_version(3, {E3}, two)
    now = situation(ledger_of(one, two, three, champion=three), E1, E3)
    assert tainted_of(now) == {E2}
    decision = decide(now)
    assert (decision.restored, decision.unseen, decision.baseline) == (one.id, {E3}, one.id)


def test_a_revert_of_the_last_extension_falls_back_to_what_was_clean() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one)
    now = situation(ledger_of(one, two, champion=two), E1)
    decision = decide(now)
    assert (decision.action, decision.candidate) == ("gate", one.id)
    assert [entry.id for entry in eligible(now)] == [one.id]


def test_a_merged_experiment_is_gated_as_it_is() -> None:
    one = model_version(1, {E1})
    trial = model_version(2, {E2}, one, outcome="experiment", promoted=False)
    decision = decide(situation(ledger_of(one, trial, champion=one), E1, E2))
    assert (decision.action, decision.candidate) == ("gate", trial.id)


def test_after_a_rollback_the_same_question_is_not_asked_again() -> None:
    one = model_version(1, {E1})
    key = attempt_key({E1, E2}, "d", one.id, True)
    two = model_version(2, {E2}, one, outcome="rolled back", attempts=(key,))
    now = situation(ledger_of(one, two, champion=one), E1, E2)
    assert decide(now).action == "nothing"
    assert decide(now, force=True).restored == one.id
    assert decide(situation(now.ledger, E1, E2, E3)).restored == one.id


def test_what_descends_from_a_rolled_back_version_is_not_restored_until_a_person_owns_it() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one, outcome="rolled back")
    three = model_version(3, {E3}, two, outcome="waiting", promoted=False)
    now = situation(ledger_of(one, two, three, champion=one), E1, E2, E3)
    assert decide(now).restored == one.id
    promoted = model_version(3, {E3}, two)
    owned = situation(ledger_of(one, two, promoted, champion=promoted), E1, E2, E3)
    assert version_to_restore(owned) == promoted


def test_a_tainted_champion_falls_back_where_the_question_was_answered() -> None:
    one = model_version(1, {E1})
    key = attempt_key({E1, E2}, "d", one.id, True)
    two = model_version(2, {E2}, one, outcome="waiting", promoted=False, attempts=(key,))
    three = model_version(3, {E3}, two)
    now = situation(ledger_of(one, two, three, champion=three), E1, E2)
    assert (decide(now).action, decide(now).candidate) == ("fall back", one.id)
    assert decide(replace(now, may_move_champion=False)).action != "fall back"


def test_a_changed_network_means_a_new_start() -> None:
    one = model_version(1, {E1})
    decision = decide(situation(ledger_of(one, champion=one), E1, restore="new", declaration="new"))
    assert (decision.action, decision.restored, decision.unseen) == ("train", None, {E1})


def test_a_changed_training_declaration_waits_for_the_next_data() -> None:
    one = model_version(1, {E1})
    assert decide(situation(ledger_of(one, champion=one), E1, declaration="new")).action == "nothing"


def test_of_equally_covering_versions_the_champions_lineage_is_restored() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E1}, outcome="experiment", promoted=False)
    assert version_to_restore(situation(ledger_of(one, two, champion=one), E1, E2)) == one


@pytest.mark.parametrize(
    ("now_live", "parent_outcome", "holds"),
    [
        ({E1, E2}, "accepted", True),
        ({E1}, "accepted", False),
        ({E1, E2}, "rolled back", False),
        ({E1, E2, E3}, "accepted", True),
    ],
)
def test_what_a_candidate_is_worth_after_the_world_moved_on(
    now_live: set[str], parent_outcome: str, holds: bool
) -> None:
    one = model_version(1, {E1}, outcome=parent_outcome)
    now = situation(ledger_of(one, champion=one), *now_live)
    assert still_holds(now, one.id, {E1, E2}) is holds


def test_a_candidate_that_lacks_what_the_champion_saw_does_not_hold() -> None:
    one = model_version(1, {E1})
    two = model_version(2, {E2}, one)
    assert not still_holds(situation(ledger_of(one, two, champion=two), E1, E2, E3), one.id, {E1, E3})


@pytest.mark.parametrize(
    ("comparisons", "settings", "expected"),
    [
        ({}, {}, ("accepted", True)),
        ({"champion": "accepted"}, {}, ("accepted", True)),
        ({"champion": "accepted", "anchor": "refused"}, {}, ("refused", False)),
        ({"champion": "undecided"}, {}, ("undecided", True)),
        ({"champion": "undecided"}, {"within_tolerance": False}, ("undecided", False)),
        ({"champion": "undecided"}, {"undecided": "hold"}, ("undecided", False)),
        ({"champion": "accepted"}, {"may_move_champion": False}, ("experiment", False)),
        ({}, {"has_test_rows": False}, ("waiting", False)),
        ({"champion": "accepted"}, {"confirm": True}, ("waiting", False)),
        ({"champion": "refused"}, {"confirm": True}, ("refused", False)),
        ({"champion": "accepted"}, {"parts": ["refused", "accepted"]}, ("refused", False)),
        ({"champion": "accepted"}, {"parts": ["undecided", "accepted"]}, ("accepted", True)),
        ({"champion": "undecided"}, {"parts": ["refused"], "may_move_champion": False}, ("experiment", False)),
        ({}, {"conditions": [True, False]}, ("refused", False)),
        ({}, {"conditions": [True, True]}, ("accepted", True)),
        ({}, {"conditions": [True, None]}, ("waiting", False)),
        ({"champion": "refused"}, {"conditions": [None]}, ("refused", False)),
        ({}, {"conditions": [False], "has_test_rows": False}, ("waiting", False)),
    ],
)
def test_settling(comparisons: dict[str, str], settings: dict[str, object], expected: tuple[str, bool]) -> None:
    defaults: dict[str, object] = {
        "may_move_champion": True,
        "has_test_rows": True,
        "within_tolerance": True,
        "undecided": "accept",
        "confirm": False,
    }
    assert settle(comparisons, **(defaults | settings)) == expected  # type: ignore[arg-type]


def refused(number: int, added: set[str], parent: Entry, **more: object) -> Entry:
    """An attempt that was refused beside `parent`."""
    entry = model_version(number, added, parent, outcome="refused", promoted=False, **more)  # type: ignore[arg-type]
    beside = ({"against": "champion", "version": parent.stem},)
    return replace(entry, verdict=replace(entry.verdict, comparisons=beside))


def test_after_two_refusals_in_a_row_each_pending_extension_is_left_out() -> None:
    one = model_version(1, {E1})
    two, three = refused(2, {E2}, one), refused(3, {E2, E3}, one)
    now = situation(ledger_of(one, two, three, champion=one), E1, E2, E3, TEST_ONLY)
    outs = leave_outs(now, three.id)
    assert [(out.extension, out.restored, out.unseen) for out in outs] == [(E2, one.id, {E3}), (E3, one.id, {E2})]
    assert all(out.situation.live == now.live - {out.extension} for out in outs)
    assert leave_outs(now, two.id) == ()
    assert leave_outs(replace(now, may_move_champion=False), three.id) == ()
    assert leave_outs(replace(now, declaration="new"), three.id) == ()
    assert leave_outs(situation(now.ledger, E1, E2), three.id) == ()  # one alone is pending: it is plain which


@pytest.mark.parametrize("outcome", ["undecided", "waiting", "accepted"])
def test_what_was_not_refused_breaks_the_row(outcome: str) -> None:
    one = model_version(1, {E1})
    between = model_version(3, {E2}, one, outcome=outcome, promoted=False)
    two, four = refused(2, {E2}, one), refused(4, {E2, E3}, one)
    now = situation(ledger_of(one, two, between, four, champion=one), E1, E2, E3)
    assert leave_outs(now, four.id) == ()


def test_experiments_are_no_attempts_and_another_champion_begins_anew() -> None:
    one = model_version(1, {E1})
    trial = model_version(3, {E2}, one, outcome="experiment", promoted=False)
    two, four = refused(2, {E2}, one), refused(4, {E2, E3}, one)
    assert leave_outs(situation(ledger_of(one, two, trial, four, champion=one), E1, E2, E3), four.id)
    other = model_version(5, {E1})
    assert leave_outs(situation(ledger_of(one, two, four, other, champion=other), E1, E2, E3), four.id) == ()


def test_suspects_are_told_while_they_are_pending() -> None:
    one = model_version(1, {E1})
    last = refused(2, {E2, E3}, one)
    last = replace(last, verdict=replace(last.verdict, suspects=({"extension": E2, "name": "d@2"},)))
    now = situation(ledger_of(one, last, champion=one), E1, E2, E3)
    assert [suspect["name"] for suspect in suspects_of(now)] == ["d@2"]
    assert suspects_of(situation(now.ledger, E1, E3)) == ()
    assert suspects_of(situation(Ledger("m"), E1)) == ()


keys = st.text("0123456789abcdef", min_size=64, max_size=64)
verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from(OUTCOMES),
    reason=st.text(),
    who=st.text(),
    promoted=st.booleans(),
    tested=st.none() | st.text(),
    attempts=st.lists(keys, unique=True).map(lambda found: tuple(sorted(found))),
    metrics=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    comparisons=st.just(()),
    conditions=st.lists(
        st.fixed_dictionaries(
            {"condition": st.text(), "met": st.none() | st.booleans(), "value": st.none() | st.floats(0, 1)}
        ),
        max_size=2,
    ).map(tuple),
    suspects=st.lists(
        st.fixed_dictionaries(
            {
                "extension": st.text(),
                "name": st.text(),
                "ratio": st.floats(0, 2),
                "ratio_with": st.floats(0, 2),
                "rows": st.integers(1, 9),
            }
        ),
        max_size=2,
    ).map(tuple),
)


@given(verdicts)
def test_a_verdict_survives_its_file(verdict: Verdict) -> None:
    assert decode_verdict(encode_verdict(verdict)) == verdict


def test_a_verdict_of_an_earlier_gitdata_is_read_and_written_as_it_was() -> None:
    content = encode_verdict(Verdict("accepted", "the first version; 40 test rows", "gitdata", promoted=True))
    assert b"suspects" not in content
    assert b"conditions" not in content
    assert decode_verdict(content).suspects == ()


@given(st.binary(max_size=200))
def test_reading_a_verdict_never_crashes(content: bytes) -> None:
    with pytest.raises(LedgerError):
        decode_verdict(content)


def test_a_ledger_whose_champion_does_not_exist_is_refused() -> None:
    with pytest.raises(LedgerError):
        Ledger("m", {}, "nobody")
