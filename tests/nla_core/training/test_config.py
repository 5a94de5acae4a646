"""Recipes, and what is said of wrong ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nla_core.training.__main__ import main
from nla_core.training.config import Recipe, RecipeError, load_recipe
from nla_core.training.plugs import load_corpus, plug

Change = Callable[[dict[str, Any]], Any]


def written(folder: Path, fields: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_recipe_reads_back_as_it_was_written(tmp_path: Path, recipe: Recipe) -> None:
    assert load_recipe(written(tmp_path, recipe.to_dict())) == recipe


def test_paths_are_meant_relative_to_the_recipe(
    tmp_path: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "texts.jsonl").write_text("")
    monkeypatch.chdir("/")
    fields |= {"model": "model", "corpus": "texts.jsonl", "initial": "some/where-else"}
    found = load_recipe(written(tmp_path, fields))
    assert (found.model, found.corpus) == (str(tmp_path / "model"), str(tmp_path / "texts.jsonl"))
    assert found.initial == "some/where-else"


WRONG: dict[str, tuple[Change, str]] = {
    "an unknown field": (lambda f: f.update(colour=1), "colour: "),
    "an unknown field inside": (lambda f: f["harvest"].update(depth=1), "harvest.depth: "),
    "a wrong type": (lambda f: f.update(layer="two"), "layer: "),
    "a missing field": (lambda f: f["warm_start"]["av"].pop("steps"), "warm_start.av.steps: "),
    "a wrong choice": (lambda f: f["reinforce"].update(reward="best"), "reinforce.reward: "),
    "a group of one": (lambda f: f["reinforce"].update(group_size=1), "reinforce.group_size: "),
    "a contrast with itself": (lambda f: (f["reinforce"].update(contrastive=1), f["reinforce"]["schedule"].update(batch_size=1)), "reinforce: .*contrastive needs a batch_size"),
    "shares without rest": (lambda f: f["harvest"].update(av_share=0.7), "harvest: .*reinforcement"),
    "not a number": (lambda f: f.update(injection_scale=float("nan")), "injection_scale: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_command_line_names_the_wrong_field_in_one_line(
    name: str, tmp_path: Path, fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    change, expected = WRONG[name]
    change(fields)
    path = written(tmp_path, fields)
    with pytest.raises(RecipeError, match=expected):
        load_recipe(path)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{path}: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name: [unclosed", "is not YAML"),
        (b"name: \xff\xfe", "is not YAML"),
        (b"- a list", "must be a mapping"),
        (b"", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(
    content: bytes, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: f.update(describer="no.such.module:Thing"), "'no.such.module:Thing'"),
        (lambda f: f.update(describer="nla_core.sampling:Nothing"), "'nla_core.sampling:Nothing'"),
        (lambda f: f.update(describer="nla_core.sampling"), "'nla_core.sampling'"),
        (lambda f: f.update(grader=":x"), "':x'"),
        (lambda f: f.update(grader=".relative:x"), "'.relative:x'"),
        (lambda f: f.update(corpus="missing.jsonl"), "missing.jsonl: no such file"),
        (lambda f: f.update(model="/no/such/folder"), "/no/such/folder"),
    ],
)
def test_what_a_recipe_names_must_be_there_before_anything_is_harvested(
    change: Change,
    expected: str,
    tmp_path: Path,
    fields: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(fields)
    out = tmp_path / "out"
    assert main([str(written(tmp_path, fields)), "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert expected in said[-1]
    assert "Traceback" not in "".join(said)
    assert not list(out.rglob("*.parquet"))


def test_a_missing_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.yaml"), "--out", str(tmp_path)]) == 2
    assert "nothing.yaml: cannot be read: No such file" in capsys.readouterr().err


def test_the_control_is_trained_unless_a_recipe_says_otherwise(fields: dict[str, Any]) -> None:
    assert Recipe.model_validate(fields).warm_start.control_steps == 0
    del fields["warm_start"]["control_steps"]
    assert Recipe.model_validate(fields).warm_start.control_steps >= 50


def test_an_unknown_stage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["recipe.yaml", "--out", str(tmp_path), "--stage", "cook"])
    assert stopped.value.code == 2
    assert "no stage 'cook'; there are harvest, label" in capsys.readouterr().err


def test_a_plug_is_called_with_the_tokenizer() -> None:
    assert plug("builtins:list", "ab") == ["a", "b"]
    assert load_corpus("builtins:list", "ab") == ["a", "b"]


def test_a_batch_that_cannot_be_dealt_evenly_is_refused_before_anything_is_done(
    tmp_path: Path,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from accelerate import PartialState

    PartialState(cpu=True)
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 2)
    fields["reinforce"]["schedule"]["batch_size"] = 3
    out = tmp_path / "out"
    assert main([str(written(tmp_path, fields)), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "a batch of 3 rows cannot be dealt evenly to 2 processes" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("version", "efficient", "message"),
    [
        (1, False, "accelerate was started with FSDP; networks can be sharded by FSDP 2 only"),
        (2, True, "add --fsdp_cpu_ram_efficient_loading false"),
    ],
)
def test_a_way_to_shard_that_would_go_wrong_is_refused(
    version: int, efficient: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    from nla_core.training.trained import check_launch

    Accelerator(cpu=True)
    plugin = SimpleNamespace(fsdp_version=version, cpu_ram_efficient_loading=efficient)
    for state in (PartialState, AcceleratorState):
        monkeypatch.setitem(state._shared_state, "distributed_type", DistributedType.FSDP)
    monkeypatch.setitem(AcceleratorState._shared_state, "fsdp_plugin", plugin)
    with pytest.raises(RecipeError, match=message):
        check_launch()
