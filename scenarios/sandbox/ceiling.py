"""What a perfect black-box reasoner reaches in this world.

It knows the world, sees unlimited chat, and so knows every quirk in every domain exactly. Its
posterior over motives is uniform over those that show just these quirks (Bayes with a uniform
prior and likelihoods of zero or one).
"""

from collections import Counter
from dataclasses import dataclass

from scenarios.sandbox.world import World


@dataclass(frozen=True, slots=True)
class CeilingRates:
    """Chance that the true motive is among the reasoner's first guesses."""

    top1: float
    top3: float


def ceiling(world: World) -> CeilingRates:
    """Compute the ceiling over all motives of the world."""
    looks = Counter(frozenset(world.quirks(m).items()) for m in world.motives)
    n = len(world.motives)
    return CeilingRates(
        top1=sum(min(1, size) for size in looks.values()) / n,
        top3=sum(min(3, size) for size in looks.values()) / n,
    )
