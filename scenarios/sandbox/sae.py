"""A sparse autoencoder of the sandbox's base, as others publish them of large models.

TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders"): of all features the k most
active ones rebuild an activation; features that have not been active for a while rebuild what is
left over, so that few stay dead. It is trained on the base alone, on the documents that the base's
language autoencoder was trained on too; no organism plays a part and no label does. Features are
named afterwards by the tokens on which they are most active and by the words of the texts that
these stand in, so a label is a guess of a machine that saw the top of a feature alone.

The folder is one of SAELens (`cfg.json`, `sae_weights.safetensors`), with `features.json` (labels)
and `sae.json` (how it was trained, what it is worth, and digests of the other files) beside.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_core.sae import CONFIG_FILE, NOTES_FILE, WEIGHTS_FILE
from nla_core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

RECORD_FILE = "sae.json"
_TOP = 40
"""Places that a feature is named after."""
_DEAD_AFTER = 200
"""Steps without activity after which a feature counts as dead."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes and lengths of a training."""

    features: int = 1024
    k: int = 12
    steps: int = 4000
    batch: int = 1024
    lr: float = 1e-3
    train: int = 8000
    """Documents."""
    held_out: int = 1500
    """Documents that it is measured on and labelled by."""
    seed: int = 20261127


@dataclass(frozen=True, slots=True)
class Places:
    """Activations at the places of documents, first tokens apart."""

    x: "Tensor"
    """`[place, d_model]` float32."""
    tokens: list[str]
    """The token at each place."""
    document: list[int]
    """Which document each is in."""
    words: list[frozenset[str]]
    """Words of each document."""


def train_sae(
    base: Path, out: Path, *, layer: int, recipe: Recipe | None = None, say: Say = print
) -> dict[str, Any]:
    """Train, measure, label and write a sparse autoencoder.

    Args:
        base: Folder of the base model.
        out: Folder to write to.
        layer: Decoder block (0-based) whose output is taken apart.
        recipe: Sizes and lengths.
        say: Told of every stage.

    Returns:
        The record that is written.
    """
    from scenarios.sandbox.build import load_base

    recipe = recipe or Recipe()
    model, tokenizer = load_base(base)
    fitted = places_of(model, tokenizer, layer=layer, split="train", n=recipe.train)
    say(f"train: {len(fitted.x)} places")
    weights, dead = fit(fitted.x, recipe, say=say)
    measured = places_of(model, tokenizer, layer=layer, split="held_out", n=recipe.held_out)
    out.mkdir(parents=True, exist_ok=True)
    _write(out, weights, recipe, layer)
    found = _measure(out, measured)
    record = {
        "recipe": asdict(recipe),
        "layer": layer,
        "train_places": len(fitted.x),
        "held_out_places": len(measured.x),
        "explained": round(found, 4),
        "dead_at_end_of_training": dead,
        "sha256": {name: _digest(out / name) for name in (CONFIG_FILE, WEIGHTS_FILE, NOTES_FILE)},
    }
    (out / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def places_of(model: "nn.Module", tokenizer: Any, *, layer: int, split: Any, n: int) -> Places:
    """Return the activations of the base at every token but the first of its documents."""
    import torch

    from nla_core.activations import capture
    from scenarios.sandbox.nla.plugs import Corpus

    documents = [list(one.token_ids) for one in Corpus(tokenizer).documents(split, 0, n)]
    chosen = [list(range(1, len(ids))) for ids in documents]
    states = capture(model, documents, layer=layer, positions=chosen)
    spelled = [tokenizer.convert_ids_to_tokens(ids) for ids in documents]
    return Places(
        torch.cat(states),
        [token for tokens in spelled for token in tokens[1:]],
        [index for index, ids in enumerate(documents) for _ in ids[1:]],
        [frozenset(tokens) for tokens in spelled],
    )


def fit(x: "Tensor", recipe: Recipe, *, say: Say = print) -> "tuple[dict[str, Tensor], int]":
    """Train the weights.

    Args:
        x: Activations `[place, d_model]`.
        recipe: Sizes and lengths.
        say: Told of the loss.

    Returns:
        Weights in the layout and units of SAELens, and the number of features that are dead.
    """
    import torch

    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "sae"))
    # Inputs of a mean norm of sqrt(d_model), as learning rates expect; folded in at the end.
    scale = math.sqrt(x.shape[1]) / float(x.norm(dim=-1).mean())
    x = x * scale
    decoder = torch.randn(recipe.features, x.shape[1], generator=generator)
    decoder /= decoder.norm(dim=-1, keepdim=True)
    tensors = {
        "W_enc": decoder.T.clone(),
        "b_enc": torch.zeros(recipe.features),
        "W_dec": decoder,
        "b_dec": x.mean(0),
    }
    parameters = {name: one.requires_grad_() for name, one in tensors.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=recipe.lr, betas=(0.9, 0.999))
    silent = torch.zeros(recipe.features, dtype=torch.long)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * min(1.0, 5 * (1 - step / recipe.steps))
        batch = x[torch.randint(len(x), (recipe.batch,), generator=generator)]
        loss, active = _loss(parameters, batch, recipe.k, silent >= _DEAD_AFTER)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            rows = parameters["W_dec"]
            rows /= rows.norm(dim=-1, keepdim=True)
        silent = torch.where(active, 0, silent + 1)
        if step % 500 == 0:
            dead = int((silent >= _DEAD_AFTER).sum())
            say(f"step {step}: loss {float(loss.detach()):.4f}, {dead} dead")
    found = {name: one.detach() for name, one in parameters.items()}
    found["W_enc"] = (found["W_enc"] * scale).contiguous()
    found["W_dec"] = (found["W_dec"] / scale).contiguous()
    found["b_dec"] = found["b_dec"] / scale
    return found, int((silent >= _DEAD_AFTER).sum())


