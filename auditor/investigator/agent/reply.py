"""From a model's reply to a move: what is carried out, what is refused, and what it is told."""

from collections.abc import Mapping
from typing import Any

from auditor.investigator.agent import beliefs, submitting, todo
from auditor.investigator.agent.conversation import said, unused_tools
from auditor.investigator.agent.desk import (
    FORMS,
    HypothesisForm,
    Note,
    Refused,
    SubmitForm,
    TodoForm,
    filled,
)
from auditor.investigator.agent.guards import arguments_of, count_call
from auditor.investigator.agent.memory import Memory, Slot, Waiting
from auditor.investigator.agent.prompt import CUT, NO_CALL, NOT_MADE
from auditor.investigator.protocol import Move, ToolCall, View
from auditor.provider.protocol import Completion, ThinkingBlock, ToolResultBlock, ToolUseBlock
from auditor.records import Submission
from tools.registry import Tool

MOST_DESK_TURNS = 6
"""Turns in a row that only keep notes, hypotheses and what is to do, before further ones count as
idle."""
_THOUGHT_CHARS = 4000


class ReplyReader:
    """Carries out one reply, call by call, in the model's order."""

    def __init__(
        self, view: View, memory: Memory, tools: Mapping[str, Tool], last: str | None
    ) -> None:
        """Take what the reply is read against.

        Args:
            view: What the policy sees.
            memory: Its state, which is changed.
            tools: Tools of the audit by name.
            last: The limit that makes this the last turn, if it is.
        """
        self._view, self._memory, self._tools, self._last = view, memory, tools, last
        self._ledger = beliefs.Ledger(memory, view.hypotheses)
        self._calls: list[ToolCall] = []
        self._notes: list[str] = []
        self._told: list[str] = []
        self._changed = False
        self._submission: Submission | None = None

    def move(self, completion: Completion) -> Move:
        """Return the move that a reply stands for."""
        memory = self._memory
        memory.turns.append(said(completion))
        uses = () if completion.stop == "refusal" else completion.tool_uses
        for use in uses:
            memory.slots.append(self._slot(use))
            if self._submission is not None:
                break
        hypotheses = self._ledger.save()
        ended_by = "refusal" if completion.stop == "refusal" else self._last
        if self._submission is not None or ended_by is not None:
            self._calls = []
        memory.nudge = "" if uses else NO_CALL
        if completion.stop == "max_tokens":
            memory.nudge = CUT
        memory.desk_turns = 0 if self._calls else memory.desk_turns + 1
        return Move(
            thought=_thought(completion, self._told),
            calls=tuple(self._calls),
            hypotheses=None if hypotheses == self._view.hypotheses else hypotheses,
            note="\n".join(self._notes),
            submission=self._submission,
            memory=memory.dump(),
            busy=self._changed and memory.desk_turns <= MOST_DESK_TURNS,
            last_word=True,
            ended_by=None if self._submission is not None else ended_by,
            **spent(completion),
        )

    def _slot(self, use: ToolUseBlock) -> Slot:
        try:
            arguments = arguments_of(use, self._tools)
            if use.name in FORMS:
                return ToolResultBlock(id=use.id, text=self._at_desk(use.name, arguments))
            return self._passed_on(use, arguments)
        except Refused as refusal:
            self._told.append(f"{use.name[:80]} was refused: {refusal}")
            return ToolResultBlock(id=use.id, text=str(refusal), is_error=True)

    def _passed_on(self, use: ToolUseBlock, arguments: dict[str, Any]) -> Waiting:
        if self._last is not None:
            raise Refused("not made: this was your last turn")
        left = self._view.remaining.get("tool_calls")
        if left is not None and len(self._calls) >= left:
            raise Refused(NOT_MADE.format(limit="tool_calls are"))
        remark = count_call(use, self._memory)
        self._calls.append(ToolCall(tool=use.name, arguments=arguments))
        about = arguments.get("evidence_id")
        return Waiting(
            id=use.id, tool=use.name, about=about if isinstance(about, str) else "", remark=remark
        )

    def _at_desk(self, name: str, arguments: dict[str, Any]) -> str:
        form = filled(name, FORMS[name], arguments)
        match form:
            case Note():
                note, told = beliefs.keep_note(
                    form, self._memory, (*self._view.notes, *self._notes)
                )
                self._notes.append(note)
            case HypothesisForm():
                told = self._ledger.apply(form)
            case TodoForm(action="list"):
                return todo.carry_out(form, self._memory)
            case TodoForm():
                told = todo.carry_out(form, self._memory)
            case SubmitForm():
                return self._submit(form)
            case _:
                raise AssertionError(name)
        self._changed = True
        return told

    def _submit(self, form: SubmitForm) -> str:
        if self._calls:
            raise Refused("not handed in: wait for the results of the calls that you made with it")
        before = list(self._memory.objections)
        try:
            handed = submitting.take(
                form,
                self._memory,
                self._ledger.entries,
                unused=unused_tools(self._memory, self._view.tools),
                last=self._last is not None,
            )
        finally:
            self._changed |= self._memory.objections != before
        self._submission = handed.submission
        self._told += handed.remarks
        return "Handed in."


def _thought(completion: Completion, told: list[str]) -> str:
    """What the transcript shows of a turn: the model's words, or else its thoughts."""
    words = completion.text.strip()
    if not words:
        thoughts = [b.text for b in completion.content if isinstance(b, ThinkingBlock)]
        words = "\n".join(thoughts).strip()[:_THOUGHT_CHARS]
    ending = [] if completion.stop in ("end", "tool_use") else [f"[loop] stop: {completion.stop}"]
    return "\n".join([words or "(no words)", *(f"[loop] {line}" for line in told), *ending])


def spent(completion: Completion) -> dict[str, Any]:
    """What a reply cost: a stored one costs nothing now, but its tokens were generated."""
    return {
        "auditor_tokens": completion.usage.output_tokens,
        "dollars": 0.0 if completion.cached else completion.dollars,
    }
