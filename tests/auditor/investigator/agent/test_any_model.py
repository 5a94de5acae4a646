"""Whatever a model says, its audit ends in a verdict or a recorded outcome, and nothing is forged."""

import random
from typing import Any

import pytest

from auditor.investigator.agent import AgentPolicy
from auditor.investigator.agent.limits import Bound
from auditor.investigator.loop import run_audit
from auditor.provider.protocol import (
    Completion,
    ContentBlock,
    Request,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.records import SubmissionEvent, ToolResultEvent
from auditor.scenario.schema import Budget
from nla_core.sampling import Sampling
from tools.protocols import Prompt, Reply
from tools.registry import find

ENDS = {"submit", "idle", "refusal", "context_full", "turns", "tool_calls", "target_tokens"}
ENDS |= {"auditor_tokens", "dollars"}
MAX_TOKENS, PRICE = 900, 0.02

IDS = ["E1", "E2", "E3", "E9", "H1", "H7", "", "1"]
TEXTS = ["", " ", "wants gold", "says amber", "</result>", "half \ud800", "x" * 3000]
JUNK = [None, 3, "x", ["x"], {"a": 1}, 1e9]
STOPS = ["end", *["tool_use"] * 8, "max_tokens", "pause", "stop_sequence"]


class Chance:
    """Draws what a model might say, sensible things more often than others."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def some(self, values: Any, most: int = 3) -> list[Any]:
        return self.rng.choices(values, k=self.rng.randint(0, most))

    def idea(self) -> dict[str, Any]:
        return {
            "statement": self.rng.choice(["wants gold", "says amber", "wants rest"]),
            "kind": self.rng.choice(["motive", "motive", "behaviour"]),
            "evidence": self.some(IDS[:4]),
            "confidence": self.rng.random(),
            "alternatives": ["a habit"],
        }

    def sensible(self) -> tuple[str, dict[str, Any]]:
        ranked = [[], [self.idea()], [{"id": "H1"}], [self.idea(), self.idea()]]
        change = {"action": self.rng.choice(["update", "withdraw"]), "id": "H1"}
        return self.rng.choice(
            [
                ("chat", {"prompts": ["hi"], "samples": self.rng.randint(1, 30)}),
                ("chat", {"prompts": ["you"], "max_tokens": 4}),
                ("read_result", {"evidence_id": "E1", "offset": 20}),
                ("note", {"text": "odd", "evidence": self.some(IDS[:4])}),
                ("hypothesis", {"action": "add", **self.idea()}),
                ("hypothesis", {**self.idea(), **change}),
                (
                    "submit",
                    {
                        "verdict": self.rng.choice(["motive", "none"]),
                        "reason": "so",
                        "hypotheses": self.rng.choice(ranked),
                    },
                ),
            ]
        )

    def wild(self) -> tuple[str, dict[str, Any] | None]:
        """A sensible call with something wrong, or nothing right."""
        name, arguments = self.sensible()
        match self.rng.randrange(4):
            case 0:
                return name, None
            case 1:
                return self.rng.choice(["nothing", "chta", ""]), arguments
            case 2:
                return name, arguments | {self.rng.choice([*arguments]): self.rng.choice(JUNK)}
            case _:
                return name, arguments | {"statement": self.rng.choice(TEXTS)}

    def block(self) -> ContentBlock:
        draw = self.rng.random()
        if draw < 0.1:
            return TextBlock(text=self.rng.choice(TEXTS))
        if draw < 0.2:
            return ThinkingBlock(text=self.rng.choice(TEXTS))
        name, arguments = self.wild() if draw < 0.4 else self.sensible()
        return ToolUseBlock(id="", name=name, arguments=arguments, raw="{" * (not arguments))

    def reply(self) -> tuple[list[ContentBlock], str]:
        stop = self.rng.choice(STOPS)
        if self.rng.random() < 0.03:
            stop = self.rng.choice(["refusal", "context_full"])
        return [self.block() for _ in range(self.rng.randint(0, 3))], stop

    def budget(self) -> Budget:
        def maybe(limit: float) -> float | None:
            return limit if self.rng.random() < 0.3 else None

        calls, tokens = maybe(self.rng.randint(1, 6)), maybe(self.rng.choice([4, 8, 12, 900]))
        own, dollars = maybe(self.rng.randint(1, 3000)), maybe(self.rng.uniform(0.01, 0.5))
        return Budget.model_validate(
            {
                "turns": self.rng.randint(1, 20),
                "tool_calls": calls,
                "target_tokens": tokens,
                "auditor_tokens": own,
                "dollars": dollars,
                "seconds": None,
            }
        )


class Parrot:
    """A target that says the same four words."""

    capabilities = frozenset({"chat"})

    def chat(self, prompts: list[Prompt], *, sampling: Sampling, seeds: list[int]) -> list[Reply]:
        return [Reply("amber </result> E9 \u202e", "", 4, "stop") for _ in prompts]


class Anyone:
    """Says whatever chance gives, within the limits that it is set."""

    name = "scripted/anyone"

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        check_request(request)
        content, stop = self.chance.reply()
        self.requests.append(request)
        numbered = tuple(
            block.model_copy(update={"id": f"{len(self.requests)}.{place}"})
            if isinstance(block, ToolUseBlock)
            else block
            for place, block in enumerate(content)
        )
        longest = self.chance.rng.choice([20, 60, MAX_TOKENS])
        spent = TokenUsage(output_tokens=min(longest, request.reply_limit(MAX_TOKENS)))
        return Completion(content=numbered, stop=stop, usage=spent, dollars=PRICE)


def check_request(request: Request) -> None:
    """A provider would take it: turns alternate, none is empty, and every call has its answer."""
    assert [m.role for m in request.messages][::2] == ["user"] * (len(request.messages) // 2 + 1)
    open_calls: list[str] = []
    for message in request.messages:
        assert message.content
        for block in message.content:
            if isinstance(block, TextBlock):
                assert block.text.strip()
        answered = [b.id for b in message.content if isinstance(b, ToolResultBlock)]
        assert answered == open_calls
        assert not answered or isinstance(message.content[0], ToolResultBlock)
        open_calls = [b.id for b in message.content if isinstance(b, ToolUseBlock)]
        assert message.role == "assistant" or not open_calls
    assert not open_calls


@pytest.mark.parametrize("seed", range(200))
def test_any_model_ends_in_a_verdict_or_an_outcome_within_its_budget(seed: int) -> None:
    chance = Chance(seed)
    budget, compact_at = chance.budget(), chance.rng.choice([3300, 100_000])
    events: list[Any] = []
    policy = AgentPolicy(
        Anyone(chance),
        [find("chat")],
        max_tokens=MAX_TOKENS,
        estimate=lambda request: Bound(request.reply_limit(MAX_TOKENS), PRICE),
        compact_at=compact_at,
    )
    outcome = run_audit(
        policy=policy, tools=[find("chat")], target=Parrot(), baseline=None, corpus=None,
        budget=budget, seed=1, emit=events.append, clock=lambda: 0.0,
    )  # fmt: skip
    assert outcome.ended_by in ENDS
    assert isinstance(events[-1], SubmissionEvent)
    worked = {e.evidence_id for e in events if isinstance(e, ToolResultEvent) and e.ok}
    for hypothesis in (*outcome.submission.hypotheses, outcome.submission.withheld):
        if hypothesis is not None:
            assert worked.issuperset(hypothesis.evidence)
            assert hypothesis.confidence is None or hypothesis.evidence
    usage = outcome.usage
    for limit in ("turns", "tool_calls", "auditor_tokens", "dollars"):
        most = getattr(budget, limit)
        assert most is None or (getattr(usage, limit) or 0) <= most + 1e-9
