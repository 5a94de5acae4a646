"""vLLM's OpenAI-compatible completions, with prompts sent as `prompt_embeds`.

Wire format: https://docs.vllm.ai/en/stable/features/prompt_embeds/
"""

import base64
import io
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nla_core.backends import _http
from nla_core.backends._http import HttpOptions, JsonServer
from nla_core.sampling import Generation, Sampling


class VLLMBackend:
    """Draws from a vLLM server that runs the verbalizer's checkpoint.

    The server must run with `--enable-prompt-embeds`. Token ids come back from version 0.10.2 on;
    stop strings cut the text, not the ids.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        options: HttpOptions | None = None,
    ) -> None:
        """Prepare, without connecting.

        Args:
            url: Such as `http://127.0.0.1:8000`, with or without `/v1`.
            model: The name under which the server lists the checkpoint.
            api_key: What the server was started with, if anything; shown nowhere.
            options: Limits; None takes the defaults.

        Raises:
            ValueError: When the address or the key cannot be one.
        """
        self._model = model
        self._server = JsonServer(
            url.rstrip("/").removesuffix("/v1"),
            kind="the vLLM server",
            api_key=api_key,
            options=options or HttpOptions(),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._model} on {self._server}>"

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def check(self) -> None:
        """Refuse a server that cannot be reached or does not serve the model.

        Raises:
            BackendError: Saying what is wrong and what to do.
        """
        found = self._server.get("/v1/models")
        listed = found.get("data") if isinstance(found, dict) else None
        names = [
            str(entry.get("id"))
            for entry in (listed if isinstance(listed, list) else [])
            if isinstance(entry, dict)
        ]
        if self._model not in names:
            known = ", ".join(names)[:200] or "nothing"
            raise self._server.error(f"does not serve {self._model}", f"it serves {known}")

    def continue_embeddings(
        self,
        prompts: Sequence[Tensor],
        *,
        sampling: Sampling,
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> list[Generation]:
        """Continue every prompt; see `Backend.continue_embeddings`.

        Raises:
            BackendError: When the server cannot be reached, refuses or answers nonsense.
            ValueError: On a wrong number of seeds.
        """
        bodies = [
            partial(self._body, prompt, sampling, seed, stop_ids)
            for prompt, seed in _http.paired(prompts, seeds)
        ]
        parse = partial(_generation, stop_ids=stop_ids)
        return self._server.post_all("/v1/completions", bodies, parse)

    def _body(
        self, prompt: Tensor, sampling: Sampling, seed: int, stop_ids: frozenset[int]
    ) -> bytes:
        """Write a request; what a checkpoint's own defaults may set otherwise is switched off."""
        fields = {
            "model": self._model,
            "prompt_embeds": _encoded(prompt),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop),
            "stop_token_ids": sorted(stop_ids),
            "seed": seed,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        return json.dumps(fields).encode()


def _encoded(prompt: Tensor) -> str:
    """Return base64 of what `torch.save` writes, which the server loads; we only write it."""
    # A copy: saving a view would save everything that it is a view of.
    rows = prompt.detach().to("cpu", torch.float32, copy=True).contiguous()
    buffer = io.BytesIO()
    torch.save(rows, buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _generation(reply: Any, *, stop_ids: frozenset[int]) -> Generation:
    choices = _http.mapping(reply, "a JSON object").get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    choice = _http.mapping(first, "choices")
    text = choice.get("text")
    if not isinstance(text, str):
        raise _http.PassingError("answered without text")
    finish = _http.finish_reason(choice.get("finish_reason"))
    ids = choice.get("token_ids")
    ends = [*stop_ids, choice.get("stop_reason")]
    return Generation(text=text, token_ids=_http.token_ids(ids, ends, finish), finish=finish)
