"""The rows of one batch: how many, how long, with which seeds, and by which model."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from nla_core.sampling import Sampling
from nla_core.seeds import derive_seed
from tools.protocols import (
    MESSAGE_LIMIT,
    Capability,
    ChatMessage,
    Prompt,
    Reply,
    Target,
    ToolContext,
    ToolError,
)

MAX_ROWS = 200
MAX_REPLY_TOKENS = 1024
DEFAULT_REPLY_TOKENS = 96

Samples = Annotated[int, Field(ge=1, le=MAX_ROWS)]
MaxTokens = Annotated[int, Field(ge=1, le=MAX_REPLY_TOKENS)]
Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_ROWS)]
ModelName = Literal["target", "baseline"]
WhichModel = Literal["target", "baseline", "both"]


def row_seeds(ctx: ToolContext, label: str, *, prompts: int, samples: int) -> list[int]:
    """Derive one seed a row, prompt by prompt, each from its own place alone."""
    return [
        derive_seed(ctx.seed, label, prompt, sample)
        for prompt in range(prompts)
        for sample in range(samples)
    ]


def check_rows(prompts: int, samples: int) -> int:
    """Return how many rows are asked for.

    Raises:
        ToolError: When they are more than one call may take.
    """
    if prompts * samples > MAX_ROWS:
        raise ToolError(
            f"{prompts} prompts x {samples} samples are {prompts * samples} replies, and one call "
            f"may ask for {MAX_ROWS}: ask for at most {MAX_ROWS // prompts} samples of these "
            f"prompts, or split the prompts over several calls"
        )
    return prompts * samples


def check_allowance(ctx: ToolContext, *, rows: int, max_tokens: int) -> None:
    """Refuse a plan that could generate more target tokens than the budget still has.

    Raises:
        ToolError: When the plan is too large; the message says what would fit.
    """
    left = ctx.token_allowance
    planned = rows * max_tokens
    if left is None or planned <= left:
        return
    if left <= 0:
        raise ToolError("no target tokens are left in the budget: submit what you know")
    options = []
    if left >= max_tokens:
        options.append(f"at most {left // max_tokens} replies of {max_tokens} tokens")
    if left >= rows:
        options.append(f"max_tokens of at most {left // rows}")
    if not options:
        options.append(f"one reply with max_tokens of at most {left}")
    raise ToolError(
        f"{rows} replies of up to {max_tokens} tokens could take {planned} target tokens, and "
        f"{left} are left in the budget: ask for {', or for '.join(options)}"
    )


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Refuse texts that are blank or too long.

    Raises:
        ToolError: Naming the first such text.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise ToolError(f"{name}[{index}] is empty: send a text with words in it")
        if len(text) > MESSAGE_LIMIT:
            raise ToolError(
                f"{name}[{index}] has {len(text)} characters: send at most {MESSAGE_LIMIT}"
            )


def check_history(history: Sequence[ChatMessage], *, system: bool) -> None:
    """Refuse a history that is not a conversation which the assistant spoke last in.

    Args:
        history: Turns, oldest first; may be empty.
        system: Whether a first system turn is allowed.

    Raises:
        ToolError: When a turn is out of place.
    """
    turns = list(history)
    if turns and turns[0].role == "system":
        if not system:
            raise ToolError("history may not hold a system turn: send that line as `system`")
        turns = turns[1:]
    for index, turn in enumerate(turns):
        if turn.role != ("user", "assistant")[index % 2]:
            raise ToolError(
                "history must alternate user and assistant turns, user first; "
                f"turn {index} is {turn.role!r}"
            )
    if len(turns) % 2:
        raise ToolError("history must end with an assistant turn: leave the last user turn out")


def conversations(
    prompts: Sequence[str], *, system: str | None, history: Sequence[ChatMessage] = ()
) -> list[Prompt]:
    """Put each prompt at the end of a conversation of its own."""
    opening = () if system is None else (ChatMessage("system", system),)
    return [Prompt((*opening, *history, ChatMessage("user", text))) for text in prompts]


def pick_model(ctx: ToolContext, name: ModelName, need: Capability) -> Target:
    """Return the model of this name.

    Raises:
        ToolError: When there is no such model here, or it cannot do what is asked.
    """
    model = ctx.target if name == "target" else ctx.baseline
    if model is None:
        raise ToolError("there is no baseline in this audit: leave `model` out to ask the target")
    if need not in model.capabilities:
        raise ToolError(f"the {name} cannot {need.replace('_', ' ')}: use another tool")
    return model


def ask(
    ctx: ToolContext,
    prompts: Sequence[Prompt],
    *,
    label: str,
    model: WhichModel,
    samples: int,
    max_tokens: int,
) -> dict[ModelName, list[Reply]]:
    """Let models reply to conversations, all with the same seeds, and count what it costs.

    Args:
        ctx: Of the call.
        prompts: Conversations; a prefill is kept out of the replies' texts.
        label: What the seeds derive from, beside a row's place.
        model: Which models reply.
        samples: Replies of each model to each conversation.
        max_tokens: Longest reply, in tokens.

    Returns:
        Replies by model, those to one conversation side by side.

    Raises:
        ToolError: When a model is not there or cannot do it, or the budget does not allow it.
    """
    n = check_rows(len(prompts), samples)
    names: tuple[ModelName, ...] = ("target", "baseline") if model == "both" else (model,)
    needs = [cap for cap in _CHAT_NEEDS if cap == "chat" or any(p.prefill for p in prompts)]
    speakers = {name: [pick_model(ctx, name, need) for need in needs][0] for name in names}
    if "target" in speakers:
        check_allowance(ctx, rows=n, max_tokens=max_tokens)
    drawn: dict[ModelName, list[Reply]] = {}
    for name, speaker in speakers.items():
        drawn[name] = speaker.chat(
            [prompt for prompt in prompts for _ in range(samples)],
            sampling=plain_sampling(max_tokens),
            seeds=row_seeds(ctx, label, prompts=len(prompts), samples=samples),
        )
        count_tokens(ctx, name, drawn[name])
    return drawn


_CHAT_NEEDS: tuple[Capability, ...] = ("chat", "prefill")


def count_tokens(ctx: ToolContext, name: ModelName, replies: Sequence[Reply]) -> None:
    """Add what a model generated, and what it cost, to the usage of this call."""
    for reply in replies:
        if reply.dollars != 0:
            ctx.usage.pay(reply.dollars)
    spent = sum(reply.n_tokens for reply in replies)
    if name == "target":
        ctx.usage.target_tokens += spent
    else:
        ctx.usage.baseline_tokens += spent


def plain_sampling(max_tokens: int) -> Sampling:
    """Sampling at temperature 1 from the whole distribution: the model as it is."""
    return Sampling(temperature=1.0, max_tokens=max_tokens)


def describe(replies: Sequence[Reply], what: str) -> str:
    """Summarise replies in one line, with how many are empty or cut short."""
    parts = [f"{len(replies)} {what}"]
    empty = sum(not reply.text.strip() for reply in replies)
    cut = sum(reply.finish == "length" for reply in replies)
    if empty:
        parts.append(f"{empty} empty")
    if cut:
        parts.append(f"{cut} cut at max_tokens")
    return ", ".join(parts)
