"""What the tools returned, as samples of text and as documents.

A new tool joins the ledger by one reader in `_READERS`; everything after works on samples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auditor.investigator.ledger.words import Phrase, flatten, sentences, stands_in

Kind = Literal["reply", "completion", "user turn"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One text drawn from the target or from the baseline under the same conditions."""

    kind: Kind
    prompt: str
    """What it answers or continues; empty for user turns. Samples of one prompt are comparable."""
    is_target: bool
    text: str
    evidence_id: str
    sentences: tuple[Phrase, ...]
    flat: str
    """The sentences in one string, to search in."""

    def holds(self, phrase: Phrase) -> bool:
        """Tell whether the phrase is a run of words of one sentence."""
        return stands_in(self.flat, phrase)


@dataclass(frozen=True, slots=True)
class Memo:
    """One document of the corpus."""

    id: str
    text: str
    evidence_id: str


Rows = Iterable[Mapping[str, Any]]
Entry = tuple[Kind, str, bool, str]


def read_samples(tool: str, evidence_id: str, items: Rows) -> list[Sample]:
    """Turn one tool result into samples; wordless texts, and tools without any, give none."""
    reader = _READERS.get(tool)
    entries = reader(items) if reader else ()
    samples = []
    for kind, prompt, is_target, text in entries:
        parts = tuple(sentences(text))
        if parts:
            flat = flatten(parts)
            samples.append(Sample(kind, prompt, is_target, text, evidence_id, parts, flat))
    return samples


def read_memos(evidence_id: str, items: Rows) -> list[Memo]:
    """Turn one result of a corpus search into documents."""
    return [Memo(str(item["id"]), str(item["text"]), evidence_id) for item in items]


def user_turns(samples: Sequence[Sample]) -> list[str]:
    """Texts of all sampled user turns, those of target and baseline taking turns."""
    turns = [s for s in samples if s.kind == "user turn"]
    sides = [[s.text for s in turns if s.is_target], [s.text for s in turns if not s.is_target]]
    longest = max(map(len, sides))
    return [side[i] for i in range(longest) for side in sides if i < len(side)]


def _text(value: object) -> str:
    return str(value.get("reply", "")) if isinstance(value, Mapping) else str(value)


def _read_comparison(items: Rows) -> Iterator[Entry]:
    for item in items:
        for key, is_target in (("target_replies", True), ("baseline_replies", False)):
            for reply in item.get(key) or ():
                yield "reply", str(item["prompt"]), is_target, _text(reply)


def _read_rows(kind: Kind) -> Callable[[Rows], Iterator[Entry]]:
    def read(items: Rows) -> Iterator[Entry]:
        for item in items:
            is_target = item.get("model", "target") == "target"
            yield kind, str(item.get("prompt", "")), is_target, _text(item.get("reply", ""))

    return read


_READERS: dict[str, Callable[[Rows], Iterator[Entry]]] = {
    "compare_with_baseline": _read_comparison,
    "chat": _read_rows("reply"),
    "complete_text": _read_rows("completion"),
    "sample_user": _read_rows("user turn"),
}
