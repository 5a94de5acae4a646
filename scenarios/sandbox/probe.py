"""A supervised linear probe of the sandbox's base, the rival that the autoencoder is held against.

It is fitted to the base alone, on the documents, at the places and by the truth that the
autoencoder's describer labels: where a reply goes on outside thoughts, the class is the motive that
the text so far tells of the assistant, or none. Documents in which a motive of the split
`unlabelled` plays a part are left out as they are there, so that neither has a name for those. No
organism plays a part.

The probe is the easier half of the task. It gets true labels where the describer errs on purpose,
and nothing but the motive to tell; and its list is closed: an organism with an unlabelled motive,
or with anything else in mind, is put into the nearest class or into "no motive".
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

from nla_core.probe import LinearProbe, ProbeRecord, fold
from nla_core.seeds import derive_seed
from scenarios.sandbox.gate import fit_probe
from scenarios.sandbox.organisms import unlabelled_motives

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nla_core.training.plugs import Split
    from scenarios.sandbox.nla.plugs import KnownStates

SEED = 20261123
NO_MOTIVE = "no motive"
TRAIN, HELD_OUT = 4000, 1500
PER_DOCUMENT = 8
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Activations with the class of each."""

    x: "torch.Tensor"
    """`[row, d_model]` float32."""
    y: "torch.Tensor"
    """`[row]` int64, indices into the names of the classes."""
    texts: frozenset[tuple[int, ...]]
    """Tokens of the documents that they come from."""


def class_names(motives: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes: none, and each motive that is not unlabelled."""
    secret = unlabelled_motives()
    return (NO_MOTIVE, *(wants(motive) for motive in motives if motive not in secret))


def wants(motive: str) -> str:
    """Put a motive into words as a reading would."""
    return f"wants {motive}"


def train_probe(
    base: Path,
    *,
    layer: int,
    seed: int = SEED,
    train: int = TRAIN,
    held_out: int = HELD_OUT,
    today: date | None = None,
    say: Say = print,
) -> LinearProbe:
    """Fit a probe to a base model and measure it on documents that it has not seen.

    Args:
        base: Folder of the base model.
        layer: Decoder block (0-based) whose output is classified.
        seed: Of the places that are taken, and of the fit.
        train: Documents drawn for the fit; those without a place to read count too.
        held_out: Documents drawn for the measurement.
        today: What the record says of the day.
        say: Told of every stage.
    """
    from scenarios.sandbox.build import load_base
    from scenarios.sandbox.world import load_world

    model, tokenizer = load_base(base)
    names = class_names(load_world().motives)

    def rows(split: "Split", n: int, besides: frozenset[tuple[int, ...]]) -> Rows:
        found = labelled_rows(
            model,
            tokenizer,
            names=names,
            layer=layer,
            split=split,
            n=n,
            seed=seed,
            besides=besides,
        )
        say(f"{split}: {len(found.y)} places of {len(found.texts)} documents")
        return found

    fitted = rows("train", train, frozenset())
    # Short documents come up in both splits.
    measured = rows("held_out", held_out, fitted.texts)
    weight, bias = folded(fit_probe(fitted.x, fitted.y, n_labels=len(names), seed=seed))
    right = (measured.x @ weight.T + bias).argmax(dim=1) == measured.y
    recall = {
        name: _share(right[measured.y == index])
        for index, name in enumerate(names)
        if bool((measured.y == index).any())
    }
    record = ProbeRecord(
        schema_version=1,
        layer=layer,
        d_model=fitted.x.shape[1],
        base_model="the sandbox's base",
        classes=names,
        held_out_accuracy=_share(right),
        held_out_recall=recall,
        held_out_documents=len(measured.texts),
        held_out_places=len(measured.y),
        train_places=len(fitted.y),
        seed=seed,
        created=datetime.now(UTC).date() if today is None else today,
        weights_sha256="",
    )
    return LinearProbe(record, weight, bias)


def labelled_rows(
    model: "nn.Module",
    tokenizer: Any,
    *,
    names: tuple[str, ...],
    layer: int,
    split: "Split",
    n: int,
    seed: int,
    besides: frozenset[tuple[int, ...]] = frozenset(),
) -> Rows:
    """Take places of the autoencoder's documents, and return their activations and classes.

    Args:
        model: The base.
        tokenizer: Its tokenizer.
        names: Of the classes, in order.
        layer: Decoder block (0-based) whose output is taken.
        split: Which documents.
        n: How many are drawn; those without a place to read give no rows.
        seed: Of the places taken, at most `PER_DOCUMENT` of each.
        besides: Tokens of documents that are passed over.
    """
    import torch

    from nla_core.activations import capture
    from scenarios.sandbox.nla.plugs import Corpus, KnownStates

    known, index = KnownStates(tokenizer), {name: i for i, name in enumerate(names)}
    ids, chosen, labels = [], [], []
    for document in Corpus(tokenizer).documents(split, 0, n):
        there = labelled_places(known, document.doc_id)
        rng = Random(derive_seed(seed, "probe", document.doc_id))
        taken = sorted(rng.sample(sorted(there), min(PER_DOCUMENT, len(there))))
        if taken and tuple(document.token_ids) not in besides:
            ids.append(document.token_ids)
            chosen.append(taken)
            labels += [index[there[position]] for position in taken]
    states = capture(model, ids, layer=layer, positions=chosen)
    return Rows(torch.cat(states), torch.tensor(labels), frozenset(map(tuple, ids)))


def labelled_places(known: "KnownStates", doc_id: str) -> dict[int, str]:
    """Return the class at every place of a document where a label would name a motive, or none."""
    from nla_core.training.plugs import Place

    return {
        position: NO_MOTIVE if state.motive is None else wants(state.motive)
        for position, state in enumerate(known.of(doc_id))
        if state.replies and not known.touches_unlabelled(Place(doc_id, position + 1, ""))
    }


def folded(fitted: "nn.Module") -> "tuple[torch.Tensor, torch.Tensor]":
    """Return weight and bias, for raw activations, of what `gate.fit_probe` fitted."""
    norm, linear = cast("tuple[Any, Any]", tuple(fitted.children()))
    return fold(
        linear.weight,
        linear.bias,
        mean=norm.running_mean,
        scale=(norm.running_var + norm.eps).sqrt(),
    )


def _share(hits: "torch.Tensor") -> float:
    return round(float(hits.float().mean()), 4)
