"""The reconstructor (AR): an explanation in words in, an activation out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch, checkpoint
from nla_core.decoding import PromptTooLongError
from nla_core.sidecar import Sidecar, SidecarError, read_sidecar, write_sidecar
from nla_core.sidecar_checks import check_reconstructor, new_token_ids, reconstructor_ids


class ReconstructorNetwork(nn.Module):
    """Decoder blocks 0 to K without a final norm, and a linear head at the last token."""

    def __init__(self, decoder: nn.Module, value_head: nn.Linear) -> None:
        super().__init__()
        self.decoder = decoder
        self.value_head = value_head
        # What `accelerate` asks a network about how to shard it.
        self._no_split_modules = arch.block_classes(decoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Predict activations.

        Args:
            input_ids: `[row, slot]`, padded on either side.
            attention_mask: `[row, slot]`, 1 at real tokens.

        Returns:
            `[row, d_model]` float32; only the direction means anything.
        """
        output = self.decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        hidden: Tensor = output.last_hidden_state
        last = last_real_token(attention_mask)
        read = hidden[torch.arange(len(last), device=hidden.device), last.to(hidden.device)]
        predicted: Tensor = self.value_head(read)
        return predicted.float()


def last_real_token(attention_mask: Tensor) -> Tensor:
    """Return `[row]` the slot of each row's last real token, padded on either side."""
    return attention_mask.long().cumsum(1).argmax(1)


class Reconstructor:
    """A cut decoder with its value head, its tokenizer and its sidecar, checked."""

    def __init__(self, network: ReconstructorNetwork, tokenizer: Any, sidecar: Sidecar) -> None:
        """Check and keep the parts.

        Raises:
            SidecarError: Saying what in the sidecar differs from the model or the tokenizer.
        """
        check_reconstructor(sidecar, network.decoder, tokenizer)
        n_blocks = len(arch.blocks(network.decoder))
        self.layer = sidecar.reconstructor_layer(n_blocks)
        """K, the decoder block whose output is predicted."""
        if n_blocks != self.layer + 1:
            raise SidecarError(
                f"layer {self.layer} needs {self.layer + 1} blocks, the model has {n_blocks}"
            )
        self.network, self.tokenizer, self.sidecar = network, tokenizer, sidecar

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | Path,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
    ) -> "Reconstructor":
        """Load a released reconstructor, or one of ours.

        Args:
            path_or_hub_id: A folder, or the id of a hub repository.
            dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
            device: Where to put the model.

        Raises:
            SidecarError: When a file is missing or malformed, or they do not fit each other.
        """
        folder = checkpoint.resolve_folder(path_or_hub_id)
        sidecar = read_sidecar(folder)
        weight = checkpoint.load_value_head(folder, sidecar.d_model)
        tokenizer = checkpoint.load_tokenizer(folder)
        layer = sidecar.reconstructor_layer(arch.n_blocks(checkpoint.load_config(folder)))
        dtype = checkpoint.default_dtype(dtype, device)
        decoder = checkpoint.load_decoder(folder, n_blocks=layer + 1, dtype=dtype, device=device)
        return cls(_network(decoder, weight, dtype, device), tokenizer, sidecar)

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.sidecar.d_model

    def encode(self, text: str) -> list[int]:
        """Return the token ids of the prompt for one explanation."""
        assert self.sidecar.ar_template is not None  # checked at construction
        return reconstructor_ids(self.tokenizer, self.sidecar.ar_template, text)

    def collate(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Pad rows on the right; return ids and mask `[row, slot]` on the model's device."""
        device = self.network.value_head.weight.device
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        return ids, mask.long()

    def reconstruct(self, texts: Sequence[str], *, batch_size: int = 64) -> Tensor:
        """Predict the activation that each explanation describes.

        Args:
            texts: Explanations, taken as they are: not stripped and not cut. An empty one is
                allowed.
            batch_size: Texts run at once; memory does not grow with their number.

        Returns:
            `[n, d_model]` float32 on the CPU; only the direction means anything.

        Raises:
            PromptTooLongError: When a text does not fit into the model's context.
            ValueError: When a prediction is not finite.
        """
        rows = [self.encode(text) for text in texts]
        context = arch.context_length(self.network.decoder)
        for index, row in enumerate(rows):
            if context is not None and len(row) > context:
                raise PromptTooLongError(
                    f"explanation {index} makes {len(row)} tokens, the reconstructor's context "
                    f"is {context}; shorten it"
                )
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = torch.empty(len(rows), self.d_model)
        training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(order), batch_size):
                    chunk = order[start : start + batch_size]
                    found[chunk] = self.network(*self.collate([rows[i] for i in chunk])).cpu()
        finally:
            self.network.train(training)
        bad = ~torch.isfinite(found).all(dim=-1)
        if bool(bad.any()):
            raise ValueError(
                f"the reconstruction of explanation {int(bad.nonzero()[0])} is not finite; "
                "check the reconstructor's weights and dtype"
            )
        return found

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint in the released format; the sidecar comes last.

        Raises:
            ValueError: When the decoder is wrapped by an adapter, which the format has no place
                for.
        """
        decoder = self.network.decoder
        if arch.unwrap(decoder) is not decoder:
            raise ValueError("merge the adapter into the decoder before saving a reconstructor")
        target = Path(folder)
        checkpoint.save_decoder(decoder, target)
        checkpoint.save_value_head(self.network.value_head.weight, target)
        checkpoint.save_right_padding_tokenizer(self.tokenizer, target)
        write_sidecar(self.sidecar.model_copy(update={"layer": self.layer}), target)


def new_reconstructor(
    base: str | Path,
    layer: int,
    *,
    av_template: str,
    ar_template: str,
    marker: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> Reconstructor:
    """Make an untrained reconstructor: blocks 0 to K of the base and the identity as value head.

    Args:
        base: A causal language model with a chat template, a folder or hub id.
        layer: K, the decoder block whose output will be predicted.
        av_template: User message of its verbalizer, with `{injection_char}` once.
        ar_template: Raw prompt with `{explanation}` once.
        marker: The verbalizer's marker; None finds one.
        dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
        device: Where to put the model.

    Raises:
        SidecarError: When the base, a template or the marker does not serve.
    """
    folder = checkpoint.resolve_folder(base)
    tokenizer = checkpoint.load_tokenizer(folder)
    dtype = checkpoint.default_dtype(dtype, device)
    decoder = checkpoint.load_decoder(folder, n_blocks=layer + 1, dtype=dtype, device=device)
    width = arch.d_model(decoder)
    sidecar = Sidecar(
        role="ar",
        d_model=width,
        tokens=new_token_ids(
            tokenizer, av_template=av_template, ar_template=ar_template, marker=marker
        ),
        av_template=av_template,
        ar_template=ar_template,
        layer=layer,
        mse_scale=width**0.5,
        stage="init",
        base_checkpoint=str(base),
    )
    return Reconstructor(_network(decoder, torch.eye(width), dtype, device), tokenizer, sidecar)


def _network(
    decoder: nn.Module, weight: Tensor, dtype: torch.dtype, device: str | torch.device
) -> ReconstructorNetwork:
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    head.weight = nn.Parameter(weight.to(device=device, dtype=dtype))
    return ReconstructorNetwork(decoder, head).eval()
