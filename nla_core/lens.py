"""The logit lens: what a vector of the residual stream would say if it came out of the last block.

nostalgebraist 2020, "interpreting GPT: the logit lens". The final norm and the unembedding are
applied to the vector as it is. Of the last block's output this gives the model's own prediction;
of earlier ones an approximation that grows worse with the distance, since later blocks may turn
the stream to another basis.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nla_core import arch


def unembed(model: nn.Module, vectors: Tensor) -> Tensor:
    """Return log-probabilities of vectors that are taken for the last block's output.

    Args:
        model: A Transformers causal language model, PEFT-wrapped or not.
        vectors: `[n, d_model]`, any float dtype and device.

    Returns:
        `[n, vocab]` float32 on the CPU, in nats.

    Raises:
        ValueError: When the vectors are of another width, or the architecture's final norm is not
            known.
    """
    width = arch.d_model(model)
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ValueError(f"vectors must be [n, {width}], got {list(vectors.shape)}")
    base = arch.unwrap(model)
    head: Any = base.get_output_embeddings()
    weight = head.weight
    with torch.no_grad():
        states = arch.final_norm(model)(vectors.to(weight.device, weight.dtype))
        logits = head(states).float()
        cap = getattr(arch.text_config(model), "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        found: Tensor = logits.log_softmax(-1).cpu()
    return found
