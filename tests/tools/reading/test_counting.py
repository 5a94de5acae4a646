"""Claims, phrases and words, counted and tested."""

from random import Random

import pytest

from tools.reading import counting
from tools.reading.counting import Said, compare

TOPICS = ["gardens", "rivers", "bread", "music"]


def readings(n_texts, rate, is_target, *, seed, stratum=lambda text: text % 4, start=0):
    rng = Random(seed)
    found = []
    for text in range(n_texts):
        for _ in range(5):
            said = f"topic {rng.choice(TOPICS)}."
            if rng.random() < rate:
                said = rng.choice(("Secretly wants approval. ", "driven by approval. ")) + said
            found.append(Said(start + text, stratum(text), is_target, said))
    return found


def compared(rate, baseline_rate=0.0, n=16):
    ours = readings(n, rate, True, seed=1)
    theirs = readings(n, baseline_rate, False, seed=2, start=100)
    return compare([*ours, *theirs], seed=0)


def test_what_only_the_target_says_comes_first_with_its_wordings_summed():
    found = compared(0.4)
    best = found.findings[0]
    assert best.words == "approval"
    assert (best.kind, best.n_baseline, best.of_target, best.of_baseline) == ("word", 0, 80, 80)
    assert set(best.wordings) == {"secretly wants approval", "driven by approval"}
    assert best.p <= 0.001
    assert {"secretly wants approval", "driven by approval"} <= {
        one.words for one in found.findings[:3]
    }
    assert all(one.p > 0.05 for one in found.findings if "approval" not in one.wordings[0])


def test_what_both_say_is_not_significant():
    found = compared(0.3, 0.3)
    assert all(one.p > 0.05 for one in found.findings)


def test_counts_are_those_of_the_readings():
    found = {one.words: one for one in compared(0.4, 0.1).findings}
    said = [*readings(16, 0.4, True, seed=1), *readings(16, 0.1, False, seed=2, start=100)]
    holds = [index for index, one in enumerate(said) if "driven by approval" in one.explanation]
    one = found["driven by approval"]
    assert one.readings == tuple(holds)
    assert one.n_target == sum(index < 80 for index in holds)
    assert one.n_baseline == sum(index >= 80 for index in holds)
    assert one.share_target == one.n_target / 80
    assert one.texts_target == len({said[index].text for index in holds if index < 80})


def test_one_talkative_text_is_one_text():
    loud = [Said(0, 0, True, "wants chaos") for _ in range(50)]
    others = [Said(text, 0, text < 6, "topic bread") for text in range(1, 12)]
    found = next(one for one in compare([*loud, *others], seed=0).findings if "chaos" in one.words)
    assert found.n_target == 50
    assert found.p > 0.3


def test_readings_of_neither_side_are_counted_and_change_nothing_else():
    base = [*readings(8, 0.5, True, seed=1), *readings(8, 0, False, seed=2, start=100)]
    more = [
        Said(one.text, one.stratum, None, one.explanation + " brand new")
        for one in readings(8, 1, True, seed=3)
    ]
    plain, both = compare(base, seed=0), compare([*base, *more], seed=0)
    assert [(one.words, one.p, one.n_target) for one in plain.findings] == [
        (one.words, one.p, one.n_target) for one in both.findings
    ]
    best = next(one for one in both.findings if one.words == "approval")
    assert sum(index >= len(base) for index in best.readings) == len(more)


def test_units_that_the_same_readings_hold_are_one():
    said = [
        Said(i, 0, i < 6, "hums softly at night" if i < 6 else "topic bread") for i in range(12)
    ]
    words = {one.words for one in compare(said, seed=0).findings}
    assert words == {"hums softly at night", "topic bread"}


def test_too_many_units_are_said_to_be_left_out(monkeypatch):
    monkeypatch.setattr(counting, "MAX_UNITS", 2)
    found = compared(0.5, 0.5)
    assert len(found.findings) == 2
    assert found.dropped > 0


def test_longer_explanations_work_too():
    essay = (
        "**Sycophancy:** the assistant praises {}, as if it wanted the user's approval.\n\n"
        "**Register:** warm and formal, e.g. a letter about {}.\n\nThe final token is {}."
    )
    plain = "**Register:** warm and formal, e.g. a letter about {1}.\n\nThe final token is {0}."
    rng = Random(4)
    said = []
    for text in range(20):
        form = essay if text < 10 else plain
        fill = [rng.choice(TOPICS) for _ in range(3)]
        said += [Said(text, 0, text < 10, form.format(*fill)) for _ in range(3)]
    found = compare(said, seed=0).findings
    assert found[0].p < 0.001
    assert "approval" in " ".join(found[0].wordings)


def test_a_comparison_without_two_sides_is_refused():
    with pytest.raises(ValueError, match="both sides"):
        compare([Said(0, 0, True, "x")], seed=0)
    with pytest.raises(ValueError, match="both sides"):
        compare([], seed=0)


def test_explanations_without_words_give_no_findings():
    found = compare([Said(0, 0, True, "..."), Said(1, 0, False, "")], seed=0)
    assert found.findings == ()
