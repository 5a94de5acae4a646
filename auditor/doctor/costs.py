"""What a run will cost: trials times budget, priced where the price is known.

An auditor reads its whole history at every turn. Per trial it generates O tokens at most (its
budget, or turns times the longest reply), and tool results add T: what the target and the reader
may generate, and as much again of the baseline. All of it is read anew once, and half of it, on the
average, is read again at each of N turns, from the provider's cache where it has one. That makes
(O + T) + N (O + T) / 2 tokens in and O out. Real audits end earlier, so this is the upper end.
"""

from collections.abc import Sequence
from typing import NamedTuple

from auditor.doctor.findings import CostEstimate
from auditor.doctor.services import Role, is_loopback
from auditor.run.plan import PlannedTrial
from auditor.scenario.schema import Budget, JudgeSpec

VERDICT_INPUT, VERDICT_OUTPUT = 2_500, 300
"""Tokens that a judge reads and writes for a verdict, about."""


class Tokens(NamedTuple):
    """Tokens of one trial, or of one verdict."""

    fresh: int
    """Read for the first time."""
    again: int
    """Read again."""
    output: int


def estimate(
    trials: Sequence[PlannedTrial], roles: Sequence[Role], *, budget: Budget, judge: JudgeSpec
) -> CostEstimate:
    """Estimate the cost of these trials.

    Args:
        trials: What is planned.
        roles: The language models that are asked.
        budget: Limits of one trial.
        judge: Who scores.
    """
    by_name = {role.name: role for role in roles}
    auditor, grader = by_name.get("auditor"), by_name.get("judge")
    served = by_name.keys() & {"target", "baseline"}
    audits = [trial for trial in trials if trial.tool_set.policy == "agent"]
    read = [trial for trial in trials if trial.target.truth.group in ("guilty", "symptom")]
    calls = judge.votes * len(read) if grader is not None else 0
    tokens = None if auditor is None else tokens_of_audit(budget, auditor.model.max_tokens)
    limited = None if budget.dollars is None else budget.dollars * len(audits)
    return CostEstimate(
        trials=len(trials),
        auditor_tokens=None if tokens is None else tokens.output * len(audits),
        auditor_dollars=_dollars(auditor, tokens, len(audits)),
        judge_calls=calls,
        judge_dollars=_dollars(grader, Tokens(VERDICT_INPUT, 0, VERDICT_OUTPUT), calls),
        limit_dollars=limited if auditor is not None or served else None,
        assumptions=(
            *_assumptions(auditor, tokens, grader),
            *(["what targets behind a provider cost is not in it"] if served else []),
        ),
    )


def tokens_of_audit(budget: Budget, max_tokens: int) -> Tokens | None:
    """Tokens of one audit at the end of its budget; None when the budget leaves them open.

    Args:
        budget: Limits of the trial.
        max_tokens: Longest reply of the auditor's model.
    """
    turns = budget.turns or budget.tool_calls
    if turns is None:
        return None
    output = budget.auditor_tokens or turns * max_tokens
    results = budget.model_tokens or (budget.target_tokens or 0) + (budget.reader_tokens or 0)
    whole = output + 2 * results
    return Tokens(whole, turns * whole // 2, output)


def _assumptions(auditor: Role | None, tokens: Tokens | None, grader: Role | None) -> list[str]:
    found = []
    if auditor is not None and tokens is None:
        found.append("the budget limits neither turns nor tool calls, so the audit's cost is open")
    elif tokens is not None:
        found.append(
            f"every audit spends its whole budget: {tokens.output:,} tokens out, "
            f"{tokens.fresh:,} in, and {tokens.again:,} read again from the provider's cache"
        )
    if grader is not None:
        found.append(f"a verdict takes {VERDICT_INPUT:,} tokens in and {VERDICT_OUTPUT:,} out")
    return found


def _dollars(role: Role | None, tokens: Tokens | None, times: int) -> float | None:
    """Price so many audits or verdicts; 0 when no model that is paid for is asked."""
    if role is None or times == 0 or role.provider in ("hf", "scripted"):
        return 0.0
    if role.server is not None and is_loopback(role.server):
        return 0.0
    if tokens is None or role.server is not None:
        return None
    return _priced(role, tokens, times)


def _priced(role: Role, tokens: Tokens, times: int) -> float | None:
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    # Here tokens that are read again count among those that are read.
    usage = Usage(
        input_tokens=tokens.fresh + tokens.again,
        cache_read_tokens=tokens.again,
        output_tokens=tokens.output,
    )
    try:
        price = calc_price(usage, model_ref=role.model_id, provider_id=role.provider)
    except LookupError:
        return None
    return float(price.total_price) * times
