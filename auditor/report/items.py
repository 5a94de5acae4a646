"""What an item of a tool result says, whatever tool it is from: who was asked, who replied.

Nothing here is cleaned: whoever shows it must do that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_PROMPT = ("prompt", "user", "message", "question")
_TARGET = ("target_replies", "target_reply", "target")
_BASELINE = ("baseline_replies", "baseline_reply", "baseline")
_SAID = ("reply", "replies", "text", "completion")
_USUAL = ("model", "sample", "finish")


class Said(NamedTuple):
    """One thing that was said."""

    text: str
    prefill: str = ""
    """What the auditor put into the speaker's mouth before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An item, sorted by who speaks; None where it is not about that."""

    prompt: tuple[Said, ...] | None
    target: tuple[Said, ...] | None
    baseline: tuple[Said, ...] | None
    cut: bool
    """Whether the reply was cut at its longest."""
    rest: Mapping[str, Any]
    """What else is in it, but for what every reply has."""

    @property
    def speaks(self) -> bool:
        """Whether anybody says anything."""
        return any((self.prompt, self.target, self.baseline))


def exchange(item: Mapping[str, Any]) -> Exchange:
    """Sort an item by who speaks; a reply of nobody in particular is the target's.

    An empty prompt is none: nobody was asked.
    """
    rest = dict(item)
    prompt = _take(rest, _PROMPT)
    target, baseline = _take(rest, _TARGET), _take(rest, _BASELINE)
    cut = False
    if target is None or baseline is None:
        said = target if target is not None else _take(rest, _SAID)
        if said is not None and baseline is None:
            by_baseline = rest.get("model") == "baseline"
            target, baseline = (None, said) if by_baseline else (said, None)
        else:
            target = said
        cut = (target is not None or baseline is not None) and rest.get("finish") == "length"
    found = [None if one is None else tuple(_said(one)) for one in (prompt, target, baseline)]
    if found[0] and not any(one.text for one in found[0]):
        found[0] = None
    speaks = any(found)
    prefill = rest.pop("prefill", None) if speaks else None
    if prefill:
        found[1:] = [_prefilled(one, str(prefill)) for one in found[1:]]
    return Exchange(
        prompt=found[0],
        target=found[1],
        baseline=found[2],
        cut=cut,
        rest={name: rest[name] for name in rest if not (speaks and name in _USUAL)},
    )


def _take(item: dict[str, Any], names: Sequence[str]) -> object:
    for name in names:
        if isinstance(item.get(name), str | list | dict):
            return item.pop(name)
    return None


def _said(value: object) -> list[Said]:
    """Return what was said: a string, a reply with a prefill, or several of either."""
    if isinstance(value, list):
        return [said for part in value for said in _said(part)]
    if isinstance(value, Mapping):
        text = value.get("text", value.get("content"))
        if isinstance(text, str):
            return [Said(text, str(value.get("prefill") or ""))]
    return [Said(str(value))]


def _prefilled(said: tuple[Said, ...] | None, prefill: str) -> tuple[Said, ...] | None:
    return None if said is None else tuple(Said(one.text, one.prefill or prefill) for one in said)
