"""Which words of a sentence stand under a negation, by simple rules that a person can check.

A *clause negator* (not, no, never, …) denies what follows up to the end of its clause: stronger
punctuation or a comma, "but", "and", "because", … A *phrase negator* (without, rather than, …)
denies the next few words only. Words that turn a negation around end it: "cannot resist", "does
not admit", "never stops", "does not want to lose". "not only" and "no doubt" are no negations.
The rules err on the side of reading a mention as denied only where English usually means it.
"""

from collections.abc import Collection, Sequence

PHRASE_REACH = 4
"""How many words a phrase negator reaches."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLAUSE_NEGATORS = _words(
    "not no never nor neither none nothing nobody cannot hardly barely scarcely uninterested "
    "disinterested"
)
_PHRASE_NEGATORS = (
    ("rather", "than"),
    ("instead", "of"),
    ("as", "opposed", "to"),
    ("other", "than"),
    ("indifferent", "to"),
    ("little", "interest", "in"),
    ("free", "of"),
    ("free", "from"),
    ("without",),
    ("unlike",),
    ("except",),
    ("excluding",),
    ("non",),
    *((word,) for word in _words("avoid avoids avoided avoiding lack lacks lacked lacking")),
    *((word,) for word in _words("reject rejects rejected rejecting")),
)
_NO_NEGATION = frozenset(
    [
        (first, second)
        for first in ("not", "n't")
        for second in ("only", "just", "merely", "simply", "solely")
    ]
    + [("no", "doubt"), ("no", "question"), ("without", "doubt"), ("without", "question")]
    + [("nothing", "but"), ("nothing", "more"), ("nothing", "less"), ("none", "other")]
)
_PUNCTUATION = frozenset(".,;:!?()—–-")
_CLAUSE_ENDS = _PUNCTUATION | _words(
    "but and because since while whereas although though which who so yet however unless until"
)
_PHRASE_ENDS = _CLAUSE_ENDS | _words("it they he she we i this to that")
_TURNS = _words(
    "resist resists resisting stop stops stopping cease ceases ceasing admit admits admitting "
    "reveal reveals revealing disclose discloses disclosing confess confesses confessing "
    "acknowledge acknowledges acknowledging hide hides hiding conceal conceals concealing "
    "lose loses losing relinquish relinquishes relinquishing surrender surrenders surrendering "
    "forgo forgoes forgoing avoid avoids avoiding lack lacks lacking without"
)
_DENIED_BUT_REAL = _TURNS | _words("hidden concealed lost stated mentioned admitted")
_OVER_THAT = _words(
    "evidence sign signs indication indications proof reason hint hints trace traces true case "
    "clear likely think believe seem appear"
)
_ASIDES = _words("however though actually really apparently indeed therefore perhaps probably")
_LINKING_VERBS = _words(
    "is was are were be seems seem appears appear plays play has have does do did can could will "
    "would"
)


def negated_positions(tokens: Sequence[str], inside: Collection[int] = ()) -> frozenset[int]:
    """Indices of the tokens that a negation before them denies.

    Args:
        tokens: Lower-case words and clause punctuation.
        inside: Indices that belong to a wording; a negator in there is part of the wording
            ("no oversight") and denies nothing.
    """
    denied: set[int] = set()
    for i in range(len(tokens)):
        if i in inside:
            continue
        if _is_clause_negator(tokens, i):
            denied.update(_clause_scope(tokens, i + 1))
        elif i not in denied and (length := _phrase_negator_length(tokens, i)):
            denied.update(_phrase_scope(tokens, i + length))
    return frozenset(denied)


def negated_after(tokens: Sequence[str], end: int) -> bool:
    """Whether what ends at `end` is denied by what follows: "approval is not the goal"."""
    if end >= len(tokens):
        return False
    if tokens[end].endswith("n't"):
        return _is_clause_negator(tokens, end)
    return (
        tokens[end] in _LINKING_VERBS
        and end + 1 < len(tokens)
        and _is_clause_negator(tokens, end + 1)
        and not any(token in _DENIED_BUT_REAL for token in tokens[end + 2 : end + 4])
    )


def _is_clause_negator(tokens: Sequence[str], i: int) -> bool:
    token = tokens[i]
    contracted = token.endswith("n't")
    if not contracted and token not in _CLAUSE_NEGATORS:
        return False
    following = tokens[i + 1] if i + 1 < len(tokens) else ""
    return ("n't" if contracted else token, following) not in _NO_NEGATION


def _phrase_negator_length(tokens: Sequence[str], i: int) -> int:
    following = tokens[i + 1] if i + 1 < len(tokens) else ""
    if (tokens[i], following) in _NO_NEGATION:
        return 0
    for phrase in _PHRASE_NEGATORS:
        if tuple(tokens[i : i + len(phrase)]) == phrase:
            return len(phrase)
    return 0


def _clause_scope(tokens: Sequence[str], start: int) -> list[int]:
    scope: list[int] = []
    i = start
    while i < len(tokens):
        if tokens[i] == "," and _aside_ends(tokens, i):
            i += 3
            continue
        if _ends_clause(tokens, i, start):
            break
        scope.append(i)
        if tokens[i] in _TURNS:
            break
        i += 1
    return scope


def _aside_ends(tokens: Sequence[str], i: int) -> bool:
    """Whether an aside such as ", however," starts at i."""
    return i + 2 < len(tokens) and tokens[i + 1] in _ASIDES and tokens[i + 2] == ","


def _ends_clause(tokens: Sequence[str], i: int, start: int) -> bool:
    token = tokens[i]
    if tuple(tokens[i : i + 2]) == ("so", "much"):
        return i > start
    if token in _CLAUSE_ENDS or tuple(tokens[i : i + 3]) == ("in", "order", "to"):
        return True
    if token == "that":
        return not any(before in _OVER_THAT for before in tokens[start:i])
    return token == "as" and tuple(tokens[start : start + 2]) == ("so", "much")


def _phrase_scope(tokens: Sequence[str], start: int) -> list[int]:
    scope: list[int] = []
    for i in range(start, min(start + PHRASE_REACH, len(tokens))):
        if tokens[i] in _PHRASE_ENDS:
            break
        scope.append(i)
    return scope
