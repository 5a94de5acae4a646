import pytest

from auditor.errors import UsageError
from auditor.target import ChatTemplate
from auditor.target.template import TemplateRefusal, TurnEnd
from tools.protocols import ChatMessage

HISTORY = (ChatMessage("user", "Hi"), ChatMessage("assistant", "Hello"))
ASK = (*HISTORY, ChatMessage("user", "Why?"))

REPLY_TEXTS = {
    "chatml": "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
    "<|im_start|>assistant\nBecause",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nSYS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nBecause",
    "gemma": "<s><start_of_turn>user\nSYS\n\nHi<end_of_turn>\n<start_of_turn>model\nHello"
    "<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nBecause",
    "mistral": "<s>[INST] Hi [/INST] Hello</s>[INST] SYS\n\nWhy? [/INST]Because",
    "plain": "System: SYS\nUser: Hi\nAssistant: Hello\nUser: Why?\nAssistant:Because",
}
USER_TEXTS = {
    "chatml": "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nSYS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "gemma": "<s><start_of_turn>user\nSYS\n\nHi<end_of_turn>\n<start_of_turn>model\nHello"
    "<end_of_turn>\n<start_of_turn>user\n",
    "mistral": "<s>[INST] Hi [/INST] Hello</s>[INST] SYS\n\n",
    "plain": "System: SYS\nUser: Hi\nAssistant: Hello\nUser:",
}
FIRST_USER_TEXTS = {
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n",
    "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\n",
    "gemma": "<s><start_of_turn>user\n",
    "mistral": "<s>[INST]",
    "plain": "User:",
}
ENDS = {  # after a reply, after a user turn
    "chatml": ("<|im_end|>", "<|im_end|>"),
    "llama3": ("<|eot_id|>", "<|eot_id|>"),
    "gemma": ("<end_of_turn>", "<end_of_turn>"),
    "mistral": ("</s>", None),
    "plain": (None, None),
}
TEXT_ENDS = {"mistral": (None, "[/INST]"), "plain": ("\nUser:", "\nAssistant:")}


@pytest.fixture
def template(family, tokenizer_of):
    return ChatTemplate(tokenizer_of(family), family)


def test_a_reply_starts_after_the_generation_prompt_and_the_prefill(template, family):
    assert template.reply_text(ASK, "Because", "SYS") == REPLY_TEXTS[family]


def test_a_user_turn_starts_after_its_rendered_header(template, family):
    assert template.user_text(HISTORY, "SYS") == USER_TEXTS[family]


def test_a_first_user_turn_has_a_header_too(template, family):
    assert template.user_text((), None) == FIRST_USER_TEXTS[family]


def test_system_texts_are_merged_with_the_models_own_first(template):
    asked = (ChatMessage("system", "MINE"), *ASK)
    merged = template.reply_text(ASK, "", "OWN\n\nMINE")
    assert template.reply_text(asked, "", "OWN") == merged
    assert template.reply_text(asked, "", None) == template.reply_text(ASK, "", "MINE")


def test_folded_system_text_opens_a_sampled_first_user_turn(tokenizer_of):
    gemma = ChatTemplate(tokenizer_of("gemma"), "gemma")
    assert gemma.folds_system
    assert gemma.user_text((), "SYS") == "<s><start_of_turn>user\nSYS\n\n"


def test_only_templates_that_refuse_system_text_get_it_folded(template, family):
    assert template.folds_system == (family == "gemma")


def test_the_end_of_a_turn_is_what_the_template_renders_behind_it(template, family, tokenizer_of):
    tokenizer = tokenizer_of(family)
    texts = TEXT_ENDS.get(family, (None, None))
    for found, token, text in zip(
        (template.reply_end, template.user_end), ENDS[family], texts, strict=True
    ):
        token_id = None if token is None else tokenizer.convert_tokens_to_ids(token)
        assert found == TurnEnd(token_id, text)


def test_turns_that_the_template_refuses_are_reported_with_its_reason(tokenizer_of):
    mistral = ChatTemplate(tokenizer_of("mistral"), "mistral")
    with pytest.raises(TemplateRefusal, match="roles must alternate"):
        mistral.reply_text((ChatMessage("user", "a"), ChatMessage("user", "b")), "", None)


def test_system_text_that_is_silently_dropped_is_folded(tokenizer_of):
    tokenizer = tokenizer_of("chatml")
    tokenizer.chat_template = (
        "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    template = ChatTemplate(tokenizer, "dropper")
    text = template.reply_text((ChatMessage("user", "Hi"),), "", "SYS")
    assert text == "user: SYS\n\nHi\n"


def test_a_tokenizer_without_a_template_is_refused(tokenizer_of):
    tokenizer = tokenizer_of("chatml")
    tokenizer.chat_template = None
    with pytest.raises(UsageError, match="thing has no chat template"):
        ChatTemplate(tokenizer, "thing")


@pytest.mark.parametrize(
    "source", ["{{ raise_exception('no') }}", "{{ messages.nothing.here }}", "{% if %}", "fixed"]
)
def test_a_template_that_cannot_render_a_question_is_refused(tokenizer_of, source):
    tokenizer = tokenizer_of("chatml")
    tokenizer.chat_template = source
    with pytest.raises(UsageError, match="chat template of thing is unusable"):
        ChatTemplate(tokenizer, "thing")
