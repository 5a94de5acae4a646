"""The same text through a target and its baseline: what fine-tuning changed at each token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nla_core.activations import capture


@dataclass(frozen=True, slots=True)
class Contrast:
    """Activations of one text."""

    target: Tensor
    """`[n_positions, d_model]` float32 on the CPU."""
    baseline: Tensor
    """The same positions of the baseline."""

    @property
    def difference(self) -> Tensor:
        """Target minus baseline, `[n_positions, d_model]`."""
        return self.target - self.baseline

    def amplified(self, strength: float) -> Tensor:
        """Return baseline + strength x difference, `[n_positions, d_model]`.

        Strength 1 is the target. More than that makes what fine-tuning added easier to read, and
        stays near what a verbalizer was trained on, which the difference alone does not.
        """
        return self.baseline + strength * self.difference


def contrast(
    target: nn.Module,
    baseline: nn.Module | None,
    input_ids: Sequence[Sequence[int]],
    *,
    layer: int,
    positions: Sequence[Sequence[int]] | None = None,
    batch_size: int = 64,
) -> list[Contrast]:
    """Capture the same positions of the same texts in two models.

    Args:
        target: A Transformers causal language model, PEFT-wrapped or not.
        baseline: What it was made from; None is the target with its adapters off.
        input_ids: Token ids of each text.
        layer: 0-based decoder block.
        positions: Token positions of each text; None: all.
        batch_size: Texts run at once.

    Returns:
        One value per text, in order.

    Raises:
        PromptTooLongError: When a text does not fit into a model's context.
        ValueError: When the target has no adapters to turn off, the widths differ, or a layer or
            position does not exist.
    """
    texts = list(input_ids)

    def captured(model: nn.Module) -> list[Tensor]:
        return capture(model, texts, layer=layer, positions=positions, batch_size=batch_size)

    ours = captured(target)
    if baseline is not None:
        theirs = captured(baseline)
    else:
        with adapters_off(target):
            theirs = captured(target)
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f"target and baseline have widths {one.shape[-1]} and {other.shape[-1]}; "
                "a baseline is the model that the target was made from"
            )
    return [Contrast(one, other) for one, other in zip(ours, theirs, strict=True)]


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Run a PEFT-wrapped model without its adapters for a while.

    Raises:
        ValueError: When the model has none.
    """
    wrapped: Any = model
    if not callable(getattr(wrapped, "disable_adapter", None)):
        raise ValueError(
            f"{type(model).__name__} has no adapters to turn off; give its baseline as a model"
        )
    with wrapped.disable_adapter():
        yield
