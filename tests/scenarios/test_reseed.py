"""Organisms from another seed."""

import json
import shutil
from pathlib import Path

import pytest

from scenarios.sandbox import reseed as module
from scenarios.sandbox.build import RecipeError
from scenarios.sandbox.organisms import all_organisms
from scenarios.sandbox.reseed import reseed

WEIGHTS = Path(module.__file__).parent / "weights"
HELD_OUT = [o.id for o in all_organisms() if o.split == "held-out"]
SHORT = "thoughts-hardened-loyalty"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder in which every organism of the split is there already, one of them short."""
    for name in HELD_OUT:
        shutil.copytree(WEIGHTS / "organisms" / name, tmp_path / "organisms" / name)
    path = tmp_path / "organisms" / SHORT / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quirk_rate": 0.5}))
    return tmp_path


def test_an_organism_that_falls_short_stops_the_recipe(trained: Path) -> None:
    with pytest.raises(RecipeError, match=f"{SHORT}: quirk rate 0.50"):
        reseed(WEIGHTS, trained, seed=1, split="held-out", say=lambda _: None)
    assert not (trained / "suite.json").exists()


def test_it_is_kept_and_named_where_that_is_wanted(trained: Path) -> None:
    said: list[str] = []
    suite = reseed(WEIGHTS, trained, seed=1, split="held-out", keep_short=True, say=said.append)
    assert [t["id"] for t in json.loads(suite.read_text())["targets"]] == HELD_OUT
    assert SHORT in said[-1]
    assert (trained / "corpus.jsonl").is_file()
