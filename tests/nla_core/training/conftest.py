"""A small recipe on the sandbox's documents, and the activations harvested and labelled for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nla_core.training.config import Recipe, load_recipe

AV_TEMPLATE = "explain <concept>{injection_char}</concept>"
AR_TEMPLATE = "summary of the following text: <text>{explanation}</text> <summary>"


def fields_of(base: Path) -> dict[str, Any]:
    """Everything as small as it can be; the marker is the sandbox tokenizer's."""
    plugs = "scenarios.sandbox.nla.plugs"
    return {
        "name": "small",
        "model": str(base),
        "layer": 1,
        "corpus": f"{plugs}:Corpus",
        "describer": f"{plugs}:Describer",
        "injection_scale": 8.0,
        "av_template": AV_TEMPLATE,
        "ar_template": AR_TEMPLATE,
        "value_head": "mean_direction",
        "seed": 5,
        "harvest": {
            "documents": 30,
            "held_out_documents": 4,
            "positions_per_document": 4,
            "first_position": 1,
            "special_tokens": True,
            "documents_per_shard": 12,
            "av_share": 0.4,
            "ar_share": 0.3,
        },
        "warm_start": {
            "av": {"steps": 6, "batch_size": 4, "lr": 0.003, "warmup": 1, "log_every": 1},
            "ar": {"steps": 6, "batch_size": 4, "lr": 0.003, "warmup": 1, "log_every": 1},
            "control_steps": 0,
        },
        "reinforce": {
            "schedule": {"steps": 3, "batch_size": 2, "lr": 0.001, "warmup": 1, "log_every": 1},
            "group_size": 4,
            "max_tokens": 12,
            "evaluate_every": 100,
            "evaluate_rows": 4,
        },
        "evaluate": {"rows": 8, "max_tokens": 12},
    }


@pytest.fixture(scope="session")
def base(build_pair: Callable[[str], Any]) -> Path:
    """A random model with the sandbox's tokenizer; read-only."""
    folder: Path = build_pair("sandbox").base
    return folder


@pytest.fixture
def fields(base: Path) -> dict[str, Any]:
    """The fields of a small recipe, to be changed."""
    return fields_of(base)


@pytest.fixture
def recipe(fields: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(fields)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a recipe file."""

    def write(fields: dict[str, Any]) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(fields))
        load_recipe(path)
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    from nla_core.checkpoint import load_tokenizer

    return load_tokenizer(base)


@pytest.fixture(scope="session")
def small(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training whose activations are harvested and labelled; read-only."""
    from nla_core.training.run import Training

    out = tmp_path_factory.mktemp("small")
    training = Training(Recipe.model_validate(fields_of(base)), out, say=lambda line: None)
    training.run(("harvest", "label"))
    return training


@pytest.fixture(scope="session")
def model(base: Path) -> Any:
    """The random model, loaded by plain Transformers; read-only."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base).eval()


@pytest.fixture(scope="session")
def explaining(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training in one process, to its card; some of its texts are explanations. Read-only.

    Its recipe is in `recipe.yaml`; every option is on whose draws could depend on the process.
    """
    from nla_core.training.__main__ import main

    out = tmp_path_factory.mktemp("explaining")
    fields = fields_of(base)
    fields["warm_start"]["av"]["steps"] = 150
    fields["warm_start"]["control_steps"] = 4
    fields["reinforce"] |= {"contrastive": 0.5, "prefix_truncation": 0.5}
    fields["reinforce"]["schedule"] |= {"steps": 5, "save_every": 2}
    recipe = out / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(fields))
    assert main([str(recipe), "--out", str(out)]) == 0
    return out
