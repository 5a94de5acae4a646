"""What is shipped is what the recipe promises."""

import json
from pathlib import Path

import pytest

from scenarios.sandbox.cards import Card
from scenarios.sandbox.publish import hashes
from scenarios.sandbox.verify import verify
from scenarios.sandbox.world import load_world

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
MANIFEST = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
CARDS = [Card.model_validate(card) for card in MANIFEST["organisms"]]


def test_every_file_has_the_hash_of_the_manifest() -> None:
    assert hashes(WEIGHTS) == MANIFEST["sha256"]


def test_all_weights_together_are_small() -> None:
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*") if p.is_file()) <= 40_000_000


def test_no_pickle_is_shipped() -> None:
    assert not [p for p in WEIGHTS.rglob("*") if p.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_the_gate_was_passed_and_the_control_was_run() -> None:
    assert MANIFEST["preset"] == "full"
    assert MANIFEST["base_probe"] >= 0.8
    assert MANIFEST["control_probe"] is not None


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_every_shipped_organism_meets_its_requirements(card: Card) -> None:
    assert card.shortfalls() == []


def test_cards_measured_again_agree() -> None:
    report = verify(load_world(), WEIGHTS, cards=2, seed=11)
    assert report.problems == ()
