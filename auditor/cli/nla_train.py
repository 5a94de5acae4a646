"""`auditor nla train`: a pair of one's own, from a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import nla_options as options
from auditor.errors import UsageError

Recipe = Annotated[Path, typer.Argument(help="YAML recipe; scenarios/sandbox/nla/ has examples.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of everything that the training writes.")]
Shared = Annotated[
    Path | None,
    typer.Option(
        "--shared", help="Folder of a training whose activations and warm start are used."
    ),
]
Stages = Annotated[
    list[str] | None, typer.Option("--stage", help="Run this stage only; may be repeated.")
]
TrainDevice = Annotated[str, typer.Option("--device", help="Where to train: cpu, cuda, cuda:1.")]


def train(
    recipe: Recipe,
    out: Out,
    shared: Shared = None,
    stage: Stages = None,
    device: TrainDevice = "cpu",
    as_json: options.Json = False,
) -> None:
    """Train a verbalizer and a reconstructor: harvest, label, warm start, reinforcement, card.

    Run it again to go on after a kill: what is on disk is not made again. On several processes,
    run `accelerate launch --multi_gpu --num_processes N -m nla_core.training` with the same
    arguments.
    """
    from auditor.cli.nla_inputs import quiet, refusals
    from auditor.cli.output import messages, print_json_line
    from nla_core.training.config import load_recipe
    from nla_core.training.run import STAGES, Training

    unknown = set(stage or ()) - set(STAGES)
    if unknown:
        raise UsageError(f"no stage {sorted(unknown)[0]!r}; there are {', '.join(STAGES)}")
    quiet(device)
    with refusals():
        training = Training(
            load_recipe(recipe),
            out,
            device,
            say=lambda line: messages().print(line),
            on_step=_json_step if as_json else _bars(),
            shared=shared,
        )
        training.run(tuple(stage or STAGES))
    card = out / "pair" / "nla_card.json"
    if as_json:
        print_json_line({"event": "done", "card": str(card) if card.exists() else None})
    elif card.exists():
        typer.echo(f"{card}\nread it with: auditor nla card {card.parent}")


def _json_step(stage: str, step: int, steps: int, value: float) -> None:
    from auditor.cli.output import print_json_line

    finite = value if abs(value) < float("inf") else None
    print_json_line({"event": "step", "stage": stage, "step": step, "of": steps, "value": finite})


def _bars() -> Callable[[str, int, int, float], None]:
    """Return what shows progress: a bar on a terminal, now and then a line elsewhere."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from auditor.cli.output import messages

    console = messages()
    if not console.is_terminal:
        return lambda stage, step, steps, value: (
            console.print(f"{stage}: step {step} of {steps}, {value:.4f}")
            if step % 100 == 0 or step == steps
            else None
        )
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[value]}"), console=console,
    )  # fmt: skip
    tasks: dict[str, object] = {}

    def tell(stage: str, step: int, steps: int, value: float) -> None:
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(stage, total=steps, value="")
        bars.update(tasks[stage], completed=step, value=f"{value:.4f}")  # type: ignore[arg-type]
        if step == steps:
            bars.stop()

    return tell
