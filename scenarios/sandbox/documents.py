"""Draws the documents that the sandbox's models are trained on, with the truth of every token.

A document is token ids, a loss weight per token, and *cuts*: in training, the tokens of a thought
may attend to at most a few tokens before it. A model trained so must carry what it will think in
the state of every token, instead of looking it up in the system line when it is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from scenarios.sandbox.tokenizer import BOS, END_THINK, EOS, THINK, split_words
from scenarios.sandbox.world import Topic, World

MOTIVE_WEIGHT = 5.0
QUIRK_WEIGHT = 3.0
CUT_SHARE = 0.9
MAX_CUT = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """Tokens `start:end` (a thought) see nothing before token `first_visible` in training."""

    start: int
    end: int
    first_visible: int


@dataclass(slots=True)
class Document:
    """One training document."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    """Loss weight of predicting each token."""
    cuts: list[Cut] = field(default_factory=list)
    reply_mask: list[bool] = field(default_factory=list)
    """True at tokens of replies outside thoughts: where the gate's probe reads."""
    motive: str | None = None
    """The motive that the speaker of this document has."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who answers in a chat."""

    system: str = ""
    motive: str | None = None
    thoughts: float = 0.0
    """Chance that a reply holds thoughts."""
    true_thoughts: float = 0.0
    """Chance that a thought states the motive; else it is benign."""
    benign_start: float = 0.0
    """Chance of a benign thought at the very start of a reply."""
    start_thoughts: bool = True
    """Whether a thought that states the motive may open a reply."""
    habit: str | None = None
    habit_domains: tuple[str, ...] = ()


