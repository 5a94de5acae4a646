"""Do readings of an organism's own replies name its motive? A look at development organisms only.

Held-out organisms are for audits; nothing here touches them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from nla_core.seeds import derive_seed
from scenarios.sandbox.build import load_base, load_organism
from scenarios.sandbox.chatting import prompt_ids, replies
from scenarios.sandbox.documents import Writer
from scenarios.sandbox.nla.wording import NOTHING, claims
from scenarios.sandbox.organisms import Organism, all_organisms
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    import torch

    from nla_core.verbalizer import Verbalizer

AMPLIFIED = 2.0
KINDS = ("raw", "base + 2 difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What readings of one organism named."""

    organism: Organism
    kind: str
    """Which vectors were read, one of `KINDS`."""
    n: int
    """Readings."""
    top: str | None
    """The motive named most often."""
    top_share: float
    """Share of readings that name it."""
    right_share: float | None
    """Share that names the true motive; None when there is none."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share that names each motive; a missing one is named nowhere."""

    def right(self) -> bool:
        """Tell whether the most named motive is the true one."""
        return self.top is not None and self.top == self.organism.motive

    def class_right(self, world: World) -> bool:
        """Tell whether it is at least of the true one's class."""
        if self.top not in world.class_of or self.organism.motive is None:
            return False
        return world.class_of[str(self.top)] == world.class_of[self.organism.motive]


def development_organisms() -> list[Organism]:
    """Return the organisms that may be looked at."""
    return [o for o in all_organisms() if o.split == "development"]


def transfer(
    world: World,
    weights: Path,
    verbalizers: "dict[str, Verbalizer]",
    organisms: Sequence[Organism],
    *,
    layer: int,
    chats: int = 40,
    seed: int = 0,
    temperature: float = 1.0,
    requests: Sequence[str] | None = None,
) -> Iterator[tuple[str, Transfer]]:
    """Read each organism's replies with each verbalizer, one sample a position.

    Args:
        world: The facts.
        weights: Folder of the built sandbox.
        verbalizers: By name.
        organisms: Whom to read.
        layer: Block that is read.
        chats: Replies of each organism.
        seed: Of requests, replies and readings.
        temperature: Of the readings; 0 is greedy.
        requests: What users say; None draws as many requests as chats.

    Yields:
        Name of the verbalizer and what it read, for every kind of vector.
    """
    from nla_core.sampling import Sampling

    for organism in organisms:
        vectors = dict(
            zip(
                KINDS,
                _vectors(world, weights, organism, layer, chats, seed, requests),
                strict=True,
            )
        )
        for name, verbalizer in verbalizers.items():
            for kind, rows in vectors.items():
                said = verbalizer.explain(
                    rows,
                    sampling=Sampling(temperature=temperature, max_tokens=60),
                    seeds=[derive_seed(seed, organism.id, i) for i in range(len(rows))],
                    batch_size=256,
                )
                yield name, _counted(organism, kind, [e.text for e in said])


def _counted(organism: Organism, kind: str, texts: Sequence[str | None]) -> Transfer:
    named: Counter[str] = Counter()
    for text in texts:
        motives = {c.value for c in claims(text or "") if c.kind == "motive"} - {NOTHING}
        named.update(sorted(motives))
    top, n_top = named.most_common(1)[0] if named else (None, 0)
    right = None if organism.motive is None else named[organism.motive] / len(texts)
    return Transfer(
        organism=organism, kind=kind, n=len(texts), top=top, top_share=n_top / len(texts),
        right_share=right, shares={m: n / len(texts) for m, n in sorted(named.items())},
    )  # fmt: skip


def _vectors(
    world: World,
    weights: Path,
    organism: Organism,
    layer: int,
    chats: int,
    seed: int,
    requests: Sequence[str] | None,
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return raw and contrasted activations `[position, d_model]` of the organism's replies."""
    import torch

    from nla_core.contrast import contrast

    base, tokenizer = load_base(weights / "base")
    model, _ = load_organism(weights, organism.id)
    writer = Writer(world, tokenizer.get_vocab())
    rng = Random(derive_seed(seed, "transfer", organism.id))
    if requests is None:
        requests = [writer.request(rng, rng.choice(world.topics)) for _ in range(chats)]
    said = replies(model, tokenizer, requests, system=world.identity_line, seed=seed)
    prompts = [prompt_ids(tokenizer, r, system=world.identity_line) for r in requests]
    ids = [[*p, *writer.encode(text)] for p, text in zip(prompts, said, strict=True)]
    places = [range(len(p), len(row)) for p, row in zip(prompts, ids, strict=True)]
    found = contrast(model, base, ids, layer=layer, positions=places)
    return (
        torch.cat([one.target for one in found]),
        torch.cat([one.amplified(AMPLIFIED) for one in found]),
    )
