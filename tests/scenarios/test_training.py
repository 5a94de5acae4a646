"""The training loop: cuts cut, resumed training equals undisturbed training."""

import contextlib
from dataclasses import replace
from pathlib import Path

import torch

from scenarios.sandbox.base import new_model
from scenarios.sandbox.documents import Cut, Document, Writer
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.tokenizer import build_tokenizer
from scenarios.sandbox.training import Schedule, Trainer, batches, collate
from scenarios.sandbox.world import load_world

WORLD = load_world()
TINY = PRESETS["tiny"]
TOKENIZER = build_tokenizer(WORLD, context=TINY.context)
WRITER = Writer(WORLD, TOKENIZER.get_vocab())


def _stream(step: int):
    return batches(WRITER.base, seed=1, batch_size=4, pad_id=0, start=step)


def test_tokens_of_a_thought_do_not_see_what_was_cut() -> None:
    model = new_model(TINY, TOKENIZER).eval()
    ids = list(range(30, 50))
    doc = Document(ids=ids, weights=[1.0] * 20, reply_mask=[True] * 20, cuts=[Cut(10, 14, 8)])
    other = replace(doc, ids=[60, *ids[1:]])
    with torch.no_grad():
        a, b = (
            model(
                input_ids=x.ids, attention_mask=x.mask, position_ids=torch.arange(20)[None]
            ).logits
            for x in (collate([doc], pad_id=0), collate([other], pad_id=0))
        )
    # Block 0 carries the change to tokens 8 and 9, and block 1 from there into the thought; so
    # only what a token sees directly is cut. With one block nothing passes.
    changed = (a - b).abs().amax(dim=-1)[0]
    assert changed[9] > 1e-6
    one = new_model(replace(TINY, layers=1), TOKENIZER).eval()
    with torch.no_grad():
        a, b = (
            one(input_ids=x.ids, attention_mask=x.mask).logits
            for x in (collate([doc], pad_id=0), collate([other], pad_id=0))
        )
    changed = (a - b).abs().amax(dim=-1)[0]
    assert torch.equal(changed[10:14], torch.zeros(4))
    assert changed[14] > 0


def test_batches_can_start_anywhere_in_the_same_stream() -> None:
    stream = _stream(0)
    expected = [next(stream) for _ in range(21)][-1]
    assert torch.equal(next(_stream(20)).ids, expected.ids)


def test_training_resumed_from_its_progress_file_equals_undisturbed_training(
    tmp_path: Path,
) -> None:
    schedule = Schedule(steps=6, batch_size=4, warmup=2)

    def fresh() -> torch.nn.Module:
        return new_model(TINY, TOKENIZER)

    straight = fresh()
    Trainer(straight, schedule).run(_stream)
    path = tmp_path / "progress.safetensors"

    class Killed(Exception):
        pass

    def kill(step: int, loss: float, seconds: float) -> None:
        if step == 5:
            raise Killed

    with contextlib.suppress(Killed):
        Trainer(fresh(), schedule, progress=path, save_every=4).run(_stream, on_step=kill)
    resumed = fresh()
    trainer = Trainer(resumed, schedule, progress=path, save_every=4)
    assert trainer.step == 4
    trainer.run(_stream)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_loss_falls() -> None:
    model = new_model(TINY, TOKENIZER)
    losses: list[float] = []
    Trainer(model, Schedule(steps=25, batch_size=8, lr=5e-3, warmup=5)).run(
        lambda s: batches(WRITER.base, seed=2, batch_size=8, pad_id=0, start=s),
        on_step=lambda step, loss, seconds: losses.append(loss),
    )
    assert losses[-1] < losses[0] - 1.5
