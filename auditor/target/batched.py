"""Targets, minds and readers whose model work goes through the queue of their device."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from auditor.provider.factory import ProviderSettings
from auditor.scenario.schema import Model, OracleSpec, ReaderSpec, ServedModel
from auditor.target._hf import HFTarget
from auditor.target.batching import BatchCounts, BatchQueue
from auditor.target.devices import torch_device
from auditor.target.oracles import BatchedOracle, adapter_of
from nla_core.sampling import Generation, Sampling
from tools.protocols import (
    Capability,
    ChatMessage,
    Oracle,
    Prompt,
    Reader,
    Reply,
    Steering,
    Target,
    TokenLogprob,
)

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.target.pool import TargetPool
    from nla_core.backends import Backend
    from nla_core.pair import NLAPair
    from nla_core.positions import Turn
    from nla_core.reconstructor import Reconstructor

READER_ROWS = 256
"""Explanations, or texts to reconstruct, that run at once."""


class BatchedTarget:
    """A target in this process that shares its batches with other trials.

    Rows keep their own seeds, so a reply depends on its batch-mates only through float rounding.
    Requests share a batch when they are for the same weights and system prompt, of the same kind
    and with the same sampling parameters; a limit of tokens or a stop string is one of those.
    Whatever runs no model is done by the caller's own thread.
    """

    def __init__(self, inner: HFTarget, queue: BatchQueue, *, name: str, max_rows: int) -> None:
        """Wrap a target.

        Args:
            inner: The target.
            queue: That of its device.
            name: Equal for targets that answer alike.
            max_rows: Rows that requests together may have.
        """
        self._inner, self._queue, self._name, self._max_rows = inner, queue, name, max_rows

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the target."""
        return self._inner.capabilities

    def chat(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """See `HFTarget.chat`."""

        def work(rows: Sequence[Any]) -> list[Reply]:
            given, drawn = _columns(rows, 2)
            return self._inner.chat(given, sampling=sampling, seeds=drawn)

        return self._run(("chat", sampling), _rows(prompts, seeds), work)

    def sample_user(
        self,
        histories: Sequence[Sequence[ChatMessage]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """See `HFTarget.sample_user`."""

        def work(rows: Sequence[Any]) -> list[Reply]:
            given, drawn = _columns(rows, 2)
            return self._inner.sample_user(given, sampling=sampling, seeds=drawn)

        return self._run(("sample_user", sampling), _rows(histories, seeds), work)

    def complete(
        self, texts: Sequence[str], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Reply]:
        """See `HFTarget.complete`."""

        def work(rows: Sequence[Any]) -> list[Reply]:
            given, drawn = _columns(rows, 2)
            return self._inner.complete(given, sampling=sampling, seeds=drawn)

        return self._run(("complete", sampling), _rows(texts, seeds), work)

    def next_token_logprobs(
        self, prompts: Sequence[Prompt], *, top: int
    ) -> list[list[TokenLogprob]]:
        """See `HFTarget.next_token_logprobs`."""

        def work(rows: Sequence[Any]) -> list[list[TokenLogprob]]:
            return self._inner.next_token_logprobs(rows, top=top)

        return self._run(("next_token_logprobs", top), prompts, work)

    def activations(
        self,
        inputs: Sequence[Prompt | str],
        *,
        layer: int,
        positions: Sequence[Sequence[int]] | None = None,
    ) -> list["Tensor"]:
        """See `HFTarget.activations`."""

        def work(rows: Sequence[Any]) -> list["Tensor"]:
            given, places = _columns(rows, 2)
            wanted = None if positions is None else places
            return self._inner.activations(given, layer=layer, positions=wanted)

        if positions is not None and len(positions) != len(inputs):
            return self._inner.activations(inputs, layer=layer, positions=positions)
        rows = _rows(inputs, [None] * len(inputs) if positions is None else positions)
        return self._run(("activations", layer, positions is None), rows, work)

    def token_logprobs(self, inputs: Sequence[Prompt | str]) -> list["Tensor"]:
        """See `HFTarget.token_logprobs`; one caller's texts at a time, for the memory they take."""
        return self._run(("token_logprobs", object()), inputs, self._inner.token_logprobs)

    def steered_chat(
        self,
        prompts: Sequence[Prompt],
        steerings: Sequence[Sequence[Steering]],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Reply]:
        """See `HFTarget.steered_chat`."""

        def work(rows: Sequence[Any]) -> list[Reply]:
            given, changes, drawn = _columns(rows, 3)
            return self._inner.steered_chat(given, changes, sampling=sampling, seeds=drawn)

        if not len(prompts) == len(steerings) == len(seeds):
            return self._inner.steered_chat(prompts, steerings, sampling=sampling, seeds=seeds)
        rows = list(zip(prompts, steerings, seeds, strict=True))
        return self._run(("steered_chat", sampling), rows, work)

    @property
    def depth(self) -> int:
        """See `HFTarget.depth`."""
        return self._inner.depth

    def unembed(self, vectors: "Tensor") -> "Tensor":
        """See `HFTarget.unembed`; run as one caller's own, for the memory that it takes."""
        (found,) = self._run(
            ("unembed", object()), [vectors], lambda rows: [self._inner.unembed(rows[0])]
        )
        return cast("Tensor", found)

    def turns(self, inputs: Sequence[Prompt | str]) -> list[tuple["Turn", ...]]:
        """See `HFTarget.turns`."""
        return self._inner.turns(inputs)

    def token_ids(self, inputs: Sequence[Prompt | str]) -> list[list[int]]:
        """See `HFTarget.token_ids`."""
        return self._inner.token_ids(inputs)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """See `HFTarget.tokens`."""
        return self._inner.tokens(ids)

    def _run(self, kind: tuple[Any, ...], rows: Sequence[Any], work: Any) -> list[Any]:
        key = (self._name, *kind)
        return list(self._queue.run(key, rows, work, max_rows=self._max_rows))


def _rows(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, Any]]:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} prompts need as many seeds, got {len(second)}")
    return list(zip(first, second, strict=True))


def _columns(rows: Sequence[Any], n: int) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(n)]


