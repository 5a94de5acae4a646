"""What goes over the wire, and what the verbalizer makes of what comes back."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.backends import Backend, BackendError, TransformersBackend
from nla_core.sampling import Generation, Sampling
from nla_core.seeds import derive_seed
from nla_core.verbalizer import Explanation, Verbalizer

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=8, stop=("</explanation>",))
Serve = Callable[..., Any]
Checkpoint = Callable[[str], Path]


def stands_for(backend: Backend) -> Backend:
    """Checked by the type checker: what is passed is a backend."""
    return backend


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt_neox"])
def test_the_server_gets_the_prompts_of_the_model_in_memory(
    kind: str, serve: Serve, checkpoint_of: Checkpoint, vectors: torch.Tensor, architecture: str
) -> None:
    folder = checkpoint_of(architecture)
    server = serve(kind)
    remote = Verbalizer.load_remote(folder, stands_for(server.backend(max_requests=1)))
    expected = Verbalizer.load(folder).prompts(vectors)
    torch.testing.assert_close(remote.prompts(vectors), expected, rtol=0, atol=1e-6)
    found = remote.explain(vectors, samples=2, batch_size=4)
    received = torch.stack(server.prompts)
    torch.testing.assert_close(received, expected.repeat_interleave(2, 0), rtol=0, atol=1e-6)
    assert [(e.vector, e.sample) for e in found] == [(i, s) for i in range(5) for s in range(2)]
    assert len({e.text for e in found}) == 10
    assert {(e.finish, e.n_tokens) for e in found} == {("stop", 3)}


def test_sampling_and_stop_ids_arrive_as_they_were_asked_for(
    kind: str, serve: Serve, checkpoint_of: Checkpoint, vectors: torch.Tensor
) -> None:
    server = serve(kind)
    remote = Verbalizer.load_remote(checkpoint_of("llama"), server.backend(max_requests=1))
    local = Verbalizer.load(checkpoint_of("llama"))
    assert remote.stop_ids == local.stop_ids
    assert 9 in remote.stop_ids
    remote.explain(vectors[:2], sampling=SAMPLING, seeds=[2**62, 7])
    sent = [body.get("sampling_params", body) for body in server.bodies]
    for fields, seed in zip(sent, [2**62, 7], strict=True):
        assert fields["temperature"] == 0.7
        assert fields["top_p"] == 0.9
        assert fields["stop"] == ["</explanation>"]
        assert fields["stop_token_ids"] == sorted(local.stop_ids)
        assert fields["skip_special_tokens"] is False
        assert (fields["top_k"], fields["min_p"], fields["repetition_penalty"]) == (-1, 0, 1)
        assert fields["max_tokens" if kind == "vllm" else "max_new_tokens"] == 8
        derived = derive_seed(seed, "sample", 0)
        if kind == "vllm":
            assert fields["seed"] == derived
        else:
            assert fields["sampling_seed"] == derived % 2**31


def test_a_prompt_is_sent_without_the_table_that_it_is_a_view_of(
    serve: Serve, prompts: list[torch.Tensor]
) -> None:
    server = serve("vllm")
    server.backend().continue_embeddings(prompts[:1], sampling=SAMPLING, seeds=[1])
    [size] = server.sizes
    assert size < 7 * 32 * 4 + 2000


def test_half_precision_prompts_are_sent_as_float32(kind: str, serve: Serve) -> None:
    server = serve(kind)
    prompt = torch.randn(3, 32).to(torch.bfloat16)
    server.backend().continue_embeddings([prompt], sampling=SAMPLING, seeds=[1])
    assert torch.equal(server.prompts[0], prompt.float())


def _set(kind: str, **changes: Any) -> Callable[[Any], Any]:
    """Change fields of a reply, called as vLLM calls them."""

    def edit(reply: Any) -> Any:
        if kind == "vllm":
            reply["choices"][0].update(changes)
            return reply
        wanted = {"finish_reason": "stop", "token_ids": reply["output_ids"], **changes}
        why, ids = wanted.pop("finish_reason"), wanted.pop("token_ids")
        meta = {"finish_reason": {"type": why} if why else None}
        return {**reply, "output_ids": ids, "meta_info": meta, **wanted}

    return edit


@pytest.fixture
def explain_one(
    kind: str, serve: Serve, checkpoint_of: Checkpoint, vectors: torch.Tensor
) -> Callable[..., Explanation]:
    def explain(**changes: Any) -> Explanation:
        server = serve(kind, edit=_set(kind, **changes))
        remote = Verbalizer.load_remote(checkpoint_of("llama"), server.backend())
        [found] = remote.explain(vectors[:1])
        return found

    return explain


def test_text_that_the_token_limit_cut_is_a_result_without_an_explanation(
    explain_one: Callable[..., Explanation],
) -> None:
    found = explain_one(text="<explanation>the first of", finish_reason="length", token_ids=[4, 9])
    assert (found.text, found.finish, found.n_tokens) == (None, "length", 2)
    assert found.raw_text == "<explanation>the first of"


def test_without_ids_from_the_server_the_verbalizers_tokenizer_counts(
    explain_one: Callable[..., Explanation], checkpoint_of: Checkpoint
) -> None:
    text = "<explanation>a</explanation>"
    tokenizer = Verbalizer.load(checkpoint_of("llama")).tokenizer
    expected = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    found = explain_one(text=text, token_ids=None)
    assert (found.text, found.n_tokens) == ("a", expected)
    assert 0 < expected < 200


def test_no_explanation_counts_more_tokens_than_were_allowed(
    explain_one: Callable[..., Explanation],
) -> None:
    assert explain_one(text="a b c " * 500, token_ids=None).n_tokens == 200


def test_an_empty_text_is_a_result_of_no_tokens(explain_one: Callable[..., Explanation]) -> None:
    found = explain_one(text="", token_ids=[9])
    assert (found.text, found.raw_text, found.n_tokens) == (None, "", 0)


@pytest.mark.parametrize("why", ["abort", "error", None])
def test_text_that_was_cut_off_otherwise_is_an_error(
    explain_one: Callable[..., Explanation], why: str | None
) -> None:
    with pytest.raises(BackendError, match=r"cut the text off \(finish reason .*\), 3 times"):
        explain_one(finish_reason=why)


@pytest.mark.parametrize("text", [None, 7, [], ["a", "b"], {"a": 1}])
def test_a_reply_without_text_is_an_error(
    explain_one: Callable[..., Explanation], text: Any
) -> None:
    with pytest.raises(BackendError, match="answered without text, 3 times; look at"):
        explain_one(text=text)


def test_sglang_may_put_text_and_ids_into_lists_of_one(
    serve: Serve, prompts: list[torch.Tensor]
) -> None:
    def wrap(reply: Any) -> Any:
        return {**reply, "text": [reply["text"]], "output_ids": [reply["output_ids"]]}

    results = [
        serve("sglang", **settings)
        .backend()
        .continue_embeddings(prompts[:2], sampling=SAMPLING, seeds=[1, 2])
        for settings in ({}, {"edit": wrap})
    ]
    assert results[0] == results[1]
    assert results[0][0].token_ids == (5, 6, 7)


def test_a_server_whose_cache_mixes_vectors_up_is_refused_at_load(
    serve: Serve, checkpoint_of: Checkpoint
) -> None:
    server = serve("sglang", radix_off=False)
    with pytest.raises(BackendError, match="radix cache on.*; start it with --disable-radix-cache"):
        Verbalizer.load_remote(checkpoint_of("llama"), server.backend())
    assert server.n_posts == 0


@pytest.mark.parametrize(
    "settings",
    [{"paths": ("/server_info",)}, {"paths": ("/get_server_info",)}, {"radix_off": None}],
)
def test_server_info_has_two_names(serve: Serve, settings: dict[str, Any]) -> None:
    serve("sglang", **settings).backend().check()


def test_a_server_of_another_kind_is_refused(kind: str, serve: Serve) -> None:
    with pytest.raises(BackendError, match="answered 404 .*is the address that of such a server"):
        serve(kind, paths=()).backend().check()


def test_a_model_that_vllm_does_not_serve_is_refused_with_those_it_does(serve: Serve) -> None:
    from nla_core.backends import VLLMBackend

    server = serve("vllm")
    with closing(VLLMBackend(f"{server.url}/v1/", "the-verbalizer")) as backend:
        backend.check()
    with (
        closing(VLLMBackend(server.url, "other")) as backend,
        pytest.raises(BackendError, match="does not serve other; it serves the-verbalizer$"),
    ):
        backend.check()


def test_explaining_through_the_transformers_backend_changes_nothing(
    checkpoint_of: Checkpoint, vectors: torch.Tensor
) -> None:
    from nla_core.decoding import generate

    sampling = Sampling(temperature=1, max_tokens=6)
    verbalizer = Verbalizer.load(checkpoint_of("gemma3"))
    table = list(verbalizer.prompts(vectors).unbind())
    expected = generate(
        verbalizer.model,
        [prompt for prompt in table for _ in range(2)],
        sampling=sampling,
        seeds=[
            derive_seed(derive_seed(0, "explain", i), "sample", s)
            for i in range(5)
            for s in range(2)
        ],
        decode=lambda ids: str(verbalizer.tokenizer.decode(list(ids))),
        stop_ids=verbalizer.stop_ids,
    )
    backend = TransformersBackend(verbalizer.model, verbalizer.tokenizer, batch_size=3)
    stands_for(backend).check()
    other = Verbalizer.load(checkpoint_of("gemma3"), backend=backend)
    found = verbalizer.explain(vectors, samples=2, sampling=sampling)
    assert found == other.explain(vectors, samples=2, sampling=sampling)
    assert [e.raw_text for e in found] == [g.text for g in expected]
    assert [e.n_tokens for e in found] == [len(g.token_ids) for g in expected]


def test_equal_vectors_are_given_to_a_backend_as_one_object(
    checkpoint_of: Checkpoint, vectors: torch.Tensor
) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.prompts: list[int] = []

        def continue_embeddings(self, prompts: Any, **_: Any) -> list[Generation]:
            self.prompts += [id(prompt) for prompt in prompts]
            return [Generation("", (), "stop") for _ in prompts]

        def check(self) -> None:
            """Nothing to check."""

    recorder = Recorder()
    remote = Verbalizer.load_remote(checkpoint_of("llama"), recorder)
    remote.explain(vectors[:2], samples=3)
    a, b = recorder.prompts[0], recorder.prompts[3]
    assert recorder.prompts == [a, a, a, b, b, b]
    assert a != b
