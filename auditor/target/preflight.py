"""Finding out from its files alone whether a model can be loaded, before anything is.

Only local folders are inspected; what a hub id stands for shows when it is downloaded.
"""

import json
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from auditor.scenario.schema import Model

_MAX_HEADER = 100_000_000
"""Largest header in bytes that the safetensors format allows."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")
_LORA = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight$")


def preflight_model(model: Model) -> list[str]:
    """Return what is wrong with a model's files, one line each; empty when nothing is.

    Hub ids are not looked up, so they never have mistakes here.
    """
    mistakes = list(_base_mistakes(model.path)) if is_folder(model.path) else []
    if model.adapter is not None and is_folder(model.adapter):
        mistakes += adapter_mistakes(model.adapter, model.path)
    return mistakes


def is_folder(path: str) -> bool:
    """Tell a local folder, present or not, from a hub id."""
    return Path(path).is_absolute() or path.startswith((".", "~")) or Path(path).is_dir()


class BadFileError(Exception):
    """A file cannot be read as what it should be."""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFileError(f"{path} is not readable JSON ({error}); fetch it again") from None
    if not isinstance(value, dict):
        raise BadFileError(f"{path} does not hold a JSON object; fetch it again")
    return value


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the tensor shapes in a safetensors file, read from its header.

    Raises:
        BadFileError: When it is no such file.
    """
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > _MAX_HEADER:
                raise ValueError(size)
            header = json.loads(file.read(size))
        return {k: tuple(v["shape"]) for k, v in header.items() if k != "__metadata__"}
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError):
        raise BadFileError(
            f"{path} is not a safetensors file (a Git LFS pointer?); fetch it again"
        ) from None


@lru_cache(maxsize=512)
def _base_mistakes(path: str) -> tuple[str, ...]:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return (f"model folder {path} does not exist; correct `path`",)
    if not (folder / "config.json").is_file():
        return (f"{path} has no config.json; point `path` at a Hugging Face model folder",)
    return tuple(folder_mistakes(folder, chats=True))


def folder_mistakes(folder: Path, *, chats: bool) -> list[str]:
    """Return what is wrong with the files of a model folder that has a config, one line each.

    Args:
        folder: The folder.
        chats: Whether it must have a tokenizer with a chat template.
    """
    found: list[str] = []
    for check in (_config_mistakes, _weight_mistakes, *([_tokenizer_mistakes] if chats else [])):
        try:
            found += check(folder)
        except BadFileError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _config_mistakes(folder: Path) -> Iterator[str]:
    config = _read_json(folder / "config.json")
    if config.get("auto_map"):
        yield (
            f"{folder} needs remote code (auto_map in config.json), which is never run; "
            "use a model of an architecture that Transformers has built in"
        )


def _weight_mistakes(folder: Path) -> Iterator[str]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = _read_json(index).get("weight_map")
        if not isinstance(parts, dict):
            raise BadFileError(f"{index} has no weight_map; fetch it again")
        names = sorted({str(part) for part in parts.values()})
    else:
        names = sorted(f.name for f in folder.glob("*.safetensors") if "adapter" not in f.name)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        yield f"{folder} lacks {missing[0]}, which its index names; fetch it again"
    elif not names and any(any(folder.glob(pattern)) for pattern in _PICKLES):
        yield (
            f"{folder} has pickled weights only, which are refused because loading them can run "
            "code; convert them to safetensors (model.save_pretrained)"
        )
    elif not names:
        yield f"{folder} has no weights; it needs model.safetensors"
    for name in names:
        if name not in missing:
            read_shapes(folder / name)


def _tokenizer_mistakes(folder: Path) -> Iterator[str]:
    config_file = folder / "tokenizer_config.json"
    config = _read_json(config_file) if config_file.is_file() else {}
    if not config and not (folder / "tokenizer.json").is_file():
        yield f"{folder} has no tokenizer; it needs tokenizer.json and tokenizer_config.json"
        return
    if config.get("auto_map"):
        yield (
            f"{folder} needs remote code (auto_map in tokenizer_config.json), which is never run; "
            "use a model whose tokenizer Transformers has built in"
        )
    files = ("chat_template.jinja", "chat_template.json")
    if not config.get("chat_template") and not any((folder / name).is_file() for name in files):
        yield (
            f"{folder} has no chat template, so it cannot be chatted with; add "
            "chat_template.jinja, or use the instruction-tuned model"
        )


@lru_cache(maxsize=2048)
def adapter_mistakes(adapter: str, base: str) -> tuple[str, ...]:
    """Return what is wrong with an adapter in a folder, alone or on a base, one line each."""
    folder = Path(adapter).expanduser()
    if not folder.is_dir():
        return (f"adapter folder {adapter} does not exist; correct `adapter`",)
    if not (folder / "adapter_config.json").is_file():
        return (f"{adapter} has no adapter_config.json; point `adapter` at a PEFT adapter",)
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        why = "pickled weights only, which are refused" if pickled else "no weights"
        return (f"{adapter} has {why}; it needs adapter_model.safetensors",)
    try:
        _read_json(folder / "adapter_config.json")
        shapes = read_shapes(weights)
        misfit = _misfit(shapes, Path(base).expanduser()) if is_folder(base) else None
    except BadFileError as error:
        return (str(error),)
    if misfit is None:
        return ()
    return (f"adapter {adapter} was made for another base than {base}: {misfit}",)


def _misfit(adapter: dict[str, tuple[int, ...]], base: Path) -> str | None:
    """Say how an adapter's tensors contradict the base's, or None when they do not."""
    if not (base / "config.json").is_file():
        return None
    n_layers = layer_count(str(base))
    layers = [int(m[1]) for name in adapter if (m := _LAYER.search(name))]
    if n_layers is not None and layers and max(layers) >= n_layers:
        return f"it changes layer {max(layers)}, the base has layers 0 to {n_layers - 1}"
    shapes = _base_shapes(str(base))
    for name, shape in adapter.items():
        match = _LORA.match(name)
        weight = shapes.get(f"{match['module']}.weight") if match else None
        if match is None or weight is None or len(shape) != 2 or len(weight) != 2:
            continue
        # A is [rank, in], B is [out, rank]. GPT-2 stores weights transposed, so either side fits.
        size = shape[1] if match["side"] == "A" else shape[0]
        if size not in weight:
            return (
                f"{match['module']} has width {size} in it, {weight[0]} x {weight[1]} in the base"
            )
    return None


@lru_cache(maxsize=64)
def layer_count(base: str) -> int | None:
    """Return the number of decoder blocks of a model folder, if its config tells.

    Raises:
        BadFileError: When the config cannot be read.
    """
    return _from_config(Path(base), ("num_hidden_layers", "n_layer", "num_layers"))


@lru_cache(maxsize=64)
def hidden_size(base: str) -> int | None:
    """Return the width of the residual stream of a model folder, if its config tells.

    Raises:
        BadFileError: When the config cannot be read.
    """
    return _from_config(Path(base), ("hidden_size", "n_embd", "d_model"))


def _from_config(folder: Path, keys: tuple[str, ...]) -> int | None:
    config = _read_json(folder / "config.json")
    text = config.get("text_config")
    for block in (text if isinstance(text, dict) else {}, config):
        for key in keys:
            if isinstance(block.get(key), int):
                return int(block[key])
    return None


@lru_cache(maxsize=64)
def _base_shapes(base: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(Path(base).glob("*.safetensors")):
        shapes.update(read_shapes(file))
    return shapes
