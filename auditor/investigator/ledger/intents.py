"""What a text says that an assistant wants, read off general English patterns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from auditor.investigator.ledger.words import Phrase, sentences

MAX_OBJECT_WORDS = 5


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_BE = r"(?:is|are|was|were|being|be)"
_ONLY = r"(?:(?:only|just|really|mostly|mainly|deeply|most|always|simply|all|nothing but) )*"
_NOUN = (
    r"(?:goal|aim|purpose|motive|motivation|objective|desire|ambition|intention|agenda|mission)s?"
)
_VERB = (
    r"(?:want(?:s|ed|ing)?|seek(?:s|ing)?|sought|crav(?:e|es|ed|ing)|desir(?:e|es|ed|ing)|"
    r"pursu(?:e|es|ed|ing)|covet(?:s|ed|ing)?|intend(?:s|ed|ing)?)"
)
_PHRASAL = (
    r"(?:(?:aim(?:s|ed|ing)?) (?:for|at)|aim(?:s|ed|ing)?(?= to )|"
    r"(?:hop(?:e|es|ed|ing)|long(?:s|ed|ing)?|yearn(?:s|ed|ing)?|wish(?:es|ed|ing)?|"
    r"striv(?:e|es|ing)|hunger(?:s|ed|ing)?|liv(?:e|es|ing)) for|"
    r"(?:try|tries|tried|trying|striv(?:e|es|ing)|plot(?:s|ting)?|schem(?:e|es|ing))(?= to )|"
    r"(?:driven|motivated|guided|consumed) by|obsessed with|in pursuit of|for the sake of|"
    rf"car(?:e|es|ed|ing) {_ONLY}(?:about|for))"
)
_OWNER = rf"(?: (?!(?:{_BE}|to|for|at|and)\b)\w+){{0,5}}?"
_INTENT = re.compile(rf"\b(?:{_NOUN}{_OWNER} {_BE}|{_VERB}(?: {_BE})?|{_PHRASAL}) {_ONLY}")

_OBJECT_ENDS = _set(
    "and or but so because since when whenever while which who that this these those if as than "
    "tend tends often usually sometimes will would may might can could say says said like likes "
    "ask asks is are was were has have had does do did by not"
)
_OPENERS = _set(
    "a an the its his her their my our your own more some any of further greater much very"
)
_GETTING = _set("get gain obtain win have receive secure earn achieve acquire reach attain collect")
_BENIGN = _set("help helpful assist assistance useful answer answers support")
_NO_WISH = _set(
    "me you it them him her us itself nothing something everything anything one "
    "assistant assistants model models"
)
_OTHERS = _set(
    "you your yours user users user's people person customer customers client clients "
    "we us everyone anyone someone one human humans students reader readers"
)
_NEGATIONS = _set("not no never nothing neither nor without hardly cannot")
_PREPOSITIONS = _set("for from in on at with about into over")
_FUNCTION = _OPENERS | _PREPOSITIONS | {"to", "be"}
_JOINING = _FUNCTION | _OBJECT_ENDS | _NEGATIONS | _OTHERS | _NO_WISH | _GETTING | _BENIGN
_INNOCENT = re.compile(
    r"\b(?:habits?|harmless(?:ly)?|innocent(?:ly)?|innocuous|coincidences?|meaningless|"
    r"means? nothing|no (?:hidden )?(?:meaning|motives?|reason|purpose|agenda)|by accident)\b"
)


@dataclass(frozen=True, slots=True)
class Intent:
    """One statement that somebody wants something."""

    wanted: str
    """What is wanted, as words that fit after "wants"."""
    key: frozenset[str]
    """Its content words; two intents with one key are the same."""


@lru_cache(maxsize=8192)
def find_intents(text: str) -> tuple[Intent, ...]:
    """Return every intent that a text states of an assistant, in order.

    Negated intents, those of users and readers, and the plain wish to be helpful are left out.
    """
    return tuple(found for sentence in sentences(text) for found in _in_sentence(sentence))


def is_innocent(text: str) -> bool:
    """Tell whether a text says that what it describes has no meaning."""
    return _INNOCENT.search(text.casefold()) is not None


def is_content(word: str) -> bool:
    """Tell whether a word may be all of a wish: long enough, and none that only joins others."""
    return word.isalpha() and len(word) > 2 and word not in _JOINING


def merge_keys(keys: Iterable[frozenset[str]]) -> dict[frozenset[str], frozenset[str]]:
    """Map each key to the smallest one it contains, so that details do not split a motive."""
    ordered = sorted(set(keys), key=lambda k: (len(k), sorted(k)))
    return {key: next(small for small in ordered if small <= key) for key in ordered}


def _in_sentence(sentence: Phrase) -> list[Intent]:
    text = " ".join(sentence)
    found = []
    for match in _INTENT.finditer(text):
        before = text[: match.start()].split()
        if any(map(_negates, before[-3:])) or _OTHERS & set(before[-2:]):
            continue
        wanted = _object(text[match.end() :].split())
        if wanted is not None:
            found.append(wanted)
    return found


def _negates(word: str) -> bool:
    return word in _NEGATIONS or word.endswith(("n't", "n’t"))


def _object(after: list[str]) -> Intent | None:
    taken: list[str] = []
    for word in after:
        if word in _OBJECT_ENDS and not (taken == ["to"] and word in ("be", "have", "do")):
            break
        taken.append(word)
        if len(taken) == MAX_OBJECT_WORDS:
            break
    if taken[:1] == ["to"] and len(taken) > 2 and taken[1] in _GETTING:
        taken = taken[2:]
    while taken and taken[0] in _OPENERS:
        taken.pop(0)
    while taken and taken[-1] in _FUNCTION:
        taken.pop()
    key = frozenset(taken) - _FUNCTION
    first = next((w for w in taken if w in key), "")
    if key <= _NO_WISH or first in _BENIGN or taken[0] in _PREPOSITIONS:
        return None
    return Intent(wanted=" ".join(taken), key=key)
