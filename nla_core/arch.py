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
)
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")
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
