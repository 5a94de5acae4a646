import random

import pytest
import torch

from nla_core import logprobs
from nla_core.decoding import PromptTooLongError
from nla_core.logprobs import token_logprobs

RNG = random.Random(3)
TEXTS = [[RNG.randrange(3, 199) for _ in range(n)] for n in (5, 17, 1, 40, 17)]


def test_every_token_gets_what_a_plain_forward_pass_gives(model):
    for text, got in zip(TEXTS, token_logprobs(model, TEXTS, batch_size=3), strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([text])).logits[0].log_softmax(-1)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_texts_run_together_only_while_their_logits_fit(llama, monkeypatch):
    expected = token_logprobs(llama, TEXTS)
    monkeypatch.setattr(logprobs, "_MAX_LOGITS", 2 * 17 * 199)
    shapes = []
    hook = llama.register_forward_pre_hook(
        lambda _m, _a, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        got = token_logprobs(llama, TEXTS)
    finally:
        hook.remove()
    assert shapes == [(2, 5), (2, 17), (1, 40)]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_result_holds_no_more_than_its_own_text(llama):
    for text, got in zip(TEXTS, token_logprobs(llama, TEXTS), strict=True):
        assert got.untyped_storage().nbytes() == 4 * 199 * len(text)


def test_texts_that_cannot_be_run_are_refused(llama):
    assert token_logprobs(llama, []) == []
    with pytest.raises(ValueError, match="is empty"):
        token_logprobs(llama, [[3], []])
    with pytest.raises(PromptTooLongError, match="shorten it"):
        token_logprobs(llama, [[3] * 96])
