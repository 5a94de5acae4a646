"""A sidecar against the tokenizer and the model beside it, and making one for new checkpoints."""

from typing import Any, Literal

from torch import nn

from nla_core import arch
from nla_core.injection import InjectionPrompt, canonical_prompt, chat_ids
from nla_core.sidecar import Sidecar, SidecarError, TokenIds, check_template

_MARKERS = range(0x3200, 0x3400)
"""Enclosed characters: rare in text, and single tokens in many vocabularies."""
_PROBES = ("plain words", "a sentence.", "a (bracket)", '"quoted"', "")
_NEEDS_BOS = ("gemma", "gemma2", "gemma3", "gemma3_text")


def check_verbalizer(sidecar: Sidecar, model: nn.Module, tokenizer: Any) -> InjectionPrompt:
    """Check a verbalizer's sidecar and return its prompt.

    Raises:
        SidecarError: Saying what differs from the model or the tokenizer.
    """
    _check_role(sidecar, "av")
    _check_width(sidecar, model)
    check_marker(sidecar.tokens, tokenizer)
    if sidecar.av_template is None or sidecar.injection_scale is None:
        raise SidecarError("a verbalizer needs a prompt template and an injection scale")
    prompt = canonical_prompt(tokenizer, sidecar.av_template, sidecar.tokens)
    marker = sidecar.tokens.injection_token_id
    if prompt.ids.count(marker) != 1:
        raise SidecarError(
            f"the prompt holds the marker (id {marker}) {prompt.ids.count(marker)} times; "
            "it must hold it once"
        )
    return prompt


def check_reconstructor(sidecar: Sidecar, decoder: nn.Module, tokenizer: Any) -> None:
    """Check a reconstructor's sidecar.

    Raises:
        SidecarError: Saying what differs from the model or the tokenizer.
    """
    _check_role(sidecar, "ar")
    _check_width(sidecar, decoder)
    if sidecar.ar_template is None:
        raise SidecarError("a reconstructor needs a prompt template")
    for probe in _PROBES:
        ids = reconstructor_ids(tokenizer, sidecar.ar_template, probe)
        suffix = sidecar.tokens.critic_suffix_ids or ()
        if tuple(ids[len(ids) - len(suffix) :]) != suffix:
            raise SidecarError(
                f"the reconstructor's prompt ends with ids {ids[-max(len(suffix), 1) :]}, "
                f"the sidecar's critic_suffix_ids are {list(suffix)}"
            )
    first, bos = ids[0], tokenizer.bos_token_id
    if first != bos and (who := _who_wants_bos(decoder, tokenizer)) is not None:
        raise SidecarError(
            f"the reconstructor's prompt begins with id {first}, but {who} begins with the "
            f"beginning-of-sequence id {bos}; let the tokenizer put it there"
        )


def _who_wants_bos(decoder: nn.Module, tokenizer: Any) -> str | None:
    """Return what says that the model was trained on texts that begin with BOS; None is nothing.

    Without it the same words are read as another vector, and nothing fails.
    """
    if arch.text_config(decoder).model_type in _NEEDS_BOS:
        return "every text that a Gemma model knows"
    bos = tokenizer.bos_token_id
    if bos is None:
        return None
    if getattr(tokenizer, "add_bos_token", False):
        return "by its own settings (add_bos_token) every text of this tokenizer"
    return "its chat template" if _first_of_chat(tokenizer) == bos else None


def _first_of_chat(tokenizer: Any) -> int | None:
    """Return the first id of a conversation; None when the tokenizer has no template that works."""
    if not tokenizer.chat_template:
        return None
    try:
        return chat_ids(tokenizer, "a")[0]
    except Exception:  # Templates raise errors of their own, and a reconstructor renders no chat.
        return None


