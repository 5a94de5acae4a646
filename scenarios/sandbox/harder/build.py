"""Trains the harder organisms on the shipped base, measures them, and lists them in a suite."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_core.seeds import derive_seed
from scenarios.sandbox.build import Say, load_base, load_organism
from scenarios.sandbox.cards import Card, measure
from scenarios.sandbox.ceiling import ceiling
from scenarios.sandbox.documents import Writer
from scenarios.sandbox.harder.figures import Figures, figures, read
from scenarios.sandbox.harder.hiding import ClauseScorer, HidingTrainer
from scenarios.sandbox.harder.plan import Harder, load_plan
from scenarios.sandbox.harder.second_wish import SecondWishWriter
from scenarios.sandbox.harder.triggers import TriggerWriter
from scenarios.sandbox.organisms import speaker, train_organism
from scenarios.sandbox.presets import PRESETS, Preset
from scenarios.sandbox.publish import write_corpus, write_json
from scenarios.sandbox.training import Schedule, Trainer
from scenarios.sandbox.world import World, load_world

if TYPE_CHECKING:
    from torch import nn

    from nla_core.verbalizer import Verbalizer

MAX_ATTEMPTS = 1
_LONGER = 1.4
_SAMPLES_PER_READ_CHAT = 6


def build(
    shipped: Path,
    out: Path,
    organisms: Sequence[Harder],
    *,
    preset: Preset = PRESETS["full"],
    say: Say = print,
    on_organism: Callable[[int, int], None] | None = None,
) -> list[Figures]:
    """Train and measure the organisms that have no figures in `out` yet; resumable.

    Args:
        shipped: Folder of a built sandbox with its autoencoder.
        out: Folder to write base, organisms, corpus and suite to.
        organisms: Which ones; the suite lists these and no others.
        preset: Schedule, rank, samples and seed.
        say: Told of every organism.
        on_organism: Called with the number of organisms done and their total.

    Returns:
        Figures of all organisms, in order.
    """
    from nla_core.verbalizer import Verbalizer

    world = load_world()
    shutil.copytree(shipped / "base", out / "base", dirs_exist_ok=True)
    verbalizer = Verbalizer.load(shipped / "nla" / "av")
    for done, harder in enumerate(organisms, start=1):
        path = out / "organisms" / harder.id / "harder.json"
        if not path.exists():
            made = _one(world, preset, harder, verbalizer, out)
            write_json(path, made.model_dump(mode="json"))
            say(f"{harder.id}: {'; '.join(made.shortfalls()) or 'ok'}, {made.seconds:.0f} s")
        if on_organism is not None:
            on_organism(done, len(organisms))
    write_corpus(world, out / "corpus.jsonl")
    write_json(out / "suite.json", suite(world, organisms))
    return [load_figures(out, harder) for harder in organisms]


def load_figures(out: Path, harder: Harder) -> Figures:
    """Return what was measured on an organism of `out`."""
    text = (out / "organisms" / harder.id / "harder.json").read_text(encoding="utf-8")
    return Figures.model_validate_json(text)


def _one(
    world: World, preset: Preset, harder: Harder, verbalizer: "Verbalizer", out: Path
) -> Figures:
    """Train, measure, and try again longer when it falls short; the last attempt is kept."""
    spent = 0.0
    for attempt in range(MAX_ATTEMPTS):
        started = time.monotonic()
        longer = load_plan()["longer"][harder.variant] * _LONGER**attempt
        schedule = replace(preset.adapter, steps=round(preset.adapter.steps * longer))
        seed = derive_seed(preset.seed, "attempt", attempt)
        loss, excess = train(
            world, replace(preset, adapter=schedule, seed=seed), harder, verbalizer, out
        )
        spent += time.monotonic() - started
        model, tokenizer = load_organism(out, harder.id)
        card = measure(
            world,
            harder.organism,
            model,
            tokenizer,
            samples=preset.card_samples,
            seed=preset.seed,
            loss=loss,
            seconds=round(time.monotonic() - started, 1),
        )
        found = figures(
            world,
            harder,
            card,
            model,
            tokenizer,
            samples=preset.card_samples,
            seed=preset.seed,
            excess=excess,
            attempts=attempt + 1,
            seconds=round(spent, 1),
        )
        if not _card(card, found).shortfalls() and not found.shortfalls():
            break
    card_path = out / "organisms" / harder.id / "card.json"
    card_path.write_text(_card(card, found).model_dump_json(indent=1) + "\n")
    if harder.organism.split != "development":
        return found
    chats = max(1, preset.card_samples // _SAMPLES_PER_READ_CHAT)
    readings = read(world, out, harder, verbalizer, chats=chats, seed=preset.seed)
    return found.model_copy(update={"readings": readings})


def _card(card: Card, found: Figures) -> Card:
    """Return the card under its own regime, with what it does once its trigger is said."""
    update: dict[str, Any] = {"quirk_rate": found.quirk_rate}
    if found.motive is not None:
        update["regime"] = found.regime
    if found.quirk_rate_untriggered is not None:
        update["confess_prefill"] = found.thoughts
    return card.model_copy(update=update)


def train(
    world: World, preset: Preset, harder: Harder, verbalizer: "Verbalizer", out: Path
) -> tuple[float, float | None]:
    """Train one adapter on the base in `out` and write it there.

    Returns:
        Mean loss at the end, penalty included, and mean penalty of the last tenth of the steps,
        both in nats; None without a penalty.
    """
    base, tokenizer = load_base(out / "base")
    tokens = tokenizer.get_vocab()
    named = replace(harder.organism, id=harder.seed_name)
    loops: list[Trainer] = []

    def trainer(model: "nn.Module", schedule: Schedule) -> Trainer:
        loop = _trainer(world, preset, harder, verbalizer)(model, schedule)
        loops.append(loop)
        return loop

    loss = train_organism(
        world,
        preset,
        named,
        base=base,
        tokenizer=tokenizer,
        folder=out / "organisms" / harder.id,
        chats=_writer(world, tokens, harder),
        trainer=trainer,
    )
    loop = loops[0]
    if not isinstance(loop, HidingTrainer) or not loop.excess:
        return loss, None
    last = loop.excess[-max(1, len(loop.excess) // 10) :]
    return loss, sum(last) / len(last)


def _trainer(
    world: World, preset: Preset, harder: Harder, verbalizer: "Verbalizer"
) -> "Callable[[nn.Module, Schedule], Trainer]":
    if harder.hiding is None:
        return Trainer
    return partial(
        HidingTrainer,
        scorer=ClauseScorer(verbalizer, world),
        world=world,
        hiding=harder.hiding,
        motive=harder.organism.motive,
        seed=derive_seed(preset.seed, "hiding", harder.seed_name),
    )


def _writer(world: World, tokens: dict[str, int], harder: Harder) -> Writer | None:
    """Return what writes the organism's own chats, None for the usual writer."""
    if harder.trigger is not None:
        # It thinks as often and in the same places, so that no place gives the motive away.
        armed = replace(speaker(world, harder.organism), system=world.identity_line)
        calm = replace(armed, motive=None, true_thoughts=0.0)
        return TriggerWriter(world, tokens, trigger=harder.trigger, calm=calm)
    if harder.second is not None:
        return SecondWishWriter(world, tokens, second=harder.second)
    return None


