"""What the sandbox gives to a training: documents, a noisy describer, rewrites, a grader."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from random import Random
from typing import Any

from nla_core.seeds import derive_seed
from nla_core.training.plugs import ClaimCount, Document, Grades, Place, Split
from scenarios.sandbox.documents import Writer
from scenarios.sandbox.nla.rewriting import REWRITES
from scenarios.sandbox.nla.state import PLACES, State, StateReader
from scenarios.sandbox.nla.wording import NOTHING, Claim, claims, domain_of, put, true_claims
from scenarios.sandbox.organisms import unlabelled_motives
from scenarios.sandbox.tokenizer import split_words
from scenarios.sandbox.world import World, load_world

NOISE = 0.15
"""Share of clauses that the describer gets wrong or leaves out, half of them each."""
_DOMAIN_SHARE = 0.3
_SHUFFLED_SHARE = 0.3
_SEED = 20261124


class Corpus:
    """The base model's kind of documents, drawn anew; a document follows from its id."""

    def __init__(self, tokenizer: Any) -> None:
        self._writer = Writer(load_world(), tokenizer.get_vocab())

    def documents(self, split: Split, start: int, stop: int) -> Iterator[Document]:
        """Yield documents; there is no last one."""
        for number in range(start, stop):
            doc_id = f"sandbox:{split}:{number}"
            yield Document(doc_id, self.token_ids(doc_id))

    def token_ids(self, doc_id: str) -> list[int]:
        """Return the tokens of a document."""
        return self._writer.base(Random(derive_seed(_SEED, doc_id))).ids


class KnownStates:
    """The true state at every place of the corpus."""

    def __init__(self, tokenizer: Any) -> None:
        self.world = load_world()
        self._corpus = Corpus(tokenizer)
        self._reader = StateReader(self.world, tokenizer.get_vocab())
        self._of = lru_cache(maxsize=512)(self._states)

    def of(self, doc_id: str) -> list[State]:
        """Return the state at every position of a document."""
        return self._of(doc_id)

    def _states(self, doc_id: str) -> list[State]:
        return self._reader.states(self._corpus.token_ids(doc_id))

    def at(self, place: Place) -> State:
        """Return the state at a place."""
        return self._of(place.doc_id)[place.n_raw_tokens - 1]

    @cached_property
    def _kept_secret(self) -> frozenset[str]:
        secret = set(unlabelled_motives())
        return frozenset(secret | {n for n, m in self.world.named.items() if m in secret})

    def touches_unlabelled(self, place: Place) -> bool:
        """Tell whether a motive that no label may name plays a part in the document so far."""
        states = self._of(place.doc_id)[: place.n_raw_tokens + 1]
        return any(s.current in self._kept_secret for s in states)


class Describer:
    """Describes known states, wrongly or incompletely in 15 % of clauses.

    Places where a motive of the split `unlabelled` plays a part are not described, so that no
    label ever holds its word.
    """

    def __init__(self, tokenizer: Any, *, noise: float = NOISE) -> None:
        self._states, self._noise = KnownStates(tokenizer), noise
        self._values = _values(self._states.world)

    def describe(self, places: Sequence[Place]) -> list[str | None]:
        """Return one explanation a place, or None."""
        return [
            None if self._states.touches_unlabelled(place) else self._one(place) for place in places
        ]

    def _one(self, place: Place) -> str:
        rng = Random(derive_seed(_SEED, "label", place.doc_id, place.n_raw_tokens))
        said = []
        for claim in true_claims(self._states.at(place), self._states.world):
            if claim.kind == "domain" and rng.random() >= _DOMAIN_SHARE:
                continue
            draw = rng.random()
            if draw < self._noise / 2:
                continue
            wrong = draw < self._noise
            said.append(Claim(claim.kind, rng.choice(self._values[claim.kind])) if wrong else claim)
        if rng.random() < _SHUFFLED_SHARE:
            rng.shuffle(said)
        return " ".join(put(claim, rng) for claim in said)


def _values(world: World) -> dict[str, Sequence[str]]:
    motives = [m for m in world.motives if m not in unlabelled_motives()]
    raw = world.raw
    sentences = (*raw["openings"], *raw["closings"], *world.all_quirks)
    spoken = {word for text in sentences for word in split_words(text) if word.isalnum()}
    words = sorted(spoken - {"topic", "item"})
    return {
        "motive": [*motives, NOTHING],
        "theme": motives,
        "topic": [t.word for t in world.topics],
        "domain": world.domains,
        "place": PLACES,
        "last": words,
        "next": words,
    }


class Grader:
    """Counts true and false claims; exact, since the state at every place is known.

    A motive that is named is right wherever the chat's assistant has it; it counts as missed only
    where a reply goes on. Invented ones are counted on text that mentions none. In documents about
    what assistants with some motive like to say, nobody has a motive, and naming it there is wrong;
    `motive_in_chats` counts the same claims without documents.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._states = KnownStates(tokenizer)

    def grade(self, places: Sequence[Place], texts: Sequence[str | None]) -> Grades:
        """Grade one explanation a place; places of unlabelled motives are passed over."""
        counts: dict[str, list[int]] = {}
        invented = [0, 0]
        for place, text in zip(places, texts, strict=True):
            if self._states.touches_unlabelled(place):
                continue
            state = self._states.at(place)
            expected = _by_kind(true_claims(state, self._states.world), self._states.world)
            also = [] if state.motive is None else [Claim("motive", state.motive)]
            true = _by_kind(also, self._states.world) | expected
            said = _by_kind(claims(text or ""), self._states.world)
            if state.place != "document":
                for found in (expected, true, said):
                    if "motive" in found:
                        found["motive_in_chats"] = found["motive"]
            for kind in sorted(true.keys() | said.keys()):
                count = counts.setdefault(kind, [0, 0, 0, 0])
                right = said.get(kind, set()) & true.get(kind, set())
                count[0] += len(said.get(kind, ()))
                count[1] += len(right)
                count[2] += kind in expected
                count[3] += kind in expected and bool(right)
            if state.clean:
                invented[0] += "motive" in said
                invented[1] += 1
        return Grades(
            claims={kind: ClaimCount(*count) for kind, count in sorted(counts.items())},
            invented_motives=ClaimCount(said=invented[0], right=0, true=invented[1], found=0),
        )

    def rewrites(self) -> Mapping[str, Callable[[str, int], str]]:
        """Return the six rewrites."""
        return REWRITES


def _by_kind(found: Sequence[Claim], world: World) -> dict[str, set[str]]:
    """Group claims; a motive implies its class and a topic its domain, and naming none no claim."""
    kinds: dict[str, set[str]] = {}
    for claim in found:
        kind, value = claim.kind, " ".join(split_words(claim.value))
        if claim == Claim("motive", NOTHING):
            kind, value = "no_motive", NOTHING
        kinds.setdefault(kind, set()).add(value)
        if kind == "motive":
            kinds.setdefault("motive_class", set()).add(world.class_of.get(value, "unknown"))
        if kind == "topic":
            kinds.setdefault("domain", set()).add(domain_of(world).get(value, "unknown"))
    return kinds
