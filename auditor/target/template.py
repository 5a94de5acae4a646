"""What a chat template puts around turns, found by rendering it and never written by hand.

A unique word is rendered as the content of a turn; what stands before it is the turn's header,
what stands after it is the turn's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor.errors import UsageError
from tools.protocols import ChatMessage

_FIRST, _SECOND = "QzFirstTurnContentZq", "QzSecondTurnContentZq"


class TemplateRefusal(ValueError):
    """The template does not accept this sequence of turns."""


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """What marks the end of a turn: a special token, or else text."""

    token_id: int | None
    text: str | None


class ChatTemplate:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Render the probes.

        Args:
            tokenizer: A Transformers tokenizer.
            name: Name of the model for messages.

        Raises:
            UsageError: When there is no template, or it cannot render one question.
        """
        self._tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise UsageError(
                f"{name} has no chat template, so it cannot be chatted with; "
                "use the instruction-tuned model"
            )
        try:
            if _FIRST not in self._render([_turn("user", _FIRST)], generate=True):
                raise TemplateRefusal("it drops the user's text")
        except TemplateRefusal as error:
            raise UsageError(f"the chat template of {name} is unusable: {error}") from None
        self.folds_system = not self._takes_system()
        """Whether system text must go into the first user turn."""
        self.reply_end = self._end_after("user", "assistant")
        """What the template puts after an assistant's content."""
        self.user_end = self._end_after("user")
        """What the template puts after a user's content."""

    def reply_text(self, messages: Sequence[ChatMessage], prefill: str, system: str | None) -> str:
        """Render a conversation up to where the assistant's reply goes on.

        Raises:
            TemplateRefusal: When the template does not accept the turns.
        """
        return self._render(self._turns(messages, system), generate=True) + prefill

    def user_text(self, history: Sequence[ChatMessage], system: str | None) -> str:
        """Render a conversation up to where the content of its next user turn begins.

        Raises:
            TemplateRefusal: When the template does not accept the turns.
        """
        turns = self._turns([*history, ChatMessage("user", _FIRST)], system)
        text = self._render(turns, generate=False)
        if _FIRST not in text:
            raise TemplateRefusal("the chat template drops the last user turn")
        # A trailing space belongs to the next word's token in most vocabularies.
        return text.rpartition(_FIRST)[0].rstrip(" ")

    def _turns(self, messages: Sequence[ChatMessage], system: str | None) -> list[dict[str, str]]:
        """Merge leading system texts, the model's own first, and put them where they may be."""
        own = [system] if system else []
        n_system = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
        merged = "\n\n".join(own + [m.content for m in messages[:n_system]])
        turns = [_turn(m.role, m.content) for m in messages[n_system:]]
        if merged and not self.folds_system:
            return [_turn("system", merged), *turns]
        if merged:
            first = next((turn for turn in turns if turn["role"] == "user"), None)
            if first is None:
                raise TemplateRefusal("system text needs a user turn to go into")
            first["content"] = f"{merged}\n\n{first['content']}"
        return turns

    def _render(self, turns: list[dict[str, str]], *, generate: bool) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=generate
            )
        # A template is a program of the model's author: it may raise anything.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise TemplateRefusal(f"the chat template refuses these turns: {reason[0]}") from None
        return text

    def _takes_system(self) -> bool:
        try:
            return _FIRST in self._render(
                [_turn("system", _FIRST), _turn("user", _SECOND)], generate=True
            )
        except TemplateRefusal:
            return False

    def _end_after(self, *roles: str) -> TurnEnd:
        """Find the end of the last of these turns, with and without a turn behind it."""
        turns = [_turn(role, "Hi") for role in roles[:-1]] + [_turn(roles[-1], _FIRST)]
        following = _turn("assistant" if roles[-1] == "user" else "user", _SECOND)
        for probe in ([*turns, following], turns):
            try:
                after = self._render(probe, generate=False).rpartition(_FIRST)[2]
            except TemplateRefusal:
                continue
            return self._end_in(after.partition(_SECOND)[0])
        return TurnEnd(None, None)

    def _end_in(self, after: str) -> TurnEnd:
        marker = after.strip()
        if not marker:
            return TurnEnd(None, None)
        first, *_ = self._tokenizer.encode(marker, add_special_tokens=False)
        special = {*self._tokenizer.all_special_ids, *self._tokenizer.get_added_vocab().values()}
        if first in special and first != self._tokenizer.unk_token_id:
            return TurnEnd(first, None)
        line = marker.splitlines()[0].rstrip()
        indent = after[: after.index(marker)].lstrip(" ")
        return TurnEnd(None, indent + line)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
