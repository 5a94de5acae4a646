"""Checkpoint files that Transformers 4.57, which the released pairs name, and 5 read alike.

Version 5 writes what version 4 does not look for: rotary settings inside `rope_parameters` only (so
that a model with a base of a million comes back with ten thousand, and nothing is said), `dtype`
instead of `torch_dtype`, and a tokenizer class that version 4 has not got.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TOKENIZER_CONFIG = "tokenizer_config.json"
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_PORTABLE_TOKENIZER = "PreTrainedTokenizerFast"
_LOCAL = ("backend", "is_local", "local_files_only")
"""What only tells how the tokenizer was loaded."""
_APART = ("rope_theta", "partial_rotary_factor")
"""Rotary settings that stood outside `rope_scaling`."""
_GLOBAL, _SLIDING = "full_attention", "sliding_attention"
_OWN_NAMES = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}
"""Flat names of rotary settings in families that had their own."""

Settings = dict[str, Any]


def make_portable(folder: Path) -> None:
    """Rewrite the configuration files of a saved checkpoint, those that are there, in place.

    What version 5 reads stays as it is; the older names stand beside it.
    """
    _rewrite(folder / _CONFIG, portable_config)
    if (folder / _TOKENIZER).is_file():
        _rewrite(folder / TOKENIZER_CONFIG, portable_tokenizer)


def portable_config(config: Mapping[str, Any]) -> Settings:
    """Return the fields of `config.json` with the older names beside the newer ones."""
    found = dict(config)
    nested = found.get("text_config")
    if isinstance(nested, dict):
        found["text_config"] = portable_config(nested)
    if found.get("dtype") is not None:
        found["torch_dtype"] = found["dtype"]
    rope = found.get("rope_parameters")
    if isinstance(rope, dict):
        found |= _flat_rope(rope, str(found.get("model_type")))
    return found


def portable_tokenizer(settings: Mapping[str, Any]) -> Settings:
    """Return the fields of `tokenizer_config.json`, the tokenizer lying in `tokenizer.json`."""
    found = {key: value for key, value in settings.items() if key not in _LOCAL}
    found["tokenizer_class"] = _PORTABLE_TOKENIZER
    # Version 4 takes a list for a mapping of named tokens under the new name, and fails.
    if isinstance(found.get("extra_special_tokens"), list):
        found["additional_special_tokens"] = found.pop("extra_special_tokens")
    # What version 5 keeps under this name, version 4 reads under that.
    named = found.pop("model_specific_special_tokens", None)
    if isinstance(named, dict) and named:
        found["extra_special_tokens"] = named
    return found


def _flat_rope(rope: Mapping[str, Any], model_type: str) -> Settings:
    """Spread rotary settings out: one base, one for sliding windows, and how positions scale."""
    by_kind = {kind: part for kind, part in rope.items() if isinstance(part, dict)}
    whole = by_kind.get(_GLOBAL, {} if by_kind else rope)
    names = _OWN_NAMES.get(model_type, {})
    flat = {names.get(key, key): whole[key] for key in _APART if whole.get(key) is not None}
    if by_kind.get(_SLIDING, {}).get("rope_theta") is not None:
        flat["rope_local_base_freq"] = by_kind[_SLIDING]["rope_theta"]
    scaling = {key: value for key, value in whole.items() if key not in _APART}
    is_plain = scaling.get("rope_type", "default") == "default"
    return flat | {"rope_scaling": None if is_plain else scaling}


def _rewrite(path: Path, change: Callable[[Mapping[str, Any]], Settings]) -> None:
    if not path.is_file():
        return
    settings = change(json.loads(path.read_text(encoding="utf-8")))
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
