"""`auditor nla train` and `auditor nla eval`, on a training of a few steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nla_core.card import Card
from nla_core.pair import load_pair

Call = Callable[..., Any]
ROOT = Path(__file__).parents[3]
SANDBOX = ROOT / "scenarios" / "sandbox"
STEPS = {"steps": 2, "batch_size": 4, "lr": 0.001, "warmup": 1, "save_every": 1}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    fields = {
        "extends": str(SANDBOX / "nla" / "full.yaml"),
        "name": "few-steps",
        "harvest": {"documents": 30, "held_out_documents": 6, "documents_per_shard": 30},
        "warm_start": {"av": STEPS, "ar": STEPS, "control_steps": 2},
        "reinforce": {
            "schedule": STEPS,
            "group_size": 2,
            "max_tokens": 8,
            "evaluate_every": 2,
            "evaluate_rows": 4,
        },
        "evaluate": {"rows": 12, "max_tokens": 8},
    }
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_training_ends_in_a_pair_with_a_card_that_eval_repeats(
    call: Call, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = call("nla", "train", str(recipe), "--out", str(out), "--json")
    assert ended.code == 0, ended.err
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert {e["stage"] for e in events if e["event"] == "step"} == {
        "warm-av",
        "warm-ar",
        "control-true",
        "control-shuffled",
        "reinforce",
    }
    assert events[-1] == {"event": "done", "card": str(out / "pair" / "nla_card.json")}
    card = Card.read(out / "pair")
    assert card.verify_hashes(out / "pair") == []
    assert card.recipe["model"] == "base"
    assert str(tmp_path) not in (out / "pair" / "nla_card.json").read_text()

    pair = [str(out / "pair" / part) for part in ("av", "ar")]
    options = ("--av", pair[0], "--ar", pair[1], "--recipe", str(recipe))
    again = call("nla", "eval", *options, "--json")
    assert again.code == 0, again.err
    (found,) = [json.loads(line) for line in again.out.splitlines()]
    for name, value in (("fve", card.fve_rl), ("shuffled_fve", card.shuffled_fve)):
        assert found[name] == pytest.approx(value, abs=1e-5)
    assert found["paraphrase_fve"].keys() == card.paraphrase_fve.keys()
    assert load_pair(*pair).layer == 2


def test_running_it_again_makes_nothing_again(call: Call, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("nla", "train", str(recipe), "--out", str(out), "--json")
    stages = ("--stage", "harvest", "--stage", "label", "--stage", "warm-av")
    assert call(*words, *stages).code == 0
    weights = out / "warm-av" / "av" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = call(*words, *stages)
    assert again.code == 0
    assert "step" not in [json.loads(line)["event"] for line in again.out.splitlines()]
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer": "two"}, "layer"),
        ({"surprise": 1}, "surprise"),
        ({"describer": "nowhere:Nobody"}, "nowhere:Nobody"),
        ({"extends": "missing.yaml"}, "missing.yaml"),
        ({"model": "no/such/model/here"}, "no/such/model/here"),
        ({"av_template": "no place for a vector"}, "injection_char"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    call: Call, recipe: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    recipe.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | change))
    ended = call("nla", "train", str(recipe), "--out", str(tmp_path / "out"))
    assert ended.code == 2
    assert says in ended.err
    assert len([line for line in ended.err.splitlines() if line.strip()]) <= 4
    assert "Traceback" not in ended.err


def test_recipes_that_extend_each_other_are_refused(
    call: Call, recipe: Path, tmp_path: Path
) -> None:
    recipe.write_text("extends: recipe.yaml\n")
    ended = call("nla", "train", str(recipe), "--out", str(tmp_path / "out"))
    assert (ended.code, "circle" in ended.err) == (2, True)


def test_an_unknown_stage_is_refused(call: Call, recipe: Path, tmp_path: Path) -> None:
    ended = call("nla", "train", str(recipe), "--out", str(tmp_path / "out"), "--stage", "cook")
    assert ended.code == 2
    assert "harvest" in ended.err


def test_eval_without_held_out_activations_in_the_given_folder_is_refused(
    call: Call, recipe: Path, tmp_path: Path
) -> None:
    base = str(SANDBOX / "weights" / "base")
    ended = call("nla", "eval", "--av", base, "--ar", base, "--activations", str(tmp_path))
    assert ended.code == 2
    assert "nla_meta.yaml" in ended.err
