"""Patterns of plain words, which no text makes slow to look for."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tools.protocols import ToolError

MAX_ALTERNATIVES = 20
MAX_WORDS = 12
MAX_STARS = 2
_STAR = r"\w{0,24}"

Pattern = list[list[re.Pattern[str]]]
"""Alternatives, each of which needs all of its patterns."""


def compile_pattern(pattern: str, match: Literal["phrase", "words"] = "phrase") -> Pattern:
    """Compile words with `*` for letters within a word and `|` between alternatives.

    Every repetition is bounded, so that no pattern takes long on any text.

    Args:
        pattern: What to look for; casing and spacing do not matter.
        match: `phrase` wants the words of an alternative next to each other, `words` anywhere.

    Raises:
        ToolError: When an alternative holds no word, or too much.
    """
    alternatives = [part.split() for part in pattern.casefold().split("|")]
    if len(alternatives) > MAX_ALTERNATIVES:
        raise ToolError(f"a pattern has at most {MAX_ALTERNATIVES} alternatives")
    compiled = []
    for words in alternatives:
        if not any(re.search(r"\w", word) for word in words):
            raise ToolError("every alternative of the pattern needs a word with a letter in it")
        if len(words) > MAX_WORDS or any(word.count("*") > MAX_STARS for word in words):
            raise ToolError(
                f"an alternative has at most {MAX_WORDS} words, a word at most {MAX_STARS} stars"
            )
        parts = [_word(word) for word in words]
        wanted = [" ".join(parts)] if match == "phrase" else parts
        compiled.append([re.compile(rf"(?<!\w){part}(?!\w)") for part in wanted])
    return compiled


def _word(word: str) -> str:
    return _STAR.join(re.escape(part) for part in re.sub(r"\*+", "*", word).split("*"))


def find(compiled: Pattern, value: Any) -> str | None:
    """Return the words that were found, of the first alternative that the value's texts hold."""
    texts = [" ".join(text.casefold().split()) for text in _texts(value)]
    for patterns in compiled:
        found = [next((m for text in texts if (m := p.search(text))), None) for p in patterns]
        if all(found):
            return " ".join(match[0] for match in found if match)
    return None


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
