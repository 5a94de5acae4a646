"""Play scenes, turn by turn: all conversations side by side, target and baseline each their own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ChatMessage, Prompt, Reply, Target, ToolContext, ToolError
from tools.scenes.players import Line, Player, Scene
from tools.scenes.simulated import STOP, Call, calls_in, system_line
from tools.talks import Turn

_AT_A_TIME = 8
"""Requests that an auxiliary model gets at once."""
OVER = "all turns were played"


@dataclass(slots=True)
class Play:
    """One conversation of a scene."""

    scene: Scene
    number: int
    """Which one, from 0; target and baseline have one each of every number."""
    model: rows.ModelName
    turns: list[Turn] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    calls: list[tuple[Call, ...]] = field(default_factory=list)
    """What each reply calls."""
    ended: str = ""
    """Why it is over, once it is."""

    @property
    def prompt(self) -> Prompt:
        """What the model is asked; the last turn is the user's."""
        system = system_line(self.scene.system, self.scene.tools)
        opening = () if system is None else (ChatMessage("system", system),)
        return Prompt((*opening, *(ChatMessage(turn.role, turn.content) for turn in self.turns)))

    def hear(self, text: str) -> None:
        """Add what a player said."""
        self.turns.append(Turn("user", text, simulated=True))

    def answer(self, reply: Reply) -> None:
        """Add what the model said."""
        self.replies.append(reply)
        self.turns.append(Turn("assistant", reply.text))
        self.calls.append(calls_in(reply.text) if self.scene.tools else ())

    def end(self, why: str) -> None:
        """End it; a turn that got no reply is taken back."""
        self.ended = why
        if self.turns and self.turns[-1].role == "user":
            self.turns.pop()


def play(
    ctx: ToolContext,
    player: Player,
    openings: Sequence[tuple[Scene, Line]],
    speakers: dict[rows.ModelName, Target],
    *,
    turns: int,
    max_tokens: int,
) -> list[Play]:
    """Play every scene with every model, and count what it costs.

    Args:
        ctx: Of the call.
        player: Who plays the rest.
        openings: Each conversation's scene, and how its user begins.
        speakers: The models.
        turns: Most replies of a model in one conversation.
        max_tokens: Longest reply, in tokens.

    Returns:
        Conversations by number, the target's before the baseline's, each with a reply.

    Raises:
        ToolError: When no conversation got a reply of the target; the message says why.
    """
    plays = [
        Play(scene, number, name) for number, (scene, _) in enumerate(openings) for name in speakers
    ]
    for one in plays:
        one.hear(openings[one.number][1].text)
    for turn in range(turns):
        going = [one for one in plays if not one.ended]
        if turn:
            _next(ctx, player, going, turn)
            going = [one for one in going if not one.ended]
        for name, speaker in speakers.items():
            # Apart, for only those with tools are cut where a result would begin.
            for tools in (False, True):
                mine = [
                    one for one in going if one.model == name and bool(one.scene.tools) is tools
                ]
                _speak(ctx, speaker, mine, turn, max_tokens)
    for one in plays:
        one.ended = one.ended or OVER
    if not any(one.replies for one in plays if one.model == "target"):
        raise ToolError(plays[0].ended)
    return [one for one in plays if one.replies]


def _next(ctx: ToolContext, player: Player, going: Sequence[Play], turn: int) -> None:
    """Let the player say what comes next in every conversation, or end it."""

    def said(one: Play) -> Line:
        seed = derive_seed(ctx.seed, "player", one.number, turn)
        calls = one.calls[-1]
        if calls:
            return player.results(one.scene, one.turns, calls, seed)
        return player.message(one.scene, one.turns, seed)

    for one, line in zip(going, at_once(said, going), strict=True):
        charge(ctx, line)
        if line.text:
            one.hear(line.text)
        else:
            one.end(line.over)


def charge(ctx: ToolContext, line: Line) -> None:
    """Add what a player's line cost to the usage of this call."""
    if line.dollars is not None:
        ctx.usage.dollars = (ctx.usage.dollars or 0.0) + line.dollars


def at_once(work: Callable[[Any], Any], inputs: Iterable[Any]) -> list[Any]:
    """Return what becomes of every input, in order; some are worked on at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(work, inputs))


def _speak(
    ctx: ToolContext, speaker: Target, mine: Sequence[Play], turn: int, max_tokens: int
) -> None:
    """Let one model reply in all of its conversations; those that it cannot go on with end."""
    if not mine:
        return
    try:
        replies = _replies(ctx, speaker, mine, turn, max_tokens)
    except ToolError as error:
        # One that is too long for the model fails them all: each is tried alone, with its own seed.
        if len(mine) == 1:
            mine[0].end(f"the model could not reply: {error}")
            return
        for one in mine:
            _speak(ctx, speaker, [one], turn, max_tokens)
        return
    for one, reply in zip(mine, replies, strict=True):
        rows.count_tokens(ctx, one.model, [reply])
        one.answer(reply)


def _replies(
    ctx: ToolContext, speaker: Target, mine: Sequence[Play], turn: int, max_tokens: int
) -> list[Reply]:
    stop = (STOP,) if mine[0].scene.tools else ()
    return speaker.chat(
        [one.prompt for one in mine],
        sampling=Sampling(temperature=1.0, max_tokens=max_tokens, stop=stop),
        seeds=[derive_seed(ctx.seed, "scene", one.number, turn) for one in mine],
    )
