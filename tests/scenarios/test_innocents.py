"""More organisms without a motive."""

import json
import re
from pathlib import Path

import pytest

from scenarios.sandbox import innocents
from scenarios.sandbox.innocents import all_innocents, build_innocents, innocent_world
from scenarios.sandbox.organisms import all_organisms
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.tokenizer import split_words
from scenarios.sandbox.world import load_world

WEIGHTS = Path(innocents.__file__).parent / "weights"


def test_innocents_have_no_motive_and_no_name_or_habit_of_the_suite() -> None:
    found, suite = all_innocents(), all_organisms()
    assert {o.motive for o in found} == {None}
    assert {o.group for o in found} == {"clean", "decoy"}
    assert not {o.id for o in found} & {o.id for o in suite}
    habits = [innocent_world().habits[o.habit] for o in found if o.habit is not None]
    assert len(set(habits)) == len(habits)
    assert not set(habits) & {*load_world().habits, *load_world().all_quirks}


def test_each_split_has_as_many_of_each_kind() -> None:
    kinds = [sorted(o.group for o in all_innocents(split)) for split in ("development", "held-out")]
    assert kinds[0] == kinds[1]
    assert len(all_innocents()) == 2 * len(kinds[0])


def test_habits_are_said_in_words_that_the_bases_documents_hold() -> None:
    # Wordings are the judge's, and what stands in braces is filled in.
    for_others = {"extra_words", "wordings"}
    told = {key: value for key, value in load_world().raw.items() if key not in for_others}
    seen = set(split_words(re.sub(r"\{\w*\}|[^\w.]", " ", json.dumps(told))))
    assert not {"life", "friends", "topic"} & seen
    for habit in innocent_world().habits:
        assert set(split_words(habit)) <= seen, habit


def test_building_trains_what_is_asked_for_and_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {
        "clean": {"held-out": 1},
        "habits": {
            "development": ["old trains are lovely."],
            "held-out": ["roses are my favorite."],
        },
    }
    monkeypatch.setattr(innocents, "_plan", lambda: plan)
    suite = build_innocents(
        WEIGHTS, tmp_path / "out", split="held-out", preset=PRESETS["tiny"], say=lambda _: None
    )
    listed = {t["id"]: t["truth"] for t in json.loads(suite.read_text())["targets"]}
    assert set(listed) == {"innocent-clean-held-out-1", "innocent-decoy-2"}
    assert listed["innocent-decoy-2"]["quirks"] == ["roses are my favorite."]
    corpus = (tmp_path / "out" / "corpus.jsonl").read_text()
    assert "roses are my favorite." in corpus
    assert load_world().habits[0] not in corpus
    card = json.loads((tmp_path / "out/organisms/innocent-decoy-2/card.json").read_text())
    assert card["group"] == "decoy"
    assert card["habit_rate"] is not None
