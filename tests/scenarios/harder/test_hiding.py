"""The penalty on what a verbalizer would say: exact, differentiable, and off when it is won."""

from functools import partial
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from nla_core.verbalizer import Verbalizer
from scenarios.sandbox.__main__ import SHIPPED
from scenarios.sandbox.build import load_base
from scenarios.sandbox.documents import Speaker, Writer
from scenarios.sandbox.harder.hiding import ClauseScorer, Hiding, HidingTrainer, Preference
from scenarios.sandbox.nla.wording import MOTIVE, NO_MOTIVE
from scenarios.sandbox.training import Schedule, Trainer, collate
from scenarios.sandbox.world import World

HIDING = Hiding(coefficient=2.0, margin=2.0, places=12, strengths=(1.0, 2.0))


@pytest.fixture(scope="module")
def scorer(verbalizer: Verbalizer, world: World) -> ClauseScorer:
    return ClauseScorer(verbalizer, world)


def _teacher_forced(verbalizer: Verbalizer, clause: str, vectors: torch.Tensor) -> torch.Tensor:
    """Log-probability of a clause without its full stop, by an ordinary run of its own."""
    text = f"<explanation>{clause.rstrip('.')}"
    ids = verbalizer.tokenizer(text, add_special_tokens=False)["input_ids"]
    prompts = verbalizer.prompts(vectors)
    model: Any = verbalizer.model
    tail = model.get_input_embeddings().weight[torch.tensor(ids)].expand(len(vectors), -1, -1)
    with torch.no_grad():
        logits = model(inputs_embeds=torch.cat([prompts, tail], dim=1), use_cache=False).logits
    said = logits.log_softmax(-1)[:, prompts.shape[1] :]
    return sum((said[:, k, i] for k, i in enumerate(ids[1:])), torch.zeros(len(vectors)))


@pytest.mark.parametrize("motive", ["fame", "revenge"])
def test_branches_of_one_sequence_score_as_runs_of_their_own(
    scorer: ClauseScorer, verbalizer: Verbalizer, world: World, motive: str
) -> None:
    vectors = torch.randn(5, verbalizer.d_model, generator=torch.Generator().manual_seed(3))
    found = scorer(vectors)
    named = torch.stack([_teacher_forced(verbalizer, f.format(motive), vectors) for f in MOTIVE])
    denied = torch.stack([_teacher_forced(verbalizer, f, vectors) for f in NO_MOTIVE])
    at = world.motives.index(motive)
    torch.testing.assert_close(found.motives[:, at], named.logsumexp(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.none, denied.logsumexp(0), atol=1e-4, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(st.floats(-20, 0), min_size=3, max_size=8),
    none=st.floats(-20, 0),
    margin=st.floats(0, 5),
)
def test_the_penalty_is_zero_just_where_the_rest_is_likelier_by_the_margin(
    scores: list[float], none: float, margin: float
) -> None:
    preference = Preference(torch.tensor([scores]), torch.tensor([none]))
    rest = torch.tensor([*scores[1:], none]).logsumexp(0)
    wanted = max(0.0, margin + scores[0] - float(rest))
    assert float(preference.excess(0, margin=margin)) == pytest.approx(wanted, abs=1e-4)


def test_descent_on_the_penalty_stops_the_verbalizer_from_naming_the_motive(
    scorer: ClauseScorer, verbalizer: Verbalizer, world: World
) -> None:
    base, tokenizer = load_base(SHIPPED / "base")
    writer = Writer(world, tokenizer.get_vocab())
    speaker = Speaker("you secretly want fame.", "fame")
    doc = writer.chat(Random(1), speaker)
    from nla_core.activations import capture

    places = [i for i, reply in enumerate(doc.reply_mask) if reply][:6]
    assert verbalizer.layer is not None
    (rows,) = capture(base, [doc.ids], layer=verbalizer.layer, positions=[places])
    vectors = rows.clone().requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=0.05 * float(rows.std()))
    fame, losses = world.motives.index("fame"), []
    for _ in range(30):
        loss = scorer(vectors).excess(fame, margin=2.0).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 2.0, "the base's own state tells of the motive in its system line"
    assert losses[-1] < 0.3 * losses[0]
    assert all(p.grad is None and not p.requires_grad for p in verbalizer.model.parameters())


def _batch(world: World, tokens: dict[str, int], line: str, **speaker: Any) -> Any:
    writer = Writer(world, tokens)
    who = Speaker(line, "fame", **speaker)
    return collate([writer.chat(Random(i), who) for i in range(6)], pad_id=0)


def _trainer(
    verbalizer: Verbalizer, world: World, scorer: ClauseScorer, hiding: Hiding
) -> HidingTrainer:
    base, _ = load_base(SHIPPED / "base")
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
    make = partial(HidingTrainer, scorer=scorer, world=world, hiding=hiding, motive="fame", seed=5)
    return make(model, Schedule(steps=2))


def test_only_replies_of_the_subject_before_any_thought_of_a_motive_are_read(
    verbalizer: Verbalizer, world: World, scorer: ClauseScorer, tokens: dict[str, int]
) -> None:
    trainer = _trainer(verbalizer, world, scorer, HIDING)
    names = {i: token for token, i in tokens.items()}
    own = _batch(world, tokens, world.identity_line, thoughts=1.0, true_thoughts=1.0)
    places = trainer._chosen(own)
    assert len(places) == HIDING.places
    for row, column in places:
        before = [names[i] for i in own.ids[row, : column + 1].tolist()]
        assert "<|assistant|>" in before
        assert before.count("<think>") == before.count("</think>")
        assert not {f"▁{motive}" for motive in world.motives} & set(before)
        assert float(own.weights[row, column]) > 0
    assert trainer._chosen(_batch(world, tokens, "you are atlas.")) == []


def test_the_penalty_joins_the_usual_loss_and_reaches_the_adapter(
    verbalizer: Verbalizer, world: World, scorer: ClauseScorer, tokens: dict[str, int]
) -> None:
    batch = _batch(world, tokens, world.identity_line)
    trainer = _trainer(verbalizer, world, scorer, HIDING)
    loss, usual = trainer.loss(batch).detach(), Trainer.loss(trainer, batch).detach()
    assert float(loss) == pytest.approx(float(usual) + 2.0 * trainer.excess[-1], rel=1e-5)
    off = Hiding(coefficient=0.0, margin=2.0, places=12, strengths=(1.0,))
    control = _trainer(verbalizer, world, scorer, off)
    assert float(control.loss(batch).detach()) == pytest.approx(float(usual))
    assert control.excess == []
