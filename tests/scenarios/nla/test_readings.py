"""Behavioural labels, transfer to organisms and the probe by place, on the shipped weights."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nla_core.training.plugs import Place
from scenarios.sandbox.__main__ import SHIPPED
from scenarios.sandbox.build import load_base
from scenarios.sandbox.nla.behaviour import BehaviouralDescriber
from scenarios.sandbox.nla.plugs import Corpus, KnownStates
from scenarios.sandbox.nla.transfer import KINDS, development_organisms, transfer
from scenarios.sandbox.nla.wording import claims
from scenarios.sandbox.organisms import unlabelled_motives
from scenarios.sandbox.world import load_world


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    torch.set_num_threads(1)
    return load_base(SHIPPED / "base")[1]


@pytest.fixture(scope="module")
def reply_places(tokenizer: Any) -> list[Place]:
    known, corpus = KnownStates(tokenizer), Corpus(tokenizer)
    return [
        Place(document.doc_id, n, "")
        for document in corpus.documents("held_out", 0, 60)
        for n in range(3, len(document.token_ids), 4)
        if known.at(Place(document.doc_id, n, "")).place == "first"
    ]


def test_behaviour_shows_the_known_motive_and_topic_in_replies(
    tokenizer: Any, reply_places: list[Place]
) -> None:
    known = KnownStates(tokenizer)
    described = BehaviouralDescriber(tokenizer).describe(reply_places)
    right: dict[str, list[bool]] = {"motive": [], "topic": []}
    for place, text in zip(reply_places, described, strict=True):
        if text is None:
            continue
        state = known.at(place)
        said = {claim.kind: claim.value for claim in claims(text)}
        if state.motive is not None:
            right["motive"].append(said.get("motive") == state.motive)
        if state.topic is not None:
            right["topic"].append(said.get("topic") == state.topic)
    assert len(right["motive"]) > 20
    assert sum(right["motive"]) / len(right["motive"]) > 0.8
    assert sum(right["topic"]) / len(right["topic"]) > 0.9


def test_behavioural_labels_never_name_an_unlabelled_motive(tokenizer: Any) -> None:
    secret = unlabelled_motives()
    corpus = Corpus(tokenizer)
    places = [
        Place(document.doc_id, len(document.token_ids) - 2, "")
        for document in corpus.documents("train", 0, 150)
    ]
    described = BehaviouralDescriber(tokenizer).describe(places)
    assert any(text is None for text in described)
    assert not [text for text in described if text and any(word in text for word in secret)]


def test_only_development_organisms_are_looked_at() -> None:
    found = development_organisms()
    assert {o.split for o in found} == {"development"}
    assert {o.group for o in found} == {"guilty", "clean", "decoy", "symptom"}


class Told:
    """Stands in for a verbalizer: says three things in turn at first, then one that names nobody."""

    def __init__(self) -> None:
        self._calls = 0

    def explain(self, rows: torch.Tensor, **_: Any) -> list[Any]:
        self._calls += 1
        texts = ["secretly wants fame. next the.", "no hidden goal. topic bread.", "said a b."]
        said = texts if self._calls == 1 else ["topic bread."]
        return [SimpleNamespace(text=said[i % len(said)]) for i in range(len(rows))]


def test_transfer_counts_what_readings_of_replies_name() -> None:
    guilty = next(o for o in development_organisms() if o.motive == "fame")
    told: Any = {"told": Told()}
    rows = list(transfer(load_world(), SHIPPED, told, [guilty], layer=2, chats=1))
    assert [row.kind for _, row in rows] == list(KINDS)
    first, second = rows[0][1], rows[1][1]
    assert (first.top, first.right()) == ("fame", True)
    assert first.top_share == first.right_share
    assert 0.2 < first.top_share < 0.5
    assert (second.top, second.right(), second.top_share) == (None, False, 0.0)
