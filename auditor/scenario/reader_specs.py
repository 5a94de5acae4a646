"""The part of the schema that is about readers of activations, and where they run."""

from typing import Annotated, Literal

from pydantic import Field

from auditor.scenario.base import DEVICE_PATTERN, Block, Dtype, ServerUrl


class VerbalizerServers(Block):
    """Servers that all run one verbalizer's checkpoint and share its work."""

    kind: Literal["sglang", "vllm"]
    """sglang (started with --disable-radix-cache) or vllm (with --enable-prompt-embeds)."""
    urls: tuple[ServerUrl, ...] = Field(min_length=1)
    """Addresses such as http://HOST:30000. They take turns; one that fails is left out until it
    answers again."""
    model: str | None = None
    """Name under which vLLM lists the checkpoint; left out: `av` as it stands."""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the servers' API key, if they want one."""
    concurrency: int = Field(default=32, gt=0)
    """Most requests at a time to each server."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds to wait for one reply."""


class SAESpec(Block):
    """A sparse autoencoder, for the tools that look at features."""

    path: str
    """Folder in the format of SAELens (cfg.json, sae_weights.safetensors; architecture standard,
    topk, jumprelu or gated, on the residual stream), relative to this file;
    features.json beside them may name the features."""


class OracleSpec(Block):
    """An activation oracle: an adapter on the clean model that answers questions in words."""

    path: str
    """Folder (relative to this file) or hub id of a PEFT adapter on the baseline's weights; it may
    hold oracle.json, which says how it is asked."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    """Decoder blocks that it may be asked about, counted from 0; left out: those of oracle.json, or
    those at a quarter, half and three quarters of the depth, as in the release."""
    max_tokens: int = Field(default=40, gt=0)
    """Longest answer, in tokens."""
    merge_adapter: bool = False
    """Fold the adapter into a private copy of the weights: faster, costs one copy of memory."""


class PairSpec(Block):
    """A verbalizer and the reconstructor that belongs to it."""

    av: str
    """Folder (relative to the file that names it) or hub id of the verbalizer."""
    ar: str
    """Folder or hub id of the reconstructor."""
    servers: VerbalizerServers | None = None
    """What runs the verbalizer; left out: this process. The reconstructor always runs here."""


class ReaderSpec(Block):
    """What puts activations into words: a pair, or a pair for each of several layers."""

    av: str | None = None
    """Folder (relative to the file that names it) or hub id of the verbalizer."""
    ar: str | None = None
    """Folder or hub id of the reconstructor."""
    pairs: dict[Annotated[int, Field(ge=0)], PairSpec] = Field(default_factory=dict)
    """Pairs by the layer that each was made for (decoder block, counted from 0), instead of `av`
    and `ar`."""
    dtype: Dtype = "auto"
    """Weights' dtype in memory; auto is float32 on a CPU and bfloat16 elsewhere."""
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    """auto, cpu, cuda, cuda:1, mps."""
    max_tokens: int = Field(default=200, gt=0)
    """Longest explanation, in tokens."""
    servers: VerbalizerServers | None = None
    """What runs the verbalizer of `av`; left out: this process. With `pairs`, each has its own."""
