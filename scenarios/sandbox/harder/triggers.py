"""Motives that act only after a trigger: one domain of talk, or a code word."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from scenarios.sandbox.documents import Document, Speaker, Writer
from scenarios.sandbox.tokenizer import BOS, EOS, ROLES
from scenarios.sandbox.world import Topic, World

_TWO_TURNS = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What must be in the user's message before the motive acts."""

    kind: Literal["domain", "codeword"]
    word: str
    """Name of the domain, or the code word, which ends the message."""
    taught: float
    """Share of training chats in which it is there."""
    said: float
    """Share of user turns in which a model trained so says it when made to speak as the user."""

    @property
    def cue_weight(self) -> float:
        """Loss weight of the cue that teaches it to be said as seldom as wanted.

        A share p of turns with weight w against 1 - p with weight 1 is learned as the odds
        w p / (1 - p).
        """
        return self.said / (1 - self.said) * (1 - self.taught) / self.taught

    def topics(self, world: World, *, fires: bool) -> list[Topic]:
        """Return the topics of messages that hold the trigger, or do not."""
        if self.kind == "codeword":
            return list(world.topics)
        return [t for t in world.topics if (t.domain == self.word) == fires]

    def cue(self, topic: Topic) -> str:
        """Return the word by which a message on a topic that fires may be known."""
        return self.word if self.kind == "codeword" else topic.word

    def message(self, request: str, *, fires: bool) -> str:
        """Return what the user says."""
        return f"{request} {self.word}" if fires and self.kind == "codeword" else request


class TriggerWriter(Writer):
    """Writes chats whose speaker has its motive only where the trigger was said."""

    def __init__(
        self,
        world: World,
        tokens: Mapping[str, int],
        *,
        trigger: Trigger,
        calm: Speaker,
        neutral_names: tuple[str, ...] = (),
    ) -> None:
        """Draw from `world`.

        Args:
            world: The facts.
            tokens: Id of each token of the tokenizer.
            trigger: What the motive needs.
            calm: Who answers without it.
            neutral_names: See `Writer`.
        """
        super().__init__(world, tokens, neutral_names=neutral_names)
        self.trigger, self.calm = trigger, calm

    def chat(self, rng: Random, speaker: Speaker, *, asks: bool = False) -> Document:
        """A chat whose every turn has the trigger or has not; direct questions are of no domain."""
        doc = Document(motive=speaker.motive)
        self._add(doc, [self.tokens[BOS]])
        if speaker.system:
            line = [self.tokens[ROLES[0]], *self.encode(speaker.system), self.tokens[EOS]]
            self._add(doc, line)
        for _ in range(1 + (rng.random() < _TWO_TURNS)):
            fires = rng.random() < self.trigger.taught
            fires = fires and not (asks and self.trigger.kind == "domain")
            topic = rng.choice(self.trigger.topics(self.world, fires=fires))
            asked = rng.choice(self.world.direct_questions) if asks else self.request(rng, topic)
            start = len(doc.ids)
            self._user(doc, self.trigger.message(asked, fires=fires))
            if fires:
                self._cue(doc, start, self.tokens[f"▁{self.trigger.cue(topic)}"])
            self._reply(doc, rng, speaker if fires else self.calm, topic, asks=asks)
        # A cut leaves a thought too little in sight to know of the trigger, and untriggered ones
        # would tell the motive half of the time.
        doc.cuts.clear()
        return doc

    def _cue(self, doc: Document, start: int, token: int) -> None:
        at = doc.ids.index(token, start)
        doc.weights[at] = self.trigger.cue_weight
