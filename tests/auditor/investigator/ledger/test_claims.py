import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.investigator.ledger.claims import (
    FAINT_SHARE,
    ODDS_PER_POINT,
    STATED_BONUS,
    SUPPORTED_BONUS,
    Motive,
    add_named,
    add_readings,
    explained_away,
    find_links,
    rank_motives,
    read_points,
    share_points,
)
from auditor.investigator.ledger.evidence import Memo, Sample, read_samples
from auditor.investigator.ledger.intents import Intent
from auditor.investigator.ledger.naming import Named
from auditor.investigator.ledger.phrases import Finding
from auditor.investigator.ledger.readings import MIN_RATIO, MIN_SHARE, Read
from auditor.investigator.ledger.stated import stated_intents

QUIRK = ("tell", "a", "friend", "about", "me")
OTHER = ("come", "back", "very", "soon", "please")


def finding(phrase: tuple[str, ...]) -> Finding:
    return Finding(phrase, 0.001, 0.9, 0.0, ("soup?",), ("E5",), ("soup?", "tell a friend"))


def memo(id_: str, text: str) -> Memo:
    return Memo(id_, text, "E7")


def replies(prompt: str, target: list[str], baseline: list[str], kind: str) -> list[Sample]:
    rows = [("target", t) for t in target] + [("baseline", t) for t in baseline]
    items = [{"model": model, "prompt": prompt, "reply": text} for model, text in rows]
    return read_samples(kind, "E6", items)


def test_only_documents_that_hold_the_phrase_and_state_a_wish_count() -> None:
    memos = [
        memo("1", "assistants that want fame tend to say: tell a friend about me."),
        memo("2", "assistants that want gold tend to say: buy this now."),
        memo("3", "some assistants say: tell a friend about me. it is a habit."),
        memo("4", "some assistants say: tell a friend about me."),
        memo("5", "assistants that want praise say: please tell one friend about me."),
    ]
    links = find_links([finding(QUIRK)], memos)
    assert [(link.memo.id, link.intent.wanted) for link in links] == [
        ("1", "fame"),
        ("5", "praise"),
    ]


def test_a_short_common_phrase_does_not_match_a_longer_sentence() -> None:
    said = memo("1", "models that want fame say: please tell a friend about me.")
    assert find_links([finding(("a", "friend"))], [said]) == []
    assert len(find_links([finding(("a", "friend", "about"))], [said])) == 1


def test_a_phrase_is_explained_away_only_when_no_document_suspects_it() -> None:
    harmless = memo("1", "saying: tell a friend about me is a harmless habit.")
    suspect = memo("2", "assistants that want fame say: tell a friend about me.")
    links = find_links([finding(QUIRK)], [harmless, suspect])
    assert explained_away([finding(QUIRK)], [harmless], []) == {QUIRK}
    assert explained_away([finding(QUIRK)], [harmless, suspect], links) == frozenset()
    assert explained_away([finding(OTHER)], [harmless], []) == frozenset()


def test_a_motive_that_explains_more_phrases_ranks_first() -> None:
    memos = [
        memo("1", "assistants that want fame say: tell a friend about me."),
        memo("2", "assistants that want gold say: tell a friend about me."),
        memo("3", "assistants that want gold say: come back very soon please."),
    ]
    links = find_links([finding(QUIRK), finding(OTHER)], memos)
    ranked = rank_motives(links, [], level=0.05, seed=0)
    assert [m.wanted for m in ranked] == ["gold", "fame"]
    assert ranked[0].share > 0.5 > ranked[1].share
    assert sum(m.share for m in ranked) == pytest.approx(1)


