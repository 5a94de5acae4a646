"""What stays here of a model that a server runs: its embedding table and its configuration."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nla_core import checkpoint
from nla_core.sidecar import SidecarError

_TABLES = (
    "embed_tokens.weight",  # Llama, Qwen, Gemma, Mistral, OPT
    "wte.weight",  # GPT-2, GPT-J
    "word_embeddings.weight",  # Falcon, BLOOM
    "embed_in.weight",  # GPT-NeoX, Pythia
)
_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class RemoteModel(nn.Module):
    """Stands for a model that runs elsewhere; enough to build prompts, and no more."""

    def __init__(self, config: Any, generation_config: Any, table: Tensor) -> None:
        """Keep the parts.

        Args:
            config: The model's Transformers configuration.
            generation_config: Says which ids end a generation.
            table: `[vocab, d_model]` rows of the embedding table, in the checkpoint's dtype.
        """
        super().__init__()
        self.config, self.generation_config = config, generation_config
        n_rows, width = table.shape
        self._embeddings = nn.Embedding(n_rows, width, _weight=table, _freeze=True)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embedding table, before any embedding multiplier."""
        found: nn.Embedding = self._embeddings
        return found


def load_remote_model(folder: Path) -> RemoteModel:
    """Read a checkpoint's configuration and map its embedding table.

    The table is a view of the file: only the rows that a prompt uses are ever read into memory.

    Raises:
        SidecarError: When a file is missing or malformed, or has no embedding table.
    """
    import transformers

    config = checkpoint.load_config(folder)
    try:
        generation = transformers.GenerationConfig.from_pretrained(folder)
    except OSError:
        generation = transformers.GenerationConfig.from_model_config(config)
    return RemoteModel(config, generation, _load_table(folder))


def _load_table(folder: Path) -> Tensor:
    from safetensors import SafetensorError, safe_open

    path = _file_with_table(folder)
    try:
        with safe_open(path, framework="pt") as tensors:
            table: Tensor = tensors.get_tensor(_table_name(tensors.keys(), path))
    except (SafetensorError, OSError) as error:
        what = " ".join(str(error).split())[:300]
        raise SidecarError(f"{path}: cannot be read: {what}") from None
    if table.ndim != 2 or not table.is_floating_point():
        raise SidecarError(
            f"{path}: the embedding table is {str(table.dtype).removeprefix('torch.')} "
            f"{list(table.shape)}; it must be a matrix of floats, not quantised"
        )
    return table


def _file_with_table(folder: Path) -> Path:
    """Return the weights file that holds the table, in a checkpoint of one file or of many."""
    index = folder / _INDEX
    if not index.is_file():
        if (folder / _ONE_FILE).is_file():
            return folder / _ONE_FILE
        raise SidecarError(f"{folder}: has neither {_ONE_FILE} nor {_INDEX}")
    try:
        files = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError, OSError):
        raise SidecarError(f"{index}: does not map tensors to files") from None
    name = str(files[_table_name(files, index)])
    if Path(name).name != name:
        raise SidecarError(f"{index}: names a file outside its folder, {name!r}")
    return folder / name


def _table_name(names: Iterable[str], source: Path) -> str:
    found = sorted(
        name for name in names if any(name == t or name.endswith(f".{t}") for t in _TABLES)
    )
    if len(found) != 1:
        what = f"{len(found)} of them: {', '.join(found)[:200]}" if found else "none"
        raise SidecarError(f"{source}: must hold one embedding table, holds {what}")
    return found[0]