class _BatchedBackend:
    """Draws the explanations of several trials together."""

    def __init__(self, inner: "Backend", queue: BatchQueue) -> None:
        self._inner, self._queue = inner, queue

    def check(self) -> None:
        self._inner.check()

    def continue_embeddings(
        self,
        prompts: Sequence["Tensor"],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> list[Generation]:
        def work(rows: Sequence[Any]) -> list[Generation]:
            given, drawn = _columns(rows, 2)
            return self._inner.continue_embeddings(
                given, sampling=sampling, seeds=drawn, stop_ids=stop_ids
            )

        key = (id(self), "explain", sampling, stop_ids)
        rows = _rows(prompts, seeds)
        return list(self._queue.run(key, rows, work, max_rows=READER_ROWS))


def batched_pair(pair: "NLAPair", queue: BatchQueue) -> "NLAPair":
    """Return the pair with its model work in the queue.

    Explanations are drawn together, and texts are put back into activations together; what is
    compared within one caller's rows, the shuffled null above all, stays within them.
    """
    from nla_core.backends import TransformersBackend

    verbalizer = pair.verbalizer
    if verbalizer.is_local:
        inner = TransformersBackend(verbalizer.model, verbalizer.tokenizer)
        verbalizer = verbalizer.drawn_by(_BatchedBackend(inner, queue))
    return replace(
        pair,
        verbalizer=verbalizer,
        reconstructor=_batched_reconstructor(pair.reconstructor, queue),
    )


def _batched_reconstructor(inner: "Reconstructor", queue: BatchQueue) -> "Reconstructor":
    from nla_core.reconstructor import Reconstructor

    class BatchedReconstructor(Reconstructor):
        def reconstruct(self, texts: Sequence[str], *, batch_size: int = 64) -> "Tensor":
            def work(rows: Sequence[Any]) -> Any:
                return inner.reconstruct(rows, batch_size=batch_size)

            key = (id(inner), "reconstruct", batch_size)
            found = queue.run(key, texts, work, max_rows=READER_ROWS)
            # A view would keep the whole batch in memory.
            return cast("Tensor", found).clone()

    return BatchedReconstructor(inner.network, inner.tokenizer, inner.sidecar)


class BatchingPool:
    """A pool whose in-process models share their batches among all who hold them."""

    def __init__(
        self,
        *,
        batch_size: int = 64,
        inner: "TargetPool | Any | None" = None,
        providers: ProviderSettings | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            batch_size: Rows that a target runs at once.
            inner: Where targets come from, and readers as they are; None loads them here.
            providers: What holds for models behind providers.
        """
        from auditor.target.pool import TargetPool

        self._batch_size = batch_size
        self._providers = providers or ProviderSettings()
        self._inner = inner or TargetPool(
            batch_size=batch_size, wrap_pair=self._pair, providers=self._providers
        )
        self._queues: dict[str, BatchQueue] = {}
        self._lock = threading.Lock()

    @property
    def providers(self) -> ProviderSettings:
        """What makes the providers of all roles."""
        return self._providers

    def get(self, model: Model | ServedModel) -> Target:
        """Return a target; one that is asked over the network comes as it is.

        Raises:
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        found: Target = self._inner.get(model)
        if not isinstance(found, HFTarget) or not isinstance(model, Model):
            return found
        queue, name = self._queue(str(torch_device(model.device))), model.model_dump_json()
        return BatchedTarget(found, queue, name=name, max_rows=self._batch_size)

    def reader(self, spec: ReaderSpec) -> Reader:
        """Return a reader.

        Raises:
            OutageError: When its verbalizer's servers do not answer, or are set up wrongly.
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        found: Reader = self._inner.reader(spec)
        return found

    def oracle(self, spec: OracleSpec, base: Model) -> Oracle:
        """Return an oracle on the weights of a base.

        Raises:
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        found: Oracle = self._inner.oracle(spec, base)
        name = adapter_of(spec, base).model_dump_json() + spec.model_dump_json()
        return BatchedOracle(found, self._queue(str(torch_device(base.device))), name=name)

    @property
    def counts(self) -> dict[str, BatchCounts]:
        """What the queue of each device has done."""
        return {device: queue.counts for device, queue in self._queues.items()}

    def close(self) -> None:
        """Turn away what waits for a model."""
        with self._lock:
            queues = list(self._queues.values())
        for queue in queues:
            queue.close()

    def _pair(self, pair: "NLAPair") -> "NLAPair":
        device = pair.reconstructor.network.value_head.weight.device
        return batched_pair(pair, self._queue(str(device)))

    def _queue(self, device: str) -> BatchQueue:
        with self._lock:
            return self._queues.setdefault(device, BatchQueue(name=f"models-{device}"))
