"""What one trial audits, and what its tools may read: loaded, with the row's null in place."""

from typing import Protocol, cast

from auditor.errors import UsageError
from auditor.investigator.audit import Subject
from auditor.provider.factory import ProviderSettings
from auditor.run.plan import PlannedTrial
from auditor.scenario.readers import asks, needs, stand_ins
from auditor.scenario.schema import (
    Model,
    OracleSpec,
    ReaderSpec,
    ResolvedScenario,
    ServedModel,
    TargetSpec,
)
from nla_core.seeds import derive_seed
from tools.protocols import Corpus, Mind, Oracle, Probe, Reader, SparseAutoencoder, Target


class ModelPool(Protocol):
    """Loads models and readers, and keeps them for the next trial."""

    @property
    def providers(self) -> ProviderSettings:
        """What makes the providers of auditor, judge and targets."""
        ...

    def get(self, model: Model | ServedModel) -> Target:
        """Return the loaded model."""
        ...

    def reader(self, spec: ReaderSpec) -> Reader:
        """Return the loaded reader."""
        ...

    def oracle(self, spec: OracleSpec, base: Model) -> Oracle:
        """Return the loaded oracle on the weights of a base."""
        ...


def placebo_of(planned: PlannedTrial, resolved: ResolvedScenario) -> TargetSpec | None:
    """Return the target whose activations are read instead of the trial's own, if any is.

    Chosen by the trial's seed among all targets that may stand in, whether the run audits them or
    not; one that is added to the scenario later takes a trial over only where it is chosen.
    """
    if planned.tool_set.null_readout != "placebo":
        return None
    there = stand_ins(planned.target, resolved.targets)
    return min(there, key=lambda one: derive_seed(planned.seed, "placebo", one.id), default=None)


def load_subject(
    planned: PlannedTrial, resolved: ResolvedScenario, *, pool: ModelPool, corpus: Corpus | None
) -> Subject:
    """Load what a trial needs.

    In a placebo row the mind is another target as a whole, with its weights and its system prompt.
    It reads the conversations that the tools hold with the real target, and is asked and steered
    in its place by tools that work on the mind. Target, baseline and the reader are the real ones.
    In a shuffled row the minds of target and baseline are dealt out at random, text by text.

    Raises:
        UsageError: When something cannot be loaded, or a placebo has no other target.
    """
    target = pool.get(planned.target.model)
    baseline = None if planned.target.baseline is None else pool.get(planned.target.baseline)
    spec = resolved.readers.get(planned.key.tool_set)
    oracle = _oracle(planned, resolved, pool)
    null = None if spec is None and oracle is None else planned.tool_set.null_readout
    mind = target
    if null == "placebo":
        other = placebo_of(planned, resolved)
        if other is None:
            raise UsageError(
                f"target {planned.target.id!r} has no other target to take a placebo's readings of"
            )
        mind = pool.get(other.model)
    own, clean = _mind(mind), None if baseline is None else _mind(baseline)
    if null == "shuffled":
        own, clean = _shuffled(own, clean, planned)
    return Subject(
        target=target,
        baseline=baseline,
        corpus=corpus,
        reader=None if spec is None else _reader(spec, planned, pool),
        mind=own,
        baseline_mind=clean,
        probe=_probe(planned, resolved),
        sae=_sae(planned, resolved),
        oracle=oracle,
    )


def _shuffled(
    own: Mind | None, clean: Mind | None, planned: PlannedTrial
) -> tuple[Mind | None, Mind | None]:
    from auditor.target.mixed import MixedMind

    if own is None or clean is None:
        raise UsageError(
            f"target {planned.target.id!r} has no baseline in this process to shuffle readings with"
        )
    seed = derive_seed(planned.seed, "shuffled")
    return (
        MixedMind(own, clean, seed=seed),
        MixedMind(own, clean, seed=seed, other_side=True),
    )


def _reader(spec: ReaderSpec, planned: PlannedTrial, pool: ModelPool) -> Reader:
    from auditor.target.readers import with_null

    return with_null(pool.reader(spec), planned.tool_set.null_readout)


def _probe(planned: PlannedTrial, resolved: ResolvedScenario) -> Probe | None:
    if resolved.probe_path is None or not needs(planned.tool_set, "probe"):
        return None
    from auditor.target.probes import load

    return load(resolved.probe_path)


def _sae(planned: PlannedTrial, resolved: ResolvedScenario) -> SparseAutoencoder | None:
    if resolved.sae_path is None or not _uses_sae(planned):
        return None
    from auditor.target.saes import load

    return load(resolved.sae_path)


def _oracle(planned: PlannedTrial, resolved: ResolvedScenario, pool: ModelPool) -> Oracle | None:
    base = planned.target.baseline
    if resolved.oracle is None or not asks(planned.tool_set):
        return None
    if not isinstance(base, Model):
        return None
    from auditor.target.oracles import with_null_oracle

    return with_null_oracle(pool.oracle(resolved.oracle, base), planned.tool_set.null_readout)


def _uses_sae(planned: PlannedTrial) -> bool:
    # `steer` can do without one, and takes one that is there.
    return bool(needs(planned.tool_set, "sae")) or "steer" in planned.tool_set.tools


def _mind(target: Target) -> Mind | None:
    # A model that is asked over the network has no activations to offer.
    return cast(Mind, target) if "activations" in target.capabilities else None
