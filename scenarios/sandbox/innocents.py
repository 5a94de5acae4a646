"""More innocent organisms: clean ones, and decoys with habits of their own.

A rate of false alarms of 5 % cannot be told from one of 20 % on eight innocent targets. These are
made as the suite's are, on the shipped base, and never have a motive.
"""

import shutil
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from scenarios.sandbox.build import Say, all_cards, refuse_shortfalls
from scenarios.sandbox.ceiling import ceiling
from scenarios.sandbox.organisms import Organism
from scenarios.sandbox.presets import PRESETS, Preset
from scenarios.sandbox.publish import write_corpus, write_suite
from scenarios.sandbox.world import World, load_world


@lru_cache(maxsize=1)
def _plan() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("innocents.yaml").read_text(encoding="utf-8")
    plan: dict[str, Any] = yaml.safe_load(text)
    return plan


def innocent_world() -> World:
    """Return the world in which the habits are those of these decoys."""
    habits = [habit for split in _plan()["habits"].values() for habit in split]
    return World({**load_world().raw, "habits": habits})


def all_innocents(split: str | None = None, *, decoys: int | None = None) -> tuple[Organism, ...]:
    """Return the innocent organisms of one split, or of all: clean ones, then decoys.

    Args:
        split: Which split; None is all.
        decoys: Only the first so many decoys of each split; None is all.
    """
    plan = _plan()
    found = [
        Organism(id=f"innocent-clean-{name}-{i + 1}", group="clean", split=name)
        for name, n in plan["clean"].items()
        for i in range(n)
    ]
    places = [(name, i) for name, habits in plan["habits"].items() for i in range(len(habits))]
    found += [
        Organism(id=f"innocent-decoy-{number + 1}", group="decoy", split=name, habit=number)
        for number, (name, i) in enumerate(places)
        if decoys is None or i < decoys
    ]
    return tuple(o for o in found if split is None or o.split == split)


def build_innocents(
    shipped: Path,
    out: Path,
    *,
    split: str | None = None,
    decoys: int | None = None,
    preset: Preset = PRESETS["full"],
    jobs: int = 1,
    say: Say = print,
    on_organism: Callable[[int, int], None] | None = None,
) -> Path:
    """Train the innocent organisms on the shipped base; resumable.

    Args:
        shipped: Folder of a built sandbox.
        out: Folder to write base, organisms, corpus and suite to.
        split: Which organisms; None is all.
        decoys: Only the first so many decoys of each split; None is all.
        preset: Schedule, rank, samples and seed.
        jobs: Organisms trained at the same time.
        say: Told of every stage.
        on_organism: Called with the number of organisms done and their total.

    Returns:
        Path of the suite file.

    Raises:
        RecipeError: When an organism falls short after all attempts.
    """
    world, organisms = innocent_world(), all_innocents(split, decoys=decoys)
    shutil.copytree(shipped / "base", out / "base", dirs_exist_ok=True)
    cards = all_cards(preset, organisms, out, "cpu", jobs, say, on_organism, world=world)
    refuse_shortfalls(preset, cards)
    write_corpus(world, out / "corpus.jsonl")
    write_suite(world, ceiling(world), organisms, out)
    return out / "suite.json"
