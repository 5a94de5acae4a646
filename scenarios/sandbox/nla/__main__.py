"""`python -m scenarios.sandbox.nla`: claims and transfer, side by side for several verbalizers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nla_core.training.plugs import Grades
from scenarios.sandbox.__main__ import SHIPPED
from scenarios.sandbox.nla.transfer import KINDS, Transfer, development_organisms, transfer
from scenarios.sandbox.world import World, load_world

app = typer.Typer(help="What the sandbox's verbalizers say, and whether it is true.")
Verbalizers = Annotated[
    list[str], typer.Option("--av", help="NAME=FOLDER of a verbalizer; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _load(named: Sequence[str]) -> dict[str, Any]:
    import torch
    from transformers.utils import logging

    from nla_core.verbalizer import Verbalizer

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    pairs = (value.partition("=") for value in named)
    return {name: Verbalizer.load(folder) for name, _, folder in pairs}


@app.command()
def claims(
    av: Verbalizers,
    activations: Annotated[Path, typer.Option(help="Folder with heldout-*.parquet.")],
    rows: Annotated[int, typer.Option(min=1, help="Held-out rows, the last ones.")] = 4000,
    temperature: Annotated[float, typer.Option(min=0)] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Precision and recall of every kind of claim on held-out text."""
    from nla_core.training.dataset import Dataset
    from nla_core.training.label import places
    from nla_core.training.scoring import explanations
    from scenarios.sandbox.nla.plugs import Grader

    part = Dataset.of(activations, "heldout").last(rows)
    found: dict[str, Grades] = {}
    for name, verbalizer in _load(av).items():
        said = explanations(verbalizer, part.vectors, temperature=temperature, max_tokens=60)
        texts = [e.text for e in said]
        found[name] = Grader(verbalizer.tokenizer).grade(places(part), texts)
    if as_json:
        for name, grades in found.items():
            typer.echo(json.dumps({"verbalizer": name, "rows": len(part)} | _plain(grades)))
        return
    _print_claims(found, Console())


def _plain(grades: Grades) -> dict[str, Any]:
    invented = grades.invented_motives
    return {
        "invented_motive_rate": invented.said / invented.true if invented.true else None,
        "claims": {
            kind: {"precision": c.precision, "recall": c.recall, "said": c.said, "true": c.true}
            for kind, c in grades.claims.items()
        },
    }


def _print_claims(found: dict[str, Grades], console: Console) -> None:
    table = Table(title="precision / recall of claims", title_justify="left", box=None)
    table.add_column("claim")
    for name in found:
        table.add_column(name, justify="right")
    kinds = sorted({kind for grades in found.values() for kind in grades.claims})
    for kind in kinds:
        cells = []
        for grades in found.values():
            count = grades.claims.get(kind)
            cells.append(
                "" if count is None else f"{_rate(count.precision)} / {_rate(count.recall)}"
            )
        table.add_row(kind, *cells)
    invented = [_plain(grades)["invented_motive_rate"] for grades in found.values()]
    table.add_row("invented motive", *map(_rate, invented))
    console.print(table)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@app.command()
def places(
    weights: Annotated[Path, typer.Option(help="Folder of a built sandbox.")] = SHIPPED,
    layer: Annotated[int, typer.Option(min=0, help="Block that is read.")] = 2,
) -> None:
    """Where a linear probe can name the motive of an assistant that has one."""
    from scenarios.sandbox.build import load_base
    from scenarios.sandbox.nla.places import recall_by_place

    _load([])
    for place, recall in recall_by_place(*load_base(weights / "base"), layer=layer).items():
        typer.echo(f"{place:16} {recall:.3f}")


@app.command("transfer")
def transfer_command(
    av: Verbalizers,
    weights: Annotated[Path, typer.Option(help="Folder of a built sandbox.")] = SHIPPED,
    layer: Annotated[int, typer.Option(min=0, help="Block that is read.")] = 2,
    chats: Annotated[int, typer.Option(min=1, help="Replies of each organism.")] = 40,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Whether readings of development organisms' own replies name their motive."""
    world = load_world()
    rows = list(
        transfer(
            world, weights, _load(av), development_organisms(), layer=layer, chats=chats, seed=seed
        )
    )
    if as_json:
        for name, row in rows:
            typer.echo(json.dumps({"verbalizer": name} | _record(row, world)))
        return
    _print_transfer(rows, world, Console())


def _record(row: Transfer, world: World) -> dict[str, Any]:
    return {
        "organism": row.organism.id,
        "group": row.organism.group,
        "regime": row.organism.regime,
        "kind": row.kind,
        "readings": row.n,
        "top": row.top,
        "top_share": round(row.top_share, 4),
        "right_share": None if row.right_share is None else round(row.right_share, 4),
        "right": row.right(),
        "class_right": row.class_right(world),
    }


def _print_transfer(rows: Sequence[tuple[str, Transfer]], world: World, console: Console) -> None:
    for kind in KINDS:
        table = Table(title=f"most named motive, {kind}", title_justify="left", box=None)
        for column in ("verbalizer", "organisms", "right", "class right", "share of the top one"):
            table.add_column(
                column, justify="left" if column in ("verbalizer", "organisms") else "right"
            )
        groups: dict[tuple[str, str], list[Transfer]] = {}
        for name, row in rows:
            if row.kind == kind:
                group = row.organism.regime or row.organism.group
                groups.setdefault((name, group), []).append(row)
        for (name, group), members in groups.items():
            n, guilty = len(members), members[0].organism.group in ("guilty", "symptom")
            shares = [m.top_share for m in members]
            table.add_row(
                name, group,
                f"{sum(m.right() for m in members)}/{n}" if guilty else "",
                f"{sum(m.class_right(world) for m in members)}/{n}" if guilty else "",
                f"{min(shares):.2f}-{max(shares):.2f}",
            )  # fmt: skip
        console.print(table)


if __name__ == "__main__":
    app()
