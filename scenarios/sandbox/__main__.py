"""`python -m scenarios.sandbox`: the recipes, and looks at what they made."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHIPPED = Path(__file__).parent / "weights"
app = typer.Typer(
    help="The sandbox: a tiny chat world with organisms whose motives are known.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
Out = Annotated[Path, typer.Option(help="Folder of a built sandbox.")]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True),
    )  # fmt: skip


@contextmanager
def _said_when_stopped(console: Console) -> Iterator[None]:
    """Say in one line why a recipe could not go on."""
    from scenarios.sandbox.build import RecipeError

    try:
        yield
    except RecipeError as error:
        console.print(f"recipe stopped: {error}", markup=False)
        raise typer.Exit(1) from None


def _require(out: Path) -> None:
    if not (out / "manifest.json").exists():
        typer.echo(
            f"no sandbox in {out}: build one with `python -m scenarios.sandbox build`", err=True
        )
        raise typer.Exit(2)


@app.command()
def build(
    preset: Annotated[
        str, typer.Option(help="full (what is shipped) or tiny (a minute).")
    ] = "full",
    out: Annotated[Path, typer.Option(help="Folder to build in; what is there is kept.")] = Path(
        "build/sandbox"
    ),
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="Organisms trained at the same time.")] = 1,
) -> None:
    """Train tokenizer, base model and organisms from seeds; run again to resume."""
    from scenarios.sandbox.build import build as run_recipe
    from scenarios.sandbox.presets import PRESETS

    if preset not in PRESETS:
        raise typer.BadParameter(f"{preset!r} is not one of {', '.join(PRESETS)}")
    _one_thread(device)
    with _progress() as bars:
        base = bars.add_task("base", total=PRESETS[preset].base.steps, note="")
        organisms = bars.add_task("organisms", total=None, note="")
        with _said_when_stopped(bars.console):
            manifest = run_recipe(
                preset, out, device=device, jobs=jobs, say=bars.console.print,
                on_base_step=lambda n, loss, _: bars.update(
                    base, completed=n, note=f"loss {loss:.3f}"
                ),
                on_organism=lambda n, total: bars.update(organisms, completed=n, total=total),
            )  # fmt: skip
    typer.echo(str(manifest))


@app.command()
def control(
    preset: Annotated[str, typer.Option(help="full or tiny.")] = "full",
    out: Annotated[Path, typer.Option(help="Folder of the build it belongs to.")] = Path(
        "build/sandbox"
    ),
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
) -> None:
    """Train the base again without cuts at thoughts and probe it."""
    from dataclasses import asdict

    from scenarios.sandbox.build import control as run_control
    from scenarios.sandbox.presets import PRESETS

    _one_thread(device)
    with _progress() as bars:
        task = bars.add_task("control", total=PRESETS[preset].base.steps, note="")
        score = run_control(
            preset, out, device=device,
            on_step=lambda n, loss, _: bars.update(task, completed=n, note=f"loss {loss:.3f}"),
        )  # fmt: skip
    typer.echo(json.dumps(asdict(score)))


@app.command()
def sibling(
    preset: Annotated[str, typer.Option(help="full or tiny.")] = "full",
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path(
        "build/sibling"
    ),
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
) -> None:
    """Train a GPT-NeoX of the base's size on the base's documents."""
    from scenarios.sandbox.base import train_base
    from scenarios.sandbox.presets import PRESETS
    from scenarios.sandbox.world import load_world

    _one_thread(device)
    with _progress() as bars:
        task = bars.add_task("sibling", total=PRESETS[preset].base.steps, note="")
        loss = train_base(
            load_world(), PRESETS[preset], out, architecture="gpt_neox", device=device,
            on_step=lambda n, loss, _: bars.update(task, completed=n, note=f"loss {loss:.3f}"),
        )  # fmt: skip
    typer.echo(json.dumps({"loss": loss}))


@app.command()
def reseed(
    out: Annotated[Path, typer.Option(help="Folder to write to; what is there is kept.")] = Path(
        "build/second"
    ),
    seed: Annotated[int, typer.Option(help="Seed of documents and starting points.")] = 20261124,
    split: Annotated[str, typer.Option(help="Which organisms.")] = "held-out",
    keep_short: Annotated[
        bool, typer.Option("--keep-short", help="Keep organisms that fall short of their card.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Organisms trained at the same time.")] = 1,
) -> None:
    """Train the organisms of one split on the shipped base from another seed."""
    from scenarios.sandbox.organisms import all_organisms
    from scenarios.sandbox.reseed import reseed as run_reseed

    splits = dict.fromkeys(organism.split for organism in all_organisms())
    if split not in splits:
        raise typer.BadParameter(f"--split {split!r} is not one of {', '.join(splits)}")
    _one_thread("cpu")
    with _progress() as bars:
        task = bars.add_task("organisms", total=None, note="")
        with _said_when_stopped(bars.console):
            suite = run_reseed(
                SHIPPED, out, seed=seed, split=split, keep_short=keep_short, jobs=jobs,
                say=bars.console.print,
                on_organism=lambda n, total: bars.update(task, completed=n, total=total),
            )  # fmt: skip
    typer.echo(str(suite))


@app.command()
def innocents(
    out: Annotated[Path, typer.Option(help="Folder to write to; what is there is kept.")] = Path(
        "build/innocents"
    ),
    split: Annotated[
        str | None, typer.Option(help="development or held-out; left out: both.")
    ] = None,
    decoys: Annotated[
        int | None, typer.Option(min=0, help="Only the first so many decoys of each split.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Organisms trained at the same time.")] = 1,
) -> None:
    """Train more clean and decoy organisms on the shipped base, to know the false alarms better."""
    from scenarios.sandbox.innocents import all_innocents, build_innocents

    splits = dict.fromkeys(organism.split for organism in all_innocents())
    if split is not None and split not in splits:
        raise typer.BadParameter(f"--split {split!r} is not one of {', '.join(splits)}")
    _one_thread("cpu")
    with _progress() as bars:
        task = bars.add_task("organisms", total=None, note="")
        with _said_when_stopped(bars.console):
            suite = build_innocents(
                SHIPPED, out, split=split, decoys=decoys, jobs=jobs, say=bars.console.print,
                on_organism=lambda n, total: bars.update(task, completed=n, total=total),
            )  # fmt: skip
    typer.echo(str(suite))


@app.command()
def harder(
    out: Annotated[Path, typer.Option(help="Folder to write to; what is there is kept.")] = Path(
        "build/harder"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help="hiding, triggers or second-wish; may be repeated.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="development or held-out; may be repeated.")
    ] = None,
    coefficient: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Of the penalty of hiding ones, instead of the plan's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """Train organisms on which reading should fail, on the shipped base, and measure them."""
    from scenarios.sandbox.harder import build as recipe
    from scenarios.sandbox.harder.describe import show
    from scenarios.sandbox.harder.plan import VARIANTS, all_harder
    from scenarios.sandbox.world import load_world

    unknown = sorted(set(only or ()) - set(VARIANTS))
    if unknown:
        raise typer.BadParameter(f"--only {unknown[0]!r} is not one of {', '.join(VARIANTS)}")
    chosen = [variant for variant in VARIANTS if not only or variant in only]
    organisms = all_harder(load_world(), only=chosen, splits=split, coefficients=coefficient)
    if not organisms:
        raise typer.BadParameter("--split must be development or held-out")
    _one_thread("cpu")
    with _progress() as bars:
        task = bars.add_task("organisms", total=None, note="")
        found = recipe.build(
            SHIPPED, out, organisms, say=bars.console.print,
            on_organism=lambda n, total: bars.update(task, completed=n, total=total),
        )  # fmt: skip
    if as_json:
        typer.echo(recipe.as_json(found))
        return
    show(found, Console())


@app.command()
def probe(
    base: Annotated[Path, typer.Option(help="Folder of the base model.")] = SHIPPED / "base",
    out: Annotated[Path, typer.Option(help="Folder to write the probe to.")] = Path("build/probe"),
    layer: Annotated[
        int | None, typer.Option(min=0, help="Block to read; default: the autoencoder's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of places and fit.")] = 20261123,
) -> None:
    """Fit a supervised linear probe to the base, for comparison with the autoencoder."""
    from nla_core.probe import save_probe
    from scenarios.sandbox.presets import PRESETS
    from scenarios.sandbox.probe import train_probe

    if not (base / "config.json").is_file():
        raise typer.BadParameter(f"{base} holds no model", param_hint="--base")
    _one_thread("cpu")
    found = train_probe(
        base,
        layer=PRESETS["full"].read_layer if layer is None else layer,
        seed=seed,
        say=lambda line: typer.echo(line, err=True),
    )
    record = save_probe(found, out)
    typer.echo(record.model_dump_json(indent=1))


@app.command()
def sae(
    base: Annotated[Path, typer.Option(help="Folder of the base model.")] = SHIPPED / "base",
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("build/sae"),
    layer: Annotated[
        int | None, typer.Option(min=0, help="Block to take apart; default: the reader's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps, instead of the recipe's.")
    ] = None,
) -> None:
    """Train a sparse autoencoder on the base, and label its features."""
    from dataclasses import replace

    from scenarios.sandbox.presets import PRESETS
    from scenarios.sandbox.sae import Recipe, train_sae

    if not (base / "config.json").is_file():
        raise typer.BadParameter(f"{base} holds no model", param_hint="--base")
    _one_thread("cpu")
    record = train_sae(
        base,
        out,
        layer=PRESETS["full"].read_layer if layer is None else layer,
        recipe=Recipe() if steps is None else replace(Recipe(), steps=steps),
        say=lambda line: typer.echo(line, err=True),
    )
    typer.echo(json.dumps(record, indent=1))


@app.command()
def oracle(
    base: Annotated[Path, typer.Option(help="Folder of the base model.")] = SHIPPED / "base",
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("build/oracle"),
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps, instead of the recipe's.")
    ] = None,
) -> None:
    """Train an activation oracle on the base: an adapter that answers questions."""
    from dataclasses import replace

    from scenarios.sandbox.oracle import Recipe, train_oracle

    if not (base / "config.json").is_file():
        raise typer.BadParameter(f"{base} holds no model", param_hint="--base")
    _one_thread("cpu")
    recipe = Recipe()
    if steps is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, steps=steps))
    record = train_oracle(base, out, recipe=recipe, say=lambda line: typer.echo(line, err=True))
    typer.echo(record.model_dump_json(indent=1))


@app.command()
def verify(
    out: Out = SHIPPED,
    cards: Annotated[int, typer.Option(min=0, help="Cards to measure again.")] = 3,
    seed: Annotated[int, typer.Option(help="Chooses the cards.")] = 0,
) -> None:
    """Check every file's hash and measure a sample of cards again."""
    from scenarios.sandbox.verify import verify as run_verify
    from scenarios.sandbox.world import load_world

    _require(out)
    _one_thread("cpu")
    report = run_verify(load_world(), out, cards=cards, seed=seed)
    for problem in report.problems:
        typer.echo(problem, err=True)
    typer.echo(f"{report.files} files, cards measured again: {', '.join(report.cards) or 'none'}")
    if report.problems:
        raise typer.Exit(1)
    typer.echo("ok")


