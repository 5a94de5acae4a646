"""Which weights a run loads, whether they are here, and how large they are.

Nothing is fetched: a hub id is here when the files that loading it reads are in the Hugging Face
cache.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

from auditor.doctor.findings import Finding
from auditor.run.plan import PlannedTrial
from auditor.run.subjects import placebo_of
from auditor.scenario.readers import asks
from auditor.scenario.schema import LanguageModel, Model, ReaderSpec, ResolvedScenario
from auditor.target.oracles import adapter_of
from auditor.target.preflight import BadFileError, is_folder, read_shapes

Kind = Literal["model", "adapter", "verbalizer", "reconstructor", "language model"]

_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "model": ("config.json", "tokenizer_config.json"),
    "language model": ("config.json", "tokenizer_config.json"),
    "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    "verbalizer": ("config.json", "tokenizer_config.json", "nla_meta.yaml"),
    "reconstructor": ("config.json", "nla_meta.yaml", "value_head.safetensors"),
}
_INDEX = "model.safetensors.index.json"
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)[bB](?![A-Za-z0-9])")


class Part(NamedTuple):
    """Weights that are loaded as one."""

    kind: Kind
    path: str
    """Folder or hub id."""
    revision: str | None
    dtype: str
    device: str
    copies: int = 1
    """How often it is in memory."""


class Found(NamedTuple):
    """What is known of a part."""

    part: Part
    folder: Path | None
    """Where its files are; None when they are not here."""
    lacking: str | None
    """The first file that loading it needs and that is not here."""
    parameters: int | None
    """Counted in its files, or else guessed from its name."""
    stored: int | None
    """Bytes of its files, or else guessed at two bytes a parameter."""
    guessed: bool


def parts_of(resolved: ResolvedScenario, trials: Sequence[PlannedTrial]) -> list[Part]:
    """List the weights that these trials load, each once."""
    found: dict[Part, None] = {}
    for trial in trials:
        other = placebo_of(trial, resolved)
        for model in (
            trial.target.model,
            trial.target.baseline,
            None if other is None else other.model,
        ):
            if isinstance(model, Model):
                found.update(dict.fromkeys(_model_parts(model)))
        base = trial.target.baseline
        if resolved.oracle is not None and isinstance(base, Model) and asks(trial.tool_set):
            found.update(dict.fromkeys(_model_parts(adapter_of(resolved.oracle, base))))
        reader = resolved.readers.get(trial.key.tool_set)
        if reader is not None:
            found.update(dict.fromkeys(_reader_parts(reader)))
    return _with_copies(found)


def language_model_part(model: LanguageModel) -> Part | None:
    """The weights of a language model that runs in this process; None when it does not."""
    provider, _, path = model.name.partition("/")
    return Part("language model", path, None, "auto", "auto") if provider == "hf" else None


def _model_parts(model: Model) -> Iterator[Part]:
    yield Part("model", model.path, model.revision, model.dtype, model.device)
    if model.adapter is not None:
        yield Part("adapter", model.adapter, None, model.dtype, model.device)
        if model.merge_adapter:
            # The newest merged copy always stays in memory, beside its base.
            yield Part("model", model.path, model.revision, model.dtype, model.device, copies=2)


def _with_copies(parts: Iterable[Part]) -> list[Part]:
    most: dict[Part, int] = {}
    for part in parts:
        bare = part._replace(copies=1)
        most[bare] = max(most.get(bare, 1), part.copies)
    return [part._replace(copies=copies) for part, copies in most.items()]


def _reader_parts(reader: ReaderSpec) -> Iterator[Part]:
    sides = [(reader.av, reader.ar), *((pair.av, pair.ar) for pair in reader.pairs.values())]
    for av, ar in sides:
        if av is not None and ar is not None:
            yield Part("verbalizer", av, None, reader.dtype, reader.device)
            yield Part("reconstructor", ar, None, reader.dtype, reader.device)


def look_up(part: Part) -> Found:
    """Find a part in its folder, or in the Hugging Face cache."""
    kind, path = part.kind, part.path
    folder = Path(path).expanduser() if is_folder(path) else _cached(path, kind, part.revision)
    if folder is None or not folder.is_dir():
        return _guessed(part, _NEEDED[kind][0])
    lacking = next((name for name in _needed(kind, folder) if not (folder / name).is_file()), None)
    if lacking is not None:
        return _guessed(part, lacking)._replace(folder=folder)
    files = sorted({folder / name for name in _weight_files(kind, folder)})
    try:
        parameters = sum(prod(shape) for file in files for shape in read_shapes(file).values())
    except BadFileError:
        return _guessed(part, files[0].name)._replace(folder=folder)
    stored = sum(file.stat().st_size for file in files)
    return Found(part, folder, None, parameters, stored, guessed=False)


def _cached(repo: str, kind: Kind, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(repo, _NEEDED[kind][0], revision=revision)
    except ValueError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def _needed(kind: Kind, folder: Path) -> Iterator[str]:
    yield from _NEEDED[kind]
    yield from _weight_files(kind, folder)


def _weight_files(kind: Kind, folder: Path) -> list[str]:
    if kind == "adapter":
        return ["adapter_model.safetensors"]
    index = folder / _INDEX
    extra = ["value_head.safetensors"] if kind == "reconstructor" else []
    if not index.is_file():
        return ["model.safetensors", *extra]
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError, AttributeError):
        return [_INDEX, *extra]
    return [*sorted({str(part) for part in parts}), *extra]


def _guessed(part: Part, lacking: str) -> Found:
    size = None if part.kind == "adapter" else _SIZE_IN_NAME.search(part.path)
    parameters = None if size is None else int(float(size[1]) * 1e9)
    stored = None if parameters is None else 2 * parameters
    return Found(part, None, lacking, parameters, stored, guessed=True)


def weight_findings(found: Sequence[Found]) -> list[Finding]:
    """Say which weights are here, alike ones together."""
    findings = []
    ordered = sorted(found, key=lambda one: (one.part.kind, one.lacking is not None))
    for (kind, missing), some in groupby(
        ordered, key=lambda one: (one.part.kind, one.lacking is not None)
    ):
        # Adapters come by the dozen; everything else is worth a line of its own.
        group = list(some)
        chunks = [group] if kind == "adapter" else [[one] for one in group]
        findings += [_finding(chunk, missing=missing) for chunk in chunks]
    return findings


def _finding(group: Sequence[Found], *, missing: bool) -> Finding:
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    name = f"{first.part.kind} {first.part.path}{more}"
    if not missing:
        where = "in its folder" if is_folder(first.part.path) else "in the Hugging Face cache"
        return Finding(what="weights", name=name, state="ok", detail=where)
    if is_folder(first.part.path):
        detail = f"its folder lacks {first.lacking}"
        return Finding(what="weights", name=name, state="missing", detail=detail)
    partly = f" (there is a part of it, without {first.lacking})" if first.folder else ""
    each = " for each" if more else ""
    return Finding(
        what="weights",
        name=name,
        state="missing",
        detail=f"not in the Hugging Face cache{partly}",
        remedy=f"hf download {first.part.path}{each}, or let the run fetch it; log in where its "
        "owner asks for that",
    )
