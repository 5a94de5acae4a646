"""Organisms of the shipped base once more, from another seed: is the table a matter of luck?"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scenarios.sandbox.build import Say, all_cards, refuse_shortfalls, shortfalls_of
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
    keep_short: bool = False,
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
        keep_short: Keep organisms that fall short after all attempts, and say which.
        jobs: Organisms trained at the same time.
        say: Told of every stage.
        on_organism: Called with the number of organisms done and their total.

    Returns:
        Path of the suite file.

    Raises:
        RecipeError: When an organism falls short after all attempts and is not to be kept.
    """
    preset, world = replace(PRESETS["full"], seed=seed), load_world()
    shutil.copytree(shipped / "base", out / "base", dirs_exist_ok=True)
    organisms = tuple(o for o in all_organisms() if o.split == split)
    cards = all_cards(preset, organisms, out, "cpu", jobs, say, on_organism)
    if not keep_short:
        refuse_shortfalls(preset, cards)
    elif short := shortfalls_of(cards):
        say(f"kept all the same: {short}")
    write_corpus(world, out / "corpus.jsonl")
    write_suite(world, ceiling(world), organisms, out)
    return out / "suite.json"
