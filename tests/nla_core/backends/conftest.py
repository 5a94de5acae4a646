"""Tiny checkpoints, and servers on the loopback that speak SGLang's and vLLM's wire formats."""

import base64
import io
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from nla_core.backends import HttpOptions, SGLangBackend, VLLMBackend
from nla_core.verbalizer import new_verbalizer

D_MODEL = 32
MODEL = "the-verbalizer"
KEY = "sk-very-secret-0123"
OPTIONS = HttpOptions(timeout=5, attempts=3, max_requests=4, first_wait=0.01, longest_wait=0.05)
SGLANG_SAMPLING = {
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "max_new_tokens",
    "stop",
    "stop_token_ids",
    "skip_special_tokens",
    "sampling_seed",
}


def say(prompt: torch.Tensor, seed: int) -> str:
    """What the servers answer: a function of every float and of the seed."""
    return f"<explanation>{zlib.crc32(prompt.contiguous().numpy().tobytes())}-{seed}</explanation>"


@dataclass
class Loopback:
    """A scripted server; each entry of `faults` spoils one POST, in order of arrival."""

    kind: str
    radix_off: Any = True
    paths: tuple[str, ...] = ("/server_info", "/v1/models")
    faults: list[Callable[["Handler"], None]] = field(default_factory=list)
    edit: Callable[[Any], Any] = lambda reply: reply
    delay: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[torch.Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    n_posts: int = 0
    under_way: int = 0
    peak: int = 0
    url: str = ""
    backends: list[Any] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def backend(self, *, api_key: str | None = None, **options: Any) -> Any:
        limits = HttpOptions(**{**{n: getattr(OPTIONS, n) for n in OPTIONS.__slots__}, **options})
        made: SGLangBackend | VLLMBackend
        if self.kind == "sglang":
            made = SGLangBackend(self.url, api_key=api_key, options=limits)
        else:
            made = VLLMBackend(self.url, MODEL, api_key=api_key, options=limits)
        self.backends.append(made)
        return made

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Judge a request as strictly as the wire format allows."""
        if self.kind == "sglang":
            return self._sglang(path, body)
        return self._vllm(path, body)

    def _sglang(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path != "/generate":
            return 404, {"detail": "Not Found"}
        if set(body) != {"input_embeds", "sampling_params"}:
            return 400, {"error": {"message": f"unexpected fields {sorted(body)}"}}
        sampling = body["sampling_params"]
        if set(sampling) - SGLANG_SAMPLING:
            return 400, {"error": {"message": f"unexpected parameters {sorted(sampling)}"}}
        if not 0 <= sampling["sampling_seed"] < 2**31:
            return 500, {"error": {"message": "seed overflows"}}
        prompt = torch.tensor(body["input_embeds"], dtype=torch.float32)
        assert prompt.ndim == 2
        self.prompts.append(prompt)
        return 200, {
            "text": say(prompt, sampling["sampling_seed"]),
            "output_ids": [5, 6, 7, 2],
            "meta_info": {
                "finish_reason": {"type": "stop", "matched": 2},
                "prompt_tokens": len(prompt),
                "completion_tokens": 4,
            },
        }

    def _vllm(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path != "/v1/completions":
            return 404, {"detail": "Not Found"}
        if body["model"] != MODEL:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if "prompt" in body or body["skip_special_tokens"] is not False:
            return 400, {"error": {"message": "unexpected fields"}}
        raw = base64.b64decode(body["prompt_embeds"], validate=True)
        prompt = torch.load(io.BytesIO(raw), weights_only=True)
        assert prompt.ndim == 2
        assert prompt.dtype == torch.float32
        self.prompts.append(prompt)
        self.sizes.append(len(raw))
        choice = {
            "index": 0,
            "text": say(prompt, body["seed"]),
            "finish_reason": "stop",
            "stop_reason": None,
            "token_ids": [5, 6, 7, *body["stop_token_ids"][-1:]],
        }
        return 200, {"object": "text_completion", "model": MODEL, "choices": [choice]}

    def info(self, path: str) -> tuple[int, Any]:
        if path not in self.paths:
            return 404, {"detail": "Not Found"}
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        settings = {"model_path": "/checkpoint", "disable_radix_cache": self.radix_off}
        return 200, {k: v for k, v in settings.items() if v is not None}


class Handler(BaseHTTPRequestHandler):
    """One connection to a loopback server."""

    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.loopback.keys.append(self.headers.get("Authorization"))
        self.send(*self.loopback.info(self.path))

    def do_POST(self) -> None:
        server = self.loopback
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.n_posts += 1
            server.times.append(time.monotonic())
            server.under_way += 1
            server.peak = max(server.peak, server.under_way)
            fault = server.faults.pop(0) if server.faults else None
            server.keys.append(self.headers.get("Authorization"))
        try:
            if fault is not None:
                fault(self)
                return
            time.sleep(server.delay)
            body = json.loads(content)
            with server.lock:
                server.bodies.append(body)
                status, reply = server.answer(self.path, body)
                if status == 200:
                    reply = server.edit(reply)
            self.send(status, reply)
        finally:
            with server.lock:
                server.under_way -= 1

    def send(self, status: int, reply: Any, headers: dict[str, str] | None = None) -> None:
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Loopback]]:
    """Start servers: `serve("sglang", faults=[...])`."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    running: list[tuple[Loopback, ThreadingHTTPServer, threading.Thread]] = []

    def start(kind: str, **settings: Any) -> Loopback:
        loopback = Loopback(kind, **settings)
        handler = type("BoundHandler", (Handler,), {"loopback": loopback})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        running.append((loopback, server, thread))
        return loopback

    yield start
    for loopback, server, thread in running:
        for backend in loopback.backends:
            backend.close()
        loopback.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(params=["sglang", "vllm"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each wire format in turn."""
    return str(request.param)


@pytest.fixture
def prompts() -> list[torch.Tensor]:
    """Six prompts `[7, 32]`, views of one table as the verbalizer makes them."""
    generator = torch.Generator().manual_seed(4)
    table = torch.randn(7, D_MODEL, generator=generator).repeat(6, 1, 1)
    table[:, 3] = 40 * torch.randn(6, D_MODEL, generator=generator)
    return list(table.unbind())


@pytest.fixture
def vectors() -> torch.Tensor:
    return 40 * torch.randn(5, D_MODEL, generator=torch.Generator().manual_seed(5))


def _model(name: str, tokenizer: Any) -> Any:
    import transformers as hf

    torch.manual_seed(11)
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": D_MODEL,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 160,
        "initializer_range": 0.3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if name == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**common)).eval()
    if name == "gpt_neox":
        del common["num_key_value_heads"]
        return hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**common)).eval()
    layers = ["sliding_attention", "full_attention"]
    return hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(**common, head_dim=8, sliding_window=16, layer_types=layers)
    ).eval()


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a verbalizer's checkpoint of an architecture; read-only."""
    from scenarios.sandbox.tokenizer import MARKER, build_tokenizer
    from scenarios.sandbox.world import load_world

    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            root = tmp_path_factory.mktemp(name)
            tokenizer = build_tokenizer(load_world(), context=160)
            model = _model(name, tokenizer)
            model.generation_config.eos_token_id = [tokenizer.eos_token_id, 9]
            model.save_pretrained(root / "base")
            tokenizer.save_pretrained(root / "base")
            new_verbalizer(
                root / "base",
                1,
                injection_scale=20.0,
                av_template="Look.\n<concept>{injection_char}</concept>\nSay what it holds.",
                ar_template="Summary: <text>{explanation}</text> <summary>",
                marker=MARKER,
            ).save(root / "av")
            built[name] = root / "av"
        return built[name]

    return build
