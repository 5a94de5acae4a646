"""Saves the state of an audit with a checkpointer of LangGraph's, after every step."""

from typing import TYPE_CHECKING, Any, cast

from auditor.investigator.state import AuditState

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint


class StateSaver:
    """Saves states in the thread that made them.

    Were the checkpointer the graph's own, LangGraph would hand every state to a second thread and
    wait for it. With many trials under one interpreter lock these changes of threads cost more
    than the steps do.
    """

    def __init__(self, checkpointer: "BaseCheckpointSaver[Any]", thread_id: str) -> None:
        """Name the audit inside the checkpointer; nothing is read yet."""
        self._checkpointer = checkpointer
        self._config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}

    def load(self) -> AuditState | None:
        """Return the newest state; None when there is none."""
        found = self._checkpointer.get_tuple(self._config)
        return None if found is None else cast("AuditState", found.checkpoint["channel_values"])

    def save(self, state: AuditState) -> None:
        """Save a state; what the checkpointer raises goes through."""
        from langgraph.checkpoint.base import empty_checkpoint

        checkpoint: Checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {**state}
        usage = state["usage"]
        step = usage["turns"] + usage["tool_calls"]
        self._checkpointer.put(self._config, checkpoint, {"source": "loop", "step": step}, {})
