"""The recipe: tokenizer, base, gate, organisms, corpus, suite, manifest; resumable at every step.

Everything derives from the preset's seed. A stage whose result is on disk is not run again, and a
base whose training was cut short goes on from its last saved step.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_core.seeds import derive_seed
from scenarios.sandbox.cards import Card, measure
from scenarios.sandbox.ceiling import ceiling
from scenarios.sandbox.gate import ProbeScore, probe
from scenarios.sandbox.organisms import Organism, all_organisms, train_organism
from scenarios.sandbox.presets import PRESETS, Preset
from scenarios.sandbox.publish import write_corpus, write_manifest, write_suite
from scenarios.sandbox.world import World, load_world

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

MAX_ATTEMPTS = 5
Say = Callable[[str], None]
OnStep = Callable[[int, float, float], None]


class RecipeError(RuntimeError):
    """The recipe cannot go on; the message says what was measured and what was needed."""


def build(
    preset_name: str,
    out: Path,
    *,
    device: str = "cpu",
    jobs: int = 1,
    say: Say = print,
    on_base_step: OnStep | None = None,
    on_organism: Callable[[int, int], None] | None = None,
) -> Path:
    """Build a whole sandbox in `out`.

    Args:
        preset_name: A name in `PRESETS`.
        out: Folder of weights, cards, corpus, suite and manifest.
        device: Where to train.
        jobs: Organisms trained at the same time.
        say: Told of every stage.
        on_base_step: Called with step, loss and seconds while the base trains.
        on_organism: Called with the number of organisms done and their total.

    Returns:
        Path of the manifest.

    Raises:
        RecipeError: When the gate is not passed or an organism falls short after all attempts.
    """
    preset, world = PRESETS[preset_name], load_world()
    out.mkdir(parents=True, exist_ok=True)
    base_loss = _base(world, preset, out, device, say, on_base_step)
    score = _gate(world, preset, out, say)
    organisms = _organisms(preset)
    cards = all_cards(preset, organisms, out, device, jobs, say, on_organism)
    refuse_shortfalls(preset, cards)
    write_corpus(world, out / "corpus.jsonl")
    write_suite(world, ceiling(world), organisms, out)
    return write_manifest(
        out,
        preset=preset,
        ceiling=ceiling(world),
        probe=asdict(score),
        base_loss=base_loss,
        cards=cards,
    )


def control(
    preset_name: str, out: Path, *, device: str = "cpu", on_step: OnStep | None = None
) -> ProbeScore:
    """Train the same base without cuts at thoughts and probe it; the score goes to `out`."""
    from scenarios.sandbox.base import train_base

    preset, world = PRESETS[preset_name], load_world()
    folder = out / "control"
    if not (folder / "config.json").exists():
        train_base(world, preset, folder, cuts=False, device=device, on_step=on_step)
    model, tokenizer = load_base(folder)
    score = probe(world, model, tokenizer, layer=preset.read_layer, seed=preset.seed)
    (out / "control.json").write_text(json.dumps(asdict(score), indent=1) + "\n")
    shutil.rmtree(folder)
    return score


def load_base(folder: Path) -> "tuple[LlamaForCausalLM, PreTrainedTokenizerBase]":
    """Load a base model in float32 with its tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def load_organism(
    out: Path, organism_id: str
) -> "tuple[LlamaForCausalLM, PreTrainedTokenizerBase]":
    """Load an organism with its adapter folded into the weights, in float32."""
    from peft import PeftModel

    model, tokenizer = load_base(out / "base")
    adapted = PeftModel.from_pretrained(model, str(out / "organisms" / organism_id))
    return adapted.merge_and_unload().eval(), tokenizer


def _base(
    world: World, preset: Preset, out: Path, device: str, say: Say, on_step: OnStep | None
) -> float:
    from scenarios.sandbox.base import train_base

    note = out / "base.json"
    if note.exists():
        return float(json.loads(note.read_text())["loss"])
    say(f"base model: {preset.base.steps} steps")
    started = time.monotonic()
    loss = train_base(world, preset, out / "base", device=device, on_step=on_step)
    note.write_text(json.dumps({"loss": loss, "seconds": round(time.monotonic() - started, 1)}))
    return loss


