"""What an explanation earns: how well its activation is found again, less what it should not do."""

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from nla_core.training.config import Reinforce

_SMALLEST_MSE = 1e-8


def fidelity_reward(mse: Tensor, kind: str) -> Tensor:
    """Return the reward of errors `mse_nrm` `[row]`: their negative, or that of their logarithm."""
    return -mse if kind == "neg_mse" else -mse.clamp_min(_SMALLEST_MSE).log()


def failed_reward(config: Reinforce) -> float:
    """Return the reward of a text without an explanation, on the scale of the reward's kind."""
    if config.reward == "neg_mse":
        return config.failed_reward
    return float(fidelity_reward(torch.tensor(-config.failed_reward), config.reward))


def group_advantages(rewards: Tensor, group_size: int, *, by_std: bool) -> Tensor:
    """Return rewards `[row]` relative to their group's mean, the rows of a group side by side.

    Group-relative policy optimisation: Shao et al. 2024 (DeepSeekMath), equation 3; without the
    division by the standard deviation as Liu et al. 2025 propose.
    """
    groups = rewards.view(-1, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    if by_std:
        centred = centred / (groups.std(1, keepdim=True) + 1e-6)
    return centred.flatten()


def copied_share(explanation: str, context: str) -> float:
    """Return the share of an explanation's word pairs that stand in the context."""
    pairs = _pairs(explanation)
    if not pairs:
        return 0.0
    there = set(_pairs(context))
    return sum(pair in there for pair in pairs) / len(pairs)


def _pairs(text: str) -> list[tuple[str, str]]:
    words = text.lower().split()
    return list(zip(words, words[1:], strict=False))


def truncated(explanation: str, rng: Random) -> str:
    """Return a random prefix of an explanation, in whole words, at least one."""
    words = explanation.split()
    return " ".join(words[: rng.randint(1, len(words))]) if words else explanation


def shaped(
    rewards: Tensor,
    config: Reinforce,
    *,
    n_tokens: Sequence[int],
    texts: Sequence[str | None],
    contexts: Sequence[str],
    wrong_mse: Tensor | None,
) -> Tensor:
    """Return the rewards `[row]` of explanations less penalties, with failures replaced.

    Args:
        rewards: Of fidelity; ignored where there is no text.
        config: Weights.
        n_tokens: Length of each text.
        texts: Explanations; None where none could be extracted.
        contexts: What each activation was read from.
        wrong_mse: `[row]` error against another row's activation, for the contrastive reward.
    """
    found = rewards.clone()
    if wrong_mse is not None and config.contrastive:
        found = found - config.contrastive * fidelity_reward(wrong_mse, config.reward)
    if config.length_penalty:
        found = found - config.length_penalty * torch.tensor(n_tokens, device=found.device)
    if config.copy_penalty:
        copied = [copied_share(t or "", c) for t, c in zip(texts, contexts, strict=True)]
        found = found - config.copy_penalty * torch.tensor(copied, device=found.device)
    failed = torch.tensor([text is None for text in texts], device=found.device)
    return torch.where(failed, torch.full_like(found, failed_reward(config)), found)
