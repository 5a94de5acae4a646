"""What a pair is worth on held-out activations: fidelity, its nulls, rewrites, and true claims."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor

from nla_core.fidelity import Baseline, random_direction, random_like
from nla_core.reconstructor import Reconstructor
from nla_core.seeds import derive_seed
from nla_core.training.config import Evaluate
from nla_core.training.dataset import Dataset, Rows
from nla_core.training.label import places
from nla_core.training.network import InjectedModel, collate
from nla_core.training.plugs import Grader, Grades
from nla_core.training.rewriting import REWRITES
from nla_core.training.scoring import explanations, fve_of, fve_of_predictions
from nla_core.verbalizer import Explanation, Verbalizer

_FLUENCY_BATCH = 256
Draw = Callable[[Tensor, float], list[Explanation]]
Score = Callable[[Sequence[str | None]], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of one pair; None is unknown."""

    n: int
    """Activations."""
    rawvar: float
    """Variance of these activations, normalised: the denominator of every FVE but one."""
    fve: float | None
    """Explanations at temperature 1."""
    fve_greedy: float | None
    fve_by_fixed_reconstructor: float | None
    """The same explanations read by another reconstructor, the warm start's."""
    shuffled_fve: float | None
    """Every activation gets another one's explanation."""
    random_prediction_fve: float | None
    """A random direction instead of the reconstruction."""
    random_vector_fve: float | None
    """Random vectors of the activations' norms, explained and reconstructed."""
    random_vector_rawvar: float
    """Variance of those, the denominator of that FVE."""
    copied_context_fve: float | None
    """The text that was read instead of its explanation."""
    rewritten: Mapping[str, float | None] = field(default_factory=dict)
    """FVE after each rewrite of the explanations at temperature 1."""
    grades: Grades | None
    grades_greedy: Grades | None
    failed: float
    """Share of samples without an explanation."""
    mean_tokens: float | None
    surprise: Mapping[str, float]
    """Negative log-probability of a token (nats) of the samples, by which verbalizer reads them."""
    examples: Sequence[tuple[str, str | None]] = ()
    """Some texts with their explanations."""


def evaluate_pair(
    verbalizer: Verbalizer,
    reconstructor: Reconstructor,
    held_out: Dataset,
    config: Evaluate,
    *,
    grader: Grader | None = None,
    anchor: Verbalizer | None = None,
    fixed_reconstructor: Reconstructor | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a pair on the last rows of a held-out set.

    Args:
        verbalizer: Its verbalizer.
        reconstructor: Its reconstructor.
        held_out: Activations that no training has seen.
        config: How many rows, how long the texts.
        grader: Knows what is true; None leaves claims unknown.
        anchor: The warm start, which says how fluent the texts are.
        fixed_reconstructor: The warm start's: what it cannot read is private to the pair.
        seed: Of samples, shuffles and random vectors.
    """
    rows = held_out.last(config.rows)
    vectors = rows.vectors
    baseline = Baseline.from_activations(vectors, mse_scale=reconstructor.sidecar.mse_scale)

    def draw(source: Tensor, temperature: float) -> list[Explanation]:
        return explanations(
            verbalizer, source, temperature=temperature, max_tokens=config.max_tokens, seed=seed
        )

    def score(texts: Sequence[str | None], reader: Reconstructor = reconstructor) -> float | None:
        return fve_of(list(texts), vectors, reader, baseline)

    sampled, greedy = draw(vectors, 1.0), draw(vectors, 0.0)
    texts, greedy_texts = [e.text for e in sampled], [e.text for e in greedy]
    where = places(rows)
    noise, noise_baseline = _noise(vectors, reconstructor, seed)
    readers = {"own": verbalizer} | ({} if anchor is None else {"warm": anchor})
    return Evaluation(
        n=len(rows),
        rawvar=baseline.rawvar,
        fve=score(texts),
        fve_greedy=score(greedy_texts),
        fve_by_fixed_reconstructor=None
        if fixed_reconstructor is None
        else score(texts, fixed_reconstructor),
        shuffled_fve=score(_deranged(texts, seed)),
        random_prediction_fve=_random_prediction(vectors, reconstructor, baseline, seed),
        random_vector_fve=fve_of(
            [e.text for e in draw(noise, 1.0)], noise, reconstructor, noise_baseline
        ),
        random_vector_rawvar=noise_baseline.rawvar,
        copied_context_fve=score(rows.columns["detokenized_text_truncated"]),
        rewritten=_rewritten(texts, score, grader, seed),
        grades=None if grader is None else grader.grade(where, texts),
        grades_greedy=None if grader is None else grader.grade(where, greedy_texts),
        failed=sum(text is None for text in texts) / len(texts),
        mean_tokens=_mean_tokens(sampled),
        surprise=_surprise(rows, sampled, readers),
        examples=tuple(zip(rows.columns["detokenized_text_truncated"][:8], texts[:8], strict=True)),
    )


def _deranged(texts: list[str | None], seed: int) -> list[str | None]:
    """Give every row the text of another one, far away in the set."""
    order = list(range(len(texts)))
    Random(derive_seed(seed, "derange")).shuffle(order)
    found: list[str | None] = [None] * len(texts)
    for place, row in enumerate(order):
        found[row] = texts[order[(place + 1) % len(order)]]
    return found


def _random_prediction(
    vectors: Tensor, reconstructor: Reconstructor, baseline: Baseline, seed: int
) -> float | None:
    width = vectors.shape[1]
    guesses = [random_direction(width, derive_seed(seed, "guess", i)) for i in range(len(vectors))]
    return fve_of_predictions(torch.stack(guesses), vectors, reconstructor, baseline)


def _noise(vectors: Tensor, reconstructor: Reconstructor, seed: int) -> tuple[Tensor, Baseline]:
    """Return random vectors of the activations' norms, and their own mean and variance."""
    noise = random_like(vectors, seed=derive_seed(seed, "noise"))
    return noise, Baseline.from_activations(noise, mse_scale=reconstructor.sidecar.mse_scale)


def _rewritten(
    texts: list[str | None], score: Score, grader: Grader | None, seed: int
) -> dict[str, float | None]:
    """Score rewrites: a grader's own, which know the wording, or those by rule."""
    rewrites = REWRITES if grader is None else grader.rewrites()
    return {
        name: score(
            [
                None if text is None else rewrite(text, derive_seed(seed, name, row))
                for row, text in enumerate(texts)
            ]
        )
        for name, rewrite in rewrites.items()
    }


def _mean_tokens(found: Sequence[Explanation]) -> float | None:
    return sum(e.n_tokens for e in found) / len(found) if found else None


def _surprise(
    rows: Rows, found: Sequence[Explanation], readers: Mapping[str, Verbalizer]
) -> dict[str, float]:
    means = {}
    for name, reader in readers.items():
        network = InjectedModel(reader).eval()
        device = next(reader.model.parameters()).device
        total, n = 0.0, 0
        for start in range(0, len(found), _FLUENCY_BATCH):
            part = found[start : start + _FLUENCY_BATCH]
            ids = [_ids(reader, explanation) for explanation in part]
            texts = collate(ids, device)
            with torch.inference_mode():
                vectors = rows.vectors[start : start + len(part)].to(device)
                total -= float(network(vectors, texts).sum())
            n += int(texts.mask.sum())
        means[name] = total / max(n, 1)
    return means


def _ids(reader: Verbalizer, explanation: Explanation) -> list[int]:
    return list(reader.tokenizer.encode(explanation.raw_text, add_special_tokens=False))