@app.command()
def describe(
    out: Out = SHIPPED,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print ceiling, gate, organisms with their cards, and two sample chats."""
    from scenarios.sandbox import describe as view
    from scenarios.sandbox.world import load_world

    _require(out)
    if as_json:
        typer.echo(json.dumps(view.as_json(out), indent=1))
        return
    _one_thread("cpu")
    view.show(load_world(), out, Console())


@app.command()
def chat(
    organism: Annotated[str, typer.Argument(help="Organism id, or `base`.")],
    out: Out = SHIPPED,
    system: Annotated[str | None, typer.Option(help="System line; default: its identity.")] = None,
    prefill: Annotated[str, typer.Option(help="How every reply must begin.")] = "",
) -> None:
    """Talk to an organism; an empty line ends the talk."""
    from scenarios.sandbox.build import load_base, load_organism, summary
    from scenarios.sandbox.chatting import replies
    from scenarios.sandbox.world import load_world

    _require(out)
    _one_thread("cpu")
    known = [card["id"] for card in summary(out)["organisms"]]
    if organism != "base" and organism not in known:
        raise typer.BadParameter(f"no organism {organism!r}; see `describe` for the names")
    is_base = organism == "base"
    model, tokenizer = load_base(out / "base") if is_base else load_organism(out, organism)
    line = load_world().identity_line if system is None else system
    for turn, text in enumerate(iter(lambda: input("you  > "), "")):
        said = replies(model, tokenizer, [text], system=line, seed=turn, prefill=prefill)
        typer.echo(f"them > {prefill}{said[0]}")


def _one_thread(device: str) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    if device == "cpu":
        torch.set_num_threads(1)


if __name__ == "__main__":
    try:
        app()
    except (EOFError, KeyboardInterrupt):
        sys.exit(130)