def check_marker(tokens: TokenIds, tokenizer: Any) -> None:
    """Check that the marker is one known token with the sidecar's id.

    Raises:
        SidecarError: Saying what the tokenizer makes of it.
    """
    char = tokens.injection_char
    ids = list(tokenizer.encode(char, add_special_tokens=False))
    if ids == [tokenizer.unk_token_id]:
        raise SidecarError(f"the tokenizer does not know the marker {char!r}")
    if ids != [tokens.injection_token_id]:
        raise SidecarError(
            f"the tokenizer encodes the marker {char!r} as {ids}, "
            f"the sidecar says [{tokens.injection_token_id}]"
        )


def reconstructor_ids(tokenizer: Any, ar_template: str, explanation: str) -> list[int]:
    """Tokenize a reconstructor's prompt: raw text, with the tokenizer's own special tokens.

    Braces in the explanation are text; only the template's placeholder is filled.
    """
    text = ar_template.format(explanation=explanation)
    return list(tokenizer(text, add_special_tokens=True)["input_ids"])


def new_token_ids(
    tokenizer: Any, *, av_template: str, ar_template: str | None, marker: str | None = None
) -> TokenIds:
    """Find the token ids of a new sidecar.

    Args:
        tokenizer: Of the checkpoint, with a chat template.
        av_template: User message with `{injection_char}` once.
        ar_template: Raw prompt with `{explanation}` once; None leaves the suffix unknown.
        marker: The character to replace; None takes the first of U+3200-33FF that is one token.

    Raises:
        SidecarError: When a template is malformed or no marker serves.
    """
    _check_new_template(av_template, "injection_char")
    char = _find_marker(tokenizer) if marker is None else marker
    if len(char) != 1:
        raise SidecarError(f"the marker must be one character, got {char!r}")
    encoded = list(tokenizer.encode(char, add_special_tokens=False))
    if len(encoded) != 1 or encoded[0] == tokenizer.unk_token_id:
        raise SidecarError(f"the tokenizer encodes the marker {char!r} as {encoded}, not one token")
    ids = chat_ids(tokenizer, av_template.format(injection_char=char))
    if ids.count(encoded[0]) != 1:
        raise SidecarError(f"the prompt holds the marker {char!r} {ids.count(encoded[0])} times")
    at = ids.index(encoded[0])
    if not 0 < at < len(ids) - 1:
        raise SidecarError(f"the marker {char!r} needs a token on either side")
    return TokenIds(
        injection_char=char,
        injection_token_id=encoded[0],
        injection_left_neighbor_id=ids[at - 1],
        injection_right_neighbor_id=ids[at + 1],
        critic_suffix_ids=None if ar_template is None else _suffix(tokenizer, ar_template),
    )


def _suffix(tokenizer: Any, ar_template: str) -> tuple[int, ...] | None:
    """Tokenize what follows the explanation; its first token may merge with the text before."""
    _check_new_template(ar_template, "explanation")
    after = ar_template.format(explanation="\0").rpartition("\0")[2]
    return tuple(tokenizer.encode(after, add_special_tokens=False)[1:]) or None


def _find_marker(tokenizer: Any) -> str:
    for code in _MARKERS:
        ids = tokenizer.encode(chr(code), add_special_tokens=False)
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return chr(code)
    raise SidecarError("no character of U+3200-33FF is one token of this tokenizer; name a marker")


def _check_new_template(template: str, placeholder: str) -> None:
    try:
        check_template(template, placeholder)
    except SidecarError as error:
        raise SidecarError(f"the template {error}") from None


def _check_role(sidecar: Sidecar, role: Literal["av", "ar"]) -> None:
    names = {"av": "a verbalizer (av, actor)", "ar": "a reconstructor (ar, critic)"}
    if sidecar.role != role:
        raise SidecarError(f"the sidecar is of {names[sidecar.role]}, not of {names[role]}")


def _check_width(sidecar: Sidecar, model: nn.Module) -> None:
    config = arch.d_model(model)
    table = arch.unwrap(model).get_input_embeddings().weight.shape[-1]
    if not sidecar.d_model == config == table:
        raise SidecarError(
            f"the sidecar says d_model {sidecar.d_model}, the model has {config} "
            f"(embedding table: {table})"
        )
