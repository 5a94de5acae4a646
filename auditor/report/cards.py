"""Cards of several pairs side by side, as Markdown tables for the documentation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nla_core.card import Card

_Row = tuple[str, Callable[[dict[str, Any]], Any]]


def _field(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda card: card.get(name)


def _nested(name: str, key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda card: (card.get(name) or {}).get(key)


_FIGURES: tuple[_Row, ...] = (
    ("FVE at T = 1, warm start", _field("fve_warm")),
    ("FVE greedy, warm start", _field("fve_warm_greedy")),
    ("**FVE at T = 1**", _field("fve_rl")),
    ("FVE greedy", _field("fve_rl_greedy")),
    (
        "FVE at T = 1, read by the warm start's reconstructor",
        _field("fve_rl_by_warm_reconstructor"),
    ),
    ("null: another row's explanation", _field("shuffled_fve")),
    ("null: a random direction as reconstruction", _field("random_prediction_fve")),
    ("null: random vectors, explained and reconstructed", _field("random_vector_fve")),
    ("null: the text that was read as explanation", _field("copied_context_fve")),
    ("motive precision at T = 1, warm start", _field("motive_precision_warm")),
    ("**motive precision at T = 1**", _field("motive_precision")),
    ("motive precision greedy", _field("motive_precision_greedy")),
    ("motive recall at T = 1, warm start", _field("motive_recall_warm")),
    ("motive recall at T = 1", _field("motive_recall")),
    ("motive recall greedy", _field("motive_recall_greedy")),
    ("invented motives on clean text at T = 1, warm start", _field("invented_motive_rate_warm")),
    ("**invented motives on clean text at T = 1**", _field("invented_motive_rate")),
    ("invented motives greedy", _field("invented_motive_rate_greedy")),
    ("failed explanations", _field("failed_explanations")),
    ("tokens of an explanation", _field("mean_tokens")),
    ("log-probability a token under itself, nats", _nested("fluency", "own")),
    ("the same under its warm start", _nested("fluency", "warm")),
    ("shuffled-label gap of the warm start, nats", _field("shuffled_label_gap")),
    ("variance of the normalised activations", _field("rawvar")),
)


def cards_markdown(cards: Sequence[tuple[str, Card]]) -> str:
    """Return the figures of cards, one column a card; blank is unknown."""
    dumped = [card.model_dump(mode="json") for _, card in cards]
    lines = [*_head(["", *(name for name, _ in cards)])]
    for label, get in _FIGURES:
        values = [get(card) for card in dumped]
        if any(value is not None for value in values):
            lines.append(_line([label, *map(_cell, values)]))
    return "\n".join(lines)


def rewrites_markdown(cards: Sequence[tuple[str, Card]]) -> str:
    """Return the FVE after each rewrite of the explanations at temperature 1."""
    names = dict.fromkeys(name for _, card in cards for name in card.paraphrase_fve)
    lines = [*_head(["rewrite", *(name for name, _ in cards)])]
    lines.append(_line(["none", *(_cell(card.fve_rl) for _, card in cards)]))
    for name in names:
        cells = (_cell(card.paraphrase_fve.get(name)) for _, card in cards)
        lines.append(_line([name.replace("_", " "), *cells]))
    return "\n".join(lines)


def claims_markdown(cards: Sequence[tuple[str, Card]]) -> str:
    """Return precision and recall at temperature 1 of every kind of claim."""
    kinds = dict.fromkeys(kind for _, card in cards for kind in card.claims)
    lines = [*_head(["claim", *(name for name, _ in cards)])]
    for kind in kinds:
        found = [card.claims.get(kind, {}) for _, card in cards]
        pairs = (f"{_cell(f.get('precision'))} / {_cell(f.get('recall'))}" for f in found)
        lines.append(_line([kind.replace("_", " "), *pairs]))
    return "\n".join(lines)


def curve_markdown(cards: Sequence[tuple[str, Card]], *, every: int = 100) -> str:
    """Return held-out FVE at temperature 1 by step of the reinforcement."""
    curves = [dict(card.fve_by_step) for _, card in cards]
    steps = sorted({step for curve in curves for step in curve if step % every == 0})
    lines = [*_head(["step", *(name for name, _ in cards)])]
    lines += [_line([str(s), *(_cell(curve.get(s)) for curve in curves)]) for s in steps]
    return "\n".join(lines)


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield "|" + " --: |" * len(cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
