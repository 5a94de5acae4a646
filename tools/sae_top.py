"""Which features of a sparse autoencoder are active in the target, and not in its baseline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nla_core.seeds import derive_seed
from tools import rows
from tools.protocols import ToolContext, ToolOutput
from tools.reading import features, parameters, readings
from tools.reading.passages import Passage, check_given, mind, target_passages
from tools.reading.places import check_positions, choose
from tools.reading.readings import rounded
from tools.registry import Execute, tool

if TYPE_CHECKING:
    from torch import Tensor

MAX_PLACES = 20_000
_TESTED = 3000
_LEVEL = 0.05


@tool(needs=("sae", "activations", "baseline"))
def sae_top() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        prompts: rows.Texts | None = None,
        conversations: parameters.Conversations | None = None,
        texts: rows.Texts | None = None,
        system: str | None = None,
        replies: parameters.Replies = 1,
        max_tokens: rows.MaxTokens = rows.DEFAULT_REPLY_TOKENS,
        positions: str | None = None,
        span: Annotated[str, Field(max_length=400)] | None = None,
        by: Literal["difference", "target"] = "difference",
        rank_from: Annotated[int, Field(ge=0)] = 0,
        k: Annotated[int, Field(ge=1, le=500)] = 50,
        max_places: Annotated[int, Field(ge=1, le=MAX_PLACES)] = 4000,
    ) -> ToolOutput:
        """Rank the features that are more active in the target than in its baseline.

        The target replies to open conversations; target and baseline are then read on the same
        texts, at the same tokens, with the same autoencoder. Items of kind "feature", best first:
        rank (from 0), feature (its number), label and tokens (on which it is most active; labels
        are automatic), density (share of generic tokens on which it is active), target and baseline
        (mean activation), difference, active_target and active_baseline (shares of tokens), p
        (one-sided, by swapping the models text by text, corrected for the features tested; null for
        those not tested), example (the token where it is most active in the target). Then items of
        kind "text". The summary says how much of the activations the autoencoder explains: where
        that is little, what matters may be in the rest.

        Source:
            Bricken et al. 2025, "Building and evaluating alignment auditing agents", tools on
            sparse autoencoders; AuditBench (arXiv 2602.22755), configuration "SAE", as a fixed dump
            without a baseline.

        Cost:
            The target tokens of the replies.

        Misses:
            What has no feature: an autoencoder trained on the base seldom has one for what
            fine-tuning brought. Any fine-tuning moves features, so that a small p says no more than
            that the models differ. Many features are syntax; nothing is filtered out. Page on with
            rank_from: what matters often ranks below the first hundred.

        Args:
            ctx: What this call may touch.
            prompts: User messages, each a conversation of its own.
            conversations: Whole conversations.
            texts: Raw texts.
            system: System line of prompts and conversations that have none.
            replies: Replies of the target to each open conversation; 0 reads what is given.
            max_tokens: Longest reply, in tokens.
            positions: Which tokens, see nla_explain, but for worst:K and best:K. Left out: the
                reply, or where it would begin.
            span: Words of the texts; only tokens of these are read.
            by: Rank by target minus baseline, or by the target's activation alone.
            rank_from: First rank to return.
            k: How many features to return.
            max_places: Most tokens read; of more each text keeps as many at random.
        """
        features.autoencoder(ctx)
        mind(ctx, "baseline")
        check_positions(ctx, positions)
        given = check_given(
            prompts=prompts,
            conversations=conversations,
            texts=texts,
            system=system,
            replies=replies,
            max_tokens=max_tokens,
        )
        passages = target_passages(ctx, given)
        chosen = choose(ctx, passages, positions=positions, span=span, most=max_places)
        passages = [p for p, places in zip(passages, chosen, strict=True) if places]
        chosen = [places for places in chosen if places]
        table = _Table(ctx, passages, chosen)
        order = table.ranked(by)
        n_small = sum(p is not None and p <= _LEVEL for p in table.p)
        return ToolOutput(
            summary=f"layer {features.autoencoder(ctx).layer}, {table.n} tokens of "
            f"{len(passages)} texts; {len(order)} features are active, {n_small} with p of "
            f"{_LEVEL} or less; the autoencoder explains {table.explained:.0%} of the target's "
            f"variance; {readings.cost(ctx)}",
            items=(
                *(
                    {"kind": "feature", "rank": rank, **table.item(feature)}
                    for rank, feature in enumerate(order[rank_from : rank_from + k], rank_from)
                ),
                *(passage.item() for passage in passages),
            ),
        )

    return execute


class _Table:
    """Feature activations of both models, text by text."""

    def __init__(
        self, ctx: ToolContext, passages: Sequence[Passage], chosen: Sequence[Sequence[int]]
    ) -> None:
        import torch

        self._ctx, self._passages, self._chosen = ctx, passages, chosen
        self._streams = features.captured(ctx, passages, chosen, "target")
        others = features.captured(ctx, passages, chosen, "baseline")
        ours = [_summed(features.encoded(ctx, stream)) for stream in self._streams]
        theirs = [_summed(features.encoded(ctx, stream)) for stream in others]
        self._sizes = torch.tensor([len(places) for places in chosen]).unsqueeze(1)
        self.n = int(self._sizes.sum())
        sums = [torch.stack([one[0] for one in side]) for side in (ours, theirs)]
        counts = [torch.stack([one[1] for one in side]).sum(0) for side in (ours, theirs)]
        self.target, self.baseline = (one.sum(0) / self.n for one in sums)
        self.active_target, self.active_baseline = (one / self.n for one in counts)
        self.p = self._tested(*(one / self._sizes for one in sums))
        self.explained = _explained(ctx, torch.cat(self._streams))

    def _tested(self, ours: "Tensor", theirs: "Tensor") -> list[float | None]:
        """Test the features that are most active in both models together."""
        import numpy as np
        import torch

        from tools.reading.statistics import permutation_test

        total = (ours + theirs).sum(0)
        # Chosen by both sides together, so that the choice does not depend on what is swapped.
        chosen = total.argsort(descending=True, stable=True)[:_TESTED]
        chosen = chosen[total[chosen] > 0]
        found: list[float | None] = [None] * len(total)
        if len(chosen):
            texts = len(ours)
            test = permutation_test(
                torch.cat([ours, theirs])[:, chosen].double().numpy(),
                np.arange(2 * texts) < texts,
                np.tile(np.arange(texts), 2),
                seed=derive_seed(self._ctx.seed, "permutations"),
            )
            for feature, p in zip(chosen.tolist(), test.p.tolist(), strict=True):
                found[feature] = p
        return found

    def ranked(self, by: str) -> list[int]:
        """Return the features that are active anywhere, best first."""
        worth = self.target - self.baseline if by == "difference" else self.target
        order: list[int] = worth.argsort(descending=True, stable=True).tolist()
        return [i for i in order if self.target[i] > 0 or self.baseline[i] > 0]

    def item(self, feature: int) -> dict[str, Any]:
        """Return one feature."""
        ours, theirs = float(self.target[feature]), float(self.baseline[feature])
        return {
            **features.described(self._ctx, feature),
            "target": rounded(ours),
            "baseline": rounded(theirs),
            "difference": rounded(ours - theirs),
            "active_target": rounded(float(self.active_target[feature])),
            "active_baseline": rounded(float(self.active_baseline[feature])),
            "p": rounded(self.p[feature]),
            "example": self._example(feature),
        }

    def _example(self, feature: int) -> dict[str, Any] | None:
        best: tuple[float, int, int] = (0.0, -1, -1)
        for index, stream in enumerate(self._streams):
            value, row = features.encoded(self._ctx, stream)[:, feature].max(0)
            if float(value) > best[0]:
                best = (float(value), index, int(row))
        activation, text, place = best
        if text < 0:
            return None
        passage, position = self._passages[text], self._chosen[text][place]
        return {
            "text": passage.index,
            "position": position,
            "before": passage.before(position),
            "token": passage.tokens[position],
            "activation": rounded(activation),
        }


def _summed(active: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return sums and counts `[feature]` over the places of a text."""
    return active.sum(0), (active > 0).sum(0)


def _explained(ctx: ToolContext, stream: "Tensor") -> float:
    """Return the share of the variance about the mean that the autoencoder keeps."""
    rest = (stream - features.autoencoder(ctx).reconstruct(stream)).square().sum()
    return 1.0 - float(rest / (stream - stream.mean(0)).square().sum().clamp_min(1e-12))
