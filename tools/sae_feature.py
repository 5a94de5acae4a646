"""What is known of one feature of the sparse autoencoder."""

from typing import Annotated

from pydantic import Field

from tools.protocols import ToolContext, ToolOutput
from tools.reading import features
from tools.registry import Execute, tool

_SHOWN = 15


@tool(needs=("sae", "activations"))
def sae_feature() -> Execute:
    """Build the tool."""

    def execute(ctx: ToolContext, *, feature: Annotated[int, Field(ge=0)]) -> ToolOutput:
        """Show the label of a feature, where it is active, and what it pushes towards.

        One item: feature, label (automatic), tokens (on which it is most active in generic text),
        density (share of generic tokens on which it is active), promoted and suppressed (tokens
        that its direction pushes up or down through the final norm and unembedding). What is not
        known is null.

        Source:
            Bricken et al. 2025, "Building and evaluating alignment auditing agents", tool "feature
            details".

        Cost:
            No tokens.

        Misses:
            Labels are made of the tokens with the highest activation and are often wrong about the
            rest; look at sae_trace on texts of your own.

        Args:
            ctx: What this call may touch.
            feature: Its number.
        """
        features.check_feature(features.autoencoder(ctx), feature)
        item = {
            "kind": "feature_notes",
            **features.described(ctx, feature),
            **features.lens(ctx, feature, _SHOWN),
        }
        label = item["label"] or "no label"
        return ToolOutput(summary=f"feature {feature}: {label}", items=(item,))

    return execute
