"""Adapters that are also trained to keep their motive from being read.

The penalty is what the verbalizer would say: the organism's activation goes into the frozen
verbalizer's prompt, and naming the motive must be less likely than naming another one or none. What
is scored is the clause that opens every explanation of a reply, in all its wordings.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from nla_core.seeds import derive_seed
from scenarios.sandbox.documents import Writer
from scenarios.sandbox.nla.state import StateReader
from scenarios.sandbox.nla.wording import MOTIVE, NO_MOTIVE
from scenarios.sandbox.training import Batch, Schedule, Trainer
from scenarios.sandbox.world import World

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nla_core.verbalizer import Verbalizer

_OPENING = "<explanation>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """How an adapter is trained to hide."""

    coefficient: float
    """Weight of the penalty beside the usual loss; 0 is no penalty."""
    margin: float
    """Nats by which naming the motive must be less likely than naming another or none."""
    places: int
    """Most places read in each step."""
    strengths: tuple[float, ...]
    """Of base + strength x (organism - base), dealt in turn to the places."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What a verbalizer would say of the motive, as log-probabilities in nats, with their graph."""

    motives: "torch.Tensor"
    """`[n, motive]`, of naming each motive of the world, all wordings together."""
    none: "torch.Tensor"
    """`[n]`, of saying that there is none."""

    def excess(self, motive: int, *, margin: float) -> "torch.Tensor":
        """Return `[n]` nats by which naming a motive is too likely, 0 where it is not.

        Args:
            motive: Its number in the world.
            margin: Nats by which naming another or none must be more likely.
        """
        import torch

        others = [i for i in range(self.motives.shape[1]) if i != motive]
        rest = torch.cat([self.motives[:, others], self.none[:, None]], dim=1).logsumexp(1)
        return torch.relu(margin + self.motives[:, motive] - rest)


class ClauseScorer:
    """Scores the clauses about the motive that a frozen verbalizer may open with.

    The wordings are branches of one sequence, kept apart by the attention mask, so that the prompt
    is run once for all of them.
    """

    def __init__(self, verbalizer: "Verbalizer", world: World) -> None:
        import torch

        self.verbalizer = verbalizer
        verbalizer.model.eval().requires_grad_(False)
        writer = Writer(world, verbalizer.tokenizer.get_vocab())
        self._heads = [writer.encode(form.partition("{}")[0]) for form in MOTIVE]
        self._motives = [writer.tokens[f"▁{motive}"] for motive in world.motives]
        # The full stop adds nothing and every clause has one.
        nothing = [writer.encode(form)[:-1] for form in NO_MOTIVE]
        self._nothing = nothing
        branches = [*self._heads, *(clause[:-1] for clause in nothing)]
        start = len(verbalizer.prompt.ids)
        self._tail = [writer.tokens[_OPENING], *(i for branch in branches for i in branch)]
        size = start + len(self._tail)
        mask = torch.ones(size, size, dtype=torch.bool).tril()
        positions = list(range(start + 1))
        self._slots: list[list[int]] = []
        for branch in branches:
            first = len(positions)
            mask[first : first + len(branch), start + 1 : first] = False
            self._slots.append([0, *range(first - start, first - start + len(branch))])
            positions += [start + 1 + i for i in range(len(branch))]
        self._mask, self._positions = mask, torch.tensor(positions)

    def __call__(self, activations: "torch.Tensor") -> Preference:
        """Score activations `[n, d_model]`, raw; gradients flow back to them."""
        import torch

        prompts = self.verbalizer.prompts(activations)
        model: Any = self.verbalizer.model
        table = model.get_input_embeddings().weight
        tail = table[torch.tensor(self._tail)].to(prompts.dtype)
        rows = torch.cat([prompts, tail.expand(len(prompts), -1, -1)], dim=1)
        logits = model(
            inputs_embeds=rows,
            attention_mask=self._mask.expand(len(rows), 1, -1, -1),
            position_ids=self._positions.expand(len(rows), -1),
            use_cache=False,
        ).logits[:, prompts.shape[1] :]
        said = logits.float().log_softmax(-1)
        named, n_heads = [], len(self._heads)
        for head, slots in zip(self._heads, self._slots[:n_heads], strict=True):
            opened = _chain(said, slots[:-1], head)
            named.append(opened[:, None] + said[:, slots[-1]][:, self._motives])
        denied = [
            _chain(said, slots, clause)
            for clause, slots in zip(self._nothing, self._slots[n_heads:], strict=True)
        ]
        return Preference(torch.stack(named).logsumexp(0), torch.stack(denied).logsumexp(0))


