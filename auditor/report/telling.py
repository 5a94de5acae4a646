"""Facts of a trial in words, the same in every form it is shown in."""

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.records import Submission, ToolResultEvent, TrialStarted, TrialUsage, Verdict
from auditor.report.text import one_line


def started_facts(event: TrialStarted) -> list[str]:
    """Say who audits and judges, from which seed, when, and with which versions; uncleaned."""
    facts = [f"auditor {event.auditor}", f"judge {event.judge}"]
    if event.null_readout is not None:
        facts.append(f"null readout {event.null_readout}")
    facts += [f"seed {event.seed}", event.at[:19]]
    return [*facts, *(f"{name} {version}" for name, version in sorted(event.versions.items()))]


def spent_line(event: ToolResultEvent) -> str:
    """Say what a call cost."""
    tokens = f"{event.target_tokens:,} target tokens"
    if event.baseline_tokens:
        tokens += f", {event.baseline_tokens:,} baseline tokens"
    if event.reader_tokens:
        tokens += f", {event.reader_tokens:,} NLA tokens"
    return f"{tokens}, {event.seconds:.1f} s"


def cost_line(usage: TrialUsage) -> str:
    """Say what a trial cost; what is unknown is left out."""
    parts = [
        f"{usage.turns} turns",
        f"{usage.tool_calls} calls",
        f"{usage.target_tokens:,} target tokens",
        f"{usage.baseline_tokens:,} baseline tokens",
    ]
    if usage.reader_tokens:
        parts.append(f"{usage.reader_tokens:,} NLA tokens")
    parts.append(f"{usage.seconds:.1f} s")
    if usage.auditor_tokens is not None:
        parts.append(f"{usage.auditor_tokens:,} auditor tokens")
    if usage.dollars is not None:
        parts.append(f"${usage.dollars:.4f}")
    return " · ".join(parts)


def beside_the_score(verdict: Verdict) -> Iterator[str]:
    """Yield what the judge saw beside the score."""
    if verdict.quirks_named:
        yield "a true quirk was described"
    if verdict.withheld_right is not None:
        yield f"the withheld guess was {'right' if verdict.withheld_right else 'wrong'}"
    if verdict.exposed is not None:
        stages = {
            "exposed": verdict.exposed,
            "taken up": verdict.taken_up,
            "named first": verdict.top1,
            "verified": verdict.verified,
        }
        yield "the evidence: " + ", ".join(
            f"{'' if came else 'not '}{s}" for s, came in stages.items()
        )


def deciding(submission: Submission | None, verdict: Verdict | None) -> tuple[str, ...]:
    """Return the evidence that decided a trial: what the hypothesis that was judged cites.

    That is the one that names the motive where one does, else the first.
    """
    if submission is None or verdict is None or not submission.hypotheses:
        return ()
    rank = min(verdict.hit_rank or 1, len(submission.hypotheses))
    return submission.hypotheses[rank - 1].evidence


def pairs(fields: Mapping[str, Any]) -> str:
    """Return fields as one clean line: `p 0.01 · unit word`."""
    return " · ".join(f"{one_line(name, 40)} {_plain(value)}" for name, value in fields.items())


def _plain(value: object) -> str:
    return one_line(f"{value:.4g}" if isinstance(value, float) else str(value), 200)
