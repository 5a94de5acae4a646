"""Targets and readers whose requests are merged, beside the same ones alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.scenario.schema import Model, ReaderSpec
from auditor.target.batched import BatchedTarget, BatchingPool
from auditor.target.batching import BatchQueue
from auditor.target.pool import TargetPool
from nla_core.sampling import Sampling
from tools.protocols import ChatMessage, Prompt, Steering, ToolError

SAMPLING = Sampling(temperature=1.0, max_tokens=12)
SANDBOX = Path(__file__).parents[3] / "scenarios" / "sandbox" / "weights"


def prompt(text: str) -> Prompt:
    return Prompt((ChatMessage("user", text),))


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all calls at once, each in a thread of its own."""
    start = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        start.wait(20)
        return one()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


@pytest.fixture
def queue() -> BatchQueue:
    return BatchQueue(window=0.1)


def test_merged_requests_give_what_each_gives_alone(
    target_of: Callable[..., Any], queue: BatchQueue
) -> None:
    inner = target_of("chatml")
    target = BatchedTarget(inner, queue, name="t", max_rows=64)
    texts = [f"{'word ' * n}number {n}" for n in range(6)]
    steering = Steering(layer=0, vector=torch.ones(32), strength=2.0)

    def asks(model: Any) -> list[Callable[[], Any]]:
        return [
            *(
                lambda n=n, t=t: model.chat(
                    [prompt(t)] * 2, sampling=SAMPLING, seeds=[n, n + 100]
                )
                for n, t in enumerate(texts)
            ),
            *(
                lambda n=n, t=t: model.complete([t], sampling=SAMPLING, seeds=[n])
                for n, t in enumerate(texts)
            ),
            *(
                lambda n=n, t=t: model.sample_user(
                    [[ChatMessage("system", t)]], sampling=SAMPLING, seeds=[n]
                )
                for n, t in enumerate(texts)
            ),
            *(
                lambda n=n, t=t: model.steered_chat(
                    [prompt(t)], [[steering]], sampling=SAMPLING, seeds=[n]
                )
                for n, t in enumerate(texts[:2])
            ),
        ]  # fmt: skip

    merged = together(asks(target))
    assert merged == [ask() for ask in asks(inner)]
    assert queue.counts.batches < queue.counts.requests


def test_merged_activations_and_logprobs_are_each_ones_own(
    target_of: Callable[..., Any], queue: BatchQueue
) -> None:
    inner = target_of("chatml")
    target = BatchedTarget(inner, queue, name="t", max_rows=64)
    texts = ["short", "somewhat longer", "the longest of the three texts"]
    streams = inner.activations(texts, layer=1)
    found = together(
        [lambda t=t: target.activations([t], layer=1) for t in texts]
        + [lambda t=t: target.activations([t], layer=1, positions=[[-1]]) for t in texts]
        + [lambda t=t: target.token_logprobs([t]) for t in texts]
        + [lambda t=t: target.next_token_logprobs([prompt(t)], top=3) for t in texts]
        + [lambda s=s: target.unembed(s) for s in streams]
    )  # fmt: skip
    assert target.depth == inner.depth
    for n, text in enumerate(texts):
        torch.testing.assert_close(found[12 + n], inner.unembed(streams[n]))
        torch.testing.assert_close(found[n], inner.activations([text], layer=1))
        torch.testing.assert_close(found[3 + n][0], found[n][0][-1:])
        torch.testing.assert_close(found[6 + n], inner.token_logprobs([text]))
        expected = inner.next_token_logprobs([prompt(text)], top=3)
        assert [c.token_id for c in found[9 + n][0]] == [c.token_id for c in expected[0]]


def test_a_prompt_that_is_too_long_spoils_nobody_elses_batch(
    target_of: Callable[..., Any], queue: BatchQueue
) -> None:
    target = BatchedTarget(target_of("chatml"), queue, name="t", max_rows=64)

    def ask(text: str) -> Any:
        try:
            return target.chat([prompt(text)], sampling=SAMPLING, seeds=[1])
        except ToolError as error:
            return str(error)

    good, bad, other = together(
        [lambda: ask("good"), lambda: ask("x" * 400), lambda: ask("other")]
    )  # fmt: skip
    assert "shorten it" in bad
    assert [len(good), len(other)] == [1, 1]
    assert good == target.chat([prompt("good")], sampling=SAMPLING, seeds=[1])


def test_other_sampling_settings_are_other_batches(
    target_of: Callable[..., Any], queue: BatchQueue
) -> None:
    target = BatchedTarget(target_of("chatml"), queue, name="t", max_rows=64)
    long, short = together(
        [
            lambda: target.complete(["a"], sampling=SAMPLING, seeds=[1]),
            lambda: target.complete(["a"], sampling=Sampling(max_tokens=2), seeds=[1]),
        ]
    )
    assert short[0].n_tokens <= 2
    assert long[0].text.startswith(short[0].text)
    assert queue.counts.batches == 2


def test_a_wrong_number_of_seeds_is_told_at_once(
    target_of: Callable[..., Any], queue: BatchQueue
) -> None:
    target = BatchedTarget(target_of("chatml"), queue, name="t", max_rows=64)
    with pytest.raises(ValueError, match="need as many seeds"):
        target.chat([prompt("a")], sampling=SAMPLING, seeds=[])
    with pytest.raises(ToolError, match="need as many steerings"):
        target.steered_chat([prompt("a")], [], sampling=SAMPLING, seeds=[1])


def test_a_pool_merges_over_targets_of_one_model_and_keeps_adapters_apart(folders: Path) -> None:
    base = Model(path=str(folders / "base"), device="cpu")
    one = base.model_copy(update={"adapter": str(folders / "one")})
    plain, pool = TargetPool(), BatchingPool()
    models = [base, one, base, one]

    def asks(get: Callable[[Model], Any]) -> list[Callable[[], Any]]:
        return [
            lambda n=n, m=m: get(m).chat([prompt("hello there")], sampling=SAMPLING, seeds=[n])
            for n, m in enumerate(models)
        ]

    assert together(asks(pool.get)) == [ask() for ask in asks(plain.get)]
    pool.close()


def test_merged_readings_are_those_of_each_reader_alone() -> None:
    spec = ReaderSpec(av=str(SANDBOX / "nla/av"), ar=str(SANDBOX / "nla/ar"), max_tokens=20)
    alone, pool = TargetPool().reader(spec), BatchingPool()
    merged = pool.reader(spec)
    [layer] = alone.layers
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(n, 128, generator=generator) for n in (3, 1, 2, 4)]

    def asks(reader: Any) -> list[Callable[[], Any]]:
        return [
            lambda n=n, rows=rows: reader.read(
                rows,
                layer=layer,
                samples=2,
                temperature=1.0,
                seeds=[10 * n + i for i in range(len(rows))],
                contexts=["the text"] * len(rows),
            )
            for n, rows in enumerate(inputs)
        ]

    for got, expected in zip(together(asks(merged)), [ask() for ask in asks(alone)], strict=True):
        assert [r.explanation for r in got] == [r.explanation for r in expected]
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.verdict == theirs.verdict
            assert (ours.fidelity.score is None) == (theirs.fidelity.score is None)
            if ours.fidelity.score is not None and theirs.fidelity.score is not None:
                assert ours.fidelity.score.cosine == pytest.approx(
                    theirs.fidelity.score.cosine, abs=1e-4
                )
    [counts] = pool.counts.values()
    assert counts.batches < counts.requests
    pool.close()