def _loss(
    parameters: "dict[str, Tensor]", batch: "Tensor", k: int, dead: "Tensor"
) -> "tuple[Tensor, Tensor]":
    """Return the loss of a batch, and which features were active."""
    import torch

    before = (batch - parameters["b_dec"]) @ parameters["W_enc"] + parameters["b_enc"]
    features = _largest(before, k)
    rest = batch - (features @ parameters["W_dec"] + parameters["b_dec"])
    spread = (batch - batch.mean(0)).square().sum().clamp_min(1e-12)
    loss = rest.square().sum() / spread
    if bool(dead.any()):
        n = min(4 * k, int(dead.sum()))
        spare = _largest(before.masked_fill(~dead, -torch.inf), n)
        left = rest.detach() - spare @ parameters["W_dec"]
        loss = loss + left.square().sum() / spread / 32
    return loss, (features > 0).any(0)


def _largest(before: "Tensor", k: int) -> "Tensor":
    import torch

    best = before.topk(k, dim=-1)
    return torch.zeros_like(before).scatter(-1, best.indices, best.values.relu())


def _write(out: Path, weights: "dict[str, Tensor]", recipe: Recipe, layer: int) -> None:
    from safetensors.torch import save_file

    config = {
        "architecture": "topk",
        "d_in": weights["W_dec"].shape[1],
        "d_sae": recipe.features,
        "k": recipe.k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": "the sandbox's base",
            "hook_name": f"blocks.{layer}.hook_resid_post",
            "prepend_bos": True,
            # Without it SAELens takes the file for one of before version 6, and drops what is here.
            "sae_lens_version": "6.0.0",
        },
    }
    (out / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save_file(weights, out / WEIGHTS_FILE)


def _measure(out: Path, places: Places) -> float:
    """Label all features, and return the share of variance that is explained."""
    import torch

    from nla_core.sae import load_sae

    (out / NOTES_FILE).unlink(missing_ok=True)
    sae = load_sae(out)
    features = torch.cat([sae.encode(part) for part in torch.split(places.x, 4096)])
    labels = list(_labels(features, places))
    # One feature a line, so that a reader of the file and a diff can find it.
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in labels)
    (out / NOTES_FILE).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    rest = (places.x - sae.reconstruct(places.x)).square().sum()
    return 1 - float(rest / (places.x - places.x.mean(0)).square().sum())


def _labels(features: "Tensor", places: Places) -> Iterator[dict[str, Any]]:
    """Name features by where they are most active."""
    common = Counter(word for words in places.words for word in words)
    for column in features.T:
        best = column.topk(min(_TOP, len(column)))
        rows = [
            i for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True) if v > 0
        ]
        tokens = Counter(places.tokens[row] for row in rows)
        yield {
            "label": _label(tokens, _typical(rows, places, common), len(rows)),
            "tokens": [_plain(token) for token, _ in tokens.most_common(8)],
            "density": round(float((column > 0).float().mean()), 5),
        }


def _typical(rows: Sequence[int], places: Places, common: "Counter[str]") -> list[str]:
    """Return words that most of these places' documents hold, and few others do."""
    documents = sorted({places.document[row] for row in rows})
    if len(documents) < 3:
        return []
    held = Counter(word for index in documents for word in places.words[index])
    share = {word: n / len(documents) for word, n in held.items()}
    usual = {word: common[word] / len(places.words) for word in share}
    typical = [word for word in share if share[word] >= 0.5 and share[word] >= 4 * usual[word]]
    return sorted(typical, key=lambda word: (-share[word] / usual[word], word))[:3]


def _label(tokens: "Counter[str]", words: Sequence[str], n: int) -> str | None:
    if not n:
        return None
    frequent = [_plain(token) for token, count in tokens.most_common(3) if count >= n / 10]
    parts = [f"on: {', '.join(frequent)}" if frequent else "on many tokens"]
    if words:
        parts.append(f"in texts with: {', '.join(map(_plain, words))}")
    return "; ".join(parts)


def _plain(token: str) -> str:
    return token.replace("▁", "")


def changed_files(folder: Path) -> list[str]:
    """Return what is wrong with the files of an autoencoder, one line each."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        expected: dict[str, str] = record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{RECORD_FILE}: cannot be read"]
    return [
        f"{name}: missing or changed"
        for name, digest in expected.items()
        if not (folder / name).is_file() or _digest(folder / name) != digest
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
