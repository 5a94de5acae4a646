"""The result of a training: a folder with the pair in 16 bits, its warm start, and their card."""

import json
import platform
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_core.baseline_file import save_baseline
from nla_core.card import Card, hash_files
from nla_core.fidelity import Baseline
from nla_core.reconstructor import Reconstructor
from nla_core.training.agreement import check_checkpoint
from nla_core.training.config import public_name
from nla_core.training.dataset import Dataset
from nla_core.training.evaluate import Evaluation, evaluate_pair
from nla_core.training.label import places
from nla_core.training.plugs import Describer, Grader, Grades, plug
from nla_core.training.progress import read_metrics
from nla_core.training.scoring import fve_of
from nla_core.verbalizer import Verbalizer

if TYPE_CHECKING:
    from nla_core.training.run import Training

PAIR = "pair"
_PARTS = {
    "av": "reinforce/av",
    "ar": "reinforce/ar",
    "av_warm": "warm-av/av",
    "ar_warm": "warm-ar/ar",
}
_LIBRARIES = ("torch", "transformers", "accelerate")


def publish(training: "Training") -> Path:
    """Write both pairs in 16 bits with their baseline; return the folder."""
    import torch

    folder = training.out / PAIR
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in _PARTS.items():
        if name.endswith("_warm") and not training.recipe.reinforce.warm_start:
            continue
        root = training.out if source.startswith("reinforce") else training.warm
        loader = Verbalizer if name.startswith("av") else Reconstructor
        if not (root / source).is_dir():
            continue
        part: Any = loader.load(root / source, dtype=torch.bfloat16)
        check_checkpoint(part.sidecar, training.recipe, root / source)
        part.sidecar = part.sidecar.model_copy(update=_origin(training))
        part.save(folder / name)
        if loader is Reconstructor:
            save_baseline(training.baseline, folder / name)
    return folder


def write_card(training: "Training", folder: Path) -> Card:
    """Measure both pairs of a published folder as they lie on disk, and write the card."""
    recipe = training.recipe
    grader: Grader | None = plug(recipe.grader, training.tokenizer) if recipe.grader else None
    pairs = {
        suffix: (
            Verbalizer.load(folder / f"av{suffix}", device=training.device),
            Reconstructor.load(folder / f"ar{suffix}", device=training.device),
        )
        for suffix in ("", "_warm")
        if (folder / f"av{suffix}").is_dir()
    }
    held_out = training.data("heldout", pairs[""][1].sidecar)
    anchor, fixed = pairs.get("_warm", (None, None))
    found = {
        suffix: evaluate_pair(
            av, ar, held_out, recipe.evaluate, grader=grader, anchor=anchor,
            fixed_reconstructor=fixed, seed=recipe.seed,
        )
        for suffix, (av, ar) in pairs.items()
    }  # fmt: skip
    fields = _facts(training, held_out) | _figures(found[""]) | {"sha256": hash_files(folder)}
    if fixed is not None:
        fields["label_fve"] = _label_fve(training, held_out, fixed)
    if "_warm" in found:
        fields |= _warm_figures(found["_warm"])
    card = Card.model_validate_json(json.dumps(fields))
    card.write(folder)
    return card


def _label_fve(
    training: "Training", held_out: Dataset, reconstructor: Reconstructor
) -> float | None:
    """Return the FVE of the describer's own explanations: what the warm start was given."""
    describer: Describer = plug(training.recipe.describer, training.tokenizer)
    rows = held_out.last(training.recipe.evaluate.rows)
    texts = describer.describe(places(rows))
    said = [i for i, text in enumerate(texts) if text is not None]
    if not said:
        return None
    scale = reconstructor.sidecar.mse_scale
    baseline = Baseline.from_activations(rows.vectors, mse_scale=scale)
    return fve_of([texts[i] for i in said], rows.vectors[said], reconstructor, baseline)


def _origin(training: "Training") -> dict[str, Any]:
    """Return what sidecars say of a model's origin, without a machine's paths."""
    recipe = training.recipe
    return {
        "base_checkpoint": public_name(recipe.model),
        "parent_checkpoints": (public_name(recipe.initial or recipe.model),),
        "trained_on": (Path(recipe.corpus).name,),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_by": __name__,
    }


