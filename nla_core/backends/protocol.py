"""What a verbalizer needs from whatever runs its model."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from nla_core.sampling import Generation, Sampling


class BackendError(RuntimeError):
    """A backend cannot do its work; one line that says which, what it said and what to do."""


class BackendUnavailableError(BackendError):
    """A server does not answer, or not with sense; another one might answer the same request."""


class BackendClosedError(BackendError):
    """A server turns away whatever it is asked: a key is wrong, or it is no such server."""


class Backend(Protocol):
    """Continues prompts that are given as embeddings."""

    def continue_embeddings(
        self,
        prompts: Sequence[Tensor],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> list[Generation]:
        """Continue every prompt.

        Args:
            prompts: Each `[token, d_model]`, float32, as it enters the first block (after any
                embedding multiplier). The same object may stand in several places.
            sampling: How to draw.
            seeds: One in `[0, 2**63)` per prompt.
            stop_ids: Tokens that end a row; they are not part of the result.

        Returns:
            One generation per prompt, in order, special tokens kept in the text.

        Raises:
            BackendError: When a server cannot be reached, refuses or answers nonsense.
            ValueError: On a wrong number of seeds.
        """
        ...

    def check(self) -> None:
        """Refuse before any work what the backend would fail at.

        Raises:
            BackendError: Saying what is wrong and what to do.
        """
        ...
