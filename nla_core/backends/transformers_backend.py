"""The model in this process, drawn from by the batched sampler."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from nla_core.decoding import generate
from nla_core.sampling import Generation, Sampling


class TransformersBackend:
    """Runs a Transformers model that is in memory."""

    def __init__(self, model: nn.Module, tokenizer: Any, *, batch_size: int | None = None) -> None:
        """Keep the parts.

        Args:
            model: A causal language model, PEFT-wrapped or not.
            tokenizer: Its tokenizer, which turns ids into text.
            batch_size: Rows run at once; None runs those of one call together.
        """
        self.model, self.tokenizer = model, tokenizer
        self._batch_size = batch_size

    def continue_embeddings(
        self,
        prompts: Sequence[Tensor],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> list[Generation]:
        """Continue every prompt; one that stands in several places is prefilled once.

        Raises:
            PromptTooLongError: When a prompt leaves no room in the model's context.
            ValueError: On a wrong number of seeds, or logits that are not numbers.
        """
        return generate(
            self.model,
            prompts,
            sampling=sampling,
            seeds=seeds,
            decode=self._decode,
            stop_ids=stop_ids,
            batch_size=self._batch_size or max(len(prompts), 1),
        )

    def check(self) -> None:
        """Do nothing: a model that is in memory can be run."""

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