def _gate(world: World, preset: Preset, out: Path, say: Say) -> ProbeScore:
    note = out / "gate.json"
    if not note.exists():
        say("gate: probing the base for the motive")
        model, tokenizer = load_base(out / "base")
        score = probe(world, model, tokenizer, layer=preset.read_layer, seed=preset.seed)
        note.write_text(json.dumps(asdict(score)))
    score = ProbeScore(**json.loads(note.read_text()))
    if score.motive < preset.gate:
        raise RecipeError(
            f"gate not passed: a linear probe at block {preset.read_layer} names the motive in "
            f"{score.motive:.0%} of reply positions, {preset.gate:.0%} needed; train the base "
            f"longer (delete {out / 'base.json'} and {out / 'gate.json'} and raise the steps)"
        )
    return score


def _organisms(preset: Preset) -> tuple[Organism, ...]:
    if preset.name != "tiny":
        return all_organisms()
    first: dict[tuple[str, str | None], Organism] = {}
    for organism in all_organisms():
        first.setdefault((organism.group, organism.regime), organism)
    return tuple(first.values())


def all_cards(
    preset: Preset,
    organisms: tuple[Organism, ...],
    out: Path,
    device: str,
    jobs: int,
    say: Say,
    on_organism: Callable[[int, int], None] | None,
    *,
    world: World | None = None,
) -> list[Card]:
    """Train the organisms that have no card in `out` yet, on its base, and return all cards.

    `world` is what they are taught, the shipped one if None.
    """
    todo = [o for o in organisms if not _card_path(out, o).exists()]
    say(f"organisms: {len(todo)} to train, {len(organisms) - len(todo)} already there")
    taught = load_world() if world is None else world
    for done, _ in enumerate(_train_all(taught, preset, todo, out, device, jobs), start=1):
        if on_organism is not None:
            on_organism(len(organisms) - len(todo) + done, len(organisms))
    return [Card.model_validate_json(_card_path(out, o).read_text()) for o in organisms]


def _train_all(
    world: World, preset: Preset, todo: list[Organism], out: Path, device: str, jobs: int
) -> Iterator[None]:
    if jobs <= 1:
        for organism in todo:
            _train_one(world, preset, organism, out, device)
            yield
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures: list[Future[None]] = [
            pool.submit(_train_one, world, preset, organism, out, device) for organism in todo
        ]
        for future in as_completed(futures):
            yield future.result()


def _train_one(world: World, preset: Preset, organism: Organism, out: Path, device: str) -> None:
    """Train, measure, and try again longer when it falls short; the last attempt is kept."""
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    folder = out / "organisms" / organism.id
    for attempt in range(1 if preset.name == "tiny" else MAX_ATTEMPTS):
        started = time.monotonic()
        base, tokenizer = load_base(out / "base")
        longer = replace(preset.adapter, steps=round(preset.adapter.steps * 1.4**attempt))
        loss = train_organism(
            world,
            replace(preset, adapter=longer, seed=derive_seed(preset.seed, "attempt", attempt)),
            organism,
            base=base,
            tokenizer=tokenizer,
            folder=folder,
            device=device,
        )
        seconds = round(time.monotonic() - started, 1)
        card = measure(
            world,
            organism,
            load_organism(out, organism.id)[0],
            tokenizer,
            samples=preset.card_samples,
            seed=preset.seed,
            loss=loss,
            seconds=seconds,
        )
        if not card.shortfalls():
            break
    _card_path(out, organism).write_text(card.model_dump_json(indent=1) + "\n")


def _card_path(out: Path, organism: Organism) -> Path:
    return out / "organisms" / organism.id / "card.json"


def refuse_shortfalls(preset: Preset, cards: list[Card]) -> None:
    """Raise `RecipeError` when an organism is not what its card promises."""
    if preset.name == "tiny":
        return
    bad = shortfalls_of(cards)
    if bad:
        raise RecipeError(f"{bad}; delete their card.json to train them again")


def shortfalls_of(cards: list[Card]) -> str:
    """Name the organisms that are not what their cards promise; empty when there are none."""
    bad = {card.id: card.shortfalls() for card in cards if card.shortfalls()}
    lines = "; ".join(f"{name}: {', '.join(why)}" for name, why in bad.items())
    return f"{len(bad)} organisms fall short after {MAX_ATTEMPTS} attempts: {lines}" if bad else ""


def summary(out: Path) -> dict[str, Any]:
    """The manifest's content."""
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return found
