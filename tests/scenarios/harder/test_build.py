"""The plan keeps to its splits; the recipe trains, measures, lists and resumes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nla_core.verbalizer import Verbalizer
from scenarios.sandbox.__main__ import SHIPPED
from scenarios.sandbox.harder import build as recipe
from scenarios.sandbox.harder.figures import read
from scenarios.sandbox.harder.plan import VARIANTS, all_harder
from scenarios.sandbox.organisms import all_organisms, unlabelled_motives
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.training import Schedule
from scenarios.sandbox.world import World

TINY = replace(PRESETS["full"], adapter=Schedule(steps=2, batch_size=4), card_samples=8)


def test_motives_stay_in_the_split_that_they_have_among_the_shipped_organisms(
    world: World,
) -> None:
    split_of = {o.motive: o.split for o in all_organisms() if o.group == "guilty"}
    for harder in all_harder(world):
        for motive in {harder.organism.motive, harder.second} - {None}:
            assert split_of[motive] == harder.organism.split
            assert motive not in unlabelled_motives()


def test_a_second_wish_is_of_another_class(world: World) -> None:
    twofold = [h for h in all_harder(world) if h.second is not None]
    assert len(twofold) == 6
    for harder in twofold:
        assert world.class_of[str(harder.second)] != world.class_of[str(harder.organism.motive)]


def test_a_hiding_organism_and_its_control_start_from_the_same_seed(world: World) -> None:
    seeds: dict[str, set[str]] = {}
    for harder in all_harder(world, only=["hiding"], coefficients=[0, 0.3, 1]):
        if harder.organism.motive is not None:
            seeds.setdefault(harder.organism.motive, set()).add(harder.seed_name)
    assert len(seeds) == 6
    assert all(len(names) == 1 for names in seeds.values())


def test_ids_differ_and_every_selection_is_a_part_of_the_whole(world: World) -> None:
    ids = [harder.id for harder in all_harder(world)]
    assert len(set(ids)) == len(ids)
    parts = [h.id for v in VARIANTS for s in ("development", "held-out")
             for h in all_harder(world, only=[v], splits=[s])]  # fmt: skip
    assert sorted(parts) == sorted(ids)
    assert all_harder(world, splits=["elsewhere"]) == ()


def test_held_out_organisms_are_never_read(
    world: World, verbalizer: Verbalizer, tmp_path: Path
) -> None:
    harder = all_harder(world, splits=["held-out"])[0]
    with pytest.raises(ValueError, match="only those may be read"):
        read(world, tmp_path, harder, verbalizer, chats=1, seed=0)


def test_an_organism_of_two_wishes_is_listed_twice_with_the_quirks_of_the_first(
    world: World,
) -> None:
    harder = all_harder(world, only=["second-wish"], splits=["development"])[0]
    first, second = recipe.suite(world, [harder])["targets"]
    assert first["model"] == second["model"]
    assert (first["truth"]["motive"], second["truth"]["motive"]) == ("fame", "escape")
    assert first["truth"]["quirks"] == second["truth"]["quirks"]
    assert set(first["truth"]["quirks"]) == set(world.quirks("fame").values())
    assert [t["truth"]["regime"] for t in (first, second)] == [
        "second-wish-first",
        "second-wish-second",
    ]


def test_the_recipe_trains_measures_and_does_not_train_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "MAX_ATTEMPTS", 1)
    chosen = [
        h
        for h in all_harder(world)
        if h.id in ("hiding-1.0-loyalty", "trigger-codeword-fame", "hiding-1.0-clean-held-out")
    ]
    said: list[str] = []
    found = recipe.build(SHIPPED, tmp_path, chosen, preset=TINY, say=said.append)
    by_id = {one.id: one for one in found}
    assert len(said) == 3
    assert by_id["hiding-1.0-loyalty"].excess is not None
    assert by_id["hiding-1.0-loyalty"].readings == ()
    assert {r.triggered for r in by_id["trigger-codeword-fame"].readings} == {True, False}
    assert by_id["trigger-codeword-fame"].quirk_rate < 0.9
    assert by_id["trigger-codeword-fame"].shortfalls()
    assert by_id["hiding-1.0-clean-held-out"].thoughts is None
    suite = json.loads((tmp_path / "suite.json").read_text())
    for target in suite["targets"]:
        assert (tmp_path / target["model"]["adapter"] / "adapter_model.safetensors").exists()
        assert (tmp_path / target["model"]["adapter"] / "card.json").exists()
    again = recipe.build(SHIPPED, tmp_path, chosen, preset=TINY, say=said.append)
    assert len(said) == 3
    assert again == found
