"""SGLang's native HTTP interface, with prompts sent as `input_embeds`.

Wire format: https://docs.sglang.io/basic_usage/sampling_params.html
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from nla_core.backends import _http
from nla_core.backends._http import HttpOptions, JsonServer
from nla_core.sampling import Generation, Sampling

_SEED_BITS = 31
"""The server keeps seeds as 32-bit signed integers."""


class SGLangBackend:
    """Draws from an SGLang server, 0.5.6 or newer, that runs the verbalizer's checkpoint.

    The server must run with `--disable-radix-cache`: its cache goes by token ids, which prompts
    of embeddings do not have, so different vectors would get each other's text. Seeds count only
    where it also runs with `--enable-deterministic-inference`. Stop strings cut the text, not the
    token ids.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, options: HttpOptions | None = None
    ) -> None:
        """Prepare, without connecting.

        Args:
            url: Such as `http://127.0.0.1:30000`.
            api_key: What the server was started with, if anything; shown nowhere.
            options: Limits; None takes the defaults.

        Raises:
            ValueError: When the address or the key cannot be one.
        """
        self._server = JsonServer(
            url, kind="the SGLang server", api_key=api_key, options=options or HttpOptions()
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._server}>"

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def check(self) -> None:
        """Refuse a server that cannot be reached, or that would mix vectors up.

        Raises:
            BackendError: Saying what is wrong and what to do.
        """
        # The second is the older name.
        info = self._server.get("/server_info", "/get_server_info")
        settings = info if isinstance(info, dict) else {}
        if settings.get("disable_radix_cache") is False:
            raise self._server.error(
                "has its radix cache on, which gives vectors each other's text",
                "start it with --disable-radix-cache",
            )
        if settings.get("skip_tokenizer_init") is True:
            raise self._server.error(
                "has no tokenizer and so gives no text", "start it without --skip-tokenizer-init"
            )

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
        encode = _RowEncoder()
        bodies = [
            partial(_body, encode, prompt, _parameters(sampling, seed, stop_ids))
            for prompt, seed in _http.paired(prompts, seeds)
        ]
        return self._server.post_all("/generate", bodies, partial(_generation, stop_ids=stop_ids))


class _RowEncoder:
    """Writes prompts as JSON; rows that they share are written once.

    The prompts of one call differ in one row out of a hundred, and writing floats as text takes
    longer than sending them.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def __call__(self, prompt: Tensor) -> bytes:
        rows = prompt.detach().float().cpu().numpy()
        return b"[" + b",".join(self._row(row) for row in rows) + b"]"

    def _row(self, row: Any) -> bytes:
        key = row.tobytes()
        if key not in self._known:
            self._known[key] = _dumps(row.tolist())
        return self._known[key]


def _parameters(sampling: Sampling, seed: int, stop_ids: frozenset[int]) -> dict[str, Any]:
    """Return the sampling parameters, with whatever a checkpoint may set otherwise switched off."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "max_new_tokens": sampling.max_tokens,
        "stop": list(sampling.stop),
        "stop_token_ids": sorted(stop_ids),
        "skip_special_tokens": False,
        "sampling_seed": seed % 2**_SEED_BITS,
    }


def _body(encode: _RowEncoder, prompt: Tensor, parameters: dict[str, Any]) -> bytes:
    return b'{"input_embeds":%b,"sampling_params":%b}' % (encode(prompt), _dumps(parameters))


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _generation(reply: Any, *, stop_ids: frozenset[int]) -> Generation:
    answer = _http.mapping(reply, "a JSON object")
    text = answer.get("text")
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str):
        raise _http.PassingError("answered without text")
    reason = _http.mapping(answer.get("meta_info"), "meta_info").get("finish_reason")
    why = reason if isinstance(reason, dict) else {"type": reason}
    finish = _http.finish_reason(why.get("type"))
    ids = answer.get("output_ids")
    if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], list):
        ids = ids[0]
    ends = [*stop_ids, why.get("matched")]
    return Generation(text=text, token_ids=_http.token_ids(ids, ends, finish), finish=finish)
