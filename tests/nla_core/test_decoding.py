import random
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from nla_core.decoding import PromptTooLongError, generate, next_token_logprobs
from nla_core.sampling import Generation, Sampling

GREEDY = Sampling(temperature=0, max_tokens=12)
STOP_IDS = frozenset({2})


def spell(ids: Sequence[int]) -> str:
    return "".join(f"<{i}>" for i in ids)


def prompts_of(lengths: Sequence[int], *, prefix: int = 0, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    shared = [rng.randrange(3, 199) for _ in range(prefix)]
    return [shared + [rng.randrange(3, 199) for _ in range(n)] for n in lengths]


def run(model: nn.Module, prompts: Sequence[object], sampling: Sampling, **options: object):
    options.setdefault("seeds", list(range(len(prompts))))
    options.setdefault("stop_ids", STOP_IDS)
    return generate(model, prompts, sampling=sampling, decode=spell, **options)


def reference(model: nn.Module, prompt: list[int], n: int) -> tuple[int, ...]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=n,
            eos_token_id=2,
            pad_token_id=0,
        )
    new = out[0, len(prompt) :].tolist()
    return tuple(new[: new.index(2)] if 2 in new else new)


BATCHES = {
    "different lengths": prompts_of([1, 5, 11, 23, 4, 11]),
    "one row": prompts_of([9]),
    "equal lengths": prompts_of([7] * 4),
    "a long shared prefix": prompts_of([1, 6, 3, 17, 2, 9], prefix=40),
    "a shared prefix and equal lengths": prompts_of([5] * 5, prefix=30),
    "repeated prompts": prompts_of([8, 3], prefix=33) * 4,
    "one prompt repeated": prompts_of([20]) * 6,
    "one prompt begins another": [prompts_of([60])[0][:n] for n in (60, 35, 41, 60)],
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_greedy_text_equals_transformers_generate(model, batch):
    got = run(model, batch, GREEDY)
    assert [g.token_ids for g in got] == [reference(model, p, 12) for p in batch]


def test_log_probabilities_equal_a_plain_forward_pass(model):
    batch = BATCHES["a long shared prefix"]
    got = next_token_logprobs(model, batch, batch_size=4)
    assert got.dtype == torch.float32
    for row, prompt in zip(got, batch, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)


def test_a_sample_depends_on_its_prompt_and_seed_alone(model):
    batch = prompts_of([3, 9, 14, 9, 3, 21, 2], prefix=12) + prompts_of([5] * 5, seed=4) * 2
    seeds = [100 + i for i in range(len(batch))]
    sampling = Sampling(temperature=1.0, top_p=0.9, max_tokens=15)
    together = run(model, batch, sampling, seeds=seeds)
    alone = [run(model, [p], sampling, seeds=[s])[0] for p, s in zip(batch, seeds, strict=True)]
    shuffled = random.Random(1).sample(range(len(batch)), len(batch))
    moved = run(
        model, [batch[i] for i in shuffled], sampling, seeds=[seeds[i] for i in shuffled],
        batch_size=5,
    )  # fmt: skip
    assert together == alone
    assert [together[i] for i in shuffled] == moved


def test_equal_prompts_with_different_seeds_differ_and_with_equal_seeds_do_not(llama):
    got = run(llama, prompts_of([6]) * 8, Sampling(max_tokens=10), seeds=[1, 2, 3, 4, 1, 2, 3, 4])
    assert got[:4] == got[4:]
    assert len({g.token_ids for g in got}) == 4


def test_embeddings_give_what_their_token_ids_give(model):
    batch = BATCHES["a long shared prefix"] + BATCHES["different lengths"]
    table = model.get_input_embeddings()
    with torch.no_grad():
        embedded = [table(torch.tensor(p)) for p in batch]
    for sampling in (GREEDY, Sampling(max_tokens=12)):
        assert run(model, embedded, sampling) == run(model, batch, sampling)


def test_an_embedding_given_twice_is_sampled_with_each_seed(llama):
    with torch.no_grad():
        row = llama.get_input_embeddings()(torch.tensor(prompts_of([9])[0]))
    twice = run(llama, [row, row, row.clone()], Sampling(max_tokens=10), seeds=[5, 6, 6])
    assert twice[0] != twice[1] == twice[2]


def test_sampled_frequencies_follow_the_model(llama):
    prompt = prompts_of([6])[0]
    for temperature, top_p in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.6)):
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=1)
        n = 4000
        got = run(llama, [prompt] * n, sampling, seeds=range(n), stop_ids=frozenset(), batch_size=n)
        counts = torch.zeros(199)
        for g in got:
            counts[g.token_ids[0]] += 1
        with torch.no_grad():
            logits = llama(torch.tensor([prompt])).logits[0, -1]
        probs = (logits / temperature).softmax(-1)
        ranked, order = probs.sort(descending=True)
        kept = order[(ranked.cumsum(0) - ranked) < top_p]
        expected = torch.zeros(199)
        expected[kept] = probs[kept] / probs[kept].sum()
        assert counts[expected == 0].sum() == 0
        distance = (counts / n - expected).abs().sum() / 2
        assert distance < 0.1