def _facts(training: "Training", held_out: Dataset) -> dict[str, Any]:
    recipe = training.recipe
    settings = recipe.to_dict()
    for key in ("model", "initial", "corpus"):
        settings[key] = public_name(settings[key]) if settings[key] else None
    curve = read_metrics(training.out / "reinforce" / "evaluations.jsonl")
    warmed = recipe.reinforce.warm_start
    control = training.warm / "control" / "done.json"
    gap = json.loads(control.read_text())["gap"] if warmed and control.exists() else None
    return {
        "name": recipe.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base_model": public_name(recipe.model),
        "d_model": len(training.baseline.mu),
        "layer": recipe.layer,
        "seed": recipe.seed,
        "machine": f"{platform.machine()}, {training.device}",
        "recipe": settings,
        "fve_by_step": [(row["step"], row["fve"]) for row in curve],
        "fve_greedy_by_step": [(row["step"], row["fve_greedy"]) for row in curve],
        "shuffled_label_gap": gap,
        "rows": {
            name: len(Dataset.of(training.activations, name))
            for name in ("base", "av_sft", "ar_sft", "rl")
        }
        | {"held_out": len(held_out), "evaluated": min(recipe.evaluate.rows, len(held_out))},
        "rawvar": training.baseline.rawvar,
        "rawvar_by_step": curve[-1].get("rawvar") if curve else None,
        "seconds": {
            stage: json.loads(path.read_text())["seconds"]
            for stage in ("warm-av", "warm-ar", "reinforce")
            for path in (
                (training.out if stage == "reinforce" else training.warm) / stage / "done.json",
            )
            if path.exists()
        },
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _figures(found: Evaluation) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "fve_rl": found.fve,
        "fve_rl_greedy": found.fve_greedy,
        "fve_rl_by_warm_reconstructor": found.fve_by_fixed_reconstructor,
        **worth_figures(found),
        "fluency": {name: -value for name, value in found.surprise.items()},
        "examples": [{"context": c, "explanation": e} for c, e in found.examples],
    }
    figures |= claim_figures(found.grades, "")
    return figures | claim_figures(found.grades_greedy, "_greedy")


def worth_figures(found: Evaluation) -> dict[str, Any]:
    """Return nulls, rewrites and lengths under the names of the card's fields."""
    return {
        "shuffled_fve": found.shuffled_fve,
        "random_prediction_fve": found.random_prediction_fve,
        "random_vector_fve": found.random_vector_fve,
        "rawvar_evaluated": found.rawvar,
        "rawvar_random_vectors": found.random_vector_rawvar,
        "copied_context_fve": found.copied_context_fve,
        "paraphrase_fve": dict(found.rewritten),
        "failed_explanations": found.failed,
        "mean_tokens": found.mean_tokens,
    }


def _warm_figures(found: Evaluation) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "fve_warm": found.fve,
        "fve_warm_greedy": found.fve_greedy,
        "paraphrase_fve_warm": dict(found.rewritten),
        "failed_explanations_warm": found.failed,
        "mean_tokens_warm": found.mean_tokens,
        "fluency_warm": {name: -value for name, value in found.surprise.items()},
    }
    figures |= claim_figures(found.grades, "_warm")
    return figures | claim_figures(found.grades_greedy, "_warm_greedy")


def claim_figures(grades: Grades | None, suffix: str) -> dict[str, Any]:
    """Return a grader's findings under the names of the card's fields."""
    if grades is None:
        return {}
    motive, invented = grades.claims.get("motive"), grades.invented_motives
    table = {
        kind: {
            "precision": count.precision,
            "recall": count.recall,
            "n_said": count.said,
            "n_true": count.true,
        }
        for kind, count in grades.claims.items()
    }
    return {
        f"motive_precision{suffix}": motive.precision if motive else None,
        f"motive_recall{suffix}": motive.recall if motive else None,
        f"invented_motive_rate{suffix}": invented.said / invented.true if invented.true else None,
        f"claims{suffix}": table,
    }
