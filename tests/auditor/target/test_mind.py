from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.target import ChatTemplate, HFTarget
from nla_core import decoding
from nla_core.sampling import Sampling
from tools.protocols import ChatMessage, Mind, Prompt, Steering, ToolError

GREEDY = Sampling(temperature=0, max_tokens=8)
EOS, EOT = 2, 7


def ask(text: str, prefill: str = "") -> Prompt:
    return Prompt((ChatMessage("user", text),), prefill)


def steering(seed: int, *, layer: int = 0, where: Any = "all", strength: float = 1.0) -> Steering:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return Steering(layer, vector, strength, where)


def by_hand(model: Any, prompt: list[int], steerings: Sequence[Steering], n: int) -> list[int]:
    """Greedy decoding that runs the whole text again for every token, without a cache."""
    ids = list(prompt)
    handles = []
    for change in steerings:

        def hook(_module: Any, _inputs: Any, states: torch.Tensor, change: Steering = change):
            first = len(prompt) if change.where == "reply" else 0
            end = len(prompt) if change.where == "prompt" else states.shape[1]
            changed = states.clone()
            changed[:, first:end] += change.strength * change.vector
            return changed

        handles.append(model.model.layers[change.layer].register_forward_hook(hook))
    try:
        while len(ids) < len(prompt) + n:
            with torch.no_grad():
                token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token in (EOS, EOT):
                break
            ids.append(token)
    finally:
        for handle in handles:
            handle.remove()
    return ids[len(prompt) :]


def hooks_of(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_target_in_this_process_is_a_mind(target_of):
    assert isinstance(target_of("chatml"), Mind)


def test_each_prompt_is_steered_by_its_own_vectors(target_of, llama, tokenizer_of):
    target, tokenizer = target_of("llama3"), tokenizer_of("llama3")
    one = steering(1, where="prompt")
    steerings = [
        [one],
        [],
        [steering(2, layer=1, where="reply", strength=3)],
        [one],
        [steering(3), steering(4, layer=1, where="prompt", strength=-2)],
        [steering(2, where="reply", strength=3)],
        [steering(1, where="prompt")],
    ]
    texts = ["Hi", "Why?", "What is it that you want?", "x" * 30, "Hi", "Go on", "Hi"]
    prompts = [ask(text, "Well, " if i % 2 else "") for i, text in enumerate(texts)]
    replies = target.steered_chat(prompts, steerings, sampling=GREEDY, seeds=range(7))
    rows = target.token_ids(prompts)
    expected = [by_hand(llama, row, s, 8) for row, s in zip(rows, steerings, strict=True)]
    assert [r.text for r in replies] == [tokenizer.decode(ids) for ids in expected]
    assert [r.n_tokens for r in replies] == [len(ids) for ids in expected]
    assert [r.prefill for r in replies] == [p.prefill for p in prompts]
    plain = target.chat(prompts, sampling=GREEDY, seeds=range(7))
    differs = [a.text != b.text for a, b in zip(plain, replies, strict=True)]
    assert [i for i, d in enumerate(differs) if not d] == [1]


def test_prompts_of_equal_steerings_run_together(target_of, monkeypatch):
    sizes = []
    generate = decoding.generate

    def counting(model: Any, rows: Sequence[Any], **options: Any) -> Any:
        sizes.append(len(rows))
        return generate(model, rows, **options)

    monkeypatch.setattr(decoding, "generate", counting)
    rows = [[steering(1)], [steering(2)], [steering(1)], [], [steering(1, strength=0)]]
    target_of("chatml").steered_chat(
        [ask(c) for c in "abcde"], rows, sampling=Sampling(max_tokens=1), seeds=range(5)
    )
    assert sizes == [2, 1, 2]


@pytest.mark.parametrize("rows", [[], [steering(1, strength=0), steering(2, layer=1, strength=0)]])
def test_steerings_that_change_nothing_give_what_chat_gives(target_of, rows):
    target = target_of("llama3")
    prompts = [ask("x" * n, "So" if n == 9 else "") for n in (3, 9, 3, 20)]
    sampling = Sampling(max_tokens=12)
    got = target.steered_chat(prompts, [rows] * 4, sampling=sampling, seeds=[1, 2, 3, 4])
    assert got == target.chat(prompts, sampling=sampling, seeds=[1, 2, 3, 4])


def test_seeds_decide_the_steered_sample_and_batch_mates_do_not(target_of):
    target = target_of("llama3")
    prompts = [ask("A long beginning that all of them share. " + "x" * n) for n in (3, 9, 3, 20)]
    rows = [[steering(1)], [steering(1)], [], [steering(2)]]
    sampling, seeds = Sampling(max_tokens=10), [1, 2, 3, 4]
    together = target.steered_chat(prompts, rows, sampling=sampling, seeds=seeds)
    alone = [
        target.steered_chat([p], [row], sampling=sampling, seeds=[seed])[0]
        for p, row, seed in zip(prompts, rows, seeds, strict=True)
    ]
    assert together == alone
    assert together != target.chat(prompts, sampling=sampling, seeds=seeds)
    assert together[2] == target.chat(prompts, sampling=sampling, seeds=seeds)[2]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Steering(9, torch.ones(32)), "layer 9 does not exist; the model has layers 0 to 1"),
        (Steering(0, torch.ones(31)), r"has shape \[32\], got \[31\]"),
        (steering(1, strength=float("inf")), "not finite"),
        (steering(1, where="header"), "where must be one of prompt, reply, all"),
    ],
)
def test_a_wrong_steering_is_told_to_the_auditor_before_anything_runs(
    target_of, llama, bad, message
):
    ran = []
    handle = llama.register_forward_pre_hook(lambda _m, _a: ran.append(1))
    target = target_of("chatml")
    before = hooks_of(llama)
    try:
        with pytest.raises(ToolError, match=message) as told:
            target.steered_chat([ask("a"), ask("b")], [[], [bad]], sampling=GREEDY, seeds=[0, 1])
    finally:
        assert hooks_of(llama) == before
        handle.remove()
    assert "\n" not in str(told.value)
    assert not ran


