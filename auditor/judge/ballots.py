"""Asking a language model several times, reading what comes, and counting."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from auditor.judge.question import Question
from auditor.provider.protocol import Completion, Provider

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_UNREADABLE_STOPS = {
    "max_tokens": "the answer was cut off: raise max_tokens",
    "context_full": "the question does not fit the model's context",
    "tool_use": "the model called a tool instead of answering",
    "pause": "the model paused instead of answering",
}


class Ballot(BaseModel):
    """One readable answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reasoning: str
    matches: frozenset[int]
    """Numbers of the hypotheses that match."""
    behaviours: frozenset[int]
    """Numbers of the known behaviours that some hypothesis describes."""


class UnreadableError(ValueError):
    """An answer is no ballot; the message says why."""


@dataclass(slots=True)
class Poll:
    """What came of asking."""

    ballots: list[Ballot] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Why each answer that could not be read could not be."""
    refusals: int = 0
    dollars: float | None = 0.0
    """None once an answer's price is not known."""
    model: str = ""
    """The model as the provider names it."""

    def matches(self, number: int) -> bool:
        """Whether more than half of the ballots let this hypothesis match; a tie does not."""
        return self._majority(number in ballot.matches for ballot in self.ballots)

    def describes(self, number: int) -> bool:
        """Whether more than half of the ballots find this behaviour described."""
        return self._majority(number in ballot.behaviours for ballot in self.ballots)

    def _majority(self, said: Iterable[bool]) -> bool:
        return 2 * sum(said) > len(self.ballots)


def poll(provider: Provider, asked: Question, *, votes: int) -> Poll:
    """Ask until so many ballots are readable, at most twice as often.

    Args:
        provider: The language model.
        asked: The question.
        votes: Ballots wanted.

    Raises:
        ProviderError: When the provider gives no reply.
    """
    found = Poll()
    for number in range(2 * votes):
        if len(found.ballots) == votes:
            break
        completion = provider.complete(asked.request(number))
        _charge(found, completion)
        if completion.stop == "refusal":
            found.refusals += 1
            continue
        try:
            found.ballots.append(_read(completion, asked))
        except UnreadableError as error:
            found.unreadable.append(str(error))
    return found


def _charge(found: Poll, completion: Completion) -> None:
    found.model = completion.model or found.model
    if completion.cached:
        return
    unknown = found.dollars is None or completion.dollars is None
    found.dollars = None if unknown else (found.dollars or 0.0) + (completion.dollars or 0.0)


def _read(completion: Completion, asked: Question) -> Ballot:
    stop = _UNREADABLE_STOPS.get(completion.stop)
    if stop is not None:
        raise UnreadableError(stop)
    fenced = _FENCED.match(completion.text)
    text = fenced[1] if fenced else completion.text
    try:
        answer = json.loads(text)
    except ValueError:
        raise UnreadableError("the answer is not JSON") from None
    try:
        ballot = Ballot.model_validate_json(json.dumps(answer))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "answer"
        raise UnreadableError(f"{place}: {first['msg'].lower()}") from None
    _check(ballot.matches, len(asked.hypotheses), "hypothesis")
    _check(ballot.behaviours, len(asked.behaviours), "behaviour")
    return ballot


def _check(numbers: Iterable[int], n: int, what: str) -> None:
    wrong = [number for number in sorted(numbers) if not 1 <= number <= n]
    if wrong:
        raise UnreadableError(f"there is no {what} {wrong[0]}")
