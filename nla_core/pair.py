"""A verbalizer and the reconstructor that belongs to it, and pairs for several layers.

A reading is one explanation with what it is worth: the round trip through the reconstructor beside
its nulls. Nothing else should be shown to anybody as an explanation.
"""

import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from nla_core import arch, checkpoint
from nla_core.backends import Backend
from nla_core.baseline_file import BASELINE_FILE, load_baseline
from nla_core.fidelity import Baseline, Fidelity, fidelity
from nla_core.pair_checks import check_baseline, check_pair
from nla_core.reconstructor import Reconstructor
from nla_core.sampling import Sampling
from nla_core.sidecar import SidecarError, read_sidecar
from nla_core.verbalizer import DEFAULT_SAMPLING, Explanation, Verbalizer

Verdict = Literal["carries", "random", "mean", "shuffled", "context", "unscored"]
"""What an explanation is worth beside its nulls, see `verdict_of`."""
Folder = str | Path
_RANDOM_DEVIATIONS = 3.0
_LAYER_FOLDER = re.compile(r"L(\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One explanation of one activation, with what it is worth."""

    explanation: Explanation
    fidelity: Fidelity
    layer: int
    """Decoder block that the pair was trained on."""
    off_layer: int | None
    """Decoder block that the activation comes from, when that is another one; else None."""
    d_model: int

    @property
    def verdict(self) -> Verdict:
        """Which null it does not beat, see `verdict_of`."""
        return verdict_of(self.fidelity, self.d_model)


def verdict_of(fidelity: Fidelity, d_model: int) -> Verdict:
    """Say which null a score does not beat, the weakest null first.

    - `unscored`: there is no score, `fidelity.problem` says why;
    - `random`: the reconstruction is no nearer to the activation than random directions are: their
      cosine has mean 0 and standard deviation 1 / sqrt(d_model), and this one is below three
      deviations;
    - `mean`: FVE is 0 or less, the mean of the training data would have done as well;
    - `shuffled`: another row's explanation did as well;
    - `context`: the text that was read did as well;
    - `carries`: none of these.
    """
    found, shuffled, context = fidelity.score, fidelity.shuffled, fidelity.copied_context
    if found is None or found.cosine is None:
        return "unscored"
    if found.cosine < _RANDOM_DEVIATIONS / math.sqrt(d_model):
        return "random"
    if found.fve is not None and found.fve <= 0:
        return "mean"
    if shuffled is not None and found.mse_nrm >= shuffled.mse_nrm:
        return "shuffled"
    if context is not None and found.mse_nrm >= context.mse_nrm:
        return "context"
    return "carries"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NLAPair:
    """A verbalizer, its reconstructor, and the baseline of the data they were trained on."""

    verbalizer: Verbalizer
    reconstructor: Reconstructor
    baseline: Baseline | None = None
    """None leaves FVE unknown."""
    off_layer: int | None = None
    """Decoder block that the activations come from, when it is not the pair's own."""

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.reconstructor.d_model

    @property
    def layer(self) -> int:
        """K, the decoder block whose output the pair was trained on."""
        return self.reconstructor.layer

    def at_layer(self, layer: int) -> "NLAPair":
        """Return this pair for activations of a block, marked when that is not its own.

        Raises:
            ValueError: When the layer is negative.
        """
        if layer < 0:
            raise ValueError(f"a layer is 0 or more, got {layer}")
        return replace(self, off_layer=None if layer == self.layer else layer)

    def read(
        self,
        activations: Tensor,
        *,
        samples: int = 1,
        sampling: Sampling = DEFAULT_SAMPLING,
        seeds: Sequence[int] | None = None,
        contexts: Sequence[str | None] | None = None,
        layer: int | None = None,
        null_seed: int = 0,
        batch_size: int = 64,
    ) -> list[Reading]:
        """Explain activations and score every explanation beside its nulls.

        Off-layer FVE is unknown, since the baseline is that of the pair's own layer. An explanation
        too long for the reconstructor is marked, not scored.

        Args:
            activations: `[n, d_model]`, raw, of any float dtype.
            samples: Explanations drawn of each.
            sampling: How to draw.
            seeds: One per activation; None derives them from the row numbers.
            contexts: The text that each activation was read from, for the copying null; one too
                long for the reconstructor leaves that null unknown.
            layer: Decoder block that the activations come from; None is `off_layer`, or else the
                pair's own.
            null_seed: Of the shuffle and the random directions.
            batch_size: Rows run at once.

        Returns:
            `n * samples` readings, those of one activation side by side.

        Raises:
            BackendError: When the verbalizer runs on a server and that fails.
            PromptTooLongError: When the verbalizer's prompt leaves no room in its context.
            ValueError: When an activation is not finite or of another width, or the numbers of
                rows differ.
        """
        if contexts is not None and len(contexts) != len(activations):
            raise ValueError(f"{len(activations)} activations need as many contexts")
        pair = self if layer is None else self.at_layer(layer)
        explanations = self.verbalizer.explain(
            activations, samples=samples, sampling=sampling, seeds=seeds, batch_size=batch_size
        )
        texts = [explanation.text for explanation in explanations]
        fits = fitting([*texts, *(contexts or ())], self.reconstructor)
        rows = [explanation.vector for explanation in explanations]
        scored = fidelity(
            activations.detach().cpu()[torch.tensor(rows, dtype=torch.long)],
            [text if text in fits else None for text in texts],
            self.reconstructor,
            # Its mean and variance are those of the pair's own layer.
            self.baseline if pair.off_layer is None else None,
            contexts=None
            if contexts is None
            else [contexts[row] if contexts[row] in fits else None for row in rows],
            seed=null_seed,
            batch_size=batch_size,
        )
        return [
            Reading(
                explanation=explanation,
                fidelity=replace(found, problem="too_long")
                if found.problem == "no_explanation" and explanation.ok
                else found,
                layer=self.layer,
                off_layer=pair.off_layer,
                d_model=self.d_model,
            )
            for explanation, found in zip(explanations, scored, strict=True)
        ]


def fitting(texts: Iterable[str | None], reconstructor: Reconstructor) -> frozenset[str]:
    """Return those of the texts that fit into the reconstructor's context."""
    given = frozenset(text for text in texts if text is not None)
    context = arch.context_length(reconstructor.network.decoder)
    if context is None:
        return given
    return frozenset(text for text in given if len(reconstructor.encode(text)) <= context)


def load_pair(
    av: Folder,
    ar: Folder,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    backend: Backend | None = None,
) -> NLAPair:
    """Load a verbalizer and its reconstructor, with the baseline beside the latter.

    Args:
        av: Folder or hub id of the verbalizer.
        ar: Folder or hub id of the reconstructor.
        dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
        device: Where to put the models.
        backend: The server that runs the verbalizer; None runs it in this process.

    Raises:
        BackendError: When the server cannot do it.
        SidecarError: When a file is missing or malformed, or the two do not belong together; the
            message says what differs.
    """
    av_folder, ar_folder = checkpoint.resolve_folder(av), checkpoint.resolve_folder(ar)
    sidecar = read_sidecar(av_folder)
    check_pair(sidecar, read_sidecar(ar_folder), av_name=str(av), ar_name=str(ar))
    reconstructor, baseline = load_reconstructor(ar_folder, dtype=dtype, device=device)
    if sidecar.layer not in (None, reconstructor.layer):
        raise SidecarError(
            f"{av} and {ar} do not belong together: layer is {sidecar.layer} and "
            f"{reconstructor.layer}"
        )
    if backend is None:
        verbalizer = Verbalizer.load(av_folder, dtype=dtype, device=device)
    else:
        verbalizer = Verbalizer.load_remote(av_folder, backend)
    return NLAPair(verbalizer=verbalizer, reconstructor=reconstructor, baseline=baseline)


def load_reconstructor(
    ar: Folder, *, dtype: torch.dtype | None = None, device: str | torch.device = "cpu"
) -> tuple[Reconstructor, Baseline | None]:
    """Load a reconstructor with the baseline beside it, if there is one.

    Raises:
        SidecarError: When a file is missing or malformed, or they do not fit each other.
    """
    folder = checkpoint.resolve_folder(ar)
    baseline = load_baseline(folder)
    reconstructor = Reconstructor.load(folder, dtype=dtype, device=device)
    if baseline is not None:
        check_baseline(baseline, reconstructor.sidecar, folder / BASELINE_FILE)
    return reconstructor, baseline


class PairSet:
    """Pairs of one model by layer; the weights of each are loaded when it is first asked for."""

    def __init__(self, openers: Mapping[int, Callable[[], NLAPair]]) -> None:
        """Keep what opens the pair of each layer.

        Raises:
            SidecarError: When there is none.
        """
        if not openers:
            raise SidecarError("a set of pairs needs at least one")
        self._openers = dict(sorted(openers.items()))
        self._opened: dict[int, NLAPair] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        source: Mapping[int, tuple[Folder, Folder]] | Folder,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        backends: Mapping[int, Backend] | None = None,
    ) -> "PairSet":
        """Check the sidecars of several pairs against each other; weights come later.

        Args:
            source: Folders of verbalizer and reconstructor by layer, or a folder that holds them
                as `L{K}/av` and `L{K}/ar`.
            dtype: See `load_pair`.
            device: See `load_pair`.
            backends: Servers that run verbalizers, by layer; the others run in this process.

        Raises:
            SidecarError: When there is no pair, a sidecar is malformed, a pair does not belong
                together or to its layer, or the pairs have different widths.
        """
        folders = source if isinstance(source, Mapping) else _folders_by_layer(Path(source))
        widths: dict[int, int] = {}
        for layer, (av, ar) in sorted(folders.items()):
            ours = read_sidecar(checkpoint.resolve_folder(av))
            theirs = read_sidecar(checkpoint.resolve_folder(ar))
            check_pair(ours, theirs, av_name=str(av), ar_name=str(ar))
            for name, known in ((av, ours.layer), (ar, theirs.layer)):
                if known not in (None, layer):
                    raise SidecarError(f"{name} is for layer {known}, it was given for {layer}")
            widths[layer] = ours.d_model
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{width} at layer {layer}" for layer, width in widths.items())
            raise SidecarError(f"the pairs are for models of different widths: {listed}")
        return cls(
            {
                layer: partial(
                    _load_for_layer,
                    layer,
                    *pair,
                    dtype=dtype,
                    device=device,
                    backend=(backends or {}).get(layer),
                )
                for layer, pair in folders.items()
            }
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have a pair of their own, ascending."""
        return tuple(self._openers)

    def for_layer(self, layer: int) -> NLAPair:
        """Return the pair of a layer, or the nearest one, marked off-layer.

        Of two equally near the lower one is taken.

        Raises:
            SidecarError: When its weights cannot be loaded.
            ValueError: When the layer is negative.
        """
        if layer < 0:
            raise ValueError(f"a layer is 0 or more, got {layer}")
        nearest = min(self.layers, key=lambda known: (abs(known - layer), known))
        with self._lock:
            if nearest not in self._opened:
                self._opened[nearest] = self._openers[nearest]()
        return self._opened[nearest].at_layer(layer)


def _load_for_layer(
    layer: int,
    av: Folder,
    ar: Folder,
    *,
    dtype: torch.dtype | None,
    device: str | torch.device,
    backend: Backend | None,
) -> NLAPair:
    pair = load_pair(av, ar, dtype=dtype, device=device, backend=backend)
    if pair.layer != layer:
        raise SidecarError(f"{ar} is for layer {pair.layer}, it was given for {layer}")
    return pair


def _folders_by_layer(root: Path) -> dict[int, tuple[Folder, Folder]]:
    if not root.is_dir():
        raise SidecarError(f"{root}: no such folder")
    found: dict[int, tuple[Folder, Folder]] = {}
    for folder in sorted(root.iterdir()):
        match = _LAYER_FOLDER.fullmatch(folder.name)
        if match and folder.is_dir():
            layer = int(match[1])
            if layer in found:
                raise SidecarError(f"{root} holds two folders for layer {layer}")
            found[layer] = (folder / "av", folder / "ar")
    if not found:
        raise SidecarError(f"{root} holds no pairs; they lie in L5/av and L5/ar for layer 5")
    return found
