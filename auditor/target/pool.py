"""Models in memory: each base once, adapters and merged copies on top of it while there is room.

Readers of activations are kept beside them, each of their pairs once.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from auditor.errors import UsageError
from auditor.provider.factory import ProviderSettings
from auditor.scenario.schema import Model, OracleSpec, ReaderSpec, ServedModel
from auditor.target._hf import HFTarget
from auditor.target.devices import torch_device
from auditor.target.oracles import adapter_of
from auditor.target.preflight import is_folder, preflight_model
from auditor.target.readers import ReaderPool
from auditor.target.served import ServedTarget
from auditor.target.template import ChatTemplate
from tools.protocols import Oracle, Reader

if TYPE_CHECKING:
    from nla_core.pair import NLAPair

_Key = tuple[str, str | None, str, str]
_ROOM = 256 << 20
"""Bytes that adapters, or merged copies, may take in any case."""


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter in memory."""

    name: str
    """Inside `peft`."""
    n_bytes: int


@dataclass(slots=True)
class _Loaded:
    """A model with its tokenizer; `peft` wraps `model` once an adapter sits on it."""

    model: Any
    tokenizer: Any
    template: ChatTemplate
    lock: threading.RLock = field(default_factory=threading.RLock)
    peft: Any = None
    room: int = 0
    """Bytes that adapters may take."""
    adapters: OrderedDict[str, _Adapter] = field(default_factory=OrderedDict)
    """Those in memory by path, least recently used first."""
    folders: dict[str, str] = field(default_factory=dict)
    """Where adapters lie that were loaded once, by path."""
    n_attached: int = 0
    """How often an adapter was loaded."""

    @contextmanager
    def session(self, adapter: str | None) -> Iterator[Any]:
        """Give the model to one caller, with one adapter active or none."""
        with self.lock:
            if adapter is None and self.peft is None:
                yield self.model
            elif adapter is None:
                with self.peft.disable_adapter():
                    yield self.peft
            else:
                _activate(self, adapter)
                yield self.peft


class TargetPool:
    """Loads targets and readers; every base is in memory once, however many stand on it."""

    def __init__(
        self,
        *,
        merged_bytes: int = _ROOM,
        adapter_bytes: int | None = None,
        batch_size: int = 64,
        providers: ProviderSettings | None = None,
        wrap_pair: "Callable[[NLAPair], NLAPair] | None" = None,
    ) -> None:
        """Make an empty pool.

        Args:
            merged_bytes: Memory that merged copies may take; the least recently used go first,
                the newest always stays.
            adapter_bytes: Memory that the adapters on one base may take, likewise; one that left is
                read again when its target is used. None: a quarter of the base, and 256 MiB at
                least.
            batch_size: Rows that a target runs at once.
            providers: What holds for models behind providers.
            wrap_pair: What every pair of a reader passes through once it is loaded.
        """
        self._merged_bytes, self._adapter_bytes = merged_bytes, adapter_bytes
        self._batch_size = batch_size
        self._providers = providers or ProviderSettings()
        self._bases: dict[_Key, _Loaded] = {}
        self._merged: OrderedDict[tuple[_Key, str], _Loaded] = OrderedDict()
        self._readers = ReaderPool(wrap_pair)
        self._lock = threading.RLock()

    @property
    def providers(self) -> ProviderSettings:
        """What makes the providers of all roles."""
        return self._providers

    @overload
    def get(self, model: Model) -> HFTarget: ...

    @overload
    def get(self, model: ServedModel) -> ServedTarget: ...

    @overload
    def get(self, model: Model | ServedModel) -> HFTarget | ServedTarget: ...

    def get(self, model: Model | ServedModel) -> HFTarget | ServedTarget:
        """Return a target for a model, loading what is not in memory yet.

        Raises:
            UsageError: When it cannot be loaded or asked; the message names the cause.
        """
        if isinstance(model, ServedModel):
            return ServedTarget(model, settings=self._providers)
        mistakes = preflight_model(model)
        if mistakes:
            raise UsageError("\n".join(mistakes))
        with self._lock:
            loaded, adapter = self._place(model)
        return HFTarget(
            loaded.tokenizer,
            loaded.template,
            partial(loaded.session, adapter),
            system_prompt=model.system_prompt,
            batch_size=self._batch_size,
        )

    def reader(self, spec: ReaderSpec) -> Reader:
        """Return a reader, loading those of its pairs that are not in memory yet.

        Raises:
            OutageError: When its verbalizer's servers do not answer, or are set up wrongly.
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        return self._readers.get(spec)

    def oracle(self, spec: OracleSpec, base: Model) -> Oracle:
        """Return an oracle on the weights of a base, loading what is not in memory yet.

        Raises:
            UsageError: When it cannot be loaded; the message names the path and the cause.
        """
        from nla_core.oracle import ActivationOracle
        from nla_core.oracle_record import read_oracle_record

        model = adapter_of(spec, base)
        mistakes = preflight_model(model)
        if mistakes:
            raise UsageError("\n".join(mistakes))
        with self._lock:
            loaded, adapter = self._place(model)
        with _explained("oracle", spec.path):
            return ActivationOracle(
                loaded.tokenizer,
                partial(loaded.session, adapter),
                read_oracle_record(_adapter_folder(spec.path)),
                layers=spec.layers,
                max_tokens=spec.max_tokens,
            )

    def _place(self, model: Model) -> tuple[_Loaded, str | None]:
        """Return what holds the model's weights, and the adapter to activate on it."""
        if model.adapter is None:
            return self._base(model), None
        if model.merge_adapter:
            return self._merge(model, model.adapter), None
        base = self._base(model)
        with base.session(model.adapter):
            return base, model.adapter

    def _base(self, model: Model) -> _Loaded:
        key = _key(model)
        if key not in self._bases:
            self._bases[key] = loaded = _load(model)
            quarter = max(_ROOM, int(loaded.model.get_memory_footprint()) // 4)
            loaded.room = quarter if self._adapter_bytes is None else self._adapter_bytes
        return self._bases[key]

    def _merge(self, model: Model, adapter: str) -> _Loaded:
        key = (_key(model), adapter)
        if key not in self._merged:
            self._merged[key] = _merged_copy(self._base(model), model, adapter)
            while len(self._merged) > 1 and self._bytes_of_merged() > self._merged_bytes:
                self._merged.popitem(last=False)
        self._merged.move_to_end(key)
        return self._merged[key]

    def _bytes_of_merged(self) -> int:
        return sum(int(entry.model.get_memory_footprint()) for entry in self._merged.values())


def _key(model: Model) -> _Key:
    return model.path, model.revision, model.dtype, model.device


@contextmanager
def _explained(what: str, path: str) -> Iterator[None]:
    """Turn whatever a loader raises into one line for the operator."""
    try:
        with warnings.catch_warnings():
            # Libraries warn here of each other's deprecations, which an operator cannot mend.
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except UsageError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[0] if lines else type(error).__name__
        # A mistyped folder looks like an id on the hub.
        taken = "" if is_folder(path) else " (no folder here, so taken for a hub id)"
        raise UsageError(f"cannot load {what} {path}{taken}: {cause}") from error


def _load(model: Model) -> _Loaded:
    import transformers

    with _explained("model", model.path):
        weights = _load_weights(model)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            _local(model.path), revision=model.revision, trust_remote_code=False
        )
        return _Loaded(weights, tokenizer, ChatTemplate(tokenizer, model.path))


