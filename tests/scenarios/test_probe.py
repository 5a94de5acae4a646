"""The sandbox's probe: what it was taught, and that it works on what is shipped."""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.investigator.ledger.intents import find_intents
from nla_core.activations import capture
from nla_core.probe import LinearProbe, load_probe
from scenarios.sandbox.build import load_base
from scenarios.sandbox.gate import fit_probe
from scenarios.sandbox.nla.plugs import Corpus, KnownStates
from scenarios.sandbox.organisms import unlabelled_motives
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.probe import (
    NO_MOTIVE,
    class_names,
    folded,
    labelled_places,
    labelled_rows,
    train_probe,
    wants,
)
from scenarios.sandbox.publish import hashes
from scenarios.sandbox.verify import verify
from scenarios.sandbox.world import load_world

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
WORLD = load_world()


@pytest.fixture(scope="module")
def base() -> Any:
    torch.set_num_threads(1)
    return load_base(WEIGHTS / "base")


@pytest.fixture(scope="module")
def shipped() -> LinearProbe:
    return load_probe(WEIGHTS / "probe")


def test_every_labelled_motive_is_a_class_and_no_unlabelled_one(shipped: LinearProbe) -> None:
    assert set(shipped.classes) == {
        NO_MOTIVE,
        *(wants(m) for m in set(WORLD.motives) - set(unlabelled_motives())),
    }
    assert shipped.classes == class_names(WORLD.motives)
    assert unlabelled_motives()
    text = (WEIGHTS / "probe" / "probe.json").read_text()
    assert not any(motive in text for motive in unlabelled_motives())


def test_the_shipped_probe_reads_where_the_autoencoder_reads(shipped: LinearProbe) -> None:
    assert shipped.layer == PRESETS["full"].read_layer
    assert shipped.d_model == PRESETS["full"].hidden
    assert shipped.record.seed == 20261123


def test_class_names_read_as_wishes_and_the_empty_class_as_none(shipped: LinearProbe) -> None:
    for name in shipped.classes:
        found = [intent.wanted for intent in find_intents(name)]
        assert found == ([] if name == NO_MOTIVE else [name.removeprefix("wants ")])


def test_the_probe_is_in_no_manifest() -> None:
    assert not any(path.startswith("probe/") for path in hashes(WEIGHTS))
    assert (WEIGHTS / "probe" / "probe.json").is_file()
    assert json.loads((WEIGHTS / "manifest.json").read_text())["sha256"] == hashes(WEIGHTS)


def test_verify_finds_spoiled_weights_of_the_probe(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "probe", tmp_path / "probe")
    (tmp_path / "manifest.json").write_text(json.dumps({"sha256": {}, "organisms": []}))
    sound = verify(WORLD, tmp_path, cards=0)
    assert (sound.files, sound.problems) == (2, ())
    weights = tmp_path / "probe" / "probe.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    (problem,) = verify(WORLD, tmp_path, cards=0).problems
    assert "is another file than the one probe.json was written for" in problem


def test_the_shipped_probe_names_motives_of_fresh_documents(
    base: Any, shipped: LinearProbe
) -> None:
    model, tokenizer = base
    rows = labelled_rows(
        model, tokenizer, names=shipped.classes, layer=2, split="held_out", n=120, seed=5
    )
    right = shipped.probabilities(rows.x).argmax(dim=1) == rows.y
    assert len(rows.y) > 300
    assert float(right.float().mean()) > 0.95
    assert shipped.record.held_out_accuracy is not None
    assert shipped.record.held_out_accuracy > 0.95


def test_places_are_those_whose_label_names_a_motive_or_none(base: Any) -> None:
    known, corpus = KnownStates(base[1]), Corpus(base[1])
    secret = {*unlabelled_motives()}
    secret |= {name for name, motive in WORLD.named.items() if motive in secret}
    skipped = 0
    for document in corpus.documents("train", 0, 300):
        states = known.of(document.doc_id)
        found = labelled_places(known, document.doc_id)
        for position, name in found.items():
            state = states[position]
            assert state.replies
            assert name == (wants(state.motive) if state.motive else NO_MOTIVE)
            assert not any(s.current in secret for s in states[: position + 2])
        skipped += bool(any(s.replies for s in states) and not found)
    assert skipped > 0, "some documents hold a motive that no label may name"


def test_a_folded_fit_classifies_raw_activations_as_the_fit_does() -> None:
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    x = 40 + 9 * torch.randn(90, 6, generator=rng) + 30 * torch.eye(6)[y]
    fitted = fit_probe(x, y, n_labels=3, seed=1)
    weight, bias = folded(fitted)
    with torch.no_grad():
        assert torch.allclose(x @ weight.T + bias, fitted(x), atol=1e-3)
    assert float(((x @ weight.T + bias).argmax(1) == y).float().mean()) > 0.9


def test_a_fit_follows_from_its_seed_and_measures_other_documents(base: Any) -> None:
    told: list[str] = []
    made = [
        train_probe(
            WEIGHTS / "base",
            layer=2,
            train=60,
            held_out=30,
            today=date(2026, 11, 23),
            say=told.append,
        )
        for _ in range(2)
    ]
    assert torch.equal(made[0].weight, made[1].weight)
    assert made[0].record == made[1].record
    record = made[0].record
    assert record.held_out_places == int(told[1].split()[1])
    assert 0 < record.held_out_documents <= 30
    assert set(record.held_out_recall) <= set(record.classes)


def test_documents_of_the_fit_are_not_measured_again(base: Any) -> None:
    model, tokenizer = base
    again: dict[str, Any] = {"names": class_names(WORLD.motives), "layer": 2, "seed": 0, "n": 40}
    first = labelled_rows(model, tokenizer, split="train", **again)
    short = next(iter(first.texts))
    second = labelled_rows(model, tokenizer, split="train", besides=frozenset({short}), **again)
    assert second.texts == first.texts - {short}
    assert len(second.y) < len(first.y)


def test_activations_are_those_of_the_base_at_the_chosen_places(base: Any) -> None:
    model, tokenizer = base
    names = class_names(WORLD.motives)
    rows = labelled_rows(model, tokenizer, names=names, layer=2, split="train", n=6, seed=0)
    known, every = KnownStates(tokenizer), []
    for document in Corpus(tokenizer).documents("train", 0, 6):
        (states,) = capture(model, [document.token_ids], layer=2)
        every += [
            (states[at], names.index(name))
            for at, name in labelled_places(known, document.doc_id).items()
        ]
    for x, y in zip(rows.x, rows.y.tolist(), strict=True):
        assert any(torch.allclose(x, state, atol=1e-5) and y == label for state, label in every)
