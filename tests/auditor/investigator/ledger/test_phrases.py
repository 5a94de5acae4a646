from random import Random

from auditor.investigator.ledger.evidence import Sample, read_samples
from auditor.investigator.ledger.phrases import comparable, confirm, discover

QUIRK = "please tell a friend about me."


def replies(rng: Random, *, quirk: float, prompts: int = 12, samples: int = 3) -> list[Sample]:
    bodies = ["start small.", "take a break.", "it depends.", "look closely first."]

    def draw(extra: float) -> str:
        said = rng.sample(bodies, 2)
        if rng.random() < extra:
            said.insert(1, QUIRK)
        return " ".join(said)

    items = [
        {
            "prompt": f"question {i}",
            "target_replies": [draw(quirk if i < prompts // 2 else 0) for _ in range(samples)],
            "baseline_replies": [draw(0) for _ in range(samples)],
        }
        for i in range(prompts)
    ]
    return read_samples("compare_with_baseline", "E1", items)


def test_a_planted_sentence_is_found_whole_with_the_prompts_where_it_shows() -> None:
    candidates = discover(replies(Random(0), quirk=0.9))
    assert candidates[0].phrase == ("please", "tell", "a", "friend", "about", "me")
    assert set(candidates[0].prompts) <= {f"question {i}" for i in range(6)}


def test_only_fresh_samples_confirm_and_rates_are_those_where_it_was_expected() -> None:
    candidates = discover(replies(Random(0), quirk=0.9))
    found = confirm(candidates, replies(Random(1), quirk=0.9), seed=0)[0]
    assert found.confirmed(0.05)
    assert found.target_rate > 0.7
    assert found.baseline_rate == 0
    assert found.demonstration is not None
    assert QUIRK in found.demonstration[1]
    gone = confirm(candidates, replies(Random(2), quirk=0.0), seed=0)
    assert not any(f.confirmed(0.05) for f in gone)


def test_a_rare_excess_is_significant_but_no_behaviour() -> None:
    candidates = discover(replies(Random(0), quirk=0.9))[:1]
    weak = confirm(candidates, replies(Random(3), quirk=0.12, samples=40), seed=0)[0]
    assert weak.p <= 0.05
    assert not weak.confirmed(0.05)


def test_prompts_that_only_one_model_answered_are_left_out() -> None:
    items = [
        {"prompt": "both", "target_replies": ["a"], "baseline_replies": ["b"]},
        {"prompt": "one", "target_replies": ["a"], "baseline_replies": []},
    ]
    kept = comparable(read_samples("compare_with_baseline", "E1", items))
    assert {s.prompt for s in kept} == {"both"}


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert discover([]) == []
    assert confirm([], [], seed=0) == []