def test_a_stop_token_ends_a_row_and_is_left_out(llama):
    prompt = prompts_of([6])[0]
    free = run(llama, [prompt], GREEDY, stop_ids=frozenset())[0]
    assert free.finish == "length"
    assert len(free.token_ids) == 12
    position = next(i for i, t in enumerate(free.token_ids) if i > 2)
    token = free.token_ids[position]
    first = free.token_ids.index(token)
    stopped = run(llama, [prompt], GREEDY, stop_ids=frozenset({token}))[0]
    assert stopped == Generation(spell(free.token_ids[:first]), free.token_ids[:first], "stop")


def test_a_row_may_be_empty(llama):
    prompt = prompts_of([6])[0]
    first = run(llama, [prompt], GREEDY)[0].token_ids[0]
    got = run(llama, [prompt], GREEDY, stop_ids=frozenset({first}))
    assert got == [Generation("", (), "stop")]


def test_text_is_cut_before_the_first_stop_string(model):
    batch = prompts_of([6, 9])
    free = run(model, batch, GREEDY, stop_ids=frozenset())
    ids = free[0].token_ids
    late, early = f"{ids[6]}>", f"{ids[4]}><{ids[5]}"
    sampling = Sampling(temperature=0, max_tokens=12, stop=(late, early))
    got = run(model, batch, sampling, stop_ids=frozenset())[0]
    text = free[0].text
    assert got.text == text[: min(text.find(late), text.find(early))]
    assert got.finish == "stop"
    assert spell(got.token_ids).startswith(got.text)
    assert not spell(got.token_ids[:-1]).startswith(got.text)


def test_a_stop_string_across_silent_tokens_is_still_cut(llama):
    prompt = prompts_of([6])[0]
    free = run(llama, [prompt], GREEDY, stop_ids=frozenset())[0].token_ids
    loud = {free[0], free[11]}

    def mostly_silent(ids: Sequence[int]) -> str:
        return "".join(f"<{i}>" for i in ids if i in loud)

    stop = mostly_silent([free[11]])
    got = generate(
        llama,
        [prompt],
        sampling=Sampling(temperature=0, max_tokens=12, stop=(stop,)),
        seeds=[0],
        decode=mostly_silent,
    )[0]
    assert stop not in got.text
    assert got.finish == "stop"


def test_finished_rows_leave_the_batch(llama):
    batch = prompts_of([6, 8, 10, 12, 14])
    free = run(llama, batch, GREEDY, stop_ids=frozenset())
    early = frozenset(g.token_ids[2] for g in free[:4]) - set(free[4].token_ids)
    sizes: list[int] = []
    hook = llama.register_forward_pre_hook(
        lambda _m, _a, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        got = run(llama, batch, GREEDY, stop_ids=early)
    finally:
        hook.remove()
    assert sizes[0] == 5
    assert sizes[-1] < 5
    assert got[4] == free[4]


def test_rows_that_end_at_different_steps_are_what_they_are_alone(model):
    batch = prompts_of([3, 9, 14, 5] * 10, prefix=12, seed=2)
    ends = frozenset(range(0, 199, 8))
    sampling = Sampling(max_tokens=40)
    together = run(model, batch, sampling, stop_ids=ends)
    alone = [run(model, [p], sampling, seeds=[s], stop_ids=ends)[0] for s, p in enumerate(batch)]
    assert together == alone
    assert len({len(g.token_ids) for g in together}) > 5


def test_a_shared_prefix_is_computed_once(llama):
    batch = prompts_of([2] * 8, prefix=40)
    positions = 0

    def count(_module, _args, kwargs):
        nonlocal positions
        positions += kwargs["input_ids"].numel()

    hook = llama.register_forward_pre_hook(count, with_kwargs=True)
    try:
        next_token_logprobs(llama, batch)
    finally:
        hook.remove()
    assert positions == 40 + 8 * 2


def test_no_prompts_give_no_text(llama):
    assert run(llama, [], GREEDY) == []
    assert next_token_logprobs(llama, []).shape == (0, 199)


def test_a_prompt_without_room_in_the_context_is_refused(llama):
    with pytest.raises(PromptTooLongError, match=r"prompt 1 has 96 tokens.* 96"):
        run(llama, prompts_of([5, 96]), GREEDY)
    with pytest.raises(ValueError, match="prompt 0 has 120 tokens"):
        next_token_logprobs(llama, prompts_of([120]))


def test_a_row_ends_where_the_context_does(model):
    batch = prompts_of([93, 5])
    got = run(model, batch, GREEDY, stop_ids=frozenset())
    assert [(len(g.token_ids), g.finish) for g in got] == [(3, "length"), (12, "length")]


def test_an_empty_prompt_is_refused(llama):
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        run(llama, [[5], []], GREEDY)


def test_each_prompt_needs_a_seed(llama):
    with pytest.raises(ValueError, match="2 prompts need as many seeds, got 1"):
        run(llama, [[5], [6]], GREEDY, seeds=[1])


def test_an_empty_stop_string_is_refused(llama):
    with pytest.raises(ValueError, match="must not be empty"):
        run(llama, [[5]], Sampling(stop=("",)))


def test_logits_that_are_not_numbers_are_reported(llama):
    hook = llama.lm_head.register_forward_hook(lambda _m, _i, out: out * float("nan"))
    try:
        with pytest.raises(ValueError, match="not numbers"):
            run(llama, [[5]], Sampling())
    finally:
        hook.remove()


def test_a_training_model_is_sampled_without_dropout_and_left_training(llama):
    before = run(llama, prompts_of([6]), GREEDY)
    llama.train()
    try:
        assert run(llama, prompts_of([6]), GREEDY) == before
        assert llama.training
    finally:
        llama.eval()
