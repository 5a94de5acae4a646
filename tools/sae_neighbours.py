"""Features of the sparse autoencoder that point where another one does."""

from typing import Annotated

from pydantic import Field

from tools.protocols import ToolContext, ToolOutput
from tools.reading import features
from tools.reading.readings import rounded
from tools.registry import Execute, tool


@tool(needs=("sae",))
def sae_neighbours() -> Execute:
    """Build the tool."""

    def execute(
        ctx: ToolContext,
        *,
        feature: Annotated[int, Field(ge=0)],
        k: Annotated[int, Field(ge=1, le=200)] = 10,
    ) -> ToolOutput:
        """Find the features whose directions are most like that of one feature.

        One item a feature, nearest first: feature, label, tokens, density, cosine (of the decoder
        directions).

        Source:
            Bricken et al. 2025, "Building and evaluating alignment auditing agents", tool "nearest
            features".

        Cost:
            No tokens.

        Misses:
            Features that go together without pointing the same way.

        Args:
            ctx: What this call may touch.
            feature: Its number.
            k: How many to return.
        """
        sae = features.autoencoder(ctx)
        features.check_feature(sae, feature)
        directions = sae.directions / sae.directions.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        cosines = directions @ directions[feature]
        order = cosines.argsort(descending=True, stable=True).tolist()
        near = [other for other in order if other != feature][:k]
        return ToolOutput(
            summary=f"{len(near)} features nearest to feature {feature}",
            items=tuple(
                {
                    "kind": "feature_notes",
                    **features.described(ctx, other),
                    "cosine": rounded(float(cosines[other])),
                }
                for other in near
            ),
        )

    return execute
