"""Readers in memory: each pair of verbalizer and reconstructor once, however many trials read."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from auditor.errors import OutageError, UsageError
from auditor.scenario.schema import NullReadout, PairSpec, ReaderSpec
from auditor.target.devices import torch_device
from auditor.target.reader_preflight import preflight_reader
from auditor.target.servers import server_backend
from tools.protocols import Reader

if TYPE_CHECKING:
    from nla_core.nulls import PairReader
    from nla_core.pair import NLAPair


class ReaderPool:
    """Loads readers, and keeps their weights for the next trial."""

    def __init__(self, wrap: "Callable[[NLAPair], NLAPair] | None" = None) -> None:
        """Make an empty pool.

        Args:
            wrap: What every pair passes through once it is loaded.
        """
        self._wrap = wrap
        self._pairs: dict[tuple[Any, ...], NLAPair] = {}
        self._readers: dict[str, PairReader] = {}
        self._lock = threading.RLock()

    def get(self, spec: ReaderSpec) -> "PairReader":
        """Return the reader of a description, with the weights of all its pairs in memory.

        Raises:
            OutageError: When its verbalizer's servers do not answer, or are set up wrongly.
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        name = spec.model_dump_json()
        with self._lock, _explained():
            if name not in self._readers:
                self._readers[name] = self._open(spec)
            return self._readers[name]

    def _open(self, spec: ReaderSpec) -> "PairReader":
        from nla_core.nulls import PairReader
        from nla_core.pair import PairSet

        mistakes = preflight_reader(spec)
        if mistakes:
            raise UsageError("\n".join(dict.fromkeys(flaw.what for flaw in mistakes)))
        pairs = _by_layer(spec)
        # Checks the sidecars against each other, those from the hub among them.
        PairSet.load({layer: (pair.av, pair.ar) for layer, pair in pairs.items()})
        opened = PairSet(
            {
                layer: partial(self._pair, layer, pair, spec.dtype, spec.device)
                for layer, pair in pairs.items()
            }
        )
        for layer in opened.layers:
            # Now, since loading inside a tool call would be paid from the trial's seconds.
            opened.for_layer(layer)
        return PairReader(opened, max_tokens=spec.max_tokens)

    def _pair(self, layer: int, pair: PairSpec, dtype: str, device: str) -> "NLAPair":
        import torch
        import transformers

        from nla_core.pair import load_pair

        transformers.utils.logging.disable_progress_bar()
        place = torch_device(device)
        key = (pair, dtype, str(place))
        if key not in self._pairs:
            precision = None if dtype == "auto" else getattr(torch, dtype)
            loaded = load_pair(
                pair.av, pair.ar, dtype=precision, device=place, backend=server_backend(pair)
            )
            self._pairs[key] = loaded if self._wrap is None else self._wrap(loaded)
        found = self._pairs[key]
        if found.layer != layer:
            raise UsageError(f"{pair.ar} is for layer {found.layer}, it was given for {layer}")
        return found


def with_null(reader: Reader, null: NullReadout | None) -> Reader:
    """Return what a row reads with: the reader, or what takes its place.

    A placebo and shuffled minds are read with the reader itself: the minds are other ones.
    """
    from nla_core.nulls import RandomVectorReader, TextOnlyReader

    match null:
        case "random_vectors":
            return RandomVectorReader(reader)
        case "text_only":
            return TextOnlyReader(reader)
        case _:
            return reader


def _by_layer(spec: ReaderSpec) -> dict[int, PairSpec]:
    """Return the pairs by layer; that of a lone pair is what its reconstructor says."""
    from nla_core import arch, checkpoint
    from nla_core.sidecar import read_sidecar

    if spec.pairs:
        return dict(spec.pairs)
    if spec.av is None or spec.ar is None:
        raise UsageError("a reader needs `av` and `ar`, or `pairs`")
    folder = checkpoint.resolve_folder(spec.ar)
    layer = read_sidecar(folder).reconstructor_layer(arch.n_blocks(checkpoint.load_config(folder)))
    return {layer: PairSpec(av=spec.av, ar=spec.ar, servers=spec.servers)}


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever a loader raises into one line for the operator; servers do so themselves."""
    from nla_core.pair_checks import PairWarning

    try:
        with warnings.catch_warnings():
            # One model has many names, and the widths and layers were compared.
            warnings.simplefilter("ignore", PairWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (UsageError, OutageError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[0] if lines else type(error).__name__
        raise UsageError(f"cannot load a reader: {cause}") from error
