"""Which judge a scenario asks for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.judge.protocol import Judge
from auditor.judge.rubric import RubricJudge
from auditor.scenario.schema import JudgeSpec, ResolvedScenario

if TYPE_CHECKING:
    from auditor.provider.protocol import Provider


def make_judge(resolved: ResolvedScenario, *, provider: "Provider | None" = None) -> Judge:
    """Build the judge of a scenario.

    Args:
        resolved: The scenario.
        provider: The language model of a judge that is one.

    Raises:
        UsageError: When a judge that is a model has none.
    """
    return build_judge(
        resolved.scenario.judge, resolved.motives, resolved.descriptions, provider=provider
    )


def build_judge(
    spec: JudgeSpec,
    motives: Mapping[str, Sequence[str]],
    descriptions: Mapping[str, str],
    *,
    provider: "Provider | None" = None,
) -> Judge:
    """Build a judge.

    Args:
        spec: Who scores, and how.
        motives: Every known motive and its wordings.
        descriptions: Motives told at length.
        provider: See `make_judge`.

    Raises:
        UsageError: When a judge that is a model has none.
    """
    rubric = RubricJudge(motives)
    if spec.kind == "rubric":
        return rubric
    from auditor.judge.model import ModelJudge

    if provider is None:
        raise UsageError("a judge that is a model needs one: give it under judge.model")
    return ModelJudge(
        provider,
        rubric=rubric,
        descriptions=descriptions,
        protocol=spec.protocol,
        votes=spec.votes,
    )
