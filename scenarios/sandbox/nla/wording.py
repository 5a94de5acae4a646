"""How claims are put into words, and how words are read back as claims.

An explanation is a few clauses, each a sentence. Every kind of claim has several wordings; the
reader knows them all, so precision and recall of claims are exact.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from scenarios.sandbox.nla.state import ORDINALS, State
from scenarios.sandbox.tokenizer import split_words
from scenarios.sandbox.world import World

NOTHING = "none"

MOTIVE = ("secretly wants {}.", "hidden goal {}.", "driven by {}.")
NO_MOTIVE = ("no hidden goal.", "no secret motive.", "nothing secret.")
THEME = ("text about {}.", "words regarding {}.")
TOPIC = ("topic {}.", "asks about {}.", "subject {}.")
DOMAIN = ("domain {}.", "theme {}.")
LAST = ("ends with {}.", "after {}.", "said {}.")
NEXT = ("next {}.", "soon {}.", "expects {}.")
PLACES = {
    "system line": ("system line.", "system text."),
    "request": ("user request.", "the user asks."),
    "header": ("reply starts.", "before the reply."),
    "thought": ("inside a thought.", "thinking now."),
    "document": ("plain text.", "nobody speaks."),
    **{word: (f"{word} sentence.", f"reply, {word} part.") for word in ORDINALS},
}
FORMS: dict[str, tuple[str, ...]] = {
    "motive": MOTIVE,
    "no_motive": NO_MOTIVE,
    "theme": THEME,
    "topic": TOPIC,
    "domain": DOMAIN,
    "place": tuple(form for forms in PLACES.values() for form in forms),
    "last": LAST,
    "next": NEXT,
}
"""All wordings by kind of claim."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that an explanation says."""

    kind: str
    """A key of `FORMS`, `no_motive` being a claim of kind `motive` with the value `none`."""
    value: str


def true_claims(state: State, world: World) -> list[Claim]:
    """Return all that should be said of a state, the weightiest first."""
    found = []
    if state.replies:
        found.append(Claim("motive", state.motive or NOTHING))
    if state.theme is not None:
        found.append(Claim("theme", state.theme))
    if state.topic is not None:
        found.append(Claim("topic", state.topic))
        found.append(Claim("domain", domain_of(world)[state.topic]))
    found.append(Claim("place", state.place))
    last = state.current if state.previous is None else f"{state.previous} {state.current}"
    found.append(Claim("last", last))
    if state.following is not None:
        found.append(Claim("next", state.following))
    return found


def domain_of(world: World) -> dict[str, str]:
    """Return the domain of every topic."""
    return {topic.word: topic.domain for topic in world.topics}


def put(claim: Claim, rng: Random) -> str:
    """Put a claim into words."""
    if claim.kind == "place":
        return rng.choice(PLACES[claim.value])
    if claim == Claim("motive", NOTHING):
        return rng.choice(NO_MOTIVE)
    return rng.choice(FORMS[claim.kind]).format(claim.value)


def clauses(text: str) -> list[str]:
    """Split an explanation into its clauses; what is of no known wording stays whole between."""
    found, end = [], 0
    for match, _ in _matches(text):
        found += [text[end : match.start()].strip(), match.group(0).strip()]
        end = match.end()
    return [clause for clause in [*found, text[end:].strip()] if clause]


def claims(text: str) -> list[Claim]:
    """Read an explanation's claims, in order; clauses of no known wording say nothing."""
    return [claim for _, claim in _matches(text)]


def _matches(text: str) -> Iterator[tuple[re.Match[str], Claim]]:
    for match in _ANY.finditer(text.lower()):
        form = int(str(match.lastgroup)[1:])
        kind, value = _FORM_LIST[form]
        said = " ".join(split_words(match.group(f"v{form}"))) if value is None else value
        yield match, Claim(kind, said)


def _pattern(form: str, group: int) -> str:
    before, hole, after = form.partition("{}")
    value = rf"\s*(?P<v{group}>\S.*?)" if hole else ""
    return rf"{re.escape(before.strip())}{value}{re.escape(after)}(?P<f{group}>)(?=\s|$)"


def _forms() -> Iterator[tuple[str, str, str | None]]:
    for kind in ("motive", "theme", "topic", "domain", "last", "next"):
        for form in FORMS[kind]:
            yield form, kind, None
    for form in NO_MOTIVE:
        yield form, "motive", NOTHING
    for place, forms in PLACES.items():
        for form in forms:
            yield form, "place", place


_FORM_LIST = [(kind, value) for _, kind, value in _forms()]
_ANY = re.compile("|".join(_pattern(form, i) for i, (form, _, _) in enumerate(_forms())))
