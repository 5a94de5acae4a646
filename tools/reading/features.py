"""Features of a sparse autoencoder at the tokens of texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools import rows
from tools.protocols import SparseAutoencoder, ToolContext, ToolError
from tools.reading import readings
from tools.reading.passages import Passage, mind
from tools.reading.readings import rounded

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS = 8


def autoencoder(ctx: ToolContext) -> SparseAutoencoder:
    """Return the sparse autoencoder.

    Raises:
        ToolError: When there is none.
    """
    if ctx.sae is None:
        raise ToolError("there is no sparse autoencoder in this audit: use another tool")
    return ctx.sae


def check_feature(sae: SparseAutoencoder, feature: int) -> int:
    """Return a feature's number.

    Raises:
        ToolError: When there is no such feature.
    """
    if not 0 <= feature < sae.n_features:
        raise ToolError(f"there is no feature {feature}: they go from 0 to {sae.n_features - 1}")
    return feature


def captured(
    ctx: ToolContext,
    passages: Sequence[Passage],
    chosen: Sequence[Sequence[int]],
    whose: rows.ModelName,
) -> "list[Tensor]":
    """Return the activations `[place, d_model]` that the autoencoder reads, by text.

    Raises:
        ToolError: When the model is not there, or the layer does not exist.
    """
    return readings.activations(
        ctx,
        passages,
        [list(places) for places in chosen],
        whose=whose,
        layer=autoencoder(ctx).layer,
        strength=1.0,
    )


def encoded(ctx: ToolContext, stream: "Tensor") -> "Tensor":
    """Return feature activations `[place, feature]` of activations `[place, d_model]`.

    Raises:
        ToolError: When the autoencoder was trained on another width.
    """
    try:
        return autoencoder(ctx).encode(stream)
    except ValueError as error:
        raise ToolError(str(error)) from None


def described(ctx: ToolContext, feature: int) -> dict[str, Any]:
    """Return what is known of a feature, as keys of an item."""
    notes = autoencoder(ctx).notes(feature)
    return {
        "feature": feature,
        "label": notes.label,
        "tokens": list(notes.tokens[:_TOKENS]),
        "density": rounded(notes.density),
    }


def lens(ctx: ToolContext, feature: int, n: int) -> dict[str, list[str]]:
    """Return the tokens that a feature's direction pushes up and down the most."""
    import torch

    direction = autoencoder(ctx).directions[feature]
    model = mind(ctx)
    tables = model.unembed(torch.stack([direction, -direction]))
    up, down = (row.topk(min(n, len(row))).indices.tolist() for row in tables)
    return {"promoted": model.tokens(up), "suppressed": model.tokens(down)}
