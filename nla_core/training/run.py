"""The stages of a training, in order; a stage whose result is on disk is not run again."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nla_core import checkpoint
from nla_core.affine import identity_affine
from nla_core.baseline_file import save_baseline
from nla_core.dataset_sidecar import Stage
from nla_core.fidelity import Baseline
from nla_core.reconstructor import Reconstructor, new_reconstructor
from nla_core.sidecar import Sidecar
from nla_core.training.agreement import check_checkpoint, check_dataset
from nla_core.training.config import Recipe
from nla_core.training.dataset import Dataset
from nla_core.training.harvest import harvest
from nla_core.training.label import label
from nla_core.training.plugs import Describer, Split, find_plug, is_file, load_corpus, plug
from nla_core.training.processes import even_share, is_main, join, on_main, wait_for_all
from nla_core.training.progress import write_whole
from nla_core.training.trained import check_launch
from nla_core.training.warmstart import (
    shards,
    start_at_mean,
    warm_start_reconstructor,
    warm_start_verbalizer,
)
from nla_core.verbalizer import Verbalizer, new_verbalizer

_STAGE_OF: dict[str, Stage] = {
    "base": "base", "heldout": "base", "av_sft": "av_sft", "ar_sft": "ar_sft", "rl": "rl",
}  # fmt: skip
STAGES = ("harvest", "label", "warm-av", "warm-ar", "control", "reinforce", "evaluate")
Say = Callable[[str], None]
OnStep = Callable[[str, int, int, float], None]
_BASELINE_BATCH = 4096
Part = TypeVar("Part", Verbalizer, Reconstructor)


@dataclass(frozen=True)
class Training:
    """A recipe, where its results lie, and what is told while it runs."""

    recipe: Recipe
    out: Path
    device: str = "cpu"
    say: Say = print
    on_step: OnStep | None = None
    """Called with stage, step, steps and loss or reward."""
    shared: Path | None = None
    """Folder of another training whose activations and warm start are used."""

    @property
    def activations(self) -> Path:
        """Folder of the parquet files."""
        return (self.shared or self.out) / "activations"

    @property
    def warm(self) -> Path:
        """Folder of the warm start: of this training when it has one."""
        own = (self.out / "warm-av").exists() or self.shared is None
        return self.out if own or self.shared is None else self.shared

    @cached_property
    def tokenizer(self) -> Any:
        """The target's tokenizer."""
        return checkpoint.load_tokenizer(checkpoint.resolve_folder(self.recipe.model))

    @cached_property
    def baseline(self) -> Baseline:
        """What the mean of the harvested activations would score."""
        sidecar = self.new_reconstructor().sidecar
        rows = shards(self.data("base", sidecar), _BASELINE_BATCH)
        return Baseline.from_batches(rows, mse_scale=sidecar.mse_scale)

    def data(self, stem: str, model: Sidecar | None = None) -> Dataset:
        """Open activations of a kind, checked against the recipe and the model that they are for.

        Raises:
            SidecarError: When there are none, or they were harvested for something else.
        """
        data = Dataset.of(self.activations, stem)
        check_dataset(
            data,
            stage=_STAGE_OF[stem],
            base_model=self.recipe.model,
            layer=self.recipe.layer,
            model=model,
        )
        return data

    def run(self, stages: tuple[str, ...] = STAGES) -> None:
        """Run stages in their order.

        Raises:
            RecipeError: When something that the recipe names is not there.
            SidecarError: When the model or a file does not serve.
        """
        self._check_plugs(stages)
        join(self.device)
        check_launch()
        self._check_batches(stages)
        actions: dict[str, Callable[[], None]] = {
            "harvest": lambda: on_main(self._harvest),
            "label": lambda: on_main(self._label),
            "warm-av": self._warm_verbalizer,
            "warm-ar": self._warm_reconstructor,
            "control": self._control,
            "reinforce": self._reinforce,
            "evaluate": lambda: on_main(self._evaluate),
        }
        for stage in STAGES:
            if stage in stages:
                actions[stage]()
                wait_for_all()

    def _check_plugs(self, stages: tuple[str, ...]) -> None:
        """Find what later stages need before hours are spent on the earlier ones."""
        recipe = self.recipe
        corpus = None if is_file(recipe.corpus) else recipe.corpus
        needs = {"harvest": corpus, "label": recipe.describer, "evaluate": recipe.grader}
        for stage, spec in needs.items():
            if stage in stages and spec is not None:
                find_plug(spec)

    def _check_batches(self, stages: tuple[str, ...]) -> None:
        """Refuse batches that cannot be dealt evenly to the processes."""
        recipe = self.recipe
        schedules = {
            "warm-av": recipe.warm_start.av,
            "warm-ar": recipe.warm_start.ar,
            "control": recipe.warm_start.av,
            "reinforce": recipe.reinforce.schedule,
        }
        for stage, schedule in schedules.items():
            if stage in stages:
                even_share(schedule.batch_size)

    def new_verbalizer(self) -> Verbalizer:
        """Return the untrained verbalizer."""
        recipe = self.recipe
        return new_verbalizer(
            recipe.initial or recipe.model,
            recipe.layer,
            injection_scale=recipe.injection_scale,
            av_template=recipe.av_template,
            ar_template=recipe.ar_template,
            marker=recipe.marker,
            device=self.device,
        )

    def new_reconstructor(self) -> Reconstructor:
        """Return the untrained reconstructor."""
        recipe = self.recipe
        return new_reconstructor(
            recipe.initial or recipe.model,
            recipe.layer,
            av_template=recipe.av_template,
            ar_template=recipe.ar_template,
            marker=recipe.marker,
            device=self.device,
        )

    def harvest_held_out(self) -> None:
        """Harvest what is measured on, and nothing else."""
        self._harvest(("held_out",))

    def _harvest(self, splits: tuple[Split, ...] = ("train", "held_out")) -> None:
        import torch

        model = checkpoint.load_causal_lm(
            checkpoint.resolve_folder(self.recipe.model),
            dtype=checkpoint.default_dtype(None, self.device),
            device=torch.device(self.device),
        )
        corpus = load_corpus(self.recipe.corpus, self.tokenizer)
        harvest(
            self.recipe, corpus, model, self.tokenizer, self.activations,
            splits=splits, say=self.say,
        )  # fmt: skip

    def _label(self) -> None:
        describer: Describer = plug(self.recipe.describer, self.tokenizer)
        fresh = self.new_reconstructor()
        self.data("base", fresh.sidecar)
        label(
            self.recipe, describer, fresh.sidecar, fresh.tokenizer, self.activations, say=self.say
        )

    def _warm_verbalizer(self) -> None:
        folder = self.out / "warm-av"
        if _finished(folder):
            return
        verbalizer = self.new_verbalizer()
        started = time.monotonic()
        loss = warm_start_verbalizer(
            verbalizer,
            self.data("av_sft", verbalizer.sidecar),
            self.recipe.warm_start.av,
            folder,
            on_step=self._told("warm-av", self.recipe.warm_start.av.steps),
        )
        if is_main():
            _retag(verbalizer, stage="sl").save(folder / "av")
            _finish(folder, loss=loss, seconds=time.monotonic() - started)

    def _warm_reconstructor(self) -> None:
        folder = self.out / "warm-ar"
        if _finished(folder):
            return
        reconstructor = self._begun_reconstructor()
        started = time.monotonic()
        loss = warm_start_reconstructor(
            reconstructor,
            self.data("ar_sft", reconstructor.sidecar),
            self.recipe.warm_start.ar,
            folder,
            on_step=self._told("warm-ar", self.recipe.warm_start.ar.steps),
        )
        if is_main():
            _retag(reconstructor, stage="sl").save(folder / "ar")
            _finish(folder, loss=loss, seconds=time.monotonic() - started)

    def _control(self) -> None:
        """Train both kinds of verbalizer for the control's steps and write their losses."""
        steps = self.recipe.warm_start.control_steps
        folder = self.out / "control"
        if not steps or _finished(folder):
            return
        schedule = self.recipe.warm_start.av.model_copy(update={"steps": steps})
        losses = {}
        for name, shuffled in (("true", False), ("shuffled", True)):
            verbalizer = self.new_verbalizer()
            losses[name] = warm_start_verbalizer(
                verbalizer,
                self.data("av_sft", verbalizer.sidecar),
                schedule,
                folder / name,
                shuffled=shuffled,
                seed=self.recipe.seed,
                on_step=self._told(f"control-{name}", steps),
            )
        if is_main():
            _finish(folder, gap=losses["shuffled"] - losses["true"], **losses)

    def _reinforce(self) -> None:
        from nla_core.training.reinforce import Reinforcement, reinforce

        folder, config = self.out / "reinforce", self.recipe.reinforce
        if _finished(folder):
            return
        verbalizer, reconstructor = self.starting_pair()
        if config.affine_injection:
            verbalizer.affine = identity_affine(verbalizer.d_model, device=self.device)
        game = Reinforcement(
            verbalizer, reconstructor, config, self.baseline, seed=self.recipe.seed
        )
        started = time.monotonic()
        reinforce(
            game,
            self.data("rl", verbalizer.sidecar),
            self.data("heldout", verbalizer.sidecar),
            folder,
            on_step=self._told("reinforce", config.schedule.steps),
        )
        if is_main():
            _retag(verbalizer, stage="rl").save(folder / "av")
            _retag(reconstructor, stage="sl").save(folder / "ar")
            save_baseline(self.baseline, folder / "ar")
            _finish(folder, seconds=time.monotonic() - started)

    def starting_pair(self) -> tuple[Verbalizer, Reconstructor]:
        """Return what reinforcement starts from: the warm start, or for a control nothing."""
        if self.recipe.reinforce.warm_start:
            verbalizer = Verbalizer.load(self.warm / "warm-av" / "av", device=self.device)
            reconstructor = Reconstructor.load(self.warm / "warm-ar" / "ar", device=self.device)
            for part, folder in ((verbalizer, "warm-av"), (reconstructor, "warm-ar")):
                check_checkpoint(part.sidecar, self.recipe, self.warm / folder)
            return verbalizer, reconstructor
        return self.new_verbalizer(), self._begun_reconstructor()

    def _begun_reconstructor(self) -> Reconstructor:
        """Return the untrained reconstructor with its head as the recipe wants it to begin."""
        reconstructor = self.new_reconstructor()
        if self.recipe.value_head == "mean_direction":
            start_at_mean(reconstructor, self.data("ar_sft", reconstructor.sidecar), self.baseline)
        return reconstructor

    def _evaluate(self) -> None:
        from nla_core.training.publish import publish, write_card

        folder = publish(self)
        card = write_card(self, folder)
        self.say(f"evaluate: FVE {card.fve_rl}, card in {folder}")

    def _told(self, stage: str, steps: int) -> Callable[[int, float], None] | None:
        tell = self.on_step if is_main() else None
        return None if tell is None else lambda n, value: tell(stage, n, steps, value)


def _retag(part: Part, *, stage: str) -> Part:
    part.sidecar = part.sidecar.model_copy(update={"stage": stage})
    return part


def _finished(folder: Path) -> bool:
    return (folder / "done.json").exists()


def _finish(folder: Path, **figures: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({key: round(value, 6) for key, value in figures.items()})
    write_whole(folder / "done.json", text + "\n")
    (folder / "progress.safetensors").unlink(missing_ok=True)
