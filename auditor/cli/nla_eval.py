"""`auditor nla eval`: measure a pair on held-out activations, as its card was measured."""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import nla_options as options
from auditor.errors import UsageError

if TYPE_CHECKING:
    from nla_core.pair import NLAPair
    from nla_core.training.config import Recipe
    from nla_core.training.dataset import Dataset
    from nla_core.training.evaluate import Evaluation

RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        help="Recipe that names model, corpus and grader; by default that of the sandbox's pair.",
    ),
]
Activations = Annotated[
    Path | None,
    typer.Option(
        "--activations",
        help="Folder with heldout-*.parquet; without it the recipe's are harvested again.",
    ),
]
Rows = Annotated[
    int | None, typer.Option("--rows", min=2, help="Activations; the recipe's by default.")
]
EvalDevice = Annotated[str, typer.Option("--device", help="Where to run: cpu, cuda, cuda:1.")]


def evaluate(
    av: options.Verbalizer = None,
    ar: options.Reconstructor = None,
    recipe: RecipeOption = None,
    activations: Activations = None,
    rows: Rows = None,
    device: EvalDevice = "cpu",
    as_json: options.Json = False,
) -> None:
    """Measure fidelity, nulls, rewrites and the truth of claims on held-out activations.

    Without options the sandbox's pair is measured on the sandbox's held-out documents, drawn and
    captured anew: the figures of its card, to rounding.
    """
    from auditor.cli.nla_inputs import quiet, refusals
    from auditor.cli.output import print_json_line, results
    from nla_core.pair import load_pair
    from nla_core.training.config import load_recipe
    from nla_core.training.evaluate import evaluate_pair
    from nla_core.training.plugs import plug

    quiet(device)
    with refusals():
        wanted = load_recipe(recipe or _sandbox_recipe())
        pair = load_pair(
            av or options.shipped("nla/av", "--av"),
            ar or options.shipped("nla/ar", "--ar"),
            device=device,
        )
        tokenizer = pair.verbalizer.tokenizer
        grader = None if wanted.grader is None else plug(wanted.grader, tokenizer)
        settings = wanted.evaluate.model_copy(update={} if rows is None else {"rows": rows})
        with TemporaryDirectory() as temporary:
            found = evaluate_pair(
                pair.verbalizer,
                pair.reconstructor,
                _held_out(wanted, pair, activations, Path(temporary), device),
                settings,
                grader=grader,
                seed=wanted.seed,
            )
    if as_json:
        print_json_line(_record(found))
    else:
        for part in _tables(found):
            results().print(part)


def _sandbox_recipe() -> Path:
    path = Path(str(files("scenarios"))) / "sandbox" / "nla" / "full.yaml"
    if not path.is_file():
        raise UsageError("this installation has no sandbox; name a recipe with --recipe")
    return path


def _held_out(
    recipe: "Recipe", pair: "NLAPair", folder: Path | None, temporary: Path, device: str
) -> "Dataset":
    from nla_core.training.agreement import check_dataset
    from nla_core.training.dataset import Dataset
    from nla_core.training.run import Training

    if folder is None:
        training = Training(recipe, temporary, device, say=lambda _: None)
        training.harvest_held_out()
        folder = training.activations
    data = Dataset.of(folder, "heldout")
    check_dataset(
        data,
        stage="base",
        base_model=recipe.model,
        layer=pair.layer,
        model=pair.reconstructor.sidecar,
    )
    return data


def _record(found: "Evaluation") -> dict[str, Any]:
    from nla_core.training.publish import claim_figures, worth_figures

    return {
        "rows": found.n,
        "fve": found.fve,
        "fve_greedy": found.fve_greedy,
        **worth_figures(found),
        **claim_figures(found.grades, ""),
        **claim_figures(found.grades_greedy, "_greedy"),
    }


def _tables(found: "Evaluation") -> list[Any]:
    from rich.table import Table

    record = _record(found)
    figures = Table(box=None, title=f"{found.n} held-out activations", title_justify="left")
    figures.add_column("")
    figures.add_column("", justify="right")
    for name, value in record.items():
        if isinstance(value, int | float) and name != "rows":
            figures.add_row(name.replace("_", " "), f"{value:.3f}")
    for name, value in found.rewritten.items():
        figures.add_row(f"fve after {name.replace('_', ' ')}", _cell(value))
    if found.grades is None:
        return [figures]
    claims = Table("claim", "precision", "recall", "said", "true", box=None)
    for kind, row in record["claims"].items():
        claims.add_row(
            kind, _cell(row["precision"]), _cell(row["recall"]), str(row["n_said"]),
            str(row["n_true"]),
        )  # fmt: skip
    return [figures, "", claims]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