def _load_weights(model: Model) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    weights, report = transformers.AutoModelForCausalLM.from_pretrained(
        _local(model.path),
        revision=model.revision,
        dtype=model.dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise UsageError(
            f"cannot load model {model.path}: its weights lack {len(missing)} tensors, "
            f"{missing[0]} among them; fetch it again"
        )
    return weights.to(torch_device(model.device)).eval().requires_grad_(False)


def _local(path: str) -> str:
    return str(Path(path).expanduser()) if is_folder(path) else path


def _activate(base: _Loaded, adapter: str) -> None:
    """Make an adapter the active one, loading it when it is not in memory.

    Whoever calls holds the base's lock, so no pass runs that needs one of those that leave.
    """
    if adapter not in base.adapters:
        _attach(base, adapter)
    base.adapters.move_to_end(adapter)
    name = base.adapters[adapter].name
    if base.peft.active_adapter != name:
        base.peft.set_adapter(name)
    while len(base.adapters) > 1 and sum(a.n_bytes for a in base.adapters.values()) > base.room:
        _, oldest = base.adapters.popitem(last=False)
        base.peft.delete_adapter(oldest.name)


def _attach(base: _Loaded, adapter: str) -> None:
    from peft import PeftModel

    base.n_attached += 1
    name = f"adapter_{base.n_attached}"
    with _explained("adapter", adapter):
        # Found once: what a hub id stands for must not change while a target is audited.
        folder = base.folders.get(adapter) or _adapter_folder(adapter)
        if base.peft is None:
            base.peft = PeftModel.from_pretrained(base.model, folder, adapter_name=name)
        else:
            base.peft.load_adapter(folder, adapter_name=name)
        base.peft.eval().requires_grad_(False)
    base.folders[adapter] = folder
    base.adapters[adapter] = _Adapter(name, _bytes_of(base.peft, name))


def _bytes_of(peft: Any, name: str) -> int:
    tensors = (tensor for path, tensor in peft.named_parameters() if name in path.split("."))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _merged_copy(base: _Loaded, model: Model, adapter: str) -> _Loaded:
    import copy

    from peft import PeftModel

    with base.lock:
        # Adapters change a base's modules in place, so a base that carries some is read again.
        clean = copy.deepcopy(base.model) if base.peft is None else _load_weights(model)
    with _explained("adapter", adapter):
        tuned = PeftModel.from_pretrained(clean, _adapter_folder(adapter))
        merged = tuned.merge_and_unload(safe_merge=True).eval().requires_grad_(False)
    return _Loaded(merged, base.tokenizer, base.template)


def _adapter_folder(adapter: str) -> str:
    """Return a local folder that holds the adapter, fetched without any pickles."""
    if is_folder(adapter):
        return _local(adapter)
    from huggingface_hub import snapshot_download

    wanted = ["adapter_config.json", "adapter_model.safetensors"]
    folder: str = snapshot_download(adapter, allow_patterns=[*wanted, "oracle.json"])
    if not (Path(folder) / wanted[1]).is_file():
        raise UsageError(f"adapter {adapter} has no adapter_model.safetensors; pickles are refused")
    return folder
