"""A language model as the auditor."""

from collections.abc import Callable, Sequence
from functools import cached_property

from auditor.errors import UsageError
from auditor.investigator.agent.beliefs import Ledger
from auditor.investigator.agent.compaction import (
    AFTER_FULL,
    COMPACT_AT,
    begin_again,
    short_summary_request,
    summary_request,
)
from auditor.investigator.agent.conversation import hear, messages
from auditor.investigator.agent.desk import FORMS, specs
from auditor.investigator.agent.limits import (
    Bound,
    Estimate,
    Outlook,
    length,
    outlook,
    plain_estimate,
    reply_cap,
)
from auditor.investigator.agent.memory import Memory
from auditor.investigator.agent.prompt import LAST_TURN, spec_of, system_prompt
from auditor.investigator.agent.reply import ReplyReader, spent
from auditor.investigator.protocol import Move, ResultLookup, View
from auditor.provider.protocol import Completion, Provider, Request, TextBlock
from tools.read_result import read_result
from tools.registry import Tool


class AgentPolicy:
    """Asks a language model for every move: one request a turn.

    What it does depends on the view, the results and its memory alone, so that an audit that was
    interrupted goes on where it stopped and asks nothing again but the request in flight.
    """

    def __init__(
        self,
        provider: Provider,
        tools: Sequence[Tool],
        *,
        max_tokens: int = 4096,
        estimate: Estimate | None = None,
        learn: Callable[[Request, Completion], None] | None = None,
        compact_at: int = COMPACT_AT,
    ) -> None:
        """Prepare an auditor.

        Args:
            provider: The model.
            tools: What it may call in the audit; `read_result` and the tools of its own desk (note,
                hypothesis, todo, submit) are added.
            max_tokens: Longest reply that the provider was set to.
            estimate: Bounds what a request costs before it is sent; without it prices are unknown,
                and no request is safe under a limit of dollars.
            learn: Told of every request and its reply, so that later estimates can be closer.
            compact_at: Estimated tokens of a request above which the conversation is summarised.

        Raises:
            UsageError: When a tool has the name of one of the desk's.
        """
        self._provider, self._max_tokens, self._compact_at = provider, max_tokens, compact_at
        self._tools = {tool.name: tool for tool in (*tools, read_result)}
        taken = sorted(self._tools.keys() & FORMS.keys())
        if taken:
            raise UsageError(
                f"tool {taken[0]!r} has the name of a tool that every language-model auditor has "
                "of its own: rename it, or leave it out of the tool set"
            )
        self._estimate, self._learn = estimate or plain_estimate(max_tokens), learn

    @property
    def name(self) -> str:
        """Short name for records."""
        return f"model: {self._provider.name}"

    @cached_property
    def system(self) -> str:
        """The system prompt."""
        return system_prompt(list(self._tools.values()))

    def act(self, view: View, lookup: ResultLookup) -> Move:
        """Ask for the next move, put the conversation into a summary, or end for want of budget."""
        memory = Memory.load(view.memory)
        memory.tick(view.remaining.get("seconds"))
        hear(memory, view)
        request = Request(
            system=self.system,
            messages=messages(memory, lookup),
            tools=(*(spec_of(tool) for tool in self._tools.values()), *specs()),
            trial=view.seed,
        )
        ahead = self._outlook(request, view, memory)
        if ahead.over is not None:
            thought = f"[loop] The next request could exceed the budget ({ahead.over})."
            return Move(thought=thought, ended_by=ahead.over, memory=memory.dump())
        if ahead.last is None and self._is_long(request, memory):
            return self._compact(request, view, memory)
        if ahead.last is not None:
            request = _with_text(request, LAST_TURN.format(limit=ahead.last))
        completion = self._ask(request, view, last=ahead.last is not None)
        if completion.stop == "context_full":
            return self._full(completion, request, memory, ahead)
        memory.room = ""
        return ReplyReader(view, memory, self._tools, ahead.last).move(completion)

    def _ask(self, request: Request, view: View, *, last: bool) -> Completion:
        capped = self._capped(request, view, last=last)
        completion = self._provider.complete(capped)
        if self._learn is not None:
            self._learn(capped, completion)
        return completion

    def _capped(self, request: Request, view: View, *, last: bool) -> Request:
        cap = reply_cap(view.remaining, self._max_tokens, last=last)
        return request.model_copy(update={"max_tokens": cap})

    def _outlook(self, request: Request, view: View, memory: Memory) -> Outlook:
        def ahead(*, last: bool) -> Outlook:
            bound: Bound = self._estimate(self._capped(request, view, last=last))
            return outlook(
                view.remaining, bound, max_tokens=self._max_tokens, slowest=memory.slowest
            )

        found = ahead(last=False)
        # The last reply may be longer, since nothing is kept for another one.
        return ahead(last=True) if found.last is not None else found

    def _is_long(self, request: Request, memory: Memory) -> bool:
        if memory.room == "full":
            return True
        limit = self._compact_at if memory.threshold is None else memory.threshold
        # What is left after a summary cannot be made shorter by another one.
        return len(memory.turns) > 1 and length(request) > limit

    def _compact(self, request: Request, view: View, memory: Memory) -> Move:
        was_full = memory.room == "full"
        if was_full:
            asked = short_summary_request(request, (memory.threshold or self._compact_at) // 2)
        else:
            asked = summary_request(request)
        completion = self._ask(asked, view, last=False)
        if completion.stop in ("refusal", "context_full"):
            thought = f"[loop] No summary could be had: {completion.stop}."
            return Move(
                thought=thought, ended_by=completion.stop, memory=memory.dump(), **spent(completion)
            )
        ledger = Ledger(memory, view.hypotheses).entries
        begin_again(memory, completion.text, ledger, view.notes)
        memory.room = "emptied" if was_full else ""
        thought = f"[loop] The conversation was put into a summary: {completion.text.strip()}"
        return Move(thought=thought, busy=True, memory=memory.dump(), **spent(completion))

    def _full(
        self, completion: Completion, request: Request, memory: Memory, ahead: Outlook
    ) -> Move:
        """Make room once; when there is none to make, that is how the audit ends."""
        thought = "[loop] The conversation is longer than the model can take."
        if memory.room == "emptied" or ahead.last is not None:
            return Move(
                thought=thought, ended_by="context_full", memory=memory.dump(), **spent(completion)
            )
        memory.room = "full"
        memory.threshold = int(AFTER_FULL * length(request))
        return Move(thought=thought, busy=True, memory=memory.dump(), **spent(completion))


def _with_text(request: Request, text: str) -> Request:
    *earlier, last = request.messages
    told = last.model_copy(update={"content": (*last.content, TextBlock(text=text))})
    return request.model_copy(update={"messages": (*earlier, told)})
