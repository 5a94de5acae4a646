"""Harvest: activations at sampled positions of a corpus, in shards; memory does not grow.

A shard covers a fixed range of documents, and exists whole or not at all, so a harvest that was
killed goes on with the first shard that is missing.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from torch import nn

from nla_core import arch
from nla_core.activations import capture
from nla_core.dataset_sidecar import DatasetSidecar, Extraction
from nla_core.training.agreement import check_shard
from nla_core.training.config import Harvest, Recipe, RecipeError, public_name
from nla_core.training.dataset import Writer, schema
from nla_core.training.plugs import Corpus, Document, Split

STEMS: dict[Split, str] = {"train": "base", "held_out": "heldout"}
_CHUNK = 256
"""Documents captured at once."""


def harvest(
    recipe: Recipe,
    corpus: Corpus,
    model: nn.Module,
    tokenizer: Any,
    folder: Path,
    *,
    splits: Sequence[Split] = ("train", "held_out"),
    say: Callable[[str], None] = print,
) -> None:
    """Write the activations of the corpus's splits to `folder`.

    Raises:
        RecipeError: When no document of the corpus has a position to read.
        SidecarError: When a file of another harvest lies in the folder.
        ValueError: When the layer does not exist.
    """
    sizes: dict[Split, int] = {
        "train": recipe.harvest.documents,
        "held_out": recipe.harvest.held_out_documents,
    }
    step = recipe.harvest.documents_per_shard
    for split in splits:
        n_documents = sizes[split]
        for number, start in enumerate(range(0, n_documents, step)):
            path = folder / f"{STEMS[split]}-{number:05d}.parquet"
            stop = min(start + step, n_documents)
            if path.exists():
                check_shard(path, _extraction(recipe, split, (start, stop), arch.d_model(model)))
                continue
            n_found, n_rows = _shard(recipe, corpus, split, (start, stop), model, tokenizer, path)
            if n_found == 0:
                break
            last = start + n_found - 1
            say(f"harvest: {path.name}, {n_rows} activations of documents {start} to {last}")
        if not any(folder.glob(f"{STEMS[split]}-*.parquet")):
            raise RecipeError(
                f"corpus {recipe.corpus}: no {split} document reaches past position "
                f"{recipe.harvest.first_position}; give more or longer documents, or set "
                "harvest.first_position"
            )


def _shard(
    recipe: Recipe,
    corpus: Corpus,
    split: Split,
    span: tuple[int, int],
    model: nn.Module,
    tokenizer: Any,
    path: Path,
) -> tuple[int, int]:
    """Write a file, unless it would have no rows; return how many documents and rows were found."""
    width = arch.d_model(model)
    special = frozenset(tokenizer.all_special_ids)
    chunk: list[Document] = []
    n_found = 0
    with Writer(path, schema(width)) as writer:
        for document in corpus.documents(split, *span):
            chunk.append(document)
            n_found += 1
            if len(chunk) >= _CHUNK:
                _add(writer, chunk, recipe, model, tokenizer, special)
                chunk = []
        _add(writer, chunk, recipe, model, tokenizer, special)
        if writer.row_count:
            writer.finish(_sidecar(recipe, split, span, width))
        return n_found, writer.row_count


def _add(
    writer: Writer,
    documents: Sequence[Document],
    recipe: Recipe,
    model: nn.Module,
    tokenizer: Any,
    special: frozenset[int],
) -> None:
    ids = [list(d.token_ids[: recipe.harvest.max_tokens]) for d in documents]
    chosen = [
        sampled_positions(row, document.doc_id, recipe.harvest, recipe.seed, special)
        for row, document in zip(ids, documents, strict=True)
    ]
    kept = [i for i, positions in enumerate(chosen) if positions]
    states = capture(
        model,
        [ids[i] for i in kept],
        layer=recipe.layer,
        positions=[chosen[i] for i in kept],
        batch_size=recipe.harvest.batch_size,
    )
    for i, vectors in zip(kept, states, strict=True):
        for position, vector in zip(chosen[i], vectors, strict=True):
            writer.add(
                n_raw_tokens=position + 1,
                detokenized_text_truncated=tokenizer.decode(
                    ids[i][: position + 1], skip_special_tokens=True
                ),
                activation_vector=vector,
                activation_layer=recipe.layer,
                doc_id=documents[i].doc_id,
            )


def sampled_positions(
    ids: Sequence[int], doc_id: str, config: Harvest, seed: int, special: frozenset[int]
) -> list[int]:
    """Return the positions of a document that are read, in the order in which they were drawn.

    The draw is that of the released recipe: it depends on the seed and the document alone.
    """
    candidates = [
        i
        for i in range(config.first_position, len(ids))
        if config.special_tokens or ids[i] not in special
    ]
    rng = Random(hashlib.sha256(f"{seed}|{doc_id}".encode()).digest())
    return rng.sample(candidates, min(config.positions_per_document, len(candidates)))


def _extraction(recipe: Recipe, split: Split, span: tuple[int, int], width: int) -> Extraction:
    return Extraction(
        base_model=public_name(recipe.model),
        d_model=width,
        layer_index=recipe.layer,
        corpus=f"{Path(recipe.corpus).name}:{split}",
        corpus_slice={"start": span[0], "length": span[1] - span[0]},
        positions_per_doc=recipe.harvest.positions_per_document,
    )


def _sidecar(recipe: Recipe, split: Split, span: tuple[int, int], width: int) -> DatasetSidecar:
    found = _extraction(recipe, split, span, width)
    cut = dict(found.corpus_slice or {})
    identity = f"{found.base_model}|{found.layer_index}|{found.corpus}|{cut}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return DatasetSidecar(
        dataset_id=f"base_{Path(found.base_model).name}_L{found.layer_index}_{digest[:8]}",
        stage="base",
        row_count=0,
        extraction=found,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=__name__,
    )
