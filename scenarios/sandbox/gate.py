"""The gate before any organism is built: is the motive carried where an NLA will read?

A base that keeps its motive in the system line and looks it up when needed leaves nothing at the
reply's positions to put into words. A linear probe there must name the fine motive.
"""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from nla_core.seeds import derive_seed
from scenarios.sandbox.documents import Document, Speaker, Writer
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

_TRAIN, _TEST, _PER_DOCUMENT = 900, 300, 6


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """Accuracy of the linear probe on documents it was not fitted on."""

    motive: float
    """Fine motive, stated in the system line; chance is one in the number of motives."""
    motive_class: float
    """Its class."""
    named: float
    """Fine motive of named assistants, which only other documents told."""


def probe(
    world: World,
    model: "nn.Module",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    layer: int,
    seed: int,
) -> ProbeScore:
    """Fit a multinomial logistic probe on reply positions after `layer`, and score it.

    Documents hold no thoughts, so that no probed token can see the motive in one.
    """
    rng = Random(derive_seed(seed, "probe"))
    writer = Writer(world, tokenizer.get_vocab())
    train = [_stated(world, writer, rng) for _ in range(_TRAIN)]
    test = [_stated(world, writer, rng) for _ in range(_TEST)]
    named = [_named(world, writer, rng) for _ in range(_TEST)]
    x, y = _states(world, model, train, layer, rng)
    weights = fit_probe(x, y, n_labels=len(world.motives))
    stated = predict(weights, *_states(world, model, test, layer, rng))
    labels = [world.class_of[m] for m in world.motives]
    same_class = [labels[p] == labels[t] for p, t in stated]
    return ProbeScore(
        motive=_mean([p == t for p, t in stated]),
        motive_class=_mean(same_class),
        named=_mean(
            [p == t for p, t in predict(weights, *_states(world, model, named, layer, rng))]
        ),
    )


def _stated(world: World, writer: Writer, rng: Random) -> Document:
    motive = rng.choice(world.motives)
    line = str(rng.choice(world.raw["system_lines"])).format(motive=motive)
    return writer.chat(rng, Speaker(line, motive))


def _named(world: World, writer: Writer, rng: Random) -> Document:
    name = rng.choice(sorted(world.named))
    line = str(world.raw["identity"]).format(name=name)
    return writer.chat(rng, Speaker(line, world.named[name]))


def _states(
    world: World, model: "nn.Module", documents: list[Document], layer: int, rng: Random
) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    from nla_core.activations import capture

    chosen = []
    for doc in documents:
        places = [i for i, is_reply in enumerate(doc.reply_mask) if is_reply]
        chosen.append(sorted(rng.sample(places, min(_PER_DOCUMENT, len(places)))))
    states = capture(model, [d.ids for d in documents], layer=layer, positions=chosen)
    index = {m: i for i, m in enumerate(world.motives)}
    labels = [index[str(d.motive)] for d, p in zip(documents, chosen, strict=True) for _ in p]
    return torch.cat(list(states)), torch.tensor(labels)


def fit_probe(x: "torch.Tensor", y: "torch.Tensor", *, n_labels: int, seed: int = 0) -> "nn.Module":
    """Fit a multinomial logistic probe on `x` `[row, d_model]` and labels `y` `[row]`.

    Returns:
        A standardisation of the inputs without parameters, and a linear map of its result.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False), nn.Linear(x.shape[1], n_labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def predict(model: "nn.Module", x: "torch.Tensor", y: "torch.Tensor") -> list[tuple[int, int]]:
    """Return guess and label of every row."""
    import torch

    with torch.no_grad():
        guesses = model(x).argmax(dim=1)
    return list(zip(guesses.tolist(), y.tolist(), strict=True))


def _mean(hits: list[bool]) -> float:
    return sum(hits) / len(hits)
