"""Which judge a scenario asks for."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.judge.protocol import Judge
from auditor.judge.rubric import RubricJudge
from auditor.scenario.schema import JudgeSpec, LanguageModel, ResolvedScenario

if TYPE_CHECKING:
    from auditor.provider.protocol import Provider


def make_judge(resolved: ResolvedScenario, *, provider: "Provider | None" = None) -> Judge:
    """Build the judge of a scenario.

    Args:
        resolved: The scenario.
        provider: The language model of a judge that is one; None makes it from the scenario, once
            per process.

    Raises:
        UsageError: When the judge cannot be made, for instance because a key is missing.
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
        UsageError: When it cannot be made.
    """
    rubric = RubricJudge(motives)
    if spec.kind == "rubric":
        return rubric
    from auditor.judge.model import ModelJudge

    if provider is None:
        if spec.model is None:
            raise UsageError("a judge that is a model needs one: give it under judge.model")
        provider = _provider(spec.model.model_dump_json())
    return ModelJudge(
        provider,
        rubric=rubric,
        descriptions=descriptions,
        protocol=spec.protocol,
        votes=spec.votes,
    )


@lru_cache(maxsize=8)
def _provider(model: str) -> "Provider":
    # One provider for all trials of a process, so that its limit of requests at a time holds.
    from auditor.provider.factory import make_provider

    return make_provider(LanguageModel.model_validate_json(model))
