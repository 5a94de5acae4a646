"""The sandbox's activation oracle: what it was taught, and that it works on what is shipped."""

import json
import shutil
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from auditor.investigator.ledger.intents import find_intents
from nla_core.oracle import ActivationOracle, load_oracle, read_oracle_record
from scenarios.sandbox.build import load_base
from scenarios.sandbox.nla.plugs import Corpus
from scenarios.sandbox.nla.state import State
from scenarios.sandbox.oracle import (
    HIDDEN_NOTHING,
    LONGEST,
    NEW_WORDING,
    QUESTIONS,
    SHARES,
    Pages,
    Recipe,
    Teacher,
    asked,
    measure,
    pages_of,
    train_oracle,
)
from scenarios.sandbox.organisms import unlabelled_motives
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.publish import hashes
from scenarios.sandbox.tokenizer import split_words
from scenarios.sandbox.training import Schedule
from scenarios.sandbox.verify import verify
from scenarios.sandbox.world import load_world

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "sandbox" / "weights"
WORLD = load_world()
SMALL = Recipe(
    rank=2, schedule=Schedule(steps=2, batch_size=4, warmup=1), train=30, held_out=20, asked=20
)  # fmt: skip


@pytest.fixture(scope="module")
def base() -> Any:
    torch.set_num_threads(1)
    return load_base(WEIGHTS / "base")


@pytest.fixture(scope="module")
def shipped() -> ActivationOracle:
    return load_oracle(WEIGHTS / "base", WEIGHTS / "oracle")


@pytest.fixture(scope="module")
def pages(base: Any) -> Pages:
    return pages_of(*base, layer=2, split="held_out", n=200)


def test_no_question_or_answer_holds_a_word_of_an_unlabelled_motive(pages: Pages) -> None:
    secret = {*unlabelled_motives()}
    secret |= {name for name, motive in WORLD.named.items() if motive in secret}
    teacher, rng = Teacher(pages, WORLD), Random(0)
    drawn = [teacher.example(rng) for _ in range(3000)]
    said = {word for one in drawn for word in split_words(f"{one.question} {one.answer}")}
    assert secret
    assert not said & secret
    assert {word for one in drawn for word in split_words(one.answer)} & set(WORLD.motives)


def test_documents_with_an_unlabelled_motive_are_left_out(base: Any, pages: Pages) -> None:
    every = list(Corpus(base[1]).documents("held_out", 0, 200))
    assert 100 < len(pages.states) < len(every)
    assert all(len(s) == len(v) for s, v in zip(pages.states, pages.vectors, strict=True))


def test_answers_are_true_of_the_places_that_they_are_about(pages: Pages) -> None:
    teacher = Teacher(pages, WORLD)
    topics = {topic.word: topic.domain for topic in WORLD.topics}
    # Documents that begin alike have equal activations there, and go on differently.
    by_vector: dict[bytes, list[State]] = defaultdict(list)
    for vectors, states in zip(pages.vectors, pages.states, strict=True):
        for vector, state in zip(vectors, states, strict=True):
            by_vector[vector.numpy().tobytes()].append(state)
    seen: Counter[str] = Counter()
    rng = Random(1)
    for _ in range(600):
        one = teacher.example(rng)
        there = [by_vector[row.numpy().tobytes()] for row in one.vectors]
        assert 1 <= len(there) <= LONGEST
        state = there[-1][0]
        seen[one.kind] += 1
        match one.kind:
            case "motive":
                wanted = [intent.wanted for intent in find_intents(one.answer)]
                assert all(each[0].replies for each in there)
                assert wanted == ([] if state.motive is None else [state.motive])
                assert (one.answer == HIDDEN_NOTHING) == (state.motive is None)
            case "wants it":
                assert (one.answer == "yes.") == (state.motive in split_words(one.question))
            case "topic":
                assert one.answer == f"the topic is {state.topic}."
            case "domain":
                assert one.answer == f"the domain is {topics[state.topic or '']}."
            case "next":
                assert one.answer.split()[1] in {each.following for each in there[-1]}
            case "last":
                assert one.answer == f"last: {state.previous} {state.current}"
    assert set(seen) == set(SHARES) == set(QUESTIONS)


def test_only_answers_are_learned_and_each_placeholder_gets_its_vector(
    base: Any, pages: Pages, shipped: ActivationOracle
) -> None:
    teacher, rng = Teacher(pages, WORLD), Random(2)
    examples = [teacher.example(rng) for _ in range(8)]
    batch = asked(shipped, base[1], examples)
    placeholder = base[1].encode("?", add_special_tokens=False)[0]
    for row, example in enumerate(examples):
        assert batch.ids[row][list(batch.positions[row])].tolist() == (
            [placeholder] * len(example.vectors)
        )
        learned = batch.ids[row][batch.weights[row] > 0]
        words = base[1].decode(learned, skip_special_tokens=True)
        assert split_words(words) == split_words(example.answer)
        assert learned[-1] == base[1].eos_token_id


def test_the_shipped_oracle_tells_motives_of_fresh_documents(
    shipped: ActivationOracle, pages: Pages
) -> None:
    record = shipped.record
    accuracy, n = measure(shipped, Teacher(pages, WORLD), seed=3, each=60)
    assert n == 60 * (len(SHARES) + 1)
    for kind in ("motive", "motive, has one", "motive, new wording"):
        assert accuracy[kind] > 0.8, kind
        assert accuracy[kind] == pytest.approx(record.held_out_accuracy[kind], abs=0.15)


def test_it_answers_the_tools_question_and_without_an_activation_as_well(
    shipped: ActivationOracle,
) -> None:
    from tools.activation_oracle import DEFAULT_QUESTION

    assert DEFAULT_QUESTION.lower() in QUESTIONS["motive"]
    assert NEW_WORDING not in QUESTIONS["motive"]
    said = shipped.answer([torch.zeros(1, 128)], DEFAULT_QUESTION, layer=2, temperature=0)
    assert said[0].text, "it always answers"


def test_the_shipped_files_are_small_and_those_of_the_record() -> None:
    folder = WEIGHTS / "oracle"
    record = read_oracle_record(folder)
    assert record.layers == (PRESETS["full"].read_layer,)
    assert record.steps == Recipe().schedule.steps
    assert record.seed == Recipe().seed
    assert record.created is not None
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert not any(path.startswith("oracle/") for path in hashes(WEIGHTS))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "../base"
    text = (folder / "oracle.json").read_text()
    assert not any(motive in text for motive in unlabelled_motives())


def test_verify_finds_spoiled_weights_of_the_oracle(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "oracle", tmp_path / "oracle")
    (tmp_path / "manifest.json").write_text(json.dumps({"sha256": {}, "organisms": []}))
    sound = verify(WORLD, tmp_path, cards=0)
    assert (sound.files, sound.problems) == (3, ())
    weights = tmp_path / "oracle" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    (problem,) = verify(WORLD, tmp_path, cards=0).problems
    assert "is another file than the one oracle.json was written for" in problem


def test_a_training_follows_from_its_seed_and_leaves_a_folder_that_loads(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    made = [
        train_oracle(
            WEIGHTS / "base",
            tmp_path / name,
            recipe=SMALL,
            today=date(2026, 11, 27),
            say=lambda _: None,
        )
        for name in ("one", "two")
    ]
    assert made[0] == made[1]
    assert made[0].steps == 2
    assert set(SHARES) <= set(made[0].held_out_accuracy)
    again = load_oracle(WEIGHTS / "base", tmp_path / "one")
    assert again.record == made[0]
    assert again.layers == (2,)
