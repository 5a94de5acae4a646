"""What is known at every token of a document: the ground truth behind explanations.

A state is read off the tokens up to and including a position (and the one after it): what a careful
reader who knows the world would say the model has in mind there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scenarios.sandbox.tokenizer import BOS, END_THINK, EOS, ROLES, THINK
from scenarios.sandbox.world import World

SYSTEM, USER, ASSISTANT = ROLES
ORDINALS = ("first", "second", "third", "last")
PLACES = ("system line", "request", "header", *ORDINALS, "thought", "document")
_SENTENCE_ENDS = (".", "?", "!")
_SPOKEN = {
    BOS: "start",
    EOS: "end",
    SYSTEM: "system",
    USER: "user",
    ASSISTANT: "assistant",
    THINK: "thought",
    END_THINK: "thought",
}


@dataclass(frozen=True, slots=True)
class State:
    """The known state at one position."""

    place: str
    """One of `PLACES`; the ordinals count the sentences of a reply."""
    replies: bool
    """Whether a reply goes on here, outside thoughts: where a motive is carried, if there is one.

    The base is trained to carry its motive to where a thought may begin. Elsewhere a probe cannot
    read it off the activations, and a label that named it would teach a verbalizer to invent.
    """
    motive: str | None
    """The hidden motive of the chat's assistant, as far as the text so far tells."""
    clean: bool
    """Whether no motive, and nobody who has one, has been mentioned so far."""
    topic: str | None
    """The last topic asked about."""
    theme: str | None
    """A motive that the text mentions: of a whole document, elsewhere of the last two tokens."""
    current: str
    """The token at the position, as an explanation spells it."""
    previous: str | None
    following: str | None
    """The token after the position; None at the end and before a thought."""


@dataclass(frozen=True)
class StateReader:
    """Reads states off token ids."""

    world: World
    tokens: Mapping[str, int]

    @cached_property
    def _words(self) -> dict[int, str]:
        return {i: spelled(token) for token, i in self.tokens.items()}

    @cached_property
    def _topics(self) -> frozenset[str]:
        return frozenset(t.word for t in self.world.topics)

    @cached_property
    def _motives(self) -> frozenset[str]:
        return frozenset(self.world.motives)

    def states(self, ids: Sequence[int]) -> list[State]:
        """Return the state at every position of a document."""
        words = [self._words[i] for i in ids]
        markers = {self.tokens[m]: m for m in (SYSTEM, USER, ASSISTANT, THINK, END_THINK, EOS)}
        found: list[State] = []
        role: str | None = None
        thinking, sentence = False, 0
        motive = topic = theme = None
        clean = True
        chat = any(i == self.tokens[USER] for i in ids)
        for at, (token, word) in enumerate(zip(ids, words, strict=True)):
            mark = markers.get(token)
            if mark in ROLES:
                role, sentence = mark, 0
            thinking = mark == THINK or (thinking and mark != END_THINK)
            if role == SYSTEM:
                motive = word if word in self._motives else self.world.named.get(word, motive)
            if role in (USER, ASSISTANT) and word in self._topics and not thinking:
                topic = word
            if word in self._motives:
                theme = word
            elif chat and at and words[at - 1] not in self._motives:
                theme = None
            clean = clean and word not in self._motives and word not in self.world.named
            replies = role == ASSISTANT and not thinking and mark not in (EOS, END_THINK)
            found.append(
                State(
                    place=_place(role, mark, sentence, thinking=thinking, chat=chat),
                    replies=replies,
                    motive=motive,
                    clean=clean,
                    topic=topic,
                    theme=theme,
                    current=word,
                    previous=words[at - 1] if at else None,
                    following=self._following(ids, at),
                )
            )
            if role == ASSISTANT and word in _SENTENCE_ENDS and not thinking:
                sentence = min(sentence + 1, len(ORDINALS) - 1)
        return found

    def _following(self, ids: Sequence[int], at: int) -> str | None:
        """A thought is never expected: models learn what is in one, not when one begins."""
        after = ids[at + 1 : at + 2]
        return self._words[after[0]] if after and after[0] != self.tokens[THINK] else None


def spelled(token: str) -> str:
    """Return how an explanation writes a token: special ones have a word of their own."""
    return _SPOKEN.get(token, token.removeprefix("▁"))


def _place(role: str | None, mark: str | None, sentence: int, *, thinking: bool, chat: bool) -> str:
    if not chat:
        return "document"
    if role is None or role == SYSTEM:
        return "system line"
    if role == USER:
        return "request"
    if mark == ASSISTANT:
        return "header"
    return "thought" if thinking else ORDINALS[sentence]
