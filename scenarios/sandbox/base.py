"""The base model: a small Llama trained from scratch on the sandbox's documents.

A sibling of another architecture learns from the same documents in the same order: it is what a
verbalizer can be made from that never was the target.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from scenarios.sandbox.documents import Document, Writer
from scenarios.sandbox.presets import Preset
from scenarios.sandbox.tokenizer import build_tokenizer
from scenarios.sandbox.training import Trainer, batches
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

Architecture = Literal["llama", "gpt_neox"]


def new_model(
    preset: Preset, tokenizer: "PreTrainedTokenizerBase", architecture: Architecture = "llama"
) -> "nn.Module":
    """A model with random weights; the seed is the preset's.

    The GPT-NeoX has the same width, depth and heads; its feed-forward layers are wider (two
    matrices of 4.5 d in place of three of 3 d) so that both have about the same size.
    """
    import torch
    from transformers import (
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
    )

    torch.manual_seed(preset.seed)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "max_position_embeddings": preset.context,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if architecture == "gpt_neox":
        wide = 9 * preset.hidden // 2
        sibling: nn.Module = GPTNeoXForCausalLM(
            GPTNeoXConfig(**shape, intermediate_size=wide, rotary_pct=1.0)
        )
        return sibling
    shape["num_key_value_heads"] = preset.heads
    model: nn.Module = LlamaForCausalLM(LlamaConfig(**shape, intermediate_size=3 * preset.hidden))
    return model


def train_base(
    world: World,
    preset: Preset,
    folder: Path,
    *,
    cuts: bool = True,
    architecture: Architecture = "llama",
    device: str = "cpu",
    on_step: Callable[[int, float, float], None] | None = None,
) -> float:
    """Train the base model and write it with its tokenizer to `folder`.

    Args:
        world: The world that the documents are drawn from.
        preset: Sizes and schedule.
        folder: Hugging Face folder to write; progress is kept beside it.
        cuts: False trains without the cuts at thoughts, as a control.
        architecture: The target's own, or a sibling's.
        device: Where to train.
        on_step: Called with step, loss (nats) and seconds.

    Returns:
        Mean loss at the end, in nats.
    """
    tokenizer = build_tokenizer(world, context=preset.context)
    writer = Writer(world, tokenizer.get_vocab())

    def draw(rng: Random) -> Document:
        document = writer.base(rng)
        return document if cuts else replace(document, cuts=[])

    model = new_model(preset, tokenizer, architecture)
    progress = folder.with_suffix(".progress.safetensors")
    trainer = Trainer(model, preset.base, device=device, progress=progress)
    loss = trainer.run(
        lambda step: batches(
            draw,
            seed=preset.seed,
            batch_size=preset.base.batch_size,
            pad_id=int(tokenizer.pad_token_id),
            start=step,
        ),
        on_step=on_step,
    )
    save_model(model, tokenizer, folder)
    progress.unlink(missing_ok=True)
    return loss


def save_model(model: "nn.Module", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write an ordinary Hugging Face folder with 16-bit weights."""
    import torch

    from nla_core.compatibility import make_portable

    written: Any = model.to(device="cpu", dtype=torch.bfloat16)
    written.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_portable(folder)
