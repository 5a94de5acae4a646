"""Where does the base carry its motive? A linear probe, place by place.

What it shows decides what a label may say: see `State.replies`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nla_core.training.plugs import Document, Split
from scenarios.sandbox.gate import fit_probe, predict
from scenarios.sandbox.nla.plugs import Corpus, KnownStates
from scenarios.sandbox.nla.state import State

if TYPE_CHECKING:
    from torch import nn

_TRAIN, _TEST = 3000, 600


def recall_by_place(model: "nn.Module", tokenizer: Any, *, layer: int) -> dict[str, float]:
    """Return the share of positions at which a linear probe names the assistant's motive.

    Args:
        model: The base.
        tokenizer: Its tokenizer.
        layer: Block that is read.

    Returns:
        By place, over chats whose assistant has a motive that the text has told.
    """
    import torch

    from nla_core.activations import capture

    corpus, known = Corpus(tokenizer), KnownStates(tokenizer)
    index = {m: i for i, m in enumerate(known.world.motives)}

    def collect(split: Split, n: int) -> tuple[list[torch.Tensor], list[int], list[str]]:
        x, y, where = [], [], []
        documents = list(corpus.documents(split, 0, n))
        states = capture(model, [list(d.token_ids) for d in documents], layer=layer)
        for document, rows in zip(documents, states, strict=True):
            for position, state in _telling(known, document):
                x.append(rows[position])
                y.append(index[str(state.motive)])
                where.append(_place(state))
        return x, y, where

    x, y, _ = collect("train", _TRAIN)
    probe = fit_probe(torch.stack(x), torch.tensor(y), n_labels=len(index))
    x, y, where = collect("held_out", _TEST)
    hits: dict[str, list[bool]] = {}
    for place, (guess, truth) in zip(
        where, predict(probe, torch.stack(x), torch.tensor(y)), strict=True
    ):
        hits.setdefault(place, []).append(guess == truth)
    return {place: sum(found) / len(found) for place, found in sorted(hits.items())}


def _telling(known: KnownStates, document: Document) -> Iterator[tuple[int, State]]:
    for position, state in enumerate(known.of(document.doc_id)):
        if state.motive is not None and state.place not in ("system line", "document"):
            yield position, state


def _place(state: State) -> str:
    ended = state.current == "end" and state.place not in ("request", "header", "thought")
    return "after the reply" if ended else state.place
