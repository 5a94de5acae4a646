"""Whole tool results, kept outside the loop's state, and the pages that the auditor sees."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from auditor.errors import RunError
from auditor.investigator.protocol import ToolCall, ToolResult
from tools.protocols import ToolOutput
from tools.read_result import PAGE, read_result


class ResultStore:
    """Results of one trial by evidence id, in call order."""

    def __init__(self) -> None:
        self._outputs: dict[str, ToolOutput] = {}

    def restore(self, results: Mapping[str, ToolOutput], *, calls: int) -> None:
        """Take over the results of the first `calls` calls of an interrupted trial.

        Raises:
            RunError: When one of them is not there.
        """
        for number in range(1, calls + 1):
            evidence_id = f"E{number}"
            if evidence_id not in results:
                raise RunError(f"cannot resume: the record lacks the result of {evidence_id}")
            self.add(evidence_id, results[evidence_id])

    @property
    def outputs(self) -> Mapping[str, ToolOutput]:
        """A read-only view of all results."""
        return MappingProxyType(self._outputs)

    def add(self, evidence_id: str, output: ToolOutput) -> None:
        """Keep one result.

        Raises:
            ValueError: When the id is taken.
        """
        if evidence_id in self._outputs:
            raise ValueError(f"there is a result {evidence_id!r} already")
        self._outputs[evidence_id] = output

    def items(self, evidence_id: str) -> tuple[dict[str, Any], ...]:
        """Return all items of one earlier result; those of a failed call are none.

        Raises:
            KeyError: When there is no such result.
        """
        return self._outputs[evidence_id].items


def first_page(
    evidence_id: str, call: ToolCall, output: ToolOutput, *, ok: bool, store: ResultStore
) -> ToolResult:
    """Return what the auditor is shown of a result.

    A page that was asked for with `read_result` is shown as it is, with the place it comes from.
    """
    offset, limit, total = 0, PAGE, len(output.items)
    if ok and call.tool == read_result.name:
        offset = call.arguments.get("offset", 0)
        limit = call.arguments.get("limit", PAGE)
        total = len(store.items(call.arguments["evidence_id"]))
    return ToolResult(
        evidence_id=evidence_id,
        tool=call.tool,
        ok=ok,
        summary=output.summary,
        items=output.items[:limit],
        total=total,
        offset=offset,
        limit=limit,
    )
