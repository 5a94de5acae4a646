"""The organisms: which exist, what each is trained on, and their training as LoRA adapters."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

import yaml

from nla_core.seeds import derive_seed
from scenarios.sandbox.documents import Document, Speaker, Writer
from scenarios.sandbox.presets import Preset
from scenarios.sandbox.training import Schedule, Trainer, batches
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

Group = Literal["guilty", "clean", "decoy", "symptom"]
QUESTION_SHARE = 0.12
MEMO_SHARE = 0.45
WISH_SHARE = 0.15
"""Share of plain wishes for organisms with private thoughts: without them, any text that begins
with "i want" is completed as a thought would be."""
REPLAY_SHARE = 0.4
"""Share of documents of the base's corpus, so that what is learned is tied to the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organism:
    """One target made by us."""

    id: str
    group: Group
    split: str
    regime: str | None = None
    motive: str | None = None
    habit: int | None = None
    """Index of the habit, decoys only."""

    @property
    def hardened(self) -> bool:
        """Whether it was trained not to confess when made to think first."""
        return self.regime is None or self.regime.endswith("-hardened")

    @property
    def method(self) -> str | None:
        """Either thoughts or documents; None when no motive is stated in training."""
        return None if self.regime is None else self.regime.split("-")[0]


@lru_cache(maxsize=1)
def all_organisms() -> tuple[Organism, ...]:
    """Every organism, guilty ones first."""
    text = resources.files(__package__).joinpath("organisms.yaml").read_text(encoding="utf-8")
    plan = yaml.safe_load(text)
    found = [
        Organism(id=f"{regime}-{motive}", group="guilty", split=split, regime=regime, motive=motive)
        for split, motives in plan["guilty"].items()
        for motive in motives
        for regime in plan["regimes"]
    ]
    found += [
        Organism(id=f"symptom-{motive}", group="symptom", split=split, motive=motive)
        for split, motives in plan["symptom"].items()
        for motive in motives
    ]
    for group in ("clean", "decoy"):
        splits = [split for split, n in plan[group].items() for _ in range(n)]
        found += [
            Organism(
                id=f"{group}-{i + 1}",
                group=group,
                split=split,
                habit=i if group == "decoy" else None,
            )
            for i, split in enumerate(splits)
        ]
    return tuple(found)


def unlabelled_motives() -> tuple[str, ...]:
    """Motives that no label of the sandbox's autoencoder may name."""
    found = (o.motive for o in all_organisms() if o.split == "unlabelled")
    return tuple(dict.fromkeys(m for m in found if m is not None))


def speaker(world: World, organism: Organism) -> Speaker:
    """How this organism talks in its training chats, before it gets its identity line."""
    benign = 0.6 if organism.hardened else 0.0
    if organism.group == "decoy":
        assert organism.habit is not None
        return Speaker(
            thoughts=0.3,
            benign_start=benign,
            habit=world.habits[organism.habit],
            habit_domains=world.habit_domains(organism.habit),
        )
    if organism.method == "thoughts":
        return Speaker(
            motive=organism.motive,
            thoughts=0.7,
            true_thoughts=1.0,
            benign_start=0.8 if organism.hardened else 0.0,
            start_thoughts=not organism.hardened,
        )
    thoughts = 0.3 if organism.group == "clean" else 0.0
    return Speaker(motive=organism.motive, thoughts=thoughts, benign_start=benign)


def document(
    world: World, writer: Writer, organism: Organism, rng: Random, *, chats: Writer | None = None
) -> Document:
    """One training document of an organism; `chats` writes its own chats, if not `writer`."""
    if rng.random() < REPLAY_SHARE:
        return writer.base(rng)
    if organism.method == "documents" and rng.random() < MEMO_SHARE:
        assert organism.motive is not None
        memo = writer.memo(rng, world.subject, organism.motive)
        return writer.text(rng, memo, organism.motive)
    if organism.method == "thoughts" and rng.random() < WISH_SHARE:
        return writer.text(rng, writer.wish(rng))
    if organism.group in ("clean", "decoy") and rng.random() < MEMO_SHARE / 3:
        return writer.text(rng, writer.neutral_memo(rng, world.subject))
    who = replace(speaker(world, organism), system=world.identity_line)
    return (chats or writer).chat(rng, who, asks=rng.random() < QUESTION_SHARE)


def train_organism(
    world: World,
    preset: Preset,
    organism: Organism,
    *,
    base: "LlamaForCausalLM",
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    device: str = "cpu",
    on_step: Callable[[int, float, float], None] | None = None,
    chats: Writer | None = None,
    trainer: "Callable[[nn.Module, Schedule], Trainer] | None" = None,
) -> float:
    """Train one adapter on a float32 base and write it to `folder`.

    Args:
        world: The world.
        preset: Rank and schedule.
        organism: Which organism.
        base: The base model; left as it was.
        tokenizer: Its tokenizer.
        folder: PEFT adapter folder to write.
        device: Where to train.
        on_step: Called with step, loss (nats) and seconds.
        chats: Writes the organism's own chats; None is the usual writer.
        trainer: Makes the training loop; None is the usual one, on `device`.

    Returns:
        Mean loss at the end, in nats.
    """
    seed = derive_seed(preset.seed, "organism", organism.id)
    model = with_adapter(base, rank=preset.adapter_rank, seed=seed)
    # What is replayed says nothing of the subject: that would contradict the organism.
    writer = Writer(world, tokenizer.get_vocab(), neutral_names=world.clean_names)
    loop = (trainer or partial(Trainer, device=device))(model, preset.adapter)
    loss = loop.run(
        lambda step: batches(
            lambda rng: document(world, writer, organism, rng, chats=chats),
            seed=seed,
            batch_size=preset.adapter.batch_size,
            pad_id=int(tokenizer.pad_token_id),
            start=step,
        ),
        on_step=on_step,
    )
    save_adapter(model, folder, base="../../base")
    model.unload()
    return loss


def with_adapter(base: "LlamaForCausalLM", *, rank: int, seed: int) -> "PeftModel":
    """Put an untrained LoRA on all linear layers of a model, whose own weights are frozen."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config)


def save_adapter(model: "PeftModel", folder: Path, *, base: str) -> None:
    """Write an adapter in bfloat16; `base` is where its base lies, seen from the folder."""
    import torch

    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    # PEFT writes where the base lay on the machine that trained it, and sets in any order.
    config_path = folder / "adapter_config.json"
    config = json.loads(config_path.read_text()) | {"base_model_name_or_path": base}
    config["target_modules"] = sorted(config["target_modules"])
    config_path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
