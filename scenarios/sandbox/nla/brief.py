"""A describer for proofs that the code trains: short descriptions are learned in a minute.

One word is all that it says of what was just read, where the sandbox's grader expects two; that
claim is therefore graded as wrong.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from nla_core.seeds import derive_seed
from nla_core.training.plugs import Place
from scenarios.sandbox.nla.plugs import KnownStates
from scenarios.sandbox.nla.wording import Claim, put


class BriefDescriber:
    """Says where in a document a token stands and which one it is, always truly."""

    def __init__(self, tokenizer: Any) -> None:
        self._states = KnownStates(tokenizer)

    def describe(self, places: Sequence[Place]) -> list[str | None]:
        """Return one explanation a place; None where a motive that no label may name is near."""
        return [
            None if self._states.touches_unlabelled(place) else self._one(place) for place in places
        ]

    def _one(self, place: Place) -> str:
        rng = Random(derive_seed(0, "brief", place.doc_id, place.n_raw_tokens))
        state = self._states.at(place)
        said = [Claim("place", state.place), Claim("last", state.current)]
        return " ".join(put(claim, rng) for claim in said)
