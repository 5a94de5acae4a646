"""What tools may work with beside models: a reader, a probe, an autoencoder, an oracle, a writer.

These are protocols, so that tools never import the harness; `auditor/` implements them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nla_core.oracle import Oracle as Oracle

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.pair import Reading
    from nla_core.sae import FeatureNotes


class Reader(Protocol):
    """Puts activations into words, and words back into activations.

    A row of the table may get a null in its place (readings of other activations, say); tools and
    auditor cannot tell.
    """

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder blocks that it was made for, ascending."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens that one explanation costs; 0 when none is generated."""
        ...

    def read(
        self,
        activations: "Tensor",
        *,
        layer: int,
        samples: int,
        temperature: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list["Reading"]:
        """Explain activations.

        Args:
            activations: `[n, d_model]`, raw, from block `layer`.
            layer: Where they come from; another one than the reader's is read off-layer.
            samples: Explanations of each.
            temperature: Of the verbalizer; 0 is greedy.
            seeds: One per activation.
            contexts: The text that each was read from, its last token included.

        Returns:
            `n * samples` readings, those of one activation side by side.
        """
        ...

    def reconstruct(self, texts: Sequence[str], *, layer: int) -> "Tensor":
        """Return the directions `[n, d_model]` that explanations stand for."""
        ...


class Probe(Protocol):
    """Puts activations into the classes of a closed list, see `nla_core.probe`."""

    @property
    def layer(self) -> int:
        """Decoder block (0-based) whose output is classified."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in plain words."""
        ...

    def probabilities(self, activations: "Tensor") -> "Tensor":
        """Return `[n, classes]` float32 probabilities of raw activations `[n, d_model]`.

        Raises:
            ValueError: When the activations are of another width.
        """
        ...


class SparseAutoencoder(Protocol):
    """Takes activations apart into sparse features, see `nla_core.sae`."""

    @property
    def layer(self) -> int:
        """Decoder block (0-based) whose output it was trained on."""
        ...

    @property
    def n_features(self) -> int:
        """How many features there are."""
        ...

    @property
    def directions(self) -> "Tensor":
        """`[n_features, d_model]` float32: what each feature writes."""
        ...

    def encode(self, activations: "Tensor") -> "Tensor":
        """Return `[n, n_features]` float32 feature activations, 0 or more, of `[n, d_model]`.

        Raises:
            ValueError: When the activations are of another width.
        """
        ...

    def reconstruct(self, activations: "Tensor") -> "Tensor":
        """Return what is left of activations `[n, d_model]` after encoding and decoding."""
        ...

    def notes(self, feature: int) -> "FeatureNotes":
        """Return what is known of a feature."""
        ...


class Writer(Protocol):
    """An auxiliary model that writes inputs for the target; it is told nothing of the truth.

    A tool may ask it for several things at the same time.
    """

    @property
    def name(self) -> str:
        """What it is, for results."""
        ...

    def write(self, instructions: str, *, fields: Sequence[str], n: int, seed: int) -> "Written":
        """Write inputs.

        Args:
            instructions: What to write, in words.
            fields: Names of the texts that make up one input.
            n: How many inputs.
            seed: Of this request.

        Returns:
            What it wrote, which may be fewer than `n`; texts it gave none for are "".

        Raises:
            ToolError: When it could write nothing; the message says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What an auxiliary model wrote."""

    inputs: tuple[dict[str, str], ...]
    dollars: float | None = None
    """What it cost at the provider; None when not known."""
