"""Activations and warm starts that were made for something else are refused."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

from nla_core.sidecar import SidecarError
from nla_core.training.agreement import same_model
from nla_core.training.config import Recipe
from nla_core.training.run import Training

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def training(small: Any, tmp_path: Path) -> Any:
    """A training that goes on from a copy of the small one's activations."""

    def make(**changes: Any) -> Training:
        recipe = Recipe.model_validate(small.recipe.to_dict() | changes)
        out = tmp_path / "out"
        copytree(small.activations, out / "activations", dirs_exist_ok=True)
        return Training(recipe, out, say=lambda line: None)

    return make


def change_sidecars(folder: Path, stem: str, change: Change) -> None:
    for path in folder.glob(f"{stem}-*.nla_meta.yaml"):
        meta = yaml.safe_load(path.read_text())
        change(meta)
        path.write_text(yaml.safe_dump(meta, sort_keys=False))


def test_activations_of_another_layer_are_refused_wherever_they_lie(
    small: Any, training: Any, tmp_path: Path
) -> None:
    changed = training(layer=0)
    shared = Training(changed.recipe, tmp_path / "other", say=str, shared=small.out)
    for found in (changed, shared):
        for stage in ("label", "warm-av", "warm-ar"):
            with pytest.raises(SidecarError, match="layer_index is 1, must be 0"):
                found.run((stage,))
    with pytest.raises(SidecarError, match="layer_index is 1, must be 0; harvest into another"):
        changed.run(("harvest",))


CHANGES: dict[str, tuple[str, Change, str]] = {
    "another model": ("av_sft", lambda m: m["extraction"].update(base_model="some/other"), "base_model is 'some/other', must be 'base'"),
    "another width": ("av_sft", lambda m: m["extraction"].update(d_model=64), "d_model is 64, must be 32"),
    "other rows": ("av_sft", lambda m: m.update(stage="rl"), "stage is 'rl', must be 'av_sft'"),
    "another tokenizer": ("av_sft", lambda m: m["tokens"].update(injection_token_id=900), "tokens.injection_token_id is 900, must be"),
    "another neighbour": ("av_sft", lambda m: m["tokens"].update(injection_left_neighbor_id=900), "tokens.injection_left_neighbor_id"),
    "another prompt": ("av_sft", lambda m: m["prompt_templates"].update(actor="{injection_char}!"), "prompt_templates.actor is"),
    "another suffix": ("ar_sft", lambda m: m["tokens"].update(critic_suffix_ids=[1, 2]), r"tokens.critic_suffix_ids is \(1, 2\)"),
    "another reconstructor's prompt": ("ar_sft", lambda m: m["prompt_templates"].update(critic="{explanation}!"), "prompt_templates.critic is"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_activations_made_for_something_else_are_refused_with_what_differs(
    name: str, training: Any
) -> None:
    stem, change, message = CHANGES[name]
    found = training()
    change_sidecars(found.activations, stem, change)
    with pytest.raises(SidecarError, match=rf"{stem}-00000.parquet: {message}"):
        found.run(("warm-av" if stem == "av_sft" else "warm-ar",))
    assert not (found.out / "warm-av").exists()


def test_activations_without_a_sidecar_are_refused(training: Any) -> None:
    found = training()
    for path in found.activations.glob("av_sft-*.nla_meta.yaml"):
        path.unlink()
    with pytest.raises(SidecarError, match="nla_meta.yaml"):
        found.run(("warm-av",))


def test_a_harvest_leaves_files_of_another_one_alone_and_says_so(small: Any, training: Any) -> None:
    settings = small.recipe.to_dict()["harvest"]
    found = training(harvest=settings | {"positions_per_document": 9})
    with pytest.raises(SidecarError, match="positions_per_doc is 4, must be 9; harvest into"):
        found.run(("harvest",))
    training().run(("harvest",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"injection_scale": 9.0}, "injection_scale is 8.0, must be 9.0"),
        (
            {"av_template": "say <concept>{injection_char}</concept>"},
            "the verbalizer's template is",
        ),
        ({"layer": 0}, "layer is 1, must be 0"),
        ({"initial": "other"}, "base_checkpoint is .*base', must be 'other'"),
    ],
)
def test_a_warm_start_of_another_recipe_is_refused_with_what_differs(
    change: dict[str, Any], message: str, training: Any
) -> None:
    unchanged = training()
    unchanged.new_verbalizer().save(unchanged.out / "warm-av" / "av")
    unchanged.new_reconstructor().save(unchanged.out / "warm-ar" / "ar")
    unchanged.starting_pair()
    with pytest.raises(SidecarError, match=message):
        training(**change).starting_pair()


def test_hub_ids_are_compared_whole_and_folders_by_name(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert same_model("some/model", "some/model")
    assert not same_model("some/model", "other/model")
    assert same_model(str(tmp_path / "model"), "some/model")
    assert same_model("model", str(tmp_path / "model"))
    assert not same_model(str(tmp_path / "model"), "some/other")