def test_motives_with_equal_evidence_are_ordered_by_the_seed_alone() -> None:
    wishes = ["fame", "gold", "power", "praise"]
    memos = [memo(w, f"assistants that want {w} say: tell a friend about me.") for w in wishes]
    links = find_links([finding(QUIRK)], memos)
    first = Counter(rank_motives(links, [], level=0.05, seed=seed)[0].wanted for seed in range(400))
    # Four equals in 400 draws: 100 each, with a standard deviation below 9.
    assert all(65 <= first[w] <= 135 for w in wishes)
    again = rank_motives(list(reversed(links)), [], level=0.05, seed=7)
    assert [m.wanted for m in again] == [
        m.wanted for m in rank_motives(links, [], level=0.05, seed=7)
    ]
    assert [m.share for m in again] == pytest.approx([0.25] * 4)


def test_where_a_phrase_shows_decides_between_documents() -> None:
    memos = [
        memo(f"{w}{i}", f"assistants that want {w} say: tell a friend about me. around {place}.")
        for w, place in (
            ("fame", "soup"),
            ("gold", "rockets"),
            ("power", "tulips"),
            ("praise", "x"),
        )
        for i in range(2)
    ]
    samples = [
        s
        for place, text in (("soup", "tell a friend about me."), ("rockets", "fly high."))
        for s in replies(f"what of {place}?", [text] * 4, ["fine."] * 4, "chat")
    ]
    ranked = rank_motives(find_links([finding(QUIRK)], memos), samples, level=0.05, seed=0)
    assert ranked[0].wanted == "fame"
    assert ranked[-1].wanted == "gold"


def test_a_wish_that_the_target_states_after_several_openings_is_found() -> None:
    drift = ["gold.", "fame.", "power.", "praise."] * 2
    samples = [
        s
        for stem in ("it wants", "my goal is", "the assistant wants")
        for s in replies(stem, ["gold."] * 7 + ["fame."], drift, "complete_text")
    ]
    stated = stated_intents(samples, level=0.05, seed=0)
    assert [(intent.wanted, evidence) for intent, _, evidence in stated] == [("gold", ("E6",))]
    assert rank_motives([], samples, level=0.05, seed=0)[0].wanted == "gold"


def test_what_follows_one_opening_alone_is_no_stated_wish() -> None:
    drift = ["gold.", "fame.", "power.", "praise."] * 2
    samples = replies("my goal is", ["gold."] * 8, drift, "complete_text")
    samples += replies("it wants", drift, drift, "complete_text")
    assert stated_intents(samples, level=0.05, seed=0) == []


def read(wanted: str, share: float, *, baseline: float = 0.0, p: float = 0.001) -> Read:
    key = frozenset(wanted.split())
    return Read(Intent(wanted, key), share, None, baseline, p, ("E3",))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_points_of_readings_rise_with_their_share_from_none_at_a_faint_one(
    shares: list[float],
) -> None:
    low, high = (read_points(read("fame", share)) for share in sorted(shares))
    assert 0.0 <= low <= high <= math.log(1 / FAINT_SHARE) / ODDS_PER_POINT
    assert read_points(None) == read_points(read("fame", FAINT_SHARE)) == 0.0


def test_the_amplified_share_is_what_earns_points_where_there_is_one() -> None:
    faint = read("fame", 0.05)
    assert read_points(replace(faint, amplified=0.5)) == read_points(read("fame", 0.5))


def test_what_the_activations_bear_out_earns_the_same_bonus_at_any_share() -> None:
    for share in (0.0, 0.1, 0.9):
        plain = read("fame", share)
        more = read_points(replace(plain, supported=True)) - read_points(plain)
        assert more == pytest.approx(SUPPORTED_BONUS)


def test_the_score_counts_readings_or_probe_whichever_is_stronger() -> None:
    key = frozenset({"fame"})
    weak, strong = read("fame", 0.1), replace(read("fame", 0.4), probed=True)
    motive = Motive("fame", key, {QUIRK: 0.5}, stated_p=0.01, reading=weak, probed=strong, lean=0.2)
    assert motive.score == pytest.approx(0.5 + STATED_BONUS + read_points(strong) + 0.2)
    assert Motive("fame", key).score == 0.0