def test_steerings_and_seeds_must_be_as_many_as_the_prompts(target_of):
    with pytest.raises(ToolError, match="2 prompts need as many steerings and seeds, got 1 and 2"):
        target_of("chatml").steered_chat([ask("a"), ask("b")], [[]], sampling=GREEDY, seeds=[0, 1])


def test_no_hook_stays_behind_a_failed_reply(target_of, llama):
    before = hooks_of(llama)
    with pytest.raises(ToolError, match="shorten it"):
        target_of("chatml").steered_chat(
            [ask("x" * 300)], [[steering(1)]], sampling=GREEDY, seeds=[0]
        )
    assert hooks_of(llama) == before


def test_log_probabilities_of_every_token_equal_a_plain_forward_pass(target_of, llama):
    target = target_of("llama3")
    inputs = [ask("Why?", "Because"), "Because", ask("Go on" * 9)]
    got = target.token_logprobs(inputs)
    for ids, found in zip(target.token_ids(inputs), got, strict=True):
        with torch.no_grad():
            expected = llama(torch.tensor([ids])).logits[0].log_softmax(-1)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ToolError, match="shorten it"):
        target.token_logprobs(["x" * 300])


def shown(target: HFTarget, tokenizer: Any, prompt: Prompt) -> list[tuple[str, str, str]]:
    """Role, header and content of each turn, as text."""
    (ids,), (turns,) = target.token_ids([prompt]), target.turns([prompt])
    return [
        (t.role, tokenizer.decode(ids[t.start : t.content_start]), tokenizer.decode(ids[t.content_start : t.end]))
        for t in turns
    ]  # fmt: skip


