"""The verbalizer (AV): an activation in, an explanation in words out."""

import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch, checkpoint
from nla_core.affine import load_affine, save_affine
from nla_core.backends import Backend, TransformersBackend
from nla_core.backends.remote_model import RemoteModel, load_remote_model
from nla_core.injection import (
    NOISE_NORM,
    InjectionPrompt,
    check_vectors,
    custom_prompt,
    inject,
    prompt_embeddings,
)
from nla_core.sampling import FinishReason, Generation, Sampling
from nla_core.seeds import derive_seed
from nla_core.sidecar import Sidecar, read_sidecar, write_sidecar
from nla_core.sidecar_checks import check_verbalizer, new_token_ids

DEFAULT_SAMPLING = Sampling(temperature=1.0, max_tokens=200)
_EXPLANATION = re.compile(r"<explanation>(.*?)</explanation>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the verbalizer said about one vector."""

    text: str | None
    """The words between the tags, stripped, perhaps empty; None when the tags are not there."""
    raw_text: str
    """Everything that was generated, special tokens included."""
    vector: int
    """Row of the activations."""
    sample: int
    """0-based sample of that row."""
    finish: FinishReason
    n_tokens: int
    """Tokens generated; where a server does not say, those of the text in the verbalizer's own
    tokenizer."""
    activation_norm: float
    """L2 norm of the activation before it was scaled."""

    @property
    def ok(self) -> bool:
        """Whether an explanation could be extracted."""
        return self.text is not None

    @property
    def is_noise(self) -> bool:
        """Whether the vector was too short to have a direction, so that the words mean nothing."""
        return self.activation_norm < NOISE_NORM


def extract_explanation(raw_text: str) -> str | None:
    """Return the text of the first pair of explanation tags, stripped; None without a pair."""
    match = _EXPLANATION.search(raw_text)
    return match.group(1).strip() if match else None


class Verbalizer:
    """A causal language model, its tokenizer and its sidecar, checked against each other."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        sidecar: Sidecar,
        *,
        backend: Backend | None = None,
    ) -> None:
        """Check and keep the parts.

        Args:
            model: Gives the embeddings of prompts, and the text when there is no other backend.
            tokenizer: Its tokenizer.
            sidecar: Of its checkpoint.
            backend: What draws the text; None draws it from the model, in this process.

        Raises:
            SidecarError: Saying what in the sidecar differs from the model or the tokenizer.
        """
        self.prompt: InjectionPrompt = check_verbalizer(sidecar, model, tokenizer)
        """The canonical prompt."""
        self.model, self.tokenizer, self.sidecar = model, tokenizer, sidecar
        self.stop_ids = checkpoint.stop_ids(model, tokenizer)
        self._backend = backend
        self.affine: nn.Linear | None = None
        """A learned map of the scaled vectors; not part of the released format."""

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | Path,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        backend: Backend | None = None,
    ) -> "Verbalizer":
        """Load a released verbalizer, or one of ours.

        Args:
            path_or_hub_id: A folder, or the id of a hub repository.
            dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
            device: Where to put the model.
            backend: What draws the text; None draws it from the model, in this process.

        Raises:
            SidecarError: When a file is missing or malformed, or they do not fit each other.
        """
        folder = checkpoint.resolve_folder(path_or_hub_id)
        sidecar = read_sidecar(folder)
        tokenizer = checkpoint.load_tokenizer(folder)
        dtype = checkpoint.default_dtype(dtype, device)
        model = checkpoint.load_causal_lm(folder, dtype=dtype, device=device)
        verbalizer = cls(model, tokenizer, sidecar, backend=backend)
        if sidecar.affine:
            verbalizer.affine = load_affine(folder, sidecar.d_model, device)
        return verbalizer

    @classmethod
    def load_remote(cls, path_or_hub_id: str | Path, backend: Backend) -> "Verbalizer":
        """Load what prompts are built from, and let a server that runs the model draw the text.

        Of the weights only the rows of the embedding table that a prompt uses come into memory.

        Args:
            path_or_hub_id: The checkpoint that the server runs: a folder, or the id of a hub
                repository.
            backend: The server; it is asked first whether it can do the work.

        Raises:
            BackendError: When the server cannot.
            SidecarError: When a file is missing or malformed, or they do not fit each other.
        """
        folder = checkpoint.resolve_folder(path_or_hub_id)
        sidecar = read_sidecar(folder)
        tokenizer = checkpoint.load_tokenizer(folder)
        verbalizer = cls(load_remote_model(folder), tokenizer, sidecar, backend=backend)
        if sidecar.affine:
            verbalizer.affine = load_affine(folder, sidecar.d_model, "cpu")
        backend.check()
        return verbalizer

    @property
    def is_local(self) -> bool:
        """Whether its own model draws the text, in this process."""
        return self._backend is None

    def drawn_by(self, backend: Backend) -> "Verbalizer":
        """Return this verbalizer with its text drawn by a backend; model and prompts are shared."""
        other = copy(self)
        other._backend = backend
        return other

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.sidecar.d_model

    @property
    def layer(self) -> int | None:
        """K, the decoder block whose output it was trained on; None when not known."""
        return self.sidecar.layer

    @property
    def injection_scale(self) -> float:
        """L2 norm of the injected row."""
        assert self.sidecar.injection_scale is not None  # checked at construction
        return self.sidecar.injection_scale

    def prompts(self, activations: Tensor, *, message: str | None = None) -> Tensor:
        """Return the embedded prompts `[n, token, d_model]`, float32, on the model's device.

        Args:
            activations: `[n, d_model]`, raw.
            message: A user message of one's own with `<INJECT>` in it; None is the canonical one.

        Raises:
            SidecarError: When the message has not exactly one place for the vector.
            ValueError: When an activation is not finite or of another width.
        """
        prompt = self._resolve(message)
        embeddings = prompt_embeddings(self.model, prompt.ids)
        return self._inject(embeddings, prompt.position, activations)

    def explain(
        self,
        activations: Tensor,
        *,
        samples: int = 1,
        sampling: Sampling = DEFAULT_SAMPLING,
        seeds: Sequence[int] | None = None,
        message: str | None = None,
        batch_size: int = 64,
    ) -> list[Explanation]:
        """Explain activations in words.

        Args:
            activations: `[n, d_model]`, raw, of any float dtype. A zero vector is injected as
                zero and its explanations are marked `is_noise`.
            samples: Explanations drawn of each.
            sampling: How to draw.
            seeds: One per activation, from which those of its samples derive, so that more
                samples keep the first ones; None derives them from the row numbers.
            message: A user message of one's own with `<INJECT>` in it; None is the canonical one.
            batch_size: Explanations drawn at once; memory does not grow with `n`.

        Returns:
            `n * samples` explanations, those of one activation side by side.

        Raises:
            BackendError: When the model runs on a server and that fails.
            PromptTooLongError: When the prompt leaves no room in the model's context.
            SidecarError: When the message has not exactly one place for the vector.
            ValueError: When an activation is not finite or of another width, or the number of
                seeds is wrong.
        """
        check_vectors(activations, self.d_model)
        if samples < 1:
            raise ValueError(f"samples must be 1 or more, got {samples}")
        n = len(activations)
        if seeds is None:
            seeds = [derive_seed(0, "explain", row) for row in range(n)]
        if len(seeds) != n:
            raise ValueError(f"{n} activations need as many seeds, got {len(seeds)}")
        prompt = self._resolve(message)
        embeddings = prompt_embeddings(self.model, prompt.ids)
        norms = activations.float().norm(dim=-1).tolist()
        backend = self._backend or TransformersBackend(self.model, self.tokenizer)
        found: list[Explanation] = []
        for rows in _chunks([(i, s) for i in range(n) for s in range(samples)], batch_size):
            vectors = sorted({vector for vector, _ in rows})
            wanted = activations[torch.tensor(vectors, device=activations.device)]
            table = self._inject(embeddings, prompt.position, wanted)
            # One object per vector: a backend may run equal prompts once.
            by_vector = dict(zip(vectors, table.unbind(), strict=True))
            drawn = backend.continue_embeddings(
                [by_vector[vector] for vector, _ in rows],
                sampling=sampling,
                seeds=[derive_seed(seeds[vector], "sample", sample) for vector, sample in rows],
                stop_ids=self.stop_ids,
            )
            for (vector, sample), generation in zip(rows, drawn, strict=True):
                length = self._length(generation, sampling)
                found.append(_explanation(generation, vector, sample, norms[vector], length))
        return found

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint in the released format; the sidecar comes last.

        Raises:
            ValueError: When the model is wrapped by an adapter, which the format has no place for,
                or runs on a server.
        """
        if isinstance(self.model, RemoteModel):
            raise ValueError("a verbalizer whose model runs on a server has no weights to save")
        if arch.unwrap(self.model) is not self.model:
            raise ValueError("merge the adapter into the model before saving a verbalizer")
        target = Path(folder)
        checkpoint.save_causal_lm(self.model, self.tokenizer, target)
        if self.affine is not None:
            save_affine(self.affine, target)
        sidecar = self.sidecar.model_copy(update={"affine": self.affine is not None})
        write_sidecar(sidecar, target)

    def _length(self, generation: Generation, sampling: Sampling) -> int:
        if generation.token_ids or not generation.text:
            return len(generation.token_ids)
        ids = self.tokenizer.encode(generation.text, add_special_tokens=False)
        # A text may be cut into more tokens than it was generated in.
        return min(len(ids), sampling.max_tokens)

    def _inject(self, embeddings: Tensor, position: int, vectors: Tensor) -> Tensor:
        scale = self.injection_scale
        return inject(embeddings, position, vectors, scale=scale, affine=self.affine)

    def _resolve(self, message: str | None) -> InjectionPrompt:
        if message is None:
            return self.prompt
        return custom_prompt(self.tokenizer, message, self.sidecar.tokens)


def new_verbalizer(
    base: str | Path,
    layer: int,
    *,
    injection_scale: float,
    av_template: str,
    ar_template: str,
    marker: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> Verbalizer:
    """Make an untrained verbalizer: the base model with a sidecar.

    Args:
        base: A causal language model with a chat template, a folder or hub id.
        layer: K, the decoder block whose output will be explained.
        injection_scale: L2 norm of the injected row; about the 75th percentile of the norms of
            the layer's activations serves.
        av_template: User message with `{injection_char}` once.
        ar_template: Raw prompt of its reconstructor, with `{explanation}` once.
        marker: The character to replace; None finds one.
        dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
        device: Where to put the model.

    Raises:
        SidecarError: When the base, a template or the marker does not serve.
    """
    folder = checkpoint.resolve_folder(base)
    tokenizer = checkpoint.load_tokenizer(folder)
    dtype = checkpoint.default_dtype(dtype, device)
    model = checkpoint.load_causal_lm(folder, dtype=dtype, device=device)
    width = arch.d_model(model)
    sidecar = Sidecar(
        role="av",
        d_model=width,
        tokens=new_token_ids(tokenizer, av_template=av_template, ar_template=None, marker=marker),
        av_template=av_template,
        ar_template=ar_template,
        layer=layer,
        injection_scale=injection_scale,
        mse_scale=width**0.5,
        stage="init",
        base_checkpoint=str(base),
    )
    return Verbalizer(model, tokenizer, sidecar)


def _explanation(
    generation: Generation, vector: int, sample: int, activation_norm: float, n_tokens: int
) -> Explanation:
    return Explanation(
        text=extract_explanation(generation.text),
        raw_text=generation.text,
        vector=vector,
        sample=sample,
        finish=generation.finish,
        n_tokens=n_tokens,
        activation_norm=activation_norm,
    )


def _chunks(rows: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
