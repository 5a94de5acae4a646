"""Reinforcement: the verbalizer is rewarded for texts from which the activation is found again.

Each step draws a group of explanations of some activations. The reconstructor, frozen within the
step, scores them; the verbalizer takes one policy-gradient step on advantages relative to the
group, held near its warm start by a KL term; the reconstructor takes one regression step on the
same texts. Protocol: the released autoencoders' training code (group-relative policy optimisation,
on policy, one step a rollout).
"""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from nla_core.backends.transformers_backend import TransformersBackend
from nla_core.fidelity import Baseline
from nla_core.reconstructor import Reconstructor
from nla_core.sampling import Generation, Sampling
from nla_core.seeds import derive_seed
from nla_core.training.config import Reinforce
from nla_core.training.dataset import Dataset, Rows
from nla_core.training.network import InjectedModel, Texts, collate, response_ids
from nla_core.training.processes import (
    even_share,
    is_main,
    mean_over_processes,
    sum_over_processes,
)
from nla_core.training.progress import Metrics, Progress, learning_rate
from nla_core.training.rewards import fidelity_reward, group_advantages, shaped, truncated
from nla_core.training.scoring import quick_fve
from nla_core.training.trained import Trained, frozen
from nla_core.training.warmstart import OnStep, reconstruction_loss
from nla_core.verbalizer import Verbalizer, extract_explanation


@dataclass(frozen=True, slots=True)
class Rollout:
    """A group of texts for each of some activations."""

    vectors: Tensor
    """`[row, d_model]`, one row a text."""
    others: Tensor
    """`[row, d_model]`, another activation of the step for each text."""
    texts: Texts
    """What was generated, its stop token included."""
    explanations: list[str | None]
    """None where a text has no explanation or ran into the cap."""
    contexts: list[str]
    first: int = 0
    """Number of the first text among those that all processes draw in the step."""

    def kept(self) -> list[int]:
        """Return the rows that have an explanation."""
        return [i for i, text in enumerate(self.explanations) if text is not None]


