"""Which policy drives an audit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from auditor.investigator.protocol import Policy
from auditor.provider.protocol import Provider, Request
from auditor.scenario.schema import AuditorSpec

if TYPE_CHECKING:
    from tools.registry import Tool

STATIC_TOOLS = ("sample_user", "complete_text")
"""What row 0 calls, whatever tools the row lists."""


def make_policy(
    kind: Literal["agent", "static"],
    auditor: AuditorSpec,
    tools: Sequence[str],
    calibrator: dict[str, Any] | None = None,
    provider: Provider | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Policy:
    """Build the policy of one tool set.

    Args:
        kind: Whether an auditor chooses its calls, or row 0's fixed battery runs.
        auditor: Who audits.
        tools: Tools of the row; a policy reads those it may call from each view, so this is only
            for policies that must know them beforehand.
        calibrator: Content of a file of `auditor calibrate`; None takes the shipped one.
        provider: The language model, for an auditor of kind `model`.
        settings: Arguments that the row fixes, by tool; the auditor is not told of them.

    Raises:
        ValueError: When an auditor of kind `model` is given no provider.
    """
    if kind == "agent" and auditor.kind == "model":
        from tools import registry

        return _agent(auditor, registry.tools_of_row(tools, settings or {}), provider)
    from auditor.investigator.ledger.calibration import Calibrator

    found = None if calibrator is None else Calibrator.model_validate(calibrator)
    if kind == "static":
        from auditor.investigator.static import StaticPolicy

        return StaticPolicy(false_alarm=auditor.false_alarm, calibrator=found)
    from auditor.investigator.ledger import LedgerPolicy

    return LedgerPolicy(false_alarm=auditor.false_alarm, calibrator=found)


def _agent(auditor: AuditorSpec, tools: Sequence["Tool"], provider: Provider | None) -> Policy:
    from auditor.investigator.agent import AgentPolicy
    from auditor.investigator.agent.limits import Bound
    from auditor.provider.estimate import Estimator

    model = auditor.model
    if model is None or provider is None:
        raise ValueError("an auditor of kind `model` needs a model and its provider")
    estimator = Estimator()

    def estimate(request: Request) -> Bound:
        most = estimator.bound(request, model)
        return Bound(most.output_tokens, most.dollars)

    return AgentPolicy(
        provider,
        tools,
        max_tokens=model.max_tokens,
        estimate=estimate,
        learn=estimator.learn,
    )
