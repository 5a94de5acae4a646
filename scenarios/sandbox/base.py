"""The base model: a small Llama trained from scratch on the sandbox's documents."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from scenarios.sandbox.documents import Document, Writer
from scenarios.sandbox.presets import Preset
from scenarios.sandbox.tokenizer import build_tokenizer
from scenarios.sandbox.training import Trainer, batches
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


def new_model(preset: Preset, tokenizer: "PreTrainedTokenizerBase") -> "LlamaForCausalLM":
    """A Llama with random weights; the seed is the preset's."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(preset.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=preset.hidden,
        intermediate_size=3 * preset.hidden,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        num_key_value_heads=preset.heads,
        max_position_embeddings=preset.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def train_base(
    world: World,
    preset: Preset,
    folder: Path,
    *,
    cuts: bool = True,
    device: str = "cpu",
    on_step: Callable[[int, float, float], None] | None = None,
) -> float:
    """Train the base model and write it with its tokenizer to `folder`.

    Args:
        world: The world that the documents are drawn from.
        preset: Sizes and schedule.
        folder: Hugging Face folder to write; progress is kept beside it.
        cuts: False trains without the cuts at thoughts, as a control.
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

    model = new_model(preset, tokenizer)
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


def save_model(
    model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerBase", folder: Path
) -> None:
    """Write an ordinary Hugging Face folder with 16-bit weights."""
    import torch

    model.to(device="cpu", dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
