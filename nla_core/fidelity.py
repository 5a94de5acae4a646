"""How much of an activation its explanation carries, beside what no explanation would carry.

Formulas are those of the released Natural Language Autoencoders. With n(v) = v * s / max(|v|,
1e-12), s = mse_scale, prediction p and gold g:

- `mse_nrm` = mean over elements of (n(p) - n(g))^2, which is 2 (1 - cos) at s = sqrt(d_model);
- mu = mean of n(g) over a dataset, not normalised again;
- `rawvar` = mean (n(g) - mu)^2 and `meannorm` = mean (n(g) - n(mu))^2 over that dataset;
- FVE = 1 - mse_nrm / rawvar. Against `meannorm` it flatters.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import torch
from torch import Tensor

from nla_core.injection import NOISE_NORM
from nla_core.reconstructor import Reconstructor
from nla_core.seeds import derive_seed

BASELINE_ROWS = 50_000
"""Rows of a dataset that baselines are computed from, the first ones in file order."""
_BATCH_ROWS = 8192
_SMALLEST_NORM = 1e-12
_PARTNER_TRIES = 256

Problem = Literal[
    "no_explanation", "empty_explanation", "zero_activation", "not_finite", "too_long"
]
"""`too_long`: the explanation does not fit into the reconstructor's context."""


def normalised(vectors: Tensor, mse_scale: float | None) -> Tensor:
    """Return float64 vectors `[..., d_model]` of norm `mse_scale`; None leaves them as they are."""
    wide = vectors.double()
    if mse_scale is None:
        return wide
    norms: Tensor = wide.norm(dim=-1, keepdim=True)
    return wide * (mse_scale / norms.clamp_min(_SMALLEST_NORM))


def mse_nrm(predictions: Tensor, gold: Tensor, mse_scale: float | None) -> Tensor:
    """Return the `[n]` float64 mean squared errors of normalised vectors `[n, d_model]`."""
    difference = normalised(predictions, mse_scale) - normalised(gold, mse_scale)
    errors: Tensor = difference.square().mean(-1)
    return errors


