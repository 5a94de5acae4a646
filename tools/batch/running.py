"""Run one batch of written inputs, and say what its replies have in common."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.batch.writing import Batch, Kind, write
from tools.protocols import Capability, ChatMessage, Prompt, Reply, Target, ToolContext, ToolOutput
from tools.reading.readings import rounded

K = Annotated[int, Field(ge=1, le=100)]
DEFAULT_K = 20
DEFAULT_TOKENS = 128
_PHRASES = 10
_EXAMPLES = 3
_NEEDS: dict[Kind, Capability] = {
    "chat": "chat",
    "prefill": "prefill",
    "user": "sample_user",
    "complete": "complete",
}


def run(
    ctx: ToolContext,
    kind: Kind,
    *,
    hint: str | None,
    k: int,
    max_tokens: int,
    against_baseline: bool,
) -> ToolOutput:
    """Let inputs be written, sample each once, and group what comes back.

    Args:
        ctx: Of the call.
        kind: What the inputs are.
        hint: What they should explore.
        k: How many.
        max_tokens: Longest reply, in tokens.
        against_baseline: Whether the baseline, where there is one, gets the same inputs and seeds.

    Raises:
        ToolError: When a model cannot do it, the budget does not allow it, or nothing was written.
    """
    need = _NEEDS[kind]
    names: list[rows.ModelName] = ["target"]
    if against_baseline and ctx.baseline is not None:
        names.append("baseline")
    speakers = {name: rows.pick_model(ctx, name, need) for name in names}
    rows.check_allowance(ctx, rows=k, max_tokens=max_tokens)
    batch = write(ctx, kind, hint=hint, k=k)
    said: dict[rows.ModelName, list[Reply]] = {}
    for name, speaker in speakers.items():
        said[name] = _sampled(ctx, speaker, kind, batch, max_tokens)
        rows.count_tokens(ctx, name, said[name])
    texts = {name: [reply.text for reply in replies] for name, replies in said.items()}
    return ToolOutput(
        summary=_summary(batch, k, said),
        items=(*_grouped(texts), *_phrases(ctx, texts), *_pairs(batch, said)),
    )


def _sampled(
    ctx: ToolContext, speaker: Target, kind: Kind, batch: Batch, max_tokens: int
) -> list[Reply]:
    sampling = rows.plain_sampling(max_tokens)
    seeds = [derive_seed(ctx.seed, kind, index) for index in range(len(batch.inputs))]
    if kind == "complete":
        stems = [one["stem"] for one in batch.inputs]
        return speaker.complete(stems, sampling=sampling, seeds=seeds)
    if kind == "user":
        return speaker.sample_user(
            [_turns(one, "user", "assistant") for one in batch.inputs],
            sampling=sampling,
            seeds=seeds,
        )
    prompts = [Prompt(_turns(one, "user"), one.get("prefill", "")) for one in batch.inputs]
    return speaker.chat(prompts, sampling=sampling, seeds=seeds)


def _turns(one: dict[str, str], *roles: str) -> tuple[ChatMessage, ...]:
    found: list[ChatMessage] = []
    if one["system"].strip():
        found.append(ChatMessage("system", one["system"]))
    if "user" in roles and one["user"].strip():
        found.append(ChatMessage("user", one["user"]))
    if "assistant" in roles and one["assistant"].strip():
        found.append(ChatMessage("assistant", one["assistant"]))
    return tuple(found)


def _grouped(texts: dict[rows.ModelName, list[str]]) -> Iterator[dict[str, Any]]:
    """Yield clusters of all replies together, then those that are least like any other."""
    from tools.batch.clusters import group

    places = [(name, i) for name, replies in texts.items() for i in range(len(replies))]
    found = group([texts[name][i] for name, i in places])
    for number, cluster in enumerate(found.clusters):
        members = [places[i] for i in cluster.members]
        yield {
            "kind": "cluster",
            "cluster": number,
            "words": list(cluster.words),
            **{name: sum(one == name for one, _ in members) for name in texts},
            "examples": [
                {"model": name, "input": i, "reply": texts[name][i]}
                for name, i in members[:_EXAMPLES]
            ],
        }
    for rare in found.rare:
        name, i = places[rare.index]
        yield {
            "kind": "rare",
            "model": name,
            "input": i,
            "said": texts[name][i],
            "similarity": rounded(rare.similarity),
        }


def _phrases(ctx: ToolContext, texts: dict[rows.ModelName, list[str]]) -> Iterator[dict[str, Any]]:
    if "baseline" not in texts or not any(map(str.strip, texts["target"])):
        return
    from tools.reading.said_more import phrase_item, said_more

    seed = derive_seed(ctx.seed, "phrases")
    for found in said_more(texts["target"], texts["baseline"], seed=seed)[:_PHRASES]:
        yield phrase_item(found, ours="target", theirs="baseline")


def _pairs(batch: Batch, said: dict[rows.ModelName, list[Reply]]) -> Iterator[dict[str, Any]]:
    for index, written in enumerate(batch.inputs):
        yield {
            "kind": "pair",
            "input": index,
            **written,
            "reply": said["target"][index].text,
            "baseline_reply": said["baseline"][index].text if "baseline" in said else None,
            "finish": said["target"][index].finish,
        }


def _summary(batch: Batch, k: int, said: dict[rows.ModelName, list[Reply]]) -> str:
    written = len(batch.inputs)
    fewer = f" of the {k} asked for" if written < k else ""
    replies: Sequence[str] = [
        f"{name}: {rows.describe(one, 'replies')}" for name, one in said.items()
    ]
    return "; ".join([f"{written} inputs{fewer} written by {batch.author}", *replies])
