"""Activation oracles: whether the files of one can be used, and what takes its place in null rows.

Only local folders are inspected; what a hub id stands for shows when it is downloaded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.scenario.schema import Model, NullReadout, OracleSpec
from auditor.target.inspecting import Inspected
from auditor.target.preflight import adapter_mistakes, is_folder
from auditor.target.reader_preflight import stream_misfit
from nla_core.oracle_nulls import AroundOracle, RandomVectorOracle, TextOnlyOracle
from nla_core.oracle_record import OracleError, OracleRecord, read_oracle_record
from tools.protocols import Oracle

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.target.batching import BatchQueue
    from nla_core.oracle import OracleAnswer

_ROWS = 256
"""Segments that are asked about at once, over all trials."""


def preflight_oracle(spec: OracleSpec) -> Inspected[OracleRecord]:
    """Inspect the adapter's files and its record, loading no weights; nothing of one on the hub."""
    if not is_folder(spec.path):
        return Inspected(None, None)
    try:
        return Inspected(read_oracle_record(spec.path), None)
    except OracleError as error:
        return Inspected(None, str(error))


def oracle_misfit(spec: OracleSpec, record: OracleRecord | None, model: Model) -> str | None:
    """Say why an oracle cannot be asked about a model's activations; None: nothing against it.

    Layers and the shapes of the adapter are compared, of local folders alone.
    """
    layers = spec.layers or (None if record is None else record.layers) or ()
    problem = stream_misfit(model, width=None, layer=max(layers, default=None))
    if problem is None and is_folder(spec.path):
        problem = next(iter(adapter_mistakes(spec.path, model.path)), None)
    return problem


def adapter_of(spec: OracleSpec, base: Model) -> Model:
    """Return the model that answers: the base, without anything of its own, under the oracle."""
    return Model(
        path=str(Path(base.path).expanduser()) if is_folder(base.path) else base.path,
        revision=base.revision,
        dtype=base.dtype,
        device=base.device,
        adapter=spec.path,
        merge_adapter=spec.merge_adapter,
    )


def with_null_oracle(oracle: Oracle, null: NullReadout | None) -> Oracle:
    """Return what a row asks: the oracle, or what takes its place.

    For a placebo and shuffled minds it is the oracle itself: the minds are other ones.
    """
    match null:
        case "random_vectors":
            return RandomVectorOracle(oracle)
        case "text_only":
            return TextOnlyOracle(oracle)
        case _:
            return oracle


class BatchedOracle(AroundOracle):
    """An oracle whose questions go through the queue of its device, alike ones together."""

    def __init__(self, inner: Oracle, queue: "BatchQueue", *, name: str) -> None:
        """Wrap an oracle; `name` is equal for oracles that answer alike."""
        super().__init__(inner)
        self._queue, self._name = queue, name

    def answer(
        self,
        segments: "Sequence[Tensor]",
        question: str,
        *,
        layer: int,
        samples: int,
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> "list[OracleAnswer]":
        """See `nla_core.oracle.ActivationOracle.answer`."""

        def work(rows: Sequence[Any]) -> "list[list[OracleAnswer]]":
            vectors, drawn, before = zip(*rows, strict=True) if rows else ((), (), ())
            said = self._inner.answer(
                vectors, question, layer=layer, samples=samples, temperature=temperature,
                top_p=top_p, seeds=drawn, contexts=before,
            )  # fmt: skip
            return [said[at : at + samples] for at in range(0, len(said), samples)]

        key = (self._name, "oracle", question, layer, samples, temperature, top_p)
        rows = list(zip(segments, seeds, contexts, strict=True))
        found = self._queue.run(key, rows, work, max_rows=_ROWS)
        return [
            replace(one, segment=number) for number, answers in enumerate(found) for one in answers
        ]
