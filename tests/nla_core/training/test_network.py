"""The verbalizer as a module to train, against a loop over plain Transformers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from nla_core.affine import identity_affine
from nla_core.backends.transformers_backend import TransformersBackend
from nla_core.sampling import Sampling
from nla_core.training.network import InjectedModel, collate, response_ids
from nla_core.training.reinforce import turn_end
from nla_core.verbalizer import Verbalizer

CPU = torch.device("cpu")
FAMILIES = ["llama", "qwen2", "gemma3", "sandbox"]


@pytest.fixture
def vectors() -> torch.Tensor:
    return 40 * torch.randn(3, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=FAMILIES)
def pair(request: pytest.FixtureRequest, build_pair: Callable[[str], Any]) -> Any:
    return build_pair(request.param)


def by_hand(pair: Any, vector: torch.Tensor, response: list[int]) -> torch.Tensor:
    """Embed, replace the marker's row, run, and pick each token's log-probability."""
    model = AutoModelForCausalLM.from_pretrained(pair.av).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(pair.av)
    verbalizer = Verbalizer.load(pair.av)
    marker = verbalizer.sidecar.tokens.injection_char
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": verbalizer.sidecar.av_template.format(injection_char=marker)}],
        tokenize=False,
        add_generation_prompt=True,
    )
    prompt = tokenizer.encode(text, add_special_tokens=False)
    (site,) = [i for i, token in enumerate(prompt) if token == tokenizer.convert_tokens_to_ids(marker)]  # fmt: skip
    embedded = model.get_input_embeddings()(torch.tensor([prompt + response]))
    embedded[0, site] = vector / vector.norm() * pair.scale
    logprobs = model(inputs_embeds=embedded).logits[0].log_softmax(-1)
    at = range(len(prompt) - 1, len(prompt) + len(response) - 1)
    return torch.stack([logprobs[i, token] for i, token in zip(at, response, strict=True)])


def test_log_probabilities_are_those_of_a_plain_loop_whatever_the_padding(
    pair: Any, vectors: torch.Tensor
) -> None:
    responses = [[9, 12, 7, 30, 8], [11], [13, 9, 10]]
    verbalizer = Verbalizer.load(pair.av)
    found = InjectedModel(verbalizer).eval()(vectors, collate(responses, CPU)).detach()
    assert found.dtype == torch.float32
    for row, response in enumerate(responses):
        expected = by_hand(pair, vectors[row], response).detach()
        assert torch.allclose(found[row, : len(response)], expected, atol=1e-5)
        assert not found[row, len(response) :].any()


@pytest.mark.parametrize("affine", [False, True])
def test_the_sampler_draws_from_the_same_distribution(
    affine: bool, pair: Any, vectors: torch.Tensor
) -> None:
    verbalizer = Verbalizer.load(pair.av)
    if affine:
        verbalizer.affine = identity_affine(32)
        with torch.no_grad():
            verbalizer.affine.weight.mul_(-1)
            verbalizer.affine.bias.fill_(0.5)
    drawn = TransformersBackend(verbalizer.model, verbalizer.tokenizer).continue_embeddings(
        list(verbalizer.prompts(vectors).detach()),
        sampling=Sampling(temperature=0, max_tokens=6),
        seeds=[0, 1, 2],
    )
    rows = [list(g.token_ids) for g in drawn]
    texts = collate(rows, CPU)
    network = InjectedModel(verbalizer).eval()
    with torch.no_grad():
        logits, logprobs = network.logits(vectors, texts), network(vectors, texts)
    assert logits.argmax(-1).tolist() == rows
    assert torch.allclose(logprobs, logits.log_softmax(-1).amax(-1), atol=1e-5)


def test_every_weight_and_nothing_of_the_marker_learns(
    build_pair: Callable[[str], Any], vectors: torch.Tensor
) -> None:
    verbalizer = Verbalizer.load(build_pair("llama").av)
    network = InjectedModel(verbalizer)
    network(vectors, collate([[9, 12]] * 3, CPU)).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert all(g is not None and bool(g.any()) for g in gradients.values())
    embedding: Any = gradients["model.model.embed_tokens.weight"]
    # The vector stands in the marker's place, so its embedding is not read.
    assert not embedding[verbalizer.sidecar.tokens.injection_token_id].any()


def test_empty_responses_can_be_collated() -> None:
    texts = collate([[], []], CPU)
    assert texts.ids.shape == (2, 0)
    assert texts.ids.dtype == torch.long
    texts = collate([[], [4, 5]], CPU)
    assert texts.mask.tolist() == [[False, False], [True, True]]


def test_an_empty_response_has_no_log_probability(
    build_pair: Callable[[str], Any], vectors: torch.Tensor
) -> None:
    network = InjectedModel(Verbalizer.load(build_pair("llama").av))
    assert network(vectors[:1], collate([[]], CPU)).shape == (1, 0)


@pytest.mark.parametrize(
    ("family", "end"),
    [("qwen2", "<|im_end|>"), ("llama", "<|eot_id|>"), ("gemma3", "<end_of_turn>"), ("sandbox", "<|end|>")],
)  # fmt: skip
def test_responses_end_with_the_templates_own_stop_token(
    family: str, end: str, build_pair: Callable[[str], Any]
) -> None:
    verbalizer = Verbalizer.load(build_pair(family).av)
    tokenizer = verbalizer.tokenizer
    expected = tokenizer.convert_tokens_to_ids(end)
    message = verbalizer.sidecar.av_template.format(injection_char="x")
    ids = response_ids(tokenizer, message, "the cat", verbalizer.stop_ids)
    plain = tokenizer.encode("the cat", add_special_tokens=False)
    assert ids == [*plain, expected]
    # The reinforcement must score the token that was drawn, of several that may stop a text.
    assert turn_end(verbalizer) == expected
    if family == "gemma3":
        assert min(verbalizer.stop_ids) != expected


def test_a_template_that_rewrites_the_prompt_is_refused(build_pair: Callable[[str], Any]) -> None:
    verbalizer = Verbalizer.load(build_pair("llama").av)
    tokenizer = verbalizer.tokenizer
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"  # fmt: skip
    with pytest.raises(ValueError, match="template changes the prompt"):
        response_ids(tokenizer, "the cat", "the dog", verbalizer.stop_ids)
