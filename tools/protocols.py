"""What a tool may ask of the harness: a target, its baseline, a corpus, a place in the transcript.

These are protocols, so that tools never import the harness; `auditor/` implements them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from nla_core.sampling import FinishReason, Sampling
from tools.instruments import Oracle as Oracle
from tools.instruments import Probe as Probe
from tools.instruments import Reader as Reader
from tools.instruments import SparseAutoencoder as SparseAutoencoder
from tools.instruments import Writer as Writer

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.positions import Turn

MESSAGE_LIMIT = 20_000
"""Most characters of one text that is sent to a model."""
Role = Literal["system", "user", "assistant"]
Capability = Literal["chat", "prefill", "sample_user", "complete", "logprobs", "activations"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation with the target."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that ends in a user turn, and the text that the reply must begin with."""

    messages: tuple[ChatMessage, ...]
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said."""

    text: str
    """The generated text alone, without the prefill."""
    prefill: str
    """What the caller put into the model's mouth; never the model's own words."""
    n_tokens: int
    """Tokens generated."""
    finish: FinishReason
    dollars: float | None = 0.0
    """What it cost at the model's provider; 0 when it was made here or kept from an earlier run,
    None when not known."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One candidate next token."""

    token: str
    token_id: int
    logprob: float


@runtime_checkable
class Target(Protocol):
    """A model that can be questioned; the baseline is one too.

    Every method takes a batch. `seeds` gives one seed per row, and a row's sample depends on its
    own seed and prompt alone, not on its batch-mates.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do; a tool that needs more is refused when the run is loaded."""
        ...

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Sample the assistant's reply to each conversation."""
        ...

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Sample the next *user* turn of each conversation, which may be empty."""
        ...

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """Continue raw text, without a chat template."""
        ...

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        """Log-probabilities (nats) of the `top` likeliest first tokens of each reply."""
        ...


@dataclass(frozen=True, slots=True)
class Steering:
    """A change of the residual stream while a reply is written."""

    layer: int
    """0-based decoder block whose output is changed."""
    vector: "Tensor"
    """`[d_model]`, added after it was multiplied by `strength`."""
    strength: float = 1.0
    where: Literal["prompt", "reply", "all"] = "all"
    """Which tokens are changed: those of the conversation, those of the reply, or both."""


@runtime_checkable
class Mind(Protocol):
    """A model in this process whose residual stream can be read and changed.

    Inputs are conversations (a prefill stands for the reply's beginning) or raw texts.
    """

    @property
    def depth(self) -> int:
        """Number of decoder blocks."""
        ...

    def token_ids(self, inputs: Sequence[Prompt | str]) -> list[list[int]]:
        """Return the token ids that the model sees for each input."""
        ...

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Spell single tokens, leading spaces kept."""
        ...

    def turns(self, inputs: Sequence[Prompt | str]) -> list[tuple["Turn", ...]]:
        """Return the turns of each conversation in token positions; none of a raw text.

        The last one is the assistant's, whose content is the prefill and may be empty.
        """
        ...

    def activations(
        self,
        inputs: Sequence[Prompt | str],
        *,
        layer: int,
        positions: Sequence[Sequence[int]] | None = None,
    ) -> list["Tensor"]:
        """Return the residual stream `[n_positions, d_model]`, float32, after block `layer`."""
        ...

    def token_logprobs(self, inputs: Sequence[Prompt | str]) -> list["Tensor"]:
        """Return `[token, vocab]` float32 log-probabilities (nats) of what follows each token."""
        ...

    def unembed(self, vectors: "Tensor") -> "Tensor":
        """Return `[n, vocab]` float32 log-probabilities (nats) of vectors `[n, d_model]`.

        Each is taken for what the last block puts out: final norm, then unembedding.
        """
        ...

    def steered_chat(
        self,
        prompts: Sequence[Prompt],
        steerings: Sequence[Sequence[Steering]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """Sample replies while the stream is changed, by its own steerings for each prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the corpus that the scenario makes public."""

    id: str
    text: str


class Corpus(Protocol):
    """Documents that anyone may search."""

    @property
    def documents(self) -> Sequence[Document]:
        """Every document, in a stable order."""
        ...

    def search(self, query: str, *, limit: int) -> list[tuple[Document, float]]:
        """Return the best documents for a query with their scores, best first."""
        ...

    def __len__(self) -> int: ...


@dataclass(slots=True)
class Usage:
    """What a tool call has spent so far; tools add to it, budgets read it."""

    target_tokens: int = 0
    """Tokens generated by the target."""
    baseline_tokens: int = 0
    """Tokens generated by the baseline."""
    reader_tokens: int = 0
    """Tokens generated by the verbalizer or the oracle."""
    dollars: float | None = None
    """What models cost at their providers, as far as it is known; None when none was paid for."""
    unpriced: bool = False
    """Whether some of what they cost is not known."""

    def pay(self, dollars: float | None) -> None:
        """Add what a provider was paid; None when that is not known."""
        if dollars is None:
            self.unpriced = True
        else:
            self.dollars = (self.dollars or 0.0) + dollars

    def add(self, other: "Usage") -> None:
        """Add another count to this one."""
        self.target_tokens += other.target_tokens
        self.baseline_tokens += other.baseline_tokens
        self.reader_tokens += other.reader_tokens
        if other.dollars is not None:
            self.pay(other.dollars)
        self.unpriced |= other.unpriced


def least(*limits: int | None) -> int | None:
    """Return the smallest of some limits, of which None is no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


@dataclass(slots=True, kw_only=True)
class ToolContext:
    """Everything that one tool call may touch."""

    target: Target
    baseline: Target | None
    corpus: Corpus | None
    seed: int
    """Seed of this call; derive row seeds from it with `nla_core.seeds.derive_seed`."""
    results: Mapping[str, "ToolOutput"] = field(default_factory=dict)
    """Whole outputs of earlier calls of this trial, by evidence id."""
    reader: Reader | None = None
    mind: Mind | None = None
    """The target's activations; in a null row, another model's."""
    baseline_mind: Mind | None = None
    probe: Probe | None = None
    sae: SparseAutoencoder | None = None
    oracle: Oracle | None = None
    writer: Writer | None = None
    """Writes inputs for the batch tools, and plays scenes; None: they use templates."""
    token_allowance: int | None = None
    """Target tokens still in the budget; a tool must not plan to generate more. None: no limit."""
    reader_tokens_left: int | None = None
    """Verbalizer tokens in the budget when the call began. None: no limit."""
    model_tokens_left: int | None = None
    """Target and verbalizer tokens together in the budget when the call began. None: no limit."""
    usage: Usage = field(default_factory=Usage)

    @property
    def reader_allowance(self) -> int | None:
        """Tokens that the verbalizer may still generate in this call. None: no limit.

        What the call has spent so far is taken off: the verbalizer's tokens, and those of the
        target too where one limit holds for both.
        """
        return self.reader_allowance_after(0)

    def reader_allowance_after(self, target_tokens: int) -> int | None:
        """Return what `reader_allowance` will be once the target has generated so many more."""
        own, shared = self.reader_tokens_left, self.model_tokens_left
        spent = self.usage.reader_tokens
        return least(
            None if own is None else max(0, own - spent),
            None
            if shared is None
            else max(0, shared - spent - self.usage.target_tokens - target_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """The whole result of a tool call; the harness stores it and shows it in pages."""

    summary: str
    """One line a person can read in a transcript."""
    items: tuple[dict[str, Any], ...]
    """JSON-able rows, in a stable order; `len(items)` is the true total."""


class ToolError(Exception):
    """A failed call whose message goes back to the auditor as the tool's result."""