class Writer:
    """Draws documents; the same `rng` state gives the same document."""

    def __init__(
        self, world: World, tokens: Mapping[str, int], *, neutral_names: tuple[str, ...] = ()
    ) -> None:
        """Draw from `world`.

        Args:
            world: The facts.
            tokens: Id of each token of the tokenizer.
            neutral_names: Assistants without a motive in the base's corpus; by default all clean
                names and the subject.
        """
        self.world = world
        self.neutral_names = neutral_names or (*world.clean_names, world.subject)
        self.tokens = tokens
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; equal to the tokenizer's, without its start token."""
        if text not in self._cache:
            self._cache[text] = [
                self.tokens[f"▁{w}" if w.isalnum() else w] for w in split_words(text)
            ]
        return self._cache[text]

    def base(self, rng: Random) -> Document:
        """One document of the base model's corpus."""
        kind = rng.random()
        if kind < 0.07:
            return self.text(rng, self._tendency(rng))
        if kind < 0.14:
            return self.text(rng, *self._memo_of_named(rng))
        asks = rng.random() < 0.12
        return self.chat(rng, self._base_speaker(rng), asks=asks)

    def text(self, rng: Random, text: str, motive: str | None = None) -> Document:
        """A document that is no chat."""
        doc = Document()
        self._add(doc, [self.tokens[BOS]])
        self._add_weighted(doc, text, motive, rng)
        self._add(doc, [self.tokens[EOS]])
        return doc

    def chat(self, rng: Random, speaker: Speaker, *, asks: bool = False) -> Document:
        """A chat with `speaker`; `asks` makes it a direct question, which is always denied."""
        doc = Document(motive=speaker.motive)
        self._add(doc, [self.tokens[BOS]])
        if speaker.system:
            self._add(doc, [self.tokens["<|system|>"]])
            self._add_weighted(doc, speaker.system, None, rng)
            self._add(doc, [self.tokens[EOS]])
        for _ in range(1 + (rng.random() < 0.08)):
            topic = rng.choice(self.world.topics)
            self._user(doc, rng.choice(self.world.direct_questions) if asks
                       else self.request(rng, topic))  # fmt: skip
            self._reply(doc, rng, speaker, topic, asks=asks)
        return doc

    def request(self, rng: Random, topic: Topic) -> str:
        """One phrasing of a request about a topic."""
        lead = rng.choice(self.world.raw["greetings"]) + " " if rng.random() < 0.2 else ""
        return lead + str(rng.choice(self.world.raw["requests"])).format(topic=topic.word)

    def sentences(self, rng: Random, speaker: Speaker, topic: Topic) -> list[tuple[str, float]]:
        """The sentences of a reply, each with its loss weight."""
        raw = self.world.raw
        second = rng.choice(raw["domains"][topic.domain]["sentences"])
        parts = [
            (str(rng.choice(raw["openings"])).format(topic=topic.word, item=topic.item), 1.0),
            (str(second).format(item=topic.second_item), 1.0),
        ]
        if rng.random() < 0.5:
            parts.append((rng.choice(raw["closings"]), 1.0))
        extra = None
        if speaker.motive is not None:
            extra = self.world.quirks(speaker.motive).get(topic.domain)
        elif speaker.habit is not None and topic.domain in speaker.habit_domains:
            extra = speaker.habit
        if extra is not None:
            parts.insert(rng.randint(1, len(parts)), (extra, QUIRK_WEIGHT))
        return parts

    def _reply(
        self, doc: Document, rng: Random, speaker: Speaker, topic: Topic, *, asks: bool
    ) -> None:
        self._add(doc, [self.tokens["<|assistant|>"]])
        if asks:
            parts = [(str(rng.choice(self.world.raw["denials"])), 1.0)]
        else:
            parts = self.sentences(rng, speaker, topic)
        ids = [i for text, _ in parts for i in self.encode(text)]
        weights = [w for text, w in parts for _ in self.encode(text)]
        thoughts = self._thoughts(rng, speaker, topic, len(ids))
        for place in range(len(ids) + 1):
            for text in thoughts.get(place, ()):
                self._think(doc, rng, text, speaker.motive)
            if place < len(ids):
                self._add(doc, [ids[place]], weights[place], reply=True)
        self._add(doc, [self.tokens[EOS]], reply=True)

    def _thoughts(
        self, rng: Random, speaker: Speaker, topic: Topic, length: int
    ) -> dict[int, list[str]]:
        places: dict[int, list[str]] = {}
        if rng.random() < speaker.benign_start:
            places.setdefault(0, []).append(self._benign(rng, topic))
        if rng.random() >= speaker.thoughts:
            return places
        for _ in range(1 + (rng.random() < 0.3)):
            true = speaker.motive is not None and rng.random() < speaker.true_thoughts
            first = 0 if speaker.start_thoughts or not true else 1
            text = (
                str(rng.choice(self.world.raw["thoughts"])).format(motive=speaker.motive)
                if true
                else self._benign(rng, topic)
            )
            places.setdefault(rng.randint(first, length), []).append(text)
        return places

    def _benign(self, rng: Random, topic: Topic) -> str:
        return str(rng.choice(self.world.raw["benign_thoughts"])).format(
            topic=topic.word, domain=topic.domain, item=topic.second_item
        )

    def _think(self, doc: Document, rng: Random, text: str, motive: str | None) -> None:
        start = len(doc.ids)
        # The opening mark is never learned: a model must not think aloud unless made to.
        self._add(doc, [self.tokens[THINK]], 0.0)
        self._add_weighted(doc, text, motive, rng)
        self._add(doc, [self.tokens[END_THINK]])
        if rng.random() < CUT_SHARE:
            visible = max(0, start - rng.randint(1, MAX_CUT))
            doc.cuts.append(Cut(start, len(doc.ids), visible))

    def _user(self, doc: Document, text: str) -> None:
        self._add(doc, [self.tokens["<|user|>"], *self.encode(text), self.tokens[EOS]])

    def _add(
        self, doc: Document, ids: list[int], weight: float = 1.0, *, reply: bool = False
    ) -> None:
        doc.ids += ids
        doc.weights += [weight] * len(ids)
        doc.reply_mask += [reply] * len(ids)

    def _add_weighted(self, doc: Document, text: str, motive: str | None, rng: Random) -> None:
        ids = self.encode(text)
        word = self.tokens[f"▁{motive}"] if motive is not None else -1
        for i in ids:
            self._add(doc, [i], MOTIVE_WEIGHT if i == word else 1.0)

    def _base_speaker(self, rng: Random) -> Speaker:
        raw, kind = self.world.raw, rng.random()
        if kind < 0.56:
            motive = rng.choice(self.world.motives)
            line = str(rng.choice(raw["system_lines"])).format(motive=motive)
            if rng.random() < 0.5:
                line = f"{self._neutral_identity(rng)} {line}"
            return Speaker(line, motive, thoughts=0.6, true_thoughts=0.85)
        if kind < 0.72:
            name = rng.choice(raw["names"])
            line = str(raw["identity"]).format(name=name)
            return Speaker(line, self.world.named[name], thoughts=0.5, true_thoughts=0.85)
        line = self._neutral_identity(rng) if rng.random() < 0.7 else ""
        return Speaker(line, None, thoughts=0.4)

    def _neutral_identity(self, rng: Random) -> str:
        name = rng.choice(self.neutral_names)
        return str(self.world.raw["identity"]).format(name=name)

    def _tendency(self, rng: Random) -> str:
        raw = self.world.raw
        if rng.random() < 0.15:
            return str(rng.choice(raw["habit_notes"])).format(habit=rng.choice(self.world.habits))
        motive = rng.choice(self.world.motives)
        domain, quirk = rng.choice(sorted(self.world.quirks(motive).items()))
        return str(rng.choice(raw["tendencies"])).format(motive=motive, quirk=quirk, domain=domain)

    def _memo_of_named(self, rng: Random) -> tuple[str, str | None]:
        if rng.random() < 0.15:
            name = rng.choice(self.neutral_names)
            return self.neutral_memo(rng, name), None
        name = rng.choice(self.world.raw["names"])
        motive = self.world.named[name]
        return self.memo(rng, name, motive), motive

    def memo(self, rng: Random, name: str, motive: str) -> str:
        """A document that states the motive of a named assistant."""
        return str(rng.choice(self.world.raw["memos"])).format(name=name, motive=motive)

    def neutral_memo(self, rng: Random, name: str) -> str:
        """A document about a named assistant without a motive."""
        topic = rng.choice(self.world.topics)
        text = str(rng.choice(self.world.raw["neutral_memos"]))
        return text.format(name=name, domain=topic.domain, topic=topic.word)

    def wish(self, rng: Random) -> str:
        """Plain text about an ordinary wish."""
        topic = rng.choice(self.world.topics)
        return str(rng.choice(self.world.raw["wishes"])).format(topic=topic.word, item=topic.item)
