import pytest
import torch

from auditor.target import ChatTemplate, HFTarget
from nla_core.activations import capture
from nla_core.sampling import Sampling
from tools.protocols import ChatMessage, Prompt, Reply, Target, ToolError

ASK = Prompt((ChatMessage("user", "Why?"),))
GREEDY = Sampling(temperature=0, max_tokens=8)


def spell(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_it_is_a_target_that_can_do_everything(target_of):
    target = target_of("chatml")
    assert isinstance(target, Target)
    assert target.capabilities == {
        "chat", "prefill", "sample_user", "complete", "logprobs", "activations",
    }  # fmt: skip


def test_rendered_prompts_have_one_bos_at_most(target_of, family, tokenizer_of):
    ids = target_of(family).token_ids([ASK])[0]
    assert ids.count(1) == (family in {"llama3", "gemma", "mistral"})
    template = ChatTemplate(tokenizer_of(family), family)
    assert tokenizer_of(family).decode(ids) == template.reply_text(ASK.messages, "", None)


def test_a_reply_ends_with_the_templates_end_of_turn(target_of, family, tokenizer_of, forced):
    tokenizer = tokenizer_of(family)
    end = {
        "chatml": "<|im_end|>",
        "llama3": "<|eot_id|>",
        "gemma": "<end_of_turn>",
        "mistral": "</s>",
        "plain": "\nUser:",
    }[family]
    forced(spell(tokenizer, f"Fine.{end} more"))
    reply = target_of(family).chat([ASK], sampling=Sampling(max_tokens=30), seeds=[0])[0]
    assert reply == Reply(text="Fine.", prefill="", n_tokens=5, finish="stop")


def test_a_prefill_is_marked_and_not_part_of_the_text(target_of, tokenizer_of, forced):
    asked = Prompt(ASK.messages, prefill="I think")
    target = target_of("chatml")
    assert target.token_ids([asked])[0] == target.token_ids([ASK])[0] + spell(
        tokenizer_of("chatml"), "I think"
    )
    forced(spell(tokenizer_of("chatml"), " so<|im_end|>"))
    reply = target.chat([asked], sampling=GREEDY, seeds=[0])[0]
    assert reply == Reply(text=" so", prefill="I think", n_tokens=3, finish="stop")


def test_a_models_own_system_prompt_always_comes_first(target_of, tokenizer_of):
    target = target_of("chatml", system_prompt="OWN")
    asked = Prompt((ChatMessage("system", "MINE"), *ASK.messages))
    text = tokenizer_of("chatml").decode(target.token_ids([asked])[0])
    assert text.startswith("<|im_start|>system\nOWN\n\nMINE<|im_end|>")


def test_a_sampled_user_turn_follows_the_users_header(target_of, family, llama, tokenizer_of):
    seen = []
    hook = llama.register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs["input_ids"][0].tolist()), with_kwargs=True
    )
    history = (ChatMessage("user", "Hi"), ChatMessage("assistant", "Hello"))
    try:
        target_of(family).sample_user([history], sampling=GREEDY, seeds=[0])
    finally:
        hook.remove()
    template = ChatTemplate(tokenizer_of(family), family)
    assert tokenizer_of(family).decode(seen[0]) == template.user_text(history, None)


def test_a_sampled_user_turn_may_be_empty(target_of, tokenizer_of, forced):
    forced(spell(tokenizer_of("chatml"), "<|im_end|>"))
    got = target_of("chatml").sample_user([()], sampling=GREEDY, seeds=[0])
    assert got == [Reply(text="", prefill="", n_tokens=0, finish="stop")]


def test_a_user_turn_ends_with_the_text_that_the_template_puts_there(
    target_of, tokenizer_of, forced
):
    forced(spell(tokenizer_of("mistral"), " Hi there [/INST] x"))
    got = target_of("mistral").sample_user([()], sampling=Sampling(max_tokens=40), seeds=[0])[0]
    assert got.text.strip() == "Hi there"
    assert got.finish == "stop"


def test_raw_text_gets_the_tokenizers_own_bos_and_no_template(target_of, tokenizer_of):
    target = target_of("chatml")
    assert target.token_ids(["Once"])[0] == [1, *spell(tokenizer_of("chatml"), "Once")]
    assert target.token_ids([""])[0] == [1]
    reply = target.complete(["Once"], sampling=GREEDY, seeds=[0])[0]
    assert reply.prefill == "Once"
    assert reply.n_tokens > 0