def cosine(predictions: Tensor, gold: Tensor) -> Tensor:
    """Return the `[n]` float64 cosines of vectors `[n, d_model]`; NaN where one is zero."""
    first, second = predictions.double(), gold.double()
    cosines: Tensor = (first * second).sum(-1) / (first.norm(dim=-1) * second.norm(dim=-1))
    return cosines


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Baseline:
    """What predicting the mean of a dataset would score: the denominators of FVE."""

    mu: Tensor
    """`[d_model]` float64 mean of the normalised vectors."""
    rawvar: float
    """Mean squared distance of normalised vectors from their mean."""
    meannorm: float
    """The same from the mean scaled to `mse_scale`."""
    n: int
    """Rows that it was computed from."""
    mse_scale: float | None

    @classmethod
    def from_batches(
        cls, batches: Iterable[Tensor], *, mse_scale: float | None, max_rows: int = BASELINE_ROWS
    ) -> "Baseline":
        """Compute from batches `[n, d_model]` of raw activations, one at a time.

        Raises:
            ValueError: When there are no rows, or one is not finite.
        """
        total, squares, n = torch.zeros(0, dtype=torch.float64), 0.0, 0
        for batch in batches:
            rows = normalised(batch[: max_rows - n].cpu(), mse_scale)
            if not bool(torch.isfinite(rows).all()):
                raise ValueError(f"an activation in rows {n} to {n + len(rows) - 1} is not finite")
            total = rows.sum(0) + (total if n else 0)
            squares += float(rows.square().mean(-1).sum())
            n += len(rows)
            if n >= max_rows:
                break
        if n == 0:
            raise ValueError("a baseline needs at least one activation")
        mu, square = total / n, squares / n
        scaled_mu = normalised(mu, mse_scale)
        cross = 2 * float((mu * scaled_mu).mean())
        return cls(
            mu=mu,
            rawvar=max(square - float(mu.square().mean()), 0.0),
            meannorm=max(square - cross + float(scaled_mu.square().mean()), 0.0),
            n=n,
            mse_scale=mse_scale,
        )

    @classmethod
    def from_activations(cls, activations: Tensor, *, mse_scale: float | None) -> "Baseline":
        """Compute from raw activations `[n, d_model]`, the first 50,000 rows.

        Raises:
            ValueError: When there are no rows, or one is not finite.
        """
        starts = range(0, len(activations), _BATCH_ROWS)
        batches = (activations[start : start + _BATCH_ROWS] for start in starts)
        return cls.from_batches(batches, mse_scale=mse_scale)

    def fve(self, mse: float) -> float | None:
        """Return the fraction of variance explained; None when the dataset has no variance."""
        return None if self._is_nothing(self.rawvar) else 1 - mse / self.rawvar

    def fve_meannorm(self, mse: float) -> float | None:
        """Return the flattering kind, against the mean scaled up."""
        return None if self._is_nothing(self.meannorm) else 1 - mse / self.meannorm

    def _is_nothing(self, variance: float) -> bool:
        """Tell whether a variance is rounding: one row, or equal rows."""
        return self.n < 2 or variance <= 1e-12 * max(float(self.mu.square().mean()), 1e-300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One prediction against one activation; over a dataset, means of these are its figures."""

    mse_nrm: float
    cosine: float | None
    """None when a vector is zero. Uninformative for models whose mean is large, such as Gemma."""
    fve: float | None
    """None without a baseline."""
    fve_meannorm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What an explanation carries, and what its nulls do; None is unknown, never zero."""

    score: Score | None
    shuffled: Score | None
    """Another row's explanation."""
    random_vector: Score | None
    """A random direction instead of the reconstruction."""
    copied_context: Score | None
    """The text that the activation was read from, instead of its explanation."""
    problem: Problem | None
    """Why there is no score. An empty explanation is scored all the same: it is what was said."""


def fidelity(
    activations: Tensor,
    texts: Sequence[str | None],
    reconstructor: Reconstructor,
    baseline: Baseline | None = None,
    *,
    contexts: Sequence[str | None] | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> list[Fidelity]:
    """Score explanations by how well the reconstructor finds the activation again.

    Args:
        activations: `[n, d_model]`, raw. Zero and non-finite rows are marked, not scored.
        texts: One explanation each; None where none could be extracted.
        reconstructor: Turns text back into vectors.
        baseline: Of the dataset; None leaves FVE unknown.
        contexts: The text that each activation was read from, for the copying null.
        seed: Of the shuffle and the random directions.
        batch_size: Texts run at once.

    Returns:
        One value per row, in order.

    Raises:
        PromptTooLongError: When a text or context does not fit into the reconstructor.
        ValueError: When the numbers of rows differ, a width is wrong, or the baseline normalises
            differently from the reconstructor.
    """
    n = len(activations)
    _check(activations, texts, contexts, reconstructor, baseline)
    gold = activations.detach().cpu()
    problems = [_problem(vector, text) for vector, text in zip(gold, texts, strict=True)]
    measurable = [problem not in ("zero_activation", "not_finite") for problem in problems]
    predicted = _reconstruct(texts, reconstructor, batch_size)
    partners = _partners(gold, texts, seed)
    copied = _reconstruct(contexts or [None] * n, reconstructor, batch_size)
    found = []
    for row in range(n):
        partner = partners[row]
        candidates = (
            predicted[row],
            None if partner is None else predicted[partner],
            random_direction(reconstructor.d_model, derive_seed(seed, "random", row)),
            copied[row],
        )
        scores = [
            None
            if vector is None or not measurable[row]
            else score(vector, gold[row], baseline, mse_scale=reconstructor.sidecar.mse_scale)
            for vector in candidates
        ]
        found.append(
            Fidelity(
                score=scores[0],
                shuffled=scores[1],
                random_vector=scores[2],
                copied_context=scores[3],
                problem=problems[row],
            )
        )
    return found


def score(
    prediction: Tensor, gold: Tensor, baseline: Baseline | None, *, mse_scale: float | None
) -> Score:
    """Score one prediction `[d_model]` against one activation `[d_model]`."""
    mse = float(mse_nrm(prediction, gold, mse_scale))
    angle = float(cosine(prediction, gold))
    return Score(
        mse_nrm=mse,
        cosine=None if math.isnan(angle) else angle,
        fve=None if baseline is None else baseline.fve(mse),
        fve_meannorm=None if baseline is None else baseline.fve_meannorm(mse),
    )


def random_direction(d_model: int, seed: int) -> Tensor:
    """Return a float32 unit vector `[d_model]`, uniform on the sphere."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(d_model, generator=generator, dtype=torch.float64)
    unit: Tensor = (vector / vector.norm()).float()
    return unit


def random_like(activations: Tensor, *, seed: int) -> Tensor:
    """Return random vectors `[n, d_model]` of the norms of the given ones, float32.

    Explaining them shows what the verbalizer says about nothing.
    """
    rows = [
        random_direction(activations.shape[-1], derive_seed(seed, "random", row))
        for row in range(len(activations))
    ]
    units = torch.stack(rows) if rows else torch.empty(0, activations.shape[-1])
    norms: Tensor = activations.detach().cpu().float().norm(dim=-1, keepdim=True)
    return units * norms


def _check(
    activations: Tensor,
    texts: Sequence[str | None],
    contexts: Sequence[str | None] | None,
    reconstructor: Reconstructor,
    baseline: Baseline | None,
) -> None:
    width = reconstructor.d_model
    if activations.ndim != 2 or activations.shape[-1] != width:
        raise ValueError(f"activations must be [n, {width}], got {list(activations.shape)}")
    for name, given in (("texts", texts), ("contexts", contexts)):
        if given is not None and len(given) != len(activations):
            raise ValueError(f"{len(activations)} activations need as many {name}")
    if baseline is None:
        return
    if len(baseline.mu) != width:
        raise ValueError(f"the baseline has width {len(baseline.mu)}, the activations {width}")
    ours = reconstructor.sidecar.mse_scale
    if (baseline.mse_scale is None) != (ours is None) or not math.isclose(
        baseline.mse_scale or 1.0, ours or 1.0, rel_tol=1e-3
    ):
        raise ValueError(
            f"the baseline was computed at mse_scale {baseline.mse_scale}, the reconstructor's "
            f"is {ours}"
        )


def _problem(vector: Tensor, text: str | None) -> Problem | None:
    if not bool(torch.isfinite(vector).all()):
        return "not_finite"
    if float(vector.float().norm()) < NOISE_NORM:
        return "zero_activation"
    if text is None:
        return "no_explanation"
    return None if text.strip() else "empty_explanation"


def _reconstruct(
    texts: Sequence[str | None], reconstructor: Reconstructor, batch_size: int
) -> list[Tensor | None]:
    """Reconstruct what there is, equal texts once."""
    unique = list(dict.fromkeys(text for text in texts if text is not None))
    vectors = reconstructor.reconstruct(unique, batch_size=batch_size)
    by_text = dict(zip(unique, vectors, strict=True))
    return [None if text is None else by_text[text] for text in texts]


def _partners(gold: Tensor, texts: Sequence[str | None], seed: int) -> list[int | None]:
    """Give each row another whose explanation is of a different vector and says something else.

    Several samples of one vector are therefore never each other's null.
    """
    order = list(range(len(texts)))
    Random(derive_seed(seed, "shuffle")).shuffle(order)
    place = {row: index for index, row in enumerate(order)}

    def partner(row: int) -> int | None:
        for step in range(1, min(len(order), _PARTNER_TRIES)):
            other = order[(place[row] + step) % len(order)]
            said = texts[other]
            if said is not None and said != texts[row] and not gold[other].equal(gold[row]):
                return other
        return None

    return [partner(row) for row in range(len(texts))]
