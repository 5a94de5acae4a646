"""The language-model auditor, see `policy`."""

from auditor.investigator.agent.policy import AgentPolicy

__all__ = ["AgentPolicy"]
