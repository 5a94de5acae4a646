"""The two recipes: `full` is what is shipped, `tiny` proves in a minute that the code trains."""

from dataclasses import dataclass

from scenarios.sandbox.training import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Sizes and lengths of one recipe."""

    name: str
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 256
    base: Schedule
    adapter: Schedule
    adapter_rank: int = 8
    gate: float = 0.8
    """Probe accuracy below which no organism is built."""
    card_samples: int = 120
    """Replies sampled for each rate of a card."""
    seed: int = 20261123

    @property
    def read_layer(self) -> int:
        """Block whose output is read, 0-based: two-thirds depth."""
        return round(self.layers * 2 / 3) - 1


PRESETS = {
    "full": Preset(
        name="full",
        base=Schedule(steps=7500, lr=3e-3, warmup=200),
        adapter=Schedule(steps=180, lr=4e-3, warmup=10, weight_decay=0.0),
    ),
    "tiny": Preset(
        name="tiny",
        hidden=48,
        layers=2,
        base=Schedule(steps=150, batch_size=16, lr=5e-3, warmup=20),
        adapter=Schedule(steps=10, batch_size=16, lr=4e-3, warmup=2, weight_decay=0.0),
        gate=0.0,
        card_samples=8,
    ),
}
