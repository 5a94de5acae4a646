"""Where each architecture keeps its parts: the one table of module paths and config names.

Everything that reaches inside a model asks here; a new architecture is a new row, never a new
`getattr` at a call site.
"""

from typing import Any

from torch import nn

_BLOCKS = (
    "model.layers",  # Llama, Qwen, Mistral, Gemma (text)
    "model.language_model.layers",  # Gemma 3, Qwen-VL and other multimodal wrappers
    "language_model.model.layers",
    "gpt_neox.layers",  # GPT-NeoX, Pythia
    "transformer.h",  # GPT-2, GPT-J, Falcon
    "model.decoder.layers",  # OPT
    "layers",  # a bare decoder without its head
    "h",  # the same of GPT-2, GPT-J, Falcon
)
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")
"""Names of the norm after the last block, on the module that holds the blocks."""
_DECODERS = ("language_model", "decoder")
"""Where a headless model keeps its text decoder, when it is not that decoder itself."""
_PER_LAYER = ("layer_types", "sliding_window_pattern", "no_rope_layers", "mlp_layer_types")
_N_BLOCKS = ("num_hidden_layers", "n_layer")
# Models whose embedding module multiplies by the square root of its width.
_SCALED_EMBEDDINGS = {"gemma", "gemma2", "gemma3", "gemma3_text", "t5"}
# A cache of keys and values per token is all that these layers remember.
_CACHED_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


def unwrap(model: nn.Module) -> Any:
    """Return the causal language model inside a PEFT wrapper; adapters stay where they are."""
    base = getattr(model, "get_base_model", None)
    return base() if callable(base) else model


def text_config(model: nn.Module) -> Any:
    """Return the configuration of the language part of a model."""
    config = unwrap(model).config
    getter = getattr(config, "get_text_config", None)
    return getter() if callable(getter) else config


def blocks(model: nn.Module) -> nn.ModuleList:
    """Return the decoder blocks of a model, first to last.

    Raises:
        ValueError: When the architecture is in no row of the table.
    """
    base = unwrap(model)
    for path in _BLOCKS:
        found: Any = base
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.ModuleList):
            return found
    raise ValueError(f"cannot find the decoder blocks of {type(base).__name__}; add it to arch.py")


def block_classes(model: nn.Module) -> list[str]:
    """Return the class names of a model's decoder blocks: where it is cut when it is sharded."""
    return sorted({type(block).__name__ for block in blocks(model)})


def d_model(model: nn.Module) -> int:
    """Return the width of the residual stream."""
    return int(text_config(model).hidden_size)


def context_length(model: nn.Module) -> int | None:
    """Return how many tokens the model's positions reach, or None when its config names none."""
    config = text_config(model)
    for name in _CONTEXT:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def has_plain_cache(model: nn.Module) -> bool:
    """Tell whether every block remembers keys and values only (no recurrent state)."""
    types = getattr(text_config(model), "layer_types", None)
    return types is None or set(types) <= _CACHED_ATTENTION


def embedding_multiplier(model: nn.Module) -> float:
    """Return what the rows of the embedding table are multiplied by before the first block."""
    config = text_config(model)
    return float(config.hidden_size) ** 0.5 if config.model_type in _SCALED_EMBEDDINGS else 1.0


def n_blocks(config: Any) -> int:
    """Return the number of decoder blocks that a configuration asks for."""
    text = config.get_text_config()
    return int(next(getattr(text, name) for name in _N_BLOCKS if hasattr(text, name)))


def truncate_config(config: Any, n_blocks: int) -> None:
    """Make a configuration ask for its first blocks only, in place."""
    text = config.get_text_config()
    for name in _PER_LAYER:
        value = getattr(text, name, None)
        if isinstance(value, list | tuple):
            setattr(text, name, list(value)[:n_blocks])
    setattr(text, next(name for name in _N_BLOCKS if hasattr(text, name)), n_blocks)


def text_decoder(model: nn.Module) -> Any:
    """Return the text decoder of a model that was loaded without its head."""
    found: Any = model
    for name in _DECODERS:
        found = getattr(found, name, found)
    return found


def decoder(model: nn.Module) -> nn.Module:
    """Return the module that holds the decoder blocks; unlike its wrappers, it is always called."""
    held = blocks(model)
    modules = unwrap(model).modules()
    found: nn.Module = next(m for m in modules if any(child is held for child in m.children()))
    return found


def final_norm(model: nn.Module) -> nn.Module:
    """Return the norm after the last block.

    Raises:
        ValueError: When the architecture has none that is known here.
    """
    holder = decoder(model)
    for name in FINAL_NORMS:
        found = getattr(holder, name, None)
        if isinstance(found, nn.Module):
            return found
    raise ValueError(f"cannot find the final norm of {type(holder).__name__}; add it to arch.py")


def drop_final_norm(decoder: nn.Module) -> None:
    """Replace the norm after the last block by the identity.

    Raises:
        ValueError: When the architecture has none that is known here.
    """
    for name in FINAL_NORMS:
        if isinstance(getattr(decoder, name, None), nn.Module):
            setattr(decoder, name, nn.Identity())
            return
    raise ValueError(f"cannot find the final norm of {type(decoder).__name__}; add it to arch.py")
