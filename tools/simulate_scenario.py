"""Let a scene be played with the target, over several turns and with simulated tools."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows, talks
from tools.batteries import battery
from tools.protocols import ToolContext, ToolError, ToolOutput
from tools.registry import Execute, tool
from tools.scenes.players import Line, Player, Scene, TemplatePlayer, WriterPlayer
from tools.scenes.playing import Play, at_once, charge, play
from tools.scenes.simulated import SimulatedTool, check_tools, no_such_tool, system_line

MOST = 24
"""Most conversations of one call; as many as there are scenes in the battery."""
MAX_TURNS = 20
DEFAULT_TOKENS = 128


@tool(needs=("chat",))
def simulate_scenario() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        scene: Annotated[str, Field(max_length=4000)] | None = None,
        opening: str | None = None,
        system: str | None = None,
        tools: Annotated[list[SimulatedTool], Field(max_length=8)] | None = None,
        k: Annotated[int, Field(ge=1, le=MOST)] = 4,
        start: Annotated[int, Field(ge=0, le=MOST - 1)] = 0,
        turns: Annotated[int, Field(ge=1, le=MAX_TURNS)] = 5,
        max_tokens: rows.MaxTokens = DEFAULT_TOKENS,
        against_baseline: bool = True,
    ) -> ToolOutput:
        """Let a scene be played with the target over several turns; user and tools are simulated.

        The user's turns, and what the simulated tools return, are written as the conversation goes
        by the scenario's auxiliary model, or drawn from templates where it has none; the summary
        says which. Without a scene of yours, scenes of a fixed battery are played, each once. The
        target is told in its system line to call a tool with a line such as
        CALL name {"argument": "value"}; nothing is really called.

        Items of kind "scene" come first, one a conversation: conversation (its id; the tools for
        conversations, such as converse and rewind, go on from the target's), model, scene, system
        (as the target got it), tools, replies, calls, ended (why it is over). Then "exchange", one
        a reply, in order: conversation, model, turn, by ("user" or "tool": who speaks in the
        prompt), prompt and simulated (always true: the prompt is made up), reply (the model's own
        words alone), calls (tool, arguments, exists) that stand in the reply, finish. Then
        "conversation", the record of each of the target's. The baseline's conversations begin
        alike, with the same seeds, and then go their own way.

        Source:
            Petri (Anthropic 2025), whose auditor plays user and tools in scenes; AuditBench (arXiv
            2602.22755), configuration "Petri default seeds". The battery's scenes are its own.

        Cost:
            Up to k x turns replies of up to max_tokens of the target, as many of the baseline, and
            a request to the auxiliary model for each but the first.

        Misses:
            What only a real setting brings out: a target may notice that the scene is made up, and
            the user that a model plays leads it. Templates do not listen. What a target does in one
            played scene is an anecdote; compare with the baseline.

        Args:
            ctx: What this call may touch.
            scene: Who the user is, what they want, and what is to happen; with templates, topics
                with commas between them. Left out: the battery.
            opening: What the user says first in every conversation; left out: written for the
                scene. Only with a scene.
            system: System line of your scene. Only with a scene.
            tools: Simulated tools of your scene, each with a name and a description on one line.
                Only with a scene.
            k: How many conversations.
            start: Which scene of the battery is played first, from 0; the others follow.
            turns: Most replies of the target in one conversation, those to a tool's result counted.
            max_tokens: Longest reply, in tokens.
            against_baseline: Whether the baseline, where there is one, gets conversations of its
                own.
        """
        _check(scene, opening, system, tools)
        names: list[rows.ModelName] = ["target"]
        if against_baseline and ctx.baseline is not None:
            names.append("baseline")
        speakers = {name: rows.pick_model(ctx, name, "chat") for name in names}
        _check_size(ctx, k, turns, max_tokens)
        player = TemplatePlayer() if ctx.writer is None else WriterPlayer(ctx.writer)
        if scene is None:
            scenes = [_from_battery((start + index) % MOST) for index in range(k)]
            begun = _begun(ctx, player, [(one, 1) for one in scenes])
        else:
            own = Scene(scene, system, opening, tuple(tools or ()))
            begun = _begun(ctx, player, [(own, k)])
        plays = play(ctx, player, begun, speakers, turns=turns, max_tokens=max_tokens)
        return _output(ctx, plays, player, k)

    return execute


def _check(
    scene: str | None,
    opening: str | None,
    system: str | None,
    tools: Sequence[SimulatedTool] | None,
) -> None:
    """Refuse arguments that do not make a scene."""
    given = {"opening": opening, "system": system, "tools": tools}
    texts = {"scene": scene, "opening": opening, "system": system}
    if scene is None:
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise ToolError(
                f"{' and '.join(extra)} without a scene: the battery's scenes have their own; tell "
                "a scene as well, or leave them out"
            )
    for name, text in texts.items():
        if text is not None:
            rows.check_texts(name, [text])
    check_tools(tools or ())


def _check_size(ctx: ToolContext, k: int, turns: int, max_tokens: int) -> None:
    if k * turns > rows.MAX_ROWS:
        raise ToolError(
            f"{k} conversations x {turns} turns are {k * turns} replies, and one call may ask for "
            f"{rows.MAX_ROWS}: ask for at most {rows.MAX_ROWS // turns} conversations of so many "
            "turns"
        )
    rows.check_allowance(ctx, rows=k * turns, max_tokens=max_tokens)


def _from_battery(number: int) -> Scene:
    one = battery("scenes")[number]
    return Scene(
        one["scene"],
        one.get("system"),
        one["opening"],
        tuple(SimulatedTool(**each) for each in one.get("tools", ())),
    )


def _begun(
    ctx: ToolContext, player: Player, wanted: Sequence[tuple[Scene, int]]
) -> list[tuple[Scene, Line]]:
    """Return each conversation's scene with what its user says first."""

    def begin(one: tuple[int, tuple[Scene, int]]) -> list[Line]:
        index, (scene, n) = one
        if scene.opening is not None:
            return [Line(scene.opening)] * n
        return player.openings(scene, n, derive_seed(ctx.seed, "opening", index))

    found = at_once(begin, enumerate(wanted))
    for lines in found:
        for line in lines:
            charge(ctx, line)
    return [
        (scene, line) for (scene, _), lines in zip(wanted, found, strict=True) for line in lines
    ]


def _output(ctx: ToolContext, plays: Sequence[Play], player: Player, k: int) -> ToolOutput:
    """Return every conversation: what it was, its exchanges, and the target's for other tools."""
    named: list[tuple[str, Play]] = []
    records: list[dict[str, Any]] = []
    first = len(talks.stored(ctx)) + 1
    for one in plays:
        if one.model == "target":
            talk = talks.Talk(
                f"C{first + len(records)}",
                None,
                0,
                system_line(one.scene.system, one.scene.tools),
                tuple(one.turns),
            )
            records.append(talks.item(talk, new=len(talk.turns)))
            named.append((talk.id, one))
        else:
            named.append((f"baseline {one.number + 1}", one))
    exchanges = (item for name, one in named for item in _exchanges(name, one))
    return ToolOutput(
        summary=_summary(plays, player, k),
        items=(*(_head(name, one) for name, one in named), *exchanges, *records),
    )


def _head(name: str, one: Play) -> dict[str, Any]:
    return {
        "kind": "scene",
        "conversation": name,
        "model": one.model,
        "scene": one.scene.text,
        "system": system_line(one.scene.system, one.scene.tools),
        "tools": [each.name for each in one.scene.tools],
        "replies": len(one.replies),
        "calls": sum(map(len, one.calls)),
        "ended": one.ended,
    }


def _exchanges(name: str, one: Play) -> Iterator[dict[str, Any]]:
    for index, reply in enumerate(one.replies):
        answered = index > 0 and bool(one.calls[index - 1])
        yield {
            "kind": "exchange",
            "conversation": name,
            "model": one.model,
            "turn": index + 1,
            "by": "tool" if answered else "user",
            "prompt": one.turns[2 * index].content,
            "simulated": True,
            "reply": reply.text,
            "calls": [
                {
                    "tool": call.tool,
                    "arguments": call.arguments,
                    "exists": no_such_tool(call, one.scene.tools) is None,
                }
                for call in one.calls[index]
            ],
            "finish": reply.finish,
        }


def _summary(plays: Sequence[Play], player: Player, k: int) -> str:
    mine = [one for one in plays if one.model == "target"]
    fewer = f" of the {k} asked for" if len(mine) < k else ""
    parts = [f"{len(mine)} conversations{fewer} with user and tools played by {player.author}"]
    for name in dict.fromkeys(one.model for one in plays):
        own = [one for one in plays if one.model == name]
        replies = rows.describe([reply for one in own for reply in one.replies], "replies")
        calls = sum(len(each) for one in own for each in one.calls)
        parts.append(
            f"{name}: {replies}" + (f", {calls} calls of simulated tools" if calls else "")
        )
    return "; ".join(parts)
