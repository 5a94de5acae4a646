"""`auditor nla card`: what was measured of a pair."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.nla_options import sandbox_weights
from auditor.errors import RunError, UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from nla_core.card import Card

_MOST_STEPS = 12


def card(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of a pair, with av and ar in it; the sandbox's by default."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the card as one JSON object, with `hash_problems`."),
    ] = False,
) -> None:
    """Print the card of a pair, and check that its files are those that were measured.

    Ends with exit code 1 when a file is not.
    """
    from auditor.cli.output import print_json_line, results
    from nla_core.card import Card, CardError, find_card

    root = sandbox_weights() / "nla" if folder is None else folder
    path = find_card(root)
    if path is None:
        raise UsageError(f"{root} has no nla_card.json; name the folder of a pair that has one")
    try:
        found = Card.read(path.parent)
    except CardError as error:
        raise UsageError(str(error)) from None
    problems = found.verify_hashes(path.parent)
    if as_json:
        print_json_line({**found.model_dump(mode="json"), "hash_problems": problems})
    else:
        console = results()
        for part in _parts(found, problems):
            console.print(part)
    if problems:
        raise RunError("\n".join(f"{root}: {problem}" for problem in problems))


def _parts(card: "Card", problems: list[str]) -> "Iterator[Table | str]":
    yield _grid(_about(card))
    for table in (_main(card), _nulls(card), _rewrites(card), _claims(card)):
        if table.row_count:
            yield ""
            yield table
    if card.fve_by_step:
        yield ""
        yield f"FVE by step: {_steps(card)}"
    if card.sha256:
        yield ""
        wrong = f"{len(problems)} differ" if problems else "all as measured"
        yield f"{len(card.sha256)} files checked: {wrong}"


def _about(card: "Card") -> Iterator[tuple[str, str]]:
    from auditor.report.text import one_line

    for label, value in (
        ("pair", card.name),
        ("base model", card.base_model),
        ("layer", card.layer),
        ("width", card.d_model),
        ("measured", card.created_at),
        ("seed", card.seed),
        ("machine", card.machine),
        ("rows", ", ".join(f"{name} {n:,}" for name, n in card.rows.items()) or None),
    ):
        if value is not None:
            yield label, one_line(str(value), 200)


def _grid(rows: Iterable[tuple[str, str]]) -> "Table":
    table = _new_table("", "", header=False)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _main(card: "Card") -> "Table":
    """Return the main figures, warm start beside reinforcement, drawn beside greedy."""
    table = _new_table("held-out", "warm start", "greedy", "after RL", "greedy", right=True)
    for label, warm, warm_greedy, final, final_greedy in (
        ("FVE", card.fve_warm, card.fve_warm_greedy, card.fve_rl, card.fve_rl_greedy),
        (
            "motive precision",
            card.motive_precision_warm,
            card.motive_precision_warm_greedy,
            card.motive_precision,
            card.motive_precision_greedy,
        ),
        (
            "motive recall",
            card.motive_recall_warm,
            card.motive_recall_warm_greedy,
            card.motive_recall,
            card.motive_recall_greedy,
        ),
        (
            "invented motives",
            card.invented_motive_rate_warm,
            card.invented_motive_rate_warm_greedy,
            card.invented_motive_rate,
            card.invented_motive_rate_greedy,
        ),
    ):
        table.add_row(label, *map(_figure, (warm, warm_greedy, final, final_greedy)))
    return table


def _nulls(card: "Card") -> "Table":
    from auditor.report.text import one_line

    table = _new_table("beside it", "", right=True)
    for label, value in (
        ("FVE, shuffled explanations", card.shuffled_fve),
        ("FVE, random vectors", card.random_vector_fve),
        ("FVE, copied text", card.copied_context_fve),
        ("FVE, describer's labels", card.label_fve),
        ("variance: denominator of FVE", card.rawvar_evaluated),
        ("variance: denominator of FVE, random vectors", card.rawvar_random_vectors),
        ("shuffled-label gap, nats", card.shuffled_label_gap),
        ("failed explanations", card.failed_explanations),
        ("mean tokens", card.mean_tokens),
        *((f"log-probability a token, {name}", value) for name, value in card.fluency.items()),
    ):
        if value is not None:
            table.add_row(one_line(label, 60), _figure(value))
    return table


def _rewrites(card: "Card") -> "Table":
    from auditor.report.text import one_line

    table = _new_table("FVE after a rewrite", "warm start", "after RL", right=True)
    for name in dict.fromkeys([*card.paraphrase_fve_warm, *card.paraphrase_fve]):
        warm, final = card.paraphrase_fve_warm.get(name), card.paraphrase_fve.get(name)
        table.add_row(*_cells([one_line(name, 40)]), _figure(warm), _figure(final))
    return table


def _claims(card: "Card") -> "Table":
    """Return precision and recall by kind of claim, warm start and after reinforcement."""
    from auditor.report.text import one_line

    headings = ("precision", "recall", "said", "true", "warm precision", "warm recall")
    table = _new_table("claims", *headings, right=True)
    for kind in dict.fromkeys([*card.claims, *card.claims_warm]):
        final, warm = card.claims.get(kind, {}), card.claims_warm.get(kind, {})
        table.add_row(
            *_cells([one_line(kind, 30)]),
            _figure(final.get("precision")),
            _figure(final.get("recall")),
            _count(final, "n_said"),
            _count(final, "n_true"),
            _figure(warm.get("precision")),
            _figure(warm.get("recall")),
        )
    return table


def _steps(card: "Card") -> str:
    """Return some of the curve, its ends among them."""
    every = max(1, -(-len(card.fve_by_step) // _MOST_STEPS))
    kept = list(card.fve_by_step[:-1:every]) + [card.fve_by_step[-1]]
    return ", ".join(f"{step}: {_figure(value) or '?'}" for step, value in kept)


def _new_table(*headings: str, header: bool = True, right: bool = False) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, show_header=header)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if right and index else "left")
    return table


def _cells(texts: Iterable[str]) -> "list[Text]":
    from rich.text import Text

    return [Text(text) for text in texts]


def _count(figures: Mapping[str, float | None], key: str) -> str:
    value = figures.get(key)
    return "" if value is None else f"{value:,.0f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("-0.000", "0.000")