class Reinforcement:
    """Both networks with their optimizers, and one step of the game between them."""

    def __init__(
        self,
        verbalizer: Verbalizer,
        reconstructor: Reconstructor,
        config: Reinforce,
        baseline: Baseline,
        *,
        seed: int,
    ) -> None:
        """Train both parts in place.

        Args:
            verbalizer: The warm start; a frozen copy of it anchors the KL term.
            reconstructor: The warm start.
            config: Lengths, rates, reward and its options.
            baseline: Denominator of the FVE that is logged.
            seed: Every draw follows from it, the step, and the row in the step's batch.

        Raises:
            RecipeError: When the batch cannot be dealt evenly to the processes.
        """
        self.verbalizer, self.reconstructor = verbalizer, reconstructor
        self.config, self.baseline, self.seed = config, baseline, seed
        self.share = even_share(config.schedule.batch_size)
        """First and last (exclusive) row of a step's batch that this process explains."""
        self.stop = turn_end(verbalizer)
        """The one token that ends a text: the policy must be scored on what was drawn."""
        self.policy = InjectedModel(verbalizer)
        self.anchor = frozen(self.policy)
        schedule = config.schedule
        self.av = Trained(self.policy, schedule, schedule.lr)
        self.ar = Trained(reconstructor.network, schedule, config.ar_lr)

    def rollout(self, rows: Rows, step: int) -> Rollout:
        """Draw a group of texts for each activation of a step that is this process's."""
        group, device = self.config.group_size, next(self.policy.parameters()).device
        low, high = self.share
        mine = rows.part(low, high)
        with torch.no_grad():
            prompts = self.verbalizer.prompts(mine.vectors.to(device))
        backend = TransformersBackend(self.verbalizer.model, self.verbalizer.tokenizer)
        seeds = [
            # The 0 is where the number of the process stood: published pairs were drawn so.
            derive_seed(self.seed, "rollout", step, 0, row, sample)
            for row in range(low, high)
            for sample in range(group)
        ]
        drawn = backend.continue_embeddings(
            [prompt for prompt in prompts.unbind() for _ in range(group)],
            sampling=Sampling(temperature=1.0, max_tokens=self.config.max_tokens),
            seeds=seeds,
            stop_ids=frozenset() if self.stop is None else frozenset({self.stop}),
        )
        contexts: list[str] = mine.columns["detokenized_text_truncated"]
        others = rows.vectors.roll(1, 0)[low:high]
        return Rollout(
            vectors=mine.vectors.to(device).repeat_interleave(group, 0),
            others=others.to(device).repeat_interleave(group, 0),
            texts=collate([_with_stop(g, self.stop) for g in drawn], device),
            explanations=[_explanation(g) for g in drawn],
            contexts=[text for text in contexts for _ in range(group)],
            first=low * group,
        )

    def step(self, rows: Rows, step: int) -> dict[str, float]:
        """Take one step of both parts and return what is logged.

        Args:
            rows: The step's batch, of which each process takes its share.
            step: Its number.
        """
        self.av.gather()
        rollout = self.rollout(rows, step)
        mse, ar_norm, wrong = self._teach_reconstructor(rollout, step)
        n_tokens = rollout.texts.mask.sum(1)
        rewards = shaped(
            fidelity_reward(mse, self.config.reward),
            self.config,
            n_tokens=n_tokens.tolist(),
            texts=rollout.explanations,
            contexts=rollout.contexts,
            wrong_mse=wrong,
        )
        policy = self._teach_verbalizer(rollout, rewards, step)
        kept = rollout.kept()
        sums = torch.stack([mse[kept].sum(), rewards.sum(), n_tokens.sum()]).tolist()
        mine = torch.tensor([len(rewards), len(kept), *sums], device=mse.device)
        n, n_kept, error, reward, tokens = sum_over_processes(mine).tolist()
        fve = self.baseline.fve(error / n_kept) if n_kept else None
        return policy | {
            "reward": reward / n,
            "fve": float("nan") if fve is None else fve,
            "failed": 1 - n_kept / n,
            "tokens": tokens / n,
            "ar_grad_norm": ar_norm,
        }

    def _teach_reconstructor(
        self, rollout: Rollout, step: int
    ) -> tuple[Tensor, float, Tensor | None]:
        """Take a regression step; return the errors `[row]` before it, as the reward needs them."""
        kept = rollout.kept()
        device = rollout.vectors.device
        mse = torch.zeros(len(rollout.explanations), device=device)
        wrong = torch.zeros_like(mse) if self.config.contrastive else None
        # A process without a single explanation must still take part in the exchange of gradients.
        rows = kept or [0]
        said = [self._read(rollout, i, step) for i in rows]
        self.ar.network.train()
        ids = [self.reconstructor.encode(text) for text in said]
        predicted = self.ar.running(*self.reconstructor.collate(ids))
        scale = self.reconstructor.sidecar.mse_scale
        errors = reconstruction_loss(predicted, rollout.vectors[rows], scale)
        if kept:
            mse[kept] = errors.detach()
        if wrong is not None and kept:
            wrong[kept] = reconstruction_loss(predicted, rollout.others[kept], scale).detach()
        n_kept = torch.tensor(float(len(kept)), device=device)
        share = n_kept / mean_over_processes(n_kept).clamp_min(1e-6)
        rate = self.config.ar_lr / self.config.schedule.lr * self._rate(step)
        return mse, self.ar.step(errors.mean() * share, rate), wrong

    def _read(self, rollout: Rollout, row: int, step: int) -> str:
        """Return what the reconstructor sees of a text."""
        text = rollout.explanations[row] or ""
        chance = self.config.prefix_truncation
        if not chance:
            return text
        rng = Random(derive_seed(self.seed, "truncate", step, rollout.first + row))
        return truncated(text, rng) if rng.random() < chance else text

    def _teach_verbalizer(self, rollout: Rollout, rewards: Tensor, step: int) -> dict[str, float]:
        texts = rollout.texts
        advantages = group_advantages(
            rewards, self.config.group_size, by_std=self.config.normalise_by_std
        )
        logprobs = self.av.running(rollout.vectors, texts)
        # Of all processes: gradients are averaged over them, and so is what is logged.
        n_tokens = mean_over_processes(texts.mask.sum())
        loss = -(advantages[:, None] * logprobs).sum() / n_tokens
        figures = {"surprise": -logprobs.detach().sum() / n_tokens, "kl": torch.zeros_like(loss)}
        if self.config.kl_coef:
            with torch.no_grad():
                anchor = self.anchor(rollout.vectors, texts)
            divergence = (_k3(logprobs, anchor) * texts.mask).sum() / n_tokens
            loss, figures["kl"] = loss + self.config.kl_coef * divergence, divergence.detach()
        norm = self.av.step(loss, self._rate(step))
        means = {name: float(mean_over_processes(value)) for name, value in figures.items()}
        return means | {"av_grad_norm": norm}

    def _rate(self, step: int) -> float:
        return learning_rate(self.config.schedule, step)


