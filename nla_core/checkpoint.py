"""Finding, loading and writing the files of a checkpoint folder."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch
from nla_core.compatibility import TOKENIZER_CONFIG, make_portable
from nla_core.sidecar import SidecarError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_NOT_NEEDED = ["*megatron-compat*", "*.bin", "*.pth", "*.gguf"]
_GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
VALUE_HEAD_FILE = "value_head.safetensors"
_VALUE_HEAD_KEY = "weight"


def resolve_folder(path_or_hub_id: str | Path) -> Path:
    """Return a local folder, downloading a hub repository when no such folder exists.

    Raises:
        SidecarError: When it is neither a folder nor the id of a repository that can be had.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(path_or_hub_id, Path) or not _HUB_ID.fullmatch(path_or_hub_id):
        raise SidecarError(f"{path_or_hub_id}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path_or_hub_id, ignore_patterns=_NOT_NEEDED))
    except (OSError, ValueError) as error:
        raise SidecarError(
            f"{path_or_hub_id}: no such folder, and the hub does not give it: {_one_line(error)}"
        ) from None


def default_dtype(dtype: torch.dtype | None, device: str | torch.device) -> torch.dtype:
    """Return the dtype to compute in: float32 on a CPU and bfloat16 elsewhere, unless given."""
    if dtype is not None:
        return dtype
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a checkpoint.

    Raises:
        SidecarError: When the folder has none.
    """
    import transformers

    factory: Any = transformers.AutoTokenizer
    if _declared_tokenizer(folder) in _GENERIC_TOKENIZERS:
        # The automatic choice goes by the model's type, and rebuilds a tokenizer of another kind
        # (word level under Qwen2, say) into one that knows no word.
        factory = transformers.PreTrainedTokenizerFast
    try:
        return factory.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise SidecarError(f"{folder}: cannot load its tokenizer: {_one_line(error)}") from None


def save_causal_lm(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a complete causal language model with its tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_portable(folder)


def save_right_padding_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer that pads on the right when it is loaded again."""
    tokenizer.save_pretrained(folder)
    make_portable(folder)
    path = folder / TOKENIZER_CONFIG
    # The setting is only written when the tokenizer was built with it.
    settings = json.loads(path.read_text(encoding="utf-8")) | {"padding_side": "right"}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _declared_tokenizer(folder: Path) -> str | None:
    """Return the class that tokenizer_config.json names."""
    try:
        found = json.loads((folder / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("tokenizer_class") if isinstance(found, dict) else None


def load_config(folder: Path) -> Any:
    """Load the configuration of a checkpoint.

    Raises:
        SidecarError: When the folder has none.
    """
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise SidecarError(f"{folder}: cannot load its config.json: {_one_line(error)}") from None


def load_causal_lm(folder: Path, *, dtype: torch.dtype, device: str | torch.device) -> Any:
    """Load a complete causal language model; of a multimodal wrapper its language model alone.

    Raises:
        SidecarError: When weights are missing.
    """
    import transformers

    model = _from_pretrained(
        transformers.AutoModelForCausalLM, folder, config=None, dtype=dtype, may_lack=()
    )
    return _text_only(model).to(device).eval()


def _text_only(model: Any) -> Any:
    """Return the causal model of a wrapper's text part, around the same weights.

    Released verbalizers of multimodal bases are text-only, and a server that runs the wrapper
    ignores the embeddings that it is sent.
    """
    import transformers

    config = model.config.get_text_config()
    if config is model.config:
        return model
    # Built empty: every weight is the wrapper's own.
    with torch.device("meta"):
        text = transformers.AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    setattr(text, text.base_model_prefix, arch.text_decoder(model.base_model))
    text.set_output_embeddings(model.get_output_embeddings())
    text.tie_weights()
    text.generation_config = model.generation_config
    return text


def load_decoder(
    folder: Path, *, n_blocks: int, dtype: torch.dtype, device: str | torch.device
) -> Any:
    """Load the embeddings and the first decoder blocks, with no norm after the last one.

    Args:
        folder: A checkpoint, whole or already cut, text-only or a multimodal wrapper.
        n_blocks: Blocks kept.
        dtype: Of the weights.
        device: Where to put them.

    Returns:
        The bare decoder; its last hidden state is the output of the last kept block.

    Raises:
        SidecarError: When the checkpoint has fewer blocks or lacks weights.
    """
    import transformers

    config = load_config(folder)
    has_blocks = arch.n_blocks(config)
    if has_blocks < n_blocks:
        raise SidecarError(
            f"{folder}: layer {n_blocks - 1} needs {n_blocks} blocks, the checkpoint has "
            f"{has_blocks}"
        )
    arch.truncate_config(config, n_blocks)
    model = _from_pretrained(
        transformers.AutoModel, folder, config=config, dtype=dtype, may_lack=arch.FINAL_NORMS
    )
    decoder = arch.text_decoder(model)
    arch.drop_final_norm(decoder)
    return decoder.to(device).eval()


def _from_pretrained(
    factory: Any, folder: Path, *, config: Any, dtype: torch.dtype, may_lack: tuple[str, ...]
) -> Any:
    extra = {} if config is None else {"config": config}
    try:
        with _quiet():
            model, info = factory.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, **extra
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SidecarError(f"{folder}: cannot load its weights: {_one_line(error)}") from None
    missing = sorted(
        key for key in info["missing_keys"] if not set(key.split(".")[-2:-1]) & set(may_lack)
    )
    if missing:
        raise SidecarError(
            f"{folder}: the weights lack {missing[0]}"
            + (f" and {len(missing) - 1} more" if missing[1:] else "")
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence reports on weights that are left out on purpose."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def save_decoder(decoder: nn.Module, folder: Path) -> None:
    """Write a cut decoder as the reference client expects it: a causal model without its end.

    The final norm and the language-model head are left out of the weights, on purpose.
    """
    from huggingface_hub import save_torch_state_dict
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    model: Any = decoder
    prefix = model.base_model_prefix
    weights = {f"{prefix}.{key}": value for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(weights, folder)
    config = model.config
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    config.architectures = [name] if name else None
    config.dtype = next(model.parameters()).dtype
    config.save_pretrained(folder)
    make_portable(folder)


def load_value_head(folder: Path, d_model: int) -> Tensor:
    """Read the `[d_model, d_model]` weight of a reconstructor's head, y = W h.

    Raises:
        SidecarError: When the file is missing, of another shape, or holds values that are not
            finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / VALUE_HEAD_FILE
    if not path.is_file():
        raise SidecarError(f"{path} does not exist; a reconstructor needs its value head")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise SidecarError(f"{path}: cannot be read: {_one_line(error)}") from None
    if set(tensors) != {_VALUE_HEAD_KEY}:
        names = ", ".join(sorted(tensors)) or "nothing"
        raise SidecarError(f"{path}: must hold one tensor named weight, holds {names}")
    weight: Tensor = tensors[_VALUE_HEAD_KEY]
    if list(weight.shape) != [d_model, d_model]:
        raise SidecarError(
            f"{path}: shape is {list(weight.shape)}, the model needs [{d_model}, {d_model}]"
        )
    bad = ~torch.isfinite(weight).all(dim=1)
    if bool(bad.any()):
        raise SidecarError(
            f"{path}: {int(bad.sum())} of {d_model} rows hold values that are not finite"
        )
    return weight


def save_value_head(weight: Tensor, folder: Path) -> None:
    """Write the weight of a reconstructor's head."""
    from safetensors.torch import save_file

    save_file({_VALUE_HEAD_KEY: weight.detach().cpu().contiguous()}, folder / VALUE_HEAD_FILE)


def stop_ids(model: nn.Module, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end a generation.

    generation_config.json decides: it may name more than the tokenizer's end of sequence (Gemma
    ends a turn with another id). The tokenizer is asked only when it names none.
    """
    generation = getattr(arch.unwrap(model), "generation_config", None)
    found = getattr(generation, "eos_token_id", None)
    if found is None:
        found = tokenizer.eos_token_id
    if found is None:
        return frozenset()
    return frozenset([found] if isinstance(found, int) else found)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
