"""Changing the residual stream while a model runs: activation addition.

A vector is added to the output of a decoder block, after its residual and before any norm, where
`nla_core.activations` reads (Turner et al. 2023, "Activation Addition: Steering Language Models
Without Optimization"; with vectors from contrasted texts, Rimsky et al. 2024, "Steering Llama 2
via Contrastive Activation Addition").

Every row of a pass gets the same vectors. Rows are merged, tiled and dropped while they are
sampled, so a vector of their own for some is not offered: run one `generate` per set of vectors.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args
from weakref import WeakSet

import torch
from torch import Tensor, nn

from nla_core import arch

Where = Literal["prompt", "reply", "all"]
"""Which tokens are changed: those that a model is given, those that it draws, or both."""


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """A vector to be added at one block."""

    layer: int
    """0-based decoder block."""
    vector: Tensor
    """`[d_model]`, any float dtype and device, at the strength wanted."""
    where: Where = "all"


def check_additions(model: nn.Module, additions: Sequence[Addition]) -> None:
    """Refuse what cannot be added.

    Raises:
        ValueError: When a layer does not exist, a vector is of another width or not finite, or
            `where` is unknown.
    """
    if not additions:
        return
    n_blocks, width = len(arch.blocks(model)), arch.d_model(model)
    for addition in additions:
        if not 0 <= addition.layer < n_blocks:
            raise ValueError(
                f"layer {addition.layer} does not exist; the model has layers 0 to {n_blocks - 1}"
            )
        shape = list(addition.vector.shape)
        if shape != [width]:
            raise ValueError(f"a steering vector of this model has shape [{width}], got {shape}")
        if not bool(torch.isfinite(addition.vector).all()):
            raise ValueError("a steering vector holds values that are not finite numbers")
        if addition.where not in get_args(Where):
            raise ValueError(
                f"where must be one of {', '.join(get_args(Where))}, got {addition.where!r}"
            )


@contextmanager
def steered(model: nn.Module, additions: Sequence[Addition]) -> Iterator[None]:
    """Add vectors to the residual stream of every pass inside the block.

    A prompt's tokens are those that `decoding.generate` is given; a reply's are those that it
    draws. The logits of the reply's first token come from the prompt's last one, so an addition to
    the reply alone acts from the second token on. A pass that keeps no cache is a prompt.

    Sums are rounded once, from float32 to the model's dtype. The model is changed by hooks, so no
    other thread may run it meanwhile.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        additions: Vectors; those at the same block add up, and one that is zero changes nothing.

    Raises:
        ValueError: See `check_additions`.
    """
    check_additions(model, additions)
    kept = [addition for addition in additions if bool(addition.vector.any())]
    if not kept:
        yield
        return
    with ExitStack() as hooks:
        phase = _Phase(arch.decoder(model), hooks)
        for layer in sorted({addition.layer for addition in kept}):
            block = arch.blocks(model)[layer]
            here = [addition for addition in kept if addition.layer == layer]
            hook = _adding(_total(block, here, "prompt"), _total(block, here, "reply"), phase)
            hooks.callback(block.register_forward_hook(hook).remove)
        yield


class _Phase:
    """Knows of each pass whether its tokens are a prompt's or a reply's.

    The first pass with a cache runs a prompt, the later ones go on from it. A prefix that prompts
    share is run with a cache of its own and copied to a new one, so the pass that runs what is
    left of the prompts is a first one as well, however few tokens it has.
    """

    def __init__(self, decoder: nn.Module, hooks: ExitStack) -> None:
        self.reply = False
        self._used: WeakSet[Any] = WeakSet()
        before = decoder.register_forward_pre_hook(self._before, with_kwargs=True)
        hooks.callback(before.remove)
        hooks.callback(decoder.register_forward_hook(self._after).remove)

    def _before(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        cache = kwargs.get("past_key_values")
        self.reply = cache is not None and cache in self._used

    def _after(self, _module: nn.Module, _args: Any, output: Any) -> None:
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            self._used.add(cache)


def _total(
    block: nn.Module, additions: Sequence[Addition], phase: Literal["prompt", "reply"]
) -> Tensor | None:
    """Return the float32 sum `[d_model]` of what is added in a phase, None when nothing is."""
    device = next(block.parameters()).device
    vectors = [
        a.vector.detach().to(device, torch.float32) for a in additions if a.where in (phase, "all")
    ]
    return torch.stack(vectors).sum(0) if vectors else None


def _adding(
    to_prompt: Tensor | None, to_reply: Tensor | None, phase: _Phase
) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        vector = to_reply if phase.reply else to_prompt
        if vector is None:
            return output
        if isinstance(output, tuple):
            return (_sum(output[0], vector), *output[1:])
        return _sum(output, vector)

    return hook


def _sum(states: Tensor, vector: Tensor) -> Tensor:
    return (states + vector).to(states.dtype)