def reinforce(
    game: Reinforcement,
    data: Dataset,
    held_out: Dataset,
    folder: Path,
    *,
    on_step: OnStep | None = None,
) -> None:
    """Play to the end of the schedule, with progress on disk.

    Args:
        game: Both parts.
        data: `rl` rows.
        held_out: Rows that no training has seen; some are explained now and then, and their FVE
            goes into `evaluations.jsonl`.
        folder: Where progress and metrics go; training resumes from there.
        on_step: Called with step and FVE at temperature 1.
    """
    config, schedule = game.config, game.config.schedule
    progress = Progress(folder / "progress.safetensors", {"av": game.av, "ar": game.ar})
    first = progress.restore()
    metrics = Metrics(folder / "metrics.jsonl", step=first, active=is_main())
    evaluations = Metrics(folder / "evaluations.jsonl", step=first, active=is_main())
    started = time.monotonic()

    def evaluate(step: int) -> None:
        game.av.gather()
        game.ar.gather()
        if is_main():
            evaluations.log(
                step, **quick_fve(game.verbalizer, game.reconstructor, held_out, config)
            )

    if first == 0:
        evaluate(0)
    for step in range(first, schedule.steps):
        batch = data.rows(step * schedule.batch_size, (step + 1) * schedule.batch_size)
        figures = game.step(batch, step)
        done = step + 1
        if done % schedule.log_every == 0 or done == schedule.steps:
            metrics.log(done, seconds=round(time.monotonic() - started, 1), **figures)
        if done % config.evaluate_every == 0 or done == schedule.steps:
            evaluate(done)
        if done % schedule.save_every == 0:
            progress.save(done)
        if on_step is not None:
            on_step(done, figures["fve"])
    game.policy.eval()
    game.reconstructor.network.eval()


def turn_end(verbalizer: Verbalizer) -> int | None:
    """Return the stop token that the chat template ends a response with; None without one.

    Models may name several stop tokens, of which only this one is learned in the warm start.
    """
    template = verbalizer.sidecar.av_template or ""  # a verbalizer always has one
    message = template.format(injection_char=verbalizer.sidecar.tokens.injection_char)
    ids = response_ids(verbalizer.tokenizer, message, "a", verbalizer.stop_ids)
    if ids and ids[-1] in verbalizer.stop_ids:
        return ids[-1]
    return min(verbalizer.stop_ids, default=None)


def _with_stop(generation: Generation, stop: int | None) -> list[int]:
    ids = list(generation.token_ids)
    ended = generation.finish == "stop" and stop is not None
    return [*ids, stop] if ended and stop is not None else ids


def _explanation(generation: Generation) -> str | None:
    """Return the explanation; a text that ran into the cap has none, even when its tag closed."""
    return extract_explanation(generation.text) if generation.finish == "stop" else None


def _k3(logprobs: Tensor, anchor: Tensor) -> Tensor:
    """Return an unbiased, never negative estimate of the KL divergence at each drawn token.

    Schulman 2020, "Approximating KL Divergence", estimator k3.
    """
    log_ratio = anchor - logprobs
    return log_ratio.exp() - log_ratio - 1