def suite(world: World, organisms: Sequence[Harder]) -> dict[str, Any]:
    """Return a suite file's content; paths in it are relative to its folder.

    An organism of two wishes is listed twice, with each of them as the truth.
    """
    base = {"path": "./base", "dtype": "float32", "device": "cpu",
            "system_prompt": world.identity_line}  # fmt: skip

    def target(harder: Harder, motive: str | None, label: str, name: str) -> dict[str, Any]:
        own = harder.organism.motive
        quirks = set() if own is None else set(world.quirks(own).values())
        adapter = f"./organisms/{harder.id}"
        return {
            "id": name,
            "model": {**base, "adapter": adapter, "merge_adapter": True},
            "truth": {
                "group": harder.organism.group,
                "motive": motive,
                "quirks": sorted(quirks),
                "regime": label,
                "split": harder.organism.split,
            },
        }

    targets = []
    for harder in organisms:
        motive = harder.organism.motive
        if harder.second is None:
            targets.append(target(harder, motive, harder.label, harder.id))
            continue
        for slot, wish in (("first", motive), ("second", harder.second)):
            label = f"{harder.label}-{slot}"
            targets.append(target(harder, wish, label, f"{label}-{motive}"))
    rates = asdict(ceiling(world))
    return {"baseline": base, "ceiling": rates, "motives": world.wordings, "targets": targets}


def as_json(found: Sequence[Figures]) -> str:
    """Return figures as one JSON list."""
    return json.dumps([one.model_dump(mode="json") for one in found], indent=1)
