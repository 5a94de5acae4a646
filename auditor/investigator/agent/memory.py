"""What the language-model auditor carries from turn to turn: plain JSON, written at every step.

The conversation is kept as the model spoke it, but results of tools are references to evidence ids;
their texts are made again from the stored results whenever the model is asked.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from auditor.provider.protocol import (
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from auditor.records import Record


class Page(Record):
    """A page of a result, by reference."""

    type: Literal["page"] = "page"
    id: str
    """Id of the call that it answers, as the model numbered it."""
    evidence_id: str
    tool: str
    ok: bool
    summary: str
    source: str
    """The result whose items these are: an earlier one when the tool was `read_result`."""
    offset: int
    """Place of the first item shown in the source."""
    fetched: int
    """Items of the page; as many of them are shown as fit."""
    total: int
    """Items of the source."""
    remark: str = ""
    """What the auditor is told beside it."""


Part = Annotated[
    TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | Page, Field(discriminator="type")
]


class Turn(Record):
    """One turn of the conversation."""

    role: Literal["user", "assistant"]
    content: tuple[Part, ...]


class Waiting(Record):
    """A call that was passed on to a tool and is not answered yet."""

    type: Literal["waiting"] = "waiting"
    id: str
    tool: str
    about: str = ""
    """The earlier result that the call names, if it names one."""
    remark: str = ""


Slot = Annotated[ToolResultBlock | Waiting, Field(discriminator="type")]


class Known(Record):
    """What is remembered of one result, whether its text is still in the conversation or not."""

    tool: str
    ok: bool
    summary: str
    source: str
    """The result whose items these are."""
    total: int
    seen: tuple[tuple[int, int], ...] = ()
    """Items that were shown, as disjoint ascending ranges [start, end)."""
    searched: bool = False
    """Whether another tool went through its items."""

    @property
    def unread(self) -> int:
        """Items that were neither shown nor gone through."""
        if self.searched:
            return 0
        return self.total - sum(end - start for start, end in self.seen)

    def showing(self, start: int, end: int) -> Self:
        """Return it with more items seen."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted([*self.seen, (start, end)]):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return self.model_copy(update={"seen": tuple(merged)})


class Memory(BaseModel):
    """The auditor's own state."""

    model_config = ConfigDict(extra="forbid")

    turns: list[Turn] = Field(default_factory=list)
    """The conversation since it was last put into a summary."""
    slots: list[Slot] = Field(default_factory=list)
    """Answers to the calls of the last turn, in the model's order."""
    nudge: str = ""
    """What to tell the model before its next turn."""
    results: dict[str, Known] = Field(default_factory=dict)
    """Every result so far, by evidence id."""
    ids: list[str] = Field(default_factory=list)
    """Ids of the hypotheses in the ledger, in its order."""
    born: dict[str, int] = Field(default_factory=dict)
    """Results that there were when each hypothesis was first written down."""
    ideas: int = 0
    """Hypotheses ever written down; the last one's number."""
    todo: dict[str, str] = Field(default_factory=dict)
    """What is still to do, by id, oldest first."""
    todos: int = 0
    """Things ever put on that list; the last one's number."""
    repeats: dict[str, int] = Field(default_factory=dict)
    """How often each call was made since the last summary, by its digest."""
    objections: list[str] = Field(default_factory=list)
    """Names of the objections to a submission that were made; each is made once."""
    desk_turns: int = 0
    """Turns in a row that called no tool of the audit."""
    compactions: int = 0
    threshold: int | None = None
    """Tokens of a request above which the conversation is summarised, once the model's own limit
    was met; None leaves the usual one."""
    room: Literal["", "full", "emptied"] = ""
    """Whether the last request was too long for the model, and whether that was seen to."""
    seconds: float | None = None
    """Seconds that were left on the last turn."""
    slowest: float = 0.0
    """Seconds that the slowest turn took."""

    @classmethod
    def load(cls, memory: dict[str, Any]) -> "Memory":
        """Read it back."""
        return cls.model_validate(memory)

    def dump(self) -> dict[str, Any]:
        """Write it as JSON."""
        return self.model_dump(mode="json")

    def tick(self, left: float | None) -> None:
        """Note how long the last turn took, from the seconds that are left now."""
        if left is not None and self.seconds is not None:
            self.slowest = max(self.slowest, self.seconds - left)
        self.seconds = left

    def tell(self, *parts: Part) -> None:
        """Add to the user's side of the conversation."""
        if self.turns and self.turns[-1].role == "user":
            last = self.turns.pop()
            parts = (*last.content, *parts)
        self.turns.append(Turn(role="user", content=parts))

    @property
    def tested(self) -> int:
        """Results that came of asking or reading the target, or of searching."""
        return sum(known.ok and name == known.source for name, known in self.results.items())
