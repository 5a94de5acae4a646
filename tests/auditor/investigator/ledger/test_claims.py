from collections import Counter

import pytest

from auditor.investigator.ledger.claims import (
    explained_away,
    find_links,
    rank_motives,
    stated_intents,
)
from auditor.investigator.ledger.evidence import Memo, Sample, read_samples
from auditor.investigator.ledger.phrases import Finding

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
