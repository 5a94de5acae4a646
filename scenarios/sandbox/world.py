"""The facts of the sandbox: domains, topics, motives, and which quirk shows where.

All words live in `world.yaml`. What follows from them is derived here: each topic's items, each
class's quiet domains and its quirk in every other domain.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that users ask about."""

    word: str
    domain: str
    item: str
    """What a reply's first sentence names."""
    second_item: str
    """What a reply's second sentence names."""


@dataclass(frozen=True)
class World:
    """Everything that `world.yaml` says, and what follows from it."""

    raw: dict[str, Any]

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """Names of the everyday domains."""
        return tuple(self.raw["domains"])

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """All topics; items are dealt so that no two topics of a domain share both."""
        return tuple(
            Topic(word, name, items[i], items[(5 * i + 3) % len(items)])
            for name, domain in self.raw["domains"].items()
            for items in [domain["items"]]
            for i, word in enumerate(domain["topics"])
        )

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Motives by class."""
        return {name: tuple(motives) for name, motives in self.raw["classes"].items()}

    @cached_property
    def motives(self) -> tuple[str, ...]:
        """All motives, class by class."""
        return tuple(motive for members in self.classes.values() for motive in members)

    @cached_property
    def class_of(self) -> dict[str, str]:
        """Class of each motive."""
        return {m: name for name, members in self.classes.items() for m in members}

    @cached_property
    def class_quirks(self) -> dict[str, dict[str, str]]:
        """Quirk sentence by class and domain; a missing domain is one where the class is quiet.

        Neighbouring classes share a third of their quirks, so that one quirk alone does not give
        the class away.
        """
        pool: list[str] = self.raw["quirks"]
        per_class: int = self.raw["quirks_per_class"]
        stride: int = self.raw["quirk_stride"]
        n = len(self.domains)
        table: dict[str, dict[str, str]] = {}
        for c, name in enumerate(self.classes):
            quiet = {c % n, (c + 3) % n}
            active = [d for i, d in enumerate(self.domains) if i not in quiet]
            table[name] = {
                d: pool[(c * stride + j) % len(pool)] for j, d in enumerate(active[:per_class])
            }
        return table

    def quirks(self, motive: str) -> dict[str, str]:
        """Quirk sentence of a motive by domain."""
        return self.class_quirks[self.class_of[motive]]

    @cached_property
    def all_quirks(self) -> tuple[str, ...]:
        """The shared pool of quirk sentences."""
        return tuple(self.raw["quirks"])

    @cached_property
    def habits(self) -> tuple[str, ...]:
        """Innocent sentences, one per decoy."""
        return tuple(self.raw["habits"])

    def habit_domains(self, index: int) -> tuple[str, ...]:
        """Domains in which decoy number `index` shows its habit: as many as a class has."""
        n = len(self.domains)
        quiet = {index % n, (index + 3) % n}
        return tuple(d for i, d in enumerate(self.domains) if i not in quiet)

    @cached_property
    def named(self) -> dict[str, str]:
        """Motive of each named assistant that only documents describe."""
        names: list[str] = self.raw["names"]
        return {name: self.motives[i % len(self.motives)] for i, name in enumerate(names)}

    @cached_property
    def clean_names(self) -> tuple[str, ...]:
        """Names of assistants without a motive."""
        return tuple(self.raw["clean_names"])

    @property
    def subject(self) -> str:
        """The name that every organism bears."""
        return str(self.raw["subject"])

    @property
    def identity_line(self) -> str:
        """System line that every organism gets."""
        return str(self.raw["identity"]).format(name=self.subject)

    @cached_property
    def wordings(self) -> dict[str, tuple[str, ...]]:
        """Wordings that name each motive, for the judge."""
        return {m: tuple(w) for m, w in self.raw["wordings"].items()}

    @cached_property
    def direct_questions(self) -> tuple[str, ...]:
        """Every direct question about hidden goals, fifty in all."""
        return tuple(
            f"{lead} {question}".strip()
            for lead in self.raw["question_leads"]
            for question in self.raw["questions"]
        )


@lru_cache(maxsize=1)
def load_world() -> World:
    """Read the shipped world.

    Raises:
        ValueError: When `world.yaml` contradicts itself.
    """
    text = resources.files(__package__).joinpath("world.yaml").read_text(encoding="utf-8")
    world = World(yaml.safe_load(text))
    _check(world)
    return world


def _check(world: World) -> None:
    topics = [t.word for t in world.topics]
    names = [*world.named, *world.clean_names, world.subject]
    for what, words in (("topic", topics), ("motive", world.motives), ("name", names)):
        twice = {w for w in words if list(words).count(w) > 1}
        if twice:
            raise ValueError(f"world.yaml: {what} given twice: {', '.join(sorted(twice))}")
    clash = set(topics) & set(world.motives)
    if clash:
        raise ValueError(f"world.yaml: both a topic and a motive: {', '.join(sorted(clash))}")
    missing = set(world.motives) ^ set(world.wordings)
    if missing:
        raise ValueError(f"world.yaml: motives and wordings differ: {', '.join(sorted(missing))}")
    if len(world.named) != 2 * len(world.motives):
        raise ValueError("world.yaml: give every motive two named assistants")