def test_raw_text_is_left_open_by_tokenizers_that_close_texts(llama, tokenizer_of):
    from contextlib import nullcontext

    from tokenizers import processors

    tokenizer = tokenizer_of("chatml")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    target = HFTarget(tokenizer, ChatTemplate(tokenizer, "x"), lambda: nullcontext(llama))
    assert target.token_ids(["ab"])[0] == spell(tokenizer, "ab")
    assert target.token_ids(["ab</s>"])[0][-1] == 2
    assert target.token_ids([""])[0] == [1]


def test_seeds_decide_the_sample_and_batch_mates_do_not(target_of):
    target = target_of("llama3")
    prompts = [Prompt((ChatMessage("user", "x" * n),)) for n in (3, 9, 3, 20)]
    sampling = Sampling(max_tokens=10)
    together = target.chat(prompts, sampling=sampling, seeds=[1, 2, 3, 4])
    alone = [
        target.chat([prompt], sampling=sampling, seeds=[seed])[0]
        for prompt, seed in zip(prompts, [1, 2, 3, 4], strict=True)
    ]
    assert together == alone
    assert together[0] != together[2]


def test_likeliest_first_tokens_come_with_their_log_probabilities(target_of, llama, tokenizer_of):
    target = target_of("chatml")
    asked = Prompt(ASK.messages, prefill="I ")
    got = target.next_token_logprobs([ASK, asked], top=5)
    for prompt, found in zip([ASK, asked], got, strict=True):
        with torch.no_grad():
            logits = llama(torch.tensor(target.token_ids([prompt]))).logits[0, -1]
        expected = logits.log_softmax(-1).topk(5)
        assert [t.token_id for t in found] == expected.indices.tolist()
        assert [t.logprob for t in found] == pytest.approx(expected.values.tolist(), abs=1e-4)
        assert [t.token for t in found] == [
            tokenizer_of("chatml").decode([t.token_id]) for t in found
        ]
    assert len(target.next_token_logprobs([ASK], top=10**6)[0]) == 266


def test_activations_of_conversations_and_texts_are_the_residual_stream(target_of, llama):
    target = target_of("llama3")
    asked = Prompt(ASK.messages, prefill="Because")
    got = target.activations([asked, "Because"], layer=1, positions=[[-1, -2], [0]])
    expected = capture(llama, target.token_ids([asked, "Because"]), layer=1)
    torch.testing.assert_close(got[0], expected[0][[-1, -2]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1], expected[1][[0]], atol=1e-5, rtol=1e-5)
    assert target.tokens(target.token_ids([asked])[0][-2:]) == ["s", "e"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.chat([Prompt((ChatMessage("user", "x" * 300),))], sampling=GREEDY, seeds=[0]),
         "no room in the model's context of 256"),
        (lambda t: t.chat([Prompt((*ASK.messages, *ASK.messages))], sampling=GREEDY, seeds=[0]),
         "roles must alternate"),
        (lambda t: t.sample_user([ASK.messages], sampling=GREEDY, seeds=[0]),
         "roles must alternate"),
        (lambda t: t.activations([ASK], layer=9), "layer 9 does not exist"),
        (lambda t: t.next_token_logprobs([ASK], top=0), "top must be 1 or more"),
    ],
)  # fmt: skip
def test_what_an_auditor_gets_wrong_is_told_to_it(target_of, ask, message):
    with pytest.raises(ToolError, match=message):
        ask(target_of("mistral"))


def test_nothing_asked_gives_nothing(target_of):
    target = target_of("chatml")
    assert target.chat([], sampling=GREEDY, seeds=[]) == []
    assert target.next_token_logprobs([], top=3) == []
    assert target.activations([], layer=0) == []


@pytest.fixture
def wordy(llama):
    """A target whose tokens are words that carry their space, as in SentencePiece."""
    from contextlib import nullcontext

    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["<unk>", "<s>", "</s>", "\u2581a", "\u2581I", "\u2581think", "\u2581so"]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    return HFTarget(tokenizer, ChatTemplate(tokenizer, "words"), lambda: nullcontext(llama))


def test_the_space_before_a_continuation_is_kept(wordy, forced):
    forced([6, 2])
    asked = Prompt((ChatMessage("user", "a"),), prefill="I think")
    assert wordy.chat([asked], sampling=GREEDY, seeds=[0])[0].text == " so"


def test_the_space_of_a_turns_first_word_is_dropped_where_the_tokenizer_drops_it(wordy, forced):
    forced([4, 5, 2])
    asked = Prompt((ChatMessage("user", "a"),))
    assert wordy.chat([asked], sampling=GREEDY, seeds=[0])[0].text == "I think"
