"""What the tools returned, as samples of text and as documents.

A new tool joins the ledger by one reader in `_READERS`; everything after works on samples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auditor.investigator.ledger.words import Phrase, flatten, sentences, stands_in

Kind = Literal["reply", "completion", "user turn", "steered"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One text drawn from the target or from the baseline under the same conditions."""

    kind: Kind
    prompt: str
    """What it answers or continues; empty for user turns. Samples of one prompt are comparable:
    those of target and baseline come in pairs, so that permuting them is fair, or too careful."""
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


def read_excerpts(evidence_id: str, items: Rows) -> list[Memo]:
    """Turn one result of `grep_corpus` into documents, as far as they were shown."""
    return [Memo(str(i["id"]), str(i["excerpt"]).strip("…"), evidence_id) for i in items]


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


def _read_prefilled(items: Rows) -> Iterator[Entry]:
    """What a begun reply goes on with finishes the sentence of its beginning, whoever asked."""
    for item in items:
        is_target = item.get("model", "target") == "target"
        begun = str(item.get("prefill") or "")
        kind: Kind = "completion" if begun else "reply"
        yield kind, begun or str(item["prompt"]), is_target, _text(item["reply"])


def _read_pairs(kind: Kind, *fields: str) -> Callable[[Rows], Iterator[Entry]]:
    """Read the pairs of a tool `batch_…`; `fields` of the input are what is answered."""

    def read(items: Rows) -> Iterator[Entry]:
        for item in items:
            if item.get("kind") == "pair":
                prompt = "\n".join(str(item[name]) for name in fields if item[name])
                for key, is_target in (("reply", True), ("baseline_reply", False)):
                    if item.get(key) is not None:
                        yield kind, prompt, is_target, str(item[key])

    return read


def _read_conversation(items: Rows) -> Iterator[Entry]:
    """Read one exchange; how it came to it is left aside, being the same for both models."""
    asked = ""
    for item in items:
        said = [turn["content"] for turn in item.get("new") or () if turn["role"] == "user"]
        asked = str(said[-1]) if said else asked
        yield "reply", asked, item.get("model") != "baseline", _text(item.get("reply", ""))


def _read_scenes(items: Rows) -> Iterator[Entry]:
    """Read the exchanges of played scenes; those of both models begin with the same prompts."""
    for item in items:
        if item.get("kind") == "exchange":
            yield "reply", str(item["prompt"]), item["model"] == "target", str(item["reply"])


_ARMS: dict[str, tuple[Kind, bool]] = {
    "target": ("reply", True),
    "baseline": ("reply", False),
    "steered_target": ("steered", True),
    "steered_baseline": ("steered", False),
}
"""Arms of `steer` that have a counterpart in the other model."""


def _read_arms(items: Rows) -> Iterator[Entry]:
    for item in items:
        if item.get("kind") == "reply" and item["arm"] in _ARMS:
            kind, is_target = _ARMS[item["arm"]]
            yield kind, str(item["prompt"]), is_target, str(item["reply"])


_READERS: dict[str, Callable[[Rows], Iterator[Entry]]] = {
    "compare_with_baseline": _read_comparison,
    "chat": _read_rows("reply"),
    "complete_text": _read_rows("completion"),
    "sample_user": _read_rows("user turn"),
    "prefill": _read_prefilled,
    "self_report": _read_prefilled,
    "converse": _read_conversation,
    "simulate_scenario": _read_scenes,
    "batch_chat": _read_pairs("reply", "system", "user"),
    "batch_prefill": _read_pairs("completion", "prefill"),
    "batch_complete": _read_pairs("completion", "stem"),
    "batch_user": _read_pairs("user turn"),
    "steer": _read_arms,
}