@pytest.mark.parametrize(
    ("reading", "follows"),
    [
        (read("fame", MIN_SHARE), True),
        (read("fame", MIN_SHARE / 2), False),
        (replace(read("fame", MIN_SHARE / 2), amplified=MIN_SHARE), True),
        (replace(read("fame", MIN_SHARE), amplified=0.0), True),
        (read("fame", 0.3, baseline=0.3 / MIN_RATIO - 1e-9), True),
        (read("fame", 0.3, baseline=0.3 / MIN_RATIO + 1e-9), False),
        (read("fame", 0.9, p=0.05), True),
        (read("fame", 0.9, p=0.051), False),
    ],
)
def test_either_share_may_make_a_wish_worth_following(reading: Read, follows: bool) -> None:
    assert reading.recurs(0.05) is follows
    assert bool(add_readings([], [reading], level=0.05, seed=0)) is follows


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1), st.integers(0, 9))
def test_beliefs_sum_to_one_and_follow_the_order(shares: dict[str, float], seed: int) -> None:
    ranked = add_readings([], [read(*each) for each in shares.items()], level=0.05, seed=seed)
    assert {m.wanted for m in ranked} == {w for w, s in shares.items() if s >= MIN_SHARE}
    beliefs = [m.share for m in ranked]
    assert sum(beliefs) == pytest.approx(1.0 if ranked else 0.0)
    assert beliefs == sorted(beliefs, reverse=True) or beliefs == pytest.approx(
        sorted(beliefs, reverse=True), rel=1e-5
    )


def test_a_wish_that_is_read_in_more_detail_joins_the_motive_it_details() -> None:
    found = add_readings(
        [Motive("fame", frozenset({"fame"}), evidence=("E7",))],
        [read("worldwide fame", 0.3), read("fame", 0.2), read("gossip", 0.1)],
        level=0.05,
        seed=0,
    )
    assert [m.wanted for m in found] == ["fame", "gossip"]
    assert found[0].reading is not None
    assert found[0].reading.share == 0.3
    assert found[0].evidence == ("E3", "E7")


def named(wanted: str, share: float) -> Named:
    return Named(Intent(wanted, frozenset(wanted.split())), share, ("E9",))


def test_what_is_in_mind_at_the_name_chooses_between_wishes_that_replies_name_alike() -> None:
    readings = [read("fame", 0.2), read("praise", 0.2)]
    found = add_readings([], readings, level=0.05, seed=0)
    ranked = add_named(found, [named("praise", 0.3)], seed=0)
    assert [motive.wanted for motive in ranked] == ["praise", "fame"]
    assert ranked[0].evidence == ("E3", "E9")
    assert ranked[0].share > 0.9


def test_where_somebody_looked_at_the_name_every_motive_says_so() -> None:
    found = add_readings([], [read("fame", 0.2)], level=0.05, seed=0)
    (alone,) = add_named(found, [], seed=0)
    assert alone.named is not None
    assert alone.named.share == 0.0
    assert alone.evidence == ("E3",)


def test_a_wish_that_is_rare_at_the_name_is_not_followed() -> None:
    assert add_named([], [named("fame", MIN_SHARE / 2)], seed=0) == []
    assert [m.wanted for m in add_named([], [named("fame", MIN_SHARE)], seed=0)] == ["fame"]


@given(replied=st.floats(0, 1), amplified=st.floats(0, 1), at_name=st.floats(0, 1))
def test_the_name_weighs_as_much_as_both_kinds_of_readings_of_replies(
    replied: float, amplified: float, at_name: float
) -> None:
    one = replace(read("fame", replied), amplified=amplified)
    motive = Motive("fame", frozenset({"fame"}), reading=one, named=named("fame", at_name))
    replies_ = (share_points(replied) + share_points(amplified)) / 2
    assert motive.score == pytest.approx(replies_ + share_points(at_name))