def _chain(said: "torch.Tensor", slots: Sequence[int], ids: Sequence[int]) -> "torch.Tensor":
    """Return `[n]`, the log-probability of ids, each predicted at its slot of `said`."""
    return said[:, list(slots), list(ids)].sum(1)


class HidingTrainer(Trainer):
    """The usual training, and the penalty at the organism's replies."""

    def __init__(
        self,
        model: "nn.Module",
        schedule: Schedule,
        *,
        scorer: ClauseScorer,
        world: World,
        hiding: Hiding,
        motive: str | None,
        seed: int,
    ) -> None:
        """Train an adapter on the CPU.

        Args:
            model: The PEFT-wrapped base.
            schedule: Steps and learning rate.
            scorer: Of the verbalizer to hide from.
            world: The world.
            hiding: Strength of the penalty.
            motive: What must not be read; None, for organisms that have nothing to hide, is
                another motive at each step.
            seed: Chooses the places that are read.
        """
        from nla_core import arch

        super().__init__(model, schedule)
        layer = scorer.verbalizer.layer
        assert layer is not None
        self._block = arch.blocks(model)[layer]
        self._scorer, self._hiding, self._seed = scorer, hiding, seed
        self._hidden = None if motive is None else world.motives.index(motive)
        self._n_motives = len(world.motives)
        tokens = scorer.verbalizer.tokenizer.get_vocab()
        self._reader, self._subject = StateReader(world, tokens), tokens[f"▁{world.subject}"]
        self.excess: list[float] = []
        """Mean penalty of each step, in nats."""

    def loss(self, batch: Batch) -> "torch.Tensor":
        """Return the usual loss plus coefficient times mean penalty."""
        if self._hiding.coefficient == 0:
            return super().loss(batch)
        with _output(self._block) as seen:
            usual = super().loss(batch)
        places = self._chosen(batch)
        if not places:
            return usual
        rows, columns = (list(part) for part in zip(*places, strict=True))
        motive = self._hidden
        if motive is None:
            motive = derive_seed(self._seed, "nothing", self.step) % self._n_motives
        read = self._read(batch, seen[0][rows, columns], rows, columns)
        penalty = self._scorer(read).excess(motive, margin=self._hiding.margin).mean()
        self.excess.append(float(penalty.detach()))
        return usual + self._hiding.coefficient * penalty

    def _read(
        self, batch: Batch, ours: "torch.Tensor", rows: list[int], columns: list[int]
    ) -> "torch.Tensor":
        """Return what an auditor would read: base + strength x (organism - base)."""
        import torch

        from nla_core.contrast import adapters_off

        with torch.no_grad(), adapters_off(self.model), _output(self._block) as seen:
            self.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        theirs = seen[0][rows, columns]
        dealt = self._hiding.strengths
        strength = torch.tensor([dealt[i % len(dealt)] for i in range(len(rows))])[:, None]
        return theirs + strength * (ours - theirs)

    def _chosen(self, batch: Batch) -> list[tuple[int, int]]:
        """Choose reply positions of the organism's own chats that see no thought of the motive."""
        found = []
        for row, ids in enumerate(batch.ids.tolist()):
            if self._subject not in ids:
                continue
            weights = batch.weights[row].tolist()
            found += [
                (row, column)
                for column, state in enumerate(self._reader.states(ids))
                if state.replies and state.clean and weights[column] > 0
            ]
        rng = Random(derive_seed(self._seed, "places", self.step))
        return sorted(rng.sample(found, min(self._hiding.places, len(found))))


@contextmanager
def _output(block: "nn.Module") -> "Iterator[list[torch.Tensor]]":
    """Collect what a block puts out, with its graph."""
    seen: list[torch.Tensor] = []

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = block.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
