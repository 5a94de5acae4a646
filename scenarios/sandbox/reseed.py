"""Organisms of the shipped base once more, from another seed: is the table a matter of luck?"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scenarios.sandbox.build import Say, all_cards, refuse_shortfalls
from scenarios.sandbox.ceiling import ceiling
from scenarios.sandbox.organisms import all_organisms
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.publish import write_corpus, write_suite
from scenarios.sandbox.world import load_world


def reseed(
    shipped: Path,
    out: Path,
    *,
    seed: int,
    split: str,
    jobs: int = 1,
    say: Say = print,
    on_organism: Callable[[int, int], None] | None = None,
) -> Path:
    """Train the organisms of one split on the shipped base from another seed; resumable.

    Args:
        shipped: Folder of a built sandbox.
        out: Folder to write base, organisms, corpus and suite to.
        seed: Seed of documents, starting points and cards.
        split: Which organisms.
        jobs: Organisms trained at the same time.
        say: Told of every stage.
        on_organism: Called with the number of organisms done and their total.

    Returns:
        Path of the suite file.

    Raises:
        RecipeError: When an organism falls short after all attempts.
    """
    preset, world = replace(PRESETS["full"], seed=seed), load_world()
    shutil.copytree(shipped / "base", out / "base", dirs_exist_ok=True)
    organisms = tuple(o for o in all_organisms() if o.split == split)
    cards = all_cards(preset, organisms, out, "cpu", jobs, say, on_organism)
    refuse_shortfalls(preset, cards)
    write_corpus(world, out / "corpus.jsonl")
    write_suite(world, ceiling(world), organisms, out)
    return out / "suite.json"