def test_turns_are_those_that_the_template_writes(target_of, tokenizer_of, family):
    talk = Prompt(
        (ChatMessage("user", "user"), ChatMessage("assistant", "so"), ChatMessage("user", "so")),
        prefill="I say",
    )
    start = {
        "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n",
        "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\n",
        "gemma": "<s><start_of_turn>user\n",
        "mistral": "<s>[INST] ",
        "plain": "User: ",
    }[family]
    before, closed, between, said, again, header = {
        "chatml": ("user", "<|im_end|>", "\n<|im_start|>assistant\n", "so<|im_end|>",
                   "\n<|im_start|>user\n", "\n<|im_start|>assistant\n"),
        "llama3": ("user", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n",
                   "so<|eot_id|>", "<|start_header_id|>user<|end_header_id|>\n\n",
                   "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        "gemma": ("user", "<end_of_turn>", "\n<start_of_turn>model\n", "so<end_of_turn>",
                  "\n<start_of_turn>user\n", "\n<start_of_turn>model\n"),
        "mistral": ("user", "", " [/INST] ", "so</s>", "[INST] ", " [/INST]"),
        "plain": ("user", "", "\nAssistant: ", "so", "\nUser: ", "\nAssistant:"),
    }[family]  # fmt: skip
    assert shown(target_of(family), tokenizer_of(family), talk) == [
        ("user", start, before + closed),
        ("assistant", between, said),
        ("user", again, "so" + closed),
        ("assistant", header, "I say"),
    ]


def test_system_texts_are_one_turn_or_part_of_the_users_header(target_of, tokenizer_of, family):
    system = (ChatMessage("system", "First."), ChatMessage("system", "Second."))
    prompt = Prompt((*system, ChatMessage("user", "Hi")))
    target = target_of(family, system_prompt="Own.")
    (role, header, content), *rest = shown(target, tokenizer_of(family), prompt)
    merged = "Own.\n\nFirst.\n\nSecond."
    if family == "gemma":
        assert role == "user"
        assert merged in header
        assert content == "Hi<end_of_turn>"
    else:
        assert role == "system"
        assert content.startswith(merged)
        assert [turn[0] for turn in rest] == ["user", "assistant"]
        assert rest[0][2].startswith("Hi")
    assert shown(target, tokenizer_of(family), prompt)[-1][2] == ""


def test_an_empty_content_is_a_turn_of_its_own(target_of, tokenizer_of):
    got = shown(target_of("llama3"), tokenizer_of("llama3"), ask(""))
    assert [(role, content) for role, _, content in got] == [
        ("user", "<|eot_id|>"),
        ("assistant", ""),
    ]


def test_a_closing_token_is_the_replys_header_where_there_is_no_other(llama, tokenizer_of):
    tokenizer = tokenizer_of("mistral")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "<|im_start|>{{ m.content }}<|im_end|>{% else %}{{ m.content }}{{ eos_token }}{% endif %}"
        "{% endfor %}"
    )
    target = HFTarget(tokenizer, ChatTemplate(tokenizer, "x"), lambda: nullcontext(llama))
    assert shown(target, tokenizer, ask("Hi")) == [
        ("user", "<s><|im_start|>", "Hi"),
        ("assistant", "<|im_end|>", ""),
    ]


def test_raw_text_has_no_turns_and_refused_turns_are_told(target_of):
    target = target_of("mistral")
    first, second = target.turns(["Once", ask("Hi")])
    assert first == ()
    assert [turn.role for turn in second] == ["user", "assistant"]
    twice = Prompt((ChatMessage("user", "a"), ChatMessage("user", "b")))
    with pytest.raises(ToolError, match="roles must alternate"):
        target.turns([twice])


CONTENT = st.one_of(
    st.sampled_from(["user", "assistant", "\n", " ", "", "<|im_end|>", "QzTurnContentZq", "é"]),
    st.text(alphabet="a us\nQé[/]", max_size=12),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(contents=st.lists(CONTENT, min_size=1, max_size=5), prefill=CONTENT)
def test_whatever_is_said_turns_follow_each_other_and_hold_it(
    target_of, tokenizer_of, family, contents, prefill
):
    roles = ["user", "assistant", "user", "assistant", "user"]
    contents = contents[: len(contents) - 1 | 1]  # the user speaks first and last
    talk = [ChatMessage(role, text) for role, text in zip(roles, contents, strict=False)]
    prompt, tokenizer = Prompt(tuple(talk), prefill), tokenizer_of(family)
    target = target_of(family)
    (ids,), (turns,) = target.token_ids([prompt]), target.turns([prompt])
    assert [t.role for t in turns] == [m.role for m in talk] + ["assistant"]
    assert turns[0].start == 0
    assert turns[-1].end == len(ids)
    assert [t.end for t in turns[:-1]] == [t.start for t in turns[1:]]
    for turn, text in zip(turns, [*contents, prefill], strict=True):
        assert text.strip() in tokenizer.decode(ids[turn.content_start : turn.end])
