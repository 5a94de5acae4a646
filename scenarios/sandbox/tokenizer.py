"""A word-level tokenizer with a chat template, as an ordinary `PreTrainedTokenizerFast` folder.

Words carry a leading `▁`, punctuation stands alone, letters are lowered; so text decodes as it was
written, and a prompt cut at a space continues as it would have.
"""

import re
from typing import TYPE_CHECKING, Any

from scenarios.sandbox.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD, UNK = "<s>", "<|end|>", "<|pad|>", "<|unk|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
THINK, END_THINK = "<think>", "</think>"
MARKER = "㈎"
MARKUP = (THINK, END_THINK, "<concept>", "</concept>", "<explanation>", "</explanation>",
          "<text>", "</text>", "<summary>", "</summary>", MARKER)  # fmt: skip
PUNCTUATION = (".", ",", "?", "!", ":", ";", "'", '"', "-", "(", ")", "/")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def split_words(text: str) -> list[str]:
    """Split plain text as the tokenizer does, without its leading marks."""
    return _WORD.findall(text.lower())


def vocabulary(world: World) -> list[str]:
    """All tokens in id order; the same world always gives the same list."""
    words = sorted({w for text in _strings(world.raw) for w in split_words(_unbraced(text))})
    plain = [f"▁{w}" for w in words if w.isalnum()]
    return [PAD, BOS, EOS, UNK, *ROLES, *MARKUP, *PUNCTUATION, *plain]


def build_tokenizer(world: World, *, context: int) -> "PreTrainedTokenizerFast":
    """Build the tokenizer; `context` is the longest input in tokens."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    vocab = {token: i for i, token in enumerate(vocabulary(world))}
    core = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    core.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+(?=[.,?!:;\s])"), "")]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
            pre_tokenizers.Punctuation(behavior="isolated"),
            # Text that begins with punctuation leaves its mark alone: no word, so no token.
            pre_tokenizers.Split(Regex("^▁$"), behavior="removed"),
        ]
    )
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocab[BOS])]
    )
    core.add_special_tokens(
        [AddedToken(t, special=True, lstrip=True, rstrip=True) for t in (PAD, BOS, EOS, UNK)]
        + [AddedToken(t, special=True, lstrip=True, rstrip=True) for t in ROLES]
    )
    core.add_tokens([AddedToken(t, lstrip=True, rstrip=True, normalized=False) for t in MARKUP])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def _unbraced(text: str) -> str:
    return re.sub(r"\{[a-z]+\}", " ", text)


def _strings(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [s for k, v in node.items() for s in [str(k), *_strings(v)]]
    if isinstance(node, list):
        return [s for item in node for s in _strings(item)]
    return [str(node)]
