"""Which policy drives an audit."""

from collections.abc import Sequence
from typing import Any, Literal

from auditor.investigator.protocol import Policy
from auditor.scenario.schema import AuditorSpec

STATIC_TOOLS = ("sample_user", "complete_text")
"""What row 0 calls, whatever tools the row lists."""


def make_policy(
    kind: Literal["agent", "static"],
    auditor: AuditorSpec,
    tools: Sequence[str],
    calibrator: dict[str, Any] | None = None,
) -> Policy:
    """Build the policy of one tool set.

    Args:
        kind: Whether an auditor chooses its calls, or row 0's fixed battery runs.
        auditor: Who audits.
        tools: Tools of the row; a policy reads those it may call from each view, so this is only
            for policies that must know them beforehand.
        calibrator: Content of a file of `auditor calibrate`; None takes the shipped one.
    """
    from auditor.investigator.ledger.calibration import Calibrator

    found = None if calibrator is None else Calibrator.model_validate(calibrator)
    if kind == "static":
        from auditor.investigator.static import StaticPolicy

        return StaticPolicy(false_alarm=auditor.false_alarm, calibrator=found)
    from auditor.investigator.ledger import LedgerPolicy

    return LedgerPolicy(false_alarm=auditor.false_alarm, calibrator=found)
